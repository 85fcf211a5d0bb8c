"""Turns stored events into events of Airflow's assets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetDagRunQueue, AssetModel
from sqlalchemy import delete, select, update

from airflow_provider_wati.listening.types import MESSAGES, STATUSES
from airflow_provider_wati.listening.webhook_events import Kind
from airflow_provider_wati.plugins import _requeueing
from airflow_provider_wati.plugins._store import State
from airflow_provider_wati.plugins._tables import AWAITED, DISPATCH, DISPATCHER, EVENTS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

#: What one asset event holds at most; a task gets all of it with its context.
MOST_ITEMS = 1000
MOST_CHARACTERS = 2_000_000
#: Seconds between two looks while events wait, and while none do.
_BUSY = 0.25
_IDLE = 1.0
_AFTER_ERROR = 2.0

_ITEMS = {Kind.MESSAGE.value: MESSAGES, Kind.STATUS.value: STATUSES}


@dataclass(frozen=True, slots=True)
class Group:
    """Pending events of one asset, oldest first."""

    conn_id: str
    items: str
    rows: Sequence[Any]
    is_full: bool

    @property
    def uri(self) -> str:
        """The asset's uri and name."""
        return f"wati://{self.conn_id}/{self.items}"


def groups_of(rows: Iterable[Any], *, is_all: bool) -> list[Group]:
    """
    Sort pending events by asset.

    :param rows: of the table, oldest first.
    :param is_all: whether no more are pending.
    """
    found: dict[tuple[str, str], list[Any]] = {}
    sizes: dict[tuple[str, str], int] = {}
    full: set[tuple[str, str]] = set()
    for row in rows:
        key = (row.conn_id, _ITEMS[row.kind])
        sizes[key] = sizes.get(key, 0) + len(row.record)
        if sizes[key] > MOST_CHARACTERS and key in found:
            full.add(key)
        elif key not in full:
            found.setdefault(key, []).append(row)
    return [Group(*key, rows=some, is_full=key in full or not is_all) for key, some in found.items()]


def dispatch(session: Session, now: datetime) -> bool:
    """
    Make asset events of what is pending, in the transaction that marks it so.

    Only one process is here at a time, so that times and numbers grow in the order of the commits.

    :param now: the present time, in UTC.
    :return: whether there is more to do soon.
    """
    session.execute(update(DISPATCH).where(DISPATCH.c.name == DISPATCHER).values(batch=DISPATCH.c.batch + 1))
    batch = session.execute(select(DISPATCH.c.batch)).scalar_one()
    pending = (
        select(EVENTS.c.id, EVENTS.c.conn_id, EVENTS.c.kind, EVENTS.c.record, EVENTS.c.received)
        .where(EVENTS.c.state == State.PENDING.value)
        .order_by(EVENTS.c.id)
        .limit(MOST_ITEMS)
    )
    rows = session.execute(pending).all()
    left = False
    for group in groups_of(rows, is_all=len(rows) < MOST_ITEMS):
        state = _emit(session, group, _requeueing.milliseconds(now))
        if state is None or group.is_full:
            left = True
        if state is not None:
            _mark(session, group, state, batch)
    if _requeueing.IS_NEEDED:
        _requeueing.requeue(session, now)
        left = left or session.execute(select(AWAITED.c.dag_id).limit(1)).first() is not None
    return left


def _emit(session: Session, group: Group, now: int) -> State | None:
    """Make one asset event of a group; return its new state, None where it stays as it is."""
    from airflow.assets.manager import asset_manager

    asset = session.scalar(
        select(AssetModel).where(AssetModel.name == group.uri, AssetModel.uri == group.uri)
    )
    if asset is None or asset.active is None:
        return State.UNUSED
    queue = select(AssetDagRunQueue.target_dag_id).where(AssetDagRunQueue.asset_id == asset.id).limit(1)
    if not _requeueing.is_due(
        is_queued=session.execute(queue).first() is not None,
        waited=(now - group.rows[0].received) / 1000,
        is_full=group.is_full,
    ):
        return None
    items = [json.loads(row.record) for row in group.rows]
    event = asset_manager.register_asset_change(asset=asset, extra={group.items: items}, session=session)
    if event is None:
        return State.UNUSED
    session.flush()
    if _requeueing.IS_NEEDED:
        _requeueing.await_runs(session, event)
    return State.DISPATCHED


def _mark(session: Session, group: Group, state: State, batch: int) -> None:
    ids = [row.id for row in group.rows]
    session.execute(update(EVENTS).where(EVENTS.c.id.in_(ids)).values(state=state.value, batch=batch))


def has_work(session: Session) -> bool:
    """Say whether an event is pending or a DAG waits for one; takes no lock."""
    pending = select(EVENTS.c.id).where(EVENTS.c.state == State.PENDING.value).limit(1)
    awaited = select(AWAITED.c.dag_id).limit(1)
    return session.execute(pending).first() is not None or session.execute(awaited).first() is not None


def forget_older(session: Session, before: int) -> None:
    """Stop waiting for runs with events of before a time, in milliseconds since 1970."""
    session.execute(delete(AWAITED).where(AWAITED.c.queued < before))


class Dispatcher:
    """
    A thread that dispatches as soon as something is stored, and looks now and then for what others have left.

    :param make_session: a context manager that commits at its end.
    :param tidy: called now and then.
    """

    def __init__(self, make_session: Callable[[], Any], tidy: Callable[[], None]) -> None:
        self._make_session = make_session
        self._tidy = tidy
        self._wake = threading.Event()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="wati-webhook-dispatcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the present transaction."""
        self._is_stopped = True
        self._wake.set()
        self._thread.join(timeout=10)

    def wake(self) -> None:
        """Say that something was stored."""
        self._wake.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._is_stopped:
            # Not at once after a pause, so that what comes together becomes one event.
            if self._wake.wait(pause):
                self._wake.clear()
            try:
                pause = self._look()
            except Exception as error:
                # Not its text, which may hold what was stored.
                log.warning("Dispatching webhook events failed (%s); it is tried again", type(error).__name__)
                pause = _AFTER_ERROR

    def _look(self) -> float:
        self._tidy()
        with self._make_session() as session:
            is_needed = has_work(session)
        if not is_needed:
            return _IDLE
        with self._make_session() as session:
            left = dispatch(session, datetime.now(tz=UTC))
        return _BUSY if left else _IDLE
