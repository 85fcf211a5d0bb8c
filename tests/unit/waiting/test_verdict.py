"""The verdict over a campaign: one table, and the readings of counters that WATI does not explain."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.waiting.condition import Verdict
from airflow_provider_wati.waiting.verdict import (
    Goal,
    Stage,
    Tally,
    counters_of,
    judge,
    judge_readings,
    readings_of,
    stage_of,
    tally_of_statuses,
    unknown_statuses,
)

WAITING, DONE, FAILED = Verdict.WAITING, Verdict.DONE, Verdict.FAILED

#: Statuses of recipients, the goal (until, share, failure_threshold), and the verdict.
TABLE: list[tuple[dict[str, int], tuple[str, float, float], Verdict]] = [
    ({}, ("sent", 1, 0), WAITING),
    ({"queued": 1}, ("sent", 1, 0), WAITING),
    ({"sent": 1}, ("sent", 1, 0), DONE),
    ({"SENT": 1, " Delivered": 1, "rEAD": 1, "replied": 1}, ("sent", 1, 0), DONE),
    ({"sent": 1}, ("delivered", 1, 0), WAITING),
    ({"delivered": 1, "read": 1, "replied": 1}, ("delivered", 1, 0), DONE),
    ({"delivered": 1, "read": 1}, ("read", 1, 0), WAITING),
    ({"read": 1}, ("replied", 1, 0), WAITING),
    ({"replied": 1}, ("replied", 1, 0), DONE),
    # A failure is finished, and is held against the threshold at once.
    ({"delivered": 9, "failed": 1}, ("delivered", 1, 0), FAILED),
    ({"delivered": 9, "failed": 1}, ("delivered", 1, 0.1), DONE),
    ({"queued": 8, "failed": 2}, ("delivered", 1, 0.1), FAILED),
    ({"queued": 9, "failed": 1}, ("delivered", 1, 0.1), WAITING),
    ({"delivered": 9, "Undelivered": 1}, ("delivered", 1, 0), FAILED),
    ({"delivered": 9, "stopped": 1}, ("delivered", 1, 0), FAILED),
    # Nobody got it: no threshold makes that a success.
    ({"failed": 3}, ("sent", 1, 1), FAILED),
    ({"failed": 2, "sent": 1}, ("sent", 1, 1), DONE),
    # The share counts who has finished.
    ({"delivered": 7, "sent": 3}, ("delivered", 0.7, 0), DONE),
    ({"delivered": 6, "sent": 4}, ("delivered", 0.7, 0), WAITING),
    ({"delivered": 6, "failed": 1, "sent": 3}, ("delivered", 0.7, 0.1), DONE),
    # A word that is not known, or none, is not finished yet.
    ({"delivered": 9, "en route": 1}, ("delivered", 1, 1), WAITING),
    ({"delivered": 9, "": 1}, ("sent", 1, 1), WAITING),
    ({"delivered": 9, "en route": 1}, ("delivered", 0.9, 0), DONE),
]


@pytest.mark.parametrize(("statuses", "goal", "verdict"), TABLE)
def test_the_table_of_statuses(
    statuses: dict[str, int], goal: tuple[str, float, float], verdict: Verdict
) -> None:
    """The words of WATI's list lead to the verdict of the table."""
    until, share, threshold = stage_of(goal[0]), *goal[1:]
    assert judge(tally_of_statuses(statuses, until), Goal(until, share, threshold)) is verdict


KNOWN = ("queued", "sent", "delivered", "read", "replied", "failed", "stopped")


def statistics_of(statuses: dict[str, int], *, cumulative: bool) -> dict[str, int]:
    """What WATI's counters say of recipients, in one of the two ways in which it may count them."""
    counts = {word: statuses.get(word, 0) for word in KNOWN}
    total = sum(statuses.values())
    if cumulative:
        for earlier, later in (("read", "replied"), ("delivered", "read"), ("sent", "delivered")):
            counts[earlier] += counts[later]
    return {"total_recipients": total, **{f"total_{word}": number for word, number in counts.items()}}


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize(("statuses", "goal", "verdict"), TABLE)
def test_statistics_never_contradict_the_list(
    statuses: dict[str, int], goal: tuple[str, float, float], verdict: Verdict, cumulative: bool
) -> None:
    """Counters of either kind give the verdict of the list, or none: then the list is read."""
    plain = {word.strip().lower().replace("undelivered", "failed"): n for word, n in statuses.items()}
    until = stage_of(goal[0])
    counters = counters_of(statistics_of(plain, cumulative=cumulative))
    assert counters is not None
    agreed = judge_readings(readings_of(counters, until), Goal(until, *goal[1:]))
    assert agreed is None or agreed[0] is verdict


