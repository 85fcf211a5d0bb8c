"""
Sees to it that each asset event reaches a run without waiting for a later event.

Airflow 3.1 to 3.3 keep one row per asset and DAG in their queue. A run takes the events up to the time of that row, and the
row goes; an event that came while the row stood, and later, waits for the next event. It is given a row of its own here.
Airflow 3.1 removes all rows of the DAG when it makes a run, also those of other assets that came meanwhile.
Airflow 3.4 keeps a row per event and needs none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetDagRunQueue, AssetEvent, association_table
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.types import DagRunType
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from airflow_provider_wati.plugins._tables import AWAITED

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: Seconds for which events are collected while Airflow has yet to make a run of the asset's earlier events.
LONGEST_HOLD = 2.0
#: Milliseconds that a scheduler takes at most from making a run to emptying the queue, with the difference of two clocks.
LONGEST_MAKING = 10_000
IS_NEEDED = not hasattr(AssetDagRunQueue, "asset_event_id")


class Step(Enum):
    """What is done about an asset event that a DAG waits for."""

    FORGET = "it is in a run, or the queue was emptied by hand"
    WAIT = "Airflow has yet to make the run"
    REQUEUE = "a run was made without it, and the next one takes it"
    RETIME = "a run with a later time was made before the event was committed, so no run would take it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    How an asset event stands with a DAG.

    :param is_queued: whether the queue has a row of the asset and the DAG.
    :param is_in_run: whether a run of the DAG has the event.
    :param event: when it was made.
    :param queued: since when the DAG was queued, at the latest.
    :param latest_run: the time up to which the latest run took events; None where no run was made by assets.
    :param run_made: when the latest run was made; None where there is none.
    """

    is_queued: bool
    is_in_run: bool
    event: int
    queued: int
    latest_run: int | None
    run_made: int | None = None


def is_due(*, is_queued: bool, waited: float, is_full: bool) -> bool:
    """
    Say whether what is pending becomes an asset event now.

    One event for many messages makes one run. A DAG may stay queued for long, because it waits for another asset, has as many
    runs as it may have, or no scheduler runs; it holds the others up for a short time only.

    :param is_queued: whether a DAG has yet to get a run for earlier events of the asset.
    :param waited: seconds since the first of them came in; below 0 where another clock is ahead.
    :param is_full: whether no more fit into one event.
    """
    return not is_queued or is_full or not 0 <= waited < LONGEST_HOLD


def step_for(standing: Standing) -> Step:
    """Decide what is done about an event that a DAG waits for."""
    if standing.is_queued:
        return Step.WAIT
    if standing.is_in_run or standing.latest_run is None:
        return Step.FORGET
    made = standing.latest_run if standing.run_made is None else standing.run_made + LONGEST_MAKING
    if max(standing.latest_run, made) < standing.queued:
        return Step.FORGET
    return Step.REQUEUE if standing.event > standing.latest_run else Step.RETIME


def milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1_000_000) // 1000


def await_runs(session: Session, event: AssetEvent) -> None:
    """Note which DAGs Airflow has queued for a new event."""
    queue = select(AssetDagRunQueue).where(AssetDagRunQueue.asset_id == event.asset_id)
    rows = [
        {
            "asset_event_id": event.id,
            "dag_id": queued.target_dag_id,
            "asset_id": event.asset_id,
            "queued": milliseconds(queued.created_at),
        }
        for queued in session.scalars(queue)
    ]
    if rows:
        session.execute(insert(AWAITED), rows)


def has_unqueued(session: Session) -> bool:
    """Say whether Airflow's queue has lost a DAG that waits for an event; takes no lock."""
    queued = select(AssetDagRunQueue.target_dag_id).where(
        AssetDagRunQueue.asset_id == AWAITED.c.asset_id, AssetDagRunQueue.target_dag_id == AWAITED.c.dag_id
    )
    return session.execute(select(AWAITED.c.dag_id).where(~queued.exists()).limit(1)).first() is not None


def has_queued(session: Session, since: int) -> bool:
    """Say whether a DAG waits for an event since a time, in milliseconds since 1970, at the earliest."""
    return (
        session.execute(select(AWAITED.c.dag_id).where(AWAITED.c.queued >= since).limit(1)).first()
        is not None
    )


