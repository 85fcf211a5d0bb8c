"""SqlToWatiTemplateOperator, from real databases to the sandbox."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from requests import Session

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.operators._sql import OutcomesTable, hook_of
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiTemplateOperator

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

LONG = "x" * 3_000
# What a summary has room for.
LONG_KEY = "x" * 1_000
#: Phone as the warehouse has it, name, and what becomes of the row.
MESSY = [
    ("+91 98765 43210", "Ravi", "accepted", "919876543210"),
    ("9876543211", "Asha", "accepted", "919876543211"),
    ("098765 43212", "Mei 🌸 Lin", "accepted", "919876543212"),
    ("+44 20 7946 0018", "a landline", "accepted", "442079460018"),
    ("919876543213", LONG, "accepted", "919876543213"),
    ("+91-98765-43210", "Ravi again", "skipped", None),
    ("9876543214.0", "a float", "invalid", None),
    (None, "nobody", "invalid", None),
    ("", "nobody", "invalid", None),
    ("n/a", "nobody", "invalid", None),
    ("919876543215", None, "invalid", None),
    ("919876543216", "  ", "invalid", None),
    ("919876543217", "two\nlines", "invalid", None),
]


def operator(**changes: Any) -> SqlToWatiTemplateOperator:
    settings: dict[str, Any] = {
        "task_id": "send",
        "sql_conn_id": "warehouse",
        "sql": "SELECT id, phone, name FROM customers ORDER BY id",
        "target_column": "phone",
        "template_name": "order_update",
        "param_columns": {"name": "name", "order_id": "id"},
        "template_params": {"status": "packed"},
        "failure_threshold": 0.9,
    }
    return SqlToWatiTemplateOperator(**{**settings, **changes})


def fill(warehouse: Warehouse, rows: list[tuple[Any, ...]]) -> None:
    warehouse.fill("customers", "id,phone,name", rows)


def test_each_row_has_its_outcome(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, tmp_path: Path
) -> None:
    """Each row of a query has its outcome, also with NULLs and duplicates."""
    fill(warehouse, [(f"{n:03}", phone, name) for n, (phone, name, *_) in enumerate(MESSY)])
    outcomes = tmp_path / "outcomes.jsonl"
    summary = run(operator(state_path=state, outcomes_path=str(outcomes), outcomes_table="outcomes"))
    counts = {name: summary[name] for name in ("total", "accepted", "skipped", "invalid")}
    assert counts == {"total": len(MESSY), "accepted": 5, "skipped": 1, "invalid": 7}
    assert sum(summary[s] for s in ("accepted", "skipped", "invalid", "rejected", "unknown", "unsent")) == 13
    written = [json.loads(line) for line in outcomes.read_text().splitlines()]
    assert [row["status"] for row in written] == [status for _, _, status, _ in MESSY]
    for _, name, _, phone in MESSY:
        if phone is not None:
            assert [str(name) in text for text in sandbox.texts_to(phone)] == [True]
    posts = sandbox.requests("POST")
    assert len(posts) == 1
    table = warehouse.execute("SELECT source_row, status, target FROM outcomes ORDER BY source_row")
    assert [(row["row"], row["status"], row["target"]) for row in written] == table


def test_a_second_attempt_sends_nothing_and_replaces_its_outcomes(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """A second attempt sends to nobody again, and its outcomes replace the first ones."""
    fill(warehouse, [("1", "919876543210", "Ravi"), ("2", "919876543211", "Asha")])
    for try_number in (1, 2):
        summary = run(operator(state_path=state, outcomes_table="o"), try_number=try_number)
        assert (summary["accepted"], summary["total"], summary["outcomes"]) == (2, 2, "o")
    run(operator(state_path=state, outcomes_table="o"), run_id="another")
    assert len(sandbox.requests("POST")) == 2
    by_run = "SELECT dag_id, task_id, run_id, map_index, send_key, COUNT(*) FROM o GROUP BY 1, 2, 3, 4, 5 ORDER BY 3"
    assert warehouse.execute(by_run) == [
        ("d", "send", "another", -1, "d/another/send", 2),
        ("d", "send", "r", -1, "d/r/send", 2),
    ]


def test_each_iteration_of_a_loop_keeps_its_outcomes(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """Task loops have one map index for all iterations, and a send of its own for each."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    for loop in (0, 1, 1):
        run(operator(state_path=state, outcomes_table="o"), loop=loop)
    assert warehouse.execute("SELECT loop_index, COUNT(*) FROM o GROUP BY 1 ORDER BY 1") == [(0, 1), (1, 1)]