@pytest.mark.parametrize(
    "statuses",
    [{"queued": 3, "sent": 3, "delivered": 3}, {"sent": 2, "delivered": 3}, {"queued": 9, "failed": 1}],
)
def test_usual_statistics_need_no_list(statuses: dict[str, int]) -> None:
    """Cumulative counters of a campaign on its way decide without the list, so that a look is one call."""
    counters = counters_of(statistics_of(statuses, cumulative=True))
    assert counters is not None
    assert judge_readings(readings_of(counters, Stage.SENT), Goal(Stage.SENT)) is not None


def test_counters_that_lag_do_not_make_a_campaign_green() -> None:
    """Cumulative counters in which somebody is missing add up to the total of exclusive ones: they decide nothing."""
    counters = counters_of({"total_recipients": 3, "total_sent": 2, "total_delivered": 1})
    assert counters is not None
    assert judge_readings(readings_of(counters, Stage.SENT), Goal(Stage.SENT)) is None


@pytest.mark.parametrize(
    "odd", [None, [], "many", {}, {"total_recipients": -1}, {"total_recipients": 2, "total_sent": "all"}]
)
def test_odd_statistics_are_not_used(odd: Any) -> None:
    """Statistics without usable numbers decide nothing."""
    assert counters_of(odd) is None


def test_a_campaign_that_was_taken_back_never_reaches_the_rest() -> None:
    """What has not begun in a cancelled campaign counts as failed, by counters and by words."""
    counters = counters_of({"total_recipients": 3, "total_pending": 2, "total_sent": 1}, is_cancelled=True)
    assert counters is not None
    assert readings_of(counters, Stage.SENT)[0] == Tally(3, 1, 2)
    assert tally_of_statuses({"pending": 2, "sent": 1}, Stage.SENT, is_cancelled=True) == Tally(3, 1, 2)


@pytest.mark.parametrize(
    ("counted", "is_usable"),
    [
        ({}, False),
        ({"pending": 1}, False),
        ({"sent": 1, "delivered": 1}, False),
        ({"stopped": 2}, True),
        ({"pending": 1, "sent": 1}, True),
        ({"pending": 1, "sent": 1, "read": 1}, True),
    ],
)
def test_counters_that_leave_out_people_of_a_cancelled_campaign_are_not_used(
    counted: dict[str, int], is_usable: bool
) -> None:
    """People in no counter would be waited for until the timeout, though nothing leaves a cancelled campaign any more."""
    statistics = {"total_recipients": 2, **{f"total_{name}": count for name, count in counted.items()}}
    assert (counters_of(statistics, is_cancelled=True) is not None) is is_usable
    assert counters_of(statistics) is not None


def test_unknown_words_are_named() -> None:
    """Only words that nothing is known of are reported."""
    words = {"sent": 1, "en route": 2, "failed": 1, "processing": 4, "": 3}
    assert unknown_statuses(words) == {"en route": 2, "": 3}


@pytest.mark.parametrize(("share", "threshold"), [(0, 0), (1.1, 0), ("1", 0), (1, -0.1), (1, 1.1), (1, True)])
def test_a_goal_out_of_range_is_refused(share: Any, threshold: Any) -> None:
    """Shares and thresholds are parts of one."""
    with pytest.raises(WatiValidationError, match=r"share|failure_threshold"):
        Goal(Stage.SENT, share, threshold)


def test_an_unknown_stage_is_refused() -> None:
    """The error names the stages."""
    with pytest.raises(WatiValidationError, match="sent, delivered, read, replied"):
        stage_of("opened")
