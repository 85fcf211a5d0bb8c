"""A state directory in memory: what ``state_path`` needs of Airflow's object storage, as fast as a dict."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.state import directory

if TYPE_CHECKING:
    import pytest


@dataclass
class MemoryFiles:
    """
    Files by path.

    :param on_write: called with the name of a moment before and after each write.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    on_write: Callable[[str], None] = lambda moment: None

    def path(self, uri: str) -> MemoryPath:
        """Return the path of a file."""
        return MemoryPath(self, uri.rstrip("/"))

    @contextmanager
    def replacing(self, path: MemoryPath) -> Iterator[io.BytesIO]:
        """Write a file in one piece."""
        file = io.BytesIO()
        yield file
        self.on_write("before a write")
        self.files[path.uri] = file.getvalue()
        self.on_write("after a write")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let state directories be in memory."""
        patch.setattr(directory, "storage_path", self.path)
        patch.setattr(directory, "replacing", self.replacing)


@dataclass(frozen=True)
class MemoryPath:
    """Stands in for ``ObjectStoragePath``."""

    storage: MemoryFiles
    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """The last part."""
        return self.uri.rpartition("/")[2]

    @property
    def parent(self) -> MemoryPath:
        """The directory."""
        return MemoryPath(self.storage, self.uri.rpartition("/")[0])

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return what the file holds."""
        return self.read_bytes().decode(encoding)

    def read_bytes(self) -> bytes:
        """Return what the file holds."""
        try:
            return self.storage.files[self.uri]
        except KeyError:
            raise FileNotFoundError(self.uri) from None

    def is_dir(self) -> bool:
        """Return whether there are files below it."""
        return any(path.startswith(f"{self.uri}/") for path in self.storage.files)

    def iterdir(self) -> Iterator[Any]:
        """Yield what is in the directory."""
        if not self.is_dir():
            raise FileNotFoundError(self.uri)
        beginning = f"{self.uri}/"
        names = {
            path[len(beginning) :].partition("/")[0]
            for path in self.storage.files
            if path.startswith(beginning)
        }
        return (MemoryPath(self.storage, beginning + name) for name in sorted(names))
