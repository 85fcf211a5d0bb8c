"""What happens in the workspace becomes events, with the documented payloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow_provider_wati.sandbox.model.campaigns import Order, Recipient, count_by_status, place
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.webhooks.deliveries import MANY_WAITING
from airflow_provider_wati.sandbox.workspace import Workspace
from tests.support.scripted_server import ScriptedServer
from tests.unit.sandbox.conftest import (
    ADA,
    BEN,
    FARAH_ON_TWO_CHANNELS,
    GRACE_BSUID,
    NOBODY,
    PAGE,
    SUPPORT_CHANNEL,
    Caller,
    order_recipient,
)
from tests.unit.sandbox.webhooks.conftest import events, names, settled, subscribe

Receive = Callable[..., ScriptedServer]
STATUSES = (
    "templateMessageSent",
    "sentMessageDELIVERED",
    "sentMessageREAD",
    "sentMessageREPLIED",
    "templateMessageFailed",
)
STATUSES_V2 = tuple(f"{name}_v2" for name in STATUSES[:-1])


def one_by_one(wati: Caller, receiver: ScriptedServer, seconds: int) -> list[tuple[int, str]]:
    """Move the clock second by second, and return which event came after how many."""
    found: list[tuple[int, str]] = []
    for second in range(seconds):
        settled(wati)
        found += [(second, name) for name in names(receiver)[len(found) :]]
        wati.advance(1)
    return found


def test_a_text_is_told_as_the_clock_reaches_its_statuses(wati: Caller, receive: Receive) -> None:
    """A message inside the window is sent after two seconds and then delivered, as the API shows it."""
    receiver = receive()
    subscribe(wati, receiver.url, "sessionMessageSent", "sentMessageDELIVERED")
    message = wati.send_text(ADA, "Hello").json()["message"]
    told = one_by_one(wati, receiver, 12)
    assert [name for _, name in told] == ["sessionMessageSent", "sentMessageDELIVERED"]
    assert told[0][0] == 2
    assert {each["id"] for each in events(receiver)} == {message["id"]}
    history = wati("GET", f"/conversations/{ADA}/messages", params=PAGE).json()["message_list"]
    assert history[0]["status"] in ("delivered", "read")


def test_a_sent_text_has_the_documented_members(wati: Caller, receive: Receive) -> None:
    """sessionMessageSent says what was sent; its v2 twin adds the local id and the channel."""
    receiver = receive()
    subscribe(wati, receiver.url, "sessionMessageSent", "sessionMessageSent_v2")
    message = wati.send_text(ADA, "Hello").json()["message"]
    wati.advance(3)
    settled(wati)
    plain, v2 = sorted(events(receiver), key=lambda each: each["eventType"])
    assert (plain["text"], plain["type"], plain["owner"], plain["waId"]) == ("Hello", "text", True, ADA)
    assert (plain["statusString"], plain["whatsappMessageId"]) == ("SENT", f"wamid.{message['id']}")
    assert plain["conversationId"] == message["conversation_id"]
    assert plain["ticketId"] == message["ticket_id"]
    assert plain["timestamp"] == str(int(message["timestamp"]) + 2)
    assert "localMessageId" not in plain
    assert v2["localMessageId"] == message["local_message_id"]
    assert (v2["channelId"], v2["channelPhoneNumber"]) == (None, "14155550100")


def test_a_template_message_is_told_from_sent_to_read(wati: Caller, receive: Receive) -> None:
    """Each message of a campaign is told at its stages with the local id of its recipient."""
    receiver = receive()
    subscribe(wati, receiver.url, *STATUSES_V2)
    wati.send_template(*(order_recipient(ADA, local_message_id=f"order-{n:05d}") for n in range(50)))
    wati.advance(3600)
    settled(wati)
    told: dict[str, list[str]] = {}
    for each in events(receiver):
        told.setdefault(each["localMessageId"], []).append(each["statusString"])
    assert len(told) == 50
    assert {tuple(each) for each in told.values()} == {
        ("SENT", "Delivered"),
        ("SENT", "Delivered", "Read"),
    }
    read = sum(each[-1] == "Read" for each in told.values())
    campaign = wati.control("GET", "/broadcasts")["broadcasts"][0]
    assert campaign["statuses"] == {"delivered": 50 - read, "read": read}
    sent = events(receiver)[0]
    assert (sent["templateName"], sent["sourceType"], sent["type"]) == ("order_update", "API", "template")
    assert sent["text"] == "Hi Ada, your order 1001 is shipped."
    assert sent["templateContent"]["footerText"] == "Acme Store"
    delivered = next(each for each in events(receiver) if each["statusString"] == "Delivered")
    assert (delivered["text"], delivered["type"]) == (None, "template")
    assert "waId" not in delivered


def test_a_sent_template_has_its_header_footer_and_buttons(wati: Caller, receive: Receive) -> None:
    """templateContent holds what the template has around its text, as the API lists it."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageSent_v2")
    wati.send_template({"phone_number": ADA}, template_name="welcome")
    wati.advance(3)
    settled(wati)
    templates = wati("GET", "/messageTemplates", params=PAGE).json()["templates"]
    [welcome] = [each for each in templates if each["name"] == "welcome"]
    [event] = events(receiver)
    assert event["headerType"] == "text"
    assert event["templateContent"] == {
        "headerText": "Hello!",
        "footerText": welcome["footer"],
        "buttons": welcome["buttons"],
    }
    assert len(welcome["buttons"]) == 2


