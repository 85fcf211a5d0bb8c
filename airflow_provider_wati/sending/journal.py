"""
The send journal: a write-ahead log of the calls that message people.

Each call has an intent, written right before the call leaves, and results, written when something is known. Records
are appended and never rewritten. Bulk sends and single sends use the same journal.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal_codec import (
    Intent,
    Opening,
    Record,
    Result,
    Rows,
    Verdict,
    decode,
    encode,
)

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock


class EntryStore(Protocol):
    """Append-only storage of the records of one send."""

    @property
    def limits(self) -> StoreLimits:
        """What it can hold."""

    def read(self) -> Iterable[tuple[str, str]]:
        """Return each record's place and text, in the order in which they were appended."""

    def read_siblings(self) -> Iterable[tuple[str, str]]:
        """Return the records of the other tasks of the send, as far as they are within reach."""

    def append(self, text: str, *, fenced: bool) -> None:
        """
        Append a record.

        :param fenced: whether to refuse it when a later attempt has taken over.
        """


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """
    What a store can hold.

    :param people_per_entry: None for any number.
    :param people: over the whole send; None for any number.
    :param remedy: what to do when that is too little.
    :param has_siblings: whether it can read the records of the other tasks of the send.
    """

    people_per_entry: int | None = None
    people: int | None = None
    remedy: str = ""
    has_siblings: bool = False


class Start(Enum):
    """What an attempt knows about earlier ones when it starts."""

    #: Nothing can have been sent under this send key.
    NEW = "new"
    #: The journal has all calls of earlier attempts.
    KNOWN = "known"
    #: An earlier attempt may have sent messages, and its journal is gone.
    LOST = "lost"
    #: Another task or run may have sent messages under this key, and there is no journal of it.
    UNCERTAIN = "uncertain"


def start_of(
    *,
    has_journal: bool,
    is_lost: bool,
    may_have_run: bool,
    never_executed: bool = False,
    is_shared: bool = False,
    is_uncertain: bool = False,
) -> Start:
    """
    Decide what an attempt knows about earlier ones.

    :param has_journal: whether records of this send exist.
    :param is_lost: whether they say that the journal of attempts before them is gone.
    :param may_have_run: whether an earlier attempt, or an earlier part of this one, may have run: a second try
        number, or a reschedule under the same one.
    :param never_executed: whether it is certain that no earlier attempt reached ``execute``.
    :param is_shared: whether others may send under this key: the key is the user's own, or the task is in a loop,
        whose later iterations start without state when the run is cleared.
    :param is_uncertain: whether they say that others may have sent without a journal.
    """
    if has_journal and is_lost:
        return Start.LOST
    if has_journal:
        return Start.UNCERTAIN if is_uncertain else Start.KNOWN
    if may_have_run and not never_executed:
        return Start.LOST
    return Start.UNCERTAIN if is_shared else Start.NEW


#: Length of an attempt's name: with 48 bits, even millions of attempts are unlikely to share one.
SESSION_BYTES = 6
#: The reason of a result that reconciliation found in WATI.
RECONCILED = "reconciled"
_FINAL = (Verdict.ACCEPTED, Verdict.CANCELLED)


@dataclass(slots=True)
class Entry:
    """
    An intent and all that is known about it.

    :param intent: the call.
    :param verdicts: one :class:`Verdict` for each person, in the order of the call.
    :param ended_at: when the call ended; None if its attempt ended first.
    :param campaign_id: WATI's id of the campaign, if an answer had one.
    :param detail: what identifies a single message.
    """

    intent: Intent
    verdicts: bytearray
    ended_at: datetime | None = None
    campaign_id: str | None = None
    detail: Mapping[str, Any] | None = None
    #: Whether an acceptance comes from reconciliation, not from WATI's answer.
    is_reconciled: bool = False

    @classmethod
    def of(cls, intent: Intent) -> Entry:
        """Return the entry of an intent that has no result yet."""
        known = Verdict.OPEN if intent.found_as is None else intent.found_as
        return cls(intent, bytearray([known]) * len(intent.people), campaign_id=intent.found_in)

    @property
    def is_open(self) -> bool:
        """Whether the outcome of some of its people is not known."""
        return Verdict.OPEN in self.verdicts

    @property
    def answered(self) -> bool:
        """Whether WATI answered the call and accepted somebody."""
        return self.campaign_id is not None and Verdict.ACCEPTED in self.verdicts

    def people(self, verdict: Verdict) -> Iterator[int]:
        """Yield the people with a verdict."""
        return (person for person, v in zip(self.intent.people, self.verdicts, strict=True) if v == verdict)

    def add(self, result: Result) -> None:
        """Apply a result. A later result does not change the acceptance or cancellation of a person."""
        for verdict, positions in result.verdicts.items():
            for position in range(len(self.verdicts)) if positions is None else positions:
                if self.verdicts[position] not in _FINAL:
                    self.verdicts[position] = verdict
        self.is_reconciled = self.is_reconciled or result.reason == RECONCILED
        self.ended_at = self.ended_at or result.at
        self.campaign_id = result.campaign_id or self.campaign_id
        self.detail = result.detail or self.detail


