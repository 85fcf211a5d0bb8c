"""The calls of a reconciliation by number, and until when WATI may take to show each."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_wati.sending.journal import Entry, Journal
from airflow_provider_wati.sending.journal_codec import Intent, Opening, Verdict, encode
from airflow_provider_wati.sending.numbered_calls import (
    ABSENT_CALLS,
    LOST_CALLS,
    OTHERS_CALLS,
    UNRECORDED,
    CallKind,
    NumberedCalls,
    kind_of,
)
from airflow_provider_wati.sending.reconciler import Policy
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

START = datetime(2026, 11, 3, tzinfo=UTC)
GRACE, TIMEOUT = 120, 35


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def intent(id: str, second: int, due: datetime | None = None) -> Intent:
    return Intent(id=id, at=at(second), content="t", people=array("q", [7]), due=due)


def numbered(*, siblings: list[Entry] | None = None, others_may_hide: bool = False) -> NumberedCalls:
    """Two calls of an earlier attempt, the second one with a result, in an attempt that began at second 100."""
    store = MemoryStore()
    store.records = [
        encode(Opening(session="aa", at=at(-1))),
        encode(intent("aa-1", 0)),
        encode(intent("aa-2", 10, due=at(500))),
    ]
    journal = Journal(store, FakeClock(at(20)), session="bb")
    journal.record_result(journal.entries[1], {Verdict.OPEN: None})
    return NumberedCalls(
        journal=journal,
        siblings=siblings or [],
        others_may_hide=others_may_hide,
        policy=Policy(grace=timedelta(seconds=GRACE), timeout=timedelta(seconds=TIMEOUT)),
        started=at(100),
    )


@pytest.mark.parametrize(
    ("call", "kind", "is_recorded"),
    [
        (0, CallKind.OWN, True),
        (1_000_000, CallKind.OWN, True),
        (LOST_CALLS, CallKind.LOST, False),
        (OTHERS_CALLS, CallKind.OTHERS, False),
        (ABSENT_CALLS, CallKind.ABSENT, False),
        (-10, CallKind.SIBLING, True),
        (-1_000_000, CallKind.SIBLING, True),
    ],
)
def test_what_a_number_stands_for(call: int, kind: CallKind, is_recorded: bool) -> None:
    """Own calls count up, calls of other tasks down, and three numbers stand for calls without a record."""
    assert (kind_of(call), kind_of(call).is_recorded) == (kind, is_recorded)


def test_each_recorded_call_has_a_number_of_its_own() -> None:
    """The entry of each number is the one that it was given to; the calls without a record have none."""
    siblings = [Entry.of(intent(f"cc-{n}", n)) for n in range(3)]
    calls = numbered(siblings=siblings)
    recorded = calls.recorded()
    assert len(recorded) == 5
    assert all(calls.entry(number) is entry for number, entry in recorded.items())
    assert {kind_of(number) for number in recorded} == {CallKind.OWN, CallKind.SIBLING}
    assert [calls.entry(number) for number in UNRECORDED] == [None] * 3


def test_the_grace_counts_from_the_latest_end_of_a_call() -> None:
    """The recorded end counts; without one a call lasts until the next attempt, and as long as its timeouts at least."""
    sibling = Entry.of(intent("cc-1", 90))
    calls = numbered(siblings=[sibling])
    [first, second, other] = calls.recorded()
    assert calls.deadline(first, at(100)) == at(100 + GRACE)
    assert calls.deadline(second, at(100)) == at(20 + GRACE)
    assert calls.deadline(other, at(100)) == at(90 + TIMEOUT + GRACE)


def test_a_call_of_this_attempt_that_has_no_end_lasts_as_long_as_its_timeouts() -> None:
    """No later attempt says when it was over."""
    calls = numbered()
    calls.journal.record_intent([7], content="t")
    assert calls.end_of(2) == at(20 + TIMEOUT)


def test_a_schedule_has_its_grace_when_it_is_due_and_is_watched_like_a_call_at_once() -> None:
    """It may be due in days."""
    calls = numbered()
    assert calls.deadline(1, at(500)) == at(500 + GRACE)
    assert calls.watched_until(1, at(500)) == at(20 + GRACE)
    assert calls.watched_until(LOST_CALLS, at(500)) is None


@pytest.mark.parametrize("others_may_hide", [True, False])
def test_calls_without_a_record_have_a_grace_where_they_may_have_been_made(others_may_hide: bool) -> None:
    """That others may use a key is no reason to wait; people who have moved here from them are one."""
    calls = numbered(others_may_hide=others_may_hide)
    assert calls.deadline(LOST_CALLS, at(100)) == at(100 + GRACE)
    assert calls.deadline(OTHERS_CALLS, at(100)) == at(100 + GRACE if others_may_hide else 100)
    assert calls.may_have_sent(LOST_CALLS)
    assert calls.may_have_sent(ABSENT_CALLS)
    assert calls.may_have_sent(OTHERS_CALLS) is others_may_hide


def test_an_absent_call_has_had_its_grace() -> None:
    """An earlier attempt has waited for it."""
    assert numbered().deadline(ABSENT_CALLS, at(100)) == at(100)
