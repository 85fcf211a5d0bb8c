"""Statuses from the receiver in the table of recipients."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiBadRequestError
from airflow_provider_wati.listening.read_key import read_key
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.transfers import _status_feed
from airflow_provider_wati.transfers.wati_to_sql import WatiCampaignRecipientsToSqlOperator
from tests.support.scripted_server import closed_port
from tests.support.status_receiver import StatusReceiver, receiving
from tests.unit.transfers.test_wati_to_sql import SandboxClock, advance, calls_of, send_campaign

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

ADA, BEN = "12025550143", "12025550144"
SECRET = "0123456789abcdefghijklmn"


@pytest.fixture
def receiver(run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[StatusReceiver]:
    """A receiver that knows the connection, which has a ``webhook_secret``; the clock is the sandbox's."""
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"]["webhook_secret"] = SECRET
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(WatiOperator, "clock", SandboxClock(sandbox))
    with receiving(wati_default=read_key(sandbox.token, "wati_default")) as running:
        monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", running.url)
        yield running


def recipients(**changes: Any) -> WatiCampaignRecipientsToSqlOperator:
    settings = {"task_id": "recipients", "table": "recipients", "sql_conn_id": "warehouse"}
    return WatiCampaignRecipientsToSqlOperator(**{**settings, **changes})


def told_by(sandbox: Sandbox, phone: str) -> dict[str, Any]:
    """The ids with which an event names the latest message to somebody."""
    client = sandbox.client()
    campaign = next(iter(client.iter_campaigns()))
    [found] = [
        recipient
        for recipient in client.iter_campaign_recipients(campaign["id"])
        if recipient["contact_phone"] == f"+{phone}"
    ]
    return {
        "local_message_id": found["local_message_id"],
        "whatsapp_message_id": f"wamid.{found['id']}",
        "id": found["id"],
    }


def status_of(warehouse: Warehouse, phone: str) -> Any:
    [(status,)] = warehouse.execute(f"SELECT status FROM recipients WHERE contact_phone = '+{phone}'")
    return status


def test_received_statuses_reach_the_table(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, receiver: StatusReceiver
) -> None:
    """A status climbs in its row without a call for the recipients, a failure brings its code, and nothing goes back."""
    sandbox.control("POST", "/clock", {"frozen": True})
    send_campaign(sandbox, "offer", [ADA, BEN])
    run(recipients())
    receiver.add("read", **told_by(sandbox, ADA))
    receiver.add("sent", **told_by(sandbox, ADA))
    receiver.add("failed", **told_by(sandbox, BEN), failed_code="131026", failed_detail="undeliverable")
    receiver.add("read", id="66b1fb04ffffffffffffffff", local_message_id="of nobody")
    seen: list[Any] = []
    calls = calls_of(sandbox, lambda: seen.append(run(recipients())))
    assert (seen[0]["received"], seen[0]["received_updated"]) == (4, 2)
    assert not [call for call in calls if call.endswith("/recipients")]
    assert status_of(warehouse, ADA) == "read"
    flags = warehouse.execute(
        f"SELECT is_sent, is_delivered, is_read, is_replied FROM recipients WHERE contact_phone = '+{ADA}'"
    )
    assert [tuple(map(bool, row)) for row in flags] == [(True, True, True, False)]
    told = "SELECT status, failed_code, failed_detail FROM recipients WHERE contact_phone LIKE '%44'"
    assert warehouse.execute(told) == [("failed", "131026", "undeliverable")]

    # What was taken in is not asked for again, and WATI's older word takes nothing back.
    assert run(recipients())["received"] == 0
    advance(sandbox, 7 * 3600)
    run(recipients())
    assert status_of(warehouse, BEN) == "failed"


def test_a_campaign_that_cannot_be_read_holds_up_no_status(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, receiver: StatusReceiver
) -> None:
    """The run fails for that campaign, after the statuses of the others are in their rows; after an outage they wait."""
    sandbox.control("POST", "/clock", {"frozen": True})
    bad = send_campaign(sandbox, "bad", [BEN])
    send_campaign(sandbox, "offer", [ADA])
    run(recipients())
    receiver.add("failed", **told_by(sandbox, ADA))
    # After a pause, the statistics of each campaign are read again.
    advance(sandbox, 7 * 3600)
    outage = sandbox.fault("status", status=400, path="*/broadcasts")
    with pytest.raises(WatiBadRequestError):
        run(recipients())
    assert status_of(warehouse, ADA) == "queued"
    sandbox.control("DELETE", f"/faults/{outage}")
    sandbox.fault("status", status=400, path=f"*/broadcasts/{bad}")
    with pytest.raises(WatiBadRequestError, match=f"the first is {bad}"):
        run(recipients())
    assert status_of(warehouse, ADA) == "failed"


def test_while_events_come_campaigns_are_looked_at_less_often(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, receiver: StatusReceiver
) -> None:
    """Statistics that change cost calls once in six hours; without events, at once; a new campaign is always read."""
    ids = [send_campaign(sandbox, f"c{n}", [ADA, BEN]) for n in range(5)]
    advance(sandbox, 2 * 3600)
    run(recipients())

    def calls_after_a_reply() -> int:
        sandbox.control("POST", "/inbound", {"phone": BEN, "text": "Yes"})
        send_campaign(sandbox, "more", [ADA])
        calls = calls_of(sandbox, lambda: run(recipients()))
        return len([call for call in calls if any(id in call for id in ids)])

    receiver.add("replied", **told_by(sandbox, BEN))
    assert calls_after_a_reply() == 0
    assert warehouse.execute("SELECT COUNT(*) FROM recipients WHERE campaign_name = 'more'") == [(1,)]
    assert status_of_latest(warehouse, BEN) == "replied"
    # No event has come since, though WATI has news: it may have stopped to send them.
    assert calls_after_a_reply() >= 5
    advance(sandbox, 3600)
    receiver.add("read", **told_by(sandbox, ADA))
    assert calls_after_a_reply() == 0
    advance(sandbox, 6 * 3600)
    receiver.add("read", **told_by(sandbox, ADA))
    assert calls_after_a_reply() >= 5
    assert {id for (id,) in warehouse.execute("SELECT id FROM recipients")} == set(listed(sandbox))


