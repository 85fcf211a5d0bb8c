"""The example DAGs: parsed as Airflow does, run by Airflow, and what they did to the sandbox."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from tests.conftest import Sandbox
    from tests.support.clock import SkippingClock

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "example_dags"
EXAMPLES = sorted(file.stem for file in FOLDER.glob("*.py"))
#: Those that messages of customers start.
LISTENING = ("wati_keyword_routing",)
ADA, BEN, CHITRA = "12025550143", "12025550144", "12025550145"

Run = Callable[..., dict[str, str]]


def dag_of(name: str) -> DAG:
    """Let Airflow's DAG processor read one file, in which there is one DAG of that name."""
    from tests.conftest import read_dags

    bag = read_dags(str(FOLDER / f"{name}.py"))
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert list(bag.dags) == [name]
    return bag.dags[name]


@pytest.fixture
def run_example(run_dag: Callable[[DAG], dict[str, Any]], send_state: None) -> Run:
    """Run an example with some of its parameters changed, on the connection of ``run_dag``; return the states."""
    from tests.conftest import write_to_database

    def run(name: str, /, **params: Any) -> dict[str, str]:
        dag = dag_of(name)
        assert params.keys() <= set(dag.params)
        write_to_database(dag)
        tis = dag.test(run_conf=params).get_task_instances()
        return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state for ti in tis}

    return run


def all_succeeded(states: dict[str, str]) -> bool:
    return set(states.values()) == {"success"}


def params_of(sandbox: Sandbox, phone: str) -> dict[str, str]:
    return sandbox.state.by_phone[phone].custom_params or {}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_parses_and_says_what_it_is(name: str) -> None:
    """Each example is one DAG with a description and tags, and parses without an error."""
    dag = dag_of(name)
    assert dag.tags == {"wati", "example"}
    assert dag.doc_md is not None
    assert len(dag.doc_md.strip().splitlines()[0]) > 30
    assert dag.catchup is False
    uri = getattr(dag.schedule, "uri", dag.schedule)
    assert uri == ("wati://wati_default/messages" if name in LISTENING else None)
    assert dag.task_ids


