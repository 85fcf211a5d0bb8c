"""The notifier against a server that answers as a script says, and as Airflow calls it."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_wati.notifications.wati import WatiNotifier, default_text, send_wati_notification
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    closed_port,
    cut_short,
    hang_up,
    reset,
    serving,
    stay_silent,
)

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA, BEN, NEW = "12025550143", "12025550144", "85264318722"
TOKEN = "a-token-that-is-secret"
SECRET_TEXT = "the nightly load broke"
SENT = answer(200, {"message": {"id": "685bd235e6119686e693a093", "text": "x", "status": "SENT"}})


def connect(monkeypatch: pytest.MonkeyPatch, url: str, **extra: Any) -> None:
    connection = {"conn_type": "wati", "host": url, "password": TOKEN, "extra": {"timeout": [30, 5], **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))


@pytest.fixture
def wati(monkeypatch: pytest.MonkeyPatch, at_once: Any) -> Callable[..., Any]:
    """Start a WATI that answers by a script and is the connection ``wati_default``."""

    @contextmanager
    def start(*script: Step) -> Iterator[ScriptedServer]:
        with serving(*script) as server:
            connect(monkeypatch, server.url)
            yield server

    return start


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the notifier logs; the loggers of Airflow's versions differ in where their records go."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(WatiNotifier, "log", logging.getLogger("notifier"))
    return caplog


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.requests]


def notifier(**arguments: Any) -> WatiNotifier:
    return WatiNotifier(**{"targets": ADA, "text": SECRET_TEXT, **arguments})


def test_a_text_goes_to_each_target_once(wati: Any) -> None:
    """Each of several targets gets one call, and a repeated one no second call."""
    with wati(SENT) as server:
        notifier(targets=[ADA, BEN, ADA, int(BEN)])({})
    assert [body["target"] for body in bodies(server)] == [ADA, BEN]
    assert {body["text"] for body in bodies(server)} == {SECRET_TEXT}


@pytest.mark.parametrize("targets", [ADA, [ADA], json.dumps([ADA]), (ADA,), int(ADA)])
def test_targets_are_one_or_a_list_or_json(wati: Any, targets: Any) -> None:
    """One target, a list, and a list as JSON are the same."""
    with wati(SENT) as server:
        notifier(targets=targets)({})
    assert [body["target"] for body in bodies(server)] == [ADA]


def test_all_arguments_are_templates_and_stay_as_they_were(
    wati: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notifier that several tasks share is rendered for each call, and not in place."""
    monkeypatch.setenv("AIRFLOW_VAR_ONCALL", json.dumps([ADA, BEN]))
    shared = notifier(targets="{{ oncall }}", text="{{ task_id }} broke", channel="{{ 'Sup' ~ 'port' }}")
    with wati(SENT) as server:
        shared({"task_id": "one", "oncall": json.dumps([ADA])})
        shared({"task_id": "two", "oncall": BEN})
    assert [(body["target"], body["text"]) for body in bodies(server)] == [
        (f"Support:{ADA}", "one broke"),
        (f"Support:{BEN}", "two broke"),
    ]
    assert shared.text == "{{ task_id }} broke"
    assert set(shared.template_fields) == {
        "targets", "text", "template_name", "template_params", "channel", "wati_conn_id",
    }  # fmt: skip


