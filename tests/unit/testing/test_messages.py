from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airflow_provider_wati.testing.messages import Expectation, Message, explain, nearest, unexpected

ADA, BEN = "12025550143", "12025550144"
ORDER = Message(
    phone=ADA,
    kind="template",
    text="Hi Ada, your order 1001 is packed.",
    template="order_update",
    params={"name": "Ada", "order_id": "1001", "status": "packed"},
    campaign="5d41-1 orders",
    status="sent",
    created=datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC),
    id="66b1",
    channel="Default",
)
HELLO = replace(ORDER, kind="text", text="Hello", template=None, params={}, campaign=None)


@pytest.mark.parametrize(
    ("expectation", "matches"),
    [
        (Expectation(), True),
        (Expectation(phone=ADA, template="order_update"), True),
        (Expectation(phone=BEN), False),
        (Expectation(template="welcome"), False),
        (Expectation(params={"order_id": "1001"}), True),
        (Expectation(params={"order_id": "1002"}), False),
        (Expectation(params={"missing": ""}), False),
        (Expectation(text="Hi Ada"), False),
        (Expectation(text=re.compile("order 100[0-9]")), True),
        (Expectation(text=re.compile("^order")), False),
        (Expectation(campaign="orders"), True),
        (Expectation(campaign="refunds"), False),
        (Expectation(kind="text"), False),
    ],
)
def test_an_expectation_matches_by_each_field(expectation: Expectation, matches: bool) -> None:
    """Each field that is given has to fit, and a field that is not given fits everything."""
    assert expectation.matches(ORDER) is matches


def test_the_nearest_message_differs_least() -> None:
    """A message to the same person with another parameter comes nearer than one to somebody else, or another kind."""
    expectation = Expectation(phone=ADA, template="order_update", params={"status": "on its way"})
    others = [HELLO, ORDER, replace(ORDER, phone=BEN, params={"status": "on its way"})]
    assert nearest(expectation, others) is ORDER
    assert nearest(expectation, []) is None


def test_of_texts_the_most_alike_comes_nearest() -> None:
    """Of two texts to the same person, the one with a slip of the pen is shown."""
    slip = replace(HELLO, text="Your order is packd.")
    assert nearest(Expectation(phone=ADA, text="Your order is packed."), [slip, HELLO]) is slip


def test_the_explanation_is_a_diff_against_the_nearest_miss() -> None:
    """What fits stands once, what does not stands as expected and as sent."""
    expectation = Expectation(
        phone=ADA, template="order_update", params={"order_id": "1001", "status": "late"}
    )
    assert explain(expectation, 1, [HELLO, ORDER]).splitlines() == [
        "Expected 1 message, found 0.",
        "The nearest of 2 other messages (- expected, + what was sent):",
        "    phone: '12025550143'",
        "    template: 'order_update'",
        "    params['order_id']: '1001'",
        "  - params['status']: 'late'",
        "  + params['status']: 'packed'",
        "    (its text: 'Hi Ada, your order 1001 is packed.')",
    ]


def test_too_many_messages_are_listed_without_a_nearest_miss() -> None:
    """When there are more than expected, those are shown, and no other message."""
    lines = explain(Expectation(phone=ADA, kind="text"), 1, [HELLO, HELLO, ORDER]).splitlines()
    assert lines[:2] == ["Expected 1 message, found 2.", "Found:"]
    assert [line for line in lines[2:] if "Hello" in line] == lines[2:]
    assert len(lines) == 4


def test_nothing_sent_and_calls_refused_are_said() -> None:
    """Without any message the explanation says so, and which calls were refused."""
    lines = explain(Expectation(phone=ADA), None, [], ["POST /x -> 400"]).splitlines()
    assert lines[0] == "Expected at least one message, found 0."
    assert "Nothing else was sent to anybody." in lines
    assert lines[-1] == "  POST /x -> 400"


def test_many_unexpected_messages_are_cut() -> None:
    """A list of messages shows ten, and counts the rest."""
    lines = unexpected([HELLO] * 13).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  and 3 more"
