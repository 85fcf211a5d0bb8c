"""An answer is lost, Airflow tries again: what was to happen once has happened once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.exceptions import WatiBadRequestError, WatiServerError, WatiUnknownOutcomeError
from airflow_provider_wati.operators.campaigns import WatiCancelScheduledCampaignOperator
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import (
    WatiAssignTeamsOperator,
    WatiCreateContactOperator,
    WatiUpdateContactOperator,
    WatiUpsertContactOperator,
)
from airflow_provider_wati.operators.conversations import (
    WatiAssignConversationOperator,
    WatiUpdateConversationStatusOperator,
)
from airflow_provider_wati.operators.messages import (
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
)
from airflow_provider_wati.operators.templates import WatiScheduleTemplateOperator
from tests.support.tasks import Execute, Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox

RunDag = Callable[[DAG], dict[str, Any]]

ADA, BEN, NEW, OTHER = "12025550143", "12025550144", "85264318722", "85264318723"
BOT = "65b7a1c2c4a7b07000000001"
GREETING = "Hello! What can we do for you?"
LOST: dict[str, dict[str, Any]] = {
    "dropped after the effect": {"kind": "drop", "when": "after"},
    "dropped before the effect": {"kind": "drop", "when": "before"},
    "500 after the effect": {"kind": "status", "status": 500, "when": "after"},
    "garbage after the effect": {"kind": "garbage", "when": "after"},
    "no answer in time": {"kind": "delay", "when": "after", "seconds": 6},
}
AGAIN: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}
#: Where each single send goes, so that each has one answer to lose.
PATHS = {
    "url": ("POST", "*/fileViaUrl", ""),
    "file": ("POST", "*/messages/file", ""),
    "buttons": ("POST", "*/interactive", '"type":"buttons"'),
    "list": ("POST", "*/interactive", '"type":"list"'),
    "create": ("POST", "*/contacts", ""),
    "schedule": ("POST", "*/schedule", ""),
}


@pytest.fixture
def impatient(run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"]["timeout"] = [30, 2]
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))


def kinds_to(sandbox: Sandbox, phone: str) -> list[str]:
    return sorted(message["type"] for message in sandbox.messages_to(phone))


@pytest.mark.parametrize("lost", LOST)
def test_what_is_sent_once_arrives_once(
    lost: str, run_dag: RunDag, sandbox: Sandbox, impatient: None, tmp_path: Path
) -> None:
    """Each kind of send, created contact and schedule survives a lost answer in real Airflow: once, with its own id."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 an invoice")
    for method, path, contains in PATHS.values():
        sandbox.fault(method=method, path=path, contains=contains, count=1, **LOST[lost])
    with DAG("lost_sends") as dag:
        WatiSendFileUrlOperator(
            task_id="url", target=ADA, file_url="https://example.com/map.png?v=2", caption="A map", **AGAIN
        )
        WatiSendFileOperator(task_id="file", target=ADA, path=f"{tmp_path}/a.pdf", caption="Invoice", **AGAIN)
        WatiSendButtonsOperator(task_id="buttons", target=ADA, body="Today?", buttons=["Yes", "No"], **AGAIN)
        WatiSendListOperator(
            task_id="list",
            target=BEN,
            body="When?",
            button_text="Choose",
            sections=[{"rows": [{"title": "10:00"}]}],
            **AGAIN,
        )
        WatiCreateContactOperator(task_id="create", phone_number=OTHER, name="Bob", **AGAIN)
        WatiScheduleTemplateOperator(
            task_id="schedule",
            template_name="welcome",
            recipients={"target": NEW},
            scheduled_at=datetime.now(UTC) + timedelta(hours=1),
            **AGAIN,
        )
    tis = run_dag(dag)
    # A template send finds out within the same attempt; the others leave it to the next one.
    assert {name: (ti.state, ti.try_number) for name, ti in tis.items()} == {
        **dict.fromkeys(PATHS, ("success", 2)),
        "schedule": ("success", 1),
    }
    assert kinds_to(sandbox, ADA) == ["document", "image", "interactive"]
    assert kinds_to(sandbox, BEN) == ["interactive"]
    assert sandbox.state.by_phone[OTHER].name == "Bob"
    assert [contact.phone for contact in sandbox.state.contacts.values()].count(OTHER) == 1
    assert [campaign.count for campaign in sandbox.state.broadcasts] == [1]
    assert tis["schedule"].xcom_pull(task_ids="schedule")["calls"] == (2 if "before" in lost else 1)
    sandbox.control("POST", "/clock", {"advance": 3700})
    assert len(sandbox.texts_to(NEW)) == 1
    by_type = {message["type"]: message["message_id"] for message in sandbox.messages_to(ADA)}
    results = {name: ti.xcom_pull(task_ids=name) for name, ti in tis.items()}
    assert results["url"]["id"] == by_type["image"]
    assert results["file"]["id"] == by_type["document"]
    assert results["buttons"]["id"] == by_type["interactive"]
    assert results["list"]["id"] == sandbox.messages_to(BEN)[0]["message_id"]
    assert results["create"]["id"] == sandbox.state.by_phone[OTHER].id
    assert results["schedule"]["accepted"] == 1
    assert results["schedule"]["campaigns"][0]["id"] == sandbox.state.broadcasts[0].id


