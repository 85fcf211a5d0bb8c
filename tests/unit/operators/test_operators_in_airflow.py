"""Every operator as a task of real Airflow; the state of the sandbox shows its effect."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, chain, task

from airflow_provider_wati.operators.campaigns import (
    WatiCancelScheduledCampaignOperator,
    WatiGetCampaignOperator,
    WatiGetCampaignRecipientsOperator,
)
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import (
    WatiAssignTeamsOperator,
    WatiGetContactOperator,
    WatiUpdateContactOperator,
    WatiUpsertContactOperator,
)
from airflow_provider_wati.operators.conversations import (
    WatiAssignConversationOperator,
    WatiUpdateConversationStatusOperator,
)
from airflow_provider_wati.operators.messages import (
    WatiAskOperator,
    WatiGetMediaOperator,
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
    WatiSendTextOperator,
)
from airflow_provider_wati.operators.templates import WatiGetTemplateOperator, WatiScheduleTemplateOperator
from airflow_provider_wati.waiting.messages import AnswerCondition

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.waiting.condition import Look
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

RunDag = Callable[[DAG], dict[str, Any]]

ADA, BEN, DANA, NEW = "12025550143", "12025550144", "12025550146", "85264318722"
PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}
GREETING, ORDER_GREETING = "Hello! What can we do for you?", "Please send us your order number."
MOST_OF_A_RESULT = 3_000


def results_of(tis: dict[str, Any]) -> dict[str, Any]:
    """What the tasks left in XCom, after a look that each succeeded and left little, all of it JSON."""
    assert {name: ti.state for name, ti in tis.items()} == dict.fromkeys(tis, "success")
    results = {name: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for name, ti in tis.items()}
    for name, result in results.items():
        assert len(json.dumps(result)) < MOST_OF_A_RESULT, name
    return results


@pytest.fixture
def memory() -> Iterator[Any]:
    """An object storage: what is written shows when it is closed."""
    from airflow.sdk.io import attach, store
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    yield MemoryFileSystem()
    store._STORE_CACHE.pop("memory")
    MemoryFileSystem.store.clear()


def test_contacts(run_dag: RunDag, sandbox: Sandbox) -> None:
    """The contact operators create, read, update and assign."""
    with DAG("contacts") as dag:
        WatiGetContactOperator(task_id="get", target="{{ '12025550143' }}")
        WatiGetContactOperator(task_id="get_none", target=NEW, if_missing="none")
        WatiUpdateContactOperator(
            task_id="update",
            target=ADA,
            custom_params={"tier": "{{ 'black' }}", "note": "{{ task.task_id }}"},
        )
        WatiUpsertContactOperator(
            task_id="upsert_new", phone_number=NEW, name="Bob {{ 'Li' }}", custom_params={"source": "web"}
        )
        WatiUpsertContactOperator(
            task_id="upsert_known", phone_number=BEN, name="Ben Okafor", custom_params={"tier": "gold"}
        )
        WatiUpsertContactOperator(
            task_id="upsert_same", phone_number=DANA, name="Dana", custom_params={"tier": "bronze"}
        )
        WatiAssignTeamsOperator(task_id="teams", target=BEN, teams=["{{ 'Bill' ~ 'ing' }}", "Support"])
        chain(*dag.tasks)
    results = results_of(run_dag(dag))
    people = sandbox.state.by_phone
    assert results["get"]["id"] == people[ADA].id
    assert results["get"]["name"] == "Ada Wong"
    assert results["get_none"] is None
    assert people[ADA].custom_params == {"tier": "black", "city": "Hong Kong", "note": "update"}
    assert results["update"]["custom_params"] == [
        {"name": "tier", "value": "black"},
        {"name": "city", "value": "Hong Kong"},
        {"name": "note", "value": "update"},
    ]
    assert (people[NEW].name, people[NEW].custom_params) == ("Bob Li", {"source": "web"})
    assert people[BEN].custom_params == {"tier": "gold", "city": "Lagos"}
    assert people[DANA].name == "Dana Smith"
    assert {name: result["action"] for name, result in results.items() if name.startswith("upsert")} == {
        "upsert_new": "created",
        "upsert_known": "updated",
        "upsert_same": "unchanged",
    }
    assert people[BEN].teams == ("Billing", "Support")
    assert results["teams"] == {"teams": ["Billing", "Support"]}


def test_a_contact_that_is_missing(run_dag: RunDag, sandbox: Sandbox) -> None:
    """if_missing decides between failed, skipped and None."""
    with DAG("missing") as dag:
        WatiGetContactOperator(task_id="fail", target=NEW)
        WatiGetContactOperator(task_id="skip", target=NEW, if_missing="skip")
        WatiGetContactOperator(task_id="none", target=NEW, if_missing="none")
    assert {name: ti.state for name, ti in run_dag(dag).items()} == {
        "fail": "failed",
        "skip": "skipped",
        "none": "success",
    }


def test_a_missing_contact_may_be_a_400_too(execute: Execute, sandbox: Sandbox) -> None:
    """A 400 for an unknown contact is treated as missing."""
    sandbox.control("PATCH", "/settings", {"missing_status": 400})
    assert execute(WatiGetContactOperator(task_id="a", target=NEW, if_missing="none")) is None
    upsert = WatiUpsertContactOperator(task_id="b", phone_number=NEW, name="Bob")
    assert execute(upsert)["action"] == "created"


def test_messages(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path, memory: Any) -> None:
    """The message operators send each kind of message."""
    (tmp_path / "2026 invoice #1.pdf").write_bytes(b"%PDF-1.4 an invoice")
    memory.pipe("/photos/a.png", b"\x89PNG a photo")
    with DAG("messages") as dag:
        WatiSendFileUrlOperator(
            task_id="url",
            target=ADA,
            file_url="https://example.com/{{ 'map' }}.jpg?size=2",
            caption="{{ 'Here' }}",
        )
        WatiSendFileOperator(
            task_id="local", target=ADA, path=f"{tmp_path}/{{{{ '2026' }}}} invoice #1.pdf", caption="Invoice"
        )
        WatiSendFileOperator(
            task_id="uri",
            target=ADA,
            path=f"file://{tmp_path}/2026 invoice #1.pdf",
            file_name="{{ 'renamed' }}.txt",
            mime_type="text/plain",
        )
        WatiSendFileOperator(task_id="memory", target=ADA, path="memory://photos/a.png")
        WatiSendButtonsOperator(
            task_id="buttons",
            target=ADA,
            body="Deliver {{ 'today' }}?",
            buttons=["Yes", "{{ 'No' }}"],
            header="Order 1001",
            footer="Acme",
        )
        WatiSendButtonsOperator(
            task_id="buttons_media",
            target=ADA,
            body="Like it?",
            buttons=["Yes"],
            header={"type": "image", "media": {"url": "https://example.com/{{ 'a' }}.png"}},
        )
        WatiSendListOperator(
            task_id="list",
            target=f"14155550100:{ADA}",
            body="When shall we come?",
            button_text="{{ 'Choose' }}",
            sections=[{"title": "Today", "rows": [{"title": "{{ '10' }}:00", "description": "Morning"}]}],
        )
        chain(*dag.tasks)
    results = results_of(run_dag(dag))
    arrived = {message["message_id"]: message for message in sandbox.messages_to(ADA)}
    assert len(arrived) == len(results)
    message = {name: arrived[result["id"]] for name, result in results.items()}
    assert {name: one["type"] for name, one in message.items()} == {
        "url": "image",
        "local": "document",
        "uri": "document",
        "memory": "image",
        "buttons": "interactive",
        "buttons_media": "interactive",
        "list": "interactive",
    }
    assert (message["url"]["text"], message["local"]["text"], message["uri"]["text"]) == (
        "Here",
        "Invoice",
        "",
    )
    assert message["buttons"]["text"] == "Order 1001\nDeliver today?\nAcme\n[Yes]\n[No]"
    assert message["list"]["text"] == "When shall we come?\n[Choose]\n- 10:00"
    media = [getattr(note, "media", None) for note in sandbox.state.messages.content]
    sent = [file for file in media if file]
    assert [(file.file_name, file.mime_type, file.data) for file in sent[1:]] == [
        ("2026 invoice #1.pdf", "application/pdf", b"%PDF-1.4 an invoice"),
        ("renamed.txt", "text/plain", b"%PDF-1.4 an invoice"),
        ("a.png", "image/png", b"\x89PNG a photo"),
    ]
    assert b"https://example.com/map.jpg?size=2" in sent[0].data
    for result in results.values():
        assert set(result) <= {"id", "conversation_id", "local_message_id", "status", "created"}


def customer_sends(sandbox: Sandbox, name: str, data: bytes, phone: str = BEN) -> str:
    media = {
        "file_name": name,
        "mime_type": "application/octet-stream",
        "data": base64.b64encode(data).decode(),
    }
    answer = sandbox.control("POST", "/inbound", {"phone": phone, "media": media})
    message_id: str = answer["message"]["id"]
    return message_id


def test_media(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path, memory: Any) -> None:
    """Media are fetched into the result and into a destination."""
    photo = bytes(range(256)) * 100
    message_id = customer_sends(sandbox, "photo.jpg", photo)
    with DAG("media") as dag:
        WatiGetMediaOperator(
            task_id="directory", message_id=message_id, destination=f"{tmp_path}/{{{{ 'in' }}}}/"
        )
        WatiGetMediaOperator(task_id="file", message_id=message_id, destination=f"file://{tmp_path}/x/y.bin")
        WatiGetMediaOperator(task_id="storage", message_id=message_id, destination="memory://inbox/")
        WatiGetMediaOperator(task_id="small", message_id=customer_sends(sandbox, "hi.txt", b"hello"))
    results = results_of(run_dag(dag))
    name = f"{message_id}_photo.jpg"
    assert (tmp_path / "in" / name).read_bytes() == photo
    assert (tmp_path / "x/y.bin").read_bytes() == photo
    assert memory.cat(f"/inbox/{name}") == photo
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["in", name, "x", "y.bin"])
    assert results["directory"]["destination"] == f"file://{tmp_path}/in/{name}"
    assert results["file"]["destination"] == f"file://{tmp_path}/x/y.bin"
    # Airflow 3.1 writes such a path with a third slash.
    results["storage"]["destination"] = results["storage"]["destination"].replace(":///", "://")
    assert results["storage"] == {
        "message_id": message_id,
        "file_name": name,
        "content_type": "application/octet-stream",
        "size": len(photo),
        "destination": f"memory://inbox/{name}",
    }
    assert base64.b64decode(results["small"]["content_base64"]) == b"hello"
    small = results["small"]
    assert (small["size"], small["file_name"]) == (5, f"{small['message_id']}_hi.txt")


def test_conversations(run_dag: RunDag, sandbox: Sandbox) -> None:
    """The conversation operators set status and assignee."""
    state = sandbox.state
    ada, ben = (state.by_phone[phone].conversations[0] for phone in (ADA, BEN))
    ben.operator = "maria@acme.example"
    with DAG("conversations") as dag:
        WatiUpdateConversationStatusOperator(task_id="status", target=ADA, status="{{ 'sol' ~ 'ved' }}")
        WatiAssignConversationOperator(
            task_id="operator", target=ada.id, assignee_email="{{ 'li' }}@acme.example"
        )
        WatiAssignConversationOperator(task_id="bot", target=BEN, assignee_email=None)
        WatiUpdateConversationStatusOperator(task_id="pending", target=BEN, status="pending")
    results = results_of(run_dag(dag))
    assert (ada.status, ada.operator) == ("solved", "li@acme.example")
    assert (ben.status, ben.operator) == ("pending", None)
    assert results == {
        "status": {"status": "solved"},
        "operator": {"assignee_email": "li@acme.example"},
        "bot": {"assignee_email": None},
        "pending": {"status": "pending"},
    }


def test_templates_and_campaigns(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """A campaign is read, reported and cancelled."""
    client = sandbox.client()
    template_id = sandbox.control("GET", "/state")["templates"][0]["id"]
    wanted = [{"target": number, "params": PARAMS} for number in (ADA, NEW, "12025131026")]
    campaign_id = client.send_template_messages("order_update", "orders", wanted).campaign_id
    later = datetime.now(UTC) + timedelta(days=2)
    planned = client.schedule_template_messages("welcome", "later", [{"target": BEN}], later).campaign_id
    assert campaign_id is not None
    assert planned is not None
    sandbox.control("POST", "/clock", {"advance": 3600})
    of: dict[str, Any] = {"campaign_id": f"{{{{ '{campaign_id}' }}}}"}
    with DAG("campaigns") as dag:
        WatiGetTemplateOperator(task_id="by_id", template_id=template_id)
        WatiGetTemplateOperator(task_id="by_name", template_name="{{ 'ticket' }}_closed", channel="Support")
        WatiGetCampaignOperator(task_id="campaign", **of)
        WatiGetCampaignRecipientsOperator(task_id="in_result", **of)
        WatiGetCampaignRecipientsOperator(task_id="csv", **of, destination=f"{tmp_path}/{{{{ 'a' }}}}.csv")
        WatiGetCampaignRecipientsOperator(task_id="jsonl", **of, destination=f"file://{tmp_path}/a.jsonl")
        WatiCancelScheduledCampaignOperator(task_id="cancel", campaign_id=planned)
    results = results_of(run_dag(dag))
    assert (results["by_id"]["id"], results["by_id"]["name"]) == (template_id, "order_update")
    assert results["by_name"]["name"] == "ticket_closed"
    assert results["campaign"]["statistics"]["total_recipients"] == 3
    assert results["campaign"]["name"] == "orders"
    recipients = results["in_result"]["recipients"]
    assert {row["contact_phone"]: row["failed_code"] for row in recipients} == {
        f"+{ADA}": None,
        f"+{NEW}": None,
        "+12025131026": "131026",
    }
    for name in ("in_result", "csv", "jsonl"):
        assert results[name]["total"] == sum(results[name]["statuses"].values()) == 3
        assert results[name]["statuses"]["failed"] == 1
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == recipients
    assert [{name: value or None for name, value in row.items()} for row in table] == recipients
    assert sandbox.state.broadcasts[1].cancelled_at is not None
    assert results["cancel"] == {"campaign_id": planned}
    sandbox.control("POST", "/clock", {"advance": 3 * 86400})
    assert sandbox.texts_to(BEN) == []


def test_the_approved_one_of_several_templates_is_used(execute: Execute, sandbox: Sandbox) -> None:
    """Of several templates with one name, the approved one is used."""
    from dataclasses import replace

    first = sandbox.state.templates[0]
    sandbox.state.templates.insert(0, replace(first, number=90, status="REJECTED", language="de"))
    assert execute(WatiGetTemplateOperator(task_id="a", template_name="order_update"))["id"] == first.id
    first.status = "PENDING"
    assert execute(WatiGetTemplateOperator(task_id="a", template_name="order_update"))["status"] == "REJECTED"


def test_more_recipients_than_a_page_are_all_there(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Recipients are read over all pages."""
    wanted = [{"target": str(85264310000 + n)} for n in range(1001)]
    campaign_id = str(sandbox.client().send_template_messages("welcome", "all", wanted).campaign_id)
    operator = WatiGetCampaignRecipientsOperator(
        task_id="a", campaign_id=campaign_id, destination=f"{tmp_path}/a.csv"
    )
    assert execute(operator)["total"] == 1001
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1002
    operator = WatiGetCampaignRecipientsOperator(task_id="b", campaign_id=campaign_id)
    with pytest.raises(ValueError, match=r"has more than 1,000 recipients: give a destination"):
        execute(operator)


