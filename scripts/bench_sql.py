"""What reading a query costs: peak memory and time for few rows and for many, from SQLite and from PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_extract import postgres_connection
from bench_report import Measure, Sizes

#: A send that needs this much more memory for a hundred times the rows is not flat.
FLAT = 1.5
SQL = """
    WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows})
    SELECT n AS id, '+91 ' || (9800000000 + n) AS phone, 'Customer ' || n AS name FROM s
"""


def child(rows: str) -> None:
    """Do all but send to the people of a query, write the outcomes to a table, and print what it took."""
    from types import SimpleNamespace

    from airflow_provider_wati.sandbox.server import SandboxServer
    from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiTemplateOperator

    with SandboxServer() as sandbox:
        connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
        os.environ["AIRFLOW_CONN_WATI_DEFAULT"] = json.dumps(connection)
        operator = SqlToWatiTemplateOperator(
            task_id="send",
            sql_conn_id="warehouse",
            sql=SQL.format(rows=rows),
            target_column="phone",
            template_name="order_update",
            param_columns={"name": "name", "order_id": "id"},
            template_params={"status": "packed"},
            outcomes_table="outcomes",
            batch_size=10_000,
            check_consent=False,
            dry_run=True,
        )
        ti = SimpleNamespace(dag_id="bench", run_id=rows, task_id="send", map_index=-1, try_number=1)
        context: Any = {"ti": ti}
        start = time.perf_counter()
        summary = operator.execute(context)
        seconds = time.perf_counter() - start
    if not summary["total"] == summary["unsent"] == int(rows):
        sys.exit(f"The counts are wrong: {summary}")
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"megabytes": peak, "seconds": seconds}))


def measure(connection: dict[str, Any], rows: int, home: str) -> dict[str, float]:
    environment = {**os.environ, "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection), "AIRFLOW_HOME": home}
    command = [sys.executable, __file__, str(rows)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure the memory of a query's checks and outcomes, and the time of many rows beside that of few."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.support.postgres import running_postgres

    with tempfile.TemporaryDirectory() as name, running_postgres() as uri:
        connections = {
            "SQLite": {"conn_type": "sqlite", "host": f"{name}/warehouse.db"},
            "PostgreSQL": postgres_connection(uri),
        }
        for database, connection in connections.items():
            small, large = (measure(connection, rows, name) for rows in (sizes.few, sizes.people))
            what, peer = (f"{database}, memory for {rows:,}" for rows in (sizes.people, sizes.few))
            yield Measure("queries", what, large["megabytes"], "MB", peer, small["megabytes"], most=FLAT)
            per_row = [
                took["seconds"] / rows * 1e6 for took, rows in ((large, sizes.people), (small, sizes.few))
            ]
            what, peer = (f"{database}, a row of {rows:,}" for rows in (sizes.people, sizes.few))
            yield Measure("queries", what, per_row[0], "µs", peer, per_row[1])


if __name__ == "__main__":
    child(sys.argv[1])
