"""Every method of the client against the sandbox, whose state tells what the call did."""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.client import Target, WatiClient
from airflow_provider_wati.exceptions import WatiNotFoundError, WatiRejectedError

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA, BEN, EVAN, FARAH, NEW = "12025550143", "12025550144", "12025550147", "12025550148", "85264318722"
GRACE = "US.13491208655302741918"
PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}
DEFAULT, SUPPORT = "14155550100", "14155550101"


class Recorder:
    """A client that remembers which of its methods were called."""

    def __init__(self, client: WatiClient) -> None:
        self._client = client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._client, name)


def public_methods() -> set[str]:
    return {
        name for name, _ in inspect.getmembers(WatiClient, inspect.isfunction) if not name.startswith("_")
    } - {"close", "dispatch_template"}


@pytest.fixture
def wati(sandbox: Sandbox) -> Iterator[Any]:
    with sandbox.client(channel=None) as client:
        yield Recorder(client)


def test_every_method(wati: Any, sandbox: Sandbox) -> None:
    """Every public method does against the sandbox what it says, in calls that WATI's OpenAPI allows."""
    contacts(wati, sandbox)
    messages(wati, sandbox)
    conversations(wati, sandbox)
    templates_and_campaigns(wati, sandbox)
    account(wati, sandbox)
    assert wati.called == public_methods()
    if sandbox.contract_check is not None:
        assert sandbox.contract_check.unexercised() == set()
        official = [name for name in sandbox.contract_check.contract.operations if "webhooks" not in name]
        assert len(official) >= 25


def contacts(wati: Any, sandbox: Sandbox) -> None:
    people = sandbox.state.by_phone
    created = wati.create_contact(NEW, "Bob Li", {"tier": "gold"})
    assert (people[NEW].id, people[NEW].name) == (created["id"], "Bob Li")
    assert people[NEW].custom_params == {"tier": "gold"}

    assert wati.get_contact(NEW) == created
    assert wati.get_contact(Target.contact(created["id"])) == created
    assert wati.get_contact(f"{SUPPORT}:{NEW}") == created
    assert wati.get_contact(GRACE)["name"] == "Grace"

    updated = wati.update_contacts(
        [
            {"target": NEW, "custom_params": {"tier": "black"}},
            {"target": people[BEN].id, "custom_params": [{"name": "city", "value": "Accra"}]},
        ]
    )
    assert [contact["name"] for contact in updated] == ["Bob Li", "Ben Okafor"]
    assert people[NEW].custom_params == {"tier": "black"}
    assert people[BEN].custom_params == {"tier": "silver", "city": "Accra"}

    wati.assign_teams(NEW, ["Billing", "Sales"])
    assert people[NEW].teams == ("Billing", "Sales")

    sandbox.control("POST", "/contacts", {"count": 250})
    listed = [contact["id"] for contact in wati.iter_contacts()]
    assert len(listed) == len(set(listed)) == len(sandbox.state.contacts) == wati.count_contacts()
    assert wati.count_contacts(date_from="2099-01-01") == 0

    gone = wati.delete_contact(NEW)
    assert (gone["contact_id"], gone["deleted"]) == (created["id"], True)
    assert NEW not in people
    with pytest.raises(WatiNotFoundError):
        wati.get_contact(NEW)


def messages(wati: Any, sandbox: Sandbox) -> None:
    text = wati.send_text(ADA, "Hello 👋 ¿qué tal?")
    by_url = wati.send_file_url(ADA, "https://example.com/map.png", "A map")
    file = wati.send_file(
        f"{DEFAULT}:{ADA}",
        io.BytesIO(b"%PDF-1.4"),
        file_name="a.pdf",
        mime_type="application/pdf",
        caption="Bill",
    )
    asked = wati.send_buttons(ADA, "Today?", ["Yes", "No"], header="Order", footer="Acme")
    media_header = {"type": "image", "media": {"url": "https://example.com/a.png"}}
    pictured = wati.send_buttons(ADA, "This?", ["Yes"], header=media_header)
    menu = wati.send_list(
        ADA,
        "When?",
        "Choose",
        [{"title": "Today", "rows": [{"title": "10:00", "description": "d"}]}],
        header="Order",
        footer="Acme",
    )
    sent = [text, by_url, file, asked, pictured, menu]
    arrived = sandbox.messages_to(ADA)
    assert [message["message_id"] for message in arrived] == [message["id"] for message in sent]
    assert [message["type"] for message in arrived] == ["text", "image", "document", *["interactive"] * 3]
    assert [message["text"] for message in arrived] == [
        "Hello 👋 ¿qué tal?",
        "A map",
        "Bill",
        "Order\nToday?\nAcme\n[Yes]\n[No]",
        "This?\n[Yes]",
        "Order\nWhen?\nAcme\n[Choose]\n- 10:00",
    ]

    history = list(wati.iter_messages(ADA))
    assert [message["id"] for message in history[:6]] == [message["id"] for message in reversed(sent)]
    assert history[6]["text"] == "Hi, where is my order 1001?"

    with wati.get_media(file["id"]) as media:
        assert (b"".join(media.iter_bytes()), media.file_name, media.size) == (b"%PDF-1.4", "a.pdf", 8)
    photo = {"file_name": "p.jpg", "mime_type": "image/jpeg", "data": base64.b64encode(b"\xff\xd8").decode()}
    received = sandbox.control("POST", "/inbound", {"phone": ADA, "media": photo})["message"]
    with wati.get_media(received["id"]) as media:
        assert b"".join(media.iter_bytes(1)) == b"\xff\xd8"

    local_id = text["local_message_id"]
    assert wati.get_message_by_local_id(local_id, DEFAULT)["finalText"] == "Hello 👋 ¿qué tal?"
    with pytest.raises(WatiNotFoundError):
        wati.get_message_by_local_id(local_id, SUPPORT)


