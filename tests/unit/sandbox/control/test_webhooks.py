"""The control API for webhooks: the log of deliveries, sending again, and events by hand."""

from __future__ import annotations

from collections.abc import Callable

import requests

from airflow_provider_wati.sandbox.webhooks.event_types import EVENT_TYPES
from tests.support.scripted_server import ScriptedServer, answer
from tests.unit.sandbox.conftest import ADA, BEN, Caller
from tests.unit.sandbox.webhooks.conftest import events, receive, settled, subscribe

Receive = Callable[..., ScriptedServer]
__all__ = ["receive"]


def test_deliveries_are_listed_newest_first_and_filtered(wati: Caller, receive: Receive) -> None:
    """The list has state, answer and attempts of each, filtered by state and event type."""
    receiver = receive(answer(200), answer(404))
    record = subscribe(wati, receiver.url, "message", "templateMessageSent")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    settled(wati)
    wati.send_template(BEN)
    wati.advance(2)
    settled(wati)
    answered = wati.control("GET", "/webhooks/deliveries")
    newest, oldest = answered["deliveries"]
    assert (newest["event_type"], newest["state"], newest["status"]) == (
        "templateMessageSent",
        "retrying",
        404,
    )
    assert (oldest["event_type"], oldest["state"], oldest["attempts"]) == ("message", "delivered", 1)
    assert oldest["webhook_id"] == record["id"]
    assert answered["states"] == {"delivered": 1, "retrying": 1}
    assert (answered["waiting"], answered["dropped"], answered["quiet"]) == (1, 0, True)
    [found] = wati.control("GET", "/webhooks/deliveries?state=retrying")["deliveries"]
    assert found["number"] == newest["number"]
    [found] = wati.control("GET", "/webhooks/deliveries?event_type=message&limit=5")["deliveries"]
    assert found["number"] == oldest["number"]
    one = wati.control("GET", f"/webhooks/deliveries/{oldest['number']}")
    assert one["payload"] == events(receiver)[0]


def test_a_delivery_is_sent_again(wati: Caller, receive: Receive) -> None:
    """Redelivering sends the same body once more and leaves the first delivery as it was."""
    receiver = receive()
    subscribe(wati, receiver.url, "message")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    [first] = settled(wati)
    again = wati.control("POST", f"/webhooks/deliveries/{first['number']}/redeliver", json={})
    assert again["repeat"] is True
    assert [each["state"] for each in settled(wati)] == ["delivered"] * 2
    assert receiver.requests[0].body == receiver.requests[1].body


def test_every_event_can_be_sent_by_hand(wati: Caller, receive: Receive) -> None:
    """Each event type has a payload with its name in it, also those that nothing here causes."""
    receiver = receive()
    subscribe(wati, receiver.url, *EVENT_TYPES)
    for name in EVENT_TYPES:
        sent = wati.control("POST", "/webhooks/events", json={"event_type": name})
        assert (sent["deliveries"], sent["payload"]["eventType"]) == (1, name)
    settled(wati)
    assert {each["eventType"] for each in events(receiver)} == set(EVENT_TYPES)


def test_an_event_of_a_message_is_sent_with_changes(wati: Caller, receive: Receive) -> None:
    """The payload is that of the message; members that are given replace its own."""
    receiver = receive()
    subscribe(wati, receiver.url, "sentMessageREAD_v2")
    message = wati.send_text(ADA).json()["message"]
    body = {
        "event_type": "sentMessageREAD_v2",
        "message_id": message["id"],
        "payload": {"statusString": "READ", "more": {"a": 1}},
    }
    assert wati.control("POST", "/webhooks/events", json=body)["deliveries"] == 1
    settled(wati)
    [event] = events(receiver)
    assert (event["localMessageId"], event["statusString"]) == (message["local_message_id"], "READ")
    assert event["more"] == {"a": 1}


def test_an_event_that_nobody_wants_makes_no_delivery(wati: Caller) -> None:
    """Without a subscriber an event by hand is answered with 0 deliveries; an unknown name has a payload too."""
    sent = wati.control("POST", "/webhooks/events", json={"event_type": "callStatus"})
    assert (sent["deliveries"], sent["payload"]["eventType"]) == (0, "callStatus")
    assert settled(wati) == []


def test_what_does_not_exist_is_a_404(wati: Caller) -> None:
    """An unknown delivery and an unknown message are answered with 404 and the reason."""
    calls: tuple[tuple[str, str, dict[str, str] | None], ...] = (
        ("GET", "/webhooks/deliveries/7", None),
        ("POST", "/webhooks/deliveries/7/redeliver", {}),
        ("POST", "/webhooks/events", {"event_type": "message", "message_id": "66b1fb043e55a6e0ffffffff"}),
    )
    for method, path, body in calls:
        response = requests.request(method, f"{wati.server.url}/_sandbox{path}", json=body, timeout=60)
        assert response.status_code == 404
        assert response.json()["message"]