def test_a_template_reaches_people_who_have_not_written(
    sandbox: Sandbox, at_once: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template goes to each target with its rendered parameters."""
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    params = {"name": "{{ who }}", "order_id": "{{ dag.dag_id }}", "status": "failed"}
    alert = WatiNotifier(targets=[NEW, BEN], template_name="order_update", template_params=params)
    alert({"who": "Ada", "dag": DAG("orders")})
    expected = "Hi Ada, your order orders is failed."
    assert [sandbox.texts_to(phone)[-1] for phone in (NEW, BEN)] == [expected] * 2
    assert [campaign.name for campaign in sandbox.state.broadcasts] == ["Airflow: orders"] * 2


def test_a_recipient_that_wati_refuses_in_a_200_is_logged(
    sandbox: Sandbox, at_once: Any, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """A template that WATI refuses for the person is not logged as sent."""
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    sandbox.fault("recipient_errors", path="*/messageTemplates/send", numbers=[NEW])
    WatiNotifier(targets=NEW, template_name="welcome")({})
    assert "message to *******8722 was not sent" in log.text
    assert "WATI has" not in log.text


AMBIGUOUS = {
    "500": answer(500),
    "503 with Retry-After": answer(503, headers={"Retry-After": "0"}),
    "408": answer(408),
    "reset": reset,
    "closed": hang_up,
    "cut": cut_short,
    "silence": stay_silent,
    "not JSON": answer(200, raw=b"<html>"),
}
REFUSALS = {
    "400": (answer(400, {"message": "window closed"}), "template_name"),
    "401": (answer(401), "put a current one in the connection"),
    "403": (answer(403), "scopes"),
    "404": (answer(404), "API endpoint"),
    "409": (answer(409), "put the channel before the target"),
    "200 that refuses": (answer(200, {"result": False, "message": "no"}), "template_name"),
}


@pytest.mark.parametrize("step", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_lost_answer_is_logged_as_unknown_and_not_sent_again(wati: Any, log: Any, step: Step) -> None:
    """One call leaves, nothing is raised, and the next target still gets its message."""
    with wati(step, SENT) as server:
        notifier(targets=[ADA, BEN])({})
    assert [body["target"] for body in bodies(server)] == [ADA, BEN]
    assert "message to *******0143 may have been sent, and is not sent again" in log.text
    assert "WATI has the WhatsApp message to *******0144" in log.text
    assert_discreet(log.text)


@pytest.mark.parametrize(("step", "remedy"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_logged_with_its_remedy(wati: Any, log: Any, step: Step, remedy: str) -> None:
    """One call leaves, nothing is raised, and the log names the remedy."""
    with wati(step) as server:
        notifier()({})
    assert len(server.requests) == 1
    assert "message to *******0143 was not sent" in log.text
    assert remedy in log.text
    assert_discreet(log.text)


def test_a_call_that_never_left_is_tried_again_and_then_logged(
    monkeypatch: pytest.MonkeyPatch, at_once: Any, log: Any
) -> None:
    """Without a connection the log says that nothing was sent."""
    with closed_port() as port:
        connect(monkeypatch, f"http://127.0.0.1:{port}")
        notifier()({})
    assert "message to *******0143 was not sent: Could not connect" in log.text
    assert len(at_once.sleeps) >= 1
    assert sum(at_once.sleeps) <= 10


def test_a_rate_limit_is_waited_out_when_that_is_short(wati: Any, log: Any) -> None:
    """A 429 sent nothing, so the call goes again, unless WATI asks to wait for longer than a callback has."""
    with wati(answer(429, headers={"Retry-After": "2"}), SENT) as server:
        notifier()({})
    assert len(server.requests) == 2
    assert "was not sent" not in log.text
    with wati(answer(429, headers={"Retry-After": "600"})) as server:
        notifier()({})
    assert len(server.requests) == 1
    assert "It asks to wait 600 s" in log.text


def test_a_callback_ends_in_time(wati: Any, log: Any, at_once: Any) -> None:
    """After 25 seconds no more calls start, and the log names the targets that are left."""

    def slow(connection: Any) -> bool:
        at_once.sleep(26)
        return SENT(connection)

    with wati(slow) as server:
        notifier(targets=[ADA, BEN])({})
    assert len(server.requests) == 1
    assert "message to *******0144 was not sent: the targets before it took 25 s" in log.text


ERRORS = {
    "two kinds": ({"template_name": "a"}, "text and template_name are both given"),
    "params alone": ({"template_params": {"a": "b"}}, "without template_name"),
    "no text": ({"text": ""}, "text is empty"),
    "not text": ({"text": 5}, "text is text, not int"),
    "no target": ({"targets": []}, "one is needed at least"),
    "no target at all": ({"targets": None}, "one is needed at least"),
    "broken JSON": ({"targets": f"['{ADA}']"}, "is not JSON"),
    "bad template": ({"text": "{{ oops"}, "cannot be rendered"),
    "failing template": ({"text": "{{ nothing.there.at_all }}"}, "cannot be rendered"),
    "no connection": ({"wati_conn_id": "absent"}, "connection 'absent' cannot be read"),
    "bad number": ({"targets": "0012 34"}, "was not sent"),
}


@pytest.mark.parametrize(("arguments", "reason"), ERRORS.values(), ids=ERRORS)
def test_an_error_of_the_user_is_logged(wati: Any, log: Any, arguments: Any, reason: str) -> None:
    """An argument with an error sends nothing, raises nothing and is named in the log."""
    with wati(SENT) as server:
        notifier(**arguments)({})
    assert server.requests == []
    assert reason in log.text
    assert "was sent" in log.text.replace("was not sent", "was sent")


def test_an_incomplete_connection_is_logged(monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    """A connection without a token is named, with its remedy."""
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps({"conn_type": "wati", "host": "x.wati.io"}))
    notifier()({})
    assert "No WhatsApp message was sent: Connection 'wati_default': " in log.text


def test_one_bad_target_stops_no_other(wati: Any, log: Any) -> None:
    """A target with an error is logged, masked, and the next one is sent to."""
    with wati(SENT) as server:
        notifier(targets=["+1 202 555 0143", BEN])({})
    assert [body["target"] for body in bodies(server)] == [BEN]
    assert "A WhatsApp message was not sent" in log.text
    assert_discreet(log.text)


def test_a_text_that_is_too_long_is_cut(wati: Any) -> None:
    """An alert with a long error in it arrives, as much of it as WATI takes."""
    with wati(SENT) as server:
        notifier(text="\ud83d{{ 'ab' * 5000 }}")({})
    [body] = bodies(server)
    assert len(body["text"]) == 4096
    assert body["text"].startswith("?ab")
    assert body["text"].endswith("ab…")


def test_a_defect_of_ours_is_logged_too(wati: Any, log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is named by its type, without the text it may hold."""
    from airflow_provider_wati.client import WatiClient

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET_TEXT)

    monkeypatch.setattr(WatiClient, "send_text", fail)
    with wati(SENT):
        notifier()({})
    assert "may have been sent, and is not sent again: RuntimeError" in log.text
    assert_discreet(log.text)


