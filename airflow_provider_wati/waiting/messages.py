"""Wait until a person writes, or answers a question with buttons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.client.list_order import NewestFirst
from airflow_provider_wati.client.responses import has_failed
from airflow_provider_wati.exceptions import WatiNotFoundError, WatiResponseError, WatiValidationError
from airflow_provider_wati.listening.messages import is_inbound
from airflow_provider_wati.masking import clean, mask_numbers
from airflow_provider_wati.sending.conversation_index import plain_text
from airflow_provider_wati.waiting.condition import Look, Verdict, time_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Message
    from airflow_provider_wati.clock import Clock

#: Messages of a conversation that one look reads at most: 20 calls.
_MOST_MESSAGES = 2_000
#: How much older than the time from which answers count the question may be: where WATI did not give its time, that time is
#: the end of the call.
_LONGEST_CALL = timedelta(minutes=10)
_SHOWN = ("id", "conversation_id", "type", "text", "created")


@dataclass(slots=True, kw_only=True)
class ReplyCondition:
    """
    A message from a person; the fields are plain JSON.

    :param target: conversation id, phone number or BSUID.
    :param since: the time from which on a message counts, ISO 8601.
    :param text_pattern: a regular expression that is searched for in the text; None for any message.
    """

    news: ClassVar[tuple[str, ...]] = ("messages",)
    target: str
    since: str
    text_pattern: str | None = None

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """Read the conversation back to ``since``; somebody without a conversation has not written yet."""
        since = since_of(self.since)
        pattern = None if self.text_pattern is None else re.compile(self.text_pattern)
        try:
            messages = list(_messages_since(client, self.target, since))
        except WatiNotFoundError:
            return Look(Verdict.WAITING, "WATI has no open conversation with this person yet.", self.unseen())
        replies = [each for each in messages if is_reply(each[1], pattern)]
        if not replies:
            return Look(Verdict.WAITING, f"No reply since {since.isoformat()}.", self.unseen())
        created, message = _first(replies, [each[0] for each in messages])
        return Look(Verdict.DONE, f"A reply came at {created.isoformat()}.", _shown(message))

    def unseen(self) -> dict[str, Any]:
        """Return a result without a message."""
        return dict.fromkeys(_SHOWN)


@dataclass(slots=True, kw_only=True)
class AnswerCondition:
    """
    An answer to a question with buttons; the fields are plain JSON.

    WATI's V3 API does not show which question a tap belongs to: the text of the button and the time are all there is.

    :param target: the conversation of the question: its id, else a phone number or BSUID.
    :param since: when WATI took the question, ISO 8601; earlier messages are no answer to it.
    :param buttons: the texts of the buttons.
    :param question_id: WATI's id of the question.
    """

    news: ClassVar[tuple[str, ...]] = ()
    target: str
    since: str
    buttons: list[str]
    question_id: str | None = None

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """Read the conversation back to the question. A question that did not reach the person ends the wait."""
        since = since_of(self.since)
        answers: list[tuple[datetime, Message]] = []
        times: list[datetime] = []
        try:
            for created, message in _messages_since(client, self.target, _earlier(since, _LONGEST_CALL)):
                times.append(created)
                if self._is_question(message) and has_failed(message.get("status")):
                    return Look(Verdict.FAILED, _not_delivered(message), self.unseen())
                answer = answer_in(message, self.buttons)
                if answer is not None and created >= since:
                    answers.append((created, message))
        except WatiNotFoundError:
            return Look(
                Verdict.WAITING, "WATI does not show the conversation.", self.unseen(), is_shown=False
            )
        if not answers:
            return Look(Verdict.WAITING, f"No answer since {since.isoformat()}.", self.unseen())
        created, message = _first(answers, times)
        result = {"answer": answer_in(message, self.buttons), "message": _shown(message)}
        return Look(Verdict.DONE, f"An answer came at {created.isoformat()}.", result)

    def unseen(self) -> dict[str, Any]:
        """Return a result without an answer."""
        return {"answer": None, "message": None}

    def _is_question(self, message: Message) -> bool:
        return self.question_id is not None and str(message.get("id")) == self.question_id


def _first(found: Sequence[tuple[datetime, Message]], times: Sequence[datetime]) -> tuple[datetime, Message]:
    """
    Return the earliest of some messages.

    Several may have one time, because WATI's ``timestamp`` has seconds only. WATI lists the newest first, as far as is known,
    so the last of them is the earliest; where the list begins with the oldest, the first one is.

    :param found: the messages, in the order of the list.
    :param times: those of all messages of the list that were read, in its order.
    """
    is_oldest_first = times[0] < times[-1]
    return min(found if is_oldest_first else reversed(found), key=lambda each: each[0])


def _earlier(time: datetime, by: timedelta) -> datetime:
    try:
        return time - by
    except OverflowError:
        return time


def _messages_since(client: WatiClient, target: str, since: datetime) -> Iterator[tuple[datetime, Message]]:
    """
    Yield the messages of a conversation that are not older than a time, each with its own.

    :raises WatiResponseError: when there are more messages than are read, and newer ones may be among the rest.
    """
    newest_first = NewestFirst[datetime]()
    messages = iter(client.iter_messages(target))
    first: datetime | None = None
    for message in islice(messages, _MOST_MESSAGES):
        created = _sent_at(message)
        first = first or created
        if newest_first.is_past(created, since):
            return
        if created is not None and created >= since:
            yield created, message
    last = newest_first.previous
    # One time that is out of order is no reason to doubt a list whose rest is older.
    is_rest_older = first is not None and last is not None and last < first and last < since
    if not is_rest_older and next(messages, None) is not None:
        raise WatiResponseError(
            f"The conversation has more than the {_MOST_MESSAGES:,} messages that are read; what is waited for may be "
            "among the rest."
        )


def _sent_at(message: Message) -> datetime | None:
    """Return the time of a message: ``created``, else ``timestamp``, which WATI gives in seconds; None if it has neither."""
    created = time_of(message.get("created"))
    if created is not None:
        return created
    try:
        return datetime.fromtimestamp(int(str(message.get("timestamp"))), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _shown(message: Message) -> dict[str, Any]:
    """Return what a result shows of a message."""
    return {name: None if (value := message.get(name)) is None else clean(str(value)) for name in _SHOWN}


def _not_delivered(message: Message) -> str:
    detail = mask_numbers(clean(str(message.get("failed_detail") or "no reason given")))[:200]
    return f"The question was not delivered ({detail}). Ask again under another send_key."


def answer_in(message: Mapping[str, Any], buttons: Sequence[str]) -> str | None:
    """
    Return the button that a message stands for: a tap, or its text typed.

    :param message: as WATI lists it.
    :param buttons: the texts of the buttons; outer space and case do not count.
    :return: the button as it was sent; None if the message is not from the person, or says something else.
    """
    if not is_reply(message, None):
        return None
    said = _folded(str(message.get("text") or ""))
    return next((button for button in buttons if _folded(button) == said), None)


def _folded(text: str) -> str:
    return plain_text(text).casefold()


def check_buttons(buttons: Sequence[str]) -> None:
    """
    Check that an answer tells which button it stands for.

    :param buttons: their texts.
    :raises WatiValidationError: when two differ in case or space only.
    """
    if len(set(map(_folded, buttons))) < len(buttons):
        raise WatiValidationError(
            "Two buttons differ in capitals or spaces only; a typed answer would not tell which was meant."
        )


def is_reply(message: Mapping[str, Any], pattern: re.Pattern[str] | None) -> bool:
    """
    Say whether an entry of a conversation is a message from the person.

    :param message: as WATI lists it; one that does not say who wrote it is none.
    :param pattern: what its text has to hold.
    """
    return is_inbound(message) and (
        pattern is None or pattern.search(str(message.get("text") or "")) is not None
    )


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
        re.compile("" if text_pattern is None else text_pattern)
    except TypeError:
        raise WatiValidationError(
            f"text_pattern is text, not {type(text_pattern).__name__}: a native template makes a number of digits."
        ) from None
    except re.error as error:
        raise WatiValidationError(f"text_pattern is not a regular expression: {error}.") from None
    return ReplyCondition(target=target, since=since_of(since).isoformat(), text_pattern=text_pattern)
