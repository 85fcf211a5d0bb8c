"""
What an extraction costs: memory and seconds for 10,000 and 1,000,000 messages, to SQLite, PostgreSQL and Parquet.

Memory is shown after 10, 50 and 100 % of the rows. Two floors stand beside the time: reading the same from the sandbox
without storing it, and inserting the same rows without reading, comparing or committing anything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

ROOT = Path(__file__).parents[1]
SIZES = (10_000, 1_000_000)
MESSAGES_EACH = 100
#: An extraction that needs this much more memory for a hundred times the rows is not flat.
FLAT = 1.5
#: Rows of one transaction of the floor, as in an extraction.
CHUNK = 5_000


def resident() -> float:
    """Megabytes that this process holds now."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


class Meter:
    """Notes how much memory there is after 10, 50 and 100 % of the rows, and counts calls."""

    def __init__(self, total: int) -> None:
        self._marks = [total * part // 100 for part in (10, 50, 100)]
        self.rows = self.calls = 0
        self.megabytes: list[float] = []

    def watch(self) -> None:
        from airflow_provider_wati.client.transport import Transport
        from airflow_provider_wati.extracting import job

        add, outcome = job._Buffer.add, Transport.outcome

        def counted(buffer: Any, rows: Any) -> None:
            add(buffer, rows)
            self.rows += len(rows)
            while self._marks and self.rows >= self._marks[0]:
                self._marks.pop(0)
                self.megabytes.append(resident())

        def called(*arguments: Any) -> Any:
            self.calls += 1
            return outcome(*arguments)

        job._Buffer.add = counted  # type: ignore[method-assign] # for this process
        Transport.outcome = called  # type: ignore[method-assign] # likewise


def child(target: str, folder: str, total: int) -> None:
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
    meter = Meter(total)
    meter.watch()
    start = time.perf_counter()
    summary = operator.execute(context)
    seconds = time.perf_counter() - start
    found = {
        "megabytes": meter.megabytes,
        "seconds": seconds,
        "calls": meter.calls,
        "rows": summary.get("rows", summary.get("inserted")),
        "reading": reading_seconds(operator),
        "inserting": inserting_seconds(target, folder, total),
    }
    print(json.dumps(found))


def reading_seconds(operator: Any) -> float:
    """Seconds that it takes to read the same messages and drop them."""
    client = operator.hook.client
    start = time.perf_counter()
    for talk in client.iter_conversations():
        for _ in client.iter_messages(talk["id"]):
            pass
    return time.perf_counter() - start


def inserting_seconds(target: str, folder: str, total: int) -> float:
    """Seconds that it takes to write as many rows that are there already, in parts of the same size."""
    from airflow_provider_wati.extracting.messages import MESSAGES
    from airflow_provider_wati.operators._files import open_table
    from airflow_provider_wati.operators._sql import execute_many, hook_of

    names = [column.name for column in MESSAGES.columns]
    values = {"owner": True, "created": "2026-11-26T09:30:00.000000Z", "extracted_at": "2026-11-26T09:30:00Z"}
    row = [values.get(name, "a text of some length") for name in names[1:]]
    start = time.perf_counter()
    if target == "parquet":
        with open_table(f"{folder}/floor.parquet", names, {"owner"}) as write:
            write([f"{n:024x}", *row] for n in range(total))
        return time.perf_counter() - start
    hook = hook_of("warehouse")
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE floor AS SELECT * FROM messages WHERE 1 = 0")
        cursor.execute("CREATE UNIQUE INDEX floor_id ON floor (id)")
        marks = ", ".join([hook.placeholder] * len(names))
        for first in range(0, total, CHUNK):
            rows = [[f"{n:024x}", *row] for n in range(first, min(first + CHUNK, total))]
            execute_many(cursor, f"INSERT INTO floor VALUES ({marks})", rows)
            connection.commit()
    return time.perf_counter() - start


def measure(
    target: str, endpoint: str, token: str, warehouse: dict[str, Any], folder: str, total: int
) -> dict[str, Any]:
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
    command = [sys.executable, __file__, target, folder, str(total)]
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


def line_of(target: str, result: dict[str, Any]) -> str:
    seconds = result["seconds"]
    memory = ", ".join(f"{megabytes:.0f}" for megabytes in result["megabytes"])
    floor = result["reading"] + result["inserting"]
    return (
        f"{result['rows']:>9,} messages to {target:<8}: {memory} MB after 10, 50 and 100 %; {seconds:.0f} s, "
        f"{result['calls'] / seconds:.0f} calls/s, {result['rows'] / seconds:,.0f} rows/s; reading alone "
        f"{result['reading']:.0f} s, inserting alone {result['inserting']:.0f} s: {seconds / floor:.2f} times both"
    )


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
                    result = measure(target, sandbox.endpoint, sandbox.token, warehouse, folder, size)
                peaks.setdefault(target, []).append(max(result["megabytes"]))
                print(line_of(target, result), flush=True)
    for target, (least, *_, most) in peaks.items():
        if most > FLAT * least:
            sys.exit(f"Memory is not flat: {target} took {least:.0f} MB, then {most:.0f} MB.")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(SIZES if len(sys.argv) == 1 else (10_000, int(sys.argv[1])))
