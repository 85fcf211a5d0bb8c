"""
The stored form of journal records: one line of JSON each.

A person is an 8-byte hash, so that an entry names people and holds none of their data: 11 characters a person.
"""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from itertools import groupby
from typing import Any, TypeVar

from airflow_provider_wati.exceptions import WatiConfigurationError

T = TypeVar("T")

#: The bytes of the digest of one person's parameters: of 65,536 other messages, one is taken for the same.
PARAMS_DIGEST = 2
_VERSION = 1
_ALL = "all"
#: More people than any call has. The limit keeps a damaged entry from filling the memory.
_MOST_PEOPLE = 1_000_000


class Verdict(IntEnum):
    """What the journal knows about one person of one call."""

    #: WATI took the message.
    ACCEPTED = 1
    #: WATI refused it, or the call never left.
    REFUSED = 2
    #: The outcome is not known: WATI may have taken the message.
    OPEN = 3
    #: Reconciliation closed an open call without evidence: the person may be sent to once more.
    CLOSED_UNRESOLVED = 4
    #: WATI took it, and the campaign was cancelled before its time.
    CANCELLED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """
    The first record of an attempt, written before anything else can fail.

    :param session: names the attempt.
    :param at: when it began.
    :param person: the one person that a single send is about; None for a bulk send, which has not read its rows yet.
    :param is_lost: whether the journal of an earlier attempt was gone when the attempt began. Later attempts go by it too.
    :param is_uncertain: whether others may have sent under this key without a journal. Later attempts go by it too.
    :param is_dry_run: whether it sends nothing, so that it does not take over from the attempt before.
    """

    session: str
    at: datetime
    person: int | None = None
    is_lost: bool = False
    is_uncertain: bool = False
    is_dry_run: bool = False
    is_late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """
    A call that is about to leave.

    :param id: names the call, ``<session>-<n>``.
    :param at: when it was about to leave.
    :param content: what is sent: the template's name, or a fingerprint of a single message.
    :param people: hashes of the people, in the order of the call.
    :param channel: the channel it is sent from.
    :param campaign_name: the campaign's name; None for a single message.
    :param due: when WATI is to send it; None for at once.
    :param resend: whether these people may have been sent to before, so that they are not sent to a third time.
    :param keyed: whether rows have keys, which the hashes then hold.
    :param found_as: what WATI or the journal of another mapped task shows of these people, accepted or cancelled; None for
        a call of this task. Intent and result are one record, so that a crash cannot separate them.
    :param found_in: WATI's id of the campaign that they were found in, if it is known.
    :param params: in a mapped task, a digest of each person's parameters, one after the other, see :func:`.digest_of_params`.
    """

    id: str
    at: datetime
    content: str
    people: array[int]
    channel: str | None = None
    campaign_name: str | None = None
    due: datetime | None = None
    resend: bool = False
    keyed: bool = False
    found_as: Verdict | None = None
    found_in: str | None = None
    params: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """
    What became of a call, or of some of its people.

    :param id: the intent.
    :param at: when it was known.
    :param verdicts: positions in the intent's people by verdict; None stands for all of them.
    :param campaign_id: WATI's id of the campaign, if the answer had one.
    :param reason: why people were refused, in one word.
    :param detail: what identifies a single message, for the result of a later attempt.
    """

    id: str
    at: datetime
    verdicts: Mapping[Verdict, Collection[int] | None]
    campaign_id: str | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """
    The people of a mapped task, written once it is known that none of them was in another mapped task.

    :param at: when that was known.
    :param digest: a hash of the set of people.
    """

    at: datetime
    digest: str


Record = Opening | Intent | Result | Rows


def encode(record: Record) -> str:
    """Write a record as one line of JSON."""
    fields: dict[str, Any] = {"v": _VERSION, "at": _time(record.at)}
    if isinstance(record, Opening):
        fields |= {
            "kind": "opening",
            "session": record.session,
            "person": record.person,
            "lost": record.is_lost,
            "uncertain": record.is_uncertain,
            "dry_run": record.is_dry_run,
            "late": record.is_late,
        }
    elif isinstance(record, Rows):
        fields |= {"kind": "rows", "digest": record.digest}
    elif isinstance(record, Intent):
        fields |= {
            "kind": "intent",
            "id": record.id,
            "content": record.content,
            "channel": record.channel,
            "name": record.campaign_name,
            "due": record.due and _time(record.due),
            "resend": record.resend,
            "keyed": record.keyed,
            "found_as": record.found_as and record.found_as.name.lower(),
            "found_in": record.found_in,
            "people": base64.b64encode(_big_endian(record.people)).decode(),
            "params": base64.b64encode(record.params).decode() or None,
        }
    else:
        fields |= {
            "kind": "result",
            "id": record.id,
            "campaign": record.campaign_id,
            "reason": record.reason,
            "detail": dict(record.detail),
            **{
                verdict.name.lower(): _ALL if positions is None else " ".join(_runs(positions))
                for verdict, positions in record.verdicts.items()
            },
        }
    # Compared by identity: the hash of a person may be 0, which equals False.
    return json.dumps(
        {
            name: value
            for name, value in fields.items()
            if value is not None and value is not False and value != {}
        }
    )


