"""Customers who answer campaigns by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.sandbox.scenarios import read_scenario

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.scenarios import Scenario

ADA = "12025550143"
DAY = 24 * 3600


def everybody_answers(text: str = "Thank you!", buttons: str = "") -> Scenario:
    content = f"""{{
      "format": "wati-sandbox-scenario/1",
      "channels": [{{"name": "Default", "phone": "14155550100"}}],
      "templates": [{{"name": "offer", "body": "An offer", "buttons": [{buttons}]}}],
      "contacts": [{{"phone": "{ADA}", "name": "Ada"}}],
      "delivery": {{"read": 1, "replied": 1, "replied_after": [3600, 7200], "replies": ["{text}"]}}
    }}"""
    return read_scenario(content.encode(), "everybody")


@pytest.fixture
def campaign(start_sandbox: Any) -> Any:
    def send(scenario: Scenario, **changes: Any) -> Any:
        wati = start_sandbox(scenario=scenario)
        wati.control("POST", "/clock", json={"frozen": True})
        body = {"template_name": "offer", "broadcast_name": "o", "recipients": [{"phone_number": ADA}]}
        path = "/messageTemplates/schedule" if changes else "/messageTemplates/send"
        wati.answer = wati("POST", path, json=body | changes).json()
        return wati

    return send


def inbound(wati: Any) -> list[tuple[str, str]]:
    query = {"page_number": 1, "page_size": 100}
    listed = wati("GET", f"/conversations/{ADA}/messages", params=query).json()["message_list"]
    return [(each["type"], each["text"]) for each in listed if not each["owner"]]


def test_an_answer_comes_in_its_time_and_opens_the_window(campaign: Any) -> None:
    """The answer is there after its delay, not before; the message is replied, and text may be sent."""
    wati = campaign(everybody_answers())
    assert wati.send_text(ADA).status_code == 400
    wati.advance(3600)
    assert inbound(wati) == []
    wati.advance(2 * 3600)
    assert inbound(wati) == [("text", "Thank you!")]
    assert wati.control("GET", f"/messages?phone={ADA}")["messages"][0]["status"] == "replied"
    assert wati.send_text(ADA).status_code == 200


def test_an_answer_is_as_old_as_its_time_says(campaign: Any) -> None:
    """After a leap of two days the window of an answer of the first day is closed."""
    wati = campaign(everybody_answers())
    wati.advance(2 * DAY)
    assert len(inbound(wati)) == 1
    assert wati.send_text(ADA).status_code == 400


def test_a_button_is_tapped(campaign: Any) -> None:
    """Where the template has buttons, some answers are taps of the type interactive."""
    wati = campaign(everybody_answers(buttons='"Yes", "No", "Later", "Never", "Why", "Who", "How", "What"'))
    wati.advance(DAY)
    [(kind, text)] = inbound(wati)
    assert (kind, text != "Thank you!") in [("interactive", True), ("text", False)]


def test_stop_as_an_answer_withdraws_consent(campaign: Any) -> None:
    """A customer of the scenario who answers STOP may not be sent campaigns any more."""
    wati = campaign(everybody_answers("Stop"))
    assert wati("GET", f"/contacts/{ADA}").json()["allow_broadcast"] is True
    wati.advance(DAY)
    assert wati("GET", f"/contacts/{ADA}").json()["allow_broadcast"] is False


def test_a_scheduled_campaign_is_answered_after_its_start_and_a_cancelled_one_never(campaign: Any) -> None:
    """Answers count from the start of a campaign, and a campaign that is cancelled before it brings none."""
    for is_cancelled in (False, True):
        wati = campaign(everybody_answers(), scheduled_at="2999-01-01T00:00:00Z")
        wati.advance(DAY)
        assert len(wati.server.state.messages) == 1
        if is_cancelled:
            cancelled = wati.v1(
                "DELETE", f"/broadcast/deleteScheduledBroadcast/{wati.answer['broadcast_id']}"
            )
            assert cancelled.status_code == 200
        wati.advance(1000 * 366 * DAY)
        assert len(wati.server.state.messages) == (1 if is_cancelled else 2)


def test_nobody_answers_for_a_deleted_contact(campaign: Any) -> None:
    """An answer of a contact that was deleted meanwhile does not come."""
    wati = campaign(everybody_answers())
    assert wati("DELETE", f"/contacts/{ADA}").status_code == 200
    wati.advance(DAY)
    assert len(wati.server.state.messages) == 1


def test_speed_brings_answers_sooner(campaign: Any) -> None:
    """At ten times the speed an answer of two hours is there after a quarter of one."""
    wati = campaign(everybody_answers())
    wati.control("POST", "/clock", json={"speed": 10})
    wati.advance(900)
    assert len(inbound(wati)) == 1
