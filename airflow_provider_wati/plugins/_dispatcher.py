"""Turns stored events into events of Airflow's assets."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetDagRunQueue, AssetModel
from sqlalchemy import delete, func, select, update

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
#: Milliseconds for which an event waits for its asset, which is inactive while the file of its DAG cannot be read.
LONGEST_WAIT = 600_000
#: Seconds between two looks while events wait, and while none do.
_BUSY = 0.25
_IDLE = 1.0
#: Seconds from the end of a look to the next one, at least: events come many times in this, and looks would take the
#: processor from those who receive them.
_REST = 0.25
_AFTER_ERROR = 2.0
_LONGEST_AFTER_ERROR = 60.0
#: Milliseconds after which a run that Airflow has not made is not expected soon.
_SOON = 10_000

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
    for move in list(_moves(session, _requeueing.milliseconds(now))):
        _move(session, *move, _requeueing.milliseconds(now))
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

    asset = _asset(session, group.uri)
    if asset is None:
        return State.UNUSED
    if asset.active is None:
        return State.WAITING if group.rows[-1].received > now - LONGEST_WAIT else State.UNUSED
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


def _asset(session: Session, uri: str) -> AssetModel | None:
    return session.scalar(select(AssetModel).where(AssetModel.name == uri, AssetModel.uri == uri))


def _moves(session: Session, now: int) -> Iterator[tuple[str, str, State]]:
    """Yield the connections and kinds whose waiting events change their state, and to which; takes no lock."""
    waiting = (
        select(EVENTS.c.conn_id, EVENTS.c.kind, func.min(EVENTS.c.received))
        .where(EVENTS.c.state == State.WAITING.value)
        .group_by(EVENTS.c.conn_id, EVENTS.c.kind)
    )
    for conn_id, kind, oldest in session.execute(waiting).all():
        asset = _asset(session, f"wati://{conn_id}/{_ITEMS[kind]}")
        if asset is not None and asset.active is not None:
            yield conn_id, kind, State.PENDING
        elif oldest <= now - LONGEST_WAIT:
            yield conn_id, kind, State.UNUSED


def _move(session: Session, conn_id: str, kind: str, state: State, now: int) -> None:
    waiting = update(EVENTS).where(
        EVENTS.c.state == State.WAITING.value, EVENTS.c.conn_id == conn_id, EVENTS.c.kind == kind
    )
    if state is State.UNUSED:
        waiting = waiting.where(EVENTS.c.received <= now - LONGEST_WAIT)
    session.execute(waiting.values(state=state.value))


def _mark(session: Session, group: Group, state: State, batch: int) -> None:
    ids = [row.id for row in group.rows]
    # Readers have had what waited: it keeps its place.
    first = func.coalesce(EVENTS.c.batch, batch)
    session.execute(update(EVENTS).where(EVENTS.c.id.in_(ids)).values(state=state.value, batch=first))


def has_work(session: Session) -> bool:
    """Say whether there is something to write: an event is pending, its asset is back, or a DAG lost its place; takes no lock."""
    pending = select(EVENTS.c.id).where(EVENTS.c.state == State.PENDING.value).limit(1)
    if session.execute(pending).first() is not None:
        return True
    if _requeueing.IS_NEEDED and _requeueing.has_unqueued(session):
        return True
    return next(_moves(session, _requeueing.milliseconds(datetime.now(tz=UTC))), None) is not None


def pause_after_nothing(session: Session, now: datetime) -> float:
    """Return the seconds to the next look where there was nothing to write: fewer while a run is about to be made."""
    is_soon = _requeueing.IS_NEEDED and _requeueing.has_queued(session, _requeueing.milliseconds(now) - _SOON)
    return _BUSY if is_soon else _IDLE


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
        pause, failures = 0.0, 0
        while not self._is_stopped:
            # Not at once after a pause, so that what comes together becomes one event.
            if self._wake.wait(pause):
                self._wake.clear()
            try:
                pause = self._look()
                failures = 0
            except Exception as error:
                failures += 1
                if failures == 1:
                    # Once for an outage; not its text, which may hold what was stored.
                    log.warning(
                        "Dispatching webhook events failed (%s); it is tried again", type(error).__name__
                    )
                pause = min(_AFTER_ERROR * 2 ** min(failures - 1, 10), _LONGEST_AFTER_ERROR)
            time.sleep(_REST)

    def _look(self) -> float:
        self._tidy()
        now = datetime.now(tz=UTC)
        with self._make_session() as session:
            if not has_work(session):
                return pause_after_nothing(session, now)
        with self._make_session() as session:
            left = dispatch(session, now)
        return _BUSY if left else _IDLE
