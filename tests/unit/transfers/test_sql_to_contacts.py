"""SqlToWatiContactsOperator, from real databases to the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
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
