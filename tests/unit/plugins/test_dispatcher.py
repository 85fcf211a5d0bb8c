"""Stored events become asset events; Airflow's own scheduler code makes the runs."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, text, update

from airflow_provider_wati.listening.webhook_events import event_of
from tests.conftest import write_to_database

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver

ASSET = "wati://receiving/messages"
CONSUMED = """
SELECT dag_run.dag_id, asset_event.extra FROM dagrun_asset_event
JOIN dag_run ON dag_run.id = dagrun_asset_event.dag_run_id
JOIN asset_event ON asset_event.id = dagrun_asset_event.event_id
"""


class Airflow:
    """Airflow's database with a scheduler that makes runs when it is told to."""

    def __init__(self, receiver: Receiver) -> None:
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.utils.session import create_session

        self.receiver = receiver
        self.session = create_session
        # It has no types.
        make_job: Any = Job
        job = make_job()
        with create_session() as session:
            session.add(job)
            session.flush()
            session.expunge(job)
        self._runner: Any = SchedulerJobRunner(job=job)
        self._count = 0

    def deploy(
        self,
        dag_id: str,
        *,
        asset: str = ASSET,
        and_asset: str | None = None,
        max_active_runs: int = 1000,
        catchup: bool = False,
    ) -> str:
        from airflow.sdk import DAG, Asset, BaseOperator

        schedule: Any = Asset(asset) & Asset(name=and_asset) if and_asset else [Asset(asset)]
        dag = DAG(
            dag_id,
            schedule=schedule,
            max_active_runs=max_active_runs,
            catchup=catchup,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
        )
        BaseOperator(task_id="receive", dag=dag)
        write_to_database(dag)
        with self.session() as session:
            session.execute(text("UPDATE dag SET is_paused = false"))
        return dag_id

    def receive(self, count: int = 1) -> list[str]:
        """Store messages; return their ids."""
        from airflow_provider_wati.plugins import _store
        from airflow_provider_wati.plugins._receiver import now_in_milliseconds

        ids = [f"m{self._count + number}" for number in range(count)]
        self._count += count
        events = [event_of({"eventType": "message", "id": id, "text": "Hello"}) for id in ids]
        _store.store(
            self.receiver.engine,
            [_store.Received("receiving", event, now_in_milliseconds()) for event in events],
        )
        return ids

    def dispatch(self, *, later: float = 0) -> bool:
        """Let the dispatcher work, as if some seconds later."""
        from airflow_provider_wati.plugins._dispatcher import dispatch

        with self.session() as session:
            return dispatch(session, datetime.now(tz=UTC) + timedelta(seconds=later))

    def schedule(self) -> None:
        """Let Airflow's scheduler make the runs that are due."""
        from airflow.utils.sqlalchemy import prohibit_commit

        prohibit: Any = prohibit_commit
        with self.session() as session, prohibit(session) as guard:
            self._runner._create_dagruns_for_dags(guard, session)
            guard.commit()

    def consumed(self, dag_id: str) -> Counter[str]:
        with self.session() as session:
            rows = [row for row in session.execute(text(CONSUMED)) if row.dag_id == dag_id]
        extras = [json.loads(row.extra) if isinstance(row.extra, str) else row.extra for row in rows]
        return Counter(item["id"] for extra in extras for item in extra["messages"])

    def states(self) -> Counter[str]:
        from airflow_provider_wati.plugins._tables import EVENTS

        with self.receiver.engine.connect() as connection:
            return Counter(row.state for row in connection.execute(select(EVENTS.c.state)))


@pytest.fixture
def airflow(receiver: Receiver) -> Iterator[Airflow]:
    made = Airflow(receiver)
    clear(made)
    yield made
    clear(made)


