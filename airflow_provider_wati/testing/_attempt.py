"""The process that runs tasks in a history: it tells where calls come from, skips pauses, and dies where it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.testing import _airflow
from airflow_provider_wati.testing._time import pauses_skipped

if TYPE_CHECKING:
    from airflow_provider_wati.testing._histories import Job
    from airflow_provider_wati.testing._shared import Shared

#: Code between a task and the socket: of a call the first line outside of it is shown.
_PLUMBING = (
    "/http/client.py", "/urllib/", "/urllib3/", "/requests/", "/httpx/", "/httpcore/", "/h11/", "/anyio/", "/aiohttp/",
    "/asyncio/", "/tenacity/", "/contextlib.py", "/socket.py", "/threading.py", "/concurrent/futures/",
    "/airflow_provider_wati/client/", "/airflow_provider_wati/testing/", "/airflow_provider_wati/sending/single.py",
)  # fmt: skip
#: Shorter pauses are none of a task's.
_SHORTEST_PAUSE = 0.2


def run_attempt(job: Job, shared: Shared, port: int, result: Path) -> None:
    """
    Go on with a run in this process, to its end or to this process's; do not return.

    :param port: of the sandbox.
    :param result: a file to write a :class:`._airflow.Progress` to.
    """
    code = 1
    try:
        shared.pid = os.getpid()
        _watch_sockets(shared, port)
        _watch_tasks(shared)
        with pauses_skipped(shared):
            _skip_pauses(shared)
            _airflow.use_database(job.database)
            run = _airflow.Run(job, _skip(shared), lambda name: setattr(shared, "task", name))
            run.recover()
            if run.state == "failed":
                run.clear()
            progress = run.go_on()
        result.write_text(json.dumps(asdict(progress)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _skip(shared: Shared) -> Callable[[float], None]:
    def skip(seconds: float) -> None:
        shared.seconds += seconds

    return skip


def _skip_pauses(shared: Shared) -> None:
    """Let pauses of tasks and triggers take no time; Airflow's own threads go on as usual."""
    sleep, async_sleep = time.sleep, asyncio.sleep

    def is_skipped(seconds: float) -> bool:
        return seconds >= _SHORTEST_PAUSE and threading.current_thread() is threading.main_thread()

    def skipping_sleep(seconds: Any) -> None:
        if is_skipped(seconds):
            shared.seconds += seconds
        else:
            sleep(seconds)

    async def skipping_async_sleep(delay: float, result: Any = None) -> Any:
        if is_skipped(delay):
            shared.seconds += delay
            delay = 0
        return await async_sleep(delay, result)

    time.sleep = skipping_sleep
    asyncio.sleep = skipping_async_sleep


def _watch_sockets(shared: Shared, port: int) -> None:
    """Tell which line makes a call of the sandbox, and die at its answer if that is wanted."""

    def is_sandbox(sock: socket.socket) -> bool:
        try:
            return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getpeername()[1] == port
        except OSError:
            return False

    def sending(function: Any) -> Any:
        def send(sock: socket.socket, *arguments: Any) -> Any:
            if is_sandbox(sock):
                shared.site = _site(sys._getframe(1))
                shared.port = sock.getsockname()[1]
            return function(sock, *arguments)

        return send

    def receiving(function: Any) -> Any:
        def receive(sock: socket.socket, *arguments: Any) -> Any:
            received = function(sock, *arguments)
            if received and shared.dies_at_answer and is_sandbox(sock):
                # The caller may be a process that the task has forked.
                os.kill(shared.pid, signal.SIGKILL)
            return received

        return receive

    watched: Any = socket.socket
    for name in ("send", "sendall", "sendmsg"):
        setattr(watched, name, sending(getattr(watched, name)))
    for name in ("recv", "recv_into"):
        setattr(watched, name, receiving(getattr(watched, name)))


def _watch_tasks(shared: Shared) -> None:
    """Note while a task executes, and die when it has returned, if that is wanted."""
    from airflow.sdk.execution_time import task_runner

    runner: Any = task_runner
    execute = runner._execute_task

    def execute_task(*arguments: Any, **more: Any) -> Any:
        shared.is_in_task = True
        try:
            result = execute(*arguments, **more)
        finally:
            shared.is_in_task = False
        if shared.dies_at_return:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    runner._execute_task = execute_task


def _site(frame: FrameType | None) -> str:
    """Return the line of code that makes a call."""
    while frame is not None:
        file = frame.f_code.co_filename.replace(os.sep, "/")
        if not any(part in file for part in _PLUMBING):
            return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def _shown(file: str) -> str:
    """Return a path as short as it can be told apart."""
    for folder in (os.getcwd(), *sys.path):
        if folder and file.startswith(folder.rstrip(os.sep) + os.sep):
            return os.path.relpath(file, folder)
    return file