def assert_discreet(text: str) -> None:
    assert SECRET_TEXT not in text
    assert TOKEN not in text
    assert ADA not in text
    assert "202 555 0143" not in text


# The text in place of the user's own

BASE = "https://airflow.example.com/team/"
TI = SimpleNamespace(
    dag_id="orders", task_id="load", run_id="manual__2026-11-26T10:00:00+00:00", map_index=-1, state="failed"
)
LINK = "https://airflow.example.com/team/dags/orders/runs/manual__2026-11-26T10%3A00%3A00%2B00%3A00"


def test_the_text_of_a_task() -> None:
    """It names the state, the DAG, the task and the run, with a link."""
    assert default_text({"ti": TI, "run_id": TI.run_id}, BASE).splitlines() == [
        "Airflow: task failed",
        "DAG: orders",
        "Task: load",
        "Run: manual__2026-11-26T10:00:00+00:00",
        LINK,
    ]
    mapped = SimpleNamespace(**{**vars(TI), "map_index": 3, "state": "up_for_retry"})
    assert "task up for retry\nDAG: orders\nTask: load[3]\n" in default_text({"ti": mapped}, None)
    assert "http" not in default_text({"ti": mapped}, None)


def test_the_text_of_a_dag() -> None:
    """It names why the run ended, also where Airflow has no task to give."""
    lines = default_text(
        {"dag": DAG("orders"), "run_id": TI.run_id, "reason": "task_failure"}, BASE
    ).splitlines()
    assert lines == ["Airflow: run ended: task failure", "DAG: orders", f"Run: {TI.run_id}", LINK]
    assert default_text({"ti": TI, "reason": "task_failure"}, BASE).splitlines() == lines


def test_the_text_of_a_deadline() -> None:
    """It is made of the run as Airflow's REST API shows it, which is all that a deadline has."""
    context = {"dag_run": {"dag_id": "orders", "dag_run_id": TI.run_id}, "deadline": {"id": "1"}}
    lines = default_text(context, BASE).splitlines()
    assert lines == ["Airflow: a deadline was missed", "DAG: orders", f"Run: {TI.run_id}", LINK]


def test_the_text_without_anything_to_tell() -> None:
    """An empty context still makes a text."""
    assert default_text({}, BASE) == "Airflow: a notification"


