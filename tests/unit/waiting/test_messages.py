"""Looks at a conversation: what counts as a reply."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiResponseError, WatiValidationError
from airflow_provider_wati.waiting.condition import Verdict
from airflow_provider_wati.waiting.messages import (
    AnswerCondition,
    answer_in,
    check_buttons,
    is_reply,
    reply_condition,
)

if TYPE_CHECKING:
    from tests.conftest import Sandbox

BEN = "12025550144"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"owner": False, "event_type": "message", "text": "Yes please"}, True),
        ({"owner": False, "text": "oh yes"}, True),
        ({"owner": True, "event_type": "message", "text": "yes?"}, False),
        ({"event_type": "message", "text": "yes"}, False),
        ({"owner": False, "event_type": "ticket", "text": "yes"}, False),
        ({"owner": False, "event_type": "message", "text": "no"}, False),
        ({"owner": False, "event_type": "message", "text": None}, False),
    ],
)
def test_what_is_a_reply(message: dict[str, Any], expected: bool) -> None:
    """Only a message of the person whose text has the pattern counts."""
    assert is_reply(message, re.compile("(?i)yes")) is expected


def test_the_first_reply_since_then_is_found(quick_sandbox: Sandbox) -> None:
    """Older messages, and those of the business, do not count; of several replies the first one is returned."""
    quick_sandbox.control("POST", "/inbound", {"phone": BEN, "text": "too early"})
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    condition = reply_condition(BEN, datetime.now(UTC) + timedelta(seconds=30), None)
    client = quick_sandbox.client()
    client.send_text(BEN, "Shall we?")
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.WAITING
    for text in ("yes", "no"):
        quick_sandbox.control("POST", "/inbound", {"phone": BEN, "text": text})
        quick_sandbox.control("POST", "/clock", {"advance": 1})
    look = condition.look(client, SYSTEM_CLOCK)
    assert (look.verdict, look.result["text"]) == (Verdict.DONE, "yes")


def test_somebody_without_a_conversation_has_not_written_yet(quick_sandbox: Sandbox) -> None:
    """A missing conversation is waited for."""
    look = reply_condition("12025550199", datetime.now(UTC), None).look(quick_sandbox.client(), SYSTEM_CLOCK)
    assert look.verdict is Verdict.WAITING


@pytest.mark.parametrize(
    ("since", "pattern", "message"),
    [("noon", None, "since"), ("2026-01-01", "(", "regular expression"), ("2026-01-01", 5, "is text")],
)
def test_arguments_that_cannot_be_right(since: str, pattern: Any, message: str) -> None:
    """The error says which argument to correct."""
    with pytest.raises(WatiValidationError, match=message):
        reply_condition(BEN, since, pattern)


BUTTONS = ["Yes", "Straße 1", "Später"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"owner": False, "type": "interactive", "text": "Yes"}, "Yes"),
        ({"owner": False, "type": "text", "text": " yES\n"}, "Yes"),
        ({"owner": False, "type": "button", "text": "STRASSE  1"}, "Straße 1"),
        ({"owner": False, "text": "Spa\u0308ter"}, "Später"),
        ({"owner": False, "type": "text", "text": "Yes please"}, None),
        ({"owner": False, "type": "image", "text": None}, None),
        ({"owner": False, "type": "text", "text": ""}, None),
        ({"owner": True, "type": "text", "text": "Yes"}, None),
        ({"type": "text", "text": "Yes"}, None),
        ({"owner": False, "event_type": "ticket", "text": "Yes"}, None),
        ({"owner": False, "text": 7}, None),
    ],
)
def test_what_is_an_answer(message: dict[str, Any], expected: str | None) -> None:
    """A message of the person that says a button's text, in any case and space, is that button; nothing else is."""
    assert answer_in(message, BUTTONS) == expected


def test_buttons_that_a_typed_answer_cannot_tell_apart() -> None:
    """Two buttons that differ in capitals or spaces only are refused."""
    check_buttons(BUTTONS)
    with pytest.raises(WatiValidationError, match="capitals or spaces"):
        check_buttons(["Not now", "not  now"])


def ask(sandbox: Sandbox, phone: str = BEN) -> AnswerCondition:
    """Send a question, and return what is waited for."""
    question = sandbox.client().send_buttons(phone, "Shall we?", ["Yes", "No"])
    return AnswerCondition(
        target=str(question["conversation_id"]),
        since=question["created"],
        buttons=["Yes", "No"],
        question_id=question["id"],
    )


def test_the_first_answer_after_the_question_is_found(quick_sandbox: Sandbox) -> None:
    """Words before the question, and words that are no button, do not count; of two answers the first one does."""
    quick_sandbox.control("POST", "/inbound", {"phone": BEN, "text": "No"})
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    condition = ask(quick_sandbox)
    client = quick_sandbox.client()
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.WAITING
    for text in ("why?", "Yes", "No"):
        quick_sandbox.control("POST", "/clock", {"advance": 1})
        quick_sandbox.control("POST", "/inbound", {"phone": BEN, "text": text, "type": "interactive"})
    look = condition.look(client, SYSTEM_CLOCK)
    assert (look.verdict, look.result["answer"]) == (Verdict.DONE, "Yes")
    assert (look.result["message"]["text"], look.result["message"]["type"]) == ("Yes", "interactive")
    assert set(look.result["message"]) == {"id", "conversation_id", "type", "text", "created"}


