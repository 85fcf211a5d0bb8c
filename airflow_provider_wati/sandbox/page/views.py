"""What the page shows of conversations, contacts and calls: one slice at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.state import WINDOW_SECONDS
from airflow_provider_wati.sandbox.page.answers import answer_in_words
from airflow_provider_wati.sandbox.page.bubbles import bubble, preview

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_wati.sandbox.model.records import Contact, Conversation
    from airflow_provider_wati.sandbox.page.read_marks import ReadMarks
    from airflow_provider_wati.sandbox.workspace import SeenRequest, Workspace

Json = dict[str, Any]


def conversations(
    workspace: Workspace, marks: ReadMarks, *, query: str, only_unread: bool, skip: int, limit: int
) -> Json:
    """
    Return a slice of the conversations, the latest activity first.

    :param query: part of a name, phone number or BSUID, in any case; empty for all.
    :param only_unread: leave out those without a message that nobody has looked at.
    """
    state = workspace.state
    found: Iterable[Conversation] = state.latest_conversations()
    total = state.conversation_count()
    if query or only_unread:
        wanted = _Search(query)
        found = [
            talk
            for talk in found
            if wanted.fits(talk.contact) and not (only_unread and not marks.unread(talk))
        ]
        total = len(found)
    rows = [_conversation_row(workspace, marks, talk) for talk in islice(found, skip, skip + limit)]
    return {"total": total, "skip": skip, "rows": rows}


def thread(workspace: Workspace, marks: ReadMarks, talk: Conversation, *, first: int, limit: int) -> Json:
    """
    Return messages of a conversation, oldest first.

    :param first: index of the first one.
    """
    numbers = talk.messages[first : first + limit]
    return {
        "conversation": _conversation_row(workspace, marks, talk) | {"contact": contact_row(talk.contact)},
        "total": len(talk.messages),
        "first": first,
        "messages": [bubble(workspace.state, number, first + i) for i, number in enumerate(numbers)],
    }


def contacts(workspace: Workspace, *, query: str, consent: str, skip: int, limit: int) -> Json:
    """
    Return a slice of the contacts in the order in which they were made.

    :param consent: ``yes`` or ``no`` for those who may or may not be sent campaigns; else all.
    """
    everybody = workspace.state.contacts
    wanted = _Search(query)
    if not query and consent not in ("yes", "no"):
        return _slice(everybody.values(), len(everybody), skip, limit)
    found = [
        each
        for each in everybody.values()
        if wanted.fits(each) and (consent not in ("yes", "no") or each.allow_broadcast is (consent == "yes"))
    ]
    return _slice(found, len(found), skip, limit)


def _slice(found: Iterable[Contact], total: int, skip: int, limit: int) -> Json:
    rows = [contact_row(each) for each in islice(found, skip, skip + limit)]
    return {"total": total, "skip": skip, "rows": rows}


def calls(workspace: Workspace, *, query: str, skip: int, limit: int) -> Json:
    """
    Return a slice of the log of API calls, the latest first.

    :param query: part of ``METHOD path status``, in any case; empty for all.
    """
    found: Iterator[SeenRequest] | list[SeenRequest] = reversed(workspace.requests)
    total = len(workspace.requests)
    if query:
        words = query.casefold().split()
        found = [each for each in found if all(word in _line(each) for word in words)]
        total = len(found)
    rows = [_call_row(each) for each in islice(found, skip, skip + limit)]
    return {"total": total, "skip": skip, "rows": rows}


def contact_row(person: Contact) -> Json:
    return {
        "id": person.id,
        "name": person.name,
        "phone": person.phone,
        "bsuid": person.bsuid,
        "source": person.source,
        "teams": list(person.teams),
        "attributes": [[name, value] for name, value in (person.custom_params or {}).items()],
        "allow_broadcast": person.allow_broadcast,
        "opted_in": person.opted_in,
        "created": person.created,
        "conversations": [talk.id for talk in person.conversations],
    }


def _conversation_row(workspace: Workspace, marks: ReadMarks, talk: Conversation) -> Json:
    state = workspace.state
    last = talk.messages[-1] if talk.messages else None
    standing = None if last is None else state.standing(last)
    return {
        "id": talk.id,
        "name": talk.contact.name,
        "phone": talk.contact.phone,
        "bsuid": talk.contact.bsuid,
        "channel": talk.channel.name,
        "channel_phone": talk.channel.phone,
        "status": talk.status,
        "operator": talk.operator,
        "tags": list(talk.tags),
        "preview": "" if last is None else preview(state, last),
        "last_status": standing.status if standing else "",
        "time": talk.last_activity,
        "messages": len(talk.messages),
        "unread": marks.unread(talk),
        "window_until": None if talk.last_inbound is None else talk.last_inbound + WINDOW_SECONDS,
    }


class _Search:
    """
    A search for people.

    :param query: part of a name, phone number or BSUID; a plus sign and spaces in a number do not matter.
    """

    def __init__(self, query: str) -> None:
        self._words = query.casefold().strip()
        digits = self._words.translate(dict.fromkeys(map(ord, "+ -()")))
        self._digits = digits if digits.isdecimal() else ""

    def fits(self, person: Contact) -> bool:
        if not self._words or self._words in person.name.casefold():
            return True
        if self._digits and person.phone and self._digits in person.phone:
            return True
        return person.bsuid is not None and self._words in person.bsuid.casefold()


def _line(seen: SeenRequest) -> str:
    return f"{seen.method} {seen.path} {seen.status or 'dropped'} {seen.fault or ''}".casefold()


def _call_row(seen: SeenRequest) -> Json:
    return {
        "time": seen.time,
        "method": seen.method,
        "path": seen.path,
        "query": seen.query,
        "status": seen.status,
        "milliseconds": seen.milliseconds,
        "fault": seen.fault,
        "answer": answer_in_words(seen),
    }
