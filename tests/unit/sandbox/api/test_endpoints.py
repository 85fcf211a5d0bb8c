"""The ordinary answer of each endpoint. The fixture checks it against WATI's OpenAPI."""

from __future__ import annotations

import pytest
import requests

from tests.support.contract import load_contract
from tests.unit.sandbox.conftest import (
    ADA,
    BEN,
    DEFAULT_CHANNEL,
    GRACE_BSUID,
    NOBODY,
    PAGE,
    SUPPORT_CHANNEL,
    Caller,
)


def test_create_a_contact(wati: Caller) -> None:
    """A created contact is returned and found."""
    body = {"whatsapp_number": NOBODY, "name": "Nora", "custom_params": [{"name": "tier", "value": "new"}]}
    contact = wati("POST", "/contacts", json=body).json()
    assert (contact["wa_id"], contact["phone"]) == (NOBODY, f"+{NOBODY}")
    assert contact["custom_params"] == body["custom_params"]
    assert wati("GET", f"/contacts/{NOBODY}").json() == contact


@pytest.mark.parametrize("prefix", ["", f"{SUPPORT_CHANNEL}:", "Support:"])
def test_a_contact_is_found_by_every_documented_target(wati: Caller, prefix: str) -> None:
    """A contact is found by phone number, id, BSUID and channel."""
    ada = wati("GET", f"/contacts/{prefix}{ADA}").json()
    assert ada["name"] == "Ada Wong"
    assert wati("GET", f"/contacts/{prefix}{ada['id']}").json()["wa_id"] == ADA
    assert wati("GET", f"/contacts/{prefix}{GRACE_BSUID}").json()["name"] == "Grace"


def test_an_update_keeps_the_other_attributes(wati: Caller) -> None:
    """An update sets the named attributes only."""
    change = {"target": ADA, "customParams": [{"name": "tier", "value": "platinum"}]}
    answer = wati("PUT", "/contacts", json={"contacts": [change, {"target": BEN}]}).json()
    assert [contact["wa_id"] for contact in answer["contact_list"]] == [ADA, BEN]
    params = {param["name"]: param["value"] for param in answer["contact_list"][0]["custom_params"]}
    assert params == {"tier": "platinum", "city": "Hong Kong"}


def test_a_deleted_contact_is_gone(wati: Caller) -> None:
    """A deleted contact is a 404."""
    contact_id = wati("GET", f"/contacts/{ADA}").json()["id"]
    answer = wati("DELETE", f"/contacts/{ADA}").json()
    assert answer == {"contact_id": contact_id, "deleted": True, "cleanup_completed": True}
    assert wati("GET", f"/contacts/{ADA}").status_code == 404
    assert wati("GET", "/contacts/count").json() == {"contact_count": 6}
    assert ADA not in [talk["wa_id"] for talk in _conversations(wati)]


def test_contacts_are_counted_within_dates(wati: Caller) -> None:
    """The count of contacts is filtered by dates."""
    assert wati("GET", "/contacts/count").json() == {"contact_count": 7}
    assert wati("GET", "/contacts/count", params={"date_to": "2020-01-01"}).json() == {"contact_count": 0}


def test_teams_replace_each_other(wati: Caller) -> None:
    """Assigned teams replace the former ones."""
    for teams in (["Sales", "Support"], ["Billing"]):
        body = {"target": ADA, "teams": teams}
        assert wati("PUT", "/contacts/teams", json=body).json() == {"result": True}
    assert wati("GET", f"/contacts/{ADA}").json()["teams"] == ["Billing"]


def _conversations(wati: Caller, **query: str) -> list[dict[str, str]]:
    rows = wati("GET", "/conversations", params=PAGE | query).json()["conversation_list"]
    assert isinstance(rows, list)
    return rows


def test_conversations_are_listed_newest_first(wati: Caller) -> None:
    """Conversations are listed, the newest first."""
    assert _conversations(wati)[0]["wa_id"] == ADA
    wati.control("POST", "/inbound", json={"phone": BEN, "text": "Me again"})
    assert [talk["wa_id"] for talk in _conversations(wati)][:2] == [BEN, ADA]
    assert len(_conversations(wati, channel_type="WhatsApp")) == 7
    assert _conversations(wati, channel_type="instagram") == []


