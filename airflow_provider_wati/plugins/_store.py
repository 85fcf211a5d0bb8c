"""Reads and writes stored events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, delete, literal_column, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from airflow_provider_wati.listening.webhook_events import Kind, WebhookEvent
from airflow_provider_wati.plugins._tables import DISPATCH, EVENTS

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql import Select
    from sqlalchemy.sql.dml import Insert

_DELETED_AT_ONCE = 5000


class State(StrEnum):
    """How a stored event stands."""

    PENDING = "pending"
    #: For its asset, which no DAG uses at present; readers of statuses have it.
    WAITING = "waiting"
    DISPATCHED = "dispatched"
    UNUSED = "unused"
    OTHER = "other"


_OPEN = (State.PENDING.value, State.WAITING.value)


@dataclass(frozen=True, slots=True)
class Received:
    """
    An event that came in.

    :param conn_id: the connection whose address it came to.
    :param received: milliseconds since 1970.
    """

    conn_id: str
    event: WebhookEvent
    received: int

    def row(self) -> dict[str, Any]:
        """Return the row of :data:`EVENTS`."""
        event = self.event
        return {
            "conn_id": self.conn_id,
            "event_key": event.key,
            "event_type": event.event_type,
            "kind": event.kind.value,
            "state": (State.OTHER if event.kind is Kind.OTHER else State.PENDING).value,
            "record": "" if event.record is None else json.dumps(event.record),
            "received": self.received,
            "duplicates": 0,
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the page shows of an event."""

    received: int
    conn_id: str
    event_type: str
    kind: str
    state: str
    duplicates: int


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a reader of statuses is.

    :param epoch: of the tables that the numbers are of; empty at the start.
    :param batch: the number of a dispatch.
    :param number: the number of an event.
    """

    epoch: str = ""
    batch: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class StatusPage:
    """
    Statuses in the order in which they were dispatched.

    :param statuses: each with the time at which it was received, in milliseconds since 1970.
    :param after: where the next page begins.
    """

    statuses: Sequence[tuple[dict[str, Any], int]] = field(repr=False)
    after: Place
    more: bool


@cache
def insert_statement(dialect: str) -> Insert:
    """
    Return the statement that stores an event, or counts it as a duplicate.

    :param dialect: SQLAlchemy's name of the database.
    """
    # Not a parameter: drivers of MySQL send many rows as one statement, and fill in parameters in its VALUES only.
    one = literal_column("1", Integer)
    if dialect in ("mysql", "mariadb"):
        new = mysql.insert(EVENTS)
        return new.on_duplicate_key_update(duplicates=EVENTS.c.duplicates + new.inserted.duplicates + one)
    statement = postgresql.insert(EVENTS) if dialect == "postgresql" else sqlite.insert(EVENTS)
    return statement.on_conflict_do_update(
        index_elements=[EVENTS.c.conn_id, EVENTS.c.event_key],
        set_={"duplicates": EVENTS.c.duplicates + statement.excluded.duplicates + one},
    )


def rows_of(events: Iterable[Received]) -> list[dict[str, Any]]:
    """
    Return the rows of events that came together, each event once.

    In one order in all processes, so that two of them never wait for each other.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for received in events:
        row = received.row()
        known = rows.setdefault((row["conn_id"], row["event_key"]), row)
        if known is not row:
            known["duplicates"] += 1
            known["record"] = _merged_text(known["record"], row["record"])
    return [rows[key] for key in sorted(rows)]


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with what it lacks from the record of a repeat or twin; what it has stays."""
    return {name: other.get(name) if value is None else value for name, value in one.items()}


def store(engine: Engine, events: Sequence[Received]) -> None:
    """
    Store events in one transaction; returns after the commit.

    :raises SQLAlchemyError: when nothing was stored.
    """
    with engine.begin() as connection:
        rows = rows_of(events)
        connection.execute(insert_statement(engine.dialect.name), rows)
        _complete(connection, rows)


def _complete(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Give pending events what the twins that have just been counted have and they lack; their rows are locked."""
    by_key = {(row["conn_id"], row["event_key"]): row["record"] for row in rows if row["record"]}
    # Without the state, by which a database would read all pending events.
    query = select(EVENTS.c.id, EVENTS.c.conn_id, EVENTS.c.event_key, EVENTS.c.record).where(
        EVENTS.c.conn_id.in_(sorted({conn_id for conn_id, _ in by_key})),
        EVENTS.c.event_key.in_([key for _, key in by_key]),
        EVENTS.c.duplicates > 0,
    )
    for row in connection.execute(query).all() if by_key else ():
        record = _merged_text(row.record, by_key.get((row.conn_id, row.event_key), row.record))
        if record != row.record:
            # Not when it was dispatched: its asset event stays as it is.
            is_open = (EVENTS.c.id == row.id) & EVENTS.c.state.in_(_OPEN)
            connection.execute(update(EVENTS).where(is_open).values(record=record))


