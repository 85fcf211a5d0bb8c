"""When a look at WATI is due."""

from __future__ import annotations

from airflow_provider_wati.waiting.resting import Rest


def looks_at(marks: list[str | None], longest: float, every: float = 1.0) -> list[int]:
    """Return at which of some moments WATI is looked at."""
    rest, looks = Rest(longest), []
    for n, mark in enumerate(marks):
        if rest.is_due(mark, n * every):
            looks.append(n)
            rest.looked(mark, n * every)
    return looks


def test_a_wait_rests_while_nothing_comes_in() -> None:
    """Without news, WATI is looked at once in the longest rest."""
    assert looks_at(["a"] * 20, 6) == [0, 6, 12, 18]


def test_news_bring_a_look_and_one_more() -> None:
    """Because WATI's lists may lag behind its events, the look after news is followed by another."""
    assert looks_at(["a", "a", "b", "b", "b", "b"], 100) == [0, 2, 3]


def test_without_a_receiver_each_look_is_made() -> None:
    """Where nothing is known, everything is as without a receiver; what is known again counts again."""
    assert looks_at([None] * 4, 100) == [0, 1, 2, 3]
    assert looks_at(["a", None, "a", "a", "a"], 100) == [0, 1, 2]


def test_a_look_that_failed_is_made_again() -> None:
    """What was not noted as a look does not count as one."""
    rest = Rest(6)
    assert rest.is_due("a", 0)
    assert rest.is_due("a", 1)
