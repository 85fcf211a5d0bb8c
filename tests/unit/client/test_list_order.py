"""Where the rest of a list is older than a limit."""

from __future__ import annotations

import pytest

from airflow_provider_wati.client.list_order import NewestFirst


def position(order: NewestFirst[str], times: list[str | None], limit: str) -> int | None:
    """The place in a list after which nothing is read; None when it is read to its end."""
    order.begin()
    return next((n for n, time in enumerate(times) if order.is_past(time, limit)), None)


def test_a_list_that_is_newest_first_is_left_early() -> None:
    """After enough falls, three old entries in a row end a list."""
    assert position(NewestFirst(3, 3), list("zyxwvutsrqponmlkjihgfedcba"), "m") == 16


def test_an_order_is_proven_by_earlier_lists() -> None:
    """What one list proves counts for the next, whose first entries may then be enough; the gap between lists proves nothing."""
    order = NewestFirst(3, 3)
    assert position(order, list("zyxw"), "a") is None
    assert position(order, list("zcba"), "d") == 3
    assert position(NewestFirst(3, 3), list("cba"), "d") is None


@pytest.mark.parametrize("times", [list("abcdefg"), list("gfedabc"), list("aaaaaaaaa"), [None] * 9])
def test_a_list_in_another_order_is_read_to_its_end(times: list[str | None]) -> None:
    """One time that goes up disproves the order, equal and missing times prove nothing."""
    assert position(NewestFirst(3, 3), times, "d" if times[0] == "g" else "z") is None


def test_a_rise_counts_in_later_lists_too() -> None:
    """After one rise, no list of the kind is left early."""
    order = NewestFirst(1, 1)
    assert position(order, list("ab"), "a") is None
    assert position(order, list("zyxcba"), "m") is None
