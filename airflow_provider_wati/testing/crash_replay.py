"""
Prove that a DAG messages nobody twice and forgets nobody: run it, kill it at each call of WATI's API in turn, try again.

Each history is a real run of Airflow's task runner in a process of its own, and the kill is a real SIGKILL. Simulated are
Airflow's services around it: there is no scheduler process, no executor and no API server over a network; their decisions are
made by Airflow's own code on a SQLite database. Pauses and delays take no time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.testing._comparison import Key, Replay, ReplayError, compare, everything
from airflow_provider_wati.testing._histories import CallSite, Crash, Outcome
from airflow_provider_wati.testing._processes import Histories, make_job
from airflow_provider_wati.testing.sandbox import WatiSandbox

if TYPE_CHECKING:
    from airflow_provider_wati.testing._world import Strike

#: The variable of the environment that asks for every way at every call.
EXHAUSTIVE = "WATI_REPLAY"


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

    It runs once without a crash, then once for each crash: all kinds at each call that writes, ``ANSWERED`` at the first
    call that reads of each line of code; with ``WATI_REPLAY=all`` in the environment all kinds at each call. Each run begins
    with the sandbox as the test left it, and leaves nothing in it. Without ``retries`` left, a task is cleared.

    :param dag_or_task: a DAG, or a task. Of a task in a DAG the whole DAG runs, and only its calls crash.
    :param wati: the sandbox of the test; a new one if left out.
    :param conf: the configuration of the run, which changes its params.
    :param prepare: called before each run with the run's own sandbox, to bring back files, tables and the like.
    :param may_stop: ids of tasks that may fail for good rather than repeat something; what they omit is not forgotten.
    :param crashes: the kinds of crashes to try; all if left out.
    :param key: what makes messages the same; by default phone number, kind, template, parameters, text and channel.
        Messages for which it returns None do not count, such as alerts of a task that failed.
    :param clears: how often failed tasks are cleared after a crash.
    :param jobs: how many runs go on at the same time; one per processor if left out, and one under pytest-xdist.
    :param patience: seconds in which a run has to end.
    :raises ReplayError: when somebody was messaged twice or forgotten, with the call, the crash and the attempt; when the
        DAG fails without a crash; or when nothing could be found: no call, no crash, or no message that counts.
    """
    __tracebackhide__ = True
    options = _Options(conf or {}, prepare, may_stop, crashes, key or everything, clears, jobs, patience)
    with nullcontext(wati) if wati is not None else WatiSandbox() as sandbox:
        found = _replay_in(sandbox, dag_or_task, options)
    if found.bad:
        raise ReplayError(str(found))
    return found


@dataclass(frozen=True, slots=True)
class _Options:
    """What :func:`replay` was given beside the DAG and the sandbox."""

    conf: Mapping[str, Any]
    prepare: Callable[[WatiSandbox], object] | None
    may_stop: Collection[str]
    crashes: Collection[Crash] | None
    key: Key
    clears: int
    jobs: int | None
    patience: float


def _replay_in(sandbox: WatiSandbox, dag_or_task: Any, options: _Options) -> Replay:
    began = time.monotonic()
    if not hasattr(os, "fork"):
        raise ReplayError("replay() needs os.fork, which this system does not have.")
    dag, only = _dag_of(dag_or_task)
    with tempfile.TemporaryDirectory(prefix="wati-replay-") as folder:
        job = make_job(dag, dict(options.conf), Path(folder), options.clears)
        histories = Histories(
            job, sandbox, options.prepare, options.jobs or _default_jobs(), options.patience
        )
        before = len(sandbox.calls())
        [plain] = histories.run([None])
        _check_plain(plain, dag.dag_id, outside=len(sandbox.calls()) - before)
        strikes = [
            strike
            for strike in plan(plain.calls, only)
            if options.crashes is None or strike.crash in options.crashes
        ]
        _check_plan(strikes, plain, only, options.key)
        outcomes = histories.run(strikes)
        _check_outside(len(sandbox.calls()) - before)
    return Replay(
        name=dag.dag_id,
        calls=tuple(plain.calls),
        messages=tuple(plain.messages),
        histories=tuple(
            compare(plain, outcome, strike.crash, options.key, options.may_stop)
            for strike, outcome in zip(strikes, outcomes, strict=True)
        ),
        seconds=time.monotonic() - began,
    )


def plan(calls: Sequence[CallSite], only: str | None) -> list[Strike]:
    """
    Choose the crashes.

    :param calls: of the run without a crash.
    :param only: the task whose calls crash; None for all.
    """
    from airflow_provider_wati.testing._world import Strike

    is_exhaustive = os.environ.get(EXHAUSTIVE) == "all"
    last_of = {call.task: call.number for call in calls if call.is_in_task}
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
        if last_of.get(call.task) == call.number:
            kinds.append(Crash.RETURNED)
        strikes += [Strike(call.number, kind) for kind in kinds]
    return strikes


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
    _check_outside(outside)
    if not plain.calls:
        raise ReplayError(f"{name} makes no call of WATI's API, so there is nothing to crash at.")


def _check_outside(calls: int) -> None:
    """
    Check that no call of a run has gone by it.

    :param calls: how many have come to the sandbox of the test meanwhile.
    :raises ReplayError: when any has: it was not watched.
    """
    if calls:
        raise ReplayError(
            f"{calls} calls came to the sandbox of the test, where no crash can be made: each run has a sandbox of its "
            "own. Read the endpoint from the Airflow connection while the task runs."
        )


def _check_plan(strikes: Sequence[Strike], plain: Outcome, only: str | None, key: Key) -> None:
    """
    Check that a replay can find anything.

    :raises ReplayError: when there is no crash to make, or no message that counts.
    """
    if not strikes:
        if only is not None and only not in {call.task_id for call in plain.calls}:
            raise ReplayError(f"Task {only} makes no call of WATI's API, so there is nothing to crash at.")
        raise ReplayError("None of the crashes that were chosen can be made at a call of this run.")
    if plain.messages and all(key(message) is None for message in plain.messages):
        raise ReplayError("The key is None for every message, so nobody could be found twice.")


def _default_jobs() -> int:
    return 1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 1
