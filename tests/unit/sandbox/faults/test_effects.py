"""Each kind of fault has its documented effect and no other."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from tests.unit.sandbox.conftest import ADA, BEN, PAGE, Caller

SEND = "*/messageTemplates/send"


def test_drop_before_the_effect_sends_nothing(wati: Caller) -> None:
    """A connection dropped before the effect sends nothing."""
    wati.fault("drop", path=SEND, count=1)
    with pytest.raises(requests.ConnectionError):
        wati.send_template(ADA)
    assert wati.texts_to(ADA) == []
    assert wati.send_template(ADA).status_code == 200


@pytest.mark.parametrize("reset", [True, False])
def test_drop_after_the_effect_has_sent(wati: Caller, reset: bool) -> None:
    """A connection dropped after the effect has sent the message."""
    wati.fault("drop", path=SEND, when="after", count=1, reset=reset)
    with pytest.raises(requests.ConnectionError) as caught:
        wati.send_template(ADA)
    assert ("Connection reset" in str(caught.value)) is reset
    assert len(wati.texts_to(ADA)) == 1


@pytest.mark.parametrize(("when", "messages"), [("before", 0), ("after", 1)])
def test_500_before_and_after_the_effect(wati: Caller, when: str, messages: int) -> None:
    """A 500 comes before or after the effect."""
    wati.fault("status", path=SEND, status=500, when=when)
    response = wati.send_template(ADA)
    assert response.status_code == 500
    assert set(response.json()) == {"code", "message", "timestamp"}
    assert len(wati.texts_to(ADA)) == messages


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 503])
def test_refusals_have_the_documented_body_or_none(wati: Caller, status: int) -> None:
    """Each status has its documented body, or none."""
    wati.fault("status", path=SEND, status=status, count=1)
    response = wati.send_template(ADA)
    assert response.status_code == status
    assert bool(response.content) is (status in (400, 403, 500))
    assert "Retry-After" not in response.headers
    assert wati.texts_to(ADA) == []


def test_retry_after_as_seconds_and_as_a_date(wati: Caller) -> None:
    """Retry-After is given in seconds or as a date."""
    wati.fault("status", path=SEND, status=429, retry_after=7, count=1)
    wati.fault("status", path=SEND, status=503, retry_after=30, retry_after_date=True, body="busy")
    assert wati.send_template(ADA).headers["Retry-After"] == "7"
    second = wati.send_template(ADA)
    assert (second.status_code, second.text) == (503, "busy")
    until = parsedate_to_datetime(second.headers["Retry-After"]).timestamp() - time.time()
    assert 25 < until <= 31


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delay_outlasts_the_client_and_the_effect_still_comes(wati: Caller, when: str) -> None:
    """After a delay longer than the client waits, the effect still comes."""
    wati.fault("delay", path=SEND, seconds=3, when=when, count=1)
    body = {"template_name": "welcome", "broadcast_name": "x", "recipients": [{"phone_number": ADA}]}
    url = f"{wati.server.url}/api/ext/v3/messageTemplates/send"
    with pytest.raises(requests.ReadTimeout):
        wati.session.post(url, json=body, timeout=1)
    assert len(wati.texts_to(ADA)) == (1 if when == "after" else 0)
    deadline = time.monotonic() + 60
    while len(wati.texts_to(ADA)) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(wati.texts_to(ADA)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("body", ["html", "empty", "truncated"])
def test_garbage_is_a_200_that_is_not_json(wati: Caller, body: str, when: str) -> None:
    """A garbage answer is a 200 that cannot be read."""
    wati.fault("garbage", path=SEND, body=body, when=when)
    response = wati.send_template(ADA)
    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting|Unterminated"):
        response.json()
    assert len(wati.texts_to(ADA)) == (1 if when == "after" else 0)


def test_an_answer_that_breaks_off(wati: Caller) -> None:
    """An answer can end in the middle."""
    wati.fault("garbage", path=SEND, body="cut", when="after")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        wati.send_template(ADA)
    assert len(wati.texts_to(ADA)) == 1


def test_refused_inside_a_200(wati: Caller) -> None:
    """A refusal can be in the body of a 200."""
    wati.fault("refused_in_200")
    answer = wati.send_template(ADA)
    assert (answer.status_code, answer.json()["success"]) == (200, False)
    assert answer.json()["error"]
    status = wati("PUT", f"/conversations/{ADA}/status", json={"new_status": "solved"})
    assert status.json() == {"result": False}
    wati.control("DELETE", "/faults")
    assert wati.texts_to(ADA) == []
    assert wati("GET", "/conversations", params=PAGE).json()["conversation_list"][0]["status"] == "open"


def test_a_message_whose_own_status_is_failed(wati: Caller) -> None:
    """The message in an answer can have the status failed."""
    wati.fault("message_failed", path="*/text")
    message = wati.send_text(ADA).json()["message"]
    assert (message["status"], message["failed_detail"]) == ("failed", "Message undeliverable")


def test_an_answer_can_be_overlaid(wati: Caller) -> None:
    """Fields of the real answer can be replaced."""
    wati.fault("answer", path=SEND, when="after", answer={"broadcast_id": None})
    answer = wati.send_template(ADA).json()
    assert answer["broadcast_id"] is None
    assert answer["recipients"][0]["phone_number"] == ADA


def test_chosen_recipients_are_refused(wati: Caller) -> None:
    """Named recipients are refused inside a 200."""
    wati.fault("recipient_errors", path=SEND, numbers=[ADA], errors=["Blocked", "Twice"])
    answer = wati.send_template(ADA, BEN).json()
    assert [each["errors"] for each in answer["recipients"]] == [["Blocked", "Twice"], []]
    assert wati.control("GET", "/people")["counts"] == {BEN: 1}


@pytest.mark.parametrize("sent", [True, False])
def test_chosen_recipients_are_left_out_of_the_answer(wati: Caller, sent: bool) -> None:
    """Named recipients are missing in the answer."""
    wati.fault("omit_recipients", path=SEND, numbers=[ADA], sent=sent)
    answer = wati.send_template(ADA, BEN).json()
    assert [each["phone_number"] for each in answer["recipients"]] == [BEN]
    assert len(wati.texts_to(ADA)) == int(sent)


def test_a_campaign_is_hidden_for_a_while(wati: Caller) -> None:
    """A campaign can be missing in the list for some seconds."""
    wati.send_template(ADA, broadcast_name="before")
    wati.fault("slow_listing", path=SEND, seconds=60, count=1)
    broadcast_id = wati.send_template(ADA, broadcast_name="slow").json()["broadcast_id"]

    def listed() -> tuple[list[str], int, int]:
        answer = wati("GET", "/broadcasts", params=PAGE).json()
        details = wati("GET", f"/broadcasts/{broadcast_id}").status_code
        return [each["name"] for each in answer["broadcasts"]], answer["total"], details

    assert listed() == (["before"], 1, 404)
    assert len(wati.texts_to(ADA)) == 2
    wati.advance(61)
    assert listed() == (["slow", "before"], 2, 200)


def test_a_list_of_recipients_fills_gradually(wati: Caller) -> None:
    """The recipients of a campaign can appear one after the other."""
    wati.fault("slow_listing", path=SEND, seconds=100, fill=True)
    people = [str(12025550000 + index) for index in range(50)]
    broadcast_id = wati.send_template(*people).json()["broadcast_id"]

    def listed() -> tuple[int, int, int]:
        rows = wati("GET", f"/broadcasts/{broadcast_id}/recipients", params=PAGE).json()
        statistics = wati("GET", f"/broadcasts/{broadcast_id}").json()["statistics"]
        return len(rows["recipients"]), rows["total_count"], statistics["total_recipients"]

    assert listed() == (0, 0, 50)
    wati.advance(50)
    assert listed() == (25, 25, 50)
    wati.advance(50)
    assert listed() == (50, 50, 50)


def test_a_redirect_to_another_host(wati: Caller) -> None:
    """A call can be redirected."""
    wati.fault("redirect", path="*/credits", location="http://localhost:9/steal", status=302)
    response = wati("GET", "/account/credits")
    assert (response.status_code, response.headers["Location"]) == (302, "http://localhost:9/steal")
