"""What WATI shows of the campaigns of one send."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_wati.client.responses import has_failed, has_left
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiValidationError,
)
from airflow_provider_wati.masking import clean
from airflow_provider_wati.sending.evidence_rows import ListedRecipient
from airflow_provider_wati.sending.reconciler import GrowthWatch, Listed, is_cancelled
from airflow_provider_wati.sending.row_mapping import is_keyed_id
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, normal_form

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Campaign, CampaignRecipient
    from airflow_provider_wati.clock import Clock

log: logging.Logger = logging.getLogger(__name__)

_PAGE = 100
#: Why another channel's campaigns are not shown, for good; what they would say is not known then.
_NOT_SHOWN = (WatiBadRequestError, WatiNotFoundError, WatiPermissionError, WatiValidationError)
#: Characters of the mark: 64 bits, so that no other send has it by chance.
_MARK_LENGTH = 16


def mark_of(send_key: str) -> str:
    """
    Return the mark of a send: the text with which the names of its campaigns begin.

    It has only letters and digits, and is the first part of the name. So it is found if WATI shortens or escapes the name or
    adds a suffix, and a copy made in the dashboard (``Copy of ...``) is not taken for a campaign of the send.
    """
    return hashlib.sha256(send_key.encode()).hexdigest()[:_MARK_LENGTH]


def name_of(mark: str, call_id: str, campaign_name: str) -> str:
    """
    Return the name of a call's campaign.

    :param mark: the send's.
    :param call_id: the id of the call's intent.
    :param campaign_name: what the user calls it.
    """
    return f"{mark}-{call_id} {campaign_name}"


@dataclass(slots=True)
class FoundCampaign:
    """
    A campaign of this send, as WATI lists it.

    :param id: WATI's id.
    :param name: its name.
    :param call_id: the id of the intent, by its name or because WATI has answered it.
    :param is_cancelled: whether it was cancelled.
    :param growth: how its list grows.
    :param due: when WATI is to send it, or has sent it; None where WATI does not say.
    :param template_id: WATI's id of its template; empty where WATI does not say.
    """

    id: str
    name: str
    call_id: str
    is_cancelled: bool
    growth: GrowthWatch
    due: datetime | None = None
    template_id: str = ""

    def is_complete(self, grace: timedelta, due: datetime | None = None) -> bool:
        """
        Return whether it seems to list all its recipients; a schedule gets them when it is due.

        :param grace: how long its list may grow.
        :param due: the due time in the journal, because WATI may not list one.
        """
        looked_at = self.growth.looked_at
        if looked_at is None or any(time and looked_at < time + grace for time in (self.due, due)):
            return False
        return self.growth.is_complete(grace)


@dataclass(slots=True)
class CampaignIndex:
    """
    Find the campaigns of one send by the mark in their names, and the people in them.

    :param client: the account.
    :param channel: the channel that the send goes from.
    :param mark: see :func:`mark_of`.
    :param clock: the time.
    :param default_region: how WATI may write phone numbers without a country code.
    """

    client: WatiClient
    channel: str | None
    mark: str
    clock: Clock
    default_region: str | None = None
    #: The campaigns of this send that WATI has shown, by id.
    found: dict[str, FoundCampaign] = field(default_factory=dict)
    #: The ids in the latest listing.
    listed_ids: set[str] = field(default_factory=set)

    def look(self, answered: Mapping[str, str] | None = None) -> None:
        """
        Read the list of campaigns.

        :param answered: the ids of the intents of answered calls, by campaign id: somebody may have changed the names of
            these campaigns in the dashboard.
        """
        calls = answered or {}
        now = self.clock.now()
        listed = set()
        for campaign in self.client.iter_campaigns(self.channel):
            id = _text_of(campaign.get("id"))
            listed.add(id)
            found = self._found_in(campaign, calls, now)
            if found is not None:
                self.found[id] = found
        self.listed_ids = listed

    def look_elsewhere(self) -> list[tuple[str | None, FoundCampaign]]:
        """
        Read the lists of the other channels, as far as the token may read them and WATI names the channels.

        A channel has a name and a number, so one of the others may be that of the send: what its own list shows is not
        told. Nothing of this is kept in ``found``.

        :return: the campaigns of this send, with the channel that lists them; None for WATI's default.
        """
        now = self.clock.now()
        elsewhere = [
            (channel, found)
            for channel in self._other_channels()
            for campaign in self._campaigns_on(channel)
            if (found := self._found_in(campaign, {}, now)) is not None
        ]
        if elsewhere:
            # It may have appeared while the others were read.
            self.look()
        return [(channel, found) for channel, found in elsewhere if found.id not in self.listed_ids]

    def may_reach(self, campaign: FoundCampaign, grace: timedelta) -> bool:
        """
        Return whether a campaign has reached somebody, or may yet do so; one call for each 100 who have nothing.

        :param campaign: one of this send.
        :param grace: how long it may be empty after it is due.
        """
        is_empty = True
        for page in self.recipients(campaign):
            if any(person.state is Listed.YES for person in page):
                return True
            is_empty = False
        is_due = campaign.due is not None and self.clock.now() >= campaign.due + grace
        return is_empty and not campaign.is_cancelled and not is_due

    def _found_in(self, campaign: Campaign, calls: Mapping[str, str], now: datetime) -> FoundCampaign | None:
        """Return a listed campaign if it is one of this send."""
        id, name = _text_of(campaign.get("id")), _text_of(campaign.get("name"))
        match = re.compile(rf"{re.escape(self.mark)}-([0-9a-f]+-[0-9]+)(?![0-9])").match(name)
        call_id = match[1] if match else calls.get(id)
        if not (call_id and id):
            return None
        known = self.found.get(id)
        return FoundCampaign(
            id=id,
            name=name,
            call_id=call_id,
            is_cancelled=is_cancelled(campaign.get("status")),
            growth=known.growth if known else GrowthWatch(now),
            due=_time_of(campaign.get("scheduled_at")),
            template_id=_text_of(campaign.get("template_id")),
        )

    def _other_channels(self) -> list[str | None]:
        """Return the channels that the send does not go from, WATI's default among them."""
        try:
            listed = list(self.client.iter_channels())
        except _NOT_SHOWN as error:
            log.info("WATI does not say which channels there are: %s", error)
            listed = []
        # Of the default channel WATI shows a name that addresses nothing, and no id.
        names = [str(each["name"]) for each in listed if each.get("id") and each.get("name")]
        return [each for each in dict.fromkeys([None, *names]) if each != self.channel]

    def _campaigns_on(self, channel: str | None) -> list[Campaign]:
        try:
            return list(self.client.iter_campaigns(channel, is_default=channel is None))
        except _NOT_SHOWN as error:
            log.info("WATI does not show the campaigns of another channel: %s", error)
            return []

    def campaigns_of(self, call_id: str) -> list[FoundCampaign]:
        """Return the campaigns of the call whose intent has an id."""
        return [each for each in self.found.values() if each.call_id == call_id]

    def recipients(self, campaign: FoundCampaign) -> Iterator[list[ListedRecipient]]:
        """Read the recipients of a campaign, a page at a time, and watch the list grow."""
        began = self.clock.now()
        people: set[str] = set()
        recipients = iter(self.client.iter_campaign_recipients(campaign.id))
        while page := [self._listed(recipient, campaign) for recipient in islice(recipients, _PAGE)]:
            people.update(person.id for person in page)
            yield page
        statistics: object = self.client.get_campaign(campaign.id).get("statistics")
        total = statistics.get("total_recipients") if isinstance(statistics, Mapping) else None
        campaign.growth.look(len(people), total if isinstance(total, int) else 0, began)

    def _listed(self, recipient: CampaignRecipient, campaign: FoundCampaign) -> ListedRecipient:
        names = names_of(recipient, self.default_region)
        local_id = _text_of(recipient.get("local_message_id"))
        status = recipient.get("status")
        state = Listed.FAILED if has_failed(status) else Listed.YES
        if campaign.is_cancelled and not has_left(status):
            # A campaign that is stopped while it is sent has reached some of its people.
            state = Listed.CANCELLED
        return ListedRecipient(
            id=_text_of(recipient.get("id"))
            or " ".join([local_id, _text_of(recipient.get("contact_phone")), *names.values()]),
            names=names,
            local_message_id=local_id,
            state=state,
            params=_params_of(recipient.get("custom_params")),
            keyed=is_keyed_id(local_id, names, self.mark),
        )


