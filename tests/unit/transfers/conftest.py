from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres import PostgresUnavailableError, running_postgres

if TYPE_CHECKING:
    from tests.conftest import Sandbox


class Warehouse:
    """A real database, and Airflow's connection ``warehouse`` to it."""

    def __init__(self, kind: str, connect: Callable[[], Any]) -> None:
        self.kind = kind
        self._connect = connect

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, and return what the last one gives."""
        with closing(self._connect()) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows

    def fill(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        names = columns.split(",")
        mark = "?" if self.kind == "sqlite" else "%s"
        with closing(self._connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"CREATE TABLE {table} ({', '.join(f'{name} TEXT' for name in names)})")
            cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join([mark] * len(names))})", rows)
            connection.commit()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL of the tests' own; where it cannot run, the tests that need it say why and are skipped."""
    try:
        with running_postgres() as uri:
            yield uri
    except PostgresUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    if request.param == "sqlite":
        file = tmp_path / "warehouse.db"
        connection: dict[str, Any] = {"conn_type": "sqlite", "host": str(file)}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
        yield Warehouse("sqlite", lambda: sqlite3.connect(file))
        return
    import psycopg2
    from psycopg2.extensions import parse_dsn

    dsn = request.getfixturevalue("postgres")
    told = parse_dsn(dsn)
    connection = {
        "conn_type": "postgres",
        "login": told["user"],
        "schema": told["dbname"],
        "extra": {"options": "-c search_path=test"},
        "host": told["host"],
    }
    if "port" in told:
        connection["port"] = int(told["port"])
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    warehouse = Warehouse(
        "postgres", lambda: psycopg2.connect(dsn, options="-c search_path=test -c lock_timeout=5000")
    )
    warehouse.execute("CREATE SCHEMA test")
    yield warehouse
    warehouse.execute("DROP SCHEMA test CASCADE")


@pytest.fixture
def run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Execute an operator against the sandbox without a DAG; what it pushed to XCom is in ``run.pushed``."""
    connection: dict[str, Any] = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    connection["extra"] = {"rate_limits": {"*": None}, "timeout": [2, 2], "default_region": "IN"}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    pushed: list[dict[str, Any]] = []

    def execute(operator: Any, *, run_id: str = "r", try_number: int = 1, loop: int | None = None) -> Any:
        ti = SimpleNamespace(
            dag_id="d",
            run_id=run_id,
            task_id=operator.task_id,
            map_index=-1,
            try_number=try_number,
            xcom_push=lambda _, value: pushed.append(value),
        )
        context: Any = {"ti": ti, "dag_run": SimpleNamespace(clear_number=0)}
        if loop is not None:
            context["loop"] = SimpleNamespace(index=loop)
        return operator.execute(context)

    execute.pushed = pushed  # type: ignore[attr-defined] # what a test looks at afterwards
    return execute


@pytest.fixture
def state(tmp_path: Path) -> str:
    return os.fspath(tmp_path / "state")
