"""
A run of a DAG in Airflow without its services: the scheduler's decisions, the task runner and the triggers, in one process.

The database is a SQLite file, so what is in it outlives the process. Each run of :func:`go_on` picks up where the last one was
killed, as a scheduler does. This module is the only one of the testing kit that imports Airflow.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.testing._histories import Job

_BUNDLE = "wati-replay"
_KILLED = "The process of the task was killed."


#: What each process of a replay would import otherwise.
_PRELOADED = (
    "airflow.models.dagrun",
    "airflow.models.trigger",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.supervisor",
    "airflow.serialization.serialized_objects",
    "airflow.utils.db",
    "airflow_provider_wati.client.wati",
    "airflow_provider_wati.hooks.wati",
    "airflow_provider_wati.sending.job",
    "airflow_provider_wati.sending.single",
    "airflow_provider_wati.tables.phone_numbers",
)
_HEALTH = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "path": "/health",
    "raw_path": b"/health",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "headers": [(b"host", b"in-process")],
    "server": ("in-process", 80),
    "client": ("in-process", 1),
}


@functools.cache
def execution_api() -> Any:
    """Build the API that tasks talk to, once: it takes seconds, and processes that are forked later have it."""
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    app = InProcessExecutionAPI().app

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        """Ignore the answer."""

    # The first call builds the routes. What comes of it does not matter.
    with suppress(Exception):
        asyncio.run(app(dict(_HEALTH), receive, send))
    return app


def preload() -> None:
    """Import what each process would import otherwise."""
    for module in _PRELOADED:
        import_module(module)
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    with suppress(
        ImportError, AttributeError
    ):  # where it is differs between versions, and it is only for speed
        _module("airflow._shared.observability.metrics.stats")._get_registry()
    execution_api()
    _discarder()


@functools.cache
def _discarder() -> Callable[..., object] | None:
    """Return what empties the state of cleared tasks; None where Clear leaves it, before Airflow 3.4."""
    from packaging.version import Version

    if Version(version("apache-airflow-core")) < Version("3.4.0.dev0"):
        return None
    route = _module("airflow.api_fastapi.core_api.routes.public.task_instances")
    found: Callable[..., object] = route._discard_task_state_store
    return found


def use_database(file: str | Path) -> None:
    """Let this process use another database than the one that Airflow is configured with."""
    import json

    folder = Path(file).parent / "dags"
    folder.mkdir(exist_ok=True)
    bundle = {
        "name": _BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{file}"
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = f"sqlite+aiosqlite:///{file}"
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
    settings = _module("airflow.settings")
    settings.configure_vars()
    settings.reconfigure_orm(disable_connection_pool=True)


def make_database(file: str | Path) -> None:
    """Create an empty database of Airflow's."""
    use_database(file)
    from airflow.utils.db import initdb

    initdb()


def make_run(dag: Any, scheduled: Any, conf: dict[str, Any] | None, run_id: str) -> None:
    """
    Write a DAG to the database, and start a run of it.

    :param scheduled: the DAG as :func:`serialized` makes it.
    """
    from airflow.models.dagrun import get_or_create_dagrun
    from airflow.sdk import timezone
    from airflow.utils.types import DagRunTriggeredByType

    _module("airflow.dag_processing.bundles.manager").DagBundlesManager().sync_bundles_to_db()
    dags = _dagbag_module()
    bag = dags.DagBag(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].partition("///")[2] + ".none")
    bag.bag_dag(dag)
    dags.sync_bag_to_db(bag, _BUNDLE, None)
    now = timezone.utcnow()
    session = _module("airflow.settings").Session()
    get_or_create_dagrun(
        dag=scheduled,
        start_date=now,
        logical_date=now,
        data_interval=scheduled.timetable.infer_manual_data_interval(run_after=now),
        run_after=now,
        run_id=run_id,
        session=session,
        conf=conf,
        triggered_by=DagRunTriggeredByType.TEST,
        triggering_user_name="replay",
    )
    session.commit()


def _module(name: str) -> Any:
    """Import a module of Airflow's that has no types, or others in another version."""
    return import_module(name)


def _dagbag_module() -> Any:
    try:
        return import_module("airflow.dag_processing.dagbag")
    except ImportError:  # Airflow 3.1
        return import_module("airflow.models.dagbag")


