"""The tables of the receiver in Airflow's metadata database."""

from __future__ import annotations

import time
from secrets import token_hex
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.types import TypeEngine

_METADATA = MetaData()
_ID = BigInteger().with_variant(Integer(), "sqlite")
_MYSQL = ("mysql", "mariadb")
#: The one row of :data:`DISPATCH`.
DISPATCHER = "dispatcher"
_ATTEMPTS = 10


def _name(length: int) -> TypeEngine[str]:
    """Return the type of a name; MySQL would take names that differ in case only for one."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, *_MYSQL)


#: Events as they came in. ``record`` is JSON in ASCII; empty for kind other. Times are milliseconds since 1970.
EVENTS = Table(
    "wati_webhook_event",
    _METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("conn_id", _name(250), nullable=False),
    Column("event_key", _name(64), nullable=False),
    Column("event_type", String(100), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("record", Text().with_variant(mysql.MEDIUMTEXT(), *_MYSQL), nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("duplicates", Integer, nullable=False),
    # The number of the dispatch: it grows with each, and it is given under a lock.
    Column("batch", BigInteger, nullable=True),
    UniqueConstraint("conn_id", "event_key", name="uq_wati_webhook_event"),
    Index("ix_wati_webhook_event_state", "state", "id"),
    Index("ix_wati_webhook_event_batch", "conn_id", "kind", "batch", "id"),
    Index("ix_wati_webhook_event_received", "received"),
)
#: One row, whose lock a dispatcher holds, with the number of the latest dispatch, and a random text by which numbers of
#: tables that were created again are told apart.
DISPATCH = Table(
    "wati_webhook_dispatch",
    _METADATA,
    Column("name", String(20), primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("epoch", _name(16), nullable=False),
)
#: Which DAG is still to get a run with which asset event; see ``_requeueing.py``.
AWAITED = Table(
    "wati_webhook_awaited",
    _METADATA,
    Column("asset_event_id", Integer, primary_key=True, autoincrement=False),
    Column("dag_id", _name(250), primary_key=True),
    Column("asset_id", Integer, nullable=False),
    # When Airflow's queue took the DAG in: milliseconds since 1970.
    Column("queued", BigInteger, nullable=False),
)


def create_tables(engine: Engine) -> None:
    """
    Create what is missing; several processes may do so at once.

    :raises DBAPIError: when the database does not allow it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            _METADATA.create_all(engine)
            _add_dispatcher(engine)
            return
        except DBAPIError:
            # Another process created the same table meanwhile.
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.1 * (attempt + 1))


def _add_dispatcher(engine: Engine) -> None:
    with engine.begin() as connection:
        if connection.execute(select(DISPATCH.c.name)).first() is None:
            connection.execute(insert(DISPATCH).values(name=DISPATCHER, batch=0, epoch=token_hex(8)))


def are_there(engine: Engine) -> bool:
    """Say whether the tables exist."""
    return inspect(engine).has_table(AWAITED.name)
