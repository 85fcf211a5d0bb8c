"""A webhook is subscribed once, repaired when it is off, and its secret is nowhere but in WATI."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiPermissionError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators.webhooks import DEFAULT_EVENTS, WatiSubscribeWebhookOperator
from tests.support.scripted_server import answer, serving

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Webhook
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

SECRET = "s3cret-of-the-receiver-0123456789"
BASE = "https://airflow.example.com"
URL = f"{BASE}/wati/webhooks/wati_default/{SECRET}"
SHOWN = f"{BASE}/wati/webhooks/wati_default/***"
SUPPORT = "14155550101"
CREATE = "*/webhookEndpoints"

Connect = Callable[..., None]


@pytest.fixture
def connect(execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Set the connection; by default it has a secret, and the receiver an address."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{BASE}/")
    monkeypatch.delenv("AIRFLOW__WATI__RECEIVER_URL", raising=False)

    def to(host: str = sandbox.endpoint, **extra: Any) -> None:
        connection = {
            "conn_type": "wati",
            "host": host,
            "password": sandbox.token,
            "extra": {"rate_limits": {"*": None}, "timeout": [2, 2], "webhook_secret": SECRET} | extra,
        }
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    to()
    return to


def subscribe(**arguments: Any) -> WatiSubscribeWebhookOperator:
    return WatiSubscribeWebhookOperator(task_id="subscribe", **arguments)


def ours(sandbox: Sandbox) -> list[Webhook]:
    """The subscriptions without that of the seed."""
    return sandbox.state.webhooks[1:]


def test_a_missing_webhook_is_created(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """The receiver of the connection is subscribed to what it uses, in the v2 shape where there is one."""
    result = execute(subscribe())
    [webhook] = ours(sandbox)
    assert (webhook.url, webhook.status, webhook.channel.phone) == (URL, "Enabled", "14155550100")
    assert result == {
        "webhook_id": webhook.id,
        "status": "Enabled",
        "url": SHOWN,
        "event_types": webhook.event_types,
        "change": "created",
    }
    assert set(webhook.event_types) == {
        "message",
        "sessionMessageSent_v2",
        "sessionMessageFailed",
        "templateMessageSent_v2",
        "templateMessageFailed",
        "sentMessageDELIVERED_v2",
        "sentMessageREAD_v2",
        "sentMessageREPLIED_v2",
    }


def test_a_second_run_changes_nothing(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """What is as it should be is left alone: no call but reads."""
    first = execute(subscribe())
    before = len(sandbox.requests())
    assert execute(subscribe()) == first | {"change": "none"}
    assert {each.split()[0] for each in sandbox.requests()[before:]} == {"GET"}
    assert len(ours(sandbox)) == 1


@pytest.mark.parametrize("status", ["Disabled", "Defective"])
def test_a_webhook_that_is_off_is_enabled(
    status: str, connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """A Disabled or Defective subscription is enabled again."""
    execute(subscribe())
    [webhook] = ours(sandbox)
    webhook.status = status
    assert execute(subscribe())["change"] == "updated"
    assert webhook.status == "Enabled"


def test_other_events_are_changed(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """Other event types replace those of the subscription; their order does not matter."""
    execute(subscribe(event_types=["message", "sentMessageREAD"]))
    assert execute(subscribe(event_types=("sentMessageREAD", "message")))["change"] == "none"
    assert execute(subscribe(event_types=["message"]))["change"] == "updated"
    assert [webhook.event_types for webhook in ours(sandbox)] == [["message"]]


def test_the_url_and_the_channel_can_be_given(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """Another receiver needs no secret of the connection, and its path is not shown either."""
    connect(webhook_secret=None)
    url = f"https://hooks.example.com/a/{SECRET}?key={SECRET}"
    result = execute(subscribe(url=url, channel_phone_number=SUPPORT, event_types=["message"]))
    [webhook] = ours(sandbox)
    assert (webhook.url, webhook.channel.phone) == (url, SUPPORT)
    assert result["url"] == "https://hooks.example.com/***"


@pytest.mark.parametrize(("channel", "number"), [(SUPPORT, SUPPORT), ("Support", "14155550100")])
def test_the_channel_of_the_connection_counts_if_it_is_a_number(
    channel: str, number: str, connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """A channel's number goes into the subscription; a name cannot, as WATI takes numbers there."""
    connect(channel=channel)
    execute(subscribe())
    assert [webhook.channel.phone for webhook in ours(sandbox)] == [number]