def test_text_appears_in_the_conversation(wati: Caller) -> None:
    """A sent text is in the messages of the conversation."""
    message = wati.send_text(ADA, "It is on its way").json()["message"]
    history = wati("GET", f"/conversations/{ADA}/messages", params=PAGE).json()["message_list"]
    assert history[0] == message
    assert [(each["text"], each["owner"]) for each in history] == [
        ("It is on its way", True),
        ("Hi, where is my order 1001?", False),
    ]
    by_id = wati("GET", f"/conversations/{message['conversation_id']}/messages", params=PAGE).json()
    assert by_id["message_list"] == history


def test_an_uploaded_file_can_be_fetched(wati: Caller) -> None:
    """An uploaded file comes back unchanged."""
    content = bytes(range(256))
    answer = wati(
        "POST",
        "/conversations/messages/file",
        data={"target": ADA, "caption": "Your label"},
        files={"file": ("label ü.png", content, "image/png")},
    )
    message = answer.json()["message"]
    assert (message["type"], message["text"]) == ("image", "Your label")
    media = wati("GET", f"/conversations/messages/file/{message['id']}")
    assert media.content == content
    assert media.headers["Content-Type"] == "application/octet-stream"
    assert "label" in media.headers["Content-Disposition"]


def test_a_file_by_url(wati: Caller) -> None:
    """A file by URL is a message with media."""
    body = {"target": ADA, "file_url": "https://acme.example/bill.pdf", "caption": None}
    message = wati("POST", "/conversations/messages/fileViaUrl", json=body).json()["message"]
    assert message["type"] == "document"
    media = wati("GET", f"/conversations/messages/file/{message['id']}")
    assert b"https://acme.example/bill.pdf" in media.content


def test_media_that_a_customer_sent(wati: Caller) -> None:
    """Media of a customer can be fetched."""
    media = {"file_name": "a.jpg", "mime_type": "image/jpeg", "data": "/9j/"}
    message = wati.control("POST", "/inbound", json={"phone": ADA, "media": media})["message"]
    assert wati("GET", f"/conversations/messages/file/{message['id']}").content == b"\xff\xd8\xff"


def test_buttons_and_list(wati: Caller) -> None:
    """Buttons and lists are messages of their types."""
    buttons = {
        "header": {"type": "text", "text": "Order 1001"},
        "body": "Deliver today?",
        "buttons": [{"text": "Yes"}, {"text": "No"}],
    }
    list_ = {
        "body": "Pick a slot",
        "button_text": "Choose",
        "sections": [{"title": "Today", "rows": [{"title": "10:00", "description": "Morning"}]}],
    }
    for body in (
        {"type": "buttons", "button_message": buttons},
        {"type": "list", "list_message": list_},
    ):
        answer = wati("POST", "/conversations/messages/interactive", json={"target": ADA, **body})
        assert answer.json()["message"]["type"] == "interactive"
    assert wati.texts_to(ADA) == [
        "Order 1001\nDeliver today?\n[Yes]\n[No]",
        "Pick a slot\n[Choose]\n- 10:00",
    ]


def test_operator_status_and_tags(wati: Caller) -> None:
    """Assignee, status and tags of a conversation can be set."""
    for _ in range(2):
        assert wati("POST", f"/conversations/{ADA}/tags", json={"tag_name": "vip"}).status_code == 200
    body = {"assignee_email": "maria@acme.example"}
    assert wati("PUT", f"/conversations/{ADA}/operator", json=body).json() == {"result": True}
    assert wati("PUT", f"/conversations/{ADA}/status", json={"new_status": "pending"}).json() == {
        "result": True
    }
    talk = _conversations(wati)[0]
    assert (talk["tags"], talk["assigned_id"], talk["status"]) == (["vip"], "maria@acme.example", "pending")

    assert wati("DELETE", f"/conversations/{ADA}/tags/vip").status_code == 200
    wati("PUT", f"/conversations/{ADA}/operator", json={"assignee_email": None})
    talk = _conversations(wati)[0]
    assert (talk["tags"], talk["assigned_id"]) == ([], None)


def test_templates_belong_to_channels(wati: Caller) -> None:
    """Templates are listed for their channel only."""
    answer = wati("GET", "/messageTemplates", params=PAGE).json()
    statuses = {template["name"]: template["status"] for template in answer["templates"]}
    assert statuses == {
        "order_update": "APPROVED",
        "welcome": "APPROVED",
        "spring_sale": "PENDING",
        "old_promo": "REJECTED",
    }
    assert answer["total"] == 4
    support = wati("GET", "/messageTemplates", params=PAGE | {"channel": "Support"}).json()
    assert support["total"] == 5
    first = answer["templates"][0]
    assert wati("GET", f"/messageTemplates/{first['id']}").json() == first
    assert [param["name"] for param in first["custom_params"]] == ["name", "order_id", "status"]


