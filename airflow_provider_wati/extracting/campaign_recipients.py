"""The recipients of campaigns, and how far each message has come."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.list_order import NewestFirst
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
)
from airflow_provider_wati.extracting.rows import Batch, Entity, Row, State, columns_of, id_of, params_of
from airflow_provider_wati.extracting.seen_ids import SeenIds
from airflow_provider_wati.extracting.statuses import STAGES, has_reached, later_status, status_of
from airflow_provider_wati.extracting.unread import Unread
from airflow_provider_wati.extracting.watermark import OVERLAP, WATERMARK, new_watermark, watermark_in
from airflow_provider_wati.listening.order import Recent
from airflow_provider_wati.listening.values import text_of, time_before, time_of, written_time

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Campaign, CampaignRecipient
    from airflow_provider_wati.clock import Clock

log: logging.Logger = logging.getLogger(__name__)

#: WhatsApp keeps an undelivered message for 30 days; after that, only reads and replies come in.
FOLLOWED_FOR = timedelta(days=31)
#: The name in a state of what the totals of all campaigns were.
TOTALS = "totals"
_CAMPAIGN = "campaign "
_TEXTS = (
    "contact_id", "contact_phone", "contact_name", "bsuid", "failed_code", "failed_detail", "local_message_id",
    "message_id",
)  # fmt: skip
_STAGE_FLAGS = tuple(f"is_{stage}" for stage in STAGES)
_PAGE = 100
#: After these, each campaign is looked at.
_NO_ANSWER = (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
)
_OLD_CAMPAIGNS, _FALLS = 20, 3


def _merge(stored: Row, listed: Row) -> Row:
    """Let a status climb only, and keep what WATI or an event has said of a failure, and the id of the message."""
    merged = dict(listed)
    if "status" in listed:
        merged["status"] = later_status(stored.get("status"), listed["status"])
    for flag in (*_STAGE_FLAGS, "is_failed"):
        if flag in listed:
            merged[flag] = bool(stored.get(flag)) or listed[flag]
    for name in ("failed_code", "failed_detail", "message_id"):
        if name in listed:
            merged[name] = listed[name] or stored.get(name)
    return merged


CAMPAIGN_RECIPIENTS = Entity(
    "campaign recipients",
    columns_of(
        ("campaign_id", "campaign_name", "template_id", *_TEXTS, "custom_params", "status"),
        (*_STAGE_FLAGS, "is_failed"),
        ("scheduled_at", "created"),
    ),
    merge=_merge,
    lookups=("local_message_id", "message_id"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """
    What a campaign's statistics were when its recipients were read.

    :param counters: stands for the statistics.
    :param first_seen: when they were these for the first time.
    :param is_settled: whether equal statistics mean that nothing is new.
    :param due: when the campaign is due; an empty text if that is not known.
    :param looked: when the statistics were read last.
    """

    counters: str
    first_seen: str
    is_settled: bool
    due: str = ""
    looked: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Look | None:
        """Read a look from a state; None for what is not one."""
        try:
            counters, first_seen, is_settled, due, looked = json.loads(text or "null")
            return cls(str(counters), str(first_seen), bool(is_settled), str(due), str(looked))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return json.dumps([self.counters, self.first_seen, self.is_settled, self.due, self.looked])


def is_look_due(known: Look | None, began: datetime, pause: timedelta | None) -> bool:
    """
    Return whether the statistics of a campaign are read in this run.

    :param known: the last look; None for a campaign that was not looked at.
    :param began: when the run began.
    :param pause: how long a look counts while events bring what is new; None where no events come.
    """
    if known is None or pause is None or not known.is_settled:
        return True
    # A time ahead of ours counts for nothing: the clock may have been set back.
    return not time_before(began, pause) < known.looked <= written_time(began)


class CampaignRecipientsExtract:
    """
    Read the recipients of all campaigns, or of those whose statistics have changed.

    :param client: the account; its channel is the one whose campaigns are listed.
    :param clock: the time.
    :param campaigns: the ids of campaigns; None for all.
    """

    entity = CAMPAIGN_RECIPIENTS

    def __init__(self, client: WatiClient, clock: Clock, campaigns: Sequence[str] | None = None) -> None:
        self._client = client
        self._clock = clock
        self._campaigns = campaigns
        self._began = clock.now()
        #: The state as far as this run has come.
        self._done: State = {}
        self._all_settled = True
        #: How long a look at a campaign counts, because events bring what is new; None where none come.
        self.pause: timedelta | None = None
        #: Whether every campaign was tried, also where some of them could not be read.
        self.is_through = False
        self.skipped: int = 0

    def forget(self, state: Mapping[str, str]) -> State:
        """Return a state without the looks at the campaigns that this extract reads."""
        if self._campaigns is None:
            return {}
        named = {f"{_CAMPAIGN}{id}" for id in self._campaigns}
        return {name: text for name, text in state.items() if name not in named}

    def batches(self, state: Mapping[str, str]) -> Iterator[Batch]:
        """
        Read recipients campaign by campaign.

        :raises WatiNotFoundError: when WATI does not know a campaign that was asked for.
        :raises WatiError: at the end, when a campaign could not be read; it is read again by the next run.
        """
        self._began = self._clock.now()
        self.is_through = False
        forgotten = time_before(self._began, 2 * FOLLOWED_FOR)
        self._done = {
            name: text for name, text in state.items() if name != TOTALS and not _is_older(text, forgotten)
        }
        if self._campaigns is not None:
            yield from self._followed(self._campaigns, state)
            return
        totals = self._totals()
        watermark = watermark_in(state)
        if watermark and totals and totals == state.get(TOTALS):
            yield Batch(state={**state, WATERMARK: new_watermark(self._began, self._client)})
            return
        horizon = time_before(watermark, FOLLOWED_FOR) if watermark else ""
        ids = list(dict.fromkeys([*self._listed(horizon), *_due_after(state, horizon)]))
        yield from self._followed(ids, state)
        done = {**self._done, WATERMARK: new_watermark(self._began, self._client)}
        if totals and self._all_settled:
            done[TOTALS] = totals
        yield Batch(state=done)

    def _totals(self) -> str | None:
        """
        Return what stands for the first page of campaigns and the totals of all: two calls.

        A status that climbs changes a total, and a new campaign changes both. None where WATI does not give totals.
        """
        first = [
            [text_of(campaign.get(name)) for name in ("id", "status", "scheduled_at")]
            for campaign in islice(self._client.iter_campaigns(), _PAGE)
        ]
        # The first day of a month, so that the next run asks for the same span.
        earliest = (self._began - FOLLOWED_FOR).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        try:
            overview = self._client.get_campaigns_overview(earliest, self._began + timedelta(days=1))
        except _NO_ANSWER as error:
            log.info("WATI gives no totals of campaigns, so that each one is looked at: %s", error)
            return None
        return _digest([str(earliest.date()), first, dict(overview)])

    def _listed(self, horizon: str) -> list[str]:
        """Return the ids of the campaigns that are not older than the horizon."""
        order = NewestFirst(_FALLS, _OLD_CAMPAIGNS)
        ids = []
        recent = Recent()
        for campaign in self._client.iter_campaigns():
            if recent.is_repeated(campaign.get("id")):
                continue
            created = time_of(campaign.get("created"))
            times = (created, time_of(campaign.get("scheduled_at")))
            # One without any time may be new.
            if (id := id_of(campaign)) and max(filter(None, times), default=horizon) >= horizon:
                ids.append(id)
            if order.is_past(created, horizon):
                break
        return list(dict.fromkeys(ids))

    def _followed(self, ids: Sequence[str], state: Mapping[str, str]) -> Iterator[Batch]:
        """Read the recipients of those campaigns whose statistics have changed since the last look."""
        unread = Unread("campaign")
        for id in ids:
            known = Look.parse(state.get(f"{_CAMPAIGN}{id}"))
            if not is_look_due(known, self._began, self.pause):
                # The totals of all campaigns have changed, and this one has not been looked at since.
                self._all_settled = False
                continue
            try:
                campaign = self._client.get_campaign(id)
                counters = _counters(campaign)
                if known and counters and known.counters == counters and known.is_settled:
                    if self.pause is not None:
                        self._done[f"{_CAMPAIGN}{id}"] = str(replace(known, looked=written_time(self._began)))
                    continue
                reached: Counter[str] = Counter()
                yield from self._recipients(campaign, id, reached)
            except WatiNotFoundError:
                if self._campaigns is not None:
                    raise
                log.info("Campaign %s is not in WATI any more.", id)
            except (WatiBadRequestError, WatiServerError, WatiResponseError) as error:
                unread.add(id, error)
            else:
                first_seen = written_time(self._began)
                if known and known.counters == counters:
                    first_seen = known.first_seen
                # A list that still shows less after an hour is not going to show more.
                has_had_time = first_seen < time_before(self._began, OVERLAP)
                is_settled = has_had_time or _shows_all(campaign, reached)
                due = time_of(campaign.get("scheduled_at")) or ""
                look = Look(counters, first_seen, is_settled, due, written_time(self._began))
                self._all_settled = self._all_settled and look.is_settled
                self._done[f"{_CAMPAIGN}{id}"] = str(look)
                yield Batch(state=dict(self._done))
        self.is_through = True
        unread.check()

    def _recipients(self, campaign: Campaign, campaign_id: str, reached: Counter[str]) -> Iterator[Batch]:
        """Read the recipients of a campaign, and count how many reached each stage."""
        recipients = self._client.iter_campaign_recipients(campaign_id)
        with closing(SeenIds()) as seen:
            while page := list(islice(recipients, _PAGE)):
                rows = [row for recipient in page if (row := _row_of(recipient, campaign, campaign_id))]
                self.skipped += len(page) - len(rows)
                for row in rows:
                    if seen.add(row["id"]):
                        reached.update(_reached_by(row))
                yield Batch(rows)


def _is_older(text: str, limit: str) -> bool:
    look = Look.parse(text)
    return look is not None and max(look.first_seen, look.due) < limit


def _due_after(state: Mapping[str, str], horizon: str) -> list[str]:
    """Return the campaigns of a state that are due after the horizon: made long before, they stand far down the list."""
    looks = {
        name.removeprefix(_CAMPAIGN): Look.parse(text)
        for name, text in state.items()
        if name.startswith(_CAMPAIGN)
    }
    return [id for id, look in looks.items() if look is not None and look.due and look.due >= horizon]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _counters(campaign: Campaign) -> str:
    """Return what stands for the statistics of a campaign; an empty text if it has none."""
    statistics: object = campaign.get("statistics")
    return (
        _digest([campaign.get("status"), statistics]) if isinstance(statistics, dict) and statistics else ""
    )


def _reached_by(row: Row) -> Iterator[str]:
    yield "total_recipients"
    if row["is_failed"]:
        yield "total_failed"
    for stage in STAGES:
        if row[f"is_{stage}"]:
            yield f"total_{stage}"


def _shows_all(campaign: Campaign, reached: Counter[str]) -> bool:
    """Return whether the list shows as many recipients at each stage as the statistics; a list may lag behind them."""
    statistics: Mapping[str, object] = campaign.get("statistics") or {}
    names = ("total_recipients", "total_failed", *(f"total_{stage}" for stage in STAGES))
    return all(reached[name] >= count for name in names if isinstance(count := statistics.get(name), int))


def _row_of(recipient: CampaignRecipient, campaign: Campaign, campaign_id: str) -> Row | None:
    """Return the row of a recipient; None if it has no usable id."""
    id = id_of(recipient)
    if id is None:
        return None
    record: Mapping[str, object] = recipient
    status = status_of(text_of(recipient.get("status")))
    return {
        "id": id,
        "campaign_id": campaign_id,
        "campaign_name": text_of(campaign.get("name")),
        "template_id": text_of(campaign.get("template_id")),
        **{name: text_of(record.get(name)) for name in _TEXTS},
        "custom_params": params_of(recipient.get("custom_params")),
        "status": status,
        **{f"is_{stage}": has_reached(status, stage) for stage in STAGES},
        "is_failed": status == "failed",
        "scheduled_at": time_of(campaign.get("scheduled_at")),
        "created": time_of(recipient.get("created")),
    }


def campaign_ids(campaigns: Any) -> list[str] | None:
    """
    Return the ids of campaigns.

    :param campaigns: None for all; one id; a list of ids; or the ``campaigns`` of the summary of a send.
    :raises TypeError: for anything else.
    """
    if campaigns is None:
        return None
    listed = [campaigns] if isinstance(campaigns, (str, Mapping)) else campaigns
    if not isinstance(listed, Sequence):
        raise TypeError(type(campaigns).__name__)
    ids: list[str] = []
    for each in listed:
        id = each.get("id") if isinstance(each, Mapping) else each
        if not isinstance(id, str) or not id:
            raise TypeError("an entry without an id")
        ids.append(id)
    return list(dict.fromkeys(ids))