def test_a_question_that_was_not_delivered_ends_the_wait(quick_sandbox: Sandbox) -> None:
    """The verdict is that it failed, with WATI's reason, once the question itself has failed."""
    unreachable = "12025131026"
    quick_sandbox.control("POST", "/inbound", {"phone": unreachable, "text": "Hi"})
    condition = ask(quick_sandbox, unreachable)
    client = quick_sandbox.client()
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.WAITING
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    look = condition.look(client, SYSTEM_CLOCK)
    assert look.verdict is Verdict.FAILED
    assert "Message undeliverable" in look.reason


def test_a_failed_question_is_seen_though_answers_count_from_later_on() -> None:
    """Where WATI did not give the time of the question, answers count from the end of the call, and its failure is older."""
    listed = [
        {"id": "a", "owner": False, "text": "Yes", "created": "2026-11-03T09:59:57+00:00"},
        {"id": "q", "owner": True, "status": "SENT", "created": "2026-11-03T09:59:58+00:00"},
    ]
    client: Any = SimpleNamespace(iter_messages=lambda target: iter(listed))
    condition = AnswerCondition(
        target=BEN, since="2026-11-03T10:00:00+00:00", buttons=["Yes"], question_id="q"
    )
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.WAITING
    listed[1]["status"] = "FAILED"
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.FAILED


@pytest.mark.parametrize("is_newest_first", [True, False])
def test_the_first_of_several_answers_of_one_second_counts(is_newest_first: bool) -> None:
    """WATI's ``timestamp`` has seconds only: the order of the list tells which of two answers came first."""
    said = [(True, "Question", 0), (False, "Yes", 10), (False, "No", 10)]
    listed = [
        {"id": text, "owner": owner, "text": text, "timestamp": str(1793318400 + seconds)}
        for owner, text, seconds in said
    ]
    if is_newest_first:
        listed.reverse()
    client: Any = SimpleNamespace(iter_messages=lambda target: iter(listed))
    since = datetime.fromtimestamp(1793318400, UTC).isoformat()
    answer = AnswerCondition(target=BEN, since=since, buttons=["Yes", "No"]).look(client, SYSTEM_CLOCK)
    reply = reply_condition(BEN, since, None).look(client, SYSTEM_CLOCK)
    assert (answer.result["answer"], reply.result["text"]) == ("Yes", "Yes")


def test_a_conversation_that_is_gone_is_waited_for(quick_sandbox: Sandbox) -> None:
    """A conversation that WATI does not know holds no answer yet."""
    condition = AnswerCondition(target="0" * 24, since="2026-01-01", buttons=["Yes"])
    assert condition.look(quick_sandbox.client(), SYSTEM_CLOCK).verdict is Verdict.WAITING


SINCE = datetime(2026, 11, 26, 10, tzinfo=UTC)


def talk(*messages: tuple[int, str]) -> Any:
    """A client that lists messages of the person: seconds after ``SINCE``, and the text."""
    shown = [
        {"id": str(n), "owner": False, "text": text, "created": (SINCE + timedelta(seconds=at)).isoformat()}
        for n, (at, text) in enumerate(messages)
    ]
    return SimpleNamespace(iter_messages=lambda target: iter(shown))


def conditions() -> list[Any]:
    since = SINCE.isoformat()
    return [
        AnswerCondition(target=BEN, since=since, buttons=["Yes", "No"]),
        reply_condition(BEN, since, "^Yes$"),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        # oldest first
        [*((n, "Hi") for n in range(-2_500, 0)), (5, "Yes")],
        # newest first, and more since then than are read
        [*((n, "Hi") for n in range(2_500, 6, -1)), (5, "Yes")],
    ],
)
def test_a_list_that_is_not_read_to_its_end_says_nothing(messages: list[tuple[int, str]]) -> None:
    """Where the answer may be among messages that are not read, the look fails: nobody knows that there is none."""
    for condition in conditions():
        with pytest.raises(WatiResponseError, match="2,000"):
            condition.look(talk(*messages), SYSTEM_CLOCK)


def test_a_long_past_with_a_time_out_of_order_is_no_failure() -> None:
    """What is older than the start need not be read, also where two old messages have changed places."""
    old = [(n, "Hi") for n in range(-1, -2_500, -1)]
    old[3:5] = reversed(old[3:5])
    for condition in conditions():
        assert condition.look(talk((1, "Hm"), *old), SYSTEM_CLOCK).verdict is Verdict.WAITING


@pytest.mark.parametrize("timestamp", ["1793318400", 1793318400])
def test_an_answer_without_created_has_the_time_of_its_timestamp(timestamp: object) -> None:
    """WATI documents two fields for the time of a message; an answer counts with either."""
    said = {"owner": False, "text": "Yes", "created": None, "timestamp": timestamp}
    client: Any = SimpleNamespace(iter_messages=lambda target: iter([said]))
    asked_at = datetime.fromtimestamp(1793318400, UTC)
    for since, verdict in ((asked_at, Verdict.DONE), (asked_at + timedelta(seconds=1), Verdict.WAITING)):
        condition = AnswerCondition(target=BEN, since=since.isoformat(), buttons=["Yes", "No"])
        assert condition.look(client, SYSTEM_CLOCK).verdict is verdict
