"""The recipients of a send: all of its campaigns, joined to the outcomes, from a file or a table."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConfigurationError,
    WatiNotFoundError,
    WatiValidationError,
)
from airflow_provider_wati.operators._files import open_rows, open_table
from airflow_provider_wati.operators.campaigns import WatiGetCampaignRecipientsOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator, WatiSendTemplateOperator
from airflow_provider_wati.sending.delivery_rows import DELIVERED_COLUMNS
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiTemplateOperator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA, BEN, CHITRA, FAILS = "12025550143", "12025550144", "12025550145", "12025131026"
#: One of each kind: delivered, duplicate, invalid, failed, and a second message to one person.
ORDERS = [
    {"phone": ADA, "order": "1"},
    {"phone": f"+{ADA}", "order": "1"},
    {"phone": "12", "order": "2"},
    {"phone": FAILS, "order": "3"},
    {"phone": ADA, "order": "4"},
]
TEMPLATE: dict[str, Any] = {
    "template_name": "order_update",
    "target_column": "phone",
    "param_columns": {"order_id": "order"},
    "template_params": {"name": "you", "status": "packed"},
    "key_column": "order",
    "failure_threshold": 0.5,
}


def recipients(**arguments: Any) -> WatiGetCampaignRecipientsOperator:
    return WatiGetCampaignRecipientsOperator(task_id="recipients", **arguments)


@pytest.fixture
def send(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> dict[str, Any]:
    """The summary of a send of ``ORDERS`` in three campaigns, an hour ago."""
    operator = WatiBroadcastTemplateOperator(
        task_id="send", rows=ORDERS, batch_size=1, outcomes_path=f"{tmp_path}/outcomes.csv", **TEMPLATE
    )
    summary = execute(operator)
    sandbox.control("POST", "/clock", {"advance": 3600})
    return dict(summary)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", None])
def test_one_line_tells_the_story_of_each_row(
    suffix: str | None, send: dict[str, Any], execute: Execute, tmp_path: Path
) -> None:
    """Sent, duplicate, invalid and failed rows have a line each, with outcome and delivery, in each format."""
    destination = f"{tmp_path}/story{suffix}" if suffix else None
    result = execute(recipients(summary=send, destination=destination))
    if destination is None:
        rows = result["rows"]
    else:
        with open_rows(destination) as found:
            rows = list(found)
    assert list(rows[0]) == list(DELIVERED_COLUMNS)
    assert [
        (int(row["row"]), row["key"], row["status"], row["delivery_status"] == "failed") for row in rows
    ] == [
        (1, "1", "accepted", False),
        (2, "1", "skipped", False),
        (3, "2", "invalid", False),
        (4, "3", "accepted", True),
        (5, "4", "accepted", False),
    ]
    assert [row["message_id"] is not None for row in rows] == [True, False, False, True, True]
    assert rows[3]["failed_code"] == "131026"
    assert len({row["message_id"] for row in rows}) == 4
    assert rows[0]["campaign_name"].endswith(" order_update")
    assert (result["total"], sum(result["statuses"].values()), result["without_delivery"]) == (5, 3, 2)
    assert (result["listed"], result["repeated"], result["unmatched"], result["missing"]) == (3, 0, 0, 0)
    assert (len(result["campaigns"]), result["more_campaigns"]) == (3, 0)


def test_a_table_tells_the_same_story_as_a_file(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcomes in a table give the lines that the outcomes in a file give, also where another send is in it."""
    database = tmp_path / "warehouse.db"
    connection = {"conn_type": "sqlite", "host": str(database)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with closing(sqlite3.connect(database)) as orders:
        orders.execute('CREATE TABLE orders (phone TEXT, "order" TEXT)')
        orders.executemany("INSERT INTO orders VALUES (?, ?)", [tuple(order.values()) for order in ORDERS])
        orders.commit()
    of_sql: dict[str, Any] = {
        "sql": "SELECT * FROM orders", "sql_conn_id": "warehouse", "outcomes_table": "told", **TEMPLATE,
    }  # fmt: skip
    execute(SqlToWatiTemplateOperator(task_id="another", **of_sql))
    path = f"{tmp_path}/outcomes.csv"
    summary = execute(SqlToWatiTemplateOperator(task_id="send", **of_sql, outcomes_path=path))
    sandbox.control("POST", "/clock", {"advance": 3600})
    by_file = execute(recipients(summary=summary))
    by_table = execute(recipients(summary=summary, outcomes_table="told", outcomes_conn_id="warehouse"))
    named = execute(recipients(summary={**summary, "outcomes": "told"}, outcomes_conn_id="warehouse"))
    assert by_file == by_table == named
    assert by_file["total"] == 5

    with pytest.raises(WatiValidationError, match=r"table 'told': give its database as outcomes_conn_id"):
        execute(recipients(summary={**summary, "outcomes": "told"}))
    with pytest.raises(WatiValidationError, match="no outcomes of the send_key 'x'"):
        execute(
            recipients(summary={**summary, "send_key": "x", "outcomes": "told"}, outcomes_conn_id="warehouse")
        )
    with pytest.raises(WatiConfigurationError, match="'other' cannot be read"):
        execute(recipients(summary=summary, outcomes_table="other", outcomes_conn_id="warehouse"))
    with closing(sqlite3.connect(database)) as told:
        told.execute(
            "UPDATE told SET send_key = ?, run_id = 'other run' WHERE task_id = 'another'",
            [summary["send_key"]],
        )
        told.commit()
    assert (
        execute(recipients(summary=summary, outcomes_table="told", outcomes_conn_id="warehouse")) == by_file
    )
    with closing(sqlite3.connect(database)) as told:
        told.execute("UPDATE told SET run_id = 'a third run' WHERE task_id = 'send'")
        told.commit()
    with pytest.raises(WatiValidationError, match="several tasks or runs"):
        execute(recipients(summary=summary, outcomes_table="told", outcomes_conn_id="warehouse"))


def test_all_campaigns_of_a_send_are_read(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A send of 60 campaigns, of which the summary names 40, is read whole, with outcomes and without them."""
    people = [{"phone_number": f"1202555{n:04}"} for n in range(60)]
    send = WatiSendTemplateOperator(
        task_id="send",
        template_name="welcome",
        recipients=people,
        batch_size=1,
        outcomes_path=f"{tmp_path}/o.jsonl",
    )
    summary = execute(send)
    assert (len(summary["campaigns"]), summary["more_campaigns"]) == (40, 20)
    result = execute(recipients(summary=summary))
    assert (result["total"], result["without_delivery"], result["unmatched"]) == (60, 0, 0)
    assert (len(result["campaigns"]), result["more_campaigns"]) == (50, 10)
    alone = execute(recipients(summary={**summary, "outcomes": None}, destination=f"{tmp_path}/all.csv"))
    assert (alone["total"], alone["missing"], sum(alone["statuses"].values())) == (60, 0, 60)
    with open_rows(f"{tmp_path}/all.csv") as found:
        rows = list(found)
    assert len({row["campaign_id"] for row in rows}) == len({row["contact_phone"] for row in rows}) == 60
    assert all(" welcome" in row["campaign_name"] for row in rows)


def test_messages_that_wati_does_not_list_are_counted(
    send: dict[str, Any], execute: Execute, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer recipients than accepted messages are said in the result and in the log."""
    assert execute(recipients(summary={**send, "outcomes": None, "accepted": 5}))["missing"] == 2
    assert "WATI accepted 2 messages" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "error"), [(404, WatiNotFoundError), (400, WatiBadRequestError)])