def test_clear_sends_nothing_again_and_a_new_run_does(
    run_dag: RunDag, sandbox: Sandbox, clear: Callable[..., Any]
) -> None:
    """Clear returns the first result; another run is another send."""
    with DAG("cleared") as dag:
        WatiSendFileUrlOperator(task_id="url", target=ADA, file_url="https://example.com/map.png")
    ti = run_dag(dag)["url"]
    again = clear(dag, ti)
    assert (again.state, again.try_number) == ("success", 2)
    assert again.xcom_pull(task_ids="url") == ti.xcom_pull(task_ids="url")
    assert kinds_to(sandbox, ADA) == ["image"]
    run_dag(dag)
    assert kinds_to(sandbox, ADA) == ["image", "image"]


@pytest.mark.parametrize("lost", LOST)
def test_a_chatbot_whose_answer_was_lost_is_not_started_again(
    lost: str,
    run_dag: RunDag,
    sandbox: Sandbox,
    impatient: None,
    clear: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task fails at once, and after Clear too, until the user says ``start`` or gives another key."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    sandbox.fault(path="*/chatbots/start", count=1, **LOST[lost])
    with DAG("lost_chatbot") as dag:
        start = WatiStartChatbotOperator(
            task_id="start", target=ADA, chatbot_id=BOT, retries=3, retry_delay=timedelta(0)
        )
    ti = run_dag(dag)["start"]
    assert (ti.state, ti.try_number) == ("failed", 1)
    started = [] if "before" in lost else [GREETING]
    assert sandbox.texts_to(ADA) == started

    ti = clear(dag, ti)
    assert (ti.state, ti.try_number) == ("failed", 2)
    assert sandbox.texts_to(ADA) == started

    start.on_unknown = "start"
    ti = clear(dag, ti)
    assert ti.state == "success"
    assert sandbox.texts_to(ADA) == [*started, GREETING]

    start.on_unknown, start.send_key = "fail", "on purpose"
    assert clear(dag, ti).state == "success"
    assert sandbox.texts_to(ADA) == [*started, GREETING, GREETING]


def test_a_chatbot_whose_answer_was_lost_says_what_to_do(execute: Execute, sandbox: Sandbox) -> None:
    """Both errors name the conversation to look at, and the way to start the chatbot all the same."""
    sandbox.fault("drop", path="*/chatbots/start", when="after", count=1)
    store = Store()
    operator = WatiStartChatbotOperator(task_id="start", target=ADA, chatbot_id=BOT)
    with pytest.raises(AirflowFailException, match="Whether POST /chatbots/start .* is unknown: look"):
        execute(operator, store=store)
    with pytest.raises(AirflowFailException, match="clear the task with on_unknown='start'"):
        execute(operator, store=store, try_number=2)
    assert sandbox.texts_to(ADA) == [GREETING]


def test_a_chatbot_that_was_refused_may_be_started_by_the_next_attempt(
    execute: Execute, sandbox: Sandbox
) -> None:
    """A refusal leaves nothing ambiguous; the start that follows is returned by each later attempt."""
    sandbox.fault("status", status=400, path="*/chatbots/start", count=1)
    store = Store()
    operator = WatiStartChatbotOperator(task_id="start", target=ADA, chatbot_id=BOT)
    with pytest.raises(WatiBadRequestError):
        execute(operator, store=store)
    assert execute(operator, store=store, try_number=2) == {"chatbot_id": BOT}
    assert execute(operator, store=store, try_number=3) == {"chatbot_id": BOT}
    assert sandbox.texts_to(ADA) == [GREETING]


def test_a_chatbot_that_could_not_be_looked_up_may_be_started_by_the_next_attempt(
    execute: Execute, sandbox: Sandbox
) -> None:
    """An error before the call that starts it leaves nothing ambiguous."""
    sandbox.fault("status", status=500, path="*/chatbots", count=5)
    store = Store()
    operator = WatiStartChatbotOperator(task_id="start", target=ADA, chatbot_name="Welcome bot")
    with pytest.raises(WatiServerError):
        execute(operator, store=store)
    assert execute(operator, store=store, try_number=2) == {"chatbot_id": BOT}
    assert sandbox.texts_to(ADA) == [GREETING]


@pytest.mark.parametrize(
    ("operator", "others"),
    [
        (
            WatiSendFileUrlOperator(task_id="a", target=ADA, file_url="https://example.com/a.png"),
            ["https://example.com/a.pdf", "https://example.com/a.mp4"],
        ),
        (
            WatiSendFileUrlOperator(
                task_id="b", target=ADA, file_url="https://example.com/a.png", caption="One"
            ),
            ["https://example.com/a.png"],
        ),
    ],
    ids=["another kind", "another caption"],
)
def test_another_file_is_not_taken_for_the_lost_one(
    operator: WatiSendFileUrlOperator, others: list[str], execute: Execute, sandbox: Sandbox
) -> None:
    """A file of another kind, or with another caption, does not make the task green."""
    store = Store()
    sandbox.fault("drop", path="*/fileViaUrl", when="before", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(operator, store=store)
    for url in others:
        sandbox.client().send_file_url(ADA, url, "Two")
    execute(operator, store=store, try_number=2)
    assert len(sandbox.messages_to(ADA)) == len(others) + 1


def test_an_old_message_is_not_taken_for_the_lost_one(execute: Execute, sandbox: Sandbox) -> None:
    """The same words of an hour ago do not make the task green."""
    sandbox.client().send_buttons(ADA, "Today?", ["Yes"])
    [said] = sandbox.state.messages.created[-1:]
    sandbox.state.messages.created[-1] = said - 3600
    store = Store()
    sandbox.fault("drop", path="*/interactive", when="before", count=1)
    operator = WatiSendButtonsOperator(task_id="ask", target=ADA, body="Today?", buttons=["Yes"])
    with pytest.raises(WatiUnknownOutcomeError):
        execute(operator, store=store)
    execute(operator, store=store, try_number=2)
    assert kinds_to(sandbox, ADA) == ["interactive", "interactive"]


def setting_operators(campaign_id: str) -> list[Any]:
    return [
        WatiUpdateContactOperator(task_id="update", target=ADA, custom_params={"tier": "black"}, **AGAIN),
        WatiUpsertContactOperator(
            task_id="upsert", phone_number=BEN, name="Ben Okafor", custom_params={"tier": "gold"}, **AGAIN
        ),
        WatiAssignTeamsOperator(task_id="teams", target=ADA, teams=["Billing", "Support"], **AGAIN),
        WatiUpdateConversationStatusOperator(task_id="status", target=ADA, status="pending", **AGAIN),
        WatiAssignConversationOperator(
            task_id="assign", target=ADA, assignee_email="li@acme.example", **AGAIN
        ),
        WatiCancelScheduledCampaignOperator(task_id="cancel", campaign_id=campaign_id, **AGAIN),
    ]


@pytest.mark.parametrize("lost", LOST)
def test_what_sets_a_state_is_the_same_after_a_repetition(
    lost: str, run_dag: RunDag, sandbox: Sandbox, impatient: None
) -> None:
    """Updates, statuses, teams and cancellations are the same however often they are done."""
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = sandbox.client().schedule_template_messages("welcome", "b", [{"target": NEW}], later)
    assert sent.campaign_id is not None
    paths = ("*/contacts", "*/teams", "*/status", "*/operator", "*/deleteScheduledBroadcast/*")
    for path in paths:
        sandbox.fault(path=path, count=1, **LOST[lost])
    with DAG("lost_settings") as dag:
        setting_operators(sent.campaign_id)
    tis = run_dag(dag)
    # The client itself repeats what is harmless to repeat, so no attempt of the task is used up.
    assert {(ti.state, ti.try_number) for ti in tis.values()} == {("success", 1)}
    ada, ben = sandbox.state.by_phone[ADA], sandbox.state.by_phone[BEN]
    assert (ada.custom_params, ada.teams) == ({"tier": "black", "city": "Hong Kong"}, ("Billing", "Support"))
    assert (ada.conversations[0].status, ada.conversations[0].operator) == ("pending", "li@acme.example")
    assert ben.custom_params == {"tier": "gold", "city": "Lagos"}
    assert sandbox.state.broadcasts[0].cancelled_at is not None
    assert [fault.fired for fault in sandbox.workspace.faults] == [1] * len(paths)