def test_the_receivers_own_address_goes_first(
    connect: Connect, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[wati] receiver_url beats [api] base_url."""
    monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", "https://hooks.example.com/airflow/")
    execute(subscribe())
    assert ours(sandbox)[0].url == f"https://hooks.example.com/airflow/wati/webhooks/wati_default/{SECRET}"


# Answers that leave something open


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "status", "status": 500},
        {"kind": "garbage", "body": "html"},
        {"kind": "answer", "answer": {"ok": True, "result": []}},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_lost_answer_is_resolved_by_the_list(
    fault: dict[str, Any], connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """A creation whose answer is lost or unusable is looked up, and not repeated."""
    sandbox.fault(path=CREATE, when="after", count=1, **fault)
    assert execute(subscribe())["change"] == "none"
    assert len(ours(sandbox)) == 1
    assert sandbox.requests("POST") == [f"POST /{sandbox.workspace.settings.tenant}/api/v2/webhookEndpoints"]


def test_a_creation_that_did_not_happen_fails_and_the_next_attempt_creates(
    connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """Where the list does not show it either, the attempt fails; the next one starts with the list."""
    sandbox.fault("drop", path=CREATE, when="before", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(subscribe())
    assert ours(sandbox) == []
    assert execute(subscribe())["change"] == "created"


def test_a_refusal_because_another_was_faster_is_resolved_by_the_list(
    connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """A URL that somebody else has subscribed meanwhile is found and brought into line."""
    execute(subscribe(event_types=["message"]))
    sandbox.fault("answer", method="GET", path="*/webhooks", when="after", count=1, answer={"webhooks": []})
    assert execute(subscribe(event_types=["message", "chatbotTriggered"]))["change"] == "updated"
    assert [webhook.event_types for webhook in ours(sandbox)] == [["message", "chatbotTriggered"]]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The URL is not reachable", "The URL is not reachable"),
        (f"The URL {URL} is not reachable", "left out"),
        (f"{SECRET} is not reachable", "left out"),
        (f"...ks/wati_default/{SECRET[:20]}... is not reachable", "left out"),
        (f"{URL.upper()} is not reachable", "left out"),
    ],
)
def test_a_refusal_is_an_error_without_the_secret(
    said: str, told: str, connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """What WATI says of a subscription that it refuses is told, but never a part of the URL's secret."""
    refusal = {"ok": False, "result": said}
    sandbox.fault("answer", path=CREATE, when="before", answer=refusal)
    with pytest.raises(WatiRejectedError) as raised:
        execute(subscribe())
    assert told in str(raised.value)
    everything = f"{raised.value} {raised.value.wati_message} {raised.value.__cause__}".lower()
    assert not any(SECRET[start : start + 8] in everything for start in range(len(SECRET) - 7))


@pytest.mark.parametrize("listed", [{}, {"webhooks": "none"}, {"webhooks": None}])
def test_a_list_that_cannot_be_read_creates_nothing(
    listed: dict[str, Any], connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """Without a list it is not known what exists, so nothing is created."""
    with serving(answer(200, listed)) as server:
        connect(host=f"{server.url}/100001")
        with pytest.raises(Exception, match="no list of webhooks"):
            execute(subscribe(event_types=["message"]))
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ({}, set(DEFAULT_EVENTS)),
        ([{"name": "message"}, {"name": "sentMessageREAD"}], {"message", "sentMessageREAD"}),
        (
            {"result": {"all": ["message", "sentMessageREAD", "sentMessageREAD_v2"]}},
            {"message", "sentMessageREAD_v2"},
        ),
    ],
)
def test_the_events_are_those_that_the_account_has(
    offered: Any, wanted: set[str], connect: Connect, execute: Execute
) -> None:
    """In whatever shape WATI lists event types, only listed ones are asked for; the plain ones without a list."""
    created = {"ok": True, "result": [{"id": "66b1fb044045cedb1f195390", "url": URL}]}
    with serving(answer(200, offered), answer(200, []), answer(200, created)) as server:
        connect(host=f"{server.url}/100001")
        result = execute(subscribe())
    assert set(result["event_types"]) == wanted
    [item] = json.loads(server.requests[-1].body)
    assert (item["url"], item["status"], set(item["eventTypes"])) == (URL, 1, wanted)


# What is refused, and what is said


