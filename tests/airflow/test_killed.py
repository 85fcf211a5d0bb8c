"""
Tasks that are killed while they send, in Airflow as it runs in production.

Two tasks send to 20,000 people each at the same time. One has its journal in Airflow's store and always finds the rows
it left; the other has it under a ``state_path``, and its rows change from attempt to attempt.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.airflow.conftest import Deployment, kill, wait_for
from tests.conftest import needs_task_state_store

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PEOPLE = 20_000
TEMPLATES = "*messageTemplates*"
FIRST_PHONE = {"airflow_remembers": 919_800_000_001, "files_remember": 919_900_000_001}
#: The supervisor dies alone, and Airflow starts the next attempt while the task goes on; the task dies and its
#: supervisor reports it; both die, and the scheduler misses the heartbeat.
WAYS = ("supervisor", "task", "task", "worker", "worker")
#: How far an attempt may come before it is killed, if so much is left.
REACH = 1_500

Rows = list[tuple[str, str, int]]


@pytest.fixture(scope="module")
def call_timeouts() -> tuple[float, float]:
    """Return shorter ones than the grace of the DAGs, 4 seconds."""
    return (1.0, 2.0)


def people(name: str, first: int, count: int) -> Rows:
    return [(f"+{FIRST_PHONE[name] + n}", f"Person {n}", n) for n in range(first, first + count)]


def write(path: Path, rows: Rows) -> None:
    """Put rows where the DAG reads them, all at once."""
    beside = path.with_suffix(".new")
    with beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("phone", "name", "id"))
        writer.writerows(rows)
    os.replace(beside, path)


class Send:
    """A task that sends, and what it did to people."""

    def __init__(self, deployment: Deployment, sandbox: Sandbox, name: str, dice: random.Random) -> None:
        self.name = name
        # How long Airflow takes to miss a heartbeat is up to the machine: the task that lives on goes so slowly
        # that work is left for all the attempts after it.
        self._slow = sandbox.fault("delay", path=TEMPLATES, method="POST", contains=name, seconds=1)
        self.run = deployment.trigger(name)
        self.kills: list[str] = []
        self.orphan_lived_on = False
        self._last_try = 0
        self._airflow = deployment
        self._sandbox = sandbox
        self._dice = dice

    def sent(self) -> int:
        campaigns = list(self._sandbox.state.broadcasts)
        return sum(campaign.count for campaign in campaigns if campaign.name.endswith(f" {self.name}"))

    def _has_sent(self, count: int) -> bool:
        return self.sent() >= count

    def kill(self, ways: list[str], in_between: Callable[[], None]) -> None:
        """Kill one attempt after the other, each somewhere on its way."""
        for n, way in enumerate(ways):
            pid = self._next_attempt()
            supervisor = psutil.Process(pid).ppid()
            sent = self.sent()
            reach = sent + self._dice.randint(0, min(REACH, (PEOPLE - sent) // (len(ways) - n + 1)))
            print(f"{self.name}: {way} dies once {reach} messages are sent")
            wait_for(partial(self._has_sent, reach), f"{self.name} to send", every=0.02, patience=60)
            time.sleep(self._dice.uniform(0, 0.3))
            if way != "task":
                kill(supervisor)
            if way != "supervisor":
                kill(pid)
            self.kills.append(way)
            in_between()
            if way == "supervisor":
                self._next_attempt(seen_only=True)
                self.orphan_lived_on = psutil.pid_exists(pid)
                self._sandbox.control("DELETE", f"/faults/{self._slow}")

    def _next_attempt(self, *, seen_only: bool = False) -> int:
        """Wait until the attempt after the last one runs; return its process."""
        wait_for(self._is_next, f"the next attempt of {self.name}")
        task = self._airflow.task(self.name, self.run)
        if not seen_only:
            self._last_try = task["try_number"]
        return int(task["pid"])

    def _is_next(self) -> bool:
        task = self._airflow.task(self.name, self.run)
        assert task["state"] != "success", f"{self.name} was done after {len(self.kills)} kills"
        return bool(task["state"] == "running" and task["try_number"] > self._last_try and task["pid"])


pytestmark = needs_task_state_store


@pytest.fixture(scope="module")
def finished(deployment: Deployment, deployed_sandbox: Sandbox, shared: Path) -> tuple[dict[str, Send], Rows]:
    """Both sends after all that happened to them, and the rows that the second one had in the end."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    # What went out before a kill is not listed yet when the next attempt looks.
    deployed_sandbox.fault("slow_listing", contains="airflow_remembers", seconds=2.5)
    rows = {name: people(name, 0, PEOPLE) for name in FIRST_PHONE}
    for name, each in rows.items():
        write(shared / f"{name}.csv", each)
    changing = rows["files_remember"]
    dice = random.Random(seed)
    # The task that lives on comes first, while much is left that it could do along with the next attempt.
    ways = {name: [WAYS[0], *dice.sample(WAYS[1:], len(WAYS) - 1)] for name in FIRST_PHONE}

    def change() -> None:
        """Some people go, some come, nobody stays in their place."""
        dice.shuffle(changing)
        del changing[:200]
        changing.extend(people("files_remember", next(first_of_new), 200))
        dice.shuffle(changing)
        write(shared / "files_remember.csv", changing)

    first_of_new = itertools.count(PEOPLE, 200)
    sends = {name: Send(deployment, deployed_sandbox, name, random.Random(seed)) for name in FIRST_PHONE}
    deployed_sandbox.fault("delay", path=TEMPLATES, method="POST", seconds=0.2, when="after", probability=0.5)
    deployed_sandbox.fault("delay", path=TEMPLATES, method="POST", seconds=0.2)
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(sends["airflow_remembers"].kill, ways["airflow_remembers"], lambda: None),
            pool.submit(sends["files_remember"].kill, ways["files_remember"], change),
        ]
        for job in jobs:
            job.result()
    deployed_sandbox.control("DELETE", "/faults")
    for send in sends.values():
        assert deployment.finish(send.name, send.run)["state"] == "success"
    return sends, changing


