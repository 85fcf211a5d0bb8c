"""One call for one batch: intent, call, result."""

from __future__ import annotations

import logging
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
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.tables.outcomes import SendStatus
from airflow_provider_wati.tables.scratch_db import collector_paused

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.sending.journal import Entry, Journal
    from airflow_provider_wati.sending.queue import Batch, SendQueue
    from airflow_provider_wati.sending.schedule import Timetable

log = logging.getLogger(__name__)

#: Answers lost one after the other, before nothing more is posted until one of the calls is reconciled.
MOST_LOST = 2
#: Rows that are refused alone, one after the other, before the last row of the batch is tried: while none of the batch
#: is accepted, and once some are.
_SINGLE_REFUSALS = 3
_MOST_SINGLE_REFUSALS = 100


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
    """

    client: WatiClient
    journal: Journal
    queue: SendQueue
    timetable: Timetable
    template_name: str
    campaign_name: str
    mark: str
    channel: str | None
    #: Calls that left, in this attempt.
    calls: int = 0
    #: Answers lost one after the other.
    lost_in_a_row: int = 0
    #: For when the last schedule was made.
    scheduled_for: datetime | None = None
    #: The refusal that was found to be meant for all rows of a batch; the next batch is not split for it.
    _refused_for_all: str | None = field(default=None, init=False)
    _under_way: tuple[Batch, Entry] | None = field(default=None, init=False)

    def send(self, batch: Batch) -> None:
        """
        Send a batch; one that WATI refuses as a whole is split until the row that draws the refusal stands alone.

        :raises WatiError: when nothing can be sent now (401, 403, 404, 409, 429, no connection), or a later attempt has
            taken over.
        """
        parts, singles, allowed = [batch], 0, _SINGLE_REFUSALS
        while parts and self.lost_in_a_row < MOST_LOST:
            part = parts.pop()
            result = self._call(part)
            if not isinstance(result, Rejected):
                self._refused_for_all, singles, allowed = None, 0, _MOST_SINGLE_REFUSALS
                continue
            reason = str(result.error)
            if len(part) > 1 and reason != self._refused_for_all:
                parts += reversed(part.split(len(part) // 2))
                continue
            self.queue.mark(part, SendStatus.REJECTED, reason)
            singles += 1
            if parts and singles >= allowed:
                if self._is_for_all(parts, reason):
                    self._refused_for_all = reason
                    return
                singles, allowed = 0, _MOST_SINGLE_REFUSALS

    def _is_for_all(self, parts: list[Batch], reason: str) -> bool:
        """Return whether a refusal is meant for all that is left of a batch: its last row and one between are refused too."""
        for number in (0, len(parts) // 2):
            rest, last = parts[number].split(len(parts[number]) - 1)
            result = self._call(last)
            parts[number : number + 1] = [rest] if len(rest) else []
            if not isinstance(result, Rejected):
                return False
            self.queue.mark(last, SendStatus.REJECTED, str(result.error))
            if not parts:
                return True
        for part in parts:
            self.queue.mark(part, SendStatus.REJECTED, reason)
        return True

    def abandon(self, reason: str) -> None:
        """
        Note that the attempt ends during a call, or while its result is written down.

        What the answer said counts; people of whom nothing is known are unknown, unless the call never left.
        """
        if self._under_way is None:
            return
        batch, entry = self._under_way
        by_verdict: dict[Verdict, list[int]] = {}
        for position, verdict in enumerate(entry.verdicts):
            by_verdict.setdefault(Verdict(verdict), []).append(position)
        self.calls += bool(by_verdict.keys() - {Verdict.REFUSED})
        self.queue.await_evidence(batch, self._number(entry), by_verdict.get(Verdict.OPEN, []), reason)
        if accepted := by_verdict.get(Verdict.ACCEPTED):
            campaign = self.queue.add_campaign(entry.campaign_id, entry.intent.campaign_name)
            self.queue.accept((batch.rows[position] for position in accepted), campaign)

    def _call(self, batch: Batch) -> DispatchResult:
        """Make one call, for as long as it takes to leave at a time that is still right for it."""
        call_id = self.journal.new_call()
        name = name_of(self.mark, call_id, self.campaign_name)
        while True:
            call = _Call(self, batch, call_id, name, self.timetable.due())
            with collector_paused():
                result = self.client.dispatch_template(
                    self.template_name,
                    name,
                    batch.recipients,
                    channel=self.channel,
                    scheduled_at=call.due,
                    hooks=SendHooks(before_send=call.before_send, not_sent=call.not_sent),
                )
            if not (isinstance(result, NotSent) and result.error is None):
                break
            log.info(
                "The time of the call has passed while it waited: it is made for %s.", self.timetable.due()
            )
        self._take(batch, call.entry, result, name)
        self._under_way = None
        return result

    def begin(self, call: _Call) -> Entry:
        """Record the intent of a call that is about to leave."""
        self.scheduled_for = call.due or self.scheduled_for
        entry = self.journal.record_intent(
            call.batch.people,
            id=call.call_id,
            content=self.template_name,
            channel=self.channel,
            campaign_name=call.name,
            due=call.due,
            resend=call.batch.resend,
            keyed=self.queue.has_keys,
        )
        self._under_way = call.batch, entry
        return entry

    def _take(self, batch: Batch, entry: Entry | None, result: DispatchResult, name: str) -> None:
        """Write a result down, in the journal first."""
        if isinstance(result, NotSent):
            if result.error is not None:
                raise result.error
            return
        self.calls += 1
        if entry is None:
            raise TypeError("a call has left without an intent")
        if isinstance(result, Accepted):
            self.lost_in_a_row = 0
            self._accept(batch, entry, result, name)
        elif isinstance(result, Rejected):
            self.lost_in_a_row = 0
            log.warning("WATI refused a call for %s people: %s", f"{len(batch):,}", result.error)
            if Verdict.OPEN in entry.verdicts:
                self.journal.record_result(entry, {Verdict.REFUSED: None}, reason="rejected")
        else:
            self._lose(batch, entry, result)

    def _accept(self, batch: Batch, entry: Entry, result: Accepted, name: str) -> None:
        exceptions = result.refused.keys() | result.omitted
        accepted = None if not exceptions else sorted(set(range(len(batch))) - exceptions)
        self.journal.record_result(
            entry,
            {
                Verdict.ACCEPTED: accepted,
                Verdict.REFUSED: list(result.refused),
                Verdict.OPEN: list(result.omitted),
            },
            campaign_id=result.campaign_id,
        )
        if exceptions:
            self.queue.reject((reason, batch.rows[position]) for position, reason in result.refused.items())
            self.queue.await_evidence(
                batch, self._number(entry), result.omitted, "WATI left the recipient out of its answer"
            )
        campaign = self.queue.add_campaign(result.campaign_id, name)
        self.queue.mark(batch, SendStatus.ACCEPTED, campaign=campaign)

    def _lose(self, batch: Batch, entry: Entry, result: Ambiguous) -> None:
        self.lost_in_a_row += 1
        log.warning("The answer to a call for %s people was lost: %s", f"{len(batch):,}", result.error)
        # With its time: WATI may have begun with the call only at its end.
        self.journal.record_result(entry, {Verdict.OPEN: None}, reason="ambiguous")
        self.queue.await_evidence(batch, self._number(entry), None, str(result.error))

    def _number(self, entry: Entry) -> int:
        entries = self.journal.entries
        return next(n for n in reversed(range(len(entries))) if entries[n] is entry)


@dataclass(slots=True)
class _Call:
    """One call as the client's hooks see it; the client may make several attempts of it."""

    dispatcher: Dispatcher
    batch: Batch
    call_id: str
    name: str
    due: datetime | None
    entry: Entry | None = None

    def before_send(self) -> bool:
        """Record the intent, unless the call has waited until its time was past."""
        if self.dispatcher.timetable.due() != self.due:
            return False
        self.entry = self.dispatcher.begin(self)
        return True

    def not_sent(self) -> None:
        """Record that an attempt had no effect."""
        if self.entry is not None:
            self.dispatcher.journal.record_result(self.entry, {Verdict.REFUSED: None}, reason="not_sent")
