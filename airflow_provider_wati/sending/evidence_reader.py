"""What WATI shows of the calls whose outcome is not known, as evidence for a decision."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.sending.numbered_calls import CallKind, kind_of
from airflow_provider_wati.sending.reconciler import POLL_INTERVAL, Control, Evidence, Listed
from airflow_provider_wati.sending.row_mapping import listed_hashes
from airflow_provider_wati.sending.same_send import Traits

if TYPE_CHECKING:
    from airflow_provider_wati.sending.campaign_index import CampaignIndex, FoundCampaign
    from airflow_provider_wati.sending.evidence_rows import ListedRecipient
    from airflow_provider_wati.sending.journal import Entry
    from airflow_provider_wati.sending.numbered_calls import NumberedCalls
    from airflow_provider_wati.sending.queue import SendQueue
    from airflow_provider_wati.sending.reconciler import Policy
    from airflow_provider_wati.sending.same_send import SameSend

log: logging.Logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class EvidenceReader:
    """
    Reads WATI's campaigns and their recipients into the queue, and says what they show about each call.

    :param calls: the calls, by number.
    :param queue: the rows that wait; what is listed is noted there.
    :param index: what WATI shows.
    :param policy: the grace.
    :param same_send: refuses a send that has begun as another one by what WATI shows of calls that no journal has.
    :param known_calls: ids of calls that other tasks account for.
    """

    calls: NumberedCalls
    queue: SendQueue
    index: CampaignIndex
    policy: Policy
    same_send: SameSend
    known_calls: frozenset[str] = frozenset()
    #: The campaigns that were read, by their number in the queue.
    campaigns: dict[int, FoundCampaign] = field(default_factory=dict, init=False)
    #: Messages for which no row waits; for each call, it maps the person's hash to the position.
    without_row: Mapping[int, Mapping[int, int]] = field(default_factory=dict, init=False)
    #: Those of them that campaigns list; it maps the number of the campaign to the call and the positions.
    listed_without_row: dict[int, tuple[int, set[int]]] = field(default_factory=dict, init=False)
    _read_at: dict[str, datetime] = field(default_factory=dict, init=False)
    _has_looked_elsewhere: bool = field(default=False, init=False)

    def read_campaigns(self) -> WatiError | None:
        """Read the list of campaigns; return the error if it cannot be read."""
        own = self.calls.journal.entries
        try:
            self.index.look({each.campaign_id: each.intent.id for each in own if each.campaign_id})
        except WatiError as error:
            log.warning("WATI's campaigns cannot be read: %s", error)
            return error
        return None

    def campaigns_of(self, call: int) -> list[FoundCampaign]:
        """Return the campaigns of a call; where no journal has it, those that no journal within reach has."""
        entry = self.calls.entry(call)
        if entry is not None:
            return self.index.campaigns_of(entry.intent.id)
        known = self.known_calls.union(each.intent.id for each in self.calls.recorded().values())
        return [each for each in self.index.found.values() if each.call_id not in known]

    def look_at(self, call: int, now: datetime) -> Evidence:
        """
        Collect what the campaigns that were read show about a call.

        :param call: its number.
        :param now: the time of the look.
        :raises WatiConfigurationError: when WATI shows that the send has begun as another one.
        """
        entry, deadline = self.calls.entry(call), self.calls.deadline(call, now)
        due = None if entry is None else entry.intent.due
        campaigns = self.campaigns_of(call)
        if not campaigns and kind_of(call) not in (CallKind.OTHERS, CallKind.ABSENT):
            # A campaign that is deleted between two pages moves another one out of the list: one look is not enough.
            deadline = max(deadline, self.calls.started + POLL_INTERVAL)
        try:
            for campaign in campaigns:
                if self._is_worth_reading(campaign, due, deadline, now):
                    self._read(campaign, call)
                    self._read_at[campaign.id] = now
            if entry is None:
                self._refuse_other(call, is_over=now >= deadline)
        except WatiConfigurationError:
            # It is another send: nobody is decided about.
            raise
        except WatiError as error:
            log.warning("The recipients of a campaign cannot be read: %s", error)
            return Evidence(deadline=deadline, readable=False)
        self.queue.match_listed(call, None if entry is None else len(entry.intent.people))
        if entry is not None and campaigns and all(self._is_over(each, due, now) for each in campaigns):
            self.queue.cancel(call, self._number(campaigns[-1]))
        return self._evidence(entry, campaigns, deadline)

    def _is_over(self, campaign: FoundCampaign, due: datetime | None, now: datetime) -> bool:
        """Return whether a campaign was cancelled, and its list has everybody who got a message before that."""
        if not campaign.is_cancelled:
            return False
        is_early = any(time is not None and now < time for time in (campaign.due, due))
        return is_early or campaign.is_complete(self.policy.grace, due)

    def _evidence(self, entry: Entry | None, campaigns: list[FoundCampaign], deadline: datetime) -> Evidence:
        grace, due = self.policy.grace, None if entry is None else entry.intent.due
        complete = all(campaign.is_complete(grace, due) for campaign in campaigns)
        return Evidence(
            deadline=deadline,
            # Of calls that no journal has there may be others, which WATI does not show.
            found=bool(campaigns) and (entry is not None or not complete),
            complete=complete,
            growing_until=max((campaign.growth.growing_until(grace) for campaign in campaigns), default=None),
            control=Control.NONE if entry is None else self._control(entry),
            resend=entry is not None and entry.intent.resend,
            is_unrecorded=entry is None,
        )

    def _control(self, entry: Entry) -> Control:
        """
        Hold the list against two answered calls: the latest, and the one that was made nearest to an ambiguous call.

        A list that lags does not show the latest. One that somebody has tidied does not show the nearest either.
        """
        answered = [each for each in self.calls.journal.entries if each.answered]
        if not answered:
            return Control.NONE
        latest = max(answered, key=lambda each: each.intent.at)
        nearest = min(answered, key=lambda each: abs(each.intent.at - entry.intent.at))
        is_shown = {latest.campaign_id, nearest.campaign_id} <= self.index.listed_ids
        return Control.SHOWN if is_shown else Control.MISSING

    def _is_worth_reading(
        self, campaign: FoundCampaign, due: datetime | None, deadline: datetime, now: datetime
    ) -> bool:
        """Return whether a list can show more than at the last look; a look costs a call for each hundred people."""
        read_at = self._read_at.get(campaign.id)
        if read_at is None or read_at < deadline <= now:
            return True
        return now >= deadline and not campaign.is_complete(self.policy.grace, due)

    def _read(self, campaign: FoundCampaign, call: int) -> None:
        """Read the recipients of a campaign."""
        number, entry = self._number(campaign), self.calls.entry(call)
        without_row = self.without_row.get(call, {})
        for page in self.index.recipients(campaign):
            self.queue.add_listed(call, number, page if entry else self._comparable(page, campaign))
            if entry is None or not without_row:
                continue
            found = {
                without_row[person]
                for recipient in page
                if recipient.state is Listed.YES
                for person in listed_hashes(
                    recipient.names.values(), recipient.local_message_id, keyed=entry.intent.keyed
                )
                if person in without_row
            }
            if found:
                self.listed_without_row.setdefault(number, (call, set()))[1].update(found)

    def _comparable(self, page: list[ListedRecipient], campaign: FoundCampaign) -> list[ListedRecipient]:
        """
        Return what a campaign without a record says about the people of this send.

        :raises WatiConfigurationError: when it has reached people with another template.
        """
        same = self.same_send
        if not same.is_another_template(campaign.template_id):
            return page
        if not same.has_parts and any(recipient.state is Listed.YES for recipient in page):
            same.refuse_other(same.template_traits(campaign.template_id))
        return [replace(recipient, state=Listed.OTHER_PARAMS) for recipient in page]

    def _refuse_other(self, call: int, *, is_over: bool) -> None:
        """
        Refuse a send that has begun with another use of keys, or on another channel.

        :param call: the number that stands for calls without a record.
        :param is_over: whether the grace is over, so that people who are not listed may be sent to.
        """
        same = self.same_send
        if same.has_parts:
            return
        keyed = self.queue.listed_keyed(call)
        if keyed is not None:
            same.refuse_other(Traits(keyed=keyed))
        if self.queue.lists_message(call) or not is_over or self._has_looked_elsewhere:
            return
        for channel, campaign in self.index.look_elsewhere():
            if self.index.may_reach(campaign, self.policy.grace):
                same.refuse_other(Traits(channel=channel))
        self._has_looked_elsewhere = True

    def _number(self, campaign: FoundCampaign) -> int:
        number = self.queue.add_campaign(campaign.id, campaign.name)
        self.campaigns[number] = campaign
        return number