@pytest.mark.parametrize("name", FIRST_PHONE)
def test_everybody_gets_one_message(
    name: str,
    finished: tuple[dict[str, Send], Rows],
    deployment: Deployment,
    deployed_sandbox: Sandbox,
    shared: Path,
) -> None:
    """Tasks that die in every way, with rows that change in between, message everybody once and count everybody."""
    sends, changed = finished
    send = sends[name]
    assert Counter(send.kills) == Counter(WAYS)
    # Airflow's store does not answer a task without a supervisor, so there it has stopped by then.
    assert send.orphan_lived_on == (name == "files_remember")
    wanted = {
        phone.lstrip("+") for phone, *_ in (changed if name == "files_remember" else people(name, 0, PEOPLE))
    }
    assert len(wanted) == PEOPLE
    mine = str(FIRST_PHONE[name])[:4]
    got = {phone: n for phone, n in deployed_sandbox.state.sent_per_phone().items() if phone.startswith(mine)}
    assert set(got.values()) == {1}
    assert wanted <= got.keys()
    gone = len(got) - len(wanted)
    assert (gone > 0) == (name == "files_remember")
    result = deployment.result(name, send.run)
    assert (result["total"], result["accepted"], result["earlier"]) == (PEOPLE, PEOPLE, gone)
    with (shared / f"{name}-outcomes.csv").open(newline="") as file:
        outcomes = Counter((row["status"], bool(row["campaign_id"])) for row in csv.DictReader(file))
    assert outcomes == {("accepted", True): PEOPLE}


def test_clear_sends_nothing_and_asks_little(
    finished: tuple[dict[str, Send], Rows], deployment: Deployment, deployed_sandbox: Sandbox
) -> None:
    """A Clear of a finished send finds everybody in the journal and costs five reads at most."""
    send = finished[0]["airflow_remembers"]
    deployed_sandbox.control("DELETE", "/requests")
    before = send.sent()
    deployment.clear(send.name, send.run)
    wait_for(
        lambda: deployment.task(send.name, send.run)["state"] != "success", "the Clear to begin", every=0.05
    )
    assert deployment.finish(send.name, send.run)["state"] == "success"
    assert send.sent() == before
    calls = deployed_sandbox.requests()
    assert {call.split()[0] for call in calls} == {"GET"}
    assert len(calls) <= 5
    result = deployment.result(send.name, send.run)
    assert (result["accepted"], result["calls"]) == (PEOPLE, 0)
