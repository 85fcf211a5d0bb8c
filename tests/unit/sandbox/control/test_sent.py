"""What was sent, and the log of calls."""

from __future__ import annotations

import pytest
import requests

from tests.unit.sandbox.conftest import ADA, BEN, Caller, order_recipient


def test_messages_are_found_by_person_and_by_campaign(wati: Caller) -> None:
    """Messages are filtered by phone number and by campaign name."""
    wati.send_template(
        order_recipient(ADA, local_message_id="order-1001-x"), BEN, broadcast_name="orders [a-1]"
    )
    wati.send_template(ADA, broadcast_name="orders [a-2]")
    wati.send_text(ADA, "By hand")
    wati.send_template(ADA, broadcast_name="later", scheduled_at="2099-01-01T00:00:00Z")

    by_campaign = wati.control("GET", "/people?broadcast_name=orders [a")
    assert by_campaign["counts"] == {ADA: 2, BEN: 1}
    assert (by_campaign["people"], by_campaign["messages"], by_campaign["most"]) == (2, 3, 2)
    messages = wati.control("GET", f"/messages?phone={ADA}")["messages"]
    assert [message["broadcast_name"] for message in messages] == ["orders [a-1]", "orders [a-2]", None]
    assert messages[0]["local_message_id"] == "order-1001-x"
    assert wati.control("GET", "/messages?skip=1&limit=1")["messages"][0]["phone"] == BEN
    assert wati.server.state.sent_per_phone() == {ADA: 3, BEN: 1}
    broadcasts = wati.control("GET", "/broadcasts")["broadcasts"]
    assert [(each["name"], each["statuses"]) for each in broadcasts] == [
        ("later", {"pending": 1}),
        ("orders [a-2]", {"queued": 1}),
        ("orders [a-1]", {"queued": 2}),
    ]


def test_the_request_log_has_no_token(wati: Caller) -> None:
    """The log of requests does not contain the token."""
    wati.control("DELETE", "/requests")
    wati("GET", "/account/credits")
    wati.fault("drop", path="*/credits")
    with pytest.raises(requests.ConnectionError):
        wati("GET", "/account/credits")
    wati("GET", f"/contacts/{ADA}")
    answer = wati.control("GET", "/requests?method=GET&path=credits")
    assert [(each["status"], each["fault"]) for each in answer["requests"]] == [(200, None), (None, "drop")]
    assert wati.control("GET", "/requests?limit=1")["requests"][0]["path"].endswith(ADA)
    assert wati.server.token not in str(answer)
