"""Wait until a person writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiNotFoundError, WatiValidationError
from airflow_provider_wati.masking import clean
from airflow_provider_wati.sending.conversation_index import NewestFirst
from airflow_provider_wati.waiting.condition import Look, Verdict, time_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock

#: Messages of a conversation that one look reads at most: 20 calls.
_MOST_MESSAGES = 2_000
_SHOWN = ("id", "conversation_id", "type", "text", "created")


@dataclass(slots=True, kw_only=True)
class ReplyCondition:
    """
    A message from a person; the fields are plain JSON.

    :param target: conversation id, phone number or BSUID.
    :param since: the time from which on a message counts, ISO 8601.
    :param text_pattern: a regular expression that is searched for in the text; None for any message.
    """

    target: str
    since: str
    text_pattern: str | None = None

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """Read the conversation back to ``since``; somebody without a conversation has not written yet."""
        since = since_of(self.since)
        try:
            replies = list(self._replies(client, since))
        except WatiNotFoundError:
            return Look(Verdict.WAITING, "WATI has no open conversation with this person yet.", self.unseen())
        if not replies:
            return Look(Verdict.WAITING, f"No reply since {since.isoformat()}.", self.unseen())
        created, message = min(replies, key=lambda reply: reply[0])
        shown = {name: None if (value := message.get(name)) is None else clean(str(value)) for name in _SHOWN}
        return Look(Verdict.DONE, f"A reply came at {created.isoformat()}.", shown)

    def unseen(self) -> dict[str, Any]:
        """Return a result without a message."""
        return dict.fromkeys(_SHOWN)

    def _replies(self, client: WatiClient, since: datetime) -> Any:
        pattern = None if self.text_pattern is None else re.compile(self.text_pattern)
        newest_first = NewestFirst()
        for message in islice(client.iter_messages(self.target), _MOST_MESSAGES):
            created = time_of(message.get("created"))
            if newest_first.ends(created, is_old=created is not None and created < since):
                return
            if created is not None and created >= since and is_reply(message, pattern):
                yield created, message


def is_reply(message: Mapping[str, Any], pattern: re.Pattern[str] | None) -> bool:
    """
    Say whether an entry of a conversation is a message from the person.

    :param message: as WATI lists it; one that does not say who wrote it is none.
    :param pattern: what its text has to hold.
    """
    if message.get("owner") is not False or message.get("event_type") not in (None, "", "message"):
        return False
    return pattern is None or pattern.search(str(message.get("text") or "")) is not None


def since_of(text: object) -> datetime:
    """
    Read the time from which on replies count.

    :raises WatiValidationError: when it is no time.
    """
    time = time_of(text)
    if time is None:
        raise WatiValidationError(f"since is {text!r}: give ISO 8601, such as 2026-12-24T10:00:00+08:00.")
    return time


def reply_condition(target: str, since: object, text_pattern: str | None) -> ReplyCondition:
    """
    Check the arguments of a wait for a reply.

    :param target: conversation id, phone number or BSUID.
    :param since: the time from which on a message counts: a datetime, or ISO 8601.
    :param text_pattern: a regular expression, or None.
    :raises WatiValidationError: when one of these cannot be right.
    """
    from airflow_provider_wati.client.target import CONVERSATIONS

    CONVERSATIONS.check(target)
    try:
        re.compile(text_pattern or "")
    except re.error as error:
        raise WatiValidationError(f"text_pattern is not a regular expression: {error}.") from None
    return ReplyCondition(target=target, since=since_of(since).isoformat(), text_pattern=text_pattern)
