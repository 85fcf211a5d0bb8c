"""docs/troubleshooting.md quotes errors, so each quotation has to be in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.test_docs import DOCS, ROOT

PACKAGE = ROOT / "airflow_provider_wati"
PAGE = DOCS / "troubleshooting.md"


def texts_of(source: str) -> Iterator[str]:
    """Yield each text in a program but docstrings, with an ellipsis for what it puts in."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def quotations() -> list[str]:
    """Return the first cells of the tables whose head is about words of an error or of a reason."""
    found: list[str] = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        if re.search(r"^\| The (?:error|reason) says \|", section, flags=re.MULTILINE):
            found += re.findall(r"^\| `(.+?)` \|", section, flags=re.MULTILINE)
    return found


def texts_of_the_package() -> list[str]:
    files = [file for file in PACKAGE.rglob("*.py") if "sandbox" not in file.relative_to(PACKAGE).parts]
    return [text for file in files for text in texts_of(file.read_text())]


TEXTS = texts_of_the_package()


def test_texts_are_found_as_they_are_said() -> None:
    """A text that is written in several parts is one text, and what is put in is an ellipsis."""
    source = 'raise ValueError(f"Column {name!r} is " "empty: " f"{remedy}.")\nx = "plain"\n"""Not said."""'
    found = set(texts_of(source))
    assert {"Column … is empty: ….", "plain"} <= found
    assert "Not said." not in found


def test_there_are_quotations() -> None:
    """The page quotes the errors that people meet."""
    assert len(quotations()) > 40
    assert len(set(quotations())) == len(quotations())


@pytest.mark.parametrize("quotation", quotations())
def test_a_quotation_is_in_the_code(quotation: str) -> None:
    """The code says what the page quotes, word for word."""
    assert any(quotation in text for text in TEXTS), quotation


@pytest.mark.parametrize("row", [line for line in PAGE.read_text().splitlines() if line.startswith("| `")])
def test_a_quotation_has_its_remedy(row: str) -> None:
    """Each quotation has a cause and a remedy beside it."""
    [_, quotation, remedy, _] = row.split("|")
    assert quotation.strip()
    assert len(remedy.strip()) > 20
