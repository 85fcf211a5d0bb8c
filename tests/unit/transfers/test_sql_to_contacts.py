"""SqlToWatiContactsOperator, from real databases to the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiValidationError
from airflow_provider_wati.operators._sql import OutcomesTable, hook_of
from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiContactsOperator

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

LONG = "x" * 3_000
#: Phone, name, city, and what becomes of the row.
MESSY = [
    ("+91 98765 43210", "Ravi 🌸", "Pune", "created"),
    ("098765 43211", "Asha", None, "created"),
    ("+44 20 7946 0018", "a landline", LONG, "created"),
    ("12025550143", "Ada", "Delhi", "updated"),
    ("919876543212", "twice", "Goa", "invalid"),
    ("+91 98765 43212", "twice", "Agra", "invalid"),
    ("9876543214.0", "a float", "Goa", "invalid"),
    (None, "nobody", "Goa", "invalid"),
    ("", "nobody", "Goa", "invalid"),
    ("919876543215", None, "Goa", "invalid"),
]


def operator(**changes: Any) -> SqlToWatiContactsOperator:
    settings: dict[str, Any] = {
        "task_id": "sync",
        "sql_conn_id": "warehouse",
        "sql": "SELECT id, phone, name, city FROM customers ORDER BY id",
        "phone_column": "phone",
        "name_column": "name",
        "attribute_columns": {"city": "city"},
        "failure_threshold": 0.9,
    }
    return SqlToWatiContactsOperator(**{**settings, **changes})


def fill(warehouse: Warehouse, rows: list[tuple[Any, ...]]) -> None:
    warehouse.fill("customers", "id,phone,name,city", [(f"{n:03}", *row) for n, row in enumerate(rows)])


def writes(sandbox: Sandbox) -> int:
    return len(sandbox.requests("POST")) + len(sandbox.requests("PUT"))


def test_each_row_has_its_outcome_and_costs_nothing_the_second_time(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """Each row of a query has its outcome, and unchanged rows cost no call."""
    fill(warehouse, [row[:3] for row in MESSY])
    summary = run(operator(state_path=state, outcomes_table="synced"))
    assert {name: summary[name] for name in ("rows_read", "created", "updated", "invalid")} == {
        "rows_read": len(MESSY), "created": 3, "updated": 1, "invalid": 6,
    }  # fmt: skip
    table = warehouse.execute("SELECT status FROM synced ORDER BY source_row")
    assert [status for (status,) in table] == [status for *_, status in MESSY]
    people = sandbox.state.by_phone
    assert (people["919876543210"].name, people["919876543210"].custom_params) == (
        "Ravi 🌸",
        {"city": "Pune"},
    )
    assert people["442079460018"].custom_params == {"city": LONG}
    assert (people["12025550143"].custom_params or {})["city"] == "Delhi"
    assert not {"919876543212", "919876543214", "919876543215"} & set(people)

    before = writes(sandbox)
    again = run(operator(state_path=state, outcomes_table="synced"), try_number=2)
    assert (again["unchanged"], again["writes"], writes(sandbox) - before) == (4, 0, 0)
    assert warehouse.execute("SELECT COUNT(*) FROM synced") == [(len(MESSY),)]
    run(operator(state_path=state, outcomes_table="synced"), run_id="another")
    assert warehouse.execute("SELECT COUNT(*) FROM synced") == [(2 * len(MESSY),)]


def test_a_missing_column_writes_nothing(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A query without a needed column writes nothing."""
    fill(warehouse, [row[:3] for row in MESSY])
    with pytest.raises(WatiValidationError, match="has no column 'town'; its columns are 'id', 'phone'"):
        run(operator(attribute_columns={"city": "town"}))
    assert writes(sandbox) == 0


