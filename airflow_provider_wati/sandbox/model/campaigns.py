"""Template messages: who gets one, and how a broadcast is doing."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.delivery import MessageKind
from airflow_provider_wati.sandbox.model.ids import BSUID, OBJECT_ID, PHONE
from airflow_provider_wati.sandbox.model.lookups import contact_with_id
from airflow_provider_wati.sandbox.model.records import Broadcast, Contact
from airflow_provider_wati.sandbox.model.status import (
    UNCLEAN_PARAMETER,
    WRONG_PARAMETERS,
    fate_of_failure,
    fate_of_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wati.sandbox.model.records import Channel, Params, Template
    from airflow_provider_wati.sandbox.model.state import State

#: WhatsApp takes no line breaks, tabs or long runs of spaces inside a parameter.
_UNCLEAN = re.compile(r"[\n\r\t]| {5,}")
_STATUSES = ("pending", "queued", "sending", "sent", "delivered", "read", "replied", "failed", "stopped")


@dataclass(slots=True)
class Recipient:
    """One recipient as the request named it."""

    phone_number: str | None
    target: str | None
    local_message_id: str | None
    params: Params


@dataclass(frozen=True)
class Tampering:
    """
    What a fault does to one send.

    :param errors: recipients that are refused, with the errors to answer.
    :param left_out: recipients that the answer does not mention.
    :param left_out_are_sent: whether those get their message all the same.
    :param hidden_seconds: for how long the campaign cannot be found.
    :param filling_seconds: how long it takes until its list of recipients is complete.
    """

    errors: dict[str, list[str]] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    left_out_are_sent: bool = False
    hidden_seconds: float = 0.0
    filling_seconds: float = 0.0


@dataclass(frozen=True)
class Order:
    """A send or schedule request that has passed validation."""

    channel: Channel
    template: Template
    name: str
    recipients: Sequence[Recipient]
    starts_at: float | None = None
    tampering: Tampering = Tampering()


def place(state: State, order: Order) -> tuple[Broadcast, list[dict[str, Any]]]:
    """
    Accept what can be accepted and return the broadcast with the answer for each recipient.

    Neither the broadcast's name nor a local message id makes a second call find the first: WATI
    documents that both are no idempotency keys.
    """
    now = state.clock.now()
    tampering = order.tampering
    broadcast = Broadcast(
        number=len(state.broadcasts),
        name=order.name,
        channel=order.channel,
        template=order.template,
        created=now,
        starts_at=now if order.starts_at is None else order.starts_at,
        scheduled=order.starts_at is not None,
        visible_at=now + tampering.hidden_seconds,
        filled_at=now + tampering.hidden_seconds + tampering.filling_seconds,
    )
    first = len(state.messages)
    accepted = _accept(state, order)
    state.messages.add(
        contacts=accepted.contacts,
        broadcast=broadcast.number + 1,
        created=now,
        fates=_fates(state, order.template, first, accepted.recipients),
        local_ids=accepted.local_ids,
        contents=[recipient.params for recipient in accepted.recipients],
    )
    broadcast.first, broadcast.count = first, len(accepted.recipients)
    state.broadcasts.append(broadcast)
    order.channel.broadcasts.append(broadcast)
    if not is_visible(state, broadcast):
        state.hidden_broadcasts.append(broadcast)
    if broadcast.starts_at <= now:
        state.put_in_conversations(broadcast)
    else:
        heapq.heappush(state.waiting, (broadcast.starts_at, broadcast.number))
    return broadcast, accepted.answers


@dataclass(slots=True)
class _Accepted:
    """Who of an order gets a message, and what is answered for each recipient."""

    recipients: list[Recipient] = field(default_factory=list)
    contacts: list[int] = field(default_factory=list)
    local_ids: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)


def _accept(state: State, order: Order) -> _Accepted:
    tampering, found = order.tampering, _Accepted()
    first, by_phone = len(state.messages), state.by_phone
    for recipient in order.recipients:
        address = recipient.target or recipient.phone_number or ""
        errors = tampering.errors.get(address)
        left_out = address in tampering.left_out
        local_id = recipient.local_message_id
        contact = None
        if errors is None and (not left_out or tampering.left_out_are_sent):
            contact = by_phone.get(address) or _resolve(state, address)
        if contact is not None:
            local_id = local_id or ids.make_id(ids.LOCAL_MESSAGE, first + len(found.recipients))
            found.recipients.append(recipient)
            found.contacts.append(contact.number)
            found.local_ids.append(local_id)
        elif errors is None:
            errors = [_why_not(address)]
        if not left_out:
            found.answers.append(
                {
                    "local_message_id": local_id,
                    "phone_number": recipient.phone_number,
                    "target": recipient.target,
                    "errors": errors or [],
                }
            )
    return found


def _resolve(state: State, address: str) -> Contact | None:
    """Find the person behind an address; an unknown number becomes a contact, as WATI documents."""
    if PHONE.fullmatch(address):
        return state.create_contact(address, address, source="broadcast")
    if OBJECT_ID.fullmatch(address):
        return contact_with_id(state, address)
    return state.by_bsuid.get(address)


def _why_not(address: str) -> str:
    if OBJECT_ID.fullmatch(address) or BSUID.fullmatch(address):
        return "Contact not found"
    return "Invalid phone number"


def _fates(state: State, template: Template, first: int, accepted: Sequence[Recipient]) -> bytearray:
    kind = MessageKind.MARKETING if template.category == "MARKETING" else MessageKind.TEMPLATE
    fates = state.delivery.fates(first, len(accepted), kind)
    judge = _ParamsJudge(template)
    for index, recipient in enumerate(accepted):
        fate = judge.fate_of(recipient.params)
        if fate is None:
            fate = fate_of_number(recipient.target or recipient.phone_number or "")
        if fate is not None:
            fates[index] = fate
    return fates


class _ParamsJudge:
    """
    Says which parameters make a message fail later.

    That a missing parameter is accepted first and fails afterwards is our choice; that one too many is
    ignored was observed.
    """

    def __init__(self, template: Template) -> None:
        self._expected = tuple(template.params)
        self._positions: dict[object, tuple[int, ...] | None] = {}

    def fate_of(self, params: Params) -> int | None:
        names = params[0]
        if names not in self._positions:
            self._positions[names] = self._find(names)
        positions = self._positions[names]
        if positions is None:
            return fate_of_failure(WRONG_PARAMETERS)
        values = [params[position] for position in positions]
        if not all(values):
            return fate_of_failure(WRONG_PARAMETERS)
        if _UNCLEAN.search("|".join(map(str, values))):
            return fate_of_failure(UNCLEAN_PARAMETER)
        return None

    def _find(self, names: object) -> tuple[int, ...] | None:
        if not isinstance(names, tuple) or not set(self._expected) <= set(names):
            return None
        # Values start at position 1, behind the names.
        return tuple(names.index(name) + 1 for name in self._expected)


# How a broadcast is doing


def is_visible(state: State, broadcast: Broadcast) -> bool:
    return state.clock.now() >= broadcast.visible_at


def listed_recipients(state: State, broadcast: Broadcast) -> int:
    """Return how many recipients are listed so far; fewer than were accepted while the list is filling."""
    filling = broadcast.filled_at - broadcast.visible_at
    left = broadcast.filled_at - state.clock.now()
    if left <= 0 or filling <= 0:
        return broadcast.count
    return int(broadcast.count * max(0.0, 1 - left / filling))


def page_of_broadcasts(state: State, channel: Channel, first: int, size: int) -> tuple[list[Broadcast], int]:
    """Return a page of a channel's broadcasts, newest first (our choice), and how many there are."""
    state.hidden_broadcasts = [each for each in state.hidden_broadcasts if not is_visible(state, each)]
    broadcasts = channel.broadcasts
    if state.hidden_broadcasts:
        broadcasts = [each for each in broadcasts if each not in state.hidden_broadcasts]
    end = max(len(broadcasts) - first, 0)
    return broadcasts[max(end - size, 0) : end][::-1], len(broadcasts)


