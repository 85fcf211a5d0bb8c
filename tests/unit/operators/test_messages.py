"""Ask and wait: the same ending in the worker and in the triggerer, for one table of what people do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConfigurationError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.operators.messages import WatiAskOperator
from airflow_provider_wati.triggers import _base
from airflow_provider_wati.triggers._base import WatiTrigger
from tests.support.airflow_signals import TaskDeferred

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.late_clock import LateClock
    from tests.support.tasks import Execute

ADA, UNREACHABLE = "12025550143", "12025131026"
MODES = ("worker", "deferrable")
#: The page with the messages, and the empty one that proves that there are no more.
CALLS_OF_A_LOOK = 2
NOBODY = {"answer": None, "message": None}

Act = Callable[["Sandbox", "LateClock"], None]


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    """The sandbox of the module, as good as new."""
    return quick_sandbox


@pytest.fixture(autouse=True)
def one_clock(late_clock: LateClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the triggerer have the clock of the worker and the sandbox."""

    async def sleep(seconds: float) -> None:
        late_clock.sleep(seconds)

    monkeypatch.setattr(WatiTrigger, "clock", late_clock)
    # In this module only: the sandbox sleeps too.
    monkeypatch.setattr(_base, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))


def ask(**more: Any) -> WatiAskOperator:
    given = {"target": ADA, "body": "Deliver today?", "buttons": ["Yes", "No"], "answer_timeout": 3600}
    return WatiAskOperator(task_id="ask", **{**given, **more})


def ending(execute: Execute, mode: str, **more: Any) -> Any:
    """Run a task to its end as Airflow does in a mode; return its result, or the error it raises."""

    def make() -> WatiAskOperator:
        return ask(deferrable=mode == "deferrable", **more)

    try:
        return execute(make())
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        assert path == "airflow_provider_wati.triggers.messages.WatiAnswerTrigger"
        trigger = type(deferred.trigger)(**json.loads(json.dumps(arguments)))
        event = asyncio.run(anext(aiter(trigger.run()))).payload
        details = {**json.loads(json.dumps(deferred.kwargs)), "event": event}
        try:
            return make().resume_execution(deferred.method_name, details, {})
        except Exception as error:
            return error
    except Exception as error:
        return error


def says(text: str, seconds: float, **more: Any) -> Act:
    """Let the person write some time after the question."""

    def act(sandbox: Sandbox, clock: LateClock) -> None:
        message = {"phone": ADA, "text": text, **more}
        clock.after(seconds, lambda: sandbox.control("POST", "/inbound", message))

    return act


def fails(status: int, first: float, last: float) -> Act:
    """Let reads of conversations fail for a while."""

    def act(sandbox: Sandbox, clock: LateClock) -> None:
        fault = {"status": status, "method": "GET", "path": "*/messages"}
        clock.after(first, lambda: sandbox.fault("status", **fault))
        clock.after(last, lambda: sandbox.control("DELETE", "/faults"))

    return act


def is_solved(seconds: float) -> Act:
    """Let an agent solve the conversation."""

    def act(sandbox: Sandbox, clock: LateClock) -> None:
        clock.after(seconds, lambda: sandbox.client().update_conversation_status(ADA, "solved"))

    return act


def changes_mind(sandbox: Sandbox, clock: LateClock) -> None:
    """Let the person tap one button, and then the other."""

    def taps() -> None:
        for text in ("No", "Yes"):
            sandbox.control("POST", "/inbound", {"phone": ADA, "text": text})
            clock.advance(1)

    clock.after(10, taps)