def test_a_failed_message_is_told_with_its_code(wati: Caller, receive: Receive) -> None:
    """A number that is not on WhatsApp and a missing parameter fail with their codes, a text does too."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageFailed", "sessionMessageFailed")
    wati.control("POST", "/inbound", json={"phone": "12025131047", "text": "Hi"})
    wati.send_text("12025131047")
    wati.send_template("12025131026", {"phone_number": BEN, "custom_params": []})
    wati.advance(10)
    settled(wati)
    failed = {each["failedCode"]: each for each in events(receiver)}
    assert failed.keys() == {"131026", "131047", "132000"}
    assert failed["131026"]["failedDetail"] == "Message undeliverable"
    assert failed["131026"]["statusString"] == "Failed"
    assert failed["131026"]["localMessageId"]
    assert failed["131047"]["eventType"] == "sessionMessageFailed"


def test_a_scheduled_campaign_is_told_from_its_start(wati: Caller, receive: Receive) -> None:
    """Nothing is told of a scheduled campaign before its time, and nothing ever of a cancelled one."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageSent")
    at = "2999-01-01T00:00:00Z"
    cancelled = wati.send_template(BEN, scheduled_at=at).json()["broadcast_id"]
    wati.send_template(ADA, scheduled_at=at)
    assert wati.v1("DELETE", f"/broadcast/deleteScheduledBroadcast/{cancelled}").status_code == 200
    wati.advance(3600)
    assert settled(wati) == []
    wati.advance(1000 * 366 * 86400)
    settled(wati)
    assert [each["waId"] for each in events(receiver)] == [ADA]


def test_a_customers_message_is_told_at_once(wati: Caller, receive: Receive) -> None:
    """A message of a customer has the members that receivers read, and a stranger is a new contact."""
    receiver = receive()
    subscribe(wati, receiver.url, "message", "newContactMessageReceived")
    wati.control("POST", "/inbound", json={"phone": NOBODY, "text": "Hi", "name": "Nora"})
    tapped = {"phone": NOBODY, "text": "Yes", "type": "interactive"}
    wati.control("POST", "/inbound", json=tapped)
    media = {"file_name": "a.png", "mime_type": "image/png", "data": "aGk="}
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Look", "media": media})
    settled(wati)
    by_person: dict[str, list[dict[str, Any]]] = {}
    for each in events(receiver):
        by_person.setdefault(each["waId"], []).append(each)
    new, first, second = by_person[NOBODY]
    assert (new["eventType"], new["senderName"], new["sourceType"]) == (
        "newContactMessageReceived",
        "Nora",
        0,
    )
    assert (first["eventType"], first["text"], first["owner"]) == ("message", "Hi", False)
    assert first["created"].endswith("Z")
    assert first["channelPhoneNumber"] == "14155550100"
    assert second["interactiveButtonReply"] == {"id": "0", "title": "Yes"}
    [picture] = by_person[ADA]
    assert (picture["type"], picture["text"], picture["data"]) == ("image", "Look", "data/images/a.png")


