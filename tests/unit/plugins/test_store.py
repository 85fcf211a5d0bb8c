from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Table, create_engine, select, update
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

from airflow_provider_wati.listening.webhook_events import event_of
from airflow_provider_wati.plugins import _store, _tables
from airflow_provider_wati.plugins._store import Received
from airflow_provider_wati.plugins._tables import AWAITED, DISPATCH, EVENTS

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = create_engine(f"sqlite:///{tmp_path}/events.db", connect_args={"timeout": 60})
    _tables.create_tables(made)
    return made


def received(id: str, *, kind: str = "message", at: int = 1000, conn_id: str = "c") -> Received:
    return Received(conn_id, event_of({"eventType": kind, "id": id, "text": "Hello \ud83d"}), at)


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(EVENTS).order_by(EVENTS.c.id)))


def test_tables_are_made_by_many_at_once(tmp_path: Path) -> None:
    """Processes that start together make the tables once, and all go on."""
    address = f"sqlite:///{tmp_path}/events.db"
    barrier = threading.Barrier(8)

    def start(_: int) -> None:
        engine = create_engine(address, connect_args={"timeout": 60})
        barrier.wait()
        _tables.create_tables(engine)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    with create_engine(address).connect() as connection:
        assert len(connection.execute(select(DISPATCH)).all()) == 1


def test_duplicates_are_counted(engine: Engine) -> None:
    """An event that comes again, in the same transaction or later, is one row that counts."""
    _store.store(engine, [received("a"), received("b"), received("a")])
    _store.store(engine, [received("a"), received("a"), received("a", conn_id="d")])
    assert sorted((row.conn_id, row.duplicates) for row in rows(engine)) == [("c", 0), ("c", 3), ("d", 0)]


def test_other_events_are_kept_by_name_only(engine: Engine) -> None:
    """What is neither a message nor a status is stored without its content, and is not pending."""
    _store.store(engine, [received("a", kind="ctaUrlClicked")])
    [row] = rows(engine)
    assert (row.event_type, row.state, row.record) == ("ctaUrlClicked", "other", "")


def test_old_events_are_deleted_unless_pending(engine: Engine) -> None:
    """After the time of retention an event goes; one that is still to be dispatched stays."""
    _store.store(engine, [received("a", kind="x", at=1), received("b", kind="x", at=5), received("c", at=1)])
    assert _store.delete_older(engine, 5) == 1
    assert sorted((row.kind, row.received) for row in rows(engine)) == [("message", 1), ("other", 5)]


def test_the_statements_of_other_databases() -> None:
    """PostgreSQL and MySQL count a duplicate in the statement that inserts."""
    on_mysql = str(_store.insert_statement("mysql").compile(dialect=mysql.dialect()))
    assert (
        "ON DUPLICATE KEY UPDATE duplicates = (wati_webhook_event.duplicates + VALUES(duplicates)" in on_mysql
    )
    on_postgresql = str(_store.insert_statement("postgresql").compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call] # SQLAlchemy's
    assert "ON CONFLICT (conn_id, event_key) DO UPDATE SET duplicates" in on_postgresql


def test_a_batch_can_be_stored_in_mysql() -> None:
    """Drivers of MySQL send many rows as one statement, and bind no parameter in ``ON DUPLICATE KEY UPDATE``."""
    statement = str(_store.insert_statement("mysql").compile(dialect=mysql.dialect()))
    _, _, behind = statement.partition("ON DUPLICATE KEY UPDATE")
    assert behind
    assert "%" not in behind


@pytest.mark.parametrize(
    ("table", "column"), [(EVENTS, "conn_id"), (EVENTS, "event_key"), (AWAITED, "dag_id")]
)
def test_names_that_differ_in_case_only_are_two_names_in_mysql(table: Table, column: str) -> None:
    """MySQL compares texts without case by default; Airflow's ids are compared with it, and so are ours."""
    text = str(CreateTable(table).compile(dialect=mysql.dialect()))
    [line] = [line for line in text.splitlines() if line.strip().startswith(column + " ")]
    assert "COLLATE utf8mb4_bin" in line


POORER = {"eventType": "message_bsuid", "id": "m1", "text": "Hello"}
RICHER = {"eventType": "message", "id": "m1", "text": "Other", "waId": "12025550143"}


@pytest.mark.parametrize("together", [True, False])
def test_the_richer_twin_adds_what_the_poorer_lacks(engine: Engine, together: bool) -> None:
    """The ``_bsuid`` twin without a phone number comes first; the number of the plain one is not thrown away."""
    events = [Received("c", event_of(body), 1) for body in (POORER, RICHER)]
    for batch in [events] if together else [[event] for event in events]:
        _store.store(engine, batch)
    [row] = rows(engine)
    record = json.loads(row.record)
    assert (record["phone_number"], record["text"], row.duplicates) == ("12025550143", "Hello", 1)


def test_what_was_dispatched_is_not_changed(engine: Engine) -> None:
    """The record of an event that DAGs already have stays as they have it."""
    _store.store(engine, [Received("c", event_of(POORER), 1)])
    with engine.begin() as connection:
        connection.execute(update(EVENTS).values(state="dispatched"))
    _store.store(engine, [Received("c", event_of(RICHER), 1)])
    [row] = rows(engine)
    assert json.loads(row.record)["phone_number"] is None


def dispatched_status(engine: Engine) -> None:
    _store.store(engine, [received("s", kind="sentMessageREAD")])
    with engine.begin() as connection:
        connection.execute(update(DISPATCH).values(batch=1))
        connection.execute(update(EVENTS).values(batch=1, state="dispatched"))


def test_a_reader_notices_that_the_numbers_began_anew(engine: Engine) -> None:
    """A place from before the tables were created again, or restored from a copy, hides no status."""
    dispatched_status(engine)
    page = _store.statuses(engine, "c", _store.Place(), 100)
    assert len(page.statuses) == 1
    assert _store.statuses(engine, "c", page.after, 100).statuses == []
    for place in (_store.Place("0" * 16, 1, 1), _store.Place(page.after.epoch, 4711, 123456)):
        assert len(_store.statuses(engine, "c", place, 100).statuses) == 1


def test_marks_of_other_tables_differ(engine: Engine) -> None:
    """Tables that were made anew give no mark that those before them gave."""
    dispatched_status(engine)
    before = _store.latest(engine, "c")
    _tables._METADATA.drop_all(engine)
    _tables.create_tables(engine)
    dispatched_status(engine)
    after = _store.latest(engine, "c")
    assert all(before[kind] != after[kind] for kind in before)