def conversations(wati: Any, sandbox: Sandbox) -> None:
    talk = sandbox.state.by_phone[ADA].conversations[0]
    default, support = sandbox.state.channels
    listed = [conversation["id"] for conversation in wati.iter_conversations()]
    assert set(listed) == {each.id for each in sandbox.state.conversations}
    assert listed[0] == talk.id
    assert [each["id"] for each in wati.iter_conversations("whatsapp", support.id)] == [
        each.id for each in sandbox.state.conversations if each.channel is support
    ]
    assert list(wati.iter_conversations(channel_type="instagram")) == []

    wati.assign_operator(ADA, "li@acme.example")
    assert talk.operator == "li@acme.example"
    wati.assign_operator(Target.conversation(talk.id), None)
    assert talk.operator is None
    for status in ("pending", "solved", "block", "open"):
        wati.update_conversation_status(talk.id, status)
        assert talk.status == status
    wati.add_tag(ADA, "follow-up")
    wati.add_tag(ADA, "follow-up")
    assert talk.tags == ("follow-up",)
    wati.remove_tag(ADA, "follow-up")
    assert talk.tags == ()
    wati.send_text(f"Support:{FARAH}", "On its way")
    farah = sandbox.state.by_phone[FARAH]
    assert [len(each.messages) for each in farah.conversations if each.channel is support] == [2]
    assert [len(each.messages) for each in farah.conversations if each.channel is default] == [1]


def templates_and_campaigns(wati: Any, sandbox: Sandbox) -> None:
    names = [template["name"] for template in wati.iter_templates()]
    assert names == [each.name for each in sandbox.state.templates if each.name != "ticket_closed"]
    assert "ticket_closed" in [template["name"] for template in wati.iter_templates("Support")]
    template = next(template for template in wati.iter_templates() if template["name"] == "order_update")
    assert wati.get_template(template["id"]) == template

    began = datetime.now(UTC) - timedelta(minutes=1)
    everybody = [
        {"phone_number": NEW, "params": PARAMS, "local_message_id": "order-1001-notice-1"},
        {"target": GRACE, "params": PARAMS},
        {"target": sandbox.state.by_phone[BEN].id, "custom_params": [{"name": "name", "value": "Ben"}]},
        {"target": "66b1fb04c0ac7000000fffff", "params": PARAMS},
    ]
    sent = wati.send_template_messages("order_update", "orders", everybody)
    assert [recipient.accepted for recipient in sent.recipients] == [True, True, True, False]
    assert sandbox.texts_to(NEW) == ["Hi Ada, your order 1001 is packed."]
    assert sandbox.texts_to(BEN) == ["Hi Ben, your order {{order_id}} is {{status}}."]
    assert sandbox.state.broadcasts[0].id == sent.campaign_id

    support = wati.send_template_messages(
        "ticket_closed", "tickets", [{"target": NEW, "params": {"name": "Ada", "ticket": "7"}}], "Support"
    )
    later = datetime.now(UTC) + timedelta(hours=2)
    planned = wati.schedule_template_messages("welcome", "planned", [{"target": BEN}], later, channel=DEFAULT)
    assert sandbox.state.broadcasts[2].starts_at == int(later.timestamp())

    assert [each["name"] for each in wati.iter_campaigns()] == ["planned", "orders"]
    assert [each["id"] for each in wati.iter_campaigns("Support")] == [support.campaign_id]
    campaign = wati.get_campaign(sent.campaign_id)
    assert (campaign["name"], campaign["statistics"]["total_recipients"]) == ("orders", 3)
    recipients = list(wati.iter_campaign_recipients(sent.campaign_id))
    assert [recipient["contact_phone"] for recipient in recipients] == [f"+{NEW}", None, f"+{BEN}"]
    assert recipients[0]["local_message_id"] == "order-1001-notice-1"
    assert wati.get_message_by_local_id("order-1001-notice-1", DEFAULT)["statusString"] == "QUEUED"

    wati.cancel_scheduled_campaign(planned.campaign_id)
    assert wati.get_campaign(planned.campaign_id)["status"] == "cancelled"
    sandbox.control("POST", "/clock", {"advance": 3 * 3600})
    assert sandbox.texts_to(BEN) == ["Hi Ben, your order {{order_id}} is {{status}}."]

    overview = wati.get_campaigns_overview(began, datetime.now(UTC) + timedelta(hours=1))
    assert (overview["total_sent"], overview["total_failed"]) == (2, 1)
    only_support = wati.get_campaigns_overview(began, datetime.now(UTC) + timedelta(hours=1), "Support")
    assert only_support["total_sent"] == 1

    ids = [sandbox.state.by_phone[phone].id for phone in (ADA, BEN)]
    assert wati.estimate_campaign_cost(template["id"], ids)["estimated_cost"] == 0.1
    with pytest.raises(WatiRejectedError, match="Template not found"):
        wati.estimate_campaign_cost("nothing", ids)


