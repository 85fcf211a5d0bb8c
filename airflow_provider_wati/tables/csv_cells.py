"""Cells of CSV files that a spreadsheet would run as formulas: quoted on the way out, restored on the way in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

_QUOTE = "'"
#: What a spreadsheet takes for the beginning of a formula, also behind spaces and quotes (OWASP, "CSV Injection").
_FORMULA = r"[ '\"\0]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
#: Signs, digits and what stands between digits: without a letter it neither calls a function nor names a cell.
_NUMBER = r"[ '\"]*[+-][0-9 .,()/-]*"
_RUNS = re.compile(rf"(?!{_NUMBER}\Z){_FORMULA}")
# Cells joined by NUL. A NUL within a cell costs a needless look at its row.
_BETWEEN = "\0"
_MAY_RUN = re.compile(rf"{_BETWEEN}(?!{_NUMBER}(?:{_BETWEEN}|\Z)){_FORMULA}")
_ROWS_A_LOOK = 500


def safe_cell(text: str) -> str:
    """
    Return a text as a cell that no spreadsheet runs.

    The rule: a text that begins with ``=``, ``+``, ``-``, ``@``, their full-width forms, a tab or a line break, also
    behind spaces and quotes, gets a ``'`` before it. A number does not: ``+`` or ``-`` and then only digits, spaces
    and ``. , ( ) / -``, such as ``+91 98100-00001`` or ``-12.50``.

    :param text: any text; :func:`original_text` returns it again.
    """
    return _QUOTE + text if _RUNS.match(text) else text


def original_text(cell: str) -> str:
    """Return the text of which :func:`safe_cell` made a cell."""
    return cell[1:] if cell.startswith(_QUOTE) and _RUNS.match(cell, 1) else cell


def safe_rows(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """
    Yield rows with each text as :func:`safe_cell` returns it.

    A column of many rows is searched at once, because a look at each cell takes longer.

    :param rows: rows of one length.
    """
    source = iter(rows)
    while part := list(islice(source, _ROWS_A_LOOK)):
        if any(map(_may_run, zip(*part, strict=True))):
            for row in part:
                yield [safe_cell(value) if isinstance(value, str) else value for value in row]
        else:
            yield from part


def _may_run(column: Sequence[Any]) -> bool:
    try:
        joined = _BETWEEN.join(filter(None, column))
    except TypeError:
        joined = _BETWEEN.join(value for value in column if isinstance(value, str))
    return _MAY_RUN.search(_BETWEEN + joined) is not None
