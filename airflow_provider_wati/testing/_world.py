"""
One history of a run, in a process of its own: a copy of the sandbox as it was, and the attempts, which are killed.

The process is a fork, so it has the sandbox, the DAG and what the test has patched, and whatever happens in it stays in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.faults.effects import TRANSPORT_KEY
from airflow_provider_wati.sandbox.faults.rules import Fault
from airflow_provider_wati.testing._attempt import run_attempt
from airflow_provider_wati.testing._histories import CallSite, ContactState, Crash, Job, Outcome
from airflow_provider_wati.testing._server import KitServer, message_of
from airflow_provider_wati.testing._shared import Shared

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_wati.testing.sandbox import WatiSandbox

#: Seconds in which a process has to die of its own accord at the answer, before it is killed.
_PATIENCE = 5.0
_LOOK_EVERY = 0.01
_LOG_SHOWN = 4_000
#: A run with more processes than this does not end.
_MAX_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Strike:
    """A crash at a call."""

    number: int
    crash: Crash


class Witness:
    """
    Notes each API call, and lets the attempt crash at one of them.

    Calls that come before it is switched on are none of the run's.

    :param strike: where and how; None to note only.
    """

    def __init__(self, shared: Shared, strike: Strike | None) -> None:
        self.calls: list[CallSite] = []
        self.struck: CallSite | None = None
        self.workspace: Any = None
        self.is_on = False
        #: Message -> the task that sent it, with its map index.
        self.senders: dict[int, str] = {}
        self._shared = shared
        self._strike = strike

    async def __call__(self, scope: Scope, receive: Receive, send: Send, app: ASGIApp) -> None:
        if not self.is_on:
            await app(scope, receive, send)
            return
        shared = self._shared
        pid = shared.pid
        is_watched = scope["client"][1] == shared.port
        call = CallSite(
            len(self.calls) + 1,
            scope["method"],
            _without_tenant(scope["path"]),
            shared.task,
            shared.site if is_watched else "",
            shared.is_in_task,
        )
        self.calls.append(call)
        app = self._attributing(app, call.task.partition(",")[0])
        if self._strike is None or self._strike.number != call.number:
            await app(scope, receive, send)
            return
        self.struck = call
        match self._strike.crash:
            case Crash.BEFORE:
                self._kill()
                await _hang_up(scope, receive)
            case Crash.UNANSWERED:
                await app(scope, receive, _nowhere)
                self._kill()
                await _hang_up(scope, receive)
            case Crash.ANSWERED:
                await app(scope, receive, self._deadly(send))
                # Another program, such as curl, does not die of its own accord.
                await self._until_dead(pid, _PATIENCE if is_watched else 0.0)
            case Crash.RETURNED:
                shared.dies_at_return = True
                await app(scope, receive, send)
            case Crash.DROPPED:
                self.workspace.faults.add(Fault("drop", when="after", count=1))
                await app(scope, receive, send)

    def _attributing(self, app: ASGIApp, sender: str) -> ASGIApp:
        async def attributing(scope: Scope, receive: Receive, send: Send) -> None:
            messages = self.workspace.state.messages
            before = len(messages)
            try:
                await app(scope, receive, send)
            finally:
                for number in range(before, len(messages)):
                    self.senders.setdefault(number, sender)

        return attributing

    def _deadly(self, send: Send) -> Send:
        async def deadly(message: Message) -> None:
            # Once: the process may be dead, and the next one begun, before the last part is sent.
            if message["type"] == "http.response.start":
                self._shared.dies_at_answer = True
            await send(message)

        return deadly

    async def _until_dead(self, pid: int, patience: float) -> None:
        """Wait until a process has died of its own accord; kill one that reads answers with other sockets than Python's."""
        for _ in range(round(patience / _LOOK_EVERY)):
            if self._shared.pid != pid:
                return
            await asyncio.sleep(_LOOK_EVERY)
        self._kill()

    def _kill(self) -> None:
        if self._shared.pid:
            os.kill(self._shared.pid, signal.SIGKILL)


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Break a connection, and return when the server has noticed."""
    scope[TRANSPORT_KEY].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nowhere(_: Message) -> None:
    """Lose an answer."""


def run_history(
    job: Job,
    wati: WatiSandbox,
    strike: Strike | None,
    prepare: Callable[[WatiSandbox], object] | None,
    write_to: int,
) -> None:
    """
    Run a history in this process, a fork made for it, write its :class:`.Outcome` to a pipe, and do not return.

    :param wati: the sandbox of the test; this process has a copy of it.
    :param strike: where it crashes; None for nowhere.
    :param prepare: what the test does before.
    :param write_to: the pipe.
    """
    folder = Path(tempfile.mkdtemp(prefix="wati-replay-"))
    outcome = Outcome()
    try:
        # What it starts ends with it.
        os.setsid()
        with (folder / "log").open("wb") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        _History(job, wati, strike, folder, outcome, write_to).run(prepare)
    except BaseException as error:
        traceback.print_exc()
        outcome.broken = f"{type(error).__name__}: {error}"
    finally:
        if outcome.broken:
            sys.stderr.flush()
            outcome.broken += f"\nThe end of its log:\n{_end_of(folder / 'log')}"
        shutil.rmtree(folder, ignore_errors=True)
        with os.fdopen(write_to, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)


class _History:
    def __init__(
        self,
        job: Job,
        wati: WatiSandbox,
        strike: Strike | None,
        folder: Path,
        outcome: Outcome,
        pipe: int,
    ) -> None:
        shutil.copy(job.database, folder / "airflow.db")
        self._job = replace(job, database=str(folder / "airflow.db"))
        self._wati = wati
        self._folder = folder
        self._outcome = outcome
        self._pipe = pipe
        self._has_crash = strike is not None
        self._shared = Shared()
        self._witness = Witness(self._shared, strike)

    def run(self, prepare: Callable[[WatiSandbox], object] | None) -> None:
        here = self._wati.fork(self._shared, self._witness)
        self._witness.workspace = here.server.workspace
        if prepare is not None:
            prepare(here)
        self._witness.is_on = True
        self._attempts(here.server.port)
        outcome = self._outcome
        here.sync()
        outcome.calls, outcome.struck = self._witness.calls, self._witness.struck
        messages = messages_in(here.server)
        outcome.messages = list(messages.values())
        outcome.senders = [self._witness.senders.get(number, "") for number in messages]
        outcome.contacts = contacts_in(here.server)

    def _attempts(self, port: int) -> None:
        clears = 0
        for _ in range(_MAX_ATTEMPTS):
            progress = self._attempt(port)
            outcome = self._outcome
            if progress is None:
                outcome.was_killed = True
                continue
            outcome.steps += progress["steps"]
            outcome.states = progress["tasks"]
            outcome.errors |= progress["errors"]
            if progress["state"] != "failed" or not self._has_crash or clears == self._job.max_clears:
                return
            clears += 1
        raise RuntimeError(f"The run has not ended after {_MAX_ATTEMPTS} processes.")

    def _attempt(self, port: int) -> dict[str, Any] | None:
        """Go on in a process; return how the run stands then, or None if the process was killed."""
        result = self._folder / "progress.json"
        result.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            # What the task starts may outlive it, and must not keep the pipe open.
            os.close(self._pipe)
            run_attempt(self._job, self._shared, port, result)
        _, status = os.waitpid(pid, 0)
        self._shared.pid = 0
        self._shared.dies_at_answer = self._shared.dies_at_return = self._shared.is_in_task = False
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and self._witness.struck:
            return None
        if not result.is_file():
            raise RuntimeError(f"The process of the tasks ended with {os.waitstatus_to_exitcode(status)}.")
        progress: dict[str, Any] = json.loads(result.read_text())
        return progress


def messages_in(server: KitServer) -> dict[int, Any]:
    """Return all messages to customers by number, those that are scheduled too, and not the cancelled ones."""
    state = server.state
    found = {}
    for number in range(len(state.messages)):
        campaign = state.broadcast_of(number)
        content: Any = state.messages.content[number]
        if content.from_business if campaign is None else campaign.cancelled_at is None:
            found[number] = message_of(state, number)
    return found


def contacts_in(server: KitServer) -> list[ContactState]:
    """Return all contacts."""
    return [
        ContactState(
            phone=contact.address,
            name=contact.name,
            custom_params=tuple(sorted((contact.custom_params or {}).items())),
            teams=contact.teams,
            allow_broadcast=contact.allow_broadcast,
            conversations=tuple(
                (talk.channel.name, talk.status, talk.operator) for talk in contact.conversations
            ),
        )
        for contact in server.state.contacts.values()
    ]


def _without_tenant(path: str) -> str:
    """Return the path of a call as WATI's reference writes it."""
    return path[path.index("/api/") :].removeprefix("/api/ext/v3")


def _end_of(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-_LOG_SHOWN:]
    except OSError:
        return ""