def test_an_answer_to_a_campaign_is_told_after_all_before_it(wati: Caller, receive: Receive) -> None:
    """Who answers has received and read it: the customer's message, then the stages left out, then REPLIED."""
    receiver = receive()
    subscribe(wati, receiver.url, "message", *STATUSES)
    wati.send_template(ADA)
    wati.advance(2)
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Thanks"})
    wati.advance(3600)
    settled(wati)
    assert names(receiver) == [
        "templateMessageSent",
        "message",
        "sentMessageDELIVERED",
        "sentMessageREAD",
        "sentMessageREPLIED",
    ]


def test_a_started_chatbot_is_told_with_the_latest_message(wati: Caller, receive: Receive) -> None:
    """chatbotTriggered names the chatbot and the customer's latest message."""
    receiver = receive()
    subscribe(wati, receiver.url, "chatbotTriggered")
    bot = wati("GET", "/chatbots", params=PAGE).json()["chatbot_list"][0]["id"]
    wati("POST", "/chatbots/start", json={"target": ADA, "chatbot_id": bot})
    settled(wati)
    [event] = events(receiver)
    assert (event["chatbotId"], event["text"]) == (bot, "Hi, where is my order 1001?")


def test_a_reviewed_template_is_told_with_both_codes(wati: Caller, receive: Receive) -> None:
    """A template that is approved is told with the documented numbers; a change of its text is not."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateReviewed")
    wati.control("PUT", "/templates/spring_sale", json={"body": "Sale!"})
    wati.control("PUT", "/templates/spring_sale", json={"status": "APPROVED"})
    settled(wati)
    [event] = events(receiver)
    assert (event["templateName"], event["oldTemplateStatus"], event["newTemplateStatus"]) == (
        "spring_sale",
        1,
        2,
    )


def test_a_webhook_hears_of_its_own_channel_only(wati: Caller, receive: Receive) -> None:
    """Events of another channel are not sent."""
    receiver = receive()
    subscribe(wati, receiver.url, "message", channel=SUPPORT_CHANNEL)
    for channel in (None, "Support"):
        wati.control("POST", "/inbound", json={"phone": FARAH_ON_TWO_CHANNELS, "channel": channel})
    settled(wati)
    assert [each["channelPhoneNumber"] for each in events(receiver)] == [SUPPORT_CHANNEL]


def test_what_happened_before_a_subscription_is_not_told(wati: Caller, receive: Receive) -> None:
    """A subscription hears of what comes after it; of a message on its way it hears the rest."""
    wati.send_template(ADA)
    wati.advance(2)
    receiver = receive()
    record = subscribe(wati, receiver.url, *STATUSES)
    wati.advance(8)
    settled(wati)
    assert names(receiver) == ["sentMessageDELIVERED"]
    body = {"url": receiver.url, "eventTypes": ["message"], "status": "Disabled"}
    wati("PUT", f"/webhooks/{record['id']}", json=body)
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    wati("PUT", f"/webhooks/{record['id']}", json=body | {"status": "Enabled"})
    settled(wati)
    assert len(receiver.requests) == 1


def test_an_event_by_bsuid_always_names_one(wati: Caller, receive: Receive) -> None:
    """The twin of an event by BSUID has a bsuid, also for a person known by a phone number."""
    receiver = receive()
    subscribe(wati, receiver.url, "message_bsuid")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    settled(wati)
    [event] = events(receiver)
    assert (event["eventType"], event["waId"]) == ("message_bsuid", ADA)
    assert event["bsuid"].startswith("US.")


def test_a_customer_without_a_number_is_told_by_bsuid(wati: Caller, receive: Receive) -> None:
    """Of somebody who is known by a BSUID only, the events and the list of messages name it, and no phone number."""
    receiver = receive()
    subscribe(wati, receiver.url, "message", "message_bsuid", "newContactMessageReceived")
    new = "DE.998877665544332211"
    written = {}
    for bsuid, more in ((GRACE_BSUID, {}), (new, {"name": "Nele"})):
        body = {"bsuid": bsuid, "text": "Is it ready?", **more}
        written[bsuid] = wati.control("POST", "/inbound", json=body)["message"]["id"]
    settled(wati)
    told = {(each["eventType"], each["bsuid"]): each for each in events(receiver)}
    assert set(told) == {
        *((name, bsuid) for name in ("message", "message_bsuid") for bsuid in (GRACE_BSUID, new)),
        ("newContactMessageReceived", new),
    }
    assert {each["waId"] for each in told.values()} == {None}
    assert told["newContactMessageReceived", new]["senderName"] == "Nele"
    for bsuid, message_id in written.items():
        event = told["message", bsuid]
        history = wati("GET", f"/conversations/{bsuid}/messages", params=PAGE).json()["message_list"]
        assert (history[0]["id"], history[0]["text"], history[0]["owner"]) == (
            message_id,
            "Is it ready?",
            False,
        )
        assert (event["id"], event["text"], event["owner"]) == (message_id, "Is it ready?", False)
        assert event["conversationId"] == history[0]["conversation_id"]
    contact = wati("GET", f"/contacts/{new}").json()
    assert (contact["phone"], contact["wa_id"], contact["name"]) == (None, None, "Nele")


def test_another_speed_moves_what_is_still_to_come(wati: Caller, receive: Receive) -> None:
    """At ten times the speed a message is delivered within a second, as the API shows it."""
    receiver = receive()
    subscribe(wati, receiver.url, *STATUSES)
    wati.send_template(ADA)
    wati.advance(0.9)
    assert settled(wati) == []
    wati.control("POST", "/clock", json={"speed": 10})
    settled(wati)
    assert names(receiver)[:2] == ["templateMessageSent", "sentMessageDELIVERED"]
    wati.control("POST", "/clock", json={"speed": 1})
    wati.advance(3600)
    settled(wati)
    assert names(receiver)[:2] == ["templateMessageSent", "sentMessageDELIVERED"]
    assert len(set(names(receiver))) == len(names(receiver))


def test_a_large_campaign_costs_nothing_per_message_without_a_subscriber() -> None:
    """100,000 messages pass through all their stages in a few hundred steps when nobody listens."""
    workspace = Workspace("t", Settings())
    workspace.clock.freeze()
    _place(workspace, 100_000)
    workspace.clock.advance(3600)
    began = time.process_time()
    workspace.advance()
    # A step per message would take minutes.
    assert time.process_time() - began < 10.0
    assert (workspace.deliveries.waiting, len(workspace.recorder.courses)) == (0, 0)


def test_a_large_campaign_keeps_the_queue_short() -> None:
    """With a subscriber, statuses wait in the campaign until the queue has room, and none is lost."""
    workspace = Workspace("t", Settings())
    workspace.clock.freeze()
    [webhook] = workspace.state.webhooks
    webhook.status, webhook.event_types = "Enabled", [*STATUSES_V2]
    _place(workspace, 100_000)
    workspace.clock.advance(3600)
    told = 0
    while True:
        workspace.advance()
        waiting = workspace.deliveries.waiting
        if not waiting:
            break
        assert waiting < MANY_WAITING + 2_000
        for lane in workspace.deliveries.lanes.values():
            while lane:
                told += 1
                lane.popleft()
        workspace.deliveries.waiting = 0
    read = sum(count_by_status(workspace.state, each)["read"] for each in workspace.state.broadcasts)
    assert told == 2 * 100_000 + read


def _place(workspace: Workspace, count: int) -> None:
    state = workspace.state
    template = state.templates[1]
    for start in range(0, count, 10_000):
        recipients = [Recipient(str(919800000001 + start + n), None, None, ((),)) for n in range(10_000)]
        place(state, Order(state.default_channel, template, "big", recipients))