def clear(airflow: Airflow) -> None:
    tables = ("asset_dag_run_queue", "dagrun_asset_event", "dag_run", "asset_event")
    references = (
        "dag_schedule_asset_reference",
        "asset_active",
        "asset",
        "serialized_dag",
        "dag_version",
        "dag",
    )
    with airflow.session() as session:
        for table in (*tables, *references):
            session.execute(text(f"DELETE FROM {table}"))


def each_once(ids: list[str]) -> Counter[str]:
    return Counter(dict.fromkeys(ids, 1))


def test_a_message_is_in_a_run(airflow: Airflow) -> None:
    """A pending message becomes an asset event, and the run has it."""
    dag_id = airflow.deploy("first")
    ids = airflow.receive(3)
    airflow.dispatch()
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)
    assert airflow.states() == {"dispatched": 3}


def test_an_asset_that_no_dag_uses(airflow: Airflow) -> None:
    """Messages that no DAG can get are unused, also when a DAG comes later."""
    airflow.receive(2)
    airflow.dispatch()
    assert airflow.states() == {"unused": 2}
    dag_id = airflow.deploy("late")
    airflow.dispatch()
    airflow.schedule()
    assert not airflow.consumed(dag_id)


def disable(airflow: Airflow) -> None:
    """Take the asset out of use, as Airflow does when the file of its only DAG is gone."""
    with airflow.session() as session:
        session.execute(text("DELETE FROM asset_active"))


def enable(airflow: Airflow, asset: str = ASSET) -> None:
    from airflow.models.asset import AssetActive

    with airflow.session() as session:
        session.add(AssetActive(name=asset, uri=asset))


def test_a_message_that_came_while_its_dag_was_broken_is_dispatched_later(airflow: Airflow) -> None:
    """A DAG that is gone for a minute gets what came in that minute, as it does by polling."""
    dag_id = airflow.deploy("broken")
    disable(airflow)
    ids = airflow.receive(2)
    airflow.dispatch()
    assert airflow.states() == {"waiting": 2}
    enable(airflow)
    airflow.dispatch(later=60)
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)
    assert airflow.states() == {"dispatched": 2}


def test_an_asset_that_stays_away_is_not_waited_for_for_ever(airflow: Airflow) -> None:
    """Ten minutes after it was received, an event is unused; until then nothing is written."""
    from airflow_provider_wati.plugins._dispatcher import has_work

    airflow.deploy("removed")
    disable(airflow)
    airflow.receive()
    airflow.dispatch()
    with airflow.session() as session:
        assert not has_work(session)
    airflow.dispatch(later=590)
    assert airflow.states() == {"waiting": 1}
    airflow.dispatch(later=610)
    assert airflow.states() == {"unused": 1}


def test_what_waits_keeps_its_place_for_readers(airflow: Airflow) -> None:
    """A status that waits for its asset is read at once, and not again when the asset is back."""
    from airflow_provider_wati.plugins import _store
    from airflow_provider_wati.plugins._store import Place

    airflow.deploy("statuses", asset="wati://receiving/statuses")
    disable(airflow)
    event = event_of({"eventType": "sentMessageREAD", "id": "s1"})
    _store.store(airflow.receiver.engine, [_store.Received("receiving", event, int(time.time() * 1000))])
    airflow.dispatch()
    page = _store.statuses(airflow.receiver.engine, "receiving", Place(), 10)
    assert len(page.statuses) == 1
    enable(airflow, "wati://receiving/statuses")
    airflow.dispatch()
    assert airflow.states() == {"dispatched": 1}
    assert _store.statuses(airflow.receiver.engine, "receiving", page.after, 10).statuses == []