def broadcast_status(state: State, broadcast: Broadcast) -> str:
    """
    Return a broadcast's status.

    ``processing`` is documented, the other words are our choice. It is ``completed`` once every message has
    reached the phone or failed; reads and replies still come in afterwards.
    """
    now = state.clock.now()
    if broadcast.cancelled_at is not None:
        return "cancelled"
    if now < broadcast.starts_at:
        return "scheduled"
    age = (now - broadcast.starts_at) * state.speed
    return "completed" if age >= state.timeline.settled_after else "processing"


def count_by_status(state: State, broadcast: Broadcast) -> Counter[str]:
    """Count a broadcast's messages by their present status."""
    counts: Counter[str] = Counter()
    fates = state.messages.fate[broadcast.first : broadcast.first + broadcast.count]
    for fate, count in Counter(fates).items():
        counts[state.standing_in(broadcast, fate).status] += count
    for number in broadcast.replied:
        counts[state.standing_in(broadcast, state.messages.fate[number]).status] -= 1
        counts["replied"] += 1
    return counts


def statistics(state: State, broadcast: Broadcast, *, cumulative: bool) -> dict[str, int]:
    """
    Return WATI's counters of a broadcast.

    :param cumulative: count a message under every stage it has passed, as a funnel does.
    """
    counts = count_by_status(state, broadcast)
    if cumulative:
        for later, earlier in (("replied", "read"), ("read", "delivered"), ("delivered", "sent")):
            counts[earlier] += counts[later]
    totals = {"total_recipients": broadcast.count}
    return totals | {f"total_{status}": counts[status] for status in _STATUSES}
