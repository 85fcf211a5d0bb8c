"""Iteration over the pages of a list, which ends whatever the server does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_wati.exceptions import WatiResponseError

log = logging.getLogger(__name__)

#: The most rows that WATI gives in one page.
PAGE_SIZE = 100
_ID_FIELDS = ("id", "message_id", "local_message_id")


def iter_pages(
    fetch: Callable[[int], Mapping[str, Any]], key: str, shown: str, *, total: str | None = None
) -> Iterator[Any]:
    """
    Yield the rows of a list until a page is not full, and on to its total.

    A total never ends a list: it may lag behind the rows.

    :param fetch: gets a page by its number, which starts at 1.
    :param key: where a page holds its rows, a list or null.
    :param shown: what errors call the list, such as ``/contacts``.
    :param total: where a page holds the number of all rows, if it does.
    :raises WatiResponseError: when a page brings no row that was not there before, so that the list has no end.
    """
    seen: set[int] = set()
    count = 0
    page_number = 1
    while True:
        page = fetch(page_number)
        rows = page[key] or []
        known = len(seen)
        seen.update(map(_identity_of, rows))
        yield from _objects(rows, shown)
        count += len(rows)
        full = min(PAGE_SIZE, _number(page.get("page_size")) or PAGE_SIZE)
        known_total = (_number(page.get(total)) if total else None) or 0
        if not rows or (len(rows) < full and count >= known_total):
            return
        if len(seen) == known:
            raise WatiResponseError(
                f"WATI gives the same rows of {shown} again and again: page {page_number} has none that is new."
            )
        page_number += 1


def _objects(rows: list[Any], shown: str) -> Iterator[Any]:
    """Leave out what is not an object: one odd row costs that row, not the list."""
    for row in rows:
        if isinstance(row, dict):
            yield row
        else:
            log.warning(
                "WATI lists a %s in %s where an object should be: it is left out.", type(row).__name__, shown
            )


def _identity_of(row: Any) -> int:
    """Return a number that stands for a row; a set of numbers is small where one of ids is not."""
    if isinstance(row, dict):
        for field in _ID_FIELDS:
            if row.get(field):
                return hash(str(row[field]))
    return hash(json.dumps(row, sort_keys=True))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
