"""
Prove that a DAG messages nobody twice and forgets nobody: run it, kill it at each call of WATI's API in turn, try again.

Each history is a real run of Airflow's task runner in a process of its own, and the kill is a real SIGKILL. Simulated are
Airflow's services around it: there is no scheduler process, no executor and no API server over a network; their decisions are
made by Airflow's own code on a SQLite database. Pauses and delays take no time.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_wati.testing._histories import CallSite, Crash, Job, Outcome
from airflow_provider_wati.testing.messages import Message
from airflow_provider_wati.testing.sandbox import WatiSandbox

if TYPE_CHECKING:
    from airflow_provider_wati.testing._world import Strike

#: The variable of the environment that asks for every way at every call.
EXHAUSTIVE = "WATI_REPLAY"
_RUN_ID = "replay"
_MAX_SHOWN = 5

Key = Callable[[Message], Hashable]


class ReplayError(AssertionError):
    """A replay has found somebody who was messaged twice or forgotten, or could not be made."""


@dataclass(frozen=True, slots=True)
class History:
    """
    One run with one crash, held against the run without.

    :param crash: how it crashed.
    :param call: where.
    :param twice: people who got more than without the crash, in words.
    :param forgotten: people who got less, and contacts that are not as they should be, in words.
    :param stopped: tasks that have not succeeded in the end, with what they said.
    :param steps: what happened, in words.
    """

    crash: Crash
    call: CallSite
    twice: tuple[str, ...]
    forgotten: tuple[str, ...]
    stopped: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nobody was messaged twice or forgotten."""
        return not self.twice and not self.forgotten

    def __str__(self) -> str:
        lines = [f"{self.crash.name}: {self.crash.value}", str(self.call)]
        lines += [f"  then: {step}" for step in self.steps]
        lines += [f"  TWICE: {text}" for text in self.twice[:_MAX_SHOWN]]
        lines += [f"  FORGOTTEN: {text}" for text in self.forgotten[:_MAX_SHOWN]]
        lines += [f"  stopped: {text}" for text in self.stopped]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What a replay has found.

    :param name: of the DAG.
    :param calls: the call sites of the run without a crash, in order.
    :param messages: what people get in the run without a crash.
    :param histories: one for each crash, in order.
    :param seconds: how long it took.
    """

    name: str
    calls: tuple[CallSite, ...]
    messages: tuple[Message, ...]
    histories: tuple[History, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def bad(self) -> tuple[History, ...]:
        """The histories in which somebody was messaged twice or forgotten."""
        return tuple(history for history in self.histories if not history.is_good)

    @property
    def twice(self) -> int:
        """How many people were messaged twice, over all histories."""
        return sum(len(history.twice) for history in self.histories)

    @property
    def forgotten(self) -> int:
        """How many people were forgotten, over all histories."""
        return sum(len(history.forgotten) for history in self.histories)

    def __str__(self) -> str:
        lines = [
            f"Replay of {self.name}: {len(self.calls)} calls, {len(self.histories)} crashes, "
            f"{self.twice} twice, {self.forgotten} forgotten ({self.seconds:.1f} s)."
        ]
        lines += [f"\n{history}" for history in self.bad[:_MAX_SHOWN]]
        if len(self.bad) > _MAX_SHOWN:
            lines.append(f"\nand {len(self.bad) - _MAX_SHOWN} more")
        return "\n".join(lines)


def replay(
    dag_or_task: Any,
    wati: WatiSandbox | None = None,
    *,
    conf: Mapping[str, Any] | None = None,
    prepare: Callable[[WatiSandbox], object] | None = None,
    may_stop: Collection[str] = (),
    crashes: Collection[Crash] | None = None,
    key: Key | None = None,
    clears: int = 2,
    jobs: int | None = None,
    patience: float = 120.0,
) -> Replay:
    """
    Run a DAG, crash it at each call of WATI's API in turn, let Airflow try again, and compare what people got.

    The DAG runs once without a crash. Then it runs once for each crash: :attr:`.Crash.BEFORE`, ``UNANSWERED``,
    ``ANSWERED`` and ``DROPPED`` at each call that writes, ``ANSWERED`` at the first one that reads of each line of code of
    each task, ``RETURNED`` after the last call of a task. With ``WATI_REPLAY=all`` in the environment, each call gets them all. Each run begins with the sandbox
    as the test left it, and leaves nothing in it. A task that was killed is tried again as its ``retries`` say; after
    these somebody clears it.

    :param dag_or_task: a DAG, or a task. Of a task in a DAG the whole DAG runs, and only its calls crash.
    :param wati: the sandbox of the test; a new one if left out.
    :param conf: the configuration of the run, which changes its params.
    :param prepare: is called before each run with the run's own sandbox: for what is outside of the sandbox and has to be
        as it was, such as files and tables.
    :param may_stop: ids of tasks that may fail for good rather than take the risk to repeat something, such as a
        chatbot start. What they leave out is not forgotten.
    :param crashes: the kinds of crashes to try; all if left out.
    :param key: says which messages are the same; by default phone number, kind, template, parameters and text are equal.
        A message for which it returns None does not count: an alert, for example, that is sent because a task failed.
    :param clears: how often failed tasks are cleared after a crash.
    :param jobs: how many runs go on at the same time; one for each processor if left out, and one under pytest-xdist.
    :param patience: seconds in which a run has to end.
    :return: what it has found.
    :raises ReplayError: when somebody was messaged twice or forgotten, with the call, the crash and the attempt; or when the
        DAG fails, or calls nothing, without a crash.
    """
    __tracebackhide__ = True
    began = time.monotonic()
    if not hasattr(os, "fork"):
        raise ReplayError("replay() needs os.fork, which this system does not have.")
    dag, only = _dag_of(dag_or_task)
    own: Any = WatiSandbox() if wati is None else nullcontext(wati)
    with own as sandbox, tempfile.TemporaryDirectory(prefix="wati-replay-") as folder:
        job = _job(dag, dict(conf or {}), Path(folder), clears)
        histories = _Histories(job, sandbox, prepare, jobs or _default_jobs(), patience)
        before = len(sandbox.calls())
        [plain] = histories.run([None])
        _check_plain(plain, dag.dag_id, outside=len(sandbox.calls()) - before)
        strikes = [strike for strike in plan(plain.calls, only) if crashes is None or strike.crash in crashes]
        outcomes = histories.run(strikes)
    found = Replay(
        name=dag.dag_id,
        calls=tuple(plain.calls),
        messages=tuple(plain.messages),
        histories=tuple(
            compare(plain, outcome, strike.crash, key or _everything, may_stop)
            for strike, outcome in zip(strikes, outcomes, strict=True)
        ),
        seconds=time.monotonic() - began,
    )
    if found.bad:
        raise ReplayError(str(found))
    return found


def plan(calls: Sequence[CallSite], only: str | None) -> list[Strike]:
    """
    Choose the crashes.

    :param calls: of the run without a crash.
    :param only: the task whose calls crash; None for all.
    """
    from airflow_provider_wati.testing._world import Strike

    is_exhaustive = os.environ.get(EXHAUSTIVE) == "all"
    last_of = {call.task: call.number for call in calls}
    strikes = []
    read_at: set[tuple[str, str]] = set()
    for call in calls:
        if only is not None and call.task_id != only:
            continue
        kinds = [Crash.BEFORE, Crash.UNANSWERED, Crash.ANSWERED, Crash.DROPPED]
        if call.is_read and not is_exhaustive:
            place = (call.task_id, call.site)
            kinds = [] if place in read_at else [Crash.ANSWERED]
            read_at.add(place)
        if last_of[call.task] == call.number and "trigger" not in call.task:
            kinds.append(Crash.RETURNED)
        strikes += [Strike(call.number, kind) for kind in kinds]
    return strikes


def compare(plain: Outcome, crashed: Outcome, crash: Crash, key: Key, may_stop: Collection[str]) -> History:
    """
    Hold a run with a crash against the one without.

    :raises ReplayError: when it could not be run.
    """
    if crashed.broken is not None or crashed.struck is None:
        reason = crashed.broken or "it has not come to the call: its calls differ from run to run"
        raise ReplayError(f"A run that was to crash ({crash.value}) could not be made: {reason}")
    expected, got = (_count(key, each.messages) for each in (plain, crashed))
    # A message that has failed has reached nobody, so that one in its place is no second one.
    arrived = _count(key, [message for message in crashed.messages if message.status != "failed"])
    shown = {key(message): str(message) for message in (*plain.messages, *crashed.messages)}
    stopped = tuple(
        f"{name} ({crashed.states[name]}): {crashed.errors.get(name, 'it was not run')}"
        for name in crashed.failed
    )
    has_reason = bool(crashed.failed) and all(
        _task_id(name) in may_stop or crashed.states[name] == "upstream_failed" for name in crashed.failed
    )
    forgotten = [
        f"{shown[each]}: {got[each]} instead of {count}"
        for each, count in expected.items()
        if got[each] < count
    ]
    if not crashed.failed or not has_reason:
        forgotten += _differences(plain, crashed)
        forgotten += [f"task {text}" for text in stopped]
    else:
        forgotten = []
    twice = [
        f"{shown[each]}: {count} instead of {expected[each]}"
        for each, count in arrived.items()
        if count > expected[each]
    ]
    phones = Counter(contact.phone for contact in crashed.contacts)
    twice += [f"contact {phone} was created {count} times" for phone, count in phones.items() if count > 1]
    return History(crash, crashed.struck, tuple(twice), tuple(forgotten), stopped, tuple(crashed.steps))


def _differences(plain: Outcome, crashed: Outcome) -> Iterator[str]:
    """Yield the contacts that are not as they are without a crash."""
    got = {contact.phone: contact for contact in crashed.contacts}
    for contact in plain.contacts:
        if contact.phone not in got:
            yield f"contact {contact.phone} was not created"
        elif got[contact.phone] != contact:
            yield f"contact {contact.phone} is {got[contact.phone]} instead of {contact}"


def _count(key: Key, messages: Iterable[Message]) -> Counter[Hashable]:
    return Counter(found for found in map(key, messages) if found is not None)


def _everything(message: Message) -> Hashable:
    params = tuple(sorted(message.params.items()))
    return (message.phone, message.kind, message.template, params, message.text, message.channel)


def _task_id(name: str) -> str:
    return name.partition("[")[0]


def _dag_of(dag_or_task: Any) -> tuple[Any, str | None]:
    """Return the DAG, and the id of the one task whose calls crash, if it is one."""
    from airflow.sdk import DAG

    if isinstance(dag_or_task, DAG):
        return dag_or_task, None
    task = getattr(dag_or_task, "operator", dag_or_task)
    if not hasattr(task, "task_id"):
        raise ReplayError(
            f"replay() takes a DAG or a task, not {type(dag_or_task).__name__}: of a function with @dag or @task, give "
            "what calling it returns."
        )
    if task.has_dag():
        return task.dag, task.task_id
    dag = DAG("replay", schedule=None)
    dag.add_task(task)
    return dag, task.task_id


def _check_plain(plain: Outcome, name: str, outside: int) -> None:
    """
    Check the run without a crash.

    :param outside: how many calls came to the sandbox of the test meanwhile.
    :raises ReplayError: when there is nothing to hold other runs against.
    """
    if plain.broken is not None:
        raise ReplayError(f"{name} could not be run: {plain.broken}")
    if plain.failed:
        said = "\n".join(
            f"  {each} ({plain.states[each]}): {plain.errors.get(each, 'it was not run')}"
            for each in plain.failed
        )
        raise ReplayError(f"{name} fails without a crash, so there is nothing to replay:\n{said}")
    if not plain.calls:
        hint = (
            " Calls came to the sandbox of the test: read the endpoint from the Airflow connection while the task runs."
            if outside
            else ""
        )
        raise ReplayError(f"{name} makes no call of WATI's API, so there is nothing to crash at.{hint}")


# Processes

_databases: dict[int, str] = {}


def _job(dag: Any, conf: dict[str, Any], folder: Path, clears: int) -> Job:
    """Make the database with the run that all histories begin with."""
    import shutil

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


def _default_jobs() -> int:
    return 1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 1


class _Histories:
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
        os.waitpid(pid, 0)
        outcomes.setdefault(
            index, pickle.loads(content) if content else Outcome(broken="its process has died")
        )

    def _end_late(self, pipes: Any, outcomes: dict[int, Outcome]) -> None:
        for selected in list(pipes.get_map().values()):
            index, pid, began, _ = selected.data
            if time.monotonic() - began > self._patience and index not in outcomes:
                outcomes[index] = Outcome(broken=f"it has not ended within {self._patience:g} seconds")
                os.killpg(pid, signal.SIGKILL)
