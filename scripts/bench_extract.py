"""
What an extraction costs: memory and seconds for few messages and for many, to SQLite, PostgreSQL and Parquet.

Two floors stand beside the time: reading the same without storing it (few messages), and inserting as many rows without reading
or comparing anything. The messages come from a server that makes them up as they are asked for, because the sandbox takes longer
for a page than the extraction.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench_report import Measure, Sizes

ROOT = Path(__file__).parents[1]
TARGETS = ("sqlite", "postgres", "parquet")
MESSAGES_EACH = 100
#: An extraction that needs this much more memory for a hundred times the rows is not flat.
FLAT = 1.5
#: Rows of one transaction of the floor, as in an extraction.
CHUNK = 5_000
#: Reading a million messages once more takes too long.
READ_AGAIN = 100_000


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

        job._Buffer.add = counted  # type: ignore[method-assign, assignment] # for this process
        Transport.outcome = called  # type: ignore[method-assign, assignment] # likewise


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
        "reading": reading_seconds(operator) if total <= READ_AGAIN else 0.0,
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


class GeneratedWati(BaseHTTPRequestHandler):
    """Answers with conversations of a hundred messages each, newest first; ``total`` of the server says how many messages."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        page = int(parse_qs(url.query)["page_number"][0])
        conversations = self.server.total // MESSAGES_EACH  # type: ignore[attr-defined] # set by generated_wati
        if url.path.endswith("/messages"):
            number = int(url.path.split("/")[-2], 16)
            found: dict[str, Any] = {"message_list": messages_of(number) if page == 1 else []}
        else:
            numbers = range((page - 1) * 100, min(page * 100, conversations))
            found = {"conversation_list": [{"id": f"{n:024x}", "channel_type": "whatsapp"} for n in numbers]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def messages_of(number: int) -> list[dict[str, Any]]:
    newest = 1_793_318_400 - number * 60
    return [
        {
            "id": f"{number * MESSAGES_EACH + n:024x}",
            "conversation_id": f"{number:024x}",
            "event_type": "broadcast",
            "type": "template",
            "text": f"Hello! Your order {number} is on its way, message {n}.",
            "owner": True,
            "status": "delivered",
            "local_message_id": f"bench-{number}-{n}",
            "created": datetime.fromtimestamp(newest - n, UTC).isoformat(),
        }
        for n in range(MESSAGES_EACH)
    ]


@contextmanager
def generated_wati(total: int) -> Iterator[tuple[str, str]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), GeneratedWati) as server:
        server.total = total  # type: ignore[attr-defined] # for the handler
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/1", "token"
        server.shutdown()


def postgres_connection(uri: str) -> dict[str, Any]:
    from psycopg2.extensions import parse_dsn

    dsn = parse_dsn(uri)
    return {"conn_type": "postgres", "host": dsn["host"], "login": dsn["user"], "schema": dsn["dbname"]}


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure the time of an extraction beside its floors, and the memory beside that of a smaller one."""
    sys.path.insert(0, str(ROOT))
    from tests.support.postgres import running_postgres

    results: dict[str, list[dict[str, Any]]] = {target: [] for target in TARGETS}
    totals = (sizes.few, sizes.messages)
    for total in totals:
        with generated_wati(total) as (endpoint, token), running_postgres() as uri:
            for target in TARGETS:
                with tempfile.TemporaryDirectory() as folder:
                    warehouse = (
                        postgres_connection(uri)
                        if target == "postgres"
                        else {"conn_type": "sqlite", "host": f"{folder}/warehouse.db"}
                    )
                    results[target].append(measure(target, endpoint, token, warehouse, folder, total))
    for target, (small, large) in results.items():
        what = f"{sizes.messages:,} messages to {target}"
        yield Measure("extract", what, large["seconds"], "s", "inserting alone", large["inserting"])
        what = f"{sizes.few:,} messages to {target}"
        yield Measure("extract", what, small["seconds"], "s", "reading alone", small["reading"])
        peak, of_few = (max(result["megabytes"]) for result in (large, small))
        what = f"{target}, memory for {sizes.messages:,}"
        yield Measure("extract", what, peak, "MB", f"memory for {sizes.few:,}", of_few, most=FLAT)


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
