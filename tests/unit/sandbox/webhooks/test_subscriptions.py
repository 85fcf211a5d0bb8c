"""Webhook subscriptions: made by V2, listed and changed by V3."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.sandbox.webhooks.event_types import EVENT_TYPES
from tests.unit.sandbox.conftest import DEFAULT_CHANNEL, SUPPORT_CHANNEL, Caller
from tests.unit.sandbox.webhooks.conftest import subscribe

URL = "http://127.0.0.1:9/hook?key=1"


def post(wati: Caller, body: Any, **options: Any) -> Any:
    url = f"{wati.server.endpoint}/api/v2/webhookEndpoints"
    return wati.session.post(url, json=body, timeout=60, **options)


def test_a_created_webhook_has_the_documented_members(wati: Caller) -> None:
    """The answer of V2 has every documented member, and V3 lists the new webhook."""
    record = subscribe(wati, URL, "message", "templateMessageFailed", channel=SUPPORT_CHANNEL)
    assert record.keys() == {
        "id", "tenantId", "channelId", "channelPhoneNumber", "url", "status", "created", "lastUpdated",
        "failedIterationCount", "isSentNotify", "eventTypes",
    }  # fmt: skip
    assert (record["tenantId"], record["channelPhoneNumber"], record["status"]) == (
        "100001",
        SUPPORT_CHANNEL,
        1,
    )
    assert (record["failedIterationCount"], record["isSentNotify"]) == (0, False)
    listed = wati("GET", "/webhooks").json()["webhooks"]
    assert listed[-1] == {
        "id": record["id"],
        "url": URL,
        "eventTypes": ["message", "templateMessageFailed"],
        "status": "Enabled",
    }


def test_a_webhook_without_a_number_belongs_to_the_default_channel(wati: Caller) -> None:
    """Without a phoneNumber the default channel is meant, which has no id."""
    record = subscribe(wati, URL, "message")
    assert (record["channelId"], record["channelPhoneNumber"]) == (None, DEFAULT_CHANNEL)


def test_a_fresh_sandbox_has_no_enabled_webhook(wati: Caller) -> None:
    """Nobody is called before somebody has subscribed."""
    assert [each["status"] for each in wati("GET", "/webhooks").json()["webhooks"]] == ["Disabled"]


def test_a_url_that_exists_is_refused_inside_a_200(wati: Caller) -> None:
    """A duplicate URL is answered with ok:false and creates nothing, the other items of the array neither."""
    subscribe(wati, URL, "message")
    other = {"url": "http://127.0.0.1:9/other", "eventTypes": ["message"]}
    for urls in ([URL], [other["url"], URL], [other["url"], other["url"]]):
        response = post(wati, [other | {"url": url} for url in urls])
        assert (response.status_code, response.json()["ok"]) == (200, False)
    assert len(wati("GET", "/webhooks").json()["webhooks"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL, "eventTypes": ["message"]},
        [{"eventTypes": ["message"]}],
        [{"url": URL}],
        [{"url": URL, "eventTypes": ["nonsense"]}],
        [{"url": URL, "eventTypes": ["message"], "status": 3}],
        [{"url": URL, "eventTypes": ["message"], "status": True}],
        [{"url": URL, "eventTypes": ["message"], "phoneNumber": "19995550100"}],
        [{"url": URL, "eventTypes": ["message"], "extra": 1}],
        [{"url": "ftp://127.0.0.1/a", "eventTypes": ["message"]}],
        [{"url": "http://", "eventTypes": ["message"]}],
        [{"url": "http://127.0.0.1:99999/", "eventTypes": ["message"]}],
        [{"url": "http://127.0.0.1/a b\r\nX-Evil: 1", "eventTypes": ["message"]}],
        ["message"],
        7,
    ],
)
def test_a_body_that_does_not_fit_is_a_400(wati: Caller, body: Any) -> None:
    """What the description of WATI does not allow is refused, and nothing is created."""
    assert post(wati, body).status_code == 400
    assert len(wati("GET", "/webhooks").json()["webhooks"]) == 1


def test_another_content_type_is_a_415(wati: Caller) -> None:
    """A body that is not sent as JSON is refused."""
    url = f"{wati.server.endpoint}/api/v2/webhookEndpoints"
    headers = {"Content-Type": "text/plain"}
    assert wati.session.post(url, data="[]", headers=headers, timeout=60).status_code == 415


def test_a_change_always_needs_the_url(wati: Caller) -> None:
    """PUT without a url is a 400 (documented), and so is the url of another webhook."""
    subscribe(wati, URL, "message")
    record = subscribe(wati, URL + "2", "message")
    path = f"/webhooks/{record['id']}"
    assert wati("PUT", path, json={"eventTypes": ["message"], "status": "Disabled"}).status_code == 400
    assert wati("PUT", path, json={"url": URL, "eventTypes": ["message"]}).status_code == 400
    changed = wati("PUT", path, json={"url": URL + "2", "eventTypes": [], "status": "Disabled"})
    assert (changed.status_code, changed.json()["status"]) == (200, "Disabled")


def test_nobody_makes_a_webhook_defective(wati: Caller) -> None:
    """Defective is what WATI makes of a webhook, not what a caller asks for."""
    record = subscribe(wati, URL, "message")
    body = {"url": URL, "eventTypes": ["message"], "status": "Defective"}
    assert wati("PUT", f"/webhooks/{record['id']}", json=body).status_code == 400


def test_growth_has_no_webhooks_by_the_api(wati: Caller) -> None:
    """Every webhook call is a 403 on the plan growth (observed)."""
    record = subscribe(wati, URL, "message")
    wati.settings(plan="growth")
    assert post(wati, [{"url": URL + "2", "eventTypes": ["message"]}]).status_code == 403
    assert wati("GET", "/webhooks").status_code == 403
    assert wati("GET", "/webhooks/event-types").status_code == 403
    body = {"url": URL, "eventTypes": ["message"]}
    assert wati("PUT", f"/webhooks/{record['id']}", json=body).status_code == 403


def test_creating_and_changing_need_scopes_of_their_own(wati: Caller) -> None:
    """webhooks:create lets a token create, webhooks:write lets it change (documented)."""
    wati.control("POST", "/tokens", json={"token": "maker", "scopes": ["webhooks:create"]})
    wati.control("POST", "/tokens", json={"token": "changer", "scopes": ["webhooks:write"]})
    maker, changer = ({"Authorization": f"Bearer {name}"} for name in ("maker", "changer"))
    body = [{"url": URL, "eventTypes": ["message"]}]
    assert post(wati, body, headers=changer).status_code == 403
    record = post(wati, body, headers=maker).json()["result"][0]
    change = {"url": URL, "eventTypes": ["message"]}
    assert wati("PUT", f"/webhooks/{record['id']}", json=change, headers=maker).status_code == 403
    assert wati("PUT", f"/webhooks/{record['id']}", json=change, headers=changer).status_code == 200


def test_the_event_types_are_those_that_the_sandbox_knows(wati: Caller) -> None:
    """The listed names are those that a subscription takes, each with how it is known in the control API."""
    listed = wati("GET", "/webhooks/event-types").json()["event_types"]
    assert listed == list(EVENT_TYPES)
    subscribe(wati, URL, *listed)
    marks = {each["name"]: each["mark"] for each in wati.control("GET", "/webhooks")["event_types"]}
    assert (marks["message"], marks["ctaButtonClicked"], marks["message_bsuid"]) == (
        "documented",
        "observed",
        "inferred",
    )