def status_of_latest(warehouse: Warehouse, phone: str) -> Any:
    query = f"SELECT status FROM recipients WHERE contact_phone = '+{phone}' ORDER BY created DESC LIMIT 1"
    return warehouse.execute(query)[0][0]


def listed(sandbox: Sandbox) -> dict[str, str]:
    client = sandbox.client()
    return {
        str(recipient["id"]): str(recipient["status"])
        for campaign in client.iter_campaigns()
        for recipient in client.iter_campaign_recipients(campaign["id"])
    }


@pytest.mark.parametrize("fault", ["off", "down", "another key"])
def test_without_the_receiver_the_rows_come_from_wati(
    run: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    receiver: StatusReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """A receiver that is off or unreachable is said once, without a secret, and the rows are as WATI lists them."""
    with closed_port() as port:
        if fault == "down":
            monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", f"http://127.0.0.1:{port}")
        receiver.fault = 404 if fault == "off" else None
        receiver.keys = {} if fault == "another key" else receiver.keys
        send_campaign(sandbox, "offer", [ADA, BEN])
        advance(sandbox, 3600)
        run(recipients())
        run(recipients())
    assert dict(warehouse.execute("SELECT id, status FROM recipients")) == listed(sandbox)
    said = [
        record.getMessage() for record in caplog.records if "receiver of connection" in record.getMessage()
    ]
    assert len(said) == 2
    key = read_key(sandbox.token, "wati_default")
    assert not [text for text in (key, SECRET, sandbox.token) if text in "\n".join(said)]


def test_without_a_secret_nobody_is_asked(
    run: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    receiver: StatusReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that receives no webhooks, and a table without the columns, make no request to the receiver."""
    run(recipients(columns=["status"]))
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    del connection["extra"]["webhook_secret"]
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    assert "received" not in run(recipients(table="others"))
    assert receiver.requests == []


def test_the_cursor_moves_after_the_commit_of_each_page(
    run: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    receiver: StatusReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that ends between a page and its cursor takes the page in again, and one before the commit loses none."""
    sandbox.control("POST", "/clock", {"frozen": True})
    send_campaign(sandbox, "offer", [ADA, BEN])
    run(recipients())
    receiver.most = 1
    receiver.add("read", **told_by(sandbox, ADA))
    receiver.add("delivered", **told_by(sandbox, BEN))

    class KilledError(BaseException):
        """Stands in for a kill."""

    from airflow_provider_wati.transfers._extract_table import ExtractTable

    apply = ExtractTable.apply
    for moment in ("before", "after"):

        def killed(table: Any, statuses: Any, now: str, moment: str = moment) -> int:
            if moment == "after":
                apply(table, statuses, now)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(ExtractTable, "apply", killed)
            with pytest.raises(KilledError):
                run(recipients())
    assert (status_of(warehouse, ADA), status_of(warehouse, BEN)) == ("read", "queued")
    assert run(recipients())["received"] == 2
    assert (status_of(warehouse, ADA), status_of(warehouse, BEN)) == ("read", "delivered")


def test_full_takes_the_word_of_wati_and_no_earlier_event(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, receiver: StatusReceiver
) -> None:
    """With ``full`` each row is as WATI has it, and what came before by webhook does not change it again."""
    sandbox.control("POST", "/clock", {"frozen": True})
    send_campaign(sandbox, "offer", [ADA])
    run(recipients())
    receiver.add("failed", **told_by(sandbox, ADA))
    run(recipients())
    receiver.add("failed", **told_by(sandbox, ADA))
    assert run(recipients(full=True))["updated"] == 1
    run(recipients())
    assert status_of(warehouse, ADA) == "queued"
    receiver.add("delivered", **told_by(sandbox, ADA))
    run(recipients())
    assert status_of(warehouse, ADA) == "delivered"


def test_rows_are_found_by_an_index(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, receiver: StatusReceiver
) -> None:
    """A table that is made here has an index for each id of a message, so that its size does not matter."""
    run(recipients(table='"My Recipients"'))
    catalogue = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if warehouse.kind == "sqlite"
        else "SELECT indexdef FROM pg_indexes WHERE tablename = 'My Recipients'"
    )
    found = " ".join(text for (text,) in warehouse.execute(catalogue))
    assert "(local_message_id)" in found
    assert "(message_id)" in found


def test_the_receiver_is_the_api_server_unless_it_is_named(
    run: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    receiver: StatusReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without ``[wati] receiver_url``, ``[api] base_url`` counts; what is not a web address is not asked."""
    monkeypatch.delenv("AIRFLOW__WATI__RECEIVER_URL")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{receiver.url}/")
    assert run(recipients())["received"] == 0
    assert receiver.requests
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "/")
    assert "received" not in run(recipients())


def test_no_status_is_a_page_of_the_log(
    run: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    receiver: StatusReceiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has counts, and nobody's number."""
    send_campaign(sandbox, "offer", [ADA])
    run(recipients())
    receiver.add("read", **told_by(sandbox, ADA), phone_number=ADA)
    run(recipients())
    assert ADA not in caplog.text
    assert _status_feed.__name__ in {record.name for record in caplog.records}
