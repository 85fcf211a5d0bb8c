"""Reconcile the journal with WATI: look, decide, wait, until nothing more can be found out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiAuthenticationError, WatiPermissionError
from airflow_provider_wati.sending.journal import RECONCILED
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.numbered_calls import ABSENT_CALLS, UNRECORDED, CallKind, kind_of
from airflow_provider_wati.sending.reconciler import (
    POLL_INTERVAL,
    Decision,
    Evidence,
    Listed,
    Policy,
    decide,
    reason_of,
)

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.evidence_reader import EvidenceReader
    from airflow_provider_wati.sending.journal import Journal
    from airflow_provider_wati.sending.numbered_calls import NumberedCalls
    from airflow_provider_wati.sending.queue import SendQueue
    from airflow_provider_wati.sending.siblings import OtherParams

log: logging.Logger = logging.getLogger(__name__)

_LONGEST_PAUSE = timedelta(seconds=60)

_VERDICTS = {
    Decision.ACCEPTED: Verdict.ACCEPTED,
    # WATI took it. It was taken back later, so it is not sent again under this key.
    Decision.CANCELLED: Verdict.CANCELLED,
    Decision.REFUSED: Verdict.REFUSED,
    Decision.SEND: Verdict.CLOSED_UNRESOLVED,
}


@dataclass(slots=True, kw_only=True)
class Reconciliation:
    """
    Finds out what became of ambiguous calls, and gives their rows a status.

    :param journal: the calls; results that are found are recorded there.
    :param calls: the same calls and those of other tasks, by number.
    :param queue: the rows that wait.
    :param reader: reads what WATI shows.
    :param policy: grace, hold, waiting.
    :param clock: the time.
    :param content: the template's name, for what is found and has no record.
    :param channel: the channel, likewise.
    """

    journal: Journal
    calls: NumberedCalls
    queue: SendQueue
    reader: EvidenceReader
    policy: Policy
    clock: Clock
    content: str
    channel: str | None = None
    #: Messages of open calls for which no row waits; for each call, it maps the person's hash to the position.
    _without_row: dict[int, dict[int, int]] = field(default_factory=dict, init=False)
    _is_first_look: bool = field(default=True, init=False)

    def look_up(self, other_params: OtherParams) -> None:
        """
        Give the rows what the journal knows about them; this costs no call.

        :param other_params: what other parameters mean in the calls of other tasks.
        """
        calls = self.calls.recorded()
        campaigns = {
            call: self.queue.add_campaign(entry.campaign_id, entry.intent.campaign_name)
            for call, entry in calls.items()
        }
        self.queue.look_up(calls, campaigns, other_params)
        self.queue.await_closed(
            {
                call: call
                for call, entry in calls.items()
                if entry.intent.campaign_name is not None and Verdict.CLOSED_UNRESOLVED in entry.verdicts
            }
        )
        self.reader.without_row = self._without_row = self.queue.open_without_row()
        by_number = {number: calls[call] for call, number in campaigns.items()}
        for number, people in self.queue.moved_people().items():
            entry = by_number[number]
            self._write_found(people, entry.intent.campaign_name or "", entry.campaign_id)

    def run(self, *, patient: bool = True) -> dict[Decision, int]:
        """
        Look until every waiting row is decided or waiting has no more sense.

        :param patient: whether to go on waiting for the others once some rows are decided.
        :return: how many rows were decided, by decision.
        """
        decided: dict[Decision, int] = {}
        pause = POLL_INTERVAL
        while (pending := self.queue.pending_calls()) or (self._is_first_look and self._without_row):
            now = self.clock.now()
            # Nobody waits for a call whose rows are gone: one look has to do.
            evidence = self._look(pending | (self._without_row.keys() if self._is_first_look else set()), now)
            self._is_first_look = False
            counts = self._settle(evidence, now)
            for decision, count in counts.items():
                decided[decision] = decided.get(decision, 0) + count
            awaited = {call: evidence[call] for call in pending}
            waits_until = self._waits_until(awaited, now) if counts.get(Decision.WAIT) else None
            if waits_until is None or (not patient and counts.keys() & _VERDICTS.keys()):
                break
            log.info("Looking for %s messages in WATI's lists again.", f"{counts[Decision.WAIT]:,}")
            self.clock.sleep(max(min(pause, waits_until - now).total_seconds(), 0.01))
            pause = min(pause * 2, _LONGEST_PAUSE)
        return decided

    def await_absent(self) -> None:
        """
        Look once more for people whom an earlier attempt did not find in WATI, and did not send to either.

        Their call has no record, so any campaign of the send may list them.
        """
        self.queue.await_closed(
            {
                call: ABSENT_CALLS
                for call, entry in enumerate(self.journal.entries)
                if entry.intent.campaign_name is None and Verdict.CLOSED_UNRESOLVED in entry.verdicts
            }
        )

    def _waits_until(self, evidence: dict[int, Evidence], now: datetime) -> datetime | None:
        """Return when the next look can decide more; None when waiting has no sense in this attempt."""
        if not self.policy.waits:
            return None
        times = []
        for call, seen in evidence.items():
            watch = self.calls.watched_until(call, now) or seen.deadline
            # What another attempt left is watched for a moment at least.
            until = max(watch, self.calls.started + POLL_INTERVAL)
            if now >= watch and seen.growing_until is not None:
                until = max(until, seen.growing_until)
            if now < until:
                times.append(until)
        return min(times, default=None)

    def _look(self, calls: set[int], now: datetime) -> dict[int, Evidence]:
        """Collect what WATI shows about each call."""
        error = self.reader.read_campaigns()
        if error is not None:
            # Waiting changes nothing about a token or its scopes.
            hopeless = isinstance(error, (WatiAuthenticationError, WatiPermissionError))
            return {
                call: Evidence(deadline=now if hopeless else self.calls.deadline(call, now), readable=False)
                for call in calls
            }
        evidence = {}
        for call in sorted(calls):
            try:
                evidence[call] = self.reader.look_at(call, now)
            finally:
                # At once: a call that is found without rows shows that the list can be trusted about the others.
                self._record_without_row()
        return evidence

    def _settle(self, evidence: dict[int, Evidence], now: datetime) -> dict[Decision, int]:
        """Decide about each call, write what is known into the journal, and give the rows their status."""
        for call, seen in evidence.items():
            # Without a sign that the call was made, there is nothing to hold back.
            policy = self.policy if self.calls.may_have_sent(call) else replace(self.policy, hold=False)
            decisions = {listed: decide(listed, seen, now, policy) for listed in Listed}
            reasons = {listed: reason_of(decision, seen, listed) for listed, decision in decisions.items()}
            self.queue.decide_about(call, decisions, reasons)
        counts = self.queue.combine_decisions()
        for call in evidence:
            if kind_of(call) is CallKind.OWN:
                self._record(call)
            else:
                self._record_found(call)
        first_sends = [call for call in UNRECORDED if not self.calls.may_have_sent(call)]
        self.queue.settle(first_sends, UNRECORDED)
        return counts

    def _record_without_row(self) -> None:
        """Write down messages for which no row waits: the rows of a later attempt may have them again."""
        for number, (call, positions) in self.reader.listed_without_row.items():
            waiting = self._without_row[call]
            found = {person for person, position in waiting.items() if position in positions}
            if found:
                self.queue.accept_without_row(call, number, found)
                self.journal.record_result(
                    self.journal.entries[call],
                    {Verdict.ACCEPTED: sorted(map(waiting.pop, found))},
                    campaign_id=self.reader.campaigns[number].id,
                    reason=RECONCILED,
                )
        self.reader.listed_without_row.clear()

    def _record(self, call: int) -> None:
        entry = self.journal.entries[call]
        verdicts: dict[Verdict, list[int]] = {}
        for decision, positions in self.queue.resolved(call).items():
            verdict = _VERDICTS.get(decision)
            news = [position for position in positions if entry.verdicts[position] != verdict]
            if verdict is not None and news:
                verdicts[verdict] = news
        if verdicts:
            # Later attempts do not look for people who are known, so the campaign is written down with them.
            campaigns = self.reader.campaigns_of(call)
            self.journal.record_result(
                entry, verdicts, campaign_id=campaigns[0].id if campaigns else None, reason=RECONCILED
            )

    def _record_found(self, call: int) -> None:
        """
        Write down what is found out about calls that are not in the journal of this task.

        The next attempt starts from there: it knows who is listed, and who is not.
        """
        for decision in (Decision.ACCEPTED, Decision.CANCELLED):
            for number, people in self.queue.found(call, decision).items():
                campaign = self.reader.campaigns[number]
                self._write_found(people, campaign.name, campaign.id, _VERDICTS[decision])
        # People of absent calls are recorded already.
        is_news = kind_of(call) in (CallKind.LOST, CallKind.OTHERS) and self.calls.may_have_sent(call)
        if is_news and (absent := self.queue.released(call)):
            # Else the next attempt would take its sends for the first ones.
            self.journal.record_absent(
                absent, content=self.content, channel=self.channel, keyed=self.queue.has_keys
            )

    def _write_found(
        self,
        people: Sequence[int],
        campaign_name: str,
        campaign_id: str | None,
        verdict: Verdict = Verdict.ACCEPTED,
    ) -> None:
        self.journal.record_found(
            people,
            content=self.content,
            channel=self.channel,
            campaign_name=campaign_name,
            campaign_id=campaign_id,
            keyed=self.queue.has_keys,
            verdict=verdict,
        )
