"""Outcomes in a table, read again."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError, WatiValidationError
from airflow_provider_wati.operators._sql import OutcomesTable, hook_of
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS

if TYPE_CHECKING:
    from tests.unit.transfers.conftest import Warehouse


def test_what_was_written_is_read(warehouse: Warehouse) -> None:
    """Each database gives the outcomes of one send as they were written, and those of the own run where keys are shared."""
    table = OutcomesTable(hook_of("warehouse"), "told", ("send_key", *SEND_COLUMNS))
    table.create()
    outcomes: list[tuple[Any, ...]] = [
        (n, f"order {n}", f"1202555{n:04}", "accepted", None, f"id-{n}", "c1", "first")
        for n in range(1, 6001)
    ]
    for run in ("r1", "r2"):
        table.replace(("d", "send", run, -1, -1), [("shared", *outcome) for outcome in outcomes])
    table.replace(("d", "send", "r3", -1, -1), [("alone", *outcomes[0])])
    assert [tuple(row.values()) for row in table.read("alone", ("other", "r9"))] == outcomes[:1]
    read = list(table.read("shared", ("d", "r2")))
    assert tuple(read[0]) == SEND_COLUMNS
    assert sorted(tuple(row.values()) for row in read) == outcomes
    with pytest.raises(WatiValidationError, match="several tasks or runs"):
        list(table.read("shared", ("d", "r9")))


def test_outcomes_that_the_database_refuses(warehouse: Warehouse) -> None:
    """The error names the table and the reason, and not the person, whom PostgreSQL's own error repeats."""
    table = OutcomesTable(hook_of("warehouse"), "told", ("send_key", *SEND_COLUMNS))
    table.create()
    warehouse.execute("DROP TABLE told")
    warehouse.execute(
        "CREATE TABLE told (dag_id VARCHAR(9), task_id VARCHAR(9), run_id VARCHAR(9), map_index INTEGER, "
        "loop_index INTEGER, send_key VARCHAR(9), source_row INTEGER, message_key VARCHAR(9), target VARCHAR(20), "
        "status VARCHAR(9) CHECK (status <> 'unknown'), reason VARCHAR(9), local_message_id VARCHAR(9), "
        "campaign_id VARCHAR(9), campaign_name VARCHAR(9), written_at VARCHAR(99))"
    )
    outcome = ("k", 1, "Ada", "12025550143", "unknown", None, "m", "c", "first")
    with pytest.raises(WatiError, match=r"outcomes_table 'told' does not take the outcomes") as caught:
        table.replace(("d", "t", "r", -1, -1), [outcome])
    told = "".join(traceback.format_exception(caught.value))
    assert "12025550143" not in told
    assert "Ada" not in told
    assert "clear the task" in told


class WithoutTransactions(sqlite3.Connection):
    """A connection as that of BigQuery: each statement counts at once, and a rollback is an error."""

    def rollback(self) -> None:
        raise NotImplementedError("this database does not have transactions")


def test_a_database_without_transactions_gets_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is created, and of the check whether it takes a row nothing is left."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite"}')
    hook = hook_of("warehouse")
    connect: Callable[[], Any] = lambda: sqlite3.connect(
        tmp_path / "warehouse.db", isolation_level=None, factory=WithoutTransactions
    )
    monkeypatch.setattr(hook, "get_conn", connect)
    table = OutcomesTable(hook, "told", ("send_key", *SEND_COLUMNS))
    table.create()
    table.create()
    assert connect().execute("SELECT COUNT(*) FROM told").fetchall() == [(0,)]
    outcome = (1, "order 1", "12025550001", "accepted", None, "id-1", "c1", "first")
    table.replace(("d", "send", "r", -1, -1), [("key", *outcome)])
    assert [tuple(row.values()) for row in table.read("key", ("d", "r"))] == [outcome]


def test_tasks_that_write_at_once_do_not_lock_each_other_s_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL locks each row that a DELETE reads, so a first attempt deletes nothing; a second one deletes its own rows."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite"}')
    hook = hook_of("warehouse")
    statements: list[str] = []

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "warehouse.db")
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(hook, "get_conn", connect)
    table = OutcomesTable(hook, "told", ("send_key", *SEND_COLUMNS))
    deleted: list[int] = []
    for _ in range(2):
        statements.clear()
        table.create()
        for shard in range(2):
            outcome = (1, "order 1", "12025550001", "accepted", None, "id-1", "c1", "first")
            table.replace(("d", "send", "r", shard, -1), [("key", *outcome)])
        deletes = [text for text in statements if text.startswith("DELETE") and not text.endswith("1 = 0")]
        deleted.append(len(deletes))
    assert deleted == [0, 2]
    assert connect().execute("SELECT COUNT(*) FROM told").fetchall() == [(2,)]
