"""What the journals say of the earlier calls for one message."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_wati.sending.earlier_calls import EarlierCalls
from airflow_provider_wati.sending.journal import Journal, Start, StoreLimits
from airflow_provider_wati.sending.journal_codec import Intent, Opening, encode
from airflow_provider_wati.sending.reconciler import DEFAULT_GRACE, policy_of
from airflow_provider_wati.sending.task_facts import TaskFacts
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

MIDNIGHT = datetime(2026, 11, 3, tzinfo=UTC)
PERSON, SOMEBODY_ELSE = 7, 8


def at(seconds: int) -> datetime:
    return MIDNIGHT + timedelta(seconds=seconds)


@pytest.mark.parametrize("is_own", [True, False], ids=["own call", "another task's call"])
def test_the_grace_counts_from_the_next_attempt_of_the_task_that_made_the_call(is_own: bool) -> None:
    """An attempt of this task, a second after the call, says nothing of how long another task's call took."""
    records = [
        encode(Opening(session="aa", at=at(-1), person=PERSON)),
        encode(Intent(id="aa-1", at=at(0), content="file", people=array("q", [PERSON]))),
    ]
    later = [encode(Opening(session="bb", at=at(1), person=PERSON if is_own else SOMEBODY_ELSE))]
    store = MemoryStore(limits=StoreLimits(has_siblings=True))
    store.siblings, store.records = ([], records + later) if is_own else (records, later)
    clock = FakeClock(at(92))
    journal = Journal(store, clock)
    journal.open(PERSON)
    [call] = EarlierCalls(
        journal=journal,
        start=Start.KNOWN,
        began=clock.now(),
        person=PERSON,
        content="file",
        policy=policy_of(None, (5, 30)),
        task=TaskFacts(run_began=at(-10), is_mapped=True, is_cleared=True),
    ).ambiguous()
    # The call has the time of its timeouts at least.
    assert call.deadline == (at(35) if is_own else at(92)) + DEFAULT_GRACE