def test_a_dag_that_waits_for_another_asset_costs_no_writes(airflow: Airflow) -> None:
    """While Airflow has yet to make a run, the dispatchers look, and do not write four times a second each."""
    from airflow_provider_wati.plugins import _dispatcher, _requeueing
    from airflow_provider_wati.plugins._tables import AWAITED, DISPATCH

    def batch() -> Any:
        with airflow.receiver.engine.connect() as connection:
            return connection.execute(select(DISPATCH.c.batch)).scalar_one()

    airflow.deploy("waits", and_asset="other")
    airflow.receive()
    airflow.dispatch()
    before = batch()
    looking = _dispatcher.Dispatcher(airflow.receiver._session, lambda: None)
    if _requeueing.IS_NEEDED:
        assert looking._look() == 0.25
    with airflow.session() as session:
        session.execute(update(AWAITED).values(queued=1))
    assert {looking._look() for _ in range(4)} == {1.0}
    assert batch() == before


def test_an_outage_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """While the database refuses, it is asked less and less often, and the log has one line."""
    from airflow_provider_wati.plugins import _dispatcher

    monkeypatch.setattr(_dispatcher, "_AFTER_ERROR", 0.001)
    tried = threading.Semaphore(0)

    def refuse() -> Any:
        tried.release()
        raise OSError("refused")

    looking = _dispatcher.Dispatcher(refuse, lambda: None)
    with caplog.at_level(logging.WARNING):
        looking.start()
        for _ in range(4):
            assert tried.acquire(timeout=30)
        looking.stop()
    assert caplog.text.count("OSError") == 1


def test_what_comes_while_a_run_is_due_does_not_wait_for_a_later_message(airflow: Airflow) -> None:
    """Field note 6b: events that come after the first one queued reach a run, although nothing follows."""
    dag_id = airflow.deploy("slow_scheduler")
    ids = airflow.receive()
    airflow.dispatch()
    for _ in range(5):
        ids += airflow.receive()
        # The first one is queued, and the scheduler does nothing.
        airflow.dispatch(later=10)
    airflow.schedule()
    airflow.dispatch()
    airflow.schedule()
    airflow.dispatch()
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)


def test_pending_events_are_collected_for_a_moment(airflow: Airflow) -> None:
    """While a run is due, further messages are held for a short time and then become one event."""
    airflow.deploy("collecting")
    airflow.receive()
    airflow.dispatch()
    airflow.receive(4)
    assert airflow.dispatch()
    assert airflow.states() == {"dispatched": 1, "pending": 4}
    airflow.dispatch(later=10)
    assert airflow.states() == {"dispatched": 5}


def test_a_dag_that_waits_for_another_asset_holds_nobody_up(airflow: Airflow) -> None:
    """A DAG with a second asset stays queued; the others get each message, and it gets all once the other comes."""
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel

    both, alone = airflow.deploy("both", and_asset="other"), airflow.deploy("alone")
    ids = []
    for _ in range(4):
        ids += airflow.receive(2)
        airflow.dispatch(later=10)
        airflow.schedule()
        assert not airflow.consumed(both)
    for _ in range(3):
        airflow.dispatch()
        airflow.schedule()
    assert airflow.consumed(alone) == each_once(ids)
    with airflow.session() as session:
        other = session.scalar(select(AssetModel).where(AssetModel.name == "other"))
        assert other is not None
        asset_manager.register_asset_change(asset=other, session=session)
    for _ in range(3):
        airflow.schedule()
        airflow.dispatch()
    # On Airflow 3.4 a run has the other asset's event alone, for each event makes a run.
    with airflow.session() as session:
        rows = [row for row in session.execute(text(CONSUMED)) if row.dag_id == both]
    found = Counter(
        item["id"]
        for row in rows
        for item in (json.loads(row.extra) if isinstance(row.extra, str) else row.extra).get("messages", [])
    )
    assert found == each_once(ids)


def test_a_queue_that_a_user_has_emptied_stays_empty(airflow: Airflow) -> None:
    """Events whose place in Airflow's queue was deleted by hand are not queued again."""
    from airflow.models.asset import AssetDagRunQueue

    dag_id = airflow.deploy("emptied")
    airflow.receive()
    airflow.dispatch()
    with airflow.session() as session:
        session.execute(delete(AssetDagRunQueue))
    assert not airflow.dispatch()
    airflow.schedule()
    assert not airflow.consumed(dag_id)


