"""WatiSendTemplateOperator with its forms of recipients, and lost answers of single sends, in real Airflow."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.operators.contacts import WatiCreateContactOperator
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from tests.support.tasks import rendered_fields

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA, NEW, OTHER = "12025550143", "85264318721", "85264318722"
PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}

RunDag = Callable[[DAG], dict[str, Any]]


def xcom(ti: Any) -> Any:
    return ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)


def test_the_main_job(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A send with mixed rows accounts for each of them and reaches the right people."""
    with DAG("main_job") as dag:
        create = WatiCreateContactOperator(
            task_id="create", phone_number=NEW, name="{{ 'Bob ' ~ 'Li' }}", custom_params={"tier": "gold"}
        )
        text = WatiSendTextOperator(task_id="text", target=ADA, text="Run {{ run_id }}")
        template = WatiSendTemplateOperator(
            task_id="template",
            template_name="order_update",
            recipients={"phone_number": NEW, "params": PARAMS},
        )
        create >> text >> template
    tis = run_dag(dag)
    assert {name: ti.state for name, ti in tis.items()} == dict.fromkeys(
        ("create", "text", "template"), "success"
    )
    contact = sandbox.client().get_contact(NEW)
    assert (contact["name"], contact["custom_params"]) == ("Bob Li", [{"name": "tier", "value": "gold"}])
    assert f"Run {tis['text'].run_id}" in sandbox.texts_to(ADA)
    assert sandbox.texts_to(NEW) == ["Hi Ada, your order 1001 is packed."]
    assert xcom(tis["create"])["id"] == contact["id"]
    assert set(xcom(tis["text"])) == {"id", "conversation_id", "local_message_id", "status", "created"}
    summary = xcom(tis["template"])
    assert (summary["total"], summary["accepted"], summary["rejected"]) == (1, 1, 0)
    assert summary["campaigns"][0]["id"] == next(iter(sandbox.client().iter_campaigns()))["id"]


@pytest.mark.parametrize("form", ["list", "json list", "json dict", "dict"])
def test_recipients_in_all_their_forms(form: str, run_dag: RunDag, sandbox: Sandbox) -> None:
    """Recipients may be dicts, lists, JSON, and WATI's own form."""
    one = {"target": NEW, "params": PARAMS}
    two = [
        one,
        {"phone_number": OTHER, "custom_params": [{"name": k, "value": v} for k, v in PARAMS.items()]},
    ]
    given = {"list": two, "json list": json.dumps(two), "json dict": json.dumps(one), "dict": one}[form]
    with DAG("forms") as dag:
        WatiSendTemplateOperator(task_id="template", template_name="order_update", recipients=given)
    assert run_dag(dag)["template"].state == "success"
    assert len(sandbox.texts_to(NEW)) == 1
    assert len(sandbox.texts_to(OTHER)) == ("list" in form)


