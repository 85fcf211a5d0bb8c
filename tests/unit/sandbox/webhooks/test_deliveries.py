"""Retries, defective subscriptions, duplicates and order, by the clock that a test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_wati.sandbox.model.records import Channel, Webhook
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.webhooks.deliveries import (
    MOST_WAITING,
    RETRIES,
    Deliveries,
    Delivery,
    DeliveryState,
    Event,
    Outcome,
    state_after,
)
from tests.support.scripted_server import ScriptedServer, answer
from tests.unit.sandbox.conftest import ADA, BEN, CHITRA_WINDOW_CLOSED, NOBODY, Caller
from tests.unit.sandbox.webhooks.conftest import deliveries, events, settled, subscribe

Receive = Callable[..., ScriptedServer]
CHANNEL = Channel(1, "Default", "14155550100", is_default=True)
WEBHOOK = Webhook(1, "http://127.0.0.1:9/", ["message"], CHANNEL)
EVENT = Event("message", 1, dict)


def write(wati: Caller, text: str = "Hi", phone: str = ADA) -> None:
    wati.control("POST", "/inbound", json={"phone": phone, "text": text})


def status_of(wati: Caller) -> tuple[str, int]:
    webhook = wati.control("GET", "/webhooks")["webhooks"][-1]
    return webhook["status"], webhook["failures"]


@pytest.mark.parametrize(
    ("attempts", "outcome", "state"),
    [
        (1, Outcome(status=200), DeliveryState.DELIVERED),
        (145, Outcome(status=200), DeliveryState.DELIVERED),
        (1, Outcome(status=201), DeliveryState.RETRYING),
        (1, Outcome(status=307), DeliveryState.RETRYING),
        (1, Outcome(error="reset"), DeliveryState.RETRYING),
        (RETRIES, Outcome(status=500), DeliveryState.RETRYING),
        (RETRIES + 1, Outcome(status=500), DeliveryState.FAILED),
        (0, Outcome(error="elsewhere", refused=True), DeliveryState.REFUSED),
    ],
)
def test_only_200_ends_a_delivery_before_144_retries(
    attempts: int, outcome: Outcome, state: DeliveryState
) -> None:
    """Every answer but 200 is tried again, 144 times."""
    delivery = Delivery(1, WEBHOOK, EVENT, 0, 0, attempts=attempts)
    assert state_after(delivery, outcome) is state


def test_a_refused_event_comes_again_after_ten_minutes(wati: Caller, receive: Receive) -> None:
    """The retry has the same body, and comes ten minutes later by the clock and not before."""
    receiver = receive(answer(500), answer(200))
    subscribe(wati, receiver.url, "message")
    write(wati)
    [delivery] = settled(wati)
    assert (delivery["state"], delivery["attempts"], delivery["status"]) == ("retrying", 1, 500)
    wati.advance(599)
    settled(wati)
    assert len(receiver.requests) == 1
    wati.advance(1)
    [delivery] = settled(wati)
    assert (delivery["state"], delivery["attempts"], delivery["status"]) == ("delivered", 2, 200)
    assert receiver.requests[0].body == receiver.requests[1].body
    assert status_of(wati) == ("Enabled", 0)


def test_the_interval_follows_the_speed(wati: Caller, receive: Receive) -> None:
    """At a hundred times the speed the retry comes after six seconds of the clock, also if it was waiting already."""
    receiver = receive(answer(500))
    subscribe(wati, receiver.url, "message")
    write(wati)
    settled(wati)
    wati.control("POST", "/clock", json={"speed": 100, "advance": 5.9})
    settled(wati)
    assert len(receiver.requests) == 1
    wati.advance(0.2)
    settled(wati)
    assert len(receiver.requests) == 2


def test_a_day_that_passes_at_once_brings_a_days_retries(wati: Caller, receive: Receive) -> None:
    """A clock moved by an hour is followed by the six attempts of that hour."""
    receiver = receive(answer(503))
    subscribe(wati, receiver.url, "message")
    write(wati)
    settled(wati)
    wati.advance(3600)
    settled(wati)
    assert len(receiver.requests) == 1 + 6


def test_more_than_100_failures_in_a_row_make_it_defective(wati: Caller, receive: Receive) -> None:
    """The 101st failure makes a subscription Defective, after which nothing is sent until it is enabled again."""
    receiver = receive(*[answer(500)] * 101, answer(200))
    record = subscribe(wati, receiver.url, "message")
    write(wati, "first")
    settled(wati)
    wati.advance(99 * 600)
    settled(wati)
    assert status_of(wati) == ("Enabled", 100)
    wati.advance(600)
    settled(wati)
    assert status_of(wati) == ("Defective", 101)
    write(wati, "while it is defective")
    wati.advance(86_400)
    settled(wati)
    assert len(receiver.requests) == 101
    body = {"url": receiver.url, "eventTypes": ["message"], "status": "Enabled"}
    assert wati("PUT", f"/webhooks/{record['id']}", json=body).json()["status"] == "Enabled"
    [delivery] = settled(wati)
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 102)
    assert status_of(wati) == ("Enabled", 0)
    assert [each["text"] for each in events(receiver)[-1:]] == ["first"]


def test_a_success_ends_a_row_of_failures(wati: Caller, receive: Receive) -> None:
    """An answer of 200 between failures starts the count again."""
    receiver = receive(answer(500), answer(500), answer(200), answer(500))
    subscribe(wati, receiver.url, "message")
    for text in ("a", "b"):
        write(wati, text)
    settled(wati)
    assert status_of(wati)[1] == 2
    wati.advance(600)
    settled(wati)
    assert status_of(wati)[1] == 1


def test_events_of_a_person_keep_their_order(wati: Caller, receive: Receive) -> None:
    """Without a switch, what one person does arrives in its order, though several deliveries are under way."""
    receiver = receive()
    subscribe(wati, receiver.url, "message")
    for number in range(40):
        for phone in (ADA, BEN, CHITRA_WINDOW_CLOSED, NOBODY):
            write(wati, str(number), phone)
    settled(wati)
    texts: dict[str, list[str]] = {}
    for each in events(receiver):
        texts.setdefault(each["waId"], []).append(each["text"])
    assert len(texts) == 4
    assert all(each == [str(number) for number in range(40)] for each in texts.values())


def test_duplicates_come_by_a_switch(wati: Caller, receive: Receive) -> None:
    """With webhook_duplicates that part of the events comes twice, the same ones after every reset."""

    def seen() -> Counter[str]:
        receiver = receive()
        subscribe(wati, receiver.url, "message")
        wati.settings(webhook_duplicates=0.3)
        for number in range(100):
            write(wati, str(number))
        settled(wati)
        return Counter(each["text"] for each in events(receiver))

    first = seen()
    wati.server.reset()
    wati.control("POST", "/clock", json={"frozen": True})
    assert seen() == first
    assert set(first.values()) == {1, 2}
    assert 110 < sum(first.values()) < 150


def test_reordering_comes_by_a_switch(wati: Caller, receive: Receive) -> None:
    """With webhook_reordering some events are overtaken, and none is lost."""
    receiver = receive()
    subscribe(wati, receiver.url, "message")
    wati.settings(webhook_reordering=0.3)
    for number in range(100):
        write(wati, str(number))
    settled(wati)
    early = len(receiver.requests)
    assert 50 < early < 90
    wati.advance(30)
    settled(wati)
    numbers = [int(each["text"]) for each in events(receiver)]
    assert sorted(numbers) == list(range(100))
    assert numbers != sorted(numbers)


def test_too_many_are_counted_and_not_kept() -> None:
    """Beyond the limit the newest are dropped, and the sandbox says how many."""
    book = Deliveries(lambda: [WEBHOOK], Settings())
    for _ in range(MOST_WAITING + 5):
        book.add(WEBHOOK, EVENT, 0.0)
    assert (book.waiting, book.dropped) == (MOST_WAITING, 5)
    assert len(list(book.latest())) == 10_000


def test_a_reset_clears_deliveries(wati: Caller, receive: Receive) -> None:
    """After a reset there are no deliveries, no retries and no subscriptions of before."""
    receiver = receive(answer(500))
    subscribe(wati, receiver.url, "message")
    write(wati)
    settled(wati)
    wati.control("POST", "/reset", json={})
    assert deliveries(wati) == []
    wati.advance(600)
    write(wati)
    assert settled(wati) == []
    assert len(receiver.requests) == 1
