"""Questions in Airflow as it runs in production: asked once, answered in the worker and in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.airflow.conftest import kill, wait_for
from tests.conftest import needs_task_state_store

if TYPE_CHECKING:
    from tests.airflow.conftest import Deployment
    from tests.conftest import Sandbox

#: Whom the task of each mode asks, and how it stands while it waits.
PEOPLE = {"worker": "12025550143", "deferrable": "12025550144"}
WAITING = {"worker": "running", "deferrable": "deferred"}

pytestmark = needs_task_state_store


@pytest.fixture(scope="module")
def airflow(deployment: Deployment, deployed_sandbox: Sandbox) -> Deployment:
    deployment.start_triggerer()
    for phone in PEOPLE.values():
        deployed_sandbox.control("POST", "/inbound", {"phone": phone, "text": "Yes"})
    return deployment


def questions(sandbox: Sandbox, run: str, phone: str) -> int:
    return sum(f"{run}: shall we?" in text for text in sandbox.texts_to(phone))


class Question:
    """A run that asks one person, and waits for the answer."""

    def __init__(self, airflow: Deployment, sandbox: Sandbox, mode: str) -> None:
        self._airflow, self._sandbox = airflow, sandbox
        self._mode, self._phone = mode, PEOPLE[mode]
        self._dag_id = f"asking_{mode}"
        self._run = airflow.trigger(self._dag_id)

    def task(self) -> dict[str, Any]:
        return self._airflow.task(self._dag_id, self._run, "ask")

    def wait(self) -> None:
        """Wait until the task has asked, and waits for the answer as its mode does."""
        wait_for(self._waits, f"{self._dag_id} to ask")

    def _waits(self) -> bool:
        return self.task()["state"] == WAITING[self._mode] and bool(self._questions())

    def _questions(self) -> int:
        return questions(self._sandbox, self._run, self._phone)

    def answer(self) -> None:
        """Let the person say something else, tap a button, and then the other one."""
        for text in ("which one?", "No", "Yes"):
            message = {"phone": self._phone, "text": text, "type": "interactive"}
            self._sandbox.control("POST", "/inbound", message)

    def check(self, attempts: int) -> None:
        """Check that the task returns the first answer, in this attempt, and has asked once."""
        task = self._airflow.finish(self._dag_id, self._run, "ask")
        assert (task["state"], task["try_number"]) == ("success", attempts)
        result = self._airflow.result(self._dag_id, self._run, "ask")
        assert (result["answer"], result["message"]["text"]) == ("No", "No")
        assert self._questions() == 1

    def clear(self) -> None:
        """Press Clear, and wait for the next attempt."""
        last = self.task()["try_number"]
        self._airflow.clear(self._dag_id, self._run, "ask")
        wait_for(lambda: self.task()["try_number"] > last, f"{self._dag_id} to run again")


@pytest.fixture
def asked(airflow: Deployment, deployed_sandbox: Sandbox) -> dict[str, Question]:
    """A question for each mode that has been sent and not answered."""
    asked = {mode: Question(airflow, deployed_sandbox, mode) for mode in PEOPLE}
    for question in asked.values():
        question.wait()
    return asked


def test_each_mode_returns_the_answer(asked: dict[str, Question]) -> None:
    """In each mode the task waits and returns the first answer; a cleared task returns it again, and asks nothing."""
    for question in asked.values():
        question.answer()
    for question in asked.values():
        question.check(attempts=1)
    for question in asked.values():
        question.clear()
    for question in asked.values():
        question.check(attempts=2)


def test_what_waits_is_killed(airflow: Deployment, asked: dict[str, Question]) -> None:
    """Worker and triggerer die between question and answer: others go on waiting, and nobody is asked again."""
    pid = asked["worker"].task()["pid"]
    supervisor = psutil.Process(pid).ppid()
    for process in (supervisor, pid):
        kill(process)
    airflow.kill_triggerer()
    for question in asked.values():
        question.answer()
    airflow.start_triggerer()
    asked["deferrable"].check(attempts=1)
    asked["worker"].check(attempts=2)


def test_the_scheduler_is_killed(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """Another scheduler goes on with a task that was deferred, and it does not ask again."""
    question = Question(airflow, deployed_sandbox, "deferrable")
    question.wait()
    airflow.kill_scheduler()
    question.answer()
    airflow.start_scheduler()
    question.check(attempts=1)


def test_nobody_answers(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """After ``answer_timeout`` a task fails at its first attempt, or returns None where that is asked for, in each mode."""
    run = airflow.trigger("asking_briefly")
    for mode in PEOPLE:
        failed = airflow.finish("asking_briefly", run, f"{mode}_fail")
        assert (failed["state"], failed["try_number"]) == ("failed", 1)
        assert airflow.finish("asking_briefly", run, f"{mode}_none")["state"] == "success"
        assert airflow.result("asking_briefly", run, f"{mode}_none") == {"answer": None, "message": None}
        assert questions(deployed_sandbox, run, PEOPLE[mode]) == 2