def _merged_text(one: str, other: str) -> str:
    if one == other or "null" not in one:
        return one
    return json.dumps(merged(json.loads(one), json.loads(other)))


def deliveries(engine: Engine, limit: int) -> list[Delivery]:
    """Return the latest events."""
    columns = [
        EVENTS.c[name] for name in ("received", "conn_id", "event_type", "kind", "state", "duplicates")
    ]
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).order_by(EVENTS.c.id.desc()).limit(limit))
        return [Delivery(*row) for row in rows]


def statuses(engine: Engine, conn_id: str, after: Place, limit: int) -> StatusPage:
    """
    Return the statuses of a connection that were dispatched after a place.

    A place of other tables, or behind the latest dispatch, counts as the start: the tables were created again, or restored
    from a copy, and hold other statuses.

    :param after: the end of the last page.
    :param limit: how many at most.
    """
    with engine.connect() as connection:
        latest = connection.execute(select(DISPATCH.c.epoch, DISPATCH.c.batch)).one()
        if after.epoch != latest.epoch or after.batch > latest.batch:
            after = Place(latest.epoch)
        rows = connection.execute(_statuses_query(conn_id, after, limit + 1)).all()
    page = rows[:limit]
    found = [(json.loads(row.record), row.received) for row in page]
    last = Place(after.epoch, page[-1].batch, page[-1].id) if page else after
    return StatusPage(found, last, more=len(rows) > limit)


def _statuses_query(conn_id: str, after: Place, limit: int) -> Select[Any]:
    batch, number = after.batch, after.number
    return (
        select(EVENTS.c.batch, EVENTS.c.id, EVENTS.c.record, EVENTS.c.received)
        .where(
            EVENTS.c.conn_id == conn_id,
            EVENTS.c.kind == Kind.STATUS.value,
            EVENTS.c.batch >= batch,
            or_(EVENTS.c.batch > batch, and_(EVENTS.c.batch == batch, EVENTS.c.id > number)),
        )
        .order_by(EVENTS.c.batch, EVENTS.c.id)
        .limit(limit)
    )


def latest(engine: Engine, conn_id: str) -> dict[Kind, str]:
    """Return a mark for each kind of event that differs once one more of them was dispatched."""
    marks = {}
    with engine.connect() as connection:
        epoch = connection.execute(select(DISPATCH.c.epoch)).scalar_one()
        for kind in (Kind.MESSAGE, Kind.STATUS):
            query = (
                select(EVENTS.c.batch, EVENTS.c.id)
                .where(EVENTS.c.conn_id == conn_id, EVENTS.c.kind == kind.value, EVENTS.c.batch >= 0)
                .order_by(EVENTS.c.batch.desc(), EVENTS.c.id.desc())
                .limit(1)
            )
            found = connection.execute(query).first()
            marks[kind] = f"{epoch}.0.0" if found is None else f"{epoch}.{found.batch}.{found.id}"
    return marks


def delete_older(engine: Engine, before: int) -> int:
    """
    Delete events that were received before a time, unless they are still pending.

    :param before: milliseconds since 1970.
    :return: how many were deleted.
    """
    old = select(EVENTS.c.id).where(EVENTS.c.received < before, EVENTS.c.state != State.PENDING.value)
    deleted = 0
    while True:
        with engine.begin() as connection:
            ids = [row.id for row in connection.execute(old.limit(_DELETED_AT_ONCE))]
            if ids:
                connection.execute(delete(EVENTS).where(EVENTS.c.id.in_(ids)))
        deleted += len(ids)
        if len(ids) < _DELETED_AT_ONCE:
            return deleted
