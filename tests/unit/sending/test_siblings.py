"""Whether people may have moved between the tasks of a send, and which calls of the other tasks count then."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from airflow_provider_wati.sending.journal import Journal, Start, StoreLimits
from airflow_provider_wati.sending.journal_codec import Intent, Rows, encode
from airflow_provider_wati.sending.siblings import OtherParams, Siblings
from airflow_provider_wati.sending.task_facts import TaskFacts
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

if TYPE_CHECKING:
    from airflow_provider_wati.sending.queue import SendQueue

NOW = datetime(2026, 11, 3, tzinfo=UTC)
MAPPED = TaskFacts(is_mapped=True, clears="1")
CALLS = (("aa-1", "t", None), ("aa-2", "t", "Line 2"), ("aa-3", "another", None))


def siblings(
    start: Start = Start.KNOWN,
    task: TaskFacts = MAPPED,
    *,
    digest: str | None = "people 1",
    has_siblings: bool = True,
    **facts: Any,
) -> Siblings:
    """Other tasks with a call to a template, one on another channel, and one to another template."""
    store = MemoryStore(limits=StoreLimits(has_siblings=has_siblings))
    if digest is not None:
        store.records = [encode(Rows(at=NOW, digest=digest))]
    store.siblings = [
        encode(Intent(id=id, at=NOW, content=content, people=array("q", [7]), channel=channel))
        for id, content, channel in CALLS
    ]
    queue = cast("SendQueue", SimpleNamespace(people_digest=lambda: "people"))
    settings: dict[str, Any] = {"is_sharded": False, "had_other_shards": False, **facts}
    return Siblings(
        journal=Journal(store, FakeClock(NOW)),
        queue=queue,
        start=start,
        task=task,
        content="t",
        channel=None,
        **settings,
    )


def ids(entries: Any) -> list[str]:
    return [entry.intent.id for entry in entries]


MOVED: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"digest": "people 0"}, True),
    ({"digest": "others 1"}, True),
    ({"digest": None}, False),
    ({"digest": None, "task": TaskFacts(is_mapped=True, is_cleared=True)}, True),
    ({"start": Start.LOST, "digest": "others 1"}, True),
    ({"start": Start.NEW, "digest": "others 1"}, False),
    ({"start": Start.NEW, "had_other_shards": True}, True),
    ({"task": TaskFacts(is_cleared=True), "digest": None}, False),
    ({"task": TaskFacts(is_shared=True)}, True),
]


@pytest.mark.parametrize(("facts", "expected"), MOVED, ids=str)
def test_whether_people_may_have_been_in_another_task(facts: dict[str, Any], expected: bool) -> None:
    """People who are others than before, or a Clear since; a task that is not mapped has them to itself."""
    assert siblings(**facts).may_have_had_people is expected


def test_calls_of_other_tasks_count_only_if_people_may_have_moved() -> None:
    """Another template, and another channel, is another message."""
    assert ids(siblings().relevant_calls) == []
    assert ids(siblings(digest="others 1").relevant_calls) == ["aa-1"]


def test_which_calls_are_to_be_like_those_of_this_task() -> None:
    """All under a key of the user's own; between shards those with the template, once people may have moved."""
    assert ids(siblings(task=TaskFacts(is_shared=True)).comparable_calls) == ["aa-1", "aa-2", "aa-3"]
    assert ids(siblings(digest="others 1", is_sharded=True).comparable_calls) == ["aa-1", "aa-2"]
    assert ids(siblings(is_sharded=True).comparable_calls) == []
    assert ids(siblings(digest="others 1").comparable_calls) == []


@pytest.mark.parametrize("start", Start)
def test_calls_may_hide_where_the_journals_of_others_are_out_of_reach(start: Start) -> None:
    """A lost journal and a shared key have a search of their own, which leaves out the calls of the others."""
    moved: dict[str, Any] = {"had_other_shards": True, "start": start}
    searches = start in (Start.LOST, Start.UNCERTAIN)
    assert siblings(**moved).may_hide_calls is False
    assert siblings(**moved, has_siblings=False).may_hide_calls is not searches
    assert siblings(**moved).known_calls == ({"aa-1", "aa-2", "aa-3"} if searches else set())


def test_the_people_of_a_mapped_task_are_recorded() -> None:
    """The next attempt compares them; a task that is not mapped has nothing to compare."""
    found = siblings(digest=None)
    found.record_people()
    assert found.journal.rows_digest == "people 1"
    alone = siblings(digest=None, task=TaskFacts())
    alone.record_people()
    assert alone.journal.rows_digest is None


CLEARED: TaskFacts = TaskFacts(is_mapped=True, clears="run/1/2/5")
OTHER_PARAMS: list[tuple[dict[str, Any], OtherParams]] = [
    # The people of the attempt before, and one Clear, counted or not.
    ({"digest": "people run/1/1/2"}, OtherParams.ANOTHER_MESSAGE),
    ({"digest": "people run/1/2/2"}, OtherParams.ANOTHER_MESSAGE),
    # Between two Clears, they may have been elsewhere.
    ({"digest": "people run/1/0/2"}, OtherParams.UNDECIDED),
    ({"digest": "others run/1/1/2"}, OtherParams.UNDECIDED),
    ({"digest": None}, OtherParams.UNDECIDED),
    ({"digest": "people"}, OtherParams.UNDECIDED),
    # One person, one message.
    ({"digest": "others run/1/1/2", "is_sharded": True}, OtherParams.SAME_MESSAGE),
    ({"digest": None, "task": TaskFacts(is_mapped=True, is_shared=True)}, OtherParams.SAME_MESSAGE),
]


@pytest.mark.parametrize(("facts", "expected"), OTHER_PARAMS, ids=str)
def test_what_other_parameters_of_another_task_mean(facts: dict[str, Any], expected: OtherParams) -> None:
    """Another message where the people are those of before; the same, changed since, where they may have moved."""
    assert siblings(**{"task": CLEARED, **facts}).other_params is expected
