"""Reconcile the journal with WATI: look, decide, wait, until nothing more can be found out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConfigurationError,
    WatiError,
    WatiPermissionError,
)
from airflow_provider_wati.sending.journal import RECONCILED
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.reconciler import (
    POLL_INTERVAL,
    Control,
    Decision,
    Evidence,
    Listed,
    Policy,
    decide,
    reason_of,
)
from airflow_provider_wati.sending.row_mapping import listed_hashes
from airflow_provider_wati.sending.same_send import Traits

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.campaign_index import CampaignIndex, FoundCampaign
    from airflow_provider_wati.sending.evidence_rows import ListedRecipient
    from airflow_provider_wati.sending.journal import Entry, Journal
    from airflow_provider_wati.sending.queue import SendQueue
    from airflow_provider_wati.sending.same_send import SameSend

log: logging.Logger = logging.getLogger(__name__)

#: Stands for the calls of attempts whose journal is gone.
LOST_CALLS = -1
#: Stands for the calls that other tasks or runs may have made under the same key.
OTHERS_CALLS = -2
#: The calls of other mapped tasks count down from here; those of the journal count up from 0.
_FOREIGN_CALLS = -10
_LONGEST_PAUSE = timedelta(seconds=60)

_VERDICTS = {
    Decision.ACCEPTED: Verdict.ACCEPTED,
    # WATI took it. It was taken back later, so it is not sent again under this key.
    Decision.CANCELLED: Verdict.CANCELLED,
    Decision.REFUSED: Verdict.REFUSED,
    Decision.SEND: Verdict.CLOSED_UNRESOLVED,
}


@dataclass(slots=True)
class Reconciliation:
    """
    Finds out what became of ambiguous calls, and gives their rows a status.

    :param journal: the calls; results that are found are recorded there.
    :param queue: the rows that wait.
    :param index: what WATI shows.
    :param policy: grace, hold, waiting.
    :param clock: the time.
    :param content: the template's name, for what is found and was not written down.
    :param channel: the channel, likewise.
    :param foreign: calls of other mapped tasks; who is found there is recorded here.
    :param others_may_hide: whether people have moved here from a task whose journal is out of reach: WATI gets a grace
        to show what it sent, and a send after that counts as the second one.
    :param sibling_calls: ids of calls that other mapped tasks account for.
    :param same_send: refuses a send that has begun as another one by what WATI shows of calls that nobody wrote down; None
        for no such comparison.
    """

    journal: Journal
    queue: SendQueue
    index: CampaignIndex
    policy: Policy
    clock: Clock
    content: str
    channel: str | None = None
    foreign: Sequence[Entry] = ()
    others_may_hide: bool = False
    sibling_calls: frozenset[str] = frozenset()
    same_send: SameSend | None = None
    _started: datetime = field(init=False)
    #: The campaigns that were read, by their number in the queue.
    _campaigns: dict[int, FoundCampaign] = field(default_factory=dict, init=False)
    _read_at: dict[str, datetime] = field(default_factory=dict, init=False)
    #: Messages of open calls for which no row waits, by call: the person's hash and the position.
    _without_row: dict[int, dict[int, int]] = field(default_factory=dict, init=False)
    _is_first_look: bool = field(default=True, init=False)
    _has_looked_elsewhere: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._started = self.clock.now()

    def look_up(self) -> None:
        """Give the rows what the journal knows about them; this costs no call."""
        calls = dict(enumerate(self.journal.entries))
        calls |= {_FOREIGN_CALLS - n: entry for n, entry in enumerate(self.foreign)}
        campaigns = {
            call: self.queue.add_campaign(entry.campaign_id, entry.intent.campaign_name)
            for call, entry in calls.items()
        }
        self.queue.look_up(calls, campaigns)
        self.queue.await_closed(
            {
                call: call
                for call, entry in calls.items()
                if entry.intent.campaign_name is not None and Verdict.CLOSED_UNRESOLVED in entry.verdicts
            }
        )
        self._without_row = self.queue.open_without_row()
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
                call: OTHERS_CALLS
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
            entry = self._entry(call)
            # A schedule may be due in days: its evidence is waited for like that of a call at once.
            watch = self.policy.deadline(self._end_of(call, entry), None, now) if entry else seen.deadline
            # What another attempt left is watched for a moment at least.
            until = max(watch, self._started + POLL_INTERVAL)
            if now >= watch and seen.growing_until is not None:
                until = max(until, seen.growing_until)
            if now < until:
                times.append(until)
        return min(times, default=None)

    def _entry(self, call: int) -> Entry | None:
        """Return the entry of a call; None for calls that nobody wrote down."""
        if call >= 0:
            return self.journal.entries[call]
        return self.foreign[_FOREIGN_CALLS - call] if call <= _FOREIGN_CALLS else None

    # Looking

    def _look(self, calls: set[int], now: datetime) -> dict[int, Evidence]:
        """Collect what WATI shows about each call."""
        try:
            self.index.look(
                {each.campaign_id: each.intent.id for each in self.journal.entries if each.campaign_id}
            )
        except WatiError as error:
            log.warning("WATI's campaigns cannot be read: %s", error)
            # Waiting changes nothing about a token or its scopes.
            hopeless = isinstance(error, (WatiAuthenticationError, WatiPermissionError))
            return {
                call: Evidence(deadline=now if hopeless else self._deadline(call, now), readable=False)
                for call in calls
            }
        return {call: self._look_at(call, now) for call in sorted(calls)}

    def _control(self, entry: Entry) -> Control:
        """
        Hold the list against two answered calls: the latest, and the one that was made nearest to an ambiguous call.

        A list that lags does not show the latest. One that somebody has tidied does not show the nearest either.
        """
        answered = [each for each in self.journal.entries if each.answered]
        if not answered:
            return Control.NONE
        latest = max(answered, key=lambda each: each.intent.at)
        nearest = min(answered, key=lambda each: abs(each.intent.at - entry.intent.at))
        is_shown = {latest.campaign_id, nearest.campaign_id} <= self.index.listed_ids
        return Control.SHOWN if is_shown else Control.MISSING

    def _look_at(self, call: int, now: datetime) -> Evidence:
        entry, deadline = self._entry(call), self._deadline(call, now)
        due = None if entry is None else entry.intent.due
        campaigns = self._campaigns_of(call, entry)
        if not campaigns and call != OTHERS_CALLS:
            # A campaign that is deleted between two pages moves another one out of the list: one look is not enough.
            deadline = max(deadline, self._started + POLL_INTERVAL)
        try:
            for campaign in campaigns:
                if self._is_worth_reading(campaign, due, deadline, now):
                    self._read(campaign, call)
                    self._read_at[campaign.id] = now
            if entry is None:
                self._refuse_other(call, is_shown=bool(campaigns), is_over=now >= deadline)
        except WatiConfigurationError:
            # It is another send: nobody is decided about.
            raise
        except WatiError as error:
            log.warning("The recipients of a campaign cannot be read: %s", error)
            return Evidence(deadline=deadline, readable=False)
        self.queue.match_listed(call, None if entry is None else len(entry.intent.people))
        if entry is not None and campaigns and all(campaign.is_cancelled for campaign in campaigns):
            self.queue.cancel(call, self._number(campaigns[-1]))
        grace = self.policy.grace
        complete = all(campaign.is_complete(grace, due) for campaign in campaigns)
        return Evidence(
            deadline=deadline,
            # Of calls that nobody wrote down there may be others, which WATI does not show.
            found=bool(campaigns) and (entry is not None or not complete),
            complete=complete,
            growing_until=max((campaign.growth.growing_until(grace) for campaign in campaigns), default=None),
            control=Control.NONE if entry is None else self._control(entry),
            resend=entry is not None and entry.intent.resend,
            is_unrecorded=entry is None,
        )

    def _read(self, campaign: FoundCampaign, call: int) -> None:
        """Read the recipients of a campaign; messages for which no row waits are written down at once."""
        number, without_row = self._number(campaign), self._without_row.get(call, {})
        found: set[int] = set()
        for page in self.index.recipients(campaign):
            listed = page if self._entry(call) is not None else self._comparable(page, campaign)
            self.queue.add_listed(call, number, listed)
            if without_row:
                keyed = self.journal.entries[call].intent.keyed
                found.update(
                    person
                    for recipient in page
                    if recipient.state is Listed.YES
                    for person in listed_hashes(
                        recipient.names.values(), recipient.local_message_id, keyed=keyed
                    )
                    if person in without_row
                )
        if found:
            self.queue.accept_without_row(call, number, found)
            self.journal.record_result(
                self.journal.entries[call],
                {Verdict.ACCEPTED: sorted(map(without_row.pop, found))},
                campaign_id=campaign.id,
                reason=RECONCILED,
            )

    def _comparable(self, page: list[ListedRecipient], campaign: FoundCampaign) -> list[ListedRecipient]:
        """
        Return what a campaign that nobody wrote down says about the people of this send.

        :raises WatiConfigurationError: when it has reached people with another template.
        """
        same = self.same_send
        if same is None or not same.is_another_template(campaign.template_id):
            return page
        if not same.has_parts and any(recipient.state is Listed.YES for recipient in page):
            same.refuse_other(same.template_traits(campaign.template_id))
        return [replace(recipient, state=Listed.OTHER_PARAMS) for recipient in page]

    def _refuse_other(self, call: int, *, is_shown: bool, is_over: bool) -> None:
        """
        Refuse a send that has begun with another use of keys, or on another channel.

        :param is_shown: whether the channel of the send lists campaigns that nobody wrote down.
        :param is_over: whether people whom WATI does not list may be sent to now.
        """
        same = self.same_send
        if same is None or same.has_parts:
            return
        keyed = self.queue.listed_keyed(call)
        if keyed is not None:
            same.refuse_other(Traits(keyed=keyed))
        if is_shown or not is_over or self._has_looked_elsewhere:
            return
        for channel, campaign in self.index.look_elsewhere():
            if self.index.may_reach(campaign, self.policy.grace):
                same.refuse_other(Traits(channel=channel))
        self._has_looked_elsewhere = True

    def _campaigns_of(self, call: int, entry: Entry | None) -> list[FoundCampaign]:
        if entry is not None:
            return self.index.campaigns_of(entry.intent.id)
        known = {each.intent.id for each in (*self.journal.entries, *self.foreign)} | self.sibling_calls
        return [each for each in self.index.found.values() if each.call_id not in known]

    def _is_worth_reading(
        self, campaign: FoundCampaign, due: datetime | None, deadline: datetime, now: datetime
    ) -> bool:
        """Return whether a list can show more than at the last look; a look costs a call for each hundred people."""
        read_at = self._read_at.get(campaign.id)
        if read_at is None or read_at < deadline <= now:
            return True
        return now >= deadline and not campaign.is_complete(self.policy.grace, due)

    def _deadline(self, call: int, now: datetime) -> datetime:
        entry = self._entry(call)
        if entry is not None:
            return self.policy.deadline(self._end_of(call, entry), entry.intent.due, now)
        may_hide = call == LOST_CALLS or self.others_may_hide
        return self._started + self.policy.grace if may_hide else self._started

    def _end_of(self, call: int, entry: Entry) -> datetime:
        """Return when a call was over, at the latest; the clock of another worker may have been ahead of ours."""
        at, ended_at = entry.intent.at, entry.ended_at
        if entry.intent.id.startswith(f"{self.journal.session}-"):
            return ended_at or self.policy.latest_end(at, at)
        if ended_at is not None:
            return min(ended_at, self._started)
        # The attempts of this task say nothing about those of another one.
        next_attempt = self.journal.next_opening(at, self._started) if call >= 0 else self._started
        return self.policy.latest_end(min(at, self._started), min(next_attempt, self._started))

    def _number(self, campaign: FoundCampaign) -> int:
        number = self.queue.add_campaign(campaign.id, campaign.name)
        self._campaigns[number] = campaign
        return number

    # Deciding

    def _settle(self, evidence: dict[int, Evidence], now: datetime) -> dict[Decision, int]:
        """Decide about each call, write what is known into the journal, and give the rows their status."""
        for call, seen in evidence.items():
            # Nothing says that others have sent at all, so there is nothing to hold back, unless people have moved here
            # from a task whose journal is out of reach.
            holds = call != OTHERS_CALLS or self.others_may_hide
            policy = self.policy if holds else replace(self.policy, hold=False)
            decisions = {listed: decide(listed, seen, now, policy) for listed in Listed}
            reasons = {listed: reason_of(decision, seen, listed) for listed, decision in decisions.items()}
            self.queue.decide_about(call, decisions, reasons)
        counts = self.queue.combine_decisions()
        for call in evidence:
            self._record(call)
        self.queue.settle(
            first_sends=[] if self.others_may_hide else [OTHERS_CALLS], unrecorded=(LOST_CALLS, OTHERS_CALLS)
        )
        return counts

    def _record(self, call: int) -> None:
        if call < 0:
            self._record_found(call)
            return
        entry = self.journal.entries[call]
        verdicts: dict[Verdict, list[int]] = {}
        for decision, positions in self.queue.resolved(call).items():
            verdict = _VERDICTS.get(decision)
            news = [position for position in positions if entry.verdicts[position] != verdict]
            if verdict is not None and news:
                verdicts[verdict] = news
        if verdicts:
            # Later attempts do not look for people who are known, so the campaign is written down with them.
            campaigns = self._campaigns_of(call, entry)
            self.journal.record_result(
                entry, verdicts, campaign_id=campaigns[0].id if campaigns else None, reason=RECONCILED
            )

    def _record_found(self, call: int) -> None:
        """Write down who was found in campaigns that the journal does not know: the next attempt starts from there."""
        for number, people in self.queue.found(call).items():
            campaign = self._campaigns[number]
            self._write_found(people, campaign.name, campaign.id)
        may_have_sent = call == LOST_CALLS or (call == OTHERS_CALLS and self.others_may_hide)
        if may_have_sent and (absent := self.queue.released(call)):
            # Else the next attempt would take its sends for the first ones.
            self.journal.record_absent(
                absent, content=self.content, channel=self.channel, keyed=self.queue.has_keys
            )

    def _write_found(self, people: Sequence[int], campaign_name: str, campaign_id: str | None) -> None:
        self.journal.record_found(
            people,
            content=self.content,
            channel=self.channel,
            campaign_name=campaign_name,
            campaign_id=campaign_id,
            keyed=self.queue.has_keys,
        )