def test_sql_that_fails_half_way_writes_nothing(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A query that fails while rows are read writes nothing."""
    bad = "json(CASE WHEN n = 20000 THEN '{' ELSE '1' END)"
    if warehouse.kind == "postgres":
        bad = "(1 / (20000 - n))::text"
    numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) "
    sql = f"{numbers}SELECT 919800000000 + n AS phone, 'Ada' AS name, {bad} AS city FROM s"
    with pytest.raises(Exception, match=r"division by zero|malformed JSON"):
        run(operator(sql=sql))
    assert writes(sandbox) == 0
    [summary] = run.pushed
    assert summary["total"] == summary["unsent"] + summary["invalid"]


COLUMNS = ("sync_key", "row", "target", "status", "reason")


@pytest.mark.parametrize(
    "table", ["t--", '"t--"', "t /*", "t;", "", "None", "a.b.c.d", "t%s", "t.", '"t" WHERE 1=1 --']
)
def test_a_bad_name_of_the_outcomes_table_ends_the_task_before_anything_is_written(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, table: str
) -> None:
    """Finding B5: a name that is not one of a table, or that rendering left empty, is refused before the first call."""
    fill(warehouse, [row[:3] for row in MESSY])
    task = operator(state_path=state, outcomes_table="{{ none }}")
    task.outcomes_table = table
    with pytest.raises(WatiValidationError, match="outcomes_table"):
        run(task)
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "columns",
    [
        "dag_id TEXT",
        "dag_id TEXT, task_id TEXT, run_id TEXT, map_index INTEGER, loop_index INTEGER, sync_key TEXT, source_row INTEGER, target TEXT, "
        "status TEXT, reason TEXT, written_at TEXT, extra TEXT NOT NULL",
        "dag_id TEXT, task_id TEXT, run_id TEXT, map_index INTEGER, loop_index INTEGER, sync_key TEXT, source_row INTEGER, target TEXT, "
        "status TEXT CHECK (status = 'ok'), reason TEXT, written_at TEXT",
    ],
    ids=["missing", "not null", "check"],
)
def test_a_table_that_takes_no_outcomes_ends_the_task_before_anything_is_written(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, columns: str
) -> None:
    """Finding B5: a table with other columns is found out before the first call, and stays as it is."""
    fill(warehouse, [row[:3] for row in MESSY])
    warehouse.execute(f"CREATE TABLE t ({columns})")
    with pytest.raises(WatiConfigurationError, match="Nothing was sent or written to WATI"):
        run(operator(state_path=state, outcomes_table="t"))
    assert sandbox.requests() == []
    assert warehouse.execute("SELECT COUNT(*) FROM t") == [(0,)]


@pytest.mark.parametrize("table", ["synced", '"order"', '"My Table"', "`my-table`", "[select]"])
def test_a_name_is_quoted_in_the_way_of_the_database(
    run: Any, warehouse: Warehouse, state: str, table: str
) -> None:
    """A quoted name, a reserved word among them, is a table like others, and another task's outcomes stay."""
    fill(warehouse, [row[:3] for row in MESSY])
    for run_id in ("a", "b", "b"):
        run(operator(state_path=state, outcomes_table=table), run_id=run_id)
    quoted = '"' + table.strip('"`[]') + '"'
    found = warehouse.execute(f"SELECT run_id, COUNT(*) FROM {quoted} GROUP BY run_id ORDER BY run_id")
    assert found == [("a", len(MESSY)), ("b", len(MESSY))]


@pytest.mark.parametrize("name", ["t--", '"t--"', "t -- ", "t/**/", "t--\n"])
def test_no_name_removes_the_condition_of_the_delete(warehouse: Warehouse, name: str) -> None:
    """Finding B5: a driver may put values into a comment, so a name that begins one never reaches a statement."""
    warehouse.execute("CREATE TABLE t (dag_id TEXT)", "INSERT INTO t VALUES ('precious')")
    with pytest.raises(WatiError):
        OutcomesTable(hook_of("warehouse"), name, COLUMNS).replace(("d", "t", "r", -1), [])
    assert warehouse.execute("SELECT dag_id FROM t") == [("precious",)]
