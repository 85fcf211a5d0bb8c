"""What an extraction costs: peak memory and seconds for 10,000 and 1,000,000 messages, to SQLite, PostgreSQL and Parquet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

ROOT = Path(__file__).parents[1]
SIZES = (10_000, 1_000_000)
MESSAGES_EACH = 100
#: An extraction that needs this much more memory for a hundred times the rows is not flat.
FLAT = 1.5


def child(target: str, folder: str) -> None:
    """Extract all messages of the sandbox, and print what it took."""
    from types import SimpleNamespace

    from airflow_provider_wati.transfers.wati_to_file import WatiMessagesToFileOperator
    from airflow_provider_wati.transfers.wati_to_sql import WatiMessagesToSqlOperator

    operator: Any
    if target == "parquet":
        operator = WatiMessagesToFileOperator(
            task_id="messages", path=f"{folder}/messages.parquet", state_path=f"{folder}/state"
        )
    else:
        operator = WatiMessagesToSqlOperator(task_id="messages", table="messages", sql_conn_id="warehouse")
    ti = SimpleNamespace(dag_id="bench", run_id="r", task_id="messages", map_index=-1, try_number=1)
    context: Any = {"ti": ti}
    start = time.perf_counter()
    summary = operator.execute(context)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    rows = summary.get("rows", summary.get("inserted"))
    print(json.dumps({"megabytes": peak, "seconds": seconds, "rows": rows}))


def measure(target: str, endpoint: str, token: str, warehouse: dict[str, Any], folder: str) -> dict[str, Any]:
    wati = {
        "conn_type": "wati",
        "host": endpoint,
        "password": token,
        "extra": {"rate_limits": {"*": None}, "timeout": [60, 60]},
    }
    environment = {
        **os.environ,
        "AIRFLOW_HOME": f"{folder}/airflow",
        "AIRFLOW_CONN_WATI_DEFAULT": json.dumps(wati),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
    }
    command = [sys.executable, __file__, target, folder]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def fill(client: WatiClient, count: int) -> None:
    """Send campaigns, a hundred messages to each person."""
    people = [{"phone_number": str(919800000001 + n)} for n in range(count // MESSAGES_EACH)]
    for n in range(MESSAGES_EACH):
        for first in range(0, len(people), 10_000):
            client.send_template_messages("welcome", f"campaign {n}", people[first : first + 10_000])


def postgres_connection(uri: str) -> dict[str, Any]:
    from psycopg2.extensions import parse_dsn

    dsn = parse_dsn(uri)
    return {"conn_type": "postgres", "host": dsn["host"], "login": dsn["user"], "schema": dsn["dbname"]}


def main(sizes: tuple[int, ...]) -> None:
    sys.path.insert(0, str(ROOT))
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.sandbox.server import SandboxServer
    from tests.support.postgres import running_postgres

    peaks: dict[str, list[float]] = {}
    for size in sizes:
        with SandboxServer() as sandbox, running_postgres() as uri:
            client = WatiClient(sandbox.endpoint, sandbox.token, rate_limits={"*": None}, timeout=60)
            fill(client, size)
            for target in ("sqlite", "postgres", "parquet"):
                with tempfile.TemporaryDirectory() as folder:
                    warehouse = (
                        postgres_connection(uri)
                        if target == "postgres"
                        else {"conn_type": "sqlite", "host": f"{folder}/warehouse.db"}
                    )
                    result = measure(target, sandbox.endpoint, sandbox.token, warehouse, folder)
                peaks.setdefault(target, []).append(result["megabytes"])
                print(
                    f"{result['rows']:>9,} messages to {target:<8}: {result['megabytes']:.0f} MB, {result['seconds']:.0f} s",
                    flush=True,
                )
    for target, (least, *_, most) in peaks.items():
        if most > FLAT * least:
            sys.exit(f"Memory is not flat: {target} took {least:.0f} MB, then {most:.0f} MB.")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(*sys.argv[1:])
    else:
        main(SIZES if len(sys.argv) == 1 else (10_000, int(sys.argv[1])))
