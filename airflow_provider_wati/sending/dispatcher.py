"""One call for one batch: intent, call, result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_wati.client.types import (
    Accepted,
    Ambiguous,
    DispatchResult,
    NotSent,
    Rejected,
    SendHooks,
)
from airflow_provider_wati.sending.campaign_index import name_of
from airflow_provider_wati.sending.circuit_breaker import CircuitBreaker
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.row_mapping import digest_of_params
from airflow_provider_wati.tables.outcomes import SendStatus
from airflow_provider_wati.tables.scratch_db import collector_paused

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.sending.journal import Entry, Journal
    from airflow_provider_wati.sending.queue import Batch, SendQueue
    from airflow_provider_wati.sending.schedule import Timetable

log: logging.Logger = logging.getLogger(__name__)

#: Calls that WATI refuses one after the other, before the rest of a batch is left unsent: while no call of the attempt
#: was accepted, which isolates one row of 10,000, and afterwards.
_MOST_REFUSED_AT_FIRST = 20
_MOST_REFUSED = 100
#: Batches that end so one after the other, before nothing more is posted.
_MOST_REFUSED_BATCHES = 3
_NOT_TRIED = "not attempted: WATI refused each call with other rows of the batch, the last one with: {}"


@dataclass(slots=True)
class Dispatcher:
    """
    Sends batches, and writes down in journal and queue what becomes of them.

    :param client: the account.
    :param journal: where intents and results are recorded.
    :param queue: the rows.
    :param timetable: says when messages are due.
    :param template_name: the template.
    :param campaign_name: what campaigns are called, after the mark.
    :param mark: what their names begin with.
    :param channel: the channel to send from.
    :param records_params: whether the journal gets a digest of each person's parameters.
    """

    client: WatiClient
    journal: Journal
    queue: SendQueue
    timetable: Timetable
    template_name: str
    campaign_name: str
    mark: str
    channel: str | None
    records_params: bool = False
    #: Calls that left, in this attempt.
    calls: int = 0
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    #: For when the last schedule was made.
    scheduled_for: datetime | None = None
    _has_accepted: bool = field(default=False, init=False)
    #: Batches whose rest was left unsent, one after the other.
    _refused_batches: int = field(default=0, init=False)
    _under_way: tuple[Batch, Entry] | None = field(default=None, init=False)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be posted now: answers are lost, or WATI refuses whatever it gets."""
        return self.breaker.is_open or self.is_refused

    @property
    def is_refused(self) -> bool:
        """Whether WATI has refused so many batches in a row that the reason concerns all of them."""
        return self._refused_batches >= _MOST_REFUSED_BATCHES

    def send(self, batch: Batch) -> None:
        """
        Send a batch; one that WATI refuses as a whole is halved until the row that draws the refusal stands alone.

        :raises WatiError: when nothing can be sent now (401, 403, 404, 409, 429, no connection), or a later attempt has
            taken over.
        """
        parts, refused = [batch], 0
        while parts and not self.is_stopped:
            part = parts.pop()
            result = self._call(part)
            if not isinstance(result, Rejected):
                refused = self._refused_batches = 0
                continue
            refused += 1
            if len(part) == 1:
                self.queue.reject([(str(result.error), part.rows[0])])
            else:
                parts += reversed(part.split(len(part) // 2))
            if parts and refused >= (_MOST_REFUSED if self._has_accepted else _MOST_REFUSED_AT_FIRST):
                if self._refuses_samples(parts):
                    self._refused_batches += 1
                    for part in parts:
                        self.queue.mark(part, SendStatus.UNSENT, _NOT_TRIED.format(result.error))
                    return
                refused = 0

    def _refuses_samples(self, parts: list[Batch]) -> bool:
        """Return whether WATI refuses the last row of what is left of a batch too, and one in the middle."""
        if not self._refuses_last_row(parts, 0):
            return False
        return not parts or self._refuses_last_row(parts, len(parts) // 2)

    def _refuses_last_row(self, parts: list[Batch], number: int) -> bool:
        """Send the last row of a part by itself, and take it out; return whether WATI refuses it."""
        rest, sample = parts[number].split(len(parts[number]) - 1)
        parts[number : number + 1] = [rest] if len(rest) else []
        result = self._call(sample)
        if not isinstance(result, Rejected):
            return False
        self.queue.reject([(str(result.error), sample.rows[0])])
        return True

    def abandon(self, reason: str) -> None:
        """
        Note that the attempt ends during a call, or while its result is written down.

        What the answer said counts; the other people are unknown, unless the call never left.
        """
        if self._under_way is None:
            return
        batch, entry = self._under_way
        left = any(verdict != Verdict.REFUSED for verdict in entry.verdicts)
        # A call that has ended is counted already.
        self.calls += left and entry.ended_at is None
        self._settle(batch, entry, reason, {})

    def _settle(self, batch: Batch, entry: Entry, reason: str, refusals: Mapping[int, str]) -> None:
        """
        Give the rows of a call the status that the journal has for them.

        :param reason: why rows wait for evidence.
        :param refusals: why rows were refused, by position.
        """
        self.scheduled_for = entry.intent.due or self.scheduled_for
        if Verdict.ACCEPTED in entry.verdicts:
            campaign = self.queue.add_campaign(entry.campaign_id, entry.intent.campaign_name)
            if entry.verdicts.count(Verdict.ACCEPTED) == len(batch):
                self.queue.mark(batch, SendStatus.ACCEPTED, campaign=campaign)
            else:
                rows = zip(batch.rows, entry.verdicts, strict=True)
                self.queue.accept((row for row, verdict in rows if verdict == Verdict.ACCEPTED), campaign)
        self.queue.reject((why, batch.rows[position]) for position, why in refusals.items())
        if entry.is_open:
            waiting = [position for position, verdict in enumerate(entry.verdicts) if verdict == Verdict.OPEN]
            # The entry is the latest: this attempt alone adds to them.
            self.queue.await_evidence(batch, len(self.journal.entries) - 1, waiting, reason)
        self._under_way = None

    def _call(self, batch: Batch) -> Accepted | Rejected | Ambiguous:
        """Make one call, for as long as it takes to leave at a time that is still right for it."""
        call_id = self.journal.new_call()
        while isinstance(result := self._attempt(batch, call_id), NotSent):
            if result.error is not None:
                raise result.error
            log.info(
                "The time of the call has passed while it waited: it is made for %s.", self.timetable.due()
            )
        assert self._under_way is not None  # noqa: S101 # no call leaves without an intent
        self._take(*self._under_way, result)
        self._under_way = None
        return result

    def _attempt(self, batch: Batch, call_id: str) -> DispatchResult:
        """Make a call for the time that is right now; it is withdrawn if that passes while it waits."""
        name, due = name_of(self.mark, call_id, self.campaign_name), self.timetable.due()
        params = b""
        if self.records_params:
            params = b"".join(digest_of_params(recipient.body) for recipient in batch.recipients)

        def before_send() -> bool:
            if self.timetable.due() != due:
                return False
            entry = self.journal.record_intent(
                batch.people,
                id=call_id,
                content=self.template_name,
                channel=self.channel,
                campaign_name=name,
                due=due,
                resend=batch.resend,
                keyed=self.queue.has_keys,
                params=params,
            )
            self._under_way = batch, entry
            return True

        def not_sent() -> None:
            if self._under_way is not None:
                self.journal.record_result(self._under_way[1], {Verdict.REFUSED: None}, reason="not_sent")

        with collector_paused():
            return self.client.dispatch_template(
                self.template_name,
                name,
                batch.recipients,
                channel=self.channel,
                scheduled_at=due,
                hooks=SendHooks(before_send=before_send, not_sent=not_sent),
            )

    def _take(self, batch: Batch, entry: Entry, result: Accepted | Rejected | Ambiguous) -> None:
        """Write a result down, in the journal first; the rows follow also when the journal cannot be written."""
        self.calls += 1
        self.breaker.record(is_lost=isinstance(result, Ambiguous))
        if isinstance(result, Accepted):
            self._has_accepted = True
            self._accept(batch, entry, result)
        elif isinstance(result, Rejected):
            # The journal has it already: the client calls `not_sent` for a refusal.
            log.warning("WATI refused a call for %s people: %s", f"{len(batch):,}", result.error)
        else:
            log.warning("The answer to a call for %s people was lost: %s", f"{len(batch):,}", result.error)
            try:
                # With its time: WATI may have begun with the call only at its end.
                self.journal.record_result(entry, {Verdict.OPEN: None}, reason="ambiguous")
            finally:
                self._settle(batch, entry, str(result.error), {})

    def _accept(self, batch: Batch, entry: Entry, result: Accepted) -> None:
        exceptions = result.refused.keys() | result.omitted
        accepted = None if not exceptions else sorted(set(range(len(batch))) - exceptions)
        try:
            self.journal.record_result(
                entry,
                {
                    Verdict.ACCEPTED: accepted,
                    Verdict.REFUSED: list(result.refused),
                    Verdict.OPEN: list(result.omitted),
                },
                campaign_id=result.campaign_id,
            )
        finally:
            self._settle(
                batch,
                entry,
                "WATI left the recipient out of its answer, or does not say in it what became of it",
                result.refused,
            )
