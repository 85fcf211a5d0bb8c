"""The sandbox refuses what WATI would refuse, without any effect."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.unit.sandbox.conftest import (
    ADA,
    BEN,
    CHITRA_WINDOW_CLOSED,
    DANA_NEVER_WROTE,
    FARAH_ON_TWO_CHANNELS,
    NOBODY,
    PAGE,
    SUPPORT_CHANNEL,
    Caller,
    order_recipient,
)

UNKNOWN_ID = "507f1f77bcf86cd799439011"
TEXT = "/conversations/messages/text"
INTERACTIVE = "/conversations/messages/interactive"
NEW = {"whatsapp_number": NOBODY, "name": "Nora"}
BUTTONS = {"target": ADA, "type": "buttons"}
LIST = {"target": ADA, "type": "list"}


def _section(rows: int, **row: str) -> dict[str, Any]:
    return {"title": "Today", "rows": [{"title": "10:00", **row} for _ in range(rows)]}


BAD_BODIES: list[tuple[str, str, Any]] = [
    # contacts
    ("POST", "/contacts", {"name": "Nora"}),
    ("POST", "/contacts", {"whatsapp_number": NOBODY}),
    ("POST", "/contacts", NEW | {"whatsapp_number": int(NOBODY)}),
    ("POST", "/contacts", NEW | {"whatsapp_number": f"+{NOBODY}"}),
    ("POST", "/contacts", NEW | {"customParams": []}),
    ("POST", "/contacts", NEW | {"custom_params": [{"name": "tier", "value": 1}]}),
    ("POST", "/contacts", NEW | {"custom_params": [{"name": "tier", "value": None}]}),
    ("POST", "/contacts", NEW | {"custom_params": [{"name": "tier"}]}),
    ("POST", "/contacts", NEW | {"custom_params": {"tier": "gold"}}),
    ("POST", "/contacts", [NEW]),
    ("PUT", "/contacts", {}),
    ("PUT", "/contacts", {"contacts": [{"target": ADA, "custom_params": []}]}),
    ("PUT", "/contacts", {"contacts": [{"customParams": []}]}),
    ("PUT", "/contacts", {"contacts": [{"target": ADA, "customParams": [{"name": "a", "value": True}]}]}),
    ("PUT", "/contacts/teams", {"target": ADA, "teams": "Sales"}),
    ("PUT", "/contacts/teams", {"target": ADA, "teams": ["No such team"]}),
    # conversations
    ("PUT", f"/conversations/{ADA}/operator", {}),
    ("PUT", f"/conversations/{ADA}/operator", {"assignee_email": "nobody@acme.example"}),
    ("PUT", f"/conversations/{ADA}/status", {"new_status": "OPEN"}),
    ("PUT", f"/conversations/{ADA}/status", {"new_status": "closed"}),
    ("POST", f"/conversations/{ADA}/tags", {"tag": "vip"}),
    # messages
    ("POST", TEXT, {"target": ADA}),
    ("POST", TEXT, {"target": ADA, "text": ""}),
    ("POST", TEXT, {"target": ADA, "text": "x" * 4097}),
    ("POST", TEXT, {"target": ADA, "text": "Hello", "local_message_id": "my-own-id-1"}),
    ("POST", TEXT, {"target": ADA, "text": "Hello", "is_bot": "true"}),
    ("POST", TEXT, {"target": f"+{ADA}", "text": "Hello"}),
    ("POST", TEXT, {"target": f"Default:{ADA}", "text": "Hello"}),
    ("POST", "/conversations/messages/fileViaUrl", {"target": ADA, "file_url": "/etc/passwd"}),
    ("POST", INTERACTIVE, BUTTONS),
    ("POST", INTERACTIVE, BUTTONS | {"button_message": {"buttons": [{"text": "Yes"}]}}),
    ("POST", INTERACTIVE, BUTTONS | {"button_message": {"body": "Ok?", "buttons": []}}),
    ("POST", INTERACTIVE, BUTTONS | {"button_message": {"body": "Ok?", "buttons": [{"text": "Yes"}] * 4}}),
    ("POST", INTERACTIVE, BUTTONS | {"button_message": {"body": "Ok?", "buttons": [{"text": "x" * 21}]}}),
    ("POST", INTERACTIVE, BUTTONS | {"button_message": {"body": "x" * 1025, "buttons": [{"text": "Yes"}]}}),
    (
        "POST",
        INTERACTIVE,
        BUTTONS | {"button_message": {"body": "Ok?", "buttons": [{"text": "Y", "id": "1"}]}},
    ),
    ("POST", INTERACTIVE, LIST | {"type": "carousel"}),
    ("POST", INTERACTIVE, LIST | {"list_message": {"body": "Pick", "sections": [_section(1)]}}),
    (
        "POST",
        INTERACTIVE,
        LIST
        | {"list_message": {"body": "Pick", "button_text": "Go", "sections": [_section(6), _section(5)]}},
    ),
    (
        "POST",
        INTERACTIVE,
        LIST | {"list_message": {"body": "Pick", "button_text": "Go", "sections": [_section(1, id="1")]}},
    ),
    (
        "POST",
        INTERACTIVE,
        LIST
        | {
            "list_message": {
                "body": "Pick",
                "button_text": "Go",
                "sections": [_section(1, description="x" * 73)],
            }
        },
    ),
    # chatbots, campaigns, webhooks
    ("POST", "/chatbots/start", {"target": ADA}),
    ("POST", "/broadcasts/estimate-cost", {"template_id": UNKNOWN_ID, "contact_ids": []}),
    ("PUT", "/webhooks/65b7a1c23eb4004a00000001", {"url": "https://x.example", "eventTypes": ["nonsense"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD_BODIES)
def test_a_body_that_breaks_the_schema_is_a_400_with_the_envelope(
    wati: Caller, method: str, path: str, body: Any
) -> None:
    """A body with a missing, unknown or wrong member is a 400."""
    before = wati.control("GET", "/state")
    response = wati(method, path, json=body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "timestamp"}
    assert response.json()["code"] == 400
    after = wati.control("GET", "/state")
    assert (after["contacts"], after["messages"]) == (before["contacts"], before["messages"])


BAD_SENDS: list[tuple[dict[str, Any], str]] = [
    ({"template_name": "no_such_template"}, "Template not found"),
    ({"template_name": "ticket_closed"}, "Template not found"),
    ({"template_name": "spring_sale"}, "Template is not approved"),
    ({"template_name": "old_promo"}, "Template is not approved"),
    ({"template_name": None}, "template_name must be a string."),
    ({"broadcast_name": ""}, "broadcast_name is required."),
    ({"channel": "Default"}, "Channel not found"),
    ({"channel": "No such channel"}, "Channel not found"),
    ({"channel_number": SUPPORT_CHANNEL}, "channel_number is not a known member."),
    ({"recipients": []}, "recipients must be an array of 1 to 10000 items."),
    ({"recipients": [{"phone_number": ADA}] * 10_001}, "recipients must be an array of 1 to 10000 items."),
    ({"recipients": [{"custom_params": []}]}, "recipients[0] needs a phone_number or a target."),
    ({"recipients": [{"phone_number": int(ADA)}]}, "recipients[0] must hold strings."),
    ({"recipients": [{"phone_number": ADA, "local_message_id": 7}]}, "recipients[0] must hold strings."),
    ({"recipients": [{"whatsappNumber": ADA}]}, "recipients[0].whatsappNumber is not a known member."),
    (
        {"recipients": [{"phone_number": ADA, "customParams": []}]},
        "recipients[0].customParams is not a known member.",
    ),
    (
        {"recipients": [order_recipient(BEN), order_recipient(ADA, custom_params={"name": "Ada"})]},
        "recipients[1].custom_params must be an array.",
    ),
    (
        {"recipients": [order_recipient(ADA, custom_params=[{"name": "order_id", "value": 1001}])]},
        "recipients[0].custom_params: name and value must be strings.",
    ),
    ({"scheduled_at": "tomorrow"}, "scheduled_at must be a date-time."),
    ({"scheduled_at": None}, "scheduled_at must be a string."),
]


@pytest.mark.parametrize(("change", "message"), BAD_SENDS)
def test_a_bad_send_is_refused_as_a_whole(wati: Caller, change: dict[str, Any], message: str) -> None:
    """A send with an error in its body sends to nobody."""
    response = wati.send_template(ADA, BEN, **change)
    assert (response.status_code, response.json()["message"]) == (400, message)
    assert wati.control("GET", "/people")["messages"] == 0
    assert wati.control("GET", "/state")["broadcasts"] == 0


def test_schedule_needs_a_time(wati: Caller) -> None:
    """A schedule without a time is a 400."""
    body = {"template_name": "welcome", "broadcast_name": "x", "recipients": [{"phone_number": ADA}]}
    response = wati("POST", "/messageTemplates/schedule", json=body)
    assert (response.status_code, response.json()["message"]) == (400, "scheduled_at is required.")


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": NaN}', b"\xff"])
def test_a_body_that_is_not_json_is_refused(wati: Caller, data: bytes) -> None:
    """A body that is not JSON is a 400."""
    headers = {"Content-Type": "application/json"}
    response = wati("POST", "/contacts", data=data, headers=headers)
    assert (response.status_code, response.json()["message"]) == (400, "The body is not valid JSON.")


def test_another_content_type_is_refused(wati: Caller) -> None:
    """A JSON body with another content type is a 415."""
    raw = f'{{"whatsapp_number": "{NOBODY}", "name": "Nora"}}'
    assert wati("POST", "/contacts", data=raw, headers={"Content-Type": "text/plain"}).status_code == 415
    for media_type in ("application/json-patch+json", "text/json; charset=utf-8", "application/x+json"):
        wati.settings(duplicate_contact="ignore")
        response = wati.session.post(
            f"{wati.server.url}/api/ext/v3/contacts", data=raw, headers={"Content-Type": media_type}
        )
        assert response.status_code == 200
    if wati.check:
        wati.check.violations.clear()  # the description does not list every form of the media type


@pytest.mark.parametrize(
    "page",
    [
        {"page_number": 0, "page_size": 10},
        {"page_number": ""},
        {"page_size": 101},
        {"page_number": 1, "page_size": 0},
        {"page_number": 1, "page_size": 101},
        {"page_number": -1, "page_size": 10},
        {"page_number": "x", "page_size": 10},
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "/contacts",
        "/conversations",
        f"/conversations/{ADA}/messages",
        "/messageTemplates",
        "/broadcasts",
        "/channels",
        "/chatbots",
    ],
)
def test_page_numbers_and_sizes(wati: Caller, path: str, page: dict[str, Any]) -> None:
    """Page number and size are limited."""
    assert wati("GET", path, params=page).status_code == 400
    if wati.check:
        wati.check.violations.clear()  # the description requires both numbers


def test_contacts_are_paged_without_a_total(wati: Caller) -> None:
    """The list of contacts has no total."""
    pages = [
        wati("GET", "/contacts", params={"page_number": each, "page_size": 3}).json() for each in (1, 2, 3, 4)
    ]
    assert [len(page["contact_list"]) for page in pages] == [3, 3, 1, 0]
    assert len({contact["id"] for page in pages for contact in page["contact_list"]}) == 7
    assert {frozenset(page) for page in pages} == {frozenset({"contact_list", "page_number", "page_size"})}


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "sandbox-token", "Bearer", "Basic sandbox-token", "Bearer  "]
)
def test_a_wrong_token_is_a_401_without_a_body(wati: Caller, authorization: str | None) -> None:
    """A wrong token is a 401 with an empty body."""
    for url in (
        f"{wati.server.url}/api/ext/v3/account/credits",
        f"{wati.server.endpoint}/api/v1/whatsApp/messages/{SUPPORT_CHANNEL}/order-1001-x",
    ):
        headers = {"Authorization": authorization} if authorization else {}
        response = requests.get(url, headers=headers, timeout=60)
        assert (response.status_code, response.content) == (401, b"")


def test_a_401_can_be_plain_text(wati: Caller) -> None:
    """The setting unauthorized_text gives a 401 with a text."""
    wati.settings(unauthorized_text="No Access Token provided")
    response = requests.get(f"{wati.server.url}/api/ext/v3/account/credits", timeout=60)
    assert (response.status_code, response.text) == (401, "No Access Token provided")
    assert response.headers["Content-Type"].startswith("text/plain")


SCOPES = [
    ("contactsv3:write", "POST", "/contacts"),
    ("wati_integration:write", "PUT", "/contacts"),
    ("contactsv3:read", "GET", "/contacts"),
    ("conversationsv3:read", "GET", "/conversations"),
    ("conversationsv3:write", "PUT", f"/conversations/{ADA}/status"),
    ("wati_integration:write", "POST", TEXT),
    ("messagetemplatev3:read", "GET", "/messageTemplates"),
    ("messagetemplatev3:write", "POST", "/messageTemplates/send"),
    ("campaignsv3:read", "GET", "/broadcasts"),
    ("chatbotsv3:write", "POST", "/chatbots/start"),
]


@pytest.mark.parametrize(("scope", "method", "path"), SCOPES)
def test_one_scope_of_the_list_is_enough_and_another_is_not(
    wati: Caller, scope: str, method: str, path: str
) -> None:
    """One of the documented scopes is enough; any other is a 403."""

    def status(token: str) -> int:
        url = f"{wati.server.url}/api/ext/v3{path}"
        headers = {"Authorization": f"Bearer {token}"}
        response = requests.request(method, url, headers=headers, json={}, timeout=60)
        if response.status_code == 403:
            assert scope in response.json()["message"]
        return response.status_code

    wati.control("POST", "/tokens", json={"token": "able", "scopes": [scope]})
    wati.control("POST", "/tokens", json={"token": "unable", "scopes": ["contacts:read"]})
    # Past the scopes an empty body is a 400, and a list has a first page.
    answered = 200 if method == "GET" else 400
    assert (status("able"), status("unable"), status("nobody")) == (answered, 403, 401)
    if wati.check:
        wati.check.violations.clear()  # a GET with a body, which only this test sends


def test_the_tenant_belongs_to_v1_and_only_there(wati: Caller) -> None:
    """V1 paths have the tenant, V3 paths do not."""
    headers = wati.session.headers
    wati.send_template(order_recipient(ADA, local_message_id="order-1001-x"))
    message = "/api/v1/whatsApp/messages/14155550100/order-1001-x"
    url = wati.server.url
    expected = {
        f"{url}/100001{message}": 200,
        f"{url}{message}": 404,
        f"{url}/999999{message}": 404,
        f"{url}/api/ext/v3/account/credits": 200,
        f"{url}/100001/api/ext/v3/account/credits": 404,
        f"{url}/api/ext/v3/no-such-thing": 404,
        f"{url}/api/ext/v3/account/credits/": 404,
    }
    for address, status in expected.items():
        response = requests.get(address, headers=headers, timeout=60)
        assert response.status_code == status, address
        assert response.content == b"" or status == 200


def test_a_wrong_method_is_a_405(wati: Caller) -> None:
    """A known path with another method is a 405."""
    response = wati("PATCH", "/contacts")
    assert (response.status_code, response.content) == (405, b"")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/contacts/{NOBODY}", None),
        ("GET", f"/contacts/{UNKNOWN_ID}", None),
        ("DELETE", f"/contacts/{NOBODY}", None),
        ("GET", f"/conversations/{NOBODY}/messages?page_number=1&page_size=5", None),
        ("PUT", f"/conversations/{DANA_NEVER_WROTE}/status", {"new_status": "open"}),
        ("GET", f"/conversations/messages/file/{UNKNOWN_ID}", None),
        ("GET", f"/messageTemplates/{UNKNOWN_ID}", None),
        ("GET", f"/broadcasts/{UNKNOWN_ID}", None),
        ("GET", f"/broadcasts/{UNKNOWN_ID}/recipients?page_number=1&page_size=5", None),
        ("POST", "/chatbots/start", {"target": ADA, "chatbot_id": UNKNOWN_ID}),
    ],
)
def test_an_unknown_id_is_a_404_or_by_choice_a_400(wati: Caller, method: str, path: str, body: Any) -> None:
    """An unknown id is a 404, or a 400 by the setting."""
    response = wati(method, path, json=body)
    assert (response.status_code, response.content) == (404, b"")
    wati.settings(missing_status=400)
    response = wati(method, path, json=body)
    assert response.status_code == 400
    assert "not found" in response.json()["message"]


def test_an_unknown_tag_is_always_a_404(wati: Caller) -> None:
    """An unknown tag is a 404 in each setting."""
    wati.settings(missing_status=400)
    assert wati("POST", f"/conversations/{ADA}/tags", json={"tag_name": "unheard of"}).status_code == 404
    assert wati("DELETE", f"/conversations/{ADA}/tags/unheard of").status_code == 404


def test_a_contact_id_names_no_conversation(wati: Caller) -> None:
    """A contact id is refused as a conversation."""
    contact_id = wati("GET", f"/contacts/{ADA}").json()["id"]
    assert wati("GET", f"/conversations/{contact_id}/messages", params=PAGE).status_code == 404


def test_several_open_conversations_are_a_conflict_without_a_channel(wati: Caller) -> None:
    """Two open conversations are a 409 until the channel is named."""
    assert wati.send_text(FARAH_ON_TWO_CHANNELS).status_code == 409
    assert wati("GET", f"/conversations/{FARAH_ON_TWO_CHANNELS}/messages", params=PAGE).status_code == 409
    assert wati.send_text(f"Support:{FARAH_ON_TWO_CHANNELS}", "About your parcel").status_code == 200
    solved = {"new_status": "solved"}
    wati("PUT", f"/conversations/Support:{FARAH_ON_TWO_CHANNELS}/status", json=solved)
    assert wati.send_text(FARAH_ON_TWO_CHANNELS, "About your order").status_code == 200


def test_the_window_closes_after_24_hours_and_a_customer_message_opens_it(wati: Caller) -> None:
    """Text is refused 24 hours after the last message of the customer."""
    for target in (CHITRA_WINDOW_CLOSED, DANA_NEVER_WROTE, NOBODY):
        response = wati.send_text(target)
        assert (response.status_code, response.json()["message"]) == (400, "Ticket has been expired.")
    assert wati.send_text(ADA).status_code == 200
    wati.advance(23 * 3600 + 1)
    assert wati.send_text(ADA).status_code == 400
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hello?"})
    assert wati.send_text(ADA).status_code == 200


@pytest.mark.parametrize(
    ("choice", "status", "name"),
    [("refuse", 400, "Ada Wong"), ("overwrite", 200, "Else"), ("ignore", 200, "Ada Wong")],
)
def test_creating_a_contact_twice(wati: Caller, choice: str, status: int, name: str) -> None:
    """A second creation is refused, overwrites or is ignored, by the setting."""
    wati.settings(duplicate_contact=choice)
    body = {"whatsapp_number": ADA, "name": "Else"}
    assert wati("POST", "/contacts", json=body).status_code == status
    assert wati("GET", f"/contacts/{ADA}").json()["name"] == name
    assert wati("GET", "/contacts/count").json() == {"contact_count": 7}


def test_an_update_with_an_unknown_contact_changes_nobody(wati: Caller) -> None:
    """A bulk update with an unknown contact changes nobody."""
    params = [{"name": "tier", "value": "lost"}]
    body = {"contacts": [{"target": ADA, "customParams": params}, {"target": NOBODY, "customParams": params}]}
    response = wati("PUT", "/contacts", json=body)
    assert (response.status_code, response.json()["message"]) == (400, f"Contact not found: {NOBODY}")
    tiers = wati("GET", f"/contacts/{ADA}").json()["custom_params"]
    assert params[0] not in tiers

    wati.settings(unknown_contact_in_update="skip")
    assert len(wati("PUT", "/contacts", json=body).json()["contact_list"]) == 1


@pytest.mark.parametrize(("length", "status"), [(9, 400), (10, 200), (64, 200), (65, 400)])
def test_v1_looks_up_local_ids_of_10_to_64_characters(wati: Caller, length: int, status: int) -> None:
    """The V1 look-up takes local ids of 10 to 64 characters."""
    local_id = "x" * length
    assert wati.send_template(order_recipient(ADA, local_message_id=local_id)).status_code == 200
    response = wati.v1("GET", f"/whatsApp/messages/14155550100/{local_id}")
    assert response.status_code == status
    if status == 400:
        assert response.json()["message"] == "Local message ID length must be between 10 and 64 characters"


def test_v1_needs_the_phone_number_of_the_channel(wati: Caller) -> None:
    """The V1 look-up needs the phone number of the channel."""
    wati.send_template(order_recipient(ADA, local_message_id="order-1001-x"))
    assert wati.v1("GET", "/whatsApp/messages/14155550100/order-1001-x").status_code == 200
    for number in (SUPPORT_CHANNEL, ADA):
        assert wati.v1("GET", f"/whatsApp/messages/{number}/order-1001-x").status_code == 404


@pytest.mark.parametrize("missing", ["target", "file"])
def test_an_upload_needs_a_target_and_a_file(wati: Caller, missing: str) -> None:
    """An upload without a target or a file is a 400."""
    parts = {"target": (None, ADA), "file": ("a.txt", b"a", "text/plain")}
    del parts[missing]
    response = wati("POST", "/conversations/messages/file", files=parts)
    assert (response.status_code, response.json()["message"]) == (400, f"{missing} is required.")


def test_an_upload_keeps_to_the_documented_size(wati: Caller) -> None:
    """A file over the documented size is a 400."""
    image = {"file": ("a.png", bytes(5 * 1024 * 1024 + 1), "image/png")}
    response = wati("POST", "/conversations/messages/file", data={"target": ADA}, files=image)
    assert (response.status_code, response.json()["message"]) == (400, "The file is too large.")


def test_growth_has_rate_limits_and_no_chatbots(wati: Caller) -> None:
    """The plan growth has rate limits, and no chatbots and webhooks."""
    wati.settings(plan="growth", retry_after="seconds")
    statuses = [wati("GET", f"/contacts/{ADA}").status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    refused = wati("GET", "/contacts/count")
    assert (refused.status_code, refused.content) == (429, b"")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert wati.send_template(ADA).status_code == 200
    assert wati("GET", "/chatbots", params=PAGE).status_code == 403
    assert wati("GET", "/webhooks").status_code == 403
    wati.settings(retry_after="none")
    assert "Retry-After" not in wati("GET", "/contacts/count").headers
    wati.settings(retry_after="date")
    assert wati("GET", "/contacts/count").headers["Retry-After"].endswith("GMT")
    wati.settings(plan=None)
    assert wati("GET", "/contacts/count").status_code == 200