def loaded_by(names: Iterable[str], tmp_path: Path) -> set[str]:
    """The modules that parsing some examples loads, without sockets and without a database."""
    program = f"""
import runpy, socket, sys
import airflow.sdk
from airflow.sdk import DAG, ObjectStoragePath, Param, chain, dag, task

def refuse(*args, **kwargs):
    raise AssertionError("a DAG file opened a socket while it was parsed")

socket.socket = socket.create_connection = refuse
before = set(sys.modules)
for name in {list(names)}:
    runpy.run_path(f"{FOLDER}/{{name}}.py")
print(*sorted(set(sys.modules) - before))
"""
    environment = {
        **os.environ,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/missing/airflow.db",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_parsing_needs_no_network_no_database_and_no_http_library(tmp_path: Path) -> None:
    """An example is parsed without sockets, databases and the HTTP library."""
    loaded = loaded_by(sorted(set(EXAMPLES) - set(LISTENING)), tmp_path)
    assert "airflow_provider_wati.operators.messages" in loaded
    assert not {"requests", "urllib3", "sqlalchemy", "fastapi", "airflow_provider_wati.hooks.wati"} & loaded


def test_parsing_a_listening_example_needs_no_network_either(tmp_path: Path) -> None:
    """An example with a watcher has its trigger, which imports the hook's module, and nothing that is heavy."""
    loaded = loaded_by(LISTENING, tmp_path)
    assert "airflow_provider_wati.triggers.messages" in loaded
    assert not {"requests", "urllib3", "sqlalchemy", "fastapi"} & loaded


def test_add_contact(run_example: Run, sandbox: Sandbox) -> None:
    """The example creates a new contact, and leaves it alone in the second run."""
    new = "12025550190"
    assert new not in sandbox.state.by_phone
    assert all_succeeded(run_example("wati_add_contact"))
    contact = sandbox.state.by_phone[new]
    assert (contact.name, contact.custom_params) == ("Hana Sato", {"city": "Osaka"})

    assert run_example("wati_add_contact", name="Somebody Else") == {
        "look_up": "success",
        "is_new": "success",
        "create_contact": "skipped",
    }
    assert sandbox.state.by_phone[new].name == "Hana Sato"


def test_sync_contacts(
    run_example: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example syncs its contacts, and writes nothing in the second run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        assert all_succeeded(run_example("wati_sync_contacts"))
    assert sandbox.state.by_phone["12025550192"].custom_params == {"order_count": "1"}
    assert (sandbox.state.by_phone["12025550143"].custom_params or {})["loyalty_tier"] == "gold"
    assert len([call for call in sandbox.requests() if call.startswith(("POST", "PUT"))]) == 2


def test_welcome_lead(run_example: Run, sandbox: Sandbox) -> None:
    """A new lead becomes a contact and gets the template."""
    new = "12025550191"
    assert run_example("wati_welcome_lead") == {
        "upsert_contact": "success",
        "choose_message": "success",
        "send_welcome": "success",
        "send_text": "skipped",
    }
    contact = sandbox.state.by_phone[new]
    assert (contact.name, contact.custom_params) == ("Ivo Novak", {"source": "web form"})
    assert len(sandbox.texts_to(new)) == 1
    assert sandbox.texts_to(new)[0].startswith("Welcome to Acme Store!")

    # The same lead through another form: one contact, brought up to date.
    assert run_example("wati_welcome_lead", source="fair")["send_welcome"] == "success"
    assert params_of(sandbox, new) == {"source": "fair"}
    assert [contact["wa_id"] for contact in sandbox.client().iter_contacts()].count(new) == 1


def test_welcome_lead_who_has_written(run_example: Run, sandbox: Sandbox) -> None:
    """A lead who wrote within 24 hours gets a text."""
    states = run_example("wati_welcome_lead", phone=ADA, name="Ada Wong", has_written=True)
    assert (states["send_text"], states["send_welcome"]) == ("success", "skipped")
    assert params_of(sandbox, ADA) == {"tier": "gold", "city": "Hong Kong", "source": "web form"}
    [text] = [text for text in sandbox.texts_to(ADA) if text.startswith("Hi Ada Wong, thank you")]
    assert "Welcome to Acme" not in " ".join(sandbox.texts_to(ADA))


def test_order_updates(
    run_example: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each run, each customer of the database gets a message about their own order."""
    from scripts.demo import ORDERS, PHONES, write_orders

    write_orders(tmp_path / "shop.db")
    monkeypatch.setenv("WATI_DEMO_DATABASE", str(tmp_path / "shop.db"))
    for times in (1, 2):
        assert all_succeeded(run_example("wati_order_updates"))
        orders = list(zip(PHONES, ORDERS, strict=True))
        # The first customer has an old order too, which this example does not know to be one.
        for phone, (order_id, _, name, status) in orders[1:]:
            assert sandbox.texts_to(phone) == [f"Hi {name}, your order {order_id} is {status}."] * times
            assert sandbox.state.by_phone[phone].name == name
            assert params_of(sandbox, phone) == {"last_order": order_id}
    today = datetime.now(UTC).date()
    assert all(f" order updates {today}" in broadcast.name for broadcast in sandbox.state.broadcasts[1:])


def test_route_vip(run_example: Run, sandbox: Sandbox) -> None:
    """VIP customers get the attribute and the team."""
    for _ in range(2):
        states = run_example("wati_route_vip")
        assert all_succeeded(states)
        assert len([task_id for task_id in states if task_id.startswith("assign_team[")]) == 2
        for phone in (ADA, CHITRA):
            assert params_of(sandbox, phone)["tier"] == "vip"
            assert tuple(sandbox.state.by_phone[phone].teams) == ("Billing",)
        assert params_of(sandbox, BEN) == {"tier": "silver", "city": "Lagos"}
        assert tuple(sandbox.state.by_phone[BEN].teams) == ()


def test_route_vip_with_nobody_to_route(run_example: Run, sandbox: Sandbox) -> None:
    """Without VIP customers, the mapped tasks are skipped."""
    states = run_example("wati_route_vip", minimum_spent=1_000_000)
    assert (states["mark_as_vip"], states["assign_team"]) == ("skipped", "skipped")
    assert sandbox.requests("PUT") == []


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the next runs be started by asset events: one event for each list of messages."""
    from airflow.models import dagrun
    from airflow.models.asset import AssetEvent, AssetModel

    create = dagrun.get_or_create_dagrun

    def say(*events: list[dict[str, Any]], uri: str = "wati://wati_default/messages") -> None:
        def with_events(*arguments: Any, session: Any, **options: Any) -> Any:
            run = create(*arguments, session=session, **options)
            asset = session.query(AssetModel).filter_by(uri=uri).one()
            for messages in events:
                event = AssetEvent(asset_id=asset.id, extra={"messages": messages})
                event.created_dagruns.append(run)
                session.add(event)
            session.commit()
            return run

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", with_events)

    return say


def inbound(id: str, phone: str | None, text: str | None) -> dict[str, Any]:
    """A message of a customer as it stands in an asset event; one with a later letter came later."""
    from airflow_provider_wati.listening.types import InboundMessage

    message = dict.fromkeys(InboundMessage.__annotations__)
    created = f"2026-11-26T09:30:0{'abcdef'.index(id)}.000000Z"
    return {**message, "id": id, "phone_number": phone, "text": text, "type": "text", "created": created}


def test_keyword_routing(
    run_example: Run,
    sandbox: Sandbox,
    happened: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A customer who writes a keyword is given to its team, once, by the last keyword; messages of earlier runs are dropped."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    first = [
        inbound("a", ADA, "I need an INVOICE!"),
        inbound("b", BEN, "The invoices came"),
        inbound("c", None, "refund"),
        inbound("e", CHITRA, "So a refund, please"),
    ]
    happened(first, [inbound("d", CHITRA, "It is damaged"), first[0]])
    states = run_example("wati_keyword_routing")
    assert all_succeeded(states)
    assert len([task_id for task_id in states if task_id.startswith("assign_team[")]) == 2
    assert tuple(sandbox.state.by_phone[ADA].teams) == ("Billing",)
    assert tuple(sandbox.state.by_phone[BEN].teams) == ()
    assert tuple(sandbox.state.by_phone[CHITRA].teams) == ("Billing",)

    # The same messages again, and a new one: only that is acted on.
    sandbox.control("DELETE", "/requests")
    happened([*first, inbound("f", BEN, "What is the price?")])
    assert all_succeeded(run_example("wati_keyword_routing"))
    assert tuple(sandbox.state.by_phone[BEN].teams) == ("Sales",)
    assert len(sandbox.requests("PUT")) == 1


def test_keyword_routing_without_a_keyword(
    run_example: Run,
    sandbox: Sandbox,
    happened: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Without a keyword, or in a run that nobody's message has started, nobody is assigned."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    assert run_example("wati_keyword_routing") == {"choose_teams": "success", "assign_team": "skipped"}
    happened([inbound("a", ADA, "Hello"), inbound("b", BEN, None)])
    assert run_example("wati_keyword_routing") == {"choose_teams": "success", "assign_team": "skipped"}
    assert sandbox.requests("PUT") == []


def test_helpdesk_escalates_and_resolves(run_example: Run, sandbox: Sandbox) -> None:
    """An escalated ticket is assigned to a person, a resolved one is closed."""
    [conversation] = sandbox.state.by_phone[BEN].conversations
    before = sandbox.texts_to(BEN)
    for _ in range(2):
        states = run_example("wati_helpdesk")
        assert (states["set_pending"], states["set_solved"]) == ("success", "skipped")
        assert (conversation.operator, conversation.status) == ("li@acme.example", "pending")
        assert sandbox.texts_to(BEN) == before

    states = run_example("wati_helpdesk", event="resolved")
    assert (states["set_pending"], states["set_solved"]) == ("skipped", "success")
    assert conversation.status == "solved"
    [text] = sandbox.texts_to(BEN)[len(before) :]
    assert text.startswith("Your ticket T-17 is resolved.")


def test_rich_messages(run_example: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """The example sends files, buttons and a list, fetches a file, and starts the chatbot; it can be run again."""
    before = len(sandbox.messages_to(ADA))
    assert all_succeeded(run_example("wati_rich_messages", directory=str(tmp_path)))
    catalogue, receipt, *interactive, greeting = sandbox.messages_to(ADA)[before:]
    assert (catalogue["type"], catalogue["text"]) == ("document", "Our catalogue")
    assert (receipt["type"], receipt["text"]) == ("document", "Your receipt")
    assert [message["type"] for message in interactive] == ["interactive", "interactive"]
    assert "Shall we deliver today?" in interactive[0]["text"]
    assert "When is the best time?" in interactive[1]["text"]
    assert greeting["text"] == "Please send us your order number."
    [fetched] = (tmp_path / "fetched").iterdir()
    assert fetched.name.endswith("_receipt-1001.txt")
    assert fetched.read_text() == "Order 1001, paid\n"

    assert all_succeeded(run_example("wati_rich_messages", directory=f"file://{tmp_path}"))
    assert len(sandbox.messages_to(ADA)) == before + 10


def test_reminder_called_off(run_example: Run, sandbox: Sandbox) -> None:
    """The scheduled campaign is cancelled when the appointment is called off."""
    for times in (1, 2):
        assert all_succeeded(run_example("wati_reminder"))
        assert len(sandbox.state.broadcasts) == times
        broadcast = sandbox.state.broadcasts[-1]
        assert broadcast.scheduled
        assert broadcast.cancelled_at is not None
    sandbox.control("POST", "/clock", {"advance": timedelta(hours=25).total_seconds()})
    assert sandbox.state.sent_per_phone("reminder") == {}


def test_reminder_that_is_kept(run_example: Run, sandbox: Sandbox) -> None:
    """The scheduled campaign stays when the appointment is kept."""
    states = run_example("wati_reminder", called_off=False, hours=2)
    assert (states["get_campaign"], states["cancel_campaign"]) == ("success", "skipped")
    [broadcast] = sandbox.state.broadcasts
    in_two_hours = datetime.now(UTC).timestamp() + timedelta(hours=2).total_seconds()
    assert abs(broadcast.starts_at - in_two_hours) < 120
    assert sandbox.state.sent_per_phone("reminder") == {}
    sandbox.control("POST", "/clock", {"advance": timedelta(hours=3).total_seconds()})
    assert sandbox.state.sent_per_phone("reminder") == {CHITRA: 1}
    assert "Hi Chitra, your order 1001 is ready to be picked up." in sandbox.texts_to(CHITRA)


def test_reminder_without_an_approved_template(run_example: Run, sandbox: Sandbox) -> None:
    """Without an approved template, nothing is scheduled."""
    sandbox.control("PUT", "/templates/order_update", {"status": "PENDING"})
    assert run_example("wati_reminder")["schedule_reminder"] == "skipped"
    assert sandbox.state.broadcasts == []


def test_campaign_report(run_example: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """One edition is sent once, and the report has every recipient."""
    subscribers = {ADA, BEN, CHITRA}
    assert all_succeeded(run_example("wati_campaign_report", directory=str(tmp_path)))
    assert sandbox.state.sent_per_phone("newsletter") == dict.fromkeys(subscribers, 1)
    assert report_of(tmp_path / "newsletter-spring.csv").keys() == subscribers

    # The same edition again: nobody is messaged twice, and the report says how it stands now.
    sandbox.control("POST", "/clock", {"advance": 60})
    assert all_succeeded(run_example("wati_campaign_report", directory=str(tmp_path)))
    assert sandbox.state.sent_per_phone("newsletter") == dict.fromkeys(subscribers, 1)
    assert set(report_of(tmp_path / "newsletter-spring.csv").values()) <= {"delivered", "read"}

    assert all_succeeded(run_example("wati_campaign_report", directory=str(tmp_path), edition="summer"))
    assert sandbox.state.sent_per_phone("newsletter") == dict.fromkeys(subscribers, 2)


def test_wait(run_example: Run, sandbox: Sandbox) -> None:
    """The example sends, waits until the messages are delivered, and finds the reply of a customer."""
    # An hour ahead, so that what is written before the run counts as written after its start.
    sandbox.control("POST", "/clock", {"advance": 3600, "speed": 1000})
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Yes, I come"})
    assert all_succeeded(run_example("wati_wait"))
    assert sandbox.state.sent_per_phone("invitation") == dict.fromkeys((ADA, BEN, CHITRA), 1)


def test_wait_fails_when_messages_fail(run_example: Run, sandbox: Sandbox) -> None:
    """Messages that are accepted and fail later make the sensor fail, although the send succeeded."""
    sandbox.control("POST", "/clock", {"speed": 1000})
    states = run_example("wati_wait", phones=[ADA, "12025131026"])
    assert (states["send"], states["wait_for_delivery"]) == ("success", "failed")
    assert states["wait_for_reply"] == "upstream_failed"


@pytest.fixture
def answers(sandbox: Sandbox, at_once: SkippingClock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what the person answers as soon as a question is there; None for nobody in the given time."""
    from airflow_provider_wati.operators.messages import WatiAskOperator

    send = WatiAskOperator.send

    def say(answer: str | None) -> None:
        def asked(self: WatiAskOperator, *arguments: Any) -> Any:
            message = send(self, *arguments)
            if answer is None:
                at_once.sleep(timedelta(days=1).total_seconds())
            else:
                sandbox.control("POST", "/inbound", {"phone": ADA, "text": answer, "type": "interactive"})
            return message

        monkeypatch.setattr(WatiAskOperator, "send", asked)

    return say


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [("Today 1001", "deliver_today"), ("Later 1001", "agree_on_a_day"), (None, "deliver_tomorrow")],
)
def test_ask(
    answer: str | None, chosen: str, run_example: Run, sandbox: Sandbox, answers: Callable[..., None]
) -> None:
    """The example asks once, and the branch of the answer runs, or that of nobody's answer."""
    before = sandbox.texts_to(ADA)
    answers(answer)
    states = run_example("wati_ask")
    branches = ("deliver_today", "agree_on_a_day", "deliver_tomorrow")
    assert {name: states[name] for name in branches} == {
        name: "success" if name == chosen else "skipped" for name in branches
    }
    question, *others = sandbox.texts_to(ADA)[len(before) :]
    assert question == "May we deliver order 1001 today?\n[Today 1001]\n[Later 1001]"
    assert len(others) == (chosen == "agree_on_a_day")


@pytest.mark.parametrize(
    ("answer", "sent"),
    [("Approve spring", "success"), ("Reject spring", "skipped"), (None, "upstream_failed")],
)
def test_approval(
    answer: str | None, sent: str, run_example: Run, sandbox: Sandbox, answers: Callable[..., None]
) -> None:
    """The campaign goes out if it is approved, and only then."""
    answers(answer)
    states = run_example("wati_approval")
    assert (states["ask"], states["send"]) == ("failed" if answer is None else "success", sent)
    expected = dict.fromkeys((BEN, CHITRA), 1) if sent == "success" else {}
    assert sandbox.state.sent_per_phone("spring") == expected


def test_resend_failed(run_example: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """The second send reaches the people whose rows failed in the first one."""
    sandbox.fault("recipient_errors", path="*/messageTemplates/send", numbers=[CHITRA], count=1)
    assert all_succeeded(run_example("wati_resend_failed", directory=str(tmp_path)))
    # Chitra was refused the first time, Ben's number was too short.
    [[ada], [ben], [chitra]] = map(sandbox.texts_to, (ADA, BEN, CHITRA))
    assert "order 1001" in ada
    assert "order 1002" in ben
    assert "order 1003" in chitra
    [first] = tmp_path.glob("*/outcomes.csv")
    [second] = tmp_path.glob("*/outcomes-2.csv")
    assert statuses_of(first) == {"1001": "accepted", "1002": "invalid", "1003": "rejected"}
    assert statuses_of(second) == {"1002": "accepted", "1003": "accepted"}


def test_resend_undelivered(run_example: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """Only the person whose message failed gets the other template, also when tasks run again."""
    fails = "12025131026"
    sandbox.control("POST", "/clock", {"speed": 1000})
    assert all_succeeded(run_example("wati_resend_undelivered", directory=str(tmp_path)))
    assert sandbox.state.sent_per_phone("order_update") == dict.fromkeys((ADA, BEN, fails), 1)
    assert sandbox.state.sent_per_phone("welcome") == {fails: 1}
    [deliveries] = tmp_path.glob("*/deliveries.csv")
    with deliveries.open(newline="") as file:
        story = {row["key"]: (row["status"], row["failed_code"]) for row in csv.DictReader(file)}
    assert story == {"1001": ("accepted", ""), "1002": ("accepted", ""), "1003": ("accepted", "131026")}


def test_messages_under_way_are_not_resent(
    run_example: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the wait is over before anything is delivered or failed, nobody gets the other template."""
    from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor

    sandbox.control("POST", "/clock", {"frozen": True})
    monkeypatch.setattr(WatiCampaignSensor, "_condition", _finished)
    states = run_example("wati_resend_undelivered", directory=str(tmp_path))
    assert states["read_deliveries"] == "success"
    assert sandbox.state.sent_per_phone("order_update") == dict.fromkeys((ADA, BEN, "12025131026"), 1)
    assert sandbox.state.sent_per_phone("welcome") == {}


def _finished(sensor: Any, context: Any) -> Any:
    """Return a condition that holds at once."""
    from airflow_provider_wati.waiting.condition import Look, Verdict

    return SimpleNamespace(look=lambda *_: Look(Verdict.DONE, "The wait is over."), unseen=dict)


def test_nothing_is_resent_when_the_first_send_failed(
    run_example: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    """When the first send fails, the second one does not run, and the outcomes say why."""
    sandbox.fault("status", status=400, path="*/messageTemplates/send")
    states = run_example("wati_resend_failed", directory=str(tmp_path))
    assert (states["send_updates"], states["send_to_failed"]) == ("failed", "upstream_failed")
    [outcomes] = tmp_path.glob("*/outcomes.csv")
    assert statuses_of(outcomes) == {"1001": "rejected", "1002": "invalid", "1003": "rejected"}


def test_sharded_send(run_example: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """Everybody in the table is messaged once, and the outcomes of the shards are those of the table."""
    states = run_example("wati_sharded_send", directory=str(tmp_path))
    assert all_succeeded(states)
    assert sum(name.startswith("send[") for name in states) == 8
    for phone, name, order_id in ((ADA, "Ada", "1001"), (BEN, "Ben", "1002"), (CHITRA, "Chitra", "1003")):
        assert sandbox.texts_to(phone)[-1:] == [f"Hi {name}, your order {order_id} is on its way."]
    outcomes = []
    for file in tmp_path.glob("*/outcomes-*.csv"):
        with file.open(newline="") as lines:
            outcomes += [(row["row"], row["target"], row["status"]) for row in csv.DictReader(lines)]
    assert sorted(outcomes) == [("1", ADA, "accepted"), ("2", BEN, "accepted"), ("3", CHITRA, "accepted")]


def test_alerts(run_example: Run, sandbox: Sandbox) -> None:
    """A run that succeeds alerts nobody; one that breaks sends one text about the task and one template about the run."""
    before = {phone: sandbox.texts_to(phone) for phone in (ADA, BEN)}
    assert all_succeeded(run_example("wati_alerts"))
    assert sandbox.texts_to(ADA) == [*before[ADA], "Your report is ready."]
    assert sandbox.texts_to(BEN) == before[BEN]

    states = run_example("wati_alerts", breaks=True)
    assert states == {"load": "failed", "tell_customer": "upstream_failed"}
    of_the_task, of_the_run = sandbox.texts_to(ADA)[len(before[ADA]) + 1 :]
    assert of_the_task.startswith("Airflow: task failed\nDAG: wati_alerts\nTask: load\nRun: ")
    assert of_the_run == "Hi team, your order wati_alerts is task_failure."
    assert sandbox.texts_to(BEN) == [*before[BEN], of_the_run]


def test_to_warehouse(
    run_example: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example fills tables and files, and the second run brings a reply and an opt-out."""
    warehouse = tmp_path / "warehouse.db"
    connection = {"conn_type": "sqlite", "host": str(warehouse)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    people = [{"phone_number": phone} for phone in (ADA, BEN, CHITRA, "12025131026")]
    sandbox.client().send_template_messages("welcome", "spring", people)
    sandbox.control("POST", "/clock", {"advance": 3600})
    assert all_succeeded(run_example("wati_to_warehouse", directory=str(tmp_path / "lake")))

    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "STOP"})
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": ADA, "allow_broadcast": False}]})
    assert all_succeeded(run_example("wati_to_warehouse", directory=str(tmp_path / "lake")))
    suppressed, funnel = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/warehouse.md").read_text(), re.DOTALL)
    with closing(sqlite3.connect(warehouse)) as database:
        assert (ADA,) in database.execute(suppressed).fetchall()
        [(name, recipients, sent, delivered, read, replied, failed)] = database.execute(funnel)
        assert (name, recipients, replied, failed) == ("spring", 4, 1, 1)
        assert sent == delivered >= read >= replied
        assert ("STOP",) in database.execute("SELECT text FROM wati_messages").fetchall()
    for kind in ("contacts", "messages", "recipients"):
        assert len(list((tmp_path / "lake" / kind).iterdir())) == 2


def test_a_webhook_is_subscribed_once(
    run_example: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs leave one subscription, to the receiver of the connection."""
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"] = {"webhook_secret": "secret-of-the-example-0123"}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", "http://localhost:8080")
    for _ in range(2):
        assert all_succeeded(run_example("wati_subscribe_webhook"))
    urls = [webhook.url for webhook in sandbox.state.webhooks if webhook.status == "Enabled"]
    assert urls == ["http://localhost:8080/wati/webhooks/wati_default/secret-of-the-example-0123"]


def statuses_of(file: Path) -> dict[str, str]:
    with file.open(newline="") as table:
        return {row["key"]: row["status"] for row in csv.DictReader(table)}


def report_of(file: Path) -> dict[str, str]:
    with file.open(newline="") as table:
        return {row["contact_phone"].lstrip("+"): row["status"].lower() for row in csv.DictReader(table)}
