"""Sending in the background: it holds up nobody, keeps within its bounds, and ends with the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.webhooks.deliveries import Event
from tests.support.scripted_server import ScriptedServer, answer, drip, stay_silent
from tests.unit.sandbox.conftest import ADA, BEN, Caller, order_recipient
from tests.unit.sandbox.webhooks.conftest import SECRET, deliveries, events, settled, subscribe, until

Receive = Callable[..., ScriptedServer]


def test_statuses_come_without_any_request(start_sandbox: Any, receive: Receive) -> None:
    """The clock that runs brings events by itself, also those of a campaign that was scheduled."""
    wati = start_sandbox(Settings(speed=50))
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageSent", "sentMessageDELIVERED")
    wati.send_template(ADA)
    wati.send_template(BEN, scheduled_at="2000-01-01T00:00:00Z")
    until(lambda: len(receiver.requests) == 4)


def test_a_clock_that_is_moved_in_the_process_brings_events(wati: Caller, receive: Receive) -> None:
    """A test that moves the clock of the workspace, and makes no request, gets what is due."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageSent")
    wati.send_template(ADA)
    wati.server.workspace.clock.advance(60)
    until(lambda: receiver.requests)


def test_a_burst_reaches_the_receiver_whole(wati: Caller, receive: Receive) -> None:
    """10,000 events at once arrive once each, while the API goes on answering."""
    receiver = receive()
    subscribe(wati, receiver.url, "templateMessageSent_v2")
    for start in range(0, 10_000, 5_000):
        people = (
            order_recipient(str(919800000001 + n), local_message_id=f"burst-{n:06d}")
            for n in range(start, start + 5_000)
        )
        wati.send_template(*people)
    wati.advance(2)

    def all_are_there() -> bool:
        # The client of the test gives up after five seconds.
        assert wati("GET", "/account/credits").status_code == 200
        return len(receiver.requests) >= 10_000

    until(all_are_there, 120)
    assert {each["localMessageId"] for each in events(receiver)} == {f"burst-{n:06d}" for n in range(10_000)}
    assert {each["state"] for each in settled(wati)} == {"delivered"}
    assert len(receiver.requests) == 10_000