class Journal:
    """
    The journal of one send, for one attempt.

    Reading never writes: :meth:`open` alone begins the attempt.

    :param store: where the records are.
    :param clock: the time.
    :param session: a unique name of the attempt, in hexadecimal characters; random if left out.
    :param reads_only: whether only the opening is written, as in a dry run.
    """

    def __init__(
        self,
        store: EntryStore,
        clock: Clock,
        *,
        session: str | None = None,
        reads_only: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._reads_only = reads_only
        self.session: str = session or secrets.token_hex(SESSION_BYTES)
        self._calls = 0
        records = [decode(text, place) for place, text in store.read()]
        #: The openings of earlier attempts.
        self.openings: list[Opening] = [record for record in records if isinstance(record, Opening)]
        #: Whether an earlier attempt may have sent messages that are not in this journal.
        self.is_lost: bool = any(opening.is_lost for opening in self.openings)
        #: Whether other mapped tasks of the send had begun before this one was made.
        self.is_late: bool = any(opening.is_late for opening in self.openings)
        #: Whether others may have sent messages under this key, without a journal.
        self.is_uncertain: bool = any(opening.is_uncertain for opening in self.openings)
        digests = [record.digest for record in records if isinstance(record, Rows)]
        #: The latest recorded :attr:`.Rows.digest`; None before the first.
        self.rows_digest: str | None = digests[-1] if digests else None
        #: The calls of this send, oldest first; those of this attempt are added as they are made.
        self.entries: list[Entry] = _entries(records)

    @property
    def limits(self) -> StoreLimits:
        """What the store can hold."""
        return self._store.limits

    @property
    def exists(self) -> bool:
        """Whether an earlier attempt left a record."""
        return bool(self.openings or self.entries)

    def open(self, person: int | None = None, *, start: Start = Start.KNOWN, is_late: bool = False) -> None:
        """
        Write down that an attempt has begun.

        :param person: the one person that a single send is about.
        :param start: what the attempt knows about earlier ones.
        :param is_late: whether other mapped tasks of the send had begun before this one was made.
        """
        opening = Opening(
            session=self.session,
            at=self._clock.now(),
            person=person,
            is_lost=start is Start.LOST,
            is_uncertain=start is Start.UNCERTAIN,
            is_dry_run=self._reads_only,
            is_late=is_late,
        )
        self.is_lost = self.is_lost or opening.is_lost
        self.is_uncertain = self.is_uncertain or opening.is_uncertain
        # Also in a dry run, so that the attempt after it has a journal and is not LOST.
        self._store.append(encode(opening), fenced=not self._reads_only)

    def record_rows(self, digest: str) -> None:
        """Write down the people of a mapped task; the parameter is that of :class:`Rows`."""
        if digest != self.rows_digest:
            self.rows_digest = digest
            self._append(Rows(at=self._clock.now(), digest=digest), fenced=True)

    def record_intent(
        self,
        people: Iterable[int],
        *,
        content: str,
        id: str | None = None,
        channel: str | None = None,
        campaign_name: str | None = None,
        due: datetime | None = None,
        resend: bool = False,
        keyed: bool = False,
        params: bytes = b"",
    ) -> Entry:
        """
        Write down that a call is about to leave; the parameters are those of :class:`Intent`.

        :param id: that of :meth:`new_call`, the same for each attempt of one call; a new one if left out.
        :raises WatiError: when a later attempt has taken over, or nothing can be written: the call must not leave.
        """
        return self._add(
            Intent(
                id=id or self.new_call(),
                at=self._clock.now(),
                content=content,
                people=array("q", people),
                channel=channel,
                campaign_name=campaign_name,
                due=due,
                resend=resend,
                keyed=keyed,
                params=params,
            )
        )

    def record_found(
        self,
        people: Iterable[int],
        *,
        content: str,
        channel: str | None,
        campaign_name: str,
        campaign_id: str | None,
        keyed: bool,
        verdict: Verdict = Verdict.ACCEPTED,
    ) -> None:
        """
        Record the people of a campaign without an entry in this journal; the parameters are those of :class:`Intent`.

        :param verdict: whether they are accepted, or their campaign was cancelled.
        """
        for named in self._parts(people):
            self._add(
                Intent(
                    id=self.new_call(),
                    at=self._clock.now(),
                    content=content,
                    people=named,
                    channel=channel,
                    campaign_name=campaign_name,
                    keyed=keyed,
                    found_as=verdict,
                    found_in=campaign_id,
                )
            )

    def record_absent(self, people: Iterable[int], *, content: str, channel: str | None, keyed: bool) -> None:
        """
        Record people whose journal is gone and that WATI does not list: they may be sent to once more.

        For all other people, the earlier calls stay unknown.
        """
        for named in self._parts(people):
            entry = self.record_intent(named, content=content, channel=channel, keyed=keyed)
            self.close_unresolved(entry, range(len(named)))

    def _parts(self, people: Iterable[int]) -> Iterator[array[int]]:
        """Split people into parts, each for one entry of the store."""
        named = array("q", people)
        most = self.limits.people_per_entry or max(len(named), 1)
        return (named[first : first + most] for first in range(0, len(named), most))

    def new_call(self) -> str:
        """Return an id for a call that is yet to be made."""
        self._calls += 1
        return f"{self.session}-{self._calls}"

    def record_result(
        self,
        entry: Entry,
        verdicts: Mapping[Verdict, Collection[int] | None],
        *,
        campaign_id: str | None = None,
        reason: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Write down what became of a call; the parameters are those of :class:`Result`.

        An attempt that was overtaken may still say what it knows: records are only ever added.
        """
        known = {
            verdict: positions for verdict, positions in verdicts.items() if positions is None or positions
        }
        result = Result(
            id=entry.intent.id,
            at=self._clock.now(),
            verdicts=known,
            campaign_id=campaign_id,
            reason=reason,
            detail=detail or {},
        )
        # Before the store, so that this attempt keeps the result even if the store fails.
        entry.add(result)
        self._append(result, fenced=False)

    def close_unresolved(self, entry: Entry, positions: Collection[int]) -> None:
        """Record that the call was closed for some people without evidence: they may be sent to once more."""
        self.record_result(entry, {Verdict.CLOSED_UNRESOLVED: positions}, reason="absent")

    def next_opening(self, at: datetime, this_attempt: datetime) -> datetime:
        """
        Return when the next attempt after a call of this task began.

        A dry run may begin while the call is still under way.

        :param at: the time of the call's intent.
        :param this_attempt: when this attempt began.
        """
        later = (opening.at for opening in self.openings if opening.at > at and not opening.is_dry_run)
        return min(later, default=this_attempt)

    def siblings(self) -> list[Entry]:
        """Return the calls of the other tasks of this send, as far as they are within reach."""
        return _entries(record for _, record in self._sibling_records())

    def was_elsewhere(self, person: int) -> bool:
        """Return whether another mapped task had this person in one attempt and another person in a different one."""
        people: dict[str, set[int | None]] = {}
        for place, record in self._sibling_records():
            if isinstance(record, Opening):
                people.setdefault(place.rpartition("/")[0], set()).add(record.person)
        return any(person in members and len(members) > 1 for members in people.values())

    def siblings_are_intact(self) -> bool:
        """Return whether another mapped task still has its first journal, so that Airflow has discarded none."""
        records = self._sibling_records()
        return any(isinstance(record, Opening) and not record.is_lost for _, record in records)

    def _sibling_records(self) -> Iterator[tuple[str, Record]]:
        """Yield the records of the other tasks of the send with their places."""
        return ((place, decode(text, place)) for place, text in self._store.read_siblings())

    def _add(self, intent: Intent) -> Entry:
        """Record an intent. If the latest call is made again, under the same id, its entry is replaced."""
        self._append(intent, fenced=True)
        if self.entries and self.entries[-1].intent.id == intent.id:
            self.entries.pop()
        self.entries.append(Entry.of(intent))
        return self.entries[-1]

    def _append(self, record: Record, *, fenced: bool) -> None:
        if not self._reads_only:
            self._store.append(encode(record), fenced=fenced)


def _entries(records: Iterable[Record]) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for record in records:
        if isinstance(record, Intent):
            known = entries.get(record.id)
            if known is not None and known.intent.people != record.people:
                raise WatiConfigurationError(
                    f"Two calls in the journal have the id {record.id}: entries of two journals are mixed. Nothing is "
                    "sent, because they may name people who have their message. Separate them, or send to the remaining "
                    "people under another send_key."
                )
            entries[record.id] = Entry.of(record)
        elif isinstance(record, Result):
            try:
                entries[record.id].add(record)
            except (KeyError, IndexError):
                raise WatiConfigurationError(
                    f"The journal has a result of the call {record.id} that does not fit its intent: an entry is "
                    "missing. Nothing is sent, because it may name people who have their message. Restore the "
                    "entry, or send to the remaining people under another send_key."
                ) from None
    return list(entries.values())
