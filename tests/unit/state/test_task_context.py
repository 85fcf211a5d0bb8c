"""What the context of a task says about its attempts and its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_wati.sending.task_facts import TaskFacts
from airflow_provider_wati.state.task_context import is_cleared, made_at, may_have_run, task_facts
from tests.support.task_context import context, uuid7

MAY_HAVE_RUN: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"try_number": 2}, True),
    ({"reschedules": 0}, False),
    ({"reschedules": 1}, True),
    ({"clear_number": 1}, False),
    ({"loop": 1}, False),
    ({"loop": 1, "clear_number": 1}, True),
    ({"loop": 1, "try_number": 2}, True),
    ({"map_index": 3}, False),
    ({"map_index": 3, "clear_number": 1}, True),
    ({"map_index": 3, "clear_number": None}, False),
]


@pytest.mark.parametrize(("facts", "expected"), MAY_HAVE_RUN, ids=str)
def test_whether_an_earlier_attempt_may_have_run(facts: dict[str, Any], expected: bool) -> None:
    """A second try, a reschedule under the same try number, or a part of a run that was cleared."""
    assert may_have_run(context(**facts)) is expected


CLEARED: list[tuple[dict[str, Any], bool]] = [
    ({"retries": 2, "max_tries": 2}, False),
    ({"retries": 2, "max_tries": 3}, True),
    ({"retries": 0, "max_tries": 0}, False),
    ({"retries": 0, "max_tries": 1}, True),
    ({"retries": None}, True),
    ({"max_tries": None}, True),
    ({"loop": 1, "clear_number": 1}, True),
    ({"map_index": 1, "clear_number": 2}, True),
    # A Clear of other tasks of the run counts too: it is not known which were cleared.
    ({"clear_number": 2}, True),
    ({"clear_number": None}, False),
]


@pytest.mark.parametrize(("facts", "expected"), CLEARED, ids=str)
def test_whether_a_task_may_have_been_cleared(facts: dict[str, Any], expected: bool) -> None:
    """Airflow adds the attempts so far to the retries that it allows; what is not known counts as cleared."""
    assert is_cleared(context(**facts)) is expected


# What a send is told

LONG_AGO, BEGAN, DUE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2026, 2025))
RUNS: list[tuple[dict[str, Any], datetime]] = [
    ({}, LONG_AGO),
    ({"start_date": BEGAN, "run_after": DUE}, BEGAN),
    ({"start_date": BEGAN.replace(tzinfo=None)}, BEGAN),
    ({"start_date": BEGAN, "run_after": DUE, "clear_number": 1}, DUE),
    ({"start_date": BEGAN, "clear_number": 1}, LONG_AGO),
    ({"run_after": DUE}, DUE),
]


@pytest.mark.parametrize(("run", "expected"), RUNS, ids=str)
def test_when_a_run_can_have_begun(run: dict[str, Any], expected: datetime) -> None:
    """The start counts until a Clear has overwritten it, then the time that the run was due."""
    task = context()
    vars(task["dag_run"]).update(run)
    assert task_facts(task, is_shared=False).run_began == expected


def test_a_task_without_a_past() -> None:
    """Nothing of what Airflow says asks for a look at earlier calls."""
    assert task_facts(context(), is_shared=False) == TaskFacts(clears="r/0/2")


def test_a_context_without_a_run() -> None:
    """A context that is made by hand may have none."""
    task = context()
    del task["dag_run"]
    assert task_facts(task, is_shared=False) == TaskFacts(clears="r/0/2")


def test_a_mapped_task_of_a_cleared_run() -> None:
    """People may have been in another mapped task, or in none, before the Clear."""
    assert task_facts(context(map_index=1, clear_number=3, max_tries=4), is_shared=True) == TaskFacts(
        is_mapped=True, is_shared=True, is_cleared=True, clears="r/3/4", is_new_member=True
    )


def test_a_mapped_task_that_was_made_late() -> None:
    """It is taken for one of a cleared run, whatever Airflow counts."""
    facts = task_facts(context(map_index=1), is_shared=False, is_late=True)
    assert (facts.is_cleared, facts.is_new_member) == (True, True)


# When a task instance was made

MADE = datetime(2026, 5, 1, 10, 30, 0, 250_000, tzinfo=UTC)
IDS: list[tuple[dict[str, Any], datetime | None]] = [
    ({"made": MADE}, MADE),
    ({}, None),
    # Airflow gives each attempt an id of its own.
    ({"made": MADE, "try_number": 2}, None),
    ({"made": MADE, "reschedules": 1}, None),
]


@pytest.mark.parametrize(("facts", "expected"), IDS, ids=str)
def test_when_a_task_instance_was_made(facts: dict[str, Any], expected: datetime | None) -> None:
    """The id of a task instance begins with the time, which counts in its first attempt."""
    assert made_at(context(**facts)) == expected


@pytest.mark.parametrize(
    "id", [None, "an id", str(uuid7(MADE)), UUID(int=uuid7(MADE).int ^ 3 << 76)], ids=str
)
def test_an_id_that_has_no_time(id: Any) -> None:
    """A context that is made by hand may have another id, or none."""
    task = context()
    task["ti"].id = id
    assert made_at(task) is None