def account(wati: Any, sandbox: Sandbox) -> None:
    assert [channel["name"] for channel in wati.iter_channels()] == ["Default", "Support"]
    chatbots = {chatbot["name"]: chatbot["id"] for chatbot in wati.iter_chatbots()}
    assert list(chatbots) == ["Welcome bot", "Order status bot"]
    wati.start_chatbot(EVAN, chatbots["Welcome bot"])
    assert sandbox.texts_to(EVAN) == ["Hello! What can we do for you?"]
    wati.start_chatbot(sandbox.state.by_phone[EVAN].id, chatbots["Order status bot"])
    assert sandbox.texts_to(EVAN)[1:] == ["Please send us your order number."]

    assert (wati.get_credits()["credit"], wati.get_credits()["currency"]) == (1000.0, "USD")
    [hook] = sandbox.state.webhooks
    assert wati.get_webhooks()["webhooks"][0]["id"] == hook.id
    assert "message" in wati.get_webhook_event_types()["event_types"]
    created = wati.create_webhook("https://hooks.acme.example/b", ["message"], SUPPORT)
    listed = {
        "id": created["id"],
        "url": "https://hooks.acme.example/b",
        "event_types": ["message"],
        "status": "Enabled",
    }
    assert created == listed == wati.list_webhooks()[-1]
    assert sandbox.state.webhooks.pop().channel.phone == SUPPORT
    wati.update_webhook(hook.id, "https://hooks.acme.example/new", ["message"], enabled=False)
    assert (hook.url, hook.event_types, hook.status) == (
        "https://hooks.acme.example/new",
        ["message"],
        "Disabled",
    )


@pytest.mark.parametrize("missing_status", [404, 400])
def test_what_is_not_there(missing_status: int, sandbox: Sandbox) -> None:
    """A missing contact is a not-found error, by 404 or by 400."""
    sandbox.control("PATCH", "/settings", {"missing_status": missing_status})
    wati = sandbox.client()
    with pytest.raises(WatiNotFoundError) as raised:
        wati.get_contact(NEW)
    assert raised.value.status_code == missing_status


def test_pages_of_messages_and_recipients(sandbox: Sandbox) -> None:
    """Lists longer than a page come whole and in order."""
    wati = sandbox.client()
    wanted = [{"target": str(85264310000 + n)} for n in range(201)]
    sent = wati.send_template_messages("welcome", "all", wanted)
    assert sent.campaign_id is not None
    phones = [recipient["contact_phone"] for recipient in wati.iter_campaign_recipients(sent.campaign_id)]
    assert phones == [f"+{recipient['target']}" for recipient in wanted]
    for n in range(100):
        sandbox.control("POST", "/inbound", {"phone": ADA, "text": str(n)})
    texts = [message["text"] for message in wati.iter_messages(ADA)]
    assert texts == [*map(str, range(99, -1, -1)), "Hi, where is my order 1001?"]
    assert sum(path.endswith("/messages") for path in sandbox.requests("GET")) == 2


def test_a_full_last_page_is_the_end(sandbox: Sandbox) -> None:
    """A list whose last page is full ends with it."""
    wati = sandbox.client()
    sandbox.control("POST", "/contacts", {"count": 200 - len(sandbox.state.contacts)})
    assert sum(1 for _ in wati.iter_contacts()) == 200
