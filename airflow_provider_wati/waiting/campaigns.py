"""Wait until the recipients of campaigns have reached a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import clean
from airflow_provider_wati.sending.reconciler import is_cancelled
from airflow_provider_wati.sending.send_summary import SendSummary, find_campaigns
from airflow_provider_wati.waiting.condition import Look, Verdict
from airflow_provider_wati.waiting.verdict import (
    Goal,
    Tally,
    counters_of,
    judge,
    judge_readings,
    readings_of,
    stage_of,
    tally_of_statuses,
    unknown_statuses,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Campaign, CampaignRecipient
    from airflow_provider_wati.clock import Clock

#: Campaign ids that the result names.
_SHOWN = 50
#: Unknown statuses that the result names, and the characters of each.
_WORDS, _LONGEST_WORD = 10, 40


@dataclass(slots=True, kw_only=True)
class CampaignCondition:
    """
    Recipients of campaigns at a stage; the fields are plain JSON.

    :param until: the stage that recipients have to reach.
    :param share: the part of them that must have finished.
    :param failure_threshold: the part of them that may fail.
    :param campaign_ids: the campaigns that are known so far; a look adds those that it finds.
    :param send_key: the send whose campaigns are looked for by their mark; None for the given campaigns alone.
    :param channel: name or number of the channel of that send; None for the connection's.
    :param expected: the messages that WATI accepted, so that a list that is filling up does not look finished.
    :param unknown: the messages of which it is not known whether WATI accepted them.
    :param is_searched: whether the campaigns of the send have been looked for and hold everybody.
    """

    news: ClassVar[tuple[str, ...]] = ("statuses",)
    until: str
    share: float = 1.0
    failure_threshold: float = 0.0
    campaign_ids: list[str] = field(default_factory=list)
    send_key: str | None = None
    channel: str | None = None
    expected: int = 0
    unknown: int = 0
    is_searched: bool = False

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """Read the statistics of each campaign, and the lists of recipients where the statistics leave it open."""
        goal = Goal(stage_of(self.until), self.share, self.failure_threshold)
        if self.send_key is not None and not self.expected + self.unknown and not self.campaign_ids:
            return Look(
                Verdict.DONE,
                "WATI accepted no message of this send: there is nothing to wait for.",
                self._result(Tally(0, 0, 0)),
            )
        if self.send_key is not None and not self.is_searched:
            self._search(client, clock, self.send_key)
        campaigns = [client.get_campaign(id) for id in self.campaign_ids]
        verdict, tally, unknown = self._judge(client, campaigns, goal)
        return Look(verdict, _sentence(tally, goal, unknown), self._result(tally, unknown))

    def unseen(self) -> dict[str, Any]:
        """Return a result without counts."""
        return self._result(None)

    def _search(self, client: WatiClient, clock: Clock, send_key: str) -> None:
        known = set(self.campaign_ids)
        found = find_campaigns(client, self.channel, send_key, clock)
        self.campaign_ids += [id for id in found if id not in known]

    def _judge(
        self, client: WatiClient, campaigns: list[Campaign], goal: Goal
    ) -> tuple[Verdict, Tally, dict[str, int]]:
        counters: Counter[str] | None = Counter()
        for campaign in campaigns:
            one = counters_of(campaign.get("statistics"), is_cancelled=is_cancelled(campaign.get("status")))
            counters = None if counters is None or one is None else counters + one
        if counters is not None:
            self.is_searched = counters["recipients"] >= self.expected
            readings = [each.of_at_least(self.expected) for each in readings_of(counters, goal.until)]
            agreed = judge_readings(readings, goal)
            if agreed is not None:
                return (*agreed, {})
        tally, unknown = self._read_recipients(client, campaigns, goal)
        tally = tally.of_at_least(max(self.expected, counters["recipients"] if counters else 0))
        return judge(tally, goal), tally, unknown

    def _read_recipients(
        self, client: WatiClient, campaigns: list[Campaign], goal: Goal
    ) -> tuple[Tally, dict[str, int]]:
        total = reached = failed = 0
        words: Counter[str] = Counter()
        for campaign in campaigns:
            statuses = Counter(
                clean(str(recipient.get("status") or "")).strip().casefold()[:_LONGEST_WORD]
                for recipient in _each_once(client.iter_campaign_recipients(campaign["id"]))
            )
            cancelled = is_cancelled(campaign.get("status"))
            tally = tally_of_statuses(statuses, goal.until, is_cancelled=cancelled)
            total, reached, failed = total + tally.total, reached + tally.reached, failed + tally.failed
            words.update(unknown_statuses(statuses))
        return Tally(total, reached, failed), dict(words.most_common(_WORDS))

    def _result(self, tally: Tally | None, unknown: Mapping[str, int] | None = None) -> dict[str, Any]:
        return {
            "until": str(self.until),
            "total": None if tally is None else tally.total,
            "reached": None if tally is None else tally.reached,
            "failed": None if tally is None else tally.failed,
            "waiting": None if tally is None else tally.total - tally.reached - tally.failed,
            "unknown_statuses": dict(unknown or {}),
            "campaigns": self.campaign_ids[:_SHOWN],
            "more_campaigns": max(len(self.campaign_ids) - _SHOWN, 0),
            "timed_out": False,
        }


def _each_once(recipients: Iterable[CampaignRecipient]) -> Iterator[CampaignRecipient]:
    """Leave out recipients that are listed a second time, because the list has grown between two pages."""
    seen: set[str] = set()
    for recipient in recipients:
        id = recipient.get("id")
        if id not in seen:
            yield recipient
        if id:
            seen.add(id)


def campaign_condition(
    *,
    campaign_id: str | None,
    summary: object,
    until: str,
    share: float,
    failure_threshold: float,
    channel: str | None = None,
) -> CampaignCondition:
    """
    Check the arguments of a wait for campaigns.

    :param campaign_id: one campaign.
    :param summary: what a template send returned, in place of it.
    :param until: the stage that recipients have to reach.
    :param share: the part of them that must have finished.
    :param failure_threshold: the part of them that may fail.
    :param channel: name or number of the channel of the send.
    :raises WatiValidationError: when neither or both of campaign and summary are given, or one cannot be right.
    """
    Goal(stage_of(until), share, failure_threshold)
    if bool(campaign_id) == bool(summary):
        raise WatiValidationError("Give either campaign_id or summary.")
    goal: dict[str, Any] = {"until": str(until), "share": share, "failure_threshold": failure_threshold}
    if campaign_id:
        return CampaignCondition(campaign_ids=[str(campaign_id)], **goal)
    send = SendSummary.of(summary)
    if "accepted" not in send.counts:
        raise WatiValidationError(
            "summary does not say how many messages were accepted: give the whole result of a send."
        )
    return CampaignCondition(
        campaign_ids=list(send.campaigns),
        send_key=send.send_key,
        channel=channel,
        expected=send.accepted,
        unknown=send.counts.get("unknown", 0),
        **goal,
    )


def _sentence(tally: Tally, goal: Goal, unknown: Mapping[str, int]) -> str:
    waiting = tally.total - tally.reached - tally.failed
    parts = f"{tally.reached:,} of {tally.total:,} recipients are {goal.until} or beyond, {tally.failed:,} failed, "
    parts += (
        f"{waiting:,} are not finished (share {goal.share:g}, failure_threshold {goal.failure_threshold:g})"
    )
    words = ", ".join(
        f"{count:,} {word or 'without a status'!r}" for word, count in sorted(unknown.items())[:5]
    )
    return f"{parts}; statuses that are not known: {words}." if words else f"{parts}."