@pytest.mark.parametrize("has_outcomes", [True, False])
def test_a_deleted_campaign_is_named(
    has_outcomes: bool,
    status: int,
    error: type[Exception],
    send: dict[str, Any],
    execute: Execute,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    """A campaign that was deleted in WATI ends the task with its id and name, and no file looks complete."""
    sandbox.control("PATCH", "/settings", {"missing_status": status})
    deleted = sandbox.state.broadcasts[1]
    deleted.visible_at = float("inf")
    sandbox.state.hidden_broadcasts.append(deleted)
    summary = send if has_outcomes else {**send, "outcomes": None}
    with pytest.raises(error, match=rf"campaign {deleted.id} \(.* order_update\) of the send .* deleted"):
        execute(recipients(summary=summary, destination=f"{tmp_path}/story.csv"))
    assert not (tmp_path / "story.csv").exists()


def test_outcomes_of_another_attempt_are_refused(
    send: dict[str, Any], execute: Execute, tmp_path: Path
) -> None:
    """Rows of which the summary knows nothing would look as if they had got nothing."""
    other = f"{tmp_path}/other.csv"
    with open_table(other, SEND_COLUMNS) as write:
        write([(1, None, ADA, "accepted", None, None, None, None)])
    with pytest.raises(WatiValidationError, match="they have 1 total, and the summary 5"):
        execute(recipients(summary=send, outcomes=other))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either campaign_id or summary"),
        ({"campaign_id": "a", "summary": {"send_key": "k"}}, "either campaign_id or summary"),
        ({"campaign_id": "a", "outcomes": "a.csv"}, "give its summary"),
        ({"summary": "accepted"}, "not the result of a template send"),
        ({"summary": {"send_key": "k", "estimate": {}}}, "dry run"),
        ({"summary": {"send_key": "k"}, "outcomes": "a.csv", "outcomes_table": "t"}, "either outcomes or"),
        ({"summary": {"send_key": "k"}, "outcomes": ""}, "does not end in"),
        ({"summary": {"send_key": "k"}, "destination": "a.txt"}, "does not end in"),
    ],
)
def test_arguments_that_cannot_be_right(
    arguments: dict[str, Any], message: str, execute: Execute, sandbox: Sandbox
) -> None:
    """The error says which argument to correct, before any call."""
    with pytest.raises(WatiValidationError, match=message):
        execute(recipients(**arguments))
    assert sandbox.requests() == []


def test_more_rows_than_a_result_holds_need_a_destination(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A result without a destination is refused before the campaigns are read."""
    path = f"{tmp_path}/many.csv"
    with open_table(path, SEND_COLUMNS) as write:
        write((n, None, ADA, "skipped", None, None, None, None) for n in range(1, 1002))
    with pytest.raises(WatiValidationError, match="more than 1,000 rows: give a destination"):
        execute(recipients(summary={"send_key": "k"}, outcomes=path))
    assert sandbox.requests() == []
