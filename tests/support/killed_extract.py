"""
Run a transfer from WATI again and again, each time in a process of its own that is killed at a chosen event.

An event is a row that was read, a statement that the database gets (``COMMIT`` among them), a row that is written to a
file, and each step that puts a file in place. The program reads one JSON object a line and answers with one; Airflow is
imported once, and each run is a fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.clock import SystemClock
from airflow_provider_wati.extracting import campaign_recipients, collected_rows, contacts, messages
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.state import directory, storage
from airflow_provider_wati.transfers import _extract_table, wati_to_file, wati_to_sql


class Events:
    """Counts events, and kills this process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.count = 0
        self._kill_at = kill_at

    def happen(self, *_: Any) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class ShiftedClock(SystemClock):
    """The clock of the sandbox, which a test moves."""

    def __init__(self, ahead: float) -> None:
        self._ahead = timedelta(seconds=ahead)

    def now(self) -> datetime:
        return super().now() + self._ahead


def watch(events: Events) -> None:
    """Let everything that happens to a row be an event."""
    for module in (contacts, messages, campaign_recipients):
        module._row_of = _before(events, module._row_of)  # type: ignore[attr-defined] # each of them has it
    sqlite_connect = _sqlite_hook().get_conn

    def connect(hook: Any) -> Any:
        connection = sqlite_connect(hook)
        connection.set_trace_callback(events.happen)
        return connection

    _sqlite_hook().get_conn = connect
    values = collected_rows.CollectedRows.values

    def each_value(rows: Any, names: Any) -> Iterator[Any]:
        for row in values(rows, names):
            events.happen()
            yield row

    collected_rows.CollectedRows.values = each_value  # type: ignore[assignment, method-assign] # for this process
    storage.os.replace = _around(events, os.replace)  # type: ignore[attr-defined] # likewise
    directory.StateDirectory.set = _around(events, directory.StateDirectory.set)  # type: ignore[method-assign] # likewise

    postgres_connect = _postgres_hook().get_conn
    _postgres_hook().get_conn = lambda hook: WatchedConnection(postgres_connect(hook), events)
    table_module: Any = _extract_table
    table_module.execute_many = _row_by_row(events, table_module.execute_many)


class WatchedConnection:
    """A connection of which each commit is two events: before and after."""

    def __init__(self, connection: Any, events: Events) -> None:
        vars(self).update(connection=connection, events=events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.connection, name, value)

    def commit(self) -> None:
        self.events.happen()
        self.connection.commit()
        self.events.happen()


def _row_by_row(events: Events, execute_many: Any) -> Any:
    def execute(cursor: Any, statement: str, rows: Any) -> None:
        for row in rows:
            events.happen()
            execute_many(cursor, statement, [row])

    return execute


def _postgres_hook() -> Any:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    return PostgresHook


def _sqlite_hook() -> Any:
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    return SqliteHook


def _before(events: Events, function: Any) -> Any:
    def call(*arguments: Any, **more: Any) -> Any:
        events.happen()
        return function(*arguments, **more)

    return call


def _around(events: Events, function: Any) -> Any:
    def call(*arguments: Any, **more: Any) -> Any:
        events.happen()
        result = function(*arguments, **more)
        events.happen()
        return result

    return call


def run(order: dict[str, Any]) -> int:
    """Run a transfer once, and return the number of its events."""
    events = Events(order["kill_at"])
    clock = ShiftedClock(order["ahead"])
    WatiOperator.clock = clock
    WatiHook.clock = clock
    WatiClient.server_clock_offset = property(lambda _: timedelta(0))  # type: ignore[assignment, method-assign] # the Date header is not the sandbox's
    watch(events)
    module = wati_to_sql if order["class"].endswith("ToSqlOperator") else wati_to_file
    operator = getattr(module, order["class"])(task_id="t", **order["arguments"])
    ti = SimpleNamespace(dag_id="d", run_id=order["run_id"], task_id="t", map_index=-1, try_number=1)
    operator.execute({"ti": ti})
    return events.count


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.write(writer, str(run(order)).encode())
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as counted:
            count = counted.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        failed = not killed and os.waitstatus_to_exitcode(status) != 0
        answer = {"killed": killed, "failed": failed, "events": int(count or 0)}
        print(f"answer {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
