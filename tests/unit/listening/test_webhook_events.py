from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies

from airflow_provider_wati.listening.webhook_events import Kind, event_of

MESSAGE: dict[str, Any] = {
    "eventType": "message",
    "id": "66b2531d4931581381944612",
    "created": "2026-11-26T10:00:00.0000000Z",
    "whatsappMessageId": "wamid.A",
    "conversationId": "66b1fb044045cedb1f19538e",
    "ticketId": "66bdfba190194752bb7326d7",
    "text": "When does it come?",
    "type": "Text",
    "timestamp": "1793318400",
    "owner": False,
    "waId": "12025550143",
    "senderName": "Ada",
    "channelPhoneNumber": "919810000001",
    "tenantId": "123456",
}
FAILED: dict[str, Any] = {
    "eventType": "templateMessageFailed",
    "statusString": "Failed",
    "localMessageId": "order-1001-notice-1",
    "failedCode": "131026",
    "failedDetail": "Message undeliverable",
    "id": "66b2531d4931581381944612",
    "whatsappMessageId": "wamid.X",
    "conversationId": "66b1fb044045cedb1f19538e",
    "text": None,
    "type": "template",
    "timestamp": "1793318400",
    "waId": "12025550143",
    "templateName": "order_update",
}


def test_a_message_of_a_customer() -> None:
    """All fields of an inbound message are read, in the form that the poller uses too."""
    event = event_of(MESSAGE)
    assert (event.kind, event.event_type, event.tenant_id) == (Kind.MESSAGE, "message", "123456")
    assert event.record == {
        "id": "66b2531d4931581381944612",
        "conversation_id": "66b1fb044045cedb1f19538e",
        "ticket_id": "66bdfba190194752bb7326d7",
        "phone_number": "12025550143",
        "sender_name": "Ada",
        "type": "text",
        "text": "When does it come?",
        "channel_phone_number": "919810000001",
        "created": "2026-10-30T00:00:00.000000Z",
    }


def test_a_status() -> None:
    """All fields of a status are read."""
    event = event_of(FAILED)
    assert event.kind is Kind.STATUS
    assert event.record == {
        "id": "66b2531d4931581381944612",
        "local_message_id": "order-1001-notice-1",
        "whatsapp_message_id": "wamid.X",
        "conversation_id": "66b1fb044045cedb1f19538e",
        "phone_number": "12025550143",
        "template_name": "order_update",
        "status": "failed",
        "failed_code": "131026",
        "failed_detail": "Message undeliverable",
        "created": "2026-10-30T00:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("sessionMessageSent", "sent"),
        ("sessionMessageSent_v2", "sent"),
        ("templateMessageSent", "sent"),
        ("templateMessageSent_v2", "sent"),
        ("sentMessageDELIVERED", "delivered"),
        ("sentMessageDELIVERED_v2", "delivered"),
        ("sentMessageREAD", "read"),
        ("sentMessageREAD_v2_bsuid", "read"),
        ("sentMessageREPLIED", "replied"),
        ("sentMessageREPLIED_v2", "replied"),
        ("templateMessageFailed", "failed"),
        ("sessionMessageFailed_bsuid", "failed"),
    ],
)
def test_each_status_event(name: str, status: str) -> None:
    """The name of the event decides the status, in whatever case WATI writes it elsewhere."""
    event = event_of({**FAILED, "eventType": name})
    assert event.record is not None
    assert event.record.get("status") == status


@pytest.mark.parametrize(
    "name", ["templateStatusUpdated", "ctaUrlClicked", "contactRequestTyping", "something new", "", None, 7]
)
def test_other_events_hold_nothing(name: object) -> None:
    """Events that are neither message nor status are known by name only."""
    event = event_of({**MESSAGE, "eventType": name})
    assert (event.kind, event.record) == (Kind.OTHER, None)