def test_growth_is_told_what_to_click(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """A 403 says what to do in the dashboard, with the address to paste but for the secret, and where that is."""
    sandbox.control("PATCH", "/settings", {"plan": "growth"})
    with pytest.raises(WatiPermissionError) as raised:
        execute(subscribe())
    words = str(raised.value)
    for part in ("Growth", "Connectors", "Add Webhook", "Enabled", "sentMessageREAD", "webhooks:create"):
        assert part in words
    assert f"{BASE}/wati/webhooks/wati_default/WEBHOOK-SECRET" in words
    assert "the extra webhook_secret of the connection 'wati_default'" in words
    assert raised.value.status_code == 403
    assert SECRET not in words


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "airflow.example.com/hook"},
        {"url": f"ftp://airflow.example.com/{SECRET}"},
        {"url": f"https://airflow.example.com/{SECRET} x"},
        {"url": ""},
        {"url": 7},
        {"event_types": []},
        {"event_types": "message"},
        {"event_types": ["message", ""]},
        {"event_types": [7]},
        {"event_types": 7},
    ],
)
def test_what_cannot_be_right_is_refused_before_a_call(
    arguments: dict[str, Any], connect: Connect, execute: Execute, sandbox: Sandbox
) -> None:
    """A URL and event types that cannot be right are named, without the URL, and nothing is called."""
    with pytest.raises(WatiValidationError) as raised:
        execute(subscribe(**arguments))
    assert next(iter(arguments)) in str(raised.value)
    assert SECRET not in str(raised.value)
    assert sandbox.requests() == []


def test_a_connection_without_a_secret_is_named(connect: Connect, execute: Execute, sandbox: Sandbox) -> None:
    """Without a webhook_secret the receiver has no address."""
    connect(webhook_secret=None)
    with pytest.raises(WatiConfigurationError, match="'wati_default' has no webhook_secret"):
        execute(subscribe())
    assert sandbox.requests() == []


def test_an_unknown_address_is_named(
    connect: Connect, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without receiver_url and base_url the error names both options."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    with pytest.raises(WatiConfigurationError, match=r"\[wati\] receiver_url, or \[api\] base_url"):
        execute(subscribe())


@pytest.mark.parametrize(
    ("base", "is_told"),
    [("http://airflow.example.com", True), ("https://localhost:8080", True), (BASE, False)],
)
def test_an_address_that_wati_cannot_reach_is_warned_of(
    base: str,
    is_told: bool,
    connect: Connect,
    execute: Execute,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For WATI itself a base on this machine or without https is warned of, without the secret."""
    from airflow_provider_wati.client import WatiClient

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    monkeypatch.setattr(WatiClient, "get_webhook_event_types", lambda _: ["message"])
    url = f"{base}/wati/webhooks/wati_default/{SECRET}"
    listed = [{"id": "1", "url": url, "event_types": ["message"], "status": "Enabled"}]
    monkeypatch.setattr(WatiClient, "list_webhooks", lambda _: listed)
    connect(host="https://live-mt-server.wati.io/100001")
    execute(subscribe())
    logged = capsys.readouterr().out
    assert ("WATI cannot post to" in logged) is is_told
    assert f"{base}/wati/webhooks/wati_default/***" in logged
    assert SECRET not in logged


def test_a_sandbox_on_this_machine_is_not_warned_of(
    connect: Connect, execute: Execute, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a sandbox, an address of this machine is right; nothing that is logged has the secret."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    execute(subscribe())
    logged = capsys.readouterr().out
    assert "cannot post" not in logged
    assert "http://localhost:8080/wati/webhooks/wati_default/***" in logged
    assert SECRET not in logged


def test_the_url_is_no_rendered_field() -> None:
    """Airflow stores and shows rendered fields, so the URL is none."""
    assert "url" not in WatiSubscribeWebhookOperator.template_fields
    assert SECRET not in repr(subscribe(url=f"https://a.example/{SECRET}")._address())


def test_a_subscribed_receiver_gets_what_a_customer_writes(
    connect: Connect, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the task to the event: the sandbox posts a customer's message to the subscribed address."""
    with serving(answer(200)) as receiver:
        monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", receiver.url)
        execute(subscribe())
        sandbox.control("POST", "/inbound", {"phone": "12025550143", "text": "Hi"})
        for _ in range(2000):
            if receiver.requests:
                break
            sandbox.control("GET", "/webhooks/deliveries")
    assert receiver.requests[0].path == f"/wati/webhooks/wati_default/{SECRET}"
    assert json.loads(receiver.requests[0].body)["text"] == "Hi"