def decode(text: str, place: str) -> Record:
    """
    Read a record.

    :param text: what :func:`encode` wrote.
    :param place: where it is stored, for the error.
    :raises WatiConfigurationError: when it cannot be read: an entry taken for missing could message people twice.
    """
    try:
        fields = json.loads(text)
        if fields["v"] != _VERSION:
            raise ValueError(f"version {fields['v']}")
        return _KINDS[fields["kind"]](fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise WatiConfigurationError(
            f"The journal entry {place} cannot be read ({type(error).__name__}). Nothing is sent, because it may "
            "name people who have their message. Restore the entry; or look at the campaigns in WATI's dashboard, "
            "remove the entry, and send to the remaining people under another send_key."
        ) from None


def _opening(fields: Mapping[str, Any]) -> Opening:
    return Opening(
        session=_typed(fields["session"], str),
        at=_read_time(fields["at"]),
        person=_optional(fields.get("person"), int),
        is_lost=fields.get("lost") is True,
        is_uncertain=fields.get("uncertain") is True,
        is_dry_run=fields.get("dry_run") is True,
        is_late=fields.get("late") is True,
    )


def _intent(fields: Mapping[str, Any]) -> Intent:
    people = array("q")
    people.frombytes(base64.b64decode(fields["people"], validate=True))
    if sys.byteorder == "little":
        people.byteswap()
    params = base64.b64decode(fields.get("params", ""), validate=True)
    if params and len(params) != PARAMS_DIGEST * len(people):
        raise ValueError("parameters of other people")
    due, found_as = fields.get("due"), fields.get("found_as")
    return Intent(
        id=_typed(fields["id"], str),
        at=_read_time(fields["at"]),
        content=_typed(fields["content"], str),
        people=people,
        channel=_optional(fields.get("channel"), str),
        campaign_name=_optional(fields.get("name"), str),
        due=None if due is None else _read_time(due),
        resend=fields.get("resend") is True,
        keyed=fields.get("keyed") is True,
        found_as=None if found_as is None else Verdict[_typed(found_as, str).upper()],
        found_in=_optional(fields.get("found_in"), str),
        params=params,
    )


def _result(fields: Mapping[str, Any]) -> Result:
    verdicts: dict[Verdict, Collection[int] | None] = {}
    for verdict in Verdict:
        text = fields.get(verdict.name.lower())
        if text is not None:
            verdicts[verdict] = None if text == _ALL else list(_positions(text))
    return Result(
        id=_typed(fields["id"], str),
        at=_read_time(fields["at"]),
        verdicts=verdicts,
        campaign_id=_optional(fields.get("campaign"), str),
        reason=_optional(fields.get("reason"), str),
        detail=dict(fields.get("detail", {})),
    )


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Record]] = {
    "opening": _opening,
    "intent": _intent,
    "result": _result,
    "rows": lambda fields: Rows(at=_read_time(fields["at"]), digest=_typed(fields["digest"], str)),
}


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _optional(value: Any, kind: type[T]) -> T | None:
    return None if value is None else _typed(value, kind)


def _big_endian(people: array[int]) -> bytes:
    ordered = array("q", people)
    if sys.byteorder == "little":
        ordered.byteswap()
    return ordered.tobytes()


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    # At the edges of the calendar, a time may have no equal in UTC.
    return time.astimezone(UTC)


def _runs(positions: Iterable[int]) -> Iterator[str]:
    """Write positions as runs, ``0-3 7``: a batch refused as a whole is one run."""
    for _, run in groupby(enumerate(sorted(positions)), lambda pair: pair[1] - pair[0]):
        first, *others = (position for _, position in run)
        yield f"{first}-{others[-1]}" if others else str(first)


def _positions(text: str) -> Iterator[int]:
    for run in text.split():
        first, dash, last = run.partition("-")
        positions = range(int(first), int(last if dash else first) + 1)
        if not positions or positions[-1] >= _MOST_PEOPLE:
            raise ValueError("not a run of positions")
        yield from positions