@pytest.mark.parametrize("step", [stay_silent, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")])
def test_a_hanging_receiver_holds_up_nobody_else(wati: Caller, receive: Receive, step: Any) -> None:
    """While one receiver hangs, the other gets its events and the API answers."""
    hanging, working = receive(step), receive()
    wati.settings(webhook_timeout=600)
    subscribe(wati, hanging.url, "message")
    subscribe(wati, working.url, "message")
    for number in range(50):
        wati.control("POST", "/inbound", json={"phone": str(919800000001 + number), "text": "Hi"})
    until(lambda: len(working.requests) == 50)
    assert 1 <= len(hanging.requests) <= 8
    states = wati.control("GET", "/webhooks/deliveries")["states"]
    assert states["delivered"] == 50
    assert states["sending"] <= 8


def test_a_reset_leaves_no_receiver_in_the_way(wati: Caller, receive: Receive) -> None:
    """After a reset events are sent at once, though a receiver of before still hangs."""
    hanging, working = receive(stay_silent), receive()
    wati.settings(webhook_timeout=600)
    subscribe(wati, hanging.url, "message")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    until(lambda: hanging.requests)
    wati.control("POST", "/reset", json={})
    subscribe(wati, working.url, "message")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    until(lambda: working.requests)


def test_an_attempt_that_is_given_up_is_tried_again_later(wati: Caller, receive: Receive) -> None:
    """A receiver that hangs once gets the event at the next interval."""
    receiver = receive(stay_silent, answer(200))
    wati.settings(webhook_timeout=2)
    subscribe(wati, receiver.url, "message")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    [delivery] = settled(wati)
    assert (delivery["state"], delivery["error"]) == ("retrying", "no whole answer within 2 seconds")
    wati.advance(600)
    assert settled(wati)[0]["state"] == "delivered"


def test_the_server_stops_while_a_receiver_hangs(start_sandbox: Any, receive: Receive) -> None:
    """Stopping does not wait for receivers, however many events are waiting."""
    wati = start_sandbox(Settings(webhook_timeout=600))
    receiver = receive(stay_silent)
    subscribe(wati, receiver.url, "message")
    for number in range(50):
        wati.control("POST", "/inbound", json={"phone": str(919800000001 + number), "text": "Hi"})
    until(lambda: receiver.requests)
    began = time.monotonic()
    wati.server.stop()
    assert time.monotonic() - began < 60
    assert not wati.server._thread.is_alive()


def test_a_refusal_is_seen_in_the_control_api_and_in_the_log(
    wati: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver on another machine gets nothing; the log says so once, with neither path nor person."""
    subscribe(wati, f"http://192.0.2.7/{SECRET}?key={SECRET}", "message")
    with caplog.at_level(logging.DEBUG, logger="airflow_provider_wati.sandbox"):
        for _ in range(3):
            wati.control("POST", "/inbound", json={"phone": ADA, "text": "my text"})
        listed = settled(wati)
    assert [(each["state"], each["attempts"]) for each in listed] == [("refused", 0)] * 3
    assert "--webhooks-to-any-host" in listed[0]["error"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "http://192.0.2.7" in warnings[0]
    assert SECRET not in caplog.text
    assert ADA not in caplog.text
    assert "my text" not in caplog.text
    # It is no failure of the receiver, which was never asked.
    assert wati.control("GET", "/webhooks")["webhooks"][-1]["failures"] == 0


def test_neither_a_secret_nor_a_person_is_logged(
    wati: Caller, receive: Receive, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures, retries and the end of a subscription are logged without path, number or text."""
    receiver = receive(answer(500))
    subscribe(wati, f"{receiver.url}/{SECRET}", "message")
    with caplog.at_level(logging.DEBUG, logger="airflow_provider_wati.sandbox"):
        wati.control("POST", "/inbound", json={"phone": ADA, "text": "my text"})
        settled(wati)
        wati.advance(86_400)
        settled(wati)
    assert "Defective" in caplog.text
    for hidden in (SECRET, ADA, "my text"):
        assert hidden not in caplog.text


def test_that_calls_leave_this_machine_is_said_at_the_start_only(start_sandbox: Any) -> None:
    """The setting cannot be switched by the control API; given at the start it holds, also after a reset."""
    wati = start_sandbox(Settings(webhooks_to_any_host=True))
    wati.server.reset()
    assert wati.control("GET", "/state")["settings"]["webhooks_to_any_host"] is True
    refused = wati.session.patch(
        f"{wati.server.url}/_sandbox/settings", json={"webhooks_to_any_host": False}, timeout=60
    )
    assert refused.status_code == 400


def test_an_event_that_cannot_be_told_stops_no_other(wati: Caller, receive: Receive) -> None:
    """A payload that cannot be made is a failed attempt, and the next event of the same person arrives."""
    receiver = receive()
    subscribe(wati, receiver.url, "message")

    def fail() -> dict[str, Any]:
        raise KeyError("a defect of the sandbox")

    workspace = wati.server.workspace
    person = workspace.state.by_phone[ADA].number
    workspace.deliveries.add(
        workspace.state.webhooks[-1], Event("message", person, fail), workspace.clock.now()
    )
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    first, second = settled(wati)
    assert (first["state"], first["error"]) == ("retrying", "the sandbox could not send it")
    assert second["state"] == "delivered"


def test_half_of_a_character_is_replaced(wati: Caller, receive: Receive) -> None:
    """Half of a character in a text is replaced, so that the event can be sent at all."""
    receiver = receive()
    subscribe(wati, receiver.url, "message")
    state = wati.server.state
    state.by_phone[ADA].name = "Ada \ud83d"
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Hi"})
    settled(wati)
    assert events(receiver)[0]["senderName"] == "Ada ?"
    assert [each["state"] for each in deliveries(wati)] == ["delivered"]
