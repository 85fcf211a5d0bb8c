"""What the page shows of campaigns: how each is doing, and its recipients one page at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.campaigns import broadcast_status, count_by_status, statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_wati.sandbox.model.records import Broadcast
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

Json = dict[str, Any]

_FUNNEL = ("sent", "delivered", "read", "replied", "failed")


def campaigns(workspace: Workspace, *, query: str, skip: int, limit: int) -> Json:
    """Return a slice of the campaigns, newest first; a slow listing hides none of them here."""
    state = workspace.state
    found: Iterable[Broadcast] = reversed(state.broadcasts)
    total = len(state.broadcasts)
    if query:
        words = query.casefold()
        found = [
            each for each in found if words in each.name.casefold() or words in each.template.name.casefold()
        ]
        total = len(found)
    rows = [campaign_row(state, each) for each in islice(found, skip, skip + limit)]
    return {"total": total, "skip": skip, "rows": rows}


def campaign_row(state: State, broadcast: Broadcast) -> Json:
    counts = statistics(state, broadcast, cumulative=True)
    return {
        "id": broadcast.id,
        "name": broadcast.name,
        "template": broadcast.template.name,
        "channel": broadcast.channel.name,
        "status": broadcast_status(state, broadcast),
        "starts_at": broadcast.starts_at,
        "recipients": broadcast.count,
        "funnel": {name: counts[f"total_{name}"] for name in _FUNNEL},
        "now": +count_by_status(state, broadcast),
    }


def recipients(state: State, broadcast: Broadcast, *, status: str, query: str, skip: int, limit: int) -> Json:
    """
    Return a slice of a campaign's recipients.

    :param status: only those that stand there now; empty for all.
    :param query: part of a name or phone number; empty for all.
    """
    everybody = range(broadcast.first, broadcast.first + broadcast.count)
    found: Iterable[int] = everybody
    if status:
        found = _with_status(state, broadcast, status)
    if query:
        found = _with_name(state, found, query.casefold())
    if status or query:
        found = list(found)
        total = len(found)
    else:
        total = broadcast.count
    rows = [_recipient_row(state, broadcast, number) for number in islice(found, skip, skip + limit)]
    return {"total": total, "skip": skip, "rows": rows}


def _with_status(state: State, broadcast: Broadcast, status: str) -> Iterator[int]:
    """Yield the recipients with a status: a status is looked up once for each fate, not for each message."""
    fates = state.messages.fate[broadcast.first : broadcast.first + broadcast.count]
    wanted = {fate for fate in set(fates) if state.standing_in(broadcast, fate).status == status}
    for number, fate in enumerate(fates, broadcast.first):
        if number in broadcast.replied:
            if status == "replied":
                yield number
        elif fate in wanted:
            yield number


def _with_name(state: State, numbers: Iterable[int], words: str) -> Iterator[int]:
    for number in numbers:
        person = state.contact_of_message(number)
        if words in person.name.casefold() or words.lstrip("+") in (person.phone or person.bsuid or ""):
            yield number


def _recipient_row(state: State, broadcast: Broadcast, number: int) -> Json:
    person = state.contact_of_message(number)
    standing = state.standing(number)
    talk = person.conversation_on(broadcast.channel)
    return {
        "id": ids.make_id(ids.MESSAGE, number),
        "name": person.name,
        "phone": person.phone,
        "bsuid": person.bsuid,
        "status": standing.status,
        "reason": None
        if standing.failure is None
        else {"code": standing.failure.code, "detail": standing.failure.detail},
        "conversation": talk.id if talk and person.number in state.contacts else None,
    }
