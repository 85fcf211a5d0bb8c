"""Template sends in the sandbox: recipients, statuses, schedules, and no deduplication."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox.conftest import (
    ADA,
    BEN,
    EVAN_OPTED_OUT,
    GRACE_BSUID,
    NOBODY,
    PAGE,
    SUPPORT_CHANNEL,
    Caller,
    order_recipient,
)

NOT_ON_WHATSAPP = "12025131026"


def _campaign(wati: Caller, answer: Any) -> dict[str, Any]:
    details = wati("GET", f"/broadcasts/{answer.json()['broadcast_id']}").json()
    assert isinstance(details, dict)
    return details


def _recipients(wati: Caller, answer: Any, page_number: int = 1, page_size: int = 100) -> dict[str, Any]:
    page = {"page_number": page_number, "page_size": page_size}
    rows = wati("GET", f"/broadcasts/{answer.json()['broadcast_id']}/recipients", params=page).json()
    assert isinstance(rows, dict)
    return rows


def test_a_send_reaches_the_conversation_with_its_parameters_filled_in(wati: Caller) -> None:
    """A sent template is in the conversation with its parameters filled in."""
    answer = wati.send_template(order_recipient(ADA, local_message_id="order-1001-a"))
    assert answer.json()["success"] is True
    assert answer.json()["recipients"] == [
        {"local_message_id": "order-1001-a", "phone_number": ADA, "target": None, "errors": []}
    ]
    assert wati.texts_to(ADA) == ["Hi Ada, your order 1001 is shipped."]


def test_nothing_is_deduplicated(wati: Caller) -> None:
    """Two equal sends make two messages, as in WATI."""
    recipient = order_recipient(ADA, local_message_id="order-1001-a")
    answers = [wati.send_template(recipient) for _ in range(2)]
    assert len(wati.texts_to(ADA)) == 2
    assert answers[0].json()["broadcast_id"] != answers[1].json()["broadcast_id"]
    wati.send_template(recipient, recipient)
    assert wati.control("GET", "/people")["counts"] == {ADA: 4}


def test_the_server_makes_a_local_message_id_where_none_is_given(wati: Caller) -> None:
    """A recipient without a local message id gets one."""
    answer = wati.send_template(ADA, BEN)
    local_ids = [recipient["local_message_id"] for recipient in answer.json()["recipients"]]
    assert len(set(local_ids)) == 2
    assert [row["local_message_id"] for row in _recipients(wati, answer)["recipients"]] == local_ids


def test_a_send_to_an_unknown_phone_number_creates_the_contact(wati: Caller) -> None:
    """A send to an unknown phone number creates the contact."""
    wati.send_template(NOBODY)
    assert wati("GET", f"/contacts/{NOBODY}").json()["wa_id"] == NOBODY


def test_recipients_by_contact_id_and_bsuid(wati: Caller) -> None:
    """Recipients may be contact ids and BSUIDs."""
    contact_id = wati("GET", f"/contacts/{ADA}").json()["id"]
    params = order_recipient(ADA)["custom_params"]
    answer = wati.send_template(
        {"target": contact_id, "custom_params": params}, {"target": GRACE_BSUID, "custom_params": params}
    )
    assert [recipient["errors"] for recipient in answer.json()["recipients"]] == [[], []]
    assert len(wati.texts_to(ADA)) == 1
    assert _recipients(wati, answer)["recipients"][1]["bsuid"] == GRACE_BSUID


@pytest.mark.parametrize("number", ["+12025550143", "1 202 555 0143", "abc", "0202555014", f"Support:{ADA}"])
def test_a_malformed_phone_number_is_an_error_inside_a_200(wati: Caller, number: str) -> None:
    """A malformed phone number is refused in the body of a 200."""
    answer = wati.send_template(BEN, number)
    assert answer.status_code == 200
    errors = [recipient["errors"] for recipient in answer.json()["recipients"]]
    assert errors == [[], ["Invalid phone number"]]
    assert _recipients(wati, answer)["total_count"] == 1
    assert wati.control("GET", "/people")["counts"] == {BEN: 1}


def test_an_opted_out_contact_is_sent_to(wati: Caller) -> None:
    """The sandbox does not check consent."""
    assert wati("GET", f"/contacts/{EVAN_OPTED_OUT}").json()["allow_broadcast"] is False
    wati.send_template(EVAN_OPTED_OUT)
    assert len(wati.texts_to(EVAN_OPTED_OUT)) == 1


def test_extra_parameters_are_ignored(wati: Caller) -> None:
    """Parameters that the template does not have are ignored."""
    recipient = order_recipient(ADA)
    recipient["custom_params"] = [*recipient["custom_params"], {"name": "extra", "value": "x"}]
    answer = wati.send_template(recipient)
    wati.advance(60)
    assert _recipients(wati, answer)["recipients"][0]["status"] in ("delivered", "read")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ([{"name": "name", "value": "Ada"}], "132000"),
        (None, "132000"),
        ([{"name": name, "value": ""} for name in ("name", "order_id", "status")], "132000"),
        ([{"name": name, "value": "two\nlines"} for name in ("name", "order_id", "status")], "132018"),
    ],
)
def test_bad_parameters_are_accepted_and_fail_later(wati: Caller, change: Any, code: str) -> None:
    """Bad parameters are accepted first, and the message fails later."""
    answer = wati.send_template(order_recipient(ADA, custom_params=change))
    assert answer.json()["recipients"][0]["errors"] == []
    wati.advance(60)
    assert _recipients(wati, answer)["recipients"][0]["failed_code"] == code


def test_a_phone_number_that_is_not_on_whatsapp_is_accepted_and_fails_later(wati: Caller) -> None:
    """A phone number without WhatsApp is accepted first, and the message fails later."""
    answer = wati.send_template(order_recipient(NOT_ON_WHATSAPP, local_message_id="order-1001-b"))
    assert answer.json()["recipients"][0]["errors"] == []
    wati.advance(60)
    row = _recipients(wati, answer)["recipients"][0]
    assert (row["status"], row["failed_code"]) == ("failed", "131026")
    record = wati.v1("GET", "/whatsApp/messages/14155550100/order-1001-b").json()
    assert (record["statusString"], record["failedCode"], record["failedDetail"]) == (
        "FAILED",
        "131026",
        "Message undeliverable",
    )
    history = wati("GET", f"/conversations/{NOT_ON_WHATSAPP}/messages", params=PAGE).json()
    assert history["message_list"][0]["failed_detail"] == "Message undeliverable"


def test_statuses_advance_with_the_clock_and_the_same_way_every_time(wati: Caller) -> None:
    """Statuses follow the clock, and are the same after a reset."""

    def course() -> list[str]:
        answer = wati.send_template(order_recipient(ADA, local_message_id="order-1001-c"))
        seen: list[str] = []
        for _ in range(80):
            row = _recipients(wati, answer)["recipients"][0]
            record = wati.v1("GET", "/whatsApp/messages/14155550100/order-1001-c").json()
            assert record["statusString"] == row["status"].upper()
            if row["status"] not in seen[-1:]:
                seen.append(row["status"])
            wati.advance(1)
        return seen

    first = course()
    assert first[:4] == ["queued", "sending", "sent", "delivered"]
    wati.server.reset()
    wati.control("POST", "/clock", json={"frozen": True})
    assert course() == first


def test_speed_makes_statuses_advance_faster(wati: Caller) -> None:
    """A higher speed makes statuses advance sooner."""
    answer = wati.send_template(ADA)
    wati.advance(1)
    assert _campaign(wati, answer)["status"] == "processing"
    wati.control("POST", "/clock", json={"speed": 100})
    assert _campaign(wati, answer)["status"] == "completed"


def test_statistics_are_a_funnel_and_can_be_exclusive(wati: Caller) -> None:
    """A read message counts as delivered too, unless the setting is exclusive."""
    people = [str(12025550000 + index) for index in range(99)]
    answer = wati.send_template(*people, NOT_ON_WHATSAPP, "nonsense")
    assert _campaign(wati, answer)["statistics"]["total_queued"] == 100
    wati.advance(1000)
    funnel = _campaign(wati, answer)["statistics"]
    assert (funnel["total_recipients"], funnel["total_delivered"], funnel["total_failed"]) == (100, 99, 1)
    assert 0 < funnel["total_read"] < 99
    wati.settings(statistics="exclusive")
    each_once = _campaign(wati, answer)["statistics"]
    assert each_once.pop("total_recipients") == 100
    assert sum(each_once.values()) == 100
    assert each_once["total_delivered"] == 99 - funnel["total_read"]


def test_a_reply_is_counted_once(wati: Caller) -> None:
    """Two answers of one person count as one reply."""
    answer = wati.send_template(ADA)
    wati.advance(5)
    for _ in range(2):
        wati.control("POST", "/inbound", json={"phone": ADA, "text": "Thanks"})
    assert _campaign(wati, answer)["statistics"]["total_replied"] == 1
    assert _recipients(wati, answer)["recipients"][0]["status"] == "replied"


def test_failed_share_makes_ordinary_messages_fail(wati: Caller) -> None:
    """The setting failed_share makes that share of messages fail."""
    wati.settings(failed_share=0.25)
    answer = wati.send_template(*[str(12025550000 + index) for index in range(100)])
    wati.advance(1000)
    assert _campaign(wati, answer)["statistics"]["total_failed"] == 25


def test_recipients_are_paged(wati: Caller) -> None:
    """Recipients of a campaign are listed in pages."""
    people = [str(12025550000 + index) for index in range(250)]
    answer = wati.send_template(*people)
    pages = [_recipients(wati, answer, number) for number in (1, 2, 3, 4)]
    assert [len(page["recipients"]) for page in pages] == [100, 100, 50, 0]
    listed = [row["contact_phone"] for page in pages for row in page["recipients"]]
    assert listed == [f"+{phone}" for phone in people]
    assert {page["total_count"] for page in pages} == {250}


def test_campaigns_are_listed_newest_first_by_channel(wati: Caller) -> None:
    """Campaigns are listed by channel, the newest first."""
    for index in range(5):
        wati.send_template(ADA, broadcast_name=f"b{index}")
    wati.send_template(ADA, broadcast_name="on support", channel="Support")
    pages = [
        wati("GET", "/broadcasts", params={"page_number": number, "page_size": 2}).json()
        for number in (1, 2, 3, 4)
    ]
    names = [[each["name"] for each in page["broadcasts"]] for page in pages]
    assert names == [["b4", "b3"], ["b2", "b1"], ["b0"], []]
    assert {page["total"] for page in pages} == {5}
    support = wati("GET", "/broadcasts", params=PAGE | {"channel": SUPPORT_CHANNEL}).json()
    assert [each["name"] for each in support["broadcasts"]] == ["on support"]


def test_a_schedule_starts_at_its_time(wati: Caller) -> None:
    """A scheduled campaign starts at its time."""
    answer = wati.send_template(ADA, scheduled_at="2099-12-25T10:00:00Z")
    assert (_campaign(wati, answer)["status"], wati.texts_to(ADA)) == ("scheduled", [])
    assert _campaign(wati, answer)["statistics"]["total_pending"] == 1
    assert _campaign(wati, answer)["scheduled_at"].startswith("2099-12-25T10:00:00")
    wati.advance(100 * 365 * 24 * 3600)
    assert len(wati.texts_to(ADA)) == 1
    assert _campaign(wati, answer)["status"] == "completed"


def test_a_cancelled_schedule_sends_nothing(wati: Caller) -> None:
    """A cancelled campaign sends nothing."""
    answer = wati.send_template(ADA, scheduled_at="2099-12-25T10:00:00+05:30")
    path = f"/broadcast/deleteScheduledBroadcast/{answer.json()['broadcast_id']}"
    assert wati.v1("DELETE", path).status_code == 200
    wati.advance(100 * 365 * 24 * 3600)
    assert wati.texts_to(ADA) == []
    assert _campaign(wati, answer)["status"] == "cancelled"
    assert _campaign(wati, answer)["statistics"]["total_stopped"] == 1
    assert wati.v1("DELETE", path).status_code == 400


def test_a_started_campaign_cannot_be_cancelled(wati: Caller) -> None:
    """Cancelling after the start is a 400."""
    sent = wati.send_template(ADA).json()["broadcast_id"]
    assert wati.v1("DELETE", f"/broadcast/deleteScheduledBroadcast/{sent}").status_code == 404
    scheduled = wati.send_template(ADA, scheduled_at="2099-12-25T10:00:00Z").json()["broadcast_id"]
    wati.advance(100 * 365 * 24 * 3600)
    assert wati.v1("DELETE", f"/broadcast/deleteScheduledBroadcast/{scheduled}").status_code == 400


def test_ten_thousand_recipients_in_one_call(start_sandbox: Any) -> None:
    """One call takes 10,000 recipients."""
    # A server of its own: the contract check around the shared one would validate each recipient.
    wati = start_sandbox()
    people = [str(919800000001 + index) for index in range(10_000)]
    answer = wati.send_template(*[{"phone_number": phone} for phone in people], template_name="welcome")
    assert len(answer.json()["recipients"]) == 10_000
    seen = wati.control("GET", "/people?limit=2")
    assert (seen["people"], seen["messages"], seen["most"]) == (10_000, 10_000, 1)
    assert len(seen["counts"]) == 2