def test_a_queue_that_a_run_of_another_asset_has_emptied(airflow: Airflow) -> None:
    """Airflow 3.1 removes all rows of a DAG with its run: what was dispatched meanwhile is queued again."""
    from airflow.models.asset import AssetDagRunQueue

    from airflow_provider_wati.plugins import _requeueing

    if not _requeueing.IS_NEEDED:
        pytest.skip("Airflow 3.4 removes the rows of a run's own events")
    dag_id = airflow.deploy("either")
    ids = airflow.receive()
    airflow.dispatch()
    airflow.schedule()
    ids += airflow.receive()
    airflow.dispatch()
    with airflow.session() as session:
        session.execute(delete(AssetDagRunQueue))
    assert airflow.dispatch()
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)


@pytest.mark.parametrize("catchup", [False, True])
def test_a_dag_that_is_paused_for_a_while(airflow: Airflow, catchup: bool) -> None:
    """What came meanwhile comes with the first message after; on Airflow 3.4 only where the DAG catches up."""
    from airflow_provider_wati.plugins import _requeueing

    dag_id = airflow.deploy("paused", catchup=catchup)
    before = airflow.receive()
    airflow.dispatch()
    airflow.schedule()
    with airflow.session() as session:
        session.execute(text("UPDATE dag SET is_paused = true"))
    meanwhile = airflow.receive()
    airflow.dispatch(later=10)
    with airflow.session() as session:
        session.execute(text("UPDATE dag SET is_paused = false"))
    after = airflow.receive()
    airflow.dispatch(later=20)
    airflow.schedule()
    is_kept = _requeueing.IS_NEEDED or catchup
    assert airflow.consumed(dag_id) == each_once([*before, *(meanwhile if is_kept else []), *after])


def test_an_event_that_was_passed_over_gets_a_new_time(airflow: Airflow) -> None:
    """An event that was committed after a run of a later time was made reaches the next run."""
    from airflow.models.asset import AssetEvent

    from airflow_provider_wati.plugins import _requeueing

    if not _requeueing.IS_NEEDED:
        pytest.skip("Airflow 3.4 goes by the ids of events")
    dag_id = airflow.deploy("passed_over")
    ids = airflow.receive()
    airflow.dispatch()
    with airflow.session() as session:
        asset_id = session.scalar(select(AssetEvent.asset_id))
        # No run sees it, as if it was not committed yet.
        session.execute(update(AssetEvent).values(asset_id=0))
    airflow.schedule()
    with airflow.session() as session:
        session.execute(update(AssetEvent).values(asset_id=asset_id))
    assert not airflow.consumed(dag_id)
    assert airflow.dispatch()
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)
    assert not airflow.dispatch()


def test_nothing_is_dispatched_twice_when_a_dispatch_fails(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asset event and the mark are one transaction: after a failure both are missing."""
    from airflow_provider_wati.plugins import _dispatcher

    dag_id = airflow.deploy("failing")
    ids = airflow.receive(2)

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(_dispatcher, "_mark", fail)
        with pytest.raises(RuntimeError, match="killed"):
            airflow.dispatch()
    assert airflow.states() == {"pending": 2}
    airflow.dispatch()
    airflow.schedule()
    assert airflow.consumed(dag_id) == each_once(ids)


def test_an_event_holds_a_thousand_items_at_most(airflow: Airflow) -> None:
    """More than that becomes several events, and each message is in one."""
    dag_id = airflow.deploy("many")
    ids = airflow.receive(2300)
    for left in (1300, 300):
        assert airflow.dispatch()
        assert airflow.states()["pending"] == left
    airflow.dispatch(later=10)
    assert airflow.states() == {"dispatched": 2300}
    for _ in range(4):
        airflow.schedule()
        airflow.dispatch()
    assert airflow.consumed(dag_id) == each_once(ids)
