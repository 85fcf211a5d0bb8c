from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Sandbox
from tests.support.clock import SkippingClock
from tests.support.contract import ContractCheck, contract_file, load_contract
from tests.support.task_context import uuid7

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


class Tasks:
    """Stands in for what Airflow knows of the tasks of all runs: their states and XComs."""

    def __init__(self) -> None:
        #: What was returned, or left by a task that failed.
        self.pushed: list[dict[str, Any]] = []
        self._clears: dict[str, int] = {}
        self._states: dict[tuple[str, str, int], str | None] = {}
        self._xcoms: dict[tuple[str, str, int], dict[str, Any]] = {}

    def task(
        self, task_id: str, run_id: str, map_index: int, clears: int, made: datetime | None = None
    ) -> SimpleNamespace:
        """Return a task instance."""
        key = run_id, task_id, map_index
        if clears > self._clears.get(run_id, 0):
            self.clear(run_id)
            self._clears[run_id] = clears

        def push(name: str, value: Any) -> None:
            self._xcoms[key][name] = value
            if name == "return_value":
                self.pushed.append(value)

        def pull(*, task_ids: list[str], key: str) -> list[Any]:
            # Airflow has None for a task without such an XCom.
            return [
                xcoms[key]
                for (run, task, _), xcoms in sorted(self._xcoms.items())
                if run == run_id and task in task_ids and key in xcoms
            ] or [None]

        def states(**_: Any) -> dict[str, dict[str, str | None]]:
            return {
                run_id: {
                    f"{task}_{index}": state
                    for (run, task, index), state in self._states.items()
                    if run == run_id
                }
            }

        return SimpleNamespace(
            dag_id="d", run_id=run_id, task_id=task_id, map_index=map_index,
            xcom_push=push, xcom_pull=pull, get_task_states=states, id=made and uuid7(made),
        )  # fmt: skip

    def clear(self, run_id: str, only: Collection[int] | None = None) -> None:
        """Clear the tasks of a run, or those with some map indexes."""
        self._clears[run_id] = self._clears.get(run_id, 0) + 1
        for key in self._states:
            if key[0] == run_id and (only is None or key[2] in only):
                self._states[key] = None

    @contextmanager
    def runs(self, ti: SimpleNamespace) -> Iterator[None]:
        """Let a task run: Airflow deletes its XComs first."""
        key = ti.run_id, ti.task_id, ti.map_index
        self._xcoms[key] = {}
        self._states[key] = "running"
        try:
            yield
        except BaseException:
            self._states[key] = "failed"
            raise
        self._states[key] = "success"


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
        uncounted_clear: bool = False,
        reschedules: int = 0,
        run_id: str = "r",
        has_store: bool = True,
        run_dates: dict[str, datetime] | None = None,
        made: datetime | None = None,
    ) -> Any:
        """
        Execute one attempt.

        :param loop: the iteration of a task loop; None outside one.
        :param clears: how often the run was cleared; the attempts before the last Clear do not count as retries.
        :param uncounted_clear: whether the task was cleared while its run went on, which Airflow 3.1 does not count.
        :param has_store: whether Airflow keeps state, as from 3.3 on.
        :param run_dates: ``start_date`` and ``run_after`` of the run; both are now if left out.
        :param made: when Airflow made the task instance; its id does not say it if left out.
        """
        ti = mapped.task(operator.task_id, run_id, map_index, clears, made)
        ti.try_number = try_number
        ti.max_tries = (operator.retries or 0) + (try_number - 1 if clears or uncounted_clear else 0)
        ti.task = operator
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
        with mapped.runs(ti):
            return operator.execute(context)

    mapped = Tasks()
    run.pushed = mapped.pushed  # type: ignore[attr-defined] # what a failed task leaves in XCom
    run.tasks = mapped  # type: ignore[attr-defined] # what Airflow knows of the tasks
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


def rendered_fields(dag_id: str) -> dict[str, dict[str, Any]]:
    """Return what Airflow stores of the arguments of the tasks of a DAG, by task id."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        tasks = session.query(TaskInstance).filter_by(dag_id=dag_id).all()
        return {
            ti.task_id: RenderedTaskInstanceFields.get_templated_fields(ti, session=session) or {}
            for ti in tasks
        }
