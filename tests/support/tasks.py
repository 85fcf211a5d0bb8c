from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Sandbox
from tests.support.clock import SkippingClock
from tests.support.contract import ContractCheck, contract_file, load_contract

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG

    from airflow_provider_wati.operators._base import WatiOperator

Execute = Callable[..., Any]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> SkippingClock:
    """Let pauses of operators and client take no time."""
    from airflow_provider_wati.hooks.wati import WatiHook
    from airflow_provider_wati.operators._base import WatiOperator

    clock = SkippingClock()
    monkeypatch.setattr(WatiOperator, "clock", clock)
    monkeypatch.setattr(WatiHook, "clock", clock)
    return clock


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

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
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
    connection: dict[str, Any] = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    connection["extra"] = {"rate_limits": {"*": None}, "timeout": [2, 2]}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    def run(
        operator: WatiOperator,
        *,
        store: Store | None = None,
        try_number: int = 1,
        map_index: int = -1,
        loop: int | None = None,
        clears: int = 0,
        reschedules: int = 0,
        run_id: str = "r",
        has_store: bool = True,
        run_dates: dict[str, datetime] | None = None,
    ) -> Any:
        """
        Execute one attempt.

        :param loop: the iteration of a task loop; None outside one.
        :param clears: how often the run was cleared; the attempts before the last Clear do not count as retries.
        :param has_store: whether Airflow keeps state, as from 3.3 on.
        :param run_dates: ``start_date`` and ``run_after`` of the run; both are now if left out.
        """
        ti = SimpleNamespace(
            dag_id="d",
            run_id=run_id,
            task_id=operator.task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=(operator.retries or 0) + (try_number - 1 if clears else 0),
            task=operator,
            xcom_push=lambda _, value: pushed.append(value),
        )
        dates = run_dates or dict.fromkeys(("start_date", "run_after"), datetime.now(UTC))
        context: Any = {
            "ti": ti,
            "dag_run": SimpleNamespace(**dates, clear_number=clears),
            "task_reschedule_count": reschedules,
        }
        if has_store:
            context["task_state_store"] = Store() if store is None else store
        if loop is not None:
            context["loop"] = SimpleNamespace(index=loop)
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