def serialized(dag: Any) -> Any:
    """Return a DAG as the scheduler has it, with its callbacks."""
    module = _module("airflow.serialization.serialized_objects")
    codec = getattr(module, "DagSerialization", None) or module.SerializedDAG  # the latter in Airflow 3.1
    result = codec.deserialize_dag(codec.serialize_dag(dag))
    # A DAG that went through JSON has lost them.
    result.on_success_callback = dag.on_success_callback
    result.on_failure_callback = dag.on_failure_callback
    return result


@dataclass
class Progress:
    """
    How a run stands when a process leaves it.

    :param state: of the run.
    :param tasks: the state of each task; a mapped one is called ``name[index]``.
    :param errors: what tasks that failed in this process have raised.
    :param steps: what happened, in words.
    """

    state: str = "running"
    tasks: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)


class Run:
    """
    A run in this process.

    :param skip: lets time pass, in seconds: Airflow's delays take none.
    :param on_task: is called with each task and its attempt before it runs.
    """

    def __init__(self, job: Job, skip: Callable[[float], None], on_task: Callable[[str], None]) -> None:
        self._dag = job.dag
        self._run_id = job.run_id
        self._skip = skip
        self._on_task = on_task
        self._scheduled_dag = job.scheduled_dag
        self._session = _module("airflow.settings").Session()
        self.progress = Progress()
        api = _fresh_api()
        _module("airflow.sdk.execution_time.supervisor").in_process_api_server = lambda: api

    @functools.cached_property
    def _run(self) -> Any:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        run = self._session.scalars(select(DagRun).where(DagRun.run_id == self._run_id)).one()
        run.dag = self._scheduled_dag
        return run

    def recover(self) -> None:
        """Do with tasks whose process is gone what the scheduler does when it misses their heartbeat."""
        for ti in self._instances():
            if ti.state in ("running", "queued"):
                ti.task = self._scheduled_dag.get_task(ti.task_id)
                name = _name_of(ti)
                ti.handle_failure(error=_KILLED, session=self._session)
                self._session.commit()
                self._session.expire_all()
                again = any(
                    each.state == "up_for_retry" for each in self._instances() if _name_of(each) == name
                )
                self.progress.steps.append(
                    f"{name} was killed; Airflow {'tries again' if again else 'lets it fail'}"
                )
                self._call_back(ti, again)

    def _call_back(self, ti: Any, again: bool) -> None:
        """
        Run the callbacks of a task whose process is gone, as the DAG processor does.

        :param again: whether the task is tried again.
        """
        task = self._dag.task_dict[ti.task_id]
        callbacks = (task.on_retry_callback if again else task.on_failure_callback) or ()
        context: Any = None
        for callback in callbacks if isinstance(callbacks, list | tuple) else (callbacks,):
            self._on_task(f"{_name_of(ti)}, its callback")
            with suppress(Exception):  # Airflow goes on without it
                context = context or self._context_of(ti, task)
                callback(context)

    def _context_of(self, ti: Any, task: Any) -> Any:
        from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        instance = RuntimeTaskInstance.model_construct(
            **_sdk_instance(ti).model_dump(exclude_unset=True),
            task=task,
            max_tries=ti.max_tries,
            _ti_context_from_server=TIRunContext.model_construct(
                dag_run=DagRun.model_validate(self._run, from_attributes=True), max_tries=ti.max_tries
            ),
        )
        return instance.get_template_context()

    def clear(self) -> None:
        """Clear the tasks that have failed, and those that wait for them, as a person does."""
        from airflow.utils.state import DagRunState

        failed = [ti for ti in self._instances() if ti.state in ("failed", "upstream_failed")]
        names = sorted({_name_of(ti) for ti in failed if ti.state == "failed"})
        self.progress.steps.append(f"somebody cleared {', '.join(names)}")
        clear = _module("airflow.models.taskinstance").clear_task_instances
        cleared = clear(failed, self._session, dag_run_state=DagRunState.RUNNING)
        _discard_state(cleared or failed, self._session)
        self._session.commit()
        self._session.expire_all()

    def go_on(self) -> Progress:
        """Run what can be run, until the run has ended."""
        before: dict[str, str] = {}
        while self.state == "running":
            ready, _ = self._run.update_state(session=self._session)
            self._run.schedule_tis(ready, session=self._session)
            self._session.commit()
            self._session.expire_all()
            scheduled = [ti for ti in self._instances() if ti.state == "scheduled"]
            for ti in scheduled:
                self._execute(ti)
            if not scheduled and self.state == "running" and not self._wait():
                # A decision may be the first of several: a task fails because another one has.
                if self._states() == before:
                    raise RuntimeError(f"The run cannot go on: {before}")
                before = self._states()
        self.progress.state = self.state
        self.progress.tasks = self._states()
        return self.progress

    def _execute(self, ti: Any) -> None:
        from airflow.sdk.definitions.dag import _run_task

        name = _name_of(ti)
        self._on_task(f"{name}, attempt {ti.try_number}")
        with suppress(Exception):  # Airflow has logged it, and the task has failed
            result = _run_task(ti=ti, task=self._dag.task_dict[ti.task_id], run_triggerer=False)
            error = getattr(result, "error", None)
            if error is not None:
                self.progress.errors[name] = f"{type(error).__name__}: {error}"
        self._session.expire_all()

    def _wait(self) -> bool:
        """Let the time pass that tasks wait for; return whether any of them does."""
        waiting = [ti for ti in self._instances() if ti.state in _WAITS]
        for ti in waiting:
            _WAITS[ti.state](self, ti)
            self._session.commit()
            self._session.expire_all()
        return bool(waiting)

    def _wait_for_retry(self, ti: Any) -> None:
        ti.task = self._scheduled_dag.get_task(ti.task_id)
        left = (ti.next_retry_datetime() - _now()).total_seconds()
        if left > 0:
            self._skip(left)
            # Airflow counts the delay from the end of the attempt, by the machine's clock.
            ti.end_date -= timedelta(seconds=left + 1)

    def _wait_for_reschedule(self, ti: Any) -> None:
        from airflow.models.taskreschedule import TaskReschedule
        from sqlalchemy import select

        rows = self._session.scalars(select(TaskReschedule).where(TaskReschedule.ti_id == ti.id)).all()
        for row in rows:
            left = (row.reschedule_date - _now()).total_seconds()
            if left > 0:
                self._skip(left)
                row.reschedule_date -= timedelta(seconds=left + 1)

    def _wait_for_trigger(self, ti: Any) -> None:
        """Run the trigger of a deferred task as the triggerer does, and hand its event on."""
        from airflow.models.trigger import Trigger

        self._on_task(f"{_name_of(ti)}, its trigger")
        row = self._session.get(Trigger, ti.trigger_id)
        module, _, name = row.classpath.rpartition(".")
        trigger = getattr(import_module(module), name)(**row.kwargs)
        trigger_id = row.id
        event = _module("airflow.sdk.definitions.dag")._run_inline_trigger(trigger, _sdk_instance(ti))
        Trigger.submit_event(
            trigger_id, event or _module("airflow.triggers.base").TriggerEvent(None), session=self._session
        )

    @property
    def state(self) -> str:
        """The state of the run."""
        return str(getattr(self._run.state, "value", self._run.state))

    def _states(self) -> dict[str, str]:
        return {_name_of(ti): str(getattr(ti.state, "value", ti.state)) for ti in self._instances()}

    def _instances(self) -> list[Any]:
        return list(self._run.get_task_instances(session=self._session))


_WAITS: dict[str, Callable[[Run, Any], None]] = {
    "up_for_retry": Run._wait_for_retry,
    "up_for_reschedule": Run._wait_for_reschedule,
    "deferred": Run._wait_for_trigger,
}


def _fresh_api() -> Any:
    """Make an API with the routes of :func:`execution_api`; its thread has to be of this process."""
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    api = InProcessExecutionAPI()
    api._app = execution_api()
    return api


def _sdk_instance(ti: Any) -> Any:
    from airflow.sdk.api.datamodels._generated import TaskInstance

    return TaskInstance(
        id=ti.id,
        task_id=ti.task_id,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        try_number=ti.try_number,
        map_index=ti.map_index,
        dag_version_id=ti.dag_version_id,
    )


def _discard_state(cleared: list[Any], session: Any) -> None:
    """Empty the state of cleared tasks where the API's Clear does so by default."""
    discard = _discarder()
    if discard is not None:
        discard(cleared, session, event="Discarded task state on clear")


def _name_of(ti: Any) -> str:
    return str(ti.task_id) if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"


def _now() -> datetime:
    from airflow.sdk import timezone

    return timezone.utcnow()
