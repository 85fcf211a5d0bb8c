"""Iteration over the pages of a list, which ends whatever the server does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from airflow_provider_wati.client.responses import is_too_deep, normalise
from airflow_provider_wati.exceptions import WatiResponseError

log: logging.Logger = logging.getLogger(__name__)

#: The most rows that WATI gives in one page.
PAGE_SIZE = 100
#: Pages of one list; with rows that are new each time, nothing else would end it.
_MOST_PAGES = 50_000
#: What tells rows apart: the first of these that a row has. No other field, because it may change between two pages.
_ID_FIELDS = (
    "id", "message_id", "local_message_id", "contact_id", "contact_phone", "bsuid", "name", "created",
)  # fmt: skip
#: Rows that are remembered, at the least: a hundred pages.
_ROWS_KEPT = 10_000
#: Stands for all rows that have none of these, and for those that are left out.
_ODD = 0


def iter_pages(
    fetch: Callable[[int], Mapping[str, Any]], key: str, shown: str, *, total: str | None = None
) -> Iterator[Any]:
    """
    Yield the rows of a list until a page proves that it is the last; see :func:`is_last`.

    :param fetch: gets a page by its number, which starts at 1.
    :param key: where a page holds its rows, a list or null.
    :param shown: what errors call the list, such as ``/contacts``.
    :param total: where a page holds the number of all rows, if it does.
    :raises WatiResponseError: when a page brings no row that was not there before, so that the list has no end, and after
        50,000 pages. A list that repeats itself after more than a hundred pages may go round up to three times first.
    """
    known_rows = _KnownRows()
    count = longest = 0
    for page_number in range(1, _MOST_PAGES + 1):
        page = fetch(page_number)
        rows = page[key] or []
        if not rows:
            return
        objects = [normalise(row) for row in rows if isinstance(row, dict) and not is_too_deep(row)]
        identities = set(map(_identity_of, objects))
        if len(objects) < len(rows):
            identities.add(_ODD)
        has_news = known_rows.add(identities)
        count += len(rows)
        size, known_total = _full_page(page), (_number(page.get(total)) if total else None)
        ends = is_last(len(rows), longest=longest, size=size, count=count, total=known_total)
        if not has_news and not ends:
            # A server that ignores the page number gives a short list whole, and then again.
            if page_number == 2 and longest < size and longest >= (known_total or 0):
                return
            raise WatiResponseError(
                f"WATI gives the same rows of {shown} again and again: page {page_number} has none that is new."
            )
        if len(objects) < len(rows):
            log.warning(
                "WATI lists %d rows in %s that are no objects, or are nested too deeply: they are left out.",
                len(rows) - len(objects),
                shown,
            )
        yield from objects
        if ends:
            return
        longest = max(longest, len(rows))
    raise WatiResponseError(f"WATI's list {shown} has not ended after {_MOST_PAGES:,} pages.")


class _KnownRows:
    """
    Knows the rows of the last hundred pages at least, and of two pages at each power of two.

    Memory stays the same for a list of any length. Whatever the length of a round, a list that goes round comes back to
    the two pages that are kept: at the latest when the number of the first of them is as large as the round. Any page of
    the next round that begins within the first of the two lies within both.
    """

    def __init__(self) -> None:
        self._now: set[int] = set()
        self._before: set[int] = set()
        self._kept: set[int] = set()
        self._pages = 0

    def add(self, rows: Set[int]) -> bool:
        """
        Take the rows of a page in, and return whether one of them was not known.

        :param rows: numbers that stand for them.
        """
        has_news = any(
            row not in self._now and row not in self._before and row not in self._kept for row in rows
        )
        self._pages += 1
        if _is_power_of_two(self._pages):
            self._kept = set(rows)
        elif _is_power_of_two(self._pages - 1):
            self._kept |= rows
        self._now |= rows
        if len(self._now) >= _ROWS_KEPT:
            self._before, self._now = self._now, set()
        return has_news


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def is_last(rows: int, *, longest: int, size: int, count: int, total: int | None) -> bool:
    """
    Say if a page with rows is the last of its list.

    A server may give smaller pages than it is asked for, and than it says, so a short page alone proves nothing; one
    that is shorter than an earlier page does. A total may lag behind the rows, so it ends a list of one page only.

    :param rows: the rows of the page.
    :param longest: the rows of the longest page before it; 0 for the first page.
    :param size: the rows of a full page, as asked for or as the server says.
    :param count: the rows of all pages so far.
    :param total: how many rows there are by the server's word; None without one.
    """
    if rows >= size or (total is not None and count < total):
        return False
    return rows < longest or (longest == 0 and count == total)


def _full_page(page: Mapping[str, Any]) -> int:
    return min(PAGE_SIZE, _number(page.get("page_size")) or PAGE_SIZE)


def _identity_of(row: Mapping[str, Any]) -> int:
    """Return a number that stands for a row; a set of numbers is small where one of ids is not."""
    return next((hash(row[field]) for field in _ID_FIELDS if row.get(field)), _ODD)


def _number(value: object) -> int | None:
    """Return a count, also where it is text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