#: What happens after the question, and the end: an answer, or the class of an error.
OUTCOMES: dict[str, tuple[list[Act], Any]] = {
    "a tap": ([says("No", 400, type="interactive")], "No"),
    "typed": ([says(" yes\n", 400)], "Yes"),
    "other words first": ([says("which order?", 100), says("Yes", 1000)], "Yes"),
    "two answers": ([changes_mind], "No"),
    "right before the end": ([says("Yes", 3590)], "Yes"),
    "only other words": ([says("Yes please", 100)], AirflowSensorTimeout),
    "nothing": ([], AirflowSensorTimeout),
    "the conversation is solved": ([is_solved(100), says("Yes", 1000)], "Yes"),
    "words on another channel": (
        [says("Hi", 100, channel="Support"), says("No", 200, channel="Support"), says("Yes", 1000)],
        "Yes",
    ),
    "WATI is down for some time": ([fails(503, 100, 900), says("Yes", 500)], "Yes"),
    "WATI is down for long": ([fails(503, 100, 9000)], WatiServerError),
    "WATI is down at the end": ([fails(503, 3400, 9000)], WatiServerError),
    "the token is revoked": ([fails(401, 100, 9000)], WatiAuthenticationError),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_ends_alike(
    mode: str, outcome: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """One table of what may happen ends in the same answer, or the same class of error, and asks once."""
    before = len(sandbox.messages_to(ADA))
    acts, expected = OUTCOMES[outcome]
    for act in acts:
        act(sandbox, late_clock)
    end = ending(execute, mode)
    if isinstance(expected, str):
        assert (end["answer"], end["message"]["text"].strip().casefold()) == (expected, expected.casefold())
        assert json.loads(json.dumps(end)) == end
    else:
        assert type(end) is expected
    assert len(sandbox.messages_to(ADA)) == before + 1


@pytest.mark.parametrize("mode", MODES)
def test_the_timeout_may_be_an_answer(mode: str, execute: Execute, late_clock: LateClock) -> None:
    """With ``on_timeout="none"`` the result says that there is no answer, in the same form, at the deadline."""
    began = late_clock.now()
    assert ending(execute, mode, on_timeout="none", answer_timeout=timedelta(minutes=20)) == NOBODY
    assert timedelta(minutes=20) <= late_clock.now() - began < timedelta(minutes=21)


@pytest.mark.parametrize("mode", MODES)
def test_nobody_has_answered_only_if_wati_says_so(
    mode: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """Where the last look fails the task fails, so that a retry finds out, although a timeout is allowed."""
    says("Yes", 3400)(sandbox, late_clock)
    fails(503, 3350, 9000)(sandbox, late_clock)
    assert type(ending(execute, mode, on_timeout="none")) is WatiServerError


@pytest.mark.parametrize("mode", MODES)
def test_a_question_that_was_not_delivered_fails_at_once(
    mode: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """The task does not wait for the answer to a question that did not arrive."""
    sandbox.control("POST", "/inbound", {"phone": UNREACHABLE, "text": "Hi"})
    began = late_clock.now()
    end = ending(execute, mode, target=UNREACHABLE, on_timeout="none")
    assert isinstance(end, AirflowFailException)
    assert "not delivered" in str(end)
    assert late_clock.now() - began < timedelta(minutes=10)


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_before_the_first_look(
    mode: str, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words from before the question are no answer; one that comes while the call is under way is found at once."""
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "No"})
    sandbox.control("POST", "/clock", {"advance": 5})
    send = WatiAskOperator.send

    def answered(self: WatiAskOperator, *arguments: Any) -> Any:
        message = send(self, *arguments)
        sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Yes"})
        return message

    monkeypatch.setattr(WatiAskOperator, "send", answered)
    assert ending(execute, mode)["answer"] == "Yes"
    assert len(sandbox.requests("GET")) == CALLS_OF_A_LOOK


def test_what_an_hour_costs(execute: Execute, sandbox: Sandbox, late_clock: LateClock) -> None:
    """An hour of waiting is one call for the question, and 13 looks of two calls each."""
    execute(ask(on_timeout="none"))
    assert len(sandbox.requests("GET")) == 13 * CALLS_OF_A_LOOK
    assert len(sandbox.requests("POST")) == 1
    assert set(late_clock.sleeps) <= {300.0}


@pytest.mark.parametrize("created", [None, "0001-01-01T00:00:00", "soon", "9999-12-31T23:59:59"])
def test_a_question_without_a_time(
    created: str | None,
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where WATI's answer has no usable time, the wait counts from the call: an older word is no answer."""
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Yes"})
    late_clock.advance(5)
    send = WatiAskOperator.send
    monkeypatch.setattr(WatiAskOperator, "send", lambda *given: {**send(*given), "created": created})
    monkeypatch.setattr(
        "airflow_provider_wati.client.wati.WatiClient.server_clock_offset", property(lambda self: None)
    )
    began = late_clock.now()
    assert execute(ask(on_timeout="none")) == NOBODY
    assert late_clock.now() - began == timedelta(hours=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answer_timeout": 0}, "answer_timeout is 0:00:00"),
        ({"answer_timeout": -5}, "answer_timeout"),
        ({"answer_timeout": float("nan")}, "answer_timeout is nan"),
        ({"answer_timeout": timedelta(days=400)}, "365 days"),
        ({"answer_timeout": "soon"}, "give a timedelta, or seconds"),
        ({"poke_interval": 0.5}, "poke_interval"),
        ({"on_timeout": "return"}, "fail, none"),
        ({"buttons": ["Yes", "yes"]}, "capitals or spaces"),
        ({"buttons": []}, "1 to 3"),
    ],
)
def test_arguments_that_cannot_be_right(
    arguments: dict[str, Any], message: str, execute: Execute, sandbox: Sandbox
) -> None:
    """The error says which argument to correct, and nothing was sent."""
    with pytest.raises(WatiValidationError, match=message):
        execute(ask(**arguments))
    assert sandbox.requests("POST") == []


@pytest.mark.parametrize("given", [None, True, False])
def test_the_default_of_deferrable_is_airflow_s(given: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option of Airflow counts where the DAG says nothing."""
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert ask(deferrable=given).deferrable is (given is not False)


def test_an_error_of_the_triggerer_has_its_class(execute: Execute) -> None:
    """What the triggerer met is raised as the same class, so that a retry policy sees it."""
    event = {"status": "error", "error": "WatiConfigurationError", "reason": "no connection", "result": {}}
    with pytest.raises(WatiConfigurationError, match="no connection"):
        ask().execute_complete({}, event, {}, datetime.now().isoformat())