@pytest.mark.parametrize("owner", [True, "true", "True", 1, 1.0, "1"])
def test_messages_of_the_account_are_not_inbound(owner: object) -> None:
    """The echo of a message that the account sent is not a message of a customer."""
    assert event_of({**MESSAGE, "owner": owner}).kind is Kind.OTHER


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"listReply": {"title": "Refund", "id": "2"}, "text": None}, "Refund"),
        ({"interactiveButtonReply": {"title": "Yes"}}, "Yes"),
        ({"buttonReply": {"text": "Stop", "payload": "x"}}, "Stop"),
        ({"listReply": "odd"}, "When does it come?"),
    ],
)
def test_the_text_of_what_was_tapped(change: dict[str, Any], text: str) -> None:
    """The text of a tapped button or list row stands for the message."""
    event = event_of({**MESSAGE, **change})
    assert event.record is not None
    assert event.record.get("text") == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MESSAGE, {**MESSAGE, "timestamp": "1793318999"}),
        (MESSAGE, {**MESSAGE, "eventType": "newContactMessageReceived"}),
        (MESSAGE, {**MESSAGE, "eventType": "message_bsuid", "waId": None, "bsuid": "US.1"}),
        (FAILED, {**FAILED, "eventType": "templateMessageFailed_v2", "whatsappMessageId": None}),
        ({**FAILED, "eventType": "x"}, {**FAILED, "eventType": "x_v2"}),
        ({"eventType": "x", "a": 1}, {"a": 1, "eventType": "x"}),
    ],
)
def test_repeats_and_twins_are_one_event(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What WATI sends again, or in a second shape, has the same key."""
    assert event_of(one).key == event_of(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MESSAGE, {**MESSAGE, "id": "66b2531d4931581381944613"}),
        (MESSAGE, FAILED),
        (FAILED, {**FAILED, "eventType": "sentMessageREAD"}),
        (FAILED, {**FAILED, "id": None, "whatsappMessageId": "wamid.Y"}),
        ({**FAILED, "eventType": "x"}, {**FAILED, "eventType": "x", "statusString": "Read"}),
        ({"eventType": "x", "a": 1}, {"eventType": "x", "a": 2}),
        # An id of the user's own, used again.
        (
            {**FAILED, "id": None, "whatsappMessageId": None},
            {**FAILED, "id": None, "whatsappMessageId": None, "timestamp": "1793319999"},
        ),
    ],
)
def test_different_events_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two messages, or two statuses of a message, are two events."""
    assert event_of(one).key != event_of(other).key


def test_texts_are_fit_for_a_database() -> None:
    """Half characters and NULs, which Airflow cannot store, are taken out of texts."""
    event = event_of({**MESSAGE, "text": "Hi \ud83d\0!", "senderName": "\udc00", "eventType": "message"})
    assert event.record is not None
    assert event.record.get("text") == "Hi ?!"
    assert event.record.get("sender_name") == "?"


@pytest.mark.parametrize(
    ("change", "created"),
    [
        ({"timestamp": 1793318400}, "2026-10-30T00:00:00.000000Z"),
        ({"timestamp": "1793318400500"}, "2026-10-30T00:00:00.500000Z"),
        ({"timestamp": None, "created": "2026-11-26T12:00:00+02:00"}, "2026-11-26T10:00:00.000000Z"),
        ({"timestamp": None, "created": "2026-11-26T10:00:00.1234567Z"}, "2026-11-26T10:00:00.123456Z"),
        ({"timestamp": "soon", "created": 1793318400}, "2026-10-30T00:00:00.000000Z"),
        ({"timestamp": "nan", "created": True}, None),
        ({"timestamp": "9" * 400, "created": None}, None),
    ],
)
def test_times(change: dict[str, Any], created: str | None) -> None:
    """Seconds, milliseconds and dates become one form; what is no time becomes None."""
    event = event_of({**MESSAGE, **change})
    assert event.record is not None
    assert event.record.get("created") == created


def test_the_repr_shows_no_person() -> None:
    """What is logged of an event names neither a person nor a text."""
    shown = repr(event_of(MESSAGE))
    assert not any(part in shown for part in ("12025550143", "Ada", "When"))


VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=5,
)
FIELDS = strategies.sampled_from([*MESSAGE, *FAILED, "listReply"])


# The machine may be busy.
@settings(deadline=None)
@given(strategies.dictionaries(FIELDS, VALUES), strategies.sampled_from(["message", "sentMessageREAD", "x"]))
def test_any_body_is_an_event(change: dict[str, Any], name: str) -> None:
    """Whatever stands in the fields, there is an event, and the same one each time."""
    body = {**MESSAGE, "eventType": name, **change}
    event = event_of(body)
    assert event_of(body) == event
    assert len(event.key) == 64
    for value in (event.record or {}).values():
        assert value is None or (isinstance(value, str) and "\0" not in value and value.encode())