def requeue(session: Session, now: datetime) -> None:
    """
    Look after the events that DAGs wait for; to be called under the dispatcher's lock.

    :param now: the time of new rows in Airflow's queue.
    """
    pairs = session.execute(select(AWAITED.c.asset_id, AWAITED.c.dag_id).distinct()).all()
    for asset_id, dag_id in pairs:
        queue = select(AssetDagRunQueue.target_dag_id).where(
            AssetDagRunQueue.asset_id == asset_id, AssetDagRunQueue.target_dag_id == dag_id
        )
        # Read first: what made the row go is then visible to the next queries.
        if session.execute(queue).first() is None:
            _look_after(session, asset_id, dag_id, now)


def _look_after(session: Session, asset_id: int, dag_id: str, now: datetime) -> None:
    steps: dict[Step, list[int]] = {step: [] for step in Step}
    for event_id, standing in _standings(session, asset_id, dag_id):
        steps[step_for(standing)].append(event_id)
    for event_id in steps[Step.RETIME]:
        is_in_other_run = select(association_table.c.event_id).where(association_table.c.event_id == event_id)
        if session.execute(is_in_other_run).first() is None:
            session.execute(update(AssetEvent).where(AssetEvent.id == event_id).values(timestamp=now))
            steps[Step.REQUEUE].append(event_id)
        else:
            # A new time would bring it to the other DAG again.
            steps[Step.FORGET].append(event_id)
    mine = AWAITED.c.dag_id == dag_id
    if steps[Step.FORGET]:
        session.execute(delete(AWAITED).where(mine, AWAITED.c.asset_event_id.in_(steps[Step.FORGET])))
    if not steps[Step.REQUEUE]:
        return
    if _queue(session, asset_id, dag_id, now):
        again = AWAITED.c.asset_event_id.in_(steps[Step.REQUEUE])
        session.execute(update(AWAITED).where(mine, again).values(queued=milliseconds(now)))
    else:
        session.execute(delete(AWAITED).where(mine, AWAITED.c.asset_id == asset_id))


def _standings(session: Session, asset_id: int, dag_id: str) -> list[tuple[int, Standing]]:
    in_run = (
        select(association_table.c.event_id)
        .join(DagRun, DagRun.id == association_table.c.dag_run_id)
        .where(DagRun.dag_id == dag_id)
    )
    events: Any = (
        select(AWAITED.c.asset_event_id, AWAITED.c.queued, AssetEvent.timestamp, AssetEvent.id.in_(in_run))
        .join(AssetEvent, AssetEvent.id == AWAITED.c.asset_event_id, isouter=True)
        .where(AWAITED.c.asset_id == asset_id, AWAITED.c.dag_id == dag_id)
    )
    latest: Any = session.execute(
        select(func.max(DagRun.run_after), func.max(DagRun.queued_at)).where(
            DagRun.dag_id == dag_id, DagRun.run_type == DagRunType.ASSET_TRIGGERED
        )
    ).one()
    latest_run, run_made = (None if when is None else milliseconds(when) for when in latest)
    return [
        (
            event_id,
            Standing(
                is_queued=False,
                # Deleted by Airflow's own cleaning: there is nothing to wait for.
                is_in_run=timestamp is None or bool(is_in_run),
                event=0 if timestamp is None else milliseconds(timestamp),
                queued=queued,
                latest_run=latest_run,
                run_made=run_made,
            ),
        )
        for event_id, queued, timestamp, is_in_run in session.execute(events)
    ]


def _queue(session: Session, asset_id: int, dag_id: str, now: datetime) -> bool:
    """Put a DAG into Airflow's queue; say whether it still exists."""
    if session.scalar(select(DagModel.dag_id).where(DagModel.dag_id == dag_id)) is None:
        return False
    try:
        with session.begin_nested():
            session.add(AssetDagRunQueue(asset_id=asset_id, target_dag_id=dag_id, created_at=now))
    except IntegrityError:
        # Queued meanwhile by another event of the asset.
        pass
    return True
