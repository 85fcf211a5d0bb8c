"""What becomes of messages: shares, delays and answers, all from a seed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_wati.sandbox.model.delivery import (
    Affected,
    Delivery,
    FailureShare,
    MessageKind,
    Range,
    Rates,
)
from airflow_provider_wati.sandbox.model.status import (
    FAILURE_CODES,
    ORDINARY_FATES,
    Timeline,
    fate_of_code,
    ordinary_fates,
)
from airflow_provider_wati.sandbox.scenarios import load_scenario

FAILURES = (
    FailureShare("131026", 0.04),
    FailureShare("131049", 0.06, Affected.MARKETING),
    FailureShare("131047", 0.02, Affected.SESSION),
    FailureShare("130472", 0.01, Affected.TEMPLATES),
)
#: How many seconds a day of a campaign may take.
PATIENCE = 10.0
DAY = 24 * 3600
FIRST_PHONE = 919800000001


def delivery(seed: int = 1, **rates: Any) -> Delivery:
    return Delivery(seed, FAILURES, Rates(**rates))


@pytest.mark.parametrize("first", [0, 1, 999, 1000, 12_345])
def test_fates_do_not_depend_on_how_messages_are_grouped(first: int) -> None:
    """A message has the same fate alone and in a campaign, after every reset."""
    together = delivery().fates(first, 2500, MessageKind.MARKETING)
    alone = b"".join(delivery().fates(first + n, 1, MessageKind.MARKETING) for n in range(2500))
    assert together == alone
    assert delivery().fates(first, 0, MessageKind.MARKETING) == b""


def test_another_seed_gives_other_fates_with_the_same_shares() -> None:
    """The seed decides who fails, not how many do."""
    one, two = (delivery(seed).fates(0, 10_000, MessageKind.TEMPLATE) for seed in (1, 2))
    assert one != two
    assert Counter(one) == Counter(two)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (MessageKind.SESSION, {"131026": 400, "131047": 200}),
        (MessageKind.TEMPLATE, {"131026": 400, "130472": 100}),
        (MessageKind.MARKETING, {"131026": 400, "131049": 600, "130472": 100}),
    ],
)
def test_failures_strike_their_kind_in_their_shares(kind: MessageKind, expected: dict[str, int]) -> None:
    """Of 10,000 messages each code strikes exactly its share, and only the kinds that it affects."""
    fates = Counter(delivery().fates(0, 10_000, kind))
    counted = {code: fates[fate_of_code(code)] for code in FAILURE_CODES}
    assert {code: count for code, count in counted.items() if count} == expected
    assert sum(count for fate, count in fates.items() if fate < ORDINARY_FATES) == 10_000 - sum(
        expected.values()
    )


def test_the_usual_delivery_is_the_even_order() -> None:
    """Without a scenario, fates are those that they always were."""
    assert Delivery().fates(37, 500, MessageKind.MARKETING) == ordinary_fates(37, 500)


@pytest.mark.parametrize(
    ("delivered", "read"), [(1.0, 0.6), (0.97, 0.65), (0.5, 0.5), (0.0, 1.0), (1.0, 0.0)]
)
def test_rates_are_those_of_the_ordinary_fates(delivered: float, read: float) -> None:
    """The shares that arrive and are read are those given, to a percent, and nobody reads what did not arrive."""
    pace = delivery(delivered=delivered, read=read).pace
    arrived = [fate for fate in range(ORDINARY_FATES) if pace.delivered_after(fate) is not None]
    seen = [fate for fate in range(ORDINARY_FATES) if pace.read_after(fate) is not None]
    assert len(arrived) == round(delivered * 100)
    assert len(seen) == round(read * len(arrived))
    assert set(seen) <= set(arrived)


def test_delays_stay_in_their_ranges_and_in_order() -> None:
    """Nothing arrives before or after the given seconds, and it is read after it has arrived."""
    pace = delivery(delivered_after=Range(3, 7200), read_after=Range(5, 43_200), read=1.0).pace
    for fate in range(ORDINARY_FATES):
        arrived, seen = pace.delivered_after(fate), pace.read_after(fate)
        assert arrived is not None
        assert seen is not None
        assert 3 <= arrived <= 7200
        assert 5 <= seen - arrived <= 43_200 + 1e-6
    assert 3600 < Timeline(0.0, pace).settled_after <= 7200


def send_campaign(start_sandbox: Any, people: int) -> Any:
    """Start the shop with its clock stopped, and send an offer to many people."""
    wati = start_sandbox(scenario=load_scenario("shop"))
    wati.control("POST", "/clock", json={"frozen": True})
    wati.control("POST", "/contacts", json={"count": people, "first_phone": str(FIRST_PHONE)})
    params = [{"name": "name", "value": "Ada"}, {"name": "item", "value": "a blue kettle"}]
    for start in range(0, people, 10_000):
        recipients = [
            {"phone_number": str(FIRST_PHONE + number), "custom_params": params}
            for number in range(start, min(start + 10_000, people))
        ]
        body = {"template_name": "abandoned_cart", "broadcast_name": "carts", "recipients": recipients}
        assert wati("POST", "/messageTemplates/send", json=body).json()["success"] is True
    return wati


def statuses(wati: Any) -> Counter[str]:
    campaigns = wati.control("GET", "/broadcasts?limit=1000")["broadcasts"]
    return sum((Counter(each["statuses"]) for each in campaigns), Counter())


def test_a_day_of_a_campaign_passes_in_seconds(start_sandbox: Any) -> None:
    """A campaign to 100,000 people goes through its day, hour by hour, in less than ten seconds of real time."""
    people = 100_000
    wati = send_campaign(start_sandbox, people)
    began = time.perf_counter()
    course = [statuses(wati)]
    for _ in range(24):
        wati.advance(3600)
        course.append(statuses(wati))
    took = time.perf_counter() - began
    print(f"A day of a campaign to {people:,} people: {took:.1f} s; at its end {dict(course[-1])}")
    assert course[0] == {"queued": people}
    assert course[1]["read"] < course[12]["read"]
    end = course[-1]
    assert end.total() == people
    # 4 % not on WhatsApp, 6 % over the limit, 1 % opted out at WhatsApp, 1 % experiment, 0.1 % something else.
    assert end["failed"] == 0.121 * people
    assert end["sent"] == pytest.approx(0.03 * 0.879 * people, rel=0.1)
    seen = end["read"] + end["replied"]
    assert seen == pytest.approx(0.65 * 0.97 * 0.879 * people, rel=0.03)
    assert end["replied"] == pytest.approx(0.04 * seen, rel=0.1)
    assert took < PATIENCE


def test_the_same_seed_gives_the_same_day(start_sandbox: Any) -> None:
    """Two sandboxes with one scenario have the same statuses, reasons and answers of every recipient."""
    days = []
    for _ in range(2):
        wati = send_campaign(start_sandbox, 300)
        wati.advance(DAY)
        sent = wati.control("GET", "/messages?broadcast_name=carts&limit=1000")["messages"]
        answers = [
            (message.text, message.conversation.contact.phone)
            for message in wati.server.state.messages.content
            if not isinstance(message, tuple) and not message.from_business
        ]
        days.append(([(each["phone"], each["status"]) for each in sent], answers))
    assert days[0] == days[1]
    assert {"failed", "read", "replied"} <= {status for _, status in days[0][0]}


def test_a_failure_has_whatsapps_code_and_text(start_sandbox: Any) -> None:
    """The recipients of a campaign show the codes of the scenario, and a conversation WhatsApp's text."""
    wati = send_campaign(start_sandbox, 1000)
    wati.advance(DAY)
    [campaign] = wati.control("GET", "/broadcasts")["broadcasts"]
    rows: list[dict[str, Any]] = []
    for page in range(1, 11):
        query = {"page_number": page, "page_size": 100}
        rows += wati("GET", f"/broadcasts/{campaign['id']}/recipients", params=query).json()["recipients"]
    codes = Counter(row["failed_code"] for row in rows if row["failed_code"])
    assert codes["131026"] == pytest.approx(40, abs=10)
    assert codes["131049"] == pytest.approx(60, abs=10)
    assert {"131050", "130472"} <= set(codes)
    phone = next(row["contact_phone"] for row in rows if row["failed_code"] == "131049").removeprefix("+")
    query = {"page_number": 1, "page_size": 100}
    [message] = wati("GET", f"/conversations/{phone}/messages", params=query).json()["message_list"]
    assert (message["status"], message["failed_detail"]) == (
        "failed",
        "This message was not delivered to maintain healthy ecosystem engagement",
    )