def names_of(recipient: CampaignRecipient, default_region: str | None = None) -> dict[str, str]:
    """
    Return the forms under which the person of a recipient is known: dedupe keys by kind (phone, contact, bsuid).

    :param recipient: as WATI lists it.
    :param default_region: how WATI may write phone numbers without a country code.
    """
    names: dict[str, str] = {}
    written = _text_of(recipient.get("contact_phone"))
    phone = normal_form(written, default_region) if written else None
    if phone:
        names["phone"] = phone
    if recipient.get("contact_id"):
        names["contact"] = _text_of(recipient["contact_id"]).lower()
    if recipient.get("bsuid"):
        names["bsuid"] = dedupe_key_of(_text_of(recipient["bsuid"]))
    return names


def _params_of(listed: object) -> dict[str, str]:
    """Return the parameters that WATI lists by name; what has another shape is left out."""
    pairs = listed if isinstance(listed, list) else []
    return {
        clean(str(pair.get("name"))): clean(str(pair.get("value")))
        for pair in pairs
        if isinstance(pair, Mapping)
    }


def _text_of(value: object) -> str:
    """Return a value of WATI's as a text; nothing for none."""
    return clean(str(value)) if value else ""


def _time_of(text: object) -> datetime | None:
    """Read a time of WATI's; one without a zone is in UTC."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    if time.year in (1, 9999):
        # What .NET writes for no time.
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
