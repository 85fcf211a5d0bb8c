"""A question is asked once, and the wait goes on until the same time, however often Airflow runs the task."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferralTimeout, TaskDeferred

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import WatiNotFoundError, WatiServerError, WatiUnknownOutcomeError
from airflow_provider_wati.operators.messages import WatiAskOperator
from airflow_provider_wati.waiting.messages import AnswerCondition
from tests.support.tasks import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.support.late_clock import LateClock
    from tests.support.tasks import Execute

ADA = "12025550143"
WAIT = timedelta(hours=1)


class Killed(BaseException):
    """The worker is gone."""


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    """The sandbox of the module, as good as new."""
    return quick_sandbox


@pytest.fixture(params=["task_state_store", "state_path"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the journal is: both places have to do the same."""
    if request.param == "state_path":
        monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "state"))
    return str(request.param)


def ask(**more: Any) -> WatiAskOperator:
    given = {"target": ADA, "body": "Deliver today?", "buttons": ["Yes", "No"], "answer_timeout": WAIT}
    return WatiAskOperator(task_id="ask", **{"deferrable": True, **given, **more})


def questions(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [message for message in sandbox.messages_to(ADA) if "Deliver today?" in message["text"]]


def writes(sandbox: Sandbox, text: str) -> None:
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": text, "type": "interactive"})


def deadline_of(deferred: TaskDeferred) -> datetime:
    deadline = datetime.fromisoformat(deferred.trigger.deadline)
    assert deferred.kwargs is not None
    assert deferred.kwargs["deadline"] == deferred.trigger.deadline
    return deadline


def asked_at(sandbox: Sandbox) -> datetime:
    """The time of the only question, by WATI's clock."""
    [question] = questions(sandbox)
    return datetime.fromisoformat(question["created"])


def kill_at_the_next_look(patch: pytest.MonkeyPatch) -> None:
    def look(*_: object) -> None:
        raise Killed

    patch.setattr(AnswerCondition, "look", look)


def test_a_worker_killed_between_the_question_and_the_deferral(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """The next attempt does not ask, and waits until the time that the first one would have waited to."""
    store = Store()
    with pytest.MonkeyPatch.context() as patch:
        kill_at_the_next_look(patch)
        with pytest.raises(Killed):
            execute(ask(), store=store)
    late_clock.advance(600)
    with pytest.raises(TaskDeferred) as deferred:
        execute(ask(), store=store, try_number=2)
    assert deadline_of(deferred.value) == asked_at(sandbox) + WAIT


def test_a_worker_killed_before_the_result_is_written(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """The question whose answer is lost is found in the conversation, and its time counts there too."""
    store = Store()
    sandbox.fault("drop", method="POST", path="*/messages/interactive", when="after", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(ask(), store=store)
    writes(sandbox, "No")
    late_clock.advance(600)
    result = execute(ask(), store=store, try_number=2)
    assert result["answer"] == "No"
    assert len(questions(sandbox)) == 1


def test_a_question_that_never_left_is_asked_by_the_next_attempt(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """After the grace it is asked, the wait counts from then, and a word from before it is no answer."""
    store = Store()
    sandbox.fault("drop", method="POST", path="*/messages/interactive", when="before", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(ask(), store=store)
    writes(sandbox, "Yes")
    late_clock.advance(600)
    with pytest.raises(TaskDeferred) as deferred:
        execute(ask(), store=store, try_number=2)
    assert deadline_of(deferred.value) == asked_at(sandbox) + WAIT
    assert asked_at(sandbox) >= late_clock.now() - timedelta(seconds=1)


def test_a_worker_killed_while_it_waits(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A task that polls in the worker goes on in the next attempt, and gives up at the same time."""

    def kill() -> None:
        raise Killed

    store, began = Store(), late_clock.now()
    late_clock.after(1200, kill)
    with pytest.raises(Killed):
        execute(ask(deferrable=False), store=store)
    with pytest.raises(AirflowSensorTimeout):
        execute(ask(deferrable=False), store=store, try_number=2)
    assert late_clock.now() - began == WAIT
    assert len(questions(sandbox)) == 1


def test_an_answer_that_came_between_two_attempts(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """An attempt that begins after the deadline still finds the answer."""
    store = Store()
    with pytest.raises(TaskDeferred):
        execute(ask(), store=store)
    writes(sandbox, "Yes")
    late_clock.advance(2 * WAIT)
    assert execute(ask(), store=store, try_number=2)["answer"] == "Yes"
    assert len(questions(sandbox)) == 1


@pytest.mark.parametrize("keeps_store", [True, False])
def test_a_clear_does_not_ask_again(
    keeps_store: bool, execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A Clear returns the answer that is there, also where it discards Airflow's store; one after a timeout finds a late one."""
    store = Store()
    with pytest.raises(AirflowSensorTimeout):
        execute(ask(deferrable=False), store=store)
    writes(sandbox, "Yes")
    for number in (2, 3):
        if not keeps_store:
            store.clear()
        result = execute(ask(deferrable=False), store=store, try_number=number, clears=number - 1)
        assert result["answer"] == "Yes"
    assert len(questions(sandbox)) == 1


@pytest.mark.parametrize("keeps_store", [True, False])
def test_a_clear_without_an_answer_ends_at_once(
    keeps_store: bool, execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A Clear after the deadline neither asks nor waits."""
    store = Store()
    with pytest.raises(AirflowSensorTimeout):
        execute(ask(deferrable=False), store=store)
    if not keeps_store:
        store.clear()
    began = late_clock.now()
    with pytest.raises(AirflowSensorTimeout):
        execute(ask(), store=store, try_number=2, clears=1)
    assert (len(questions(sandbox)), late_clock.now()) == (1, began)


def test_another_send_key_asks_again(
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same key finds the answer of another run, and another key asks; the old answer is none to the new question."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "state"))
    late_clock.after(100, lambda: writes(sandbox, "Yes"))
    for run_id in ("one", "two"):
        assert execute(ask(deferrable=False, send_key="first"), run_id=run_id)["answer"] == "Yes"
    assert len(questions(sandbox)) == 1
    late_clock.advance(60)
    assert execute(ask(deferrable=False, send_key="second", on_timeout="none"))["answer"] is None
    assert len(questions(sandbox)) == 2


def test_a_store_that_is_empty_when_the_task_resumes_asks_nothing(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """What follows the wait in the triggerer needs no journal, so that its loss is no reason to ask again."""
    with pytest.raises(TaskDeferred) as deferred:
        execute(ask(), has_store=False)
    late_clock.advance(WAIT)
    event = {"status": "timeout", "reason": "over", "result": {}}
    details = {**json.loads(json.dumps(deferred.value.kwargs)), "event": event}
    with pytest.raises(AirflowSensorTimeout):
        ask().resume_execution(deferred.value.method_name, details, {})
    writes(sandbox, "No")
    assert ask().resume_execution(deferred.value.method_name, details, {})["answer"] == "No"
    sandbox.fault("status", status=503, method="GET", path="*/messages")
    with pytest.raises(WatiServerError):
        ask(on_timeout="none").resume_execution(deferred.value.method_name, details, {})
    assert len(questions(sandbox)) == 1


def test_a_triggerer_that_never_ran(execute: Execute, sandbox: Sandbox, late_clock: LateClock) -> None:
    """Airflow ends such a deferral a minute late with an error that is retried, and the next attempt finds the answer."""
    store = Store()
    with pytest.raises(TaskDeferred) as deferred:
        execute(ask(on_timeout="none"), store=store)
    assert deferred.value.timeout == WAIT + timedelta(seconds=60)
    late_clock.advance(1800)
    writes(sandbox, "Yes")
    late_clock.advance(1900)
    with pytest.raises(TaskDeferralTimeout):
        ask(on_timeout="none").resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    assert execute(ask(on_timeout="none"), store=store, try_number=2)["answer"] == "Yes"
    assert len(questions(sandbox)) == 1


@pytest.mark.parametrize("created", ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_a_time_of_the_question_that_cannot_be_right(
    created: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait counts from our own time then: an answer of an hour ago is none, and the wait does not last for years."""
    send = WatiClient.send_buttons

    def send_buttons(self: WatiClient, *args: Any, **more: Any) -> Any:
        return {**send(self, *args, **more), "created": created}

    monkeypatch.setattr(WatiClient, "send_buttons", send_buttons)
    # The sandbox writes `Date` by the clock of the machine.
    monkeypatch.setattr(WatiClient, "server_clock_offset", None)
    writes(sandbox, "Yes")
    late_clock.advance(3600)
    with pytest.raises(TaskDeferred) as deferred:
        execute(ask())
    assert deadline_of(deferred.value) == late_clock.now() + WAIT


def test_a_conversation_that_wati_does_not_show_at_the_end(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """That WATI does not know the conversation does not show that nobody has answered."""
    sandbox.fault("status", status=404, method="GET", path="*/messages")
    with pytest.raises(WatiNotFoundError, match="answered"):
        execute(ask(deferrable=False, on_timeout="none"))
