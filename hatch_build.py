"""The project page of a package index: the README, without links that lead nowhere there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def readme_of_index(text: str, source: str | None) -> str:
    """
    Return a README as a package index can show it.

    :param text: the README in Markdown, with links relative to the repository.
    :param source: where the files of this version can be read, without a slash at the end; None as long as there is no
        such place, and then a link becomes its text.
    """

    def absolute(link: re.Match[str]) -> str:
        words, target = link.groups()
        if re.match(r"[a-z]+:|#", target):
            return link.group()
        return words if source is None else f"[{words}]({source}/{target})"

    return _LINK.sub(absolute, text)


class CustomMetadataHook(MetadataHookInterface):
    """Hatchling looks for this name."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme of the distribution."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        source = self.config.get("source") or None
        metadata["readme"] = {"content-type": "text/markdown", "text": readme_of_index(text, source)}
