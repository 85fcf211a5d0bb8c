from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import NO_PACING, Sandbox
from tests.support.postgres import PostgresUnavailableError, running_postgres

FOLDER = Path(__file__).parent / "dags"
#: Seconds that a run may take on a slow machine; ``AIRFLOW_PATIENCE`` is for one that does much else.
PATIENCE = float(os.environ.get("AIRFLOW_PATIENCE", "240"))
CALL_TIMEOUTS = (30.0, 30.0)
FINAL = ("success", "failed", "upstream_failed", "skipped", "removed")


class Deployment:
    """
    Airflow as it runs in production, with its parts as processes: API server, DAG processor, scheduler, workers.

    :param home: an empty directory.
    :param connection: the connection ``wati_default``.
    :param options: further environment of all processes.
    """

    def __init__(self, home: Path, connection: dict[str, Any], options: dict[str, str]) -> None:
        self._home = home
        self._port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._headers: dict[str, str] = {}
        own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._env = own | self._settings(connection) | options

    def _settings(self, connection: dict[str, Any]) -> dict[str, str]:
        settings = {
            "core__executor": "LocalExecutor",
            "core__parallelism": "4",
            "core__dags_folder": str(FOLDER),
            "core__load_examples": "False",
            "core__dags_are_paused_at_creation": "False",
            "core__execution_api_server_url": f"http://127.0.0.1:{self._port}/execution/",
            "core__simple_auth_manager_all_admins": "True",
            "core__mp_start_method": "fork",
            "api_auth__jwt_secret": secrets.token_hex(32),
            "api__secret_key": secrets.token_hex(32),
            "database__sql_alchemy_conn": f"sqlite:///{self._home}/airflow.db",
            # A worker that is gone is noticed within seconds.
            "scheduler__task_instance_heartbeat_timeout": "3",
            "scheduler__task_instance_heartbeat_timeout_detection_interval": "1",
            "scheduler__scheduler_idle_sleep_time": "0.3",
            # Another triggerer takes over within seconds.
            "triggerer__job_heartbeat_sec": "1",
            "triggerer__triggerer_health_check_threshold": "5",
            "workers__min_heartbeat_interval": "1",
        }
        return {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW_CONN_WATI_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_WORKER_ONLY": json.dumps(connection),
            **{f"AIRFLOW__{name.upper()}": value for name, value in settings.items()},
        }

    def set_option(self, section: str, name: str, value: str) -> None:
        """Set an option of Airflow for the processes that start from now on."""
        self._env[f"AIRFLOW__{section.upper()}__{name.upper()}"] = value

    def start(self) -> None:
        subprocess.run(
            self._command("db", "migrate"), env=self._env, cwd=self._home, check=True, capture_output=True
        )
        self.begin_api_server()
        self._begin("dag-processor")
        self.start_scheduler()
        wait_for(lambda: self._has_started(), "the API server to answer")
        # The first call of a task makes the API server build its routes, and it does nothing else meanwhile: not even
        # end a transaction that others wait for.
        requests.get(f"{self._url}/execution/health", timeout=PATIENCE)
        token = requests.get(f"{self._url}/auth/token", timeout=60).json()["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def begin_api_server(self) -> None:
        """Begin the API server, and do not wait until it answers."""
        self._begin("api-server", "--port", str(self._port), "--host", "127.0.0.1")

    def start_triggerer(self) -> None:
        """Start the part that waits for deferred tasks; it does not know the connection ``worker_only``."""
        self._begin("triggerer", "--skip-serve-logs", without="AIRFLOW_CONN_WORKER_ONLY")

    def kill_triggerer(self) -> None:
        """End the triggerer at once, with its processes."""
        self.kill("triggerer")

    def kill(self, name: str) -> None:
        """End a part at once, with its processes."""
        self._kill(self._processes.pop(name))

    def start_worker(self, name: str, concurrency: int, **variables: str) -> None:
        """
        Start a Celery worker.

        :param concurrency: how many tasks it runs at once.
        :param variables: environment of its own.
        """
        options = ("--concurrency", str(concurrency), "--celery-hostname", f"{name}@%h", "--skip-serve-logs")
        pid = ("--pid", str(self._home / f"{name}.pid"))
        self._begin("celery", "worker", *options, *pid, name=name, **variables)

    def pid(self, name: str) -> int:
        """Return the process of a part."""
        return self._processes[name].pid

    def python(self, program: str) -> None:
        """Run a program as part of the deployment."""
        subprocess.run([sys.executable, "-c", program], env=self._env, cwd=self._home, check=True)

    def kill_scheduler(self) -> None:
        """End the scheduler at once, with its workers and their tasks."""
        self._kill(self._processes.pop("scheduler"))

    def start_scheduler(self) -> None:
        """Start a scheduler, and its workers."""
        self._begin("scheduler", "--skip-serve-logs")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _begin(self, *arguments: str, without: str = "", name: str = "", **variables: str) -> None:
        """Begin a part of Airflow, under the name of its command or another one, with further variables."""
        part = name or arguments[0]
        env = {name: value for name, value in self._env.items() if name != without}
        with (self._home / f"{part}.log").open("ab") as log:
            self._processes[part] = subprocess.Popen(
                self._command(*arguments),
                env=env | variables,
                cwd=self._home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        """The address of the API server."""
        return self._url

    @property
    def headers(self) -> dict[str, str]:
        """What a signed-in user sends."""
        return dict(self._headers)

    @property
    def home(self) -> Path:
        """The directory of its settings and logs."""
        return self._home

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _has_started(self) -> bool:
        try:
            return requests.get(f"{self._url}/api/v2/version", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def stop(self) -> None:
        """End every process of the deployment, the workers too."""
        for process in self._processes.values():
            self._kill(process)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        ended = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in ended:
            kill(each.pid)
        process.wait()

    def logs(self) -> str:
        """Return the end of what the parts had to say: to find out why a test failed."""
        return "\n".join(
            f"--- {path.relative_to(self._home)}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self._home.rglob("*.log"))
        )

    def log_of(self, dag_id: str, run: str, task_id: str) -> str:
        """Return all that a task has logged, in the worker and in the triggerer."""
        folder = self._home / "logs" / f"dag_id={dag_id}" / f"run_id={run}" / f"task_id={task_id}"
        return "\n".join(path.read_text(errors="replace") for path in sorted(folder.rglob("*.log*")))

    def triggers(self) -> int:
        """Return how many triggers Airflow keeps."""
        with contextlib.closing(sqlite3.connect(self._home / "airflow.db", timeout=30)) as database:
            [[count]] = database.execute("SELECT count(*) FROM trigger")
        return int(count)

    def _api(self, method: str, path: str, body: Any = None) -> Any:
        response = self._request(method, path, body)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def _request(self, method: str, path: str, body: Any = None) -> requests.Response:
        try:
            return requests.request(
                method, f"{self._url}/api/v2{path}", json=body, headers=self._headers, timeout=60
            )
        except requests.ConnectionError as error:
            ended = {name: process.poll() for name, process in self._processes.items()}
            if ended["api-server"] is None:
                raise
            # A status of -9 without a kill by a test is the kernel's, when memory has run out.
            raise AssertionError(f"the API server has ended; exit statuses of the parts: {ended}") from error

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run as a user does, as soon as the DAG is known; return its id."""
        wait_for(lambda: self.knows(dag_id), f"DAG {dag_id} to be parsed")
        run: str = self._api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})[
            "dag_run_id"
        ]
        return run

    def knows(self, dag_id: str) -> bool:
        """Say whether a DAG has been parsed."""
        return self._request("GET", f"/dags/{dag_id}").ok

    def task(self, dag_id: str, run: str, task_id: str = "send") -> dict[str, Any]:
        """Return how a task stands: ``state``, ``try_number``, ``pid`` and so on."""
        return dict(self._api("GET", f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}"))

    def result(self, dag_id: str, run: str, task_id: str = "send") -> dict[str, Any]:
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self._api("GET", path)["value"]
        return dict(json.loads(value) if isinstance(value, str) else value)

    def clear(self, dag_id: str, run: str, task_id: str | None = "send", **options: Any) -> None:
        """Press Clear on a task, or on all tasks of a run; ``options`` are those of Airflow's API."""
        tasks = {} if task_id is None else {"task_ids": [task_id]}
        body = {"dry_run": False, "dag_run_id": run, "only_failed": False, **tasks, **options}
        self._api("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run: str, state: str, task_id: str = "send") -> None:
        """Mark a task as success or failed, as a user does."""
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}"
        self._api("PATCH", path, {"new_state": state})

    def respond(self, dag_id: str, run: str, option: str, task_id: str = "send") -> None:
        """Choose an option of a human-in-the-loop task, as a user does."""
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/-1/hitlDetails"
        self._api("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def clear_run(self, dag_id: str, run: str) -> None:
        """Press Clear on a run."""
        self._api("POST", f"/dags/{dag_id}/dagRuns/{run}/clear", {"dry_run": False})

    def backfill(self, dag_id: str, date: str, *, reprocess: str = "none") -> None:
        """Start a backfill of one day."""
        wait_for(lambda: self.knows(dag_id), f"DAG {dag_id} to be parsed")
        body = {
            "dag_id": dag_id,
            "from_date": f"{date}T00:00:00Z",
            "to_date": f"{date}T00:00:00Z",
            "max_active_runs": 1,
            "dag_run_conf": {},
            "reprocess_behavior": reprocess,
        }
        self._api("POST", "/backfills", body)

    def backfills_are_over(self, dag_id: str) -> bool:
        backfills = self._api("GET", f"/backfills?dag_id={dag_id}")["backfills"]
        return all(each["completed_at"] for each in backfills)

    def runs(self, dag_id: str) -> dict[str, str]:
        """Return the runs of a DAG and their states."""
        found = self._api("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return {run["dag_run_id"]: run["state"] for run in found}

    def tasks(self, dag_id: str, run: str) -> list[dict[str, Any]]:
        """Return all task instances of a run."""
        return list(
            self._api("GET", f"/dags/{dag_id}/dagRuns/{run}/taskInstances?limit=100")["task_instances"]
        )

    def finish(self, dag_id: str, run: str, task_id: str = "send") -> dict[str, Any]:
        """Wait for the end of a task."""
        wait_for(lambda: self.task(dag_id, run, task_id)["state"] in FINAL, f"{dag_id} to end")
        return self.task(dag_id, run, task_id)


def free_port() -> int:
    """
    Return a port that nobody has, from those that the kernel gives to nobody by itself.

    The server needs seconds until it listens. A port of the kernel's own range would go to another test's server meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


def kill(pid: int) -> None:
    """End a process as the kernel does when memory runs out: at once, wherever it is."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(
    condition: Callable[[], bool], what: str, *, every: float = 0.2, patience: float = PATIENCE
) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(every)


def connection_to(
    sandbox: Sandbox, *, token: str | None = None, timeouts: tuple[float, float] = CALL_TIMEOUTS
) -> dict[str, Any]:
    """
    Return a connection.

    :param timeouts: seconds for connecting and reading. The sandbox shares a busy machine with Airflow, and a send that
        runs into them waits for the grace.
    """
    return {
        "conn_type": "wati",
        "host": sandbox.endpoint,
        "password": token or sandbox.token,
        "extra": {**NO_PACING, "timeout": list(timeouts)},
    }


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """Run a PostgreSQL; yield the options by which Airflow uses it, for more writers than SQLite bears."""
    with contextlib.ExitStack() as parts:
        try:
            uri = parts.enter_context(running_postgres())
        except PostgresUnavailableError as error:
            pytest.skip(str(error))
        address = uri.partition("://")[2]
        yield {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{address}",
        }


@pytest.fixture(scope="module")
def deployed_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        assert isinstance(running, Sandbox)
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that the tests and the DAGs know."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def call_timeouts() -> tuple[float, float]:
    """Return the timeouts of the connection; a file whose DAGs have a short grace has shorter ones."""
    return CALL_TIMEOUTS


@pytest.fixture(scope="module")
def deployment(
    deployed_sandbox: Sandbox,
    shared: Path,
    call_timeouts: tuple[float, float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """Airflow with all its parts; its connection ``wati_default`` is the sandbox."""
    connection = connection_to(deployed_sandbox, timeouts=call_timeouts)
    airflow = Deployment(tmp_path_factory.mktemp("home"), connection, {"TEST_SHARED": str(shared)})
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()
        print(airflow.logs())
