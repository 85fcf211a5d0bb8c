from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tenacity import wait_none

from tests.conftest import Sandbox
from tests.support.contract import ContractCheck, contract_file, load_contract

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG

    from airflow_provider_wati.operators._base import WatiOperator

Execute = Callable[..., Any]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what WATI may hide for a while be looked for once only, and pause between no two tries of a call."""
    monkeypatch.setattr("airflow_provider_wati.operators._once._APPEARS_WITHIN", timedelta(0))
    monkeypatch.setattr("airflow_provider_wati.sending.grace.UNKNOWN_GRACE", timedelta(0))
    monkeypatch.setattr("airflow_provider_wati.sending.grace.longest_call", lambda _: timedelta(-1))
    monkeypatch.setattr("airflow_provider_wati.sending.grace.POLL_SECONDS", 0.05)
    monkeypatch.setattr(
        "airflow_provider_wati.client.transport.wait_exponential_jitter", lambda **_: wait_none()
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    checks: list[ContractCheck] = []

    def wrap(app: Any) -> Any:
        checks.append(ContractCheck(app, load_contract()))
        return checks[0]

    with Sandbox(wrap=wrap if contract_file().is_file() else None) as running:
        assert isinstance(running, Sandbox)
        yield running
    for check in checks:
        check.assert_clean()


@pytest.fixture
def quick_sandbox(server: Sandbox) -> Sandbox:
    """The sandbox of a whole module, as good as new: for many quick tests."""
    server.reset()
    return server


class Store(dict[str, Any]):
    """Stands in for ``task_state_store``: what it holds has gone through JSON, as in Airflow's database."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.dumps(value)

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self[key]) if key in self else default

    def delete(self, key: str) -> None:
        self.pop(key, None)


@pytest.fixture
def execute(
    sandbox: Sandbox, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Execute an operator against the sandbox without a DAG; each store is one task of one run."""
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    connection["extra"] = {"rate_limits": {"*": None}, "timeout": [2, 2]}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    def run(operator: WatiOperator, *, store: Store | None = None, try_number: int = 1) -> Any:
        ti = SimpleNamespace(
            dag_id="d",
            run_id="r",
            task_id=operator.task_id,
            map_index=-1,
            try_number=try_number,
            xcom_push=lambda _, value: pushed.append(value),
        )
        context: Any = {
            "ti": ti,
            "dag_run": SimpleNamespace(run_after=datetime.now(UTC)),
            "task_state_store": Store() if store is None else store,
        }
        return operator.execute(context)

    pushed: list[dict[str, Any]] = []
    run.pushed = pushed  # type: ignore[attr-defined] # what a failed task leaves in XCom
    return run


@pytest.fixture
def clear() -> Callable[[DAG, TaskInstance], TaskInstance]:
    """Press Clear on a task that has run, and let it run again; return it as it is then."""
    from airflow.models.taskinstance import TaskInstance as Row, clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState

    def run_again(dag: DAG, ti: TaskInstance) -> TaskInstance:
        def find(session: Any) -> TaskInstance:
            key = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
            found: TaskInstance = session.query(Row).filter_by(**key, map_index=ti.map_index).one()
            return found

        with create_session() as session:
            clear_task_instances([find(session)], session, dag_run_state=DagRunState.RUNNING)
        with create_session() as session:
            row = find(session)
            row.try_number += 1
            row.state = "scheduled"
            session.commit()
            _run_task(ti=row, task=dag.task_dict[ti.task_id])
        with create_session() as session:
            return find(session)

    return run_again


@pytest.fixture
def bucket() -> Iterator[str]:
    """A place that Airflow reaches through the interface of object storage."""
    from airflow.sdk.io import attach, store
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    yield "memory://bucket/state"
    store._STORE_CACHE.pop("memory")
    MemoryFileSystem.store.clear()