def test_columns_are_found_in_another_case(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """PHONE is found as phone."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    summary = run(operator(target_column="PHONE", state_path=state))
    assert summary["accepted"] == 1
    assert len(sandbox.texts_to("919876543210")) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_column": "phnoe"}, r"has no column 'phnoe'; its columns are 'id', 'phone', 'name'"),
        ({"key_column": "order"}, "has no column 'order'"),
        ({"sql": "SELECT id, phone, name, phone FROM customers"}, "returns the column 'phone' 2 times"),
    ],
)
def test_a_missing_column_is_named_before_anything_is_sent(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, changes: dict[str, Any], says: str
) -> None:
    """The error names the missing column and those of the query."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    with pytest.raises(WatiValidationError, match=says):
        run(operator(**changes))
    assert sandbox.requests("POST") == []


def test_sql_that_fails_half_way_sends_nothing(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A query that fails while rows are read sends nothing."""
    # The last of 20,000 rows cannot be worked out; the first thousands come without an error.
    bad = "json(CASE WHEN n = 20000 THEN '{' ELSE '1' END)"
    if warehouse.kind == "postgres":
        bad = "(1 / (20000 - n))::text"
    numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) "
    sql = f"{numbers}SELECT n AS id, 919800000000 + n AS phone, {bad} AS name FROM s"
    with pytest.raises(Exception, match=r"division by zero|malformed JSON"):
        run(operator(sql=sql))
    assert sandbox.requests("POST") == []
    assert run.pushed[0]["accepted"] == 0


def test_the_database_is_closed_before_the_first_message(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to the database is closed before the first call to WATI."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    client = "airflow_provider_wati.client.wati.WatiClient"
    import airflow_provider_wati.client.wati as module

    send = module.WatiClient.dispatch_template
    dropped = []

    def drop_first(*args: Any, **kwargs: Any) -> Any:
        # No open cursor or transaction holds the table.
        dropped.append(warehouse.execute("DROP TABLE customers"))
        return send(*args, **kwargs)

    monkeypatch.setattr(f"{client}.dispatch_template", drop_first)
    assert run(operator())["accepted"] == 1
    assert dropped == [[]]


def test_parameters_and_a_sql_file(
    run_dag: Any, sandbox: Sandbox, warehouse: Warehouse, tmp_path: Path
) -> None:
    """Parameters reach the driver, and the SQL may be a file."""
    from airflow.sdk import DAG

    fill(warehouse, [("1", "919876543210", "Ravi"), ("2", "919876543211", "Asha")])
    mark = ":id" if warehouse.kind == "sqlite" else "%(id)s"
    (tmp_path / "orders.sql").write_text(
        f"SELECT id, phone, name FROM {{{{ params.table }}}} WHERE id = {mark}"
    )
    with DAG(
        "from_sql", schedule=None, template_searchpath=str(tmp_path), params={"table": "customers"}
    ) as dag:
        operator(sql="orders.sql", parameters={"id": "{{ 1 + 1 }}"})
    ti = run_dag(dag)["send"]
    assert ti.state == "success"
    assert ti.xcom_pull("send")["accepted"] == 1
    assert len(sandbox.texts_to("919876543211")) == 1
    assert sandbox.texts_to("919876543210") == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"outcomes_table": "o; DROP TABLE customers"}, "not the name of a table"),
        ({"outcomes_table": "nowhere.o"}, "nowhere"),
        (
            {"outcomes_table": "customers"},
            "does not exist with the columns dag_id, .* already exists.*Nothing was sent",
        ),
        ({"sql": ["SELECT 1", "SELECT 2"]}, "sql is of type list"),
        ({"outcomes_table": "o", "outcomes_conn_id": "wati_default"}, "is not an SQL database"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, changes: dict[str, Any], says: str
) -> None:
    """An argument with an error fails the task before the first message."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    with pytest.raises(Exception, match=says):
        run(operator(**changes))
    assert sandbox.requests("POST") == []
    assert warehouse.execute("SELECT * FROM customers") == [("1", "919876543210", "Ravi")]


def test_any_value_of_a_row_fits_the_outcomes_table(run: Any, warehouse: Warehouse, state: str) -> None:
    """Long texts and zero bytes are written to the table."""
    fill(warehouse, [(LONG, "\t" + LONG, "Ravi"), ("2", "919876543210", "Ravi")])
    for try_number in (1, 2):
        send = operator(outcomes_table="o", send_key=LONG_KEY, key_column="id", state_path=state)
        assert run(send, try_number=try_number)["accepted"] == 1
    table = "SELECT source_row, status, LENGTH(send_key), LENGTH(message_key) FROM o ORDER BY 1"
    assert warehouse.execute(table) == [(1, "accepted", 1_000, 1), (2, "invalid", 1_000, 1_000)]


def test_a_failed_send_has_its_outcomes_in_the_table(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """A failed send writes its outcomes too."""
    fill(warehouse, [("1", "919876543210", "Ravi"), ("2", None, "nobody")])
    with pytest.raises(WatiValidationError):
        run(operator(outcomes_table="o", failure_threshold=0))
    assert warehouse.execute("SELECT status FROM o ORDER BY source_row") == [("accepted",), ("invalid",)]
    assert run.pushed[-1]["outcomes"] == "o"


def test_outcomes_go_to_another_database(
    run: Any, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes may go to another database than the query."""
    other = tmp_path / "other.db"
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": str(other)}))
    fill(warehouse, [("1", "919876543210", "Ravi")])
    run(operator(outcomes_table="o", outcomes_conn_id="other"))
    with closing(sqlite3.connect(other)) as database:
        assert database.execute("SELECT status FROM o").fetchall() == [("accepted",)]


def test_a_connection_that_is_not_a_database_is_refused(run: Any) -> None:
    """A connection without SQL is refused with its type."""
    with pytest.raises(
        WatiConfigurationError, match="'wati_default' is of type 'wati', which is not an SQL database"
    ):
        run(operator(sql_conn_id="wati_default"))


def test_lineage_has_the_query_and_the_asset(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lineage has the query, its row count and the asset in WATI."""
    lineage = pytest.importorskip("airflow.sdk.lineage", reason="Airflow 3.1 has it elsewhere")
    collector = lineage.HookLineageCollector()
    for place in (
        "airflow.sdk.lineage",
        "airflow.providers.common.compat.lineage.hook",
        "airflow.providers.common.sql.hooks.lineage",
    ):
        monkeypatch.setattr(f"{place}.get_hook_lineage_collector", lambda: collector)
    fill(warehouse, [("1", "919876543210", "Ravi")])
    run(operator())
    run(operator(dry_run=True), run_id="dry")
    told = collector.collected_assets
    assert [asset.asset.uri for asset in told.outputs] == [
        f"wati://{sandbox.endpoint.partition('://')[2]}/messageTemplates/order_update"
    ]
    assert any("FROM customers" in str(extra.value) for extra in told.extra)
    assert "9876543210" not in str(told)


@pytest.mark.parametrize("failure", ["sql", "wati"])
def test_a_try_that_reads_no_rows_leaves_the_outcomes_of_the_one_before(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, failure: str
) -> None:
    """A query that leaves out people by this table would message them again."""
    fill(warehouse, [("1", "919876543210", "Ravi"), ("2", "919876543211", "Asha")])
    run(operator(state_path=state, outcomes_table="o"))
    outcomes = warehouse.execute("SELECT * FROM o ORDER BY source_row")
    assert len(outcomes) == 2
    changes: dict[str, Any] = {"sql": "SELECT nothing"} if failure == "sql" else {}
    if failure == "wati":
        sandbox.fault("status", status=401)
    with pytest.raises(Exception, match=r"nothing|401"):
        run(operator(state_path=state, outcomes_table="o", **changes), try_number=2)
    assert warehouse.execute("SELECT * FROM o ORDER BY source_row") == outcomes


def test_a_timeout_of_airflow_leaves_outcomes_and_a_result(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that Airflow stops has its outcomes and its summary."""

    class Timeout(BaseException):
        """Airflow's is no Exception either."""

    fill(warehouse, [("1", "919876543210", "Ravi"), ("2", "919876543211", "Asha")])
    send = Session.request

    def slow(session: Session, method: str, url: str, **options: Any) -> Any:
        answer = send(session, method, url, **options)
        if method == "POST" and len(sandbox.requests("POST")) == 2:
            raise Timeout
        return answer

    monkeypatch.setattr(Session, "request", slow)
    with pytest.raises(Timeout):
        run(operator(state_path=state, outcomes_table="o", batch_size=1))
    assert (run.pushed[-1]["accepted"], run.pushed[-1]["unknown"]) == (1, 1)
    assert warehouse.execute("SELECT status FROM o ORDER BY source_row") == [("accepted",), ("unknown",)]


def test_several_statements_are_refused(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Several statements in one query are refused."""
    fill(warehouse, [("1", "919876543210", "Ravi")])
    sql = "SELECT id, phone, name FROM customers; DELETE FROM customers; COMMIT"
    with pytest.raises(WatiValidationError, match="several statements"):
        run(operator(sql=sql))
    assert warehouse.execute("SELECT COUNT(*) FROM customers") == [(1,)]


def test_tasks_that_start_together_create_one_table(warehouse: Warehouse) -> None:
    """Two tasks that create the outcomes table at the same time both succeed."""

    def make(name: str) -> None:
        OutcomesTable(hook_of("warehouse"), name, SEND_COLUMNS).create()

    for n in range(5):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, [f"o{n}"] * 4))
        assert warehouse.execute(f"SELECT COUNT(*) FROM o{n}") == [(0,)]