def test_the_text_is_used_where_none_is_given(wati: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without text and template the default text goes out, with the address of Airflow's settings."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)
    with wati(SENT) as server:
        WatiNotifier(targets=ADA)({"ti": TI})
    assert bodies(server)[0]["text"].splitlines()[-1] == LINK


# As Airflow uses it


def test_making_one_checks_and_connects_nothing() -> None:
    """A notifier with errors in it can be made and copied, because DAG files are parsed all the time."""
    made = WatiNotifier(targets=[], text="a", template_name="b", wati_conn_id="absent")
    assert pickle.loads(pickle.dumps(made)).text == "a"
    assert send_wati_notification is WatiNotifier


def deadline_classes() -> tuple[Any, Any]:
    """The callback that a DAG names, and the trigger that carries it out."""
    try:
        callbacks = import_module("airflow.sdk.definitions.callback")
        return callbacks.AsyncCallback, import_module("airflow.triggers.callback").CallbackTrigger
    except ImportError:  # Airflow 3.1
        callbacks = import_module("airflow.sdk.definitions.deadline")
        return callbacks.AsyncCallback, import_module("airflow.triggers.deadline").DeadlineCallbackTrigger


def test_a_missed_deadline_sends_from_the_triggerer(wati: Any) -> None:
    """Airflow's trigger makes the notifier of JSON, awaits it and reports success, also after a lost answer."""
    callback_class, trigger_class = deadline_classes()
    callback = callback_class(WatiNotifier, kwargs={"targets": [ADA], "text": "{{ dag_run.dag_id }} is late"})
    path, kwargs = callback.path, json.loads(json.dumps(callback.kwargs))
    context = {"dag_run": {"dag_id": "orders"}, "deadline": {"id": "1"}}

    async def run() -> list[str]:
        trigger = trigger_class(path, {**kwargs, "context": context})
        return [event.payload["state"] async for event in trigger.run()]

    for step in (SENT, hang_up):
        with wati(step) as server:
            assert asyncio.run(run()) == ["running", "success"]
        assert [body["text"] for body in bodies(server)] == ["orders is late"]


def test_a_missed_deadline_with_a_bad_template_does_not_fail(wati: Any, log: Any) -> None:
    """Awaiting a notifier raises nothing either."""

    async def run() -> None:
        await notifier(text="{{ oops", context={"dag_run": {}})

    with wati(SENT) as server:
        asyncio.run(run())
    assert server.requests == []
    assert "cannot be rendered" in log.text


def test_a_slow_wati_does_not_hold_up_the_loop(wati: Any) -> None:
    """While three notifiers wait for answers, the loop goes on, and they wait at the same time."""
    asked, may_answer, answered_in_time = threading.Semaphore(0), threading.Event(), []

    def slow(connection: Any) -> bool:
        asked.release()
        answered_in_time.append(may_answer.wait(30))
        return SENT(connection)

    async def run() -> None:
        waiting = asyncio.gather(*(notifier(targets=to).async_notify({}) for to in (ADA, BEN, NEW)))
        for _ in range(3):
            while not asked.acquire(blocking=False):  # noqa: ASYNC110 # released by the server's threads
                await asyncio.sleep(0.01)
        # A loop that is held up, or a second call that waits for the first, does not come here before the server gives up.
        may_answer.set()
        await waiting

    with wati(slow) as server:
        asyncio.run(run())
    assert answered_in_time == [True] * 3
    assert len(server.requests) == 3


def test_an_approval_waits_although_its_notifier_fails(
    wati: Any, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    """A human-in-the-loop operator calls the notifier before it waits, and waits whatever happens to the message."""
    from airflow.providers.standard.operators import hitl

    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    context: Any = {"task_instance": SimpleNamespace(id="1"), "ti": TI}
    for step in (SENT, answer(500)):
        with wati(step) as server, DAG("orders"):
            operator = hitl.ApprovalOperator(
                task_id="approve", subject="Send?", notifiers=notifier(text="{{ ti.task_id }} waits")
            )
            assert ends_waiting(operator, context)
        assert [body["text"] for body in bodies(server)] == ["load waits"]
    assert "may have been sent" in log.text
    operator.notifiers = [notifier(text="{{ oops")]
    assert ends_waiting(operator, context)


def ends_waiting(operator: Any, context: Any) -> bool:
    """Whether an attempt ends by waiting for a person, which Airflow's versions do in two ways."""
    try:
        operator.execute(context)
    except BaseException as end:
        if type(end).__name__ not in ("TaskAwaitingInput", "TaskDeferred"):
            raise
        return True
    return False


def test_a_target_with_and_without_its_channel_is_one(wati: Any) -> None:
    """The channel of the notifier and the same one before a target are one, so that the person gets one message."""
    with wati(SENT) as server:
        notifier(targets=[ADA, f"Support:{ADA}", f"Sales:{ADA}"], channel="Support")({})
    assert [body["target"] for body in bodies(server)] == [f"Support:{ADA}", f"Sales:{ADA}"]


def test_two_spellings_of_a_phone_number_are_one_person(wati: Any) -> None:
    """A mobile phone number of Mexico with and without its old 1 gets one message, in the spelling that stands first."""
    with wati(SENT) as server:
        notifier(targets=["525512345678", "5215512345678"])({})
    assert [body["target"] for body in bodies(server)] == ["525512345678"]