def test_schedules(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A schedule has the time of its argument, in each accepted form."""
    at = (datetime.now(timezone(timedelta(hours=8))) + timedelta(hours=5)).replace(microsecond=0)
    one: dict[str, Any] = {"template_name": "welcome", "recipients": {"target": NEW}}
    with DAG("schedules", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        WatiScheduleTemplateOperator(task_id="aware", **one, scheduled_at=at)
        WatiScheduleTemplateOperator(task_id="text", **one, scheduled_at=f"{{{{ '{at.isoformat()}' }}}}")
        WatiScheduleTemplateOperator(
            task_id="pendulum", **one, scheduled_at="{{ data_interval_end.add(hours=3) }}"
        )
        WatiScheduleTemplateOperator(task_id="naive", **one, scheduled_at=at.replace(tzinfo=None))
        WatiScheduleTemplateOperator(task_id="naive_text", **one, scheduled_at="2099-12-24T10:00:00")
        WatiScheduleTemplateOperator(task_id="past", **one, scheduled_at="2026-01-01T10:00:00+08:00")
    tis = run_dag(dag)
    assert [ti.task_id for ti in tis.values() if ti.state == "failed"] == ["naive", "naive_text", "past"]
    summaries = results_of({name: ti for name, ti in tis.items() if ti.state != "failed"})
    sent = {campaign.id: campaign for campaign in sandbox.state.broadcasts}
    starts = {name: sent[summary["campaigns"][0]["id"]].starts_at for name, summary in summaries.items()}
    interval_end = tis["pendulum"].dag_run.data_interval_end.timestamp()
    assert starts["aware"] == starts["text"] == at.timestamp()
    assert starts["pendulum"] == pytest.approx(interval_end + 3 * 3600, abs=1)
    assert len(sandbox.requests("POST")) == 3
    assert sandbox.texts_to(NEW) == []
    sandbox.control("POST", "/clock", {"advance": 5 * 3600 + 60})
    assert len(sandbox.texts_to(NEW)) == 3


def test_a_schedule_that_is_over_is_no_mistake_if_everybody_has_been_accepted(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A retry after the scheduled time is green when everybody was accepted."""
    soon = datetime.now(UTC) + timedelta(seconds=1.2)
    operator = WatiScheduleTemplateOperator(
        task_id="remind",
        template_name="welcome",
        recipients=[{"target": NEW}],
        scheduled_at=soon,
        send_key="k",
        state_path=str(tmp_path),
    )
    assert execute(operator)["accepted"] == 1
    while datetime.now(UTC) < soon:
        pass
    summary = execute(operator, try_number=2)
    assert (summary["accepted"], summary["calls"]) == (1, 0)
    operator.recipients = [{"target": NEW}, {"target": BEN}]
    with pytest.raises(ValueError, match="which is in the past"):
        execute(operator, try_number=3)
    assert len(sandbox.state.broadcasts) == 1


def test_chatbots(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A chatbot is started by id and by name."""
    with DAG("chatbots") as dag:
        WatiStartChatbotOperator(task_id="by_id", target=ADA, chatbot_id="65b7a1c2c4a7b0700000000{{ 1 }}")
        WatiStartChatbotOperator(task_id="by_name", target=DANA, chatbot_name="{{ 'Order' }} status bot")
    results = results_of(run_dag(dag))
    assert sandbox.texts_to(ADA) == [GREETING]
    assert sandbox.texts_to(DANA) == [ORDER_GREETING]
    assert results == {
        "by_id": {"chatbot_id": "65b7a1c2c4a7b07000000001"},
        "by_name": {"chatbot_id": "65b7a1c2c4a7b07000000002"},
    }


def test_mapped_tasks(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """Operators work with partial() and expand()."""
    photos = [customer_sends(sandbox, f"{n}.jpg", b"x" * n) for n in (1, 2)]
    with DAG("mapped") as dag:

        @task
        def people() -> list[dict[str, Any]]:
            return [
                {"target": ADA, "custom_params": {"tier": "a"}},
                {"target": BEN, "custom_params": {"tier": "b"}},
            ]

        WatiUpdateContactOperator.partial(task_id="update").expand_kwargs(people())
        WatiSendButtonsOperator.partial(task_id="ask", target=ADA, body="Which?").expand(
            buttons=[["One", "Two"], ["Three"]]
        )
        WatiGetMediaOperator.partial(task_id="fetch", destination=f"{tmp_path}/").expand(message_id=photos)
        WatiStartChatbotOperator.partial(task_id="bot", chatbot_name="Welcome bot").expand(
            target=[DANA, DANA]
        )
    results = results_of(run_dag(dag))
    assert len(results) == 9
    assert [(sandbox.state.by_phone[phone].custom_params or {})["tier"] for phone in (ADA, BEN)] == ["a", "b"]
    assert sorted(sandbox.texts_to(ADA)) == ["Which?\n[One]\n[Two]", "Which?\n[Three]"]
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {
        f"{message_id}_{n}.jpg": n for n, message_id in enumerate(photos, 1)
    }
    assert sandbox.texts_to(DANA) == [GREETING, GREETING]


def test_an_upstream_result_feeds_the_next_task(run_dag: RunDag, sandbox: Sandbox) -> None:
    """What one operator returns is what the next one needs, and templated arguments may be whole objects."""
    with DAG("chained", render_template_as_native_obj=True) as dag:
        contact = WatiGetContactOperator(task_id="contact", target=f"14155550100:{ADA}")

        @task
        def choose(contact: Any) -> dict[str, Any]:
            return {"teams": ["Billing"], "rows": [{"title": contact["name"]}]}

        chosen = choose(contact.output)
        WatiAssignTeamsOperator(
            task_id="teams",
            target="{{ ti.xcom_pull(task_ids='contact')['id'] }}",
            teams="{{ ti.xcom_pull(task_ids='choose')['teams'] }}",
        ).set_upstream(chosen)
        text = WatiSendTextOperator(task_id="text", target=f"14155550100:{ADA}", text="Hello")
        chosen >> text
        WatiSendListOperator(
            task_id="list",
            target="{{ ti.xcom_pull(task_ids='text')['conversation_id'] }}",
            body="Is it you?",
            button_text="Choose",
            sections=[{"rows": "{{ ti.xcom_pull(task_ids='choose')['rows'] }}"}],
        ).set_upstream(text)
    results_of(run_dag(dag))
    assert sandbox.state.by_phone[ADA].teams == ("Billing",)
    assert sandbox.texts_to(ADA) == ["Hello", "Is it you?\n[Choose]\n- Ada Wong"]


@pytest.mark.parametrize("answer", ["Yes", None])
def test_a_question_is_answered_in_the_test_of_a_dag(
    answer: str | None, run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``dag.test()`` runs the trigger in the process of the task, and hands nothing but its event to the task."""
    look = AnswerCondition.look

    def answer_later(condition: AnswerCondition, client: WatiClient, clock: Clock) -> Look:
        seen = look(condition, client, clock)
        if answer is not None:
            sandbox.control("POST", "/inbound", {"phone": ADA, "text": answer})
        return seen

    monkeypatch.setattr(AnswerCondition, "look", answer_later)
    with DAG("asks", schedule=None) as dag:
        WatiAskOperator.partial(
            task_id="ask",
            body="Shall we?",
            buttons=["Yes", "No"],
            answer_timeout=6,
            poke_interval=1,
            on_timeout="none",
            deferrable=True,
        ).expand(target=[ADA])
    ti = run_dag(dag)["ask[0]"]
    assert ti.state == "success"
    assert ti.xcom_pull(task_ids="ask", map_indexes=0)["answer"] == answer
    assert len([text for text in sandbox.texts_to(ADA) if "Shall we?" in text]) == 1