def test_mapped_tasks_and_upstream_output(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Recipients come from an upstream task, and mapped tasks are sends of their own."""
    with DAG("mapped") as dag:

        @task
        def people() -> list[dict[str, Any]]:
            return [{"phone_number": number, "params": PARAMS} for number in (NEW, OTHER)]

        @task
        def chunks() -> list[list[dict[str, Any]]]:
            return [[{"phone_number": ADA, "params": PARAMS}], [{"phone_number": NEW, "params": PARAMS}]]

        WatiSendTemplateOperator(task_id="whole", template_name="order_update", recipients=people())
        WatiSendTemplateOperator.partial(task_id="chunk", template_name="order_update").expand(
            recipients=chunks()
        )
    tis = run_dag(dag)
    assert {ti.state for ti in tis.values()} == {"success"}
    assert [len(sandbox.texts_to(number)) for number in (NEW, OTHER)] == [2, 1]
    assert len({xcom(tis[f"chunk[{n}]"])["send_key"] for n in (0, 1)}) == 2


def test_what_airflow_stores_shows_no_people_and_no_token(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Rendered fields and XComs of a send have no phone numbers and no token."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with DAG("stored_recipients") as dag:

        @task(multiple_outputs=False)
        def people() -> list[dict[str, Any]]:
            return [{"phone_number": NEW, "params": PARAMS}]

        recipients = people()
        WatiSendTemplateOperator(task_id="plain", template_name="order_update", recipients=recipients)
        WatiSendTemplateOperator.partial(task_id="mapped", template_name="order_update").expand(
            recipients=[json.dumps({"target": OTHER, "params": PARAMS})]
        )
    run_dag(dag)
    rendered = rendered_fields("stored_recipients")
    with create_session() as session:
        xcoms = [
            str(row.value)
            for row in session.query(XComModel).filter_by(dag_id="stored_recipients")
            if row.task_id != "people"
        ]
    assert rendered["plain"]["recipients"] == "<1 rows, not shown>"
    assert rendered["mapped"]["recipients"].startswith("<text of ")
    assert len(xcoms) == 2
    for stored in (*map(str, rendered.values()), *xcoms):
        assert NEW not in stored
        assert OTHER not in stored
        assert sandbox.token not in stored


@pytest.mark.parametrize(
    ("recipients", "says"),
    [("{not json", "not JSON"), ("7", "not JSON"), (7, "not int"), ("people", "not JSON")],
)
def test_recipients_of_another_type_are_refused(
    recipients: Any, says: str, run_dag: RunDag, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything but recipients fails the task before the first call."""
    with DAG("no_recipients") as dag:
        WatiSendTemplateOperator(task_id="template", template_name="order_update", recipients=recipients)
    assert run_dag(dag)["template"].state == "failed"
    assert says in capsys.readouterr().out
    assert sandbox.requests("POST") == []


@pytest.mark.parametrize("recipients", [[], "[]", ()])
def test_an_empty_list_of_recipients_is_green(recipients: Any, run_dag: RunDag, sandbox: Sandbox) -> None:
    """Without recipients, the task is green and makes no call."""
    with DAG("nobody") as dag:
        WatiSendTemplateOperator(task_id="template", template_name="order_update", recipients=recipients)
    ti = run_dag(dag)["template"]
    assert ti.state == "success"
    assert (xcom(ti)["total"], xcom(ti)["calls"], xcom(ti)["campaigns"]) == (0, 0, [])
    assert sandbox.requests("POST") == []


BAD = {
    "no target": ({"params": PARAMS}, "there is no phone number"),
    "no parameters": ({"target": NEW}, "parameter 'name' is missing, and 2 more"),
    "too short": ({"target": "+1 202", "params": PARAMS}, "too short for country code 1"),
    "a float": ({"target": 85264318721.0, "params": PARAMS}, "is a float and may have lost digits"),
    "float residue": ({"target": "9876543210.0", "params": PARAMS}, "was a float and may have lost digits"),
    "an empty parameter": ({"target": NEW, "params": {**PARAMS, "name": " "}}, "parameter 'name' is empty"),
    "NULL": ({"target": NEW, "params": {**PARAMS, "name": None}}, "parameter 'name' is NULL"),
    "a line break": ({"target": NEW, "params": {**PARAMS, "name": "A\nB"}}, "has a line break, a tab or"),
    "a run of spaces": ({"target": NEW, "params": {**PARAMS, "name": "A     B"}}, "more than four spaces"),
    "a misspelt entry": ({"target": NEW, "parameters": PARAMS}, "a recipient has no parameters; it has"),
    "two targets": ({"target": NEW, "phone_number": NEW, "params": PARAMS}, "both target and phone_number"),
    "no dict": (NEW, "a recipient is a dict, not str"),
}


def test_a_bad_row_is_invalid_and_the_others_go_out(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A recipient with an error is invalid, with the reason, and stops nobody else."""
    good = {"target": OTHER, "params": PARAMS}
    with DAG("bad") as dag:
        for n, (bad, _) in enumerate(BAD.values()):
            WatiSendTemplateOperator(
                task_id=f"t{n}", template_name="order_update", recipients=[bad, good], failure_threshold=0.5
            )
        WatiSendTemplateOperator(task_id="strict", template_name="order_update", recipients=[bad, good])
        WatiSendTemplateOperator(
            task_id="alone", template_name="order_update", recipients=[bad], failure_threshold=1
        )
    tis = run_dag(dag)
    assert {name for name, ti in tis.items() if ti.state != "success"} == {"strict", "alone"}
    for n, (_, says) in enumerate(BAD.values()):
        summary = xcom(tis[f"t{n}"])
        assert (summary["total"], summary["accepted"], summary["invalid"]) == (2, 1, 1)
        [problem] = summary["problems"]
        assert (problem["row"], problem["status"]) == (1, "invalid")
        assert says in problem["reason"]
        assert NEW not in str(summary)
    assert (xcom(tis["strict"])["accepted"], xcom(tis["strict"])["invalid"]) == (1, 1)
    assert (xcom(tis["alone"])["total"], xcom(tis["alone"])["invalid"]) == (1, 1)
    assert sandbox.texts_to(NEW) == []
    assert len(sandbox.texts_to(OTHER)) == len(BAD) + 1


def test_a_person_in_two_rows_is_messaged_once(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Without a key, the second row of a person is skipped."""

    def to(number: str, order: str, **more: str) -> dict[str, Any]:
        return {"target": number, "params": {**PARAMS, "order_id": order}, **more}

    rows = [to(NEW, "1"), to(OTHER, "2"), to(f"+{NEW}", "3")]
    with DAG("twice") as dag:
        WatiSendTemplateOperator(task_id="once", template_name="order_update", recipients=rows)
        WatiSendTemplateOperator(
            task_id="by_order",
            template_name="order_update",
            recipients=[{**row, "key": row["params"]["order_id"]} for row in rows],
        )
        WatiSendTemplateOperator(
            task_id="own_key",
            template_name="order_update",
            recipients=[to(NEW, "4", key="a"), to(NEW, "5", key="b"), to(NEW, "6", key="a")],
        )
    tis = run_dag(dag)
    counts = {name: [xcom(ti)[status] for status in ("accepted", "skipped")] for name, ti in tis.items()}
    assert counts == {"once": [2, 1], "by_order": [3, 0], "own_key": [2, 1]}
    orders = sorted(text.split()[4] for text in sandbox.texts_to(NEW))
    assert orders == ["1", "1", "3", "4", "5"]


def test_a_refused_recipient_fails_the_task_and_keeps_the_summary(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A recipient that WATI refuses fails the task, and its summary is pushed."""
    sandbox.fault("recipient_errors", numbers=[NEW])
    with DAG("some_refused") as dag:
        WatiSendTemplateOperator(
            task_id="template",
            template_name="order_update",
            recipients=[{"target": NEW, "params": PARAMS}, {"target": OTHER, "params": PARAMS}],
        )
    ti = run_dag(dag)["template"]
    assert ti.state == "failed"
    summary = xcom(ti)
    assert (summary["total"], summary["accepted"], summary["rejected"]) == (2, 1, 1)
    assert summary["problems"][0]["row"] == 1
    assert summary["problems"][0]["target"] == "*******8721"
    assert (len(sandbox.texts_to(NEW)), len(sandbox.texts_to(OTHER))) == (0, 1)


LOST: dict[str, dict[str, Any]] = {
    "dropped after the effect": {"kind": "drop", "when": "after", "count": 1},
    "dropped before the effect": {"kind": "drop", "when": "before", "count": 1},
    "500 after the effect": {"kind": "status", "status": 500, "when": "after", "count": 1},
    "500 before the effect": {"kind": "status", "status": 500, "when": "before", "count": 1},
    "garbage after the effect": {"kind": "garbage", "when": "after", "count": 1},
    "no answer in time": {"kind": "delay", "when": "after", "seconds": 3, "count": 1},
}
AGAIN: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}


@pytest.mark.usefixtures("send_state")
@pytest.mark.parametrize("lost", LOST)
def test_a_text_whose_answer_was_lost_goes_out_once(
    lost: str, run_dag: RunDag, sandbox: Sandbox, at_once: None
) -> None:
    """After a lost answer, the second attempt finds the text and does not send it again."""
    sandbox.fault(method="POST", **LOST[lost])
    with DAG("lost_text") as dag:
        WatiSendTextOperator(task_id="text", target=ADA, text="Your parcel is on its way", **AGAIN)
    ti = run_dag(dag)["text"]
    assert (ti.state, ti.try_number) == ("success", 2)
    assert sandbox.texts_to(ADA).count("Your parcel is on its way") == 1
    [sent] = [m for m in sandbox.client().iter_messages(ADA) if m.get("text") == "Your parcel is on its way"]
    assert xcom(ti)["id"] == sent["id"]


@pytest.mark.usefixtures("send_state")
@pytest.mark.parametrize("lost", LOST)
def test_a_contact_whose_answer_was_lost_is_created_once(
    lost: str, run_dag: RunDag, sandbox: Sandbox
) -> None:
    """After a lost answer, the second attempt finds the contact."""
    sandbox.fault(method="POST", **LOST[lost])
    with DAG("lost_contact") as dag:
        WatiCreateContactOperator(task_id="create", phone_number=NEW, name="Bob", **AGAIN)
    ti = run_dag(dag)["create"]
    assert (ti.state, ti.try_number) == ("success", 2)
    assert [contact["wa_id"] for contact in sandbox.client().iter_contacts()].count(NEW) == 1


@pytest.mark.usefixtures("send_state")
@pytest.mark.parametrize("lost", LOST)
def test_templates_whose_answer_was_lost_go_out_once(
    lost: str, run_dag: RunDag, sandbox: Sandbox, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost answer, the campaign is found and its people are not messaged again."""
    sandbox.fault(method="POST", **LOST[lost])
    with DAG("lost_template") as dag:
        WatiSendTemplateOperator(
            task_id="template",
            template_name="order_update",
            recipients=[{"target": number, "params": PARAMS} for number in (NEW, OTHER)],
            **AGAIN,
        )
    ti = run_dag(dag)["template"]
    # The try that lost the answer finds out itself.
    assert (ti.state, ti.try_number) == ("success", 1)
    assert (len(sandbox.texts_to(NEW)), len(sandbox.texts_to(OTHER))) == (1, 1)
    summary = xcom(ti)
    assert (summary["total"], summary["accepted"]) == (2, 2)
    assert [campaign["accepted"] for campaign in summary["campaigns"]] == [2]
    assert summary["calls"] == (2 if "before" in lost else 1)


@pytest.mark.usefixtures("send_state")
@pytest.mark.parametrize("named_by", ["the connection", "the task"])
def test_a_lost_answer_is_looked_for_on_the_channel_that_sent(
    named_by: str,
    run_dag: RunDag,
    sandbox: Sandbox,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The campaign is looked up on the channel of the send."""
    if named_by == "the connection":
        connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
        connection["extra"]["channel"] = "Support"
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    sandbox.fault(method="POST", kind="drop", when="after", count=1)
    with DAG("other_channel") as dag:
        WatiSendTemplateOperator(
            task_id="template",
            template_name="ticket_closed",
            channel="Support" if named_by == "the task" else None,
            recipients={"target": NEW, "params": {"name": "Ada", "ticket": "7"}},
            **AGAIN,
        )
    assert run_dag(dag)["template"].state == "success"
    assert len(sandbox.texts_to(NEW)) == 1


def test_a_send_key_names_the_send_over_runs(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """Two runs with one send_key message each person once."""

    def send(key: str | None) -> None:
        with DAG("named") as dag:
            WatiSendTemplateOperator(
                task_id="template",
                template_name="order_update",
                recipients={"target": NEW, "params": PARAMS},
                send_key=key,
                state_path=str(tmp_path),
            )
        assert run_dag(dag)["template"].state == "success"

    send("promo-1")
    send("promo-1")
    assert len(sandbox.texts_to(NEW)) == 1
    assert sandbox.state.broadcasts[0].name.endswith(" order_update")
    send("promo-2")
    send(None)
    send(None)
    assert len(sandbox.texts_to(NEW)) == 4


def test_the_token_is_in_no_debug_log(
    run_dag: RunDag,
    sandbox: Sandbox,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The debug logs of all libraries do not show the token."""
    caplog.set_level(logging.DEBUG)
    sandbox.fault("status", status=401, path="*/contacts", body=f"bad token {sandbox.token}")
    with DAG("secrets") as dag:
        WatiSendTextOperator(task_id="text", target=ADA, text="a private text")
        WatiCreateContactOperator(task_id="create", phone_number=NEW, name="Bob")
    tis = run_dag(dag)
    assert (tis["text"].state, tis["create"].state) == ("success", "failed")
    logs = caplog.text + "".join(capfd.readouterr())
    assert "WATI answered POST /contacts with 401" in logs
    assert "urllib3" in logs
    assert sandbox.token not in logs
    assert "a private text" not in logs
