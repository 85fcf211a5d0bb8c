"""The processes of a replay: Airflow's database is made in one, and each history runs in one of its own."""

from __future__ import annotations

import os
import pickle
import selectors
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_wati.testing._comparison import ReplayError
from airflow_provider_wati.testing._histories import Job, Outcome

if TYPE_CHECKING:
    from airflow_provider_wati.testing._world import Strike
    from airflow_provider_wati.testing.sandbox import WatiSandbox

_RUN_ID = "replay"

_databases: dict[int, str] = {}


def make_job(dag: Any, conf: dict[str, Any], folder: Path, clears: int) -> Job:
    """Make the database with the run that all histories begin with."""
    from airflow_provider_wati.testing import _airflow

    _airflow.preload()
    if os.getpid() not in _databases:
        home = tempfile.TemporaryDirectory(prefix="wati-replay-airflow-")
        _homes.append(home)
        empty = f"{home.name}/airflow.db"
        _in_fork(lambda: _airflow.make_database(empty), Path(home.name) / "log")
        _databases[os.getpid()] = empty
    dag.validate()
    scheduled = _airflow.serialized(dag)
    database = str(folder / "airflow.db")
    shutil.copy(_databases[os.getpid()], database)

    def make_run() -> None:
        _airflow.use_database(database)
        _airflow.make_run(dag, scheduled, conf, _RUN_ID)

    _in_fork(make_run, folder / "log")
    return Job(dag, scheduled, database, _RUN_ID, clears)


_homes: list[Any] = []


def _in_fork(function: Callable[[], None], log: Path) -> None:
    """
    Call a function in a process of its own.

    :raises ReplayError: with what it has said, when it fails.
    """
    pid = _fork()
    if pid == 0:
        _call_and_exit(function, log)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise ReplayError(f"The run could not be set up:\n{log.read_text(errors='replace')[-4000:]}")


def _call_and_exit(function: Callable[[], None], log: Path) -> NoReturn:
    import traceback

    code = 1
    try:
        with log.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # The other threads of this process (the sandbox's) are idle: no call is under way.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Histories:
    """Runs histories in processes of their own, some at the same time."""

    def __init__(
        self,
        job: Job,
        wati: WatiSandbox,
        prepare: Callable[[WatiSandbox], object] | None,
        jobs: int,
        patience: float,
    ) -> None:
        self._job = job
        self._wati = wati
        self._prepare = prepare
        self._jobs = jobs
        self._patience = patience

    def run(self, strikes: Sequence[Strike | None]) -> list[Outcome]:
        """Run a history for each crash; return what each left behind, in order."""
        outcomes: dict[int, Outcome] = {}
        waiting = list(enumerate(strikes))[::-1]
        with selectors.DefaultSelector() as pipes:
            while waiting or pipes.get_map():
                while waiting and len(pipes.get_map()) < self._jobs:
                    index, strike = waiting.pop()
                    pid, pipe = self._start(strike)
                    pipes.register(pipe, selectors.EVENT_READ, (index, pid, time.monotonic(), bytearray()))
                for selected, _ in pipes.select(timeout=1):
                    self._read(pipes, selected, outcomes)
                self._end_late(pipes, outcomes)
        return [outcomes[index] for index in range(len(strikes))]

    def _start(self, strike: Strike | None) -> tuple[int, int]:
        from airflow_provider_wati.testing._world import run_history

        self._wati.sync()
        reader, writer = os.pipe()
        pid = _fork()
        if pid == 0:
            os.close(reader)
            run_history(self._job, self._wati, strike, self._prepare, writer)
        os.close(writer)
        return pid, reader

    def _read(self, pipes: Any, selected: Any, outcomes: dict[int, Outcome]) -> None:
        index, pid, _, content = selected.data
        chunk = os.read(selected.fd, 1 << 16)
        content += chunk
        if chunk:
            return
        pipes.unregister(selected.fd)
        os.close(selected.fd)
        # What tasks have started and left behind ends with the run.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        outcomes.setdefault(
            index, pickle.loads(content) if content else Outcome(broken="its process has died")
        )

    def _end_late(self, pipes: Any, outcomes: dict[int, Outcome]) -> None:
        for selected in list(pipes.get_map().values()):
            index, pid, began, _ = selected.data
            if time.monotonic() - began > self._patience and index not in outcomes:
                outcomes[index] = Outcome(
                    broken=f"it has not ended within {self._patience:g} seconds. Of pauses, time.sleep() and "
                    "asyncio.sleep() take no time, called by these names; others do, and so does a loop until a time"
                )
                os.killpg(pid, signal.SIGKILL)
