"""Looks at a conversation: what counts as a reply."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.waiting.condition import Verdict
from airflow_provider_wati.waiting.messages import is_reply, reply_condition

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
    ("since", "pattern", "message"), [("noon", None, "since"), ("2026-01-01", "(", "regular expression")]
)
def test_arguments_that_cannot_be_right(since: str, pattern: str | None, message: str) -> None:
    """The error says which argument to correct."""
    with pytest.raises(WatiValidationError, match=message):
        reply_condition(BEN, since, pattern)
