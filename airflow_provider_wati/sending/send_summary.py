"""The summary of a send, and from it all campaigns of the send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiValidationError

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSummary:
    """
    What a template send returned, as far as later tasks need it.

    :param send_key: the name of the send.
    :param counts: the rows in each status, and their ``total``.
    :param campaigns: the names of the campaigns that the summary shows, by id; a large send has more.
    :param outcomes: the path or the table of the outcomes; None if there are none.
    """

    send_key: str
    counts: Mapping[str, int]
    campaigns: Mapping[str, str | None]
    outcomes: str | None

    @classmethod
    def of(cls, summary: object) -> SendSummary:
        """
        Read a summary.

        :param summary: the result of a task that sent a template.
        :raises WatiValidationError: for anything else, and for the summary of a dry run.
        """
        if not isinstance(summary, Mapping) or not summary.get("send_key"):
            raise WatiValidationError(
                "summary is not the result of a template send: give its output, a dict with send_key and campaigns."
            )
        if "estimate" in summary:
            raise WatiValidationError("summary is that of a dry run, which sends nothing.")
        campaigns = summary.get("campaigns") or []
        if not (isinstance(campaigns, list) and all(isinstance(each, Mapping) for each in campaigns)):
            raise WatiValidationError(
                "summary is not the result of a template send: its campaigns are not a list of dicts."
            )
        return cls(
            send_key=str(summary["send_key"]),
            counts={name: value for name, value in summary.items() if type(value) is int},
            campaigns={
                str(each["id"]): _text_or_none(each.get("name")) for each in campaigns if each.get("id")
            },
            outcomes=_text_or_none(summary.get("outcomes")),
        )

    @property
    def accepted(self) -> int:
        """The messages that WATI accepted."""
        return self.counts.get("accepted", 0)


def find_campaigns(
    client: WatiClient, channel: str | None, send_key: str, clock: Clock
) -> dict[str, str | None]:
    """
    Find the campaigns of a send by its mark; one call for each 100 campaigns of the channel.

    :param client: the account.
    :param channel: name or number of the channel of the send; the client's, else WATI's default, if left out.
    :param send_key: the name of the send.
    :param clock: the time.
    :return: the names of the campaigns by id, as WATI lists them.
    """
    # Imported here, because a DAG file with a sensor must not load SQLite and the parser of phone numbers.
    from airflow_provider_wati.sending.campaign_index import CampaignIndex, mark_of

    index = CampaignIndex(client, channel, mark_of(send_key), clock)
    index.look()
    return {id: campaign.name for id, campaign in index.found.items()}


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