def test_channels_and_chatbots(wati: Caller) -> None:
    """Channels and chatbots are listed, and a chatbot starts."""
    channels = wati("GET", "/channels", params=PAGE).json()["channels"]
    assert [(each["name"], each["id"] is None) for each in channels] == [
        ("Default", True),
        ("Support", False),
    ]
    chatbots = wati("GET", "/chatbots", params=PAGE).json()["chatbot_list"]
    assert [each["name"] for each in chatbots] == ["Welcome bot", "Order status bot"]
    body = {"target": f"{DEFAULT_CHANNEL}:{ADA}", "chatbot_id": chatbots[1]["id"]}
    assert wati("POST", "/chatbots/start", json=body).json() == {"result": True}
    assert wati.texts_to(ADA) == ["Please send us your order number."]


def test_account_and_webhooks(wati: Caller) -> None:
    """Balance and webhooks answer as documented."""
    assert wati("GET", "/account/credits").json()["currency"] == "USD"
    assert "message" in wati("GET", "/webhooks/event-types").json()["event_types"]
    webhook = wati("GET", "/webhooks").json()["webhooks"][0]
    body = {"url": "https://new.example/", "eventTypes": ["message"], "status": "Disabled"}
    assert wati("PUT", f"/webhooks/{webhook['id']}", json=body).json() == {"id": webhook["id"], **body}
    assert wati("GET", "/webhooks").json()["webhooks"] == [{"id": webhook["id"], **body}]


def test_cost_estimate_and_overview(wati: Caller) -> None:
    """The cost estimate and the overview answer as documented."""
    template_id = wati("GET", "/messageTemplates", params=PAGE).json()["templates"][0]["id"]
    contact_id = wati("GET", f"/contacts/{ADA}").json()["id"]
    body = {"template_id": template_id, "contact_ids": [contact_id]}
    answer = wati("POST", "/broadcasts/estimate-cost", json=body).json()
    assert (answer["result"], answer["estimated_cost"]) == (True, 0.05)
    assert wati.texts_to(ADA) == []

    wati.send_template(ADA, BEN)
    wati.advance(100)
    period = {"date_from": "2020-01-01T00:00:00Z", "date_to": "2999-01-01T00:00:00Z"}
    assert wati("GET", "/broadcasts/overview", params=period).json()["total_delivered"] == 2
    searched = period | {"search_string": "no such campaign"}
    assert wati("GET", "/broadcasts/overview", params=searched).json()["total_delivered"] == 0


def test_the_page_shows_what_was_sent_and_escapes_it(wati: Caller) -> None:
    """What was sent reaches the page as JSON alone; its HTML has no text of a message, and no script of its own."""
    before = wati.session.get(f"{wati.server.url}/", headers={"Authorization": ""}).text
    wati.send_template(ADA, broadcast_name="<b>bold</b>")
    wati.send_text(ADA, "<script>alert(1)</script>")
    page = wati.session.get(f"{wati.server.url}/", headers={"Authorization": ""})
    assert page.text == before
    assert "<script>" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert wati.control("GET", "/page/campaigns")["rows"][0]["name"] == "<b>bold</b>"
    talk = wati.control("GET", f"/page/conversations?query={ADA}")["rows"][0]
    assert talk["preview"] == "<script>alert(1)</script>"
    answer = requests.get(f"{wati.server.url}/_sandbox/page/conversations/{talk['id']}", timeout=60)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["messages"][-1]["body"] == "<script>alert(1)</script>"


def test_every_operation_of_the_contract_has_been_answered(running: Caller) -> None:
    """Keep this test last in the file: it looks back at the ones above."""
    load_contract()
    assert running.check is not None
    # Sends and campaigns have tests of their own.
    elsewhere = {
        "POST /messageTemplates/schedule",
        "GET /broadcasts",
        "GET /broadcasts/{broadcast_id}",
        "GET /broadcasts/{broadcast_id}/recipients",
        "GET /contacts",
    }
    if running.check.exercised["POST /chatbots/start"] == 0:
        pytest.skip("the other tests of this file did not run")
    assert running.check.unexercised() <= elsewhere
