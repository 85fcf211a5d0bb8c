"""Operators for campaigns: what WATI makes of each template call. WATI's API calls them broadcasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiResponseError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import CampaignRecipient

#: More recipients than this belong in a file, not in Airflow's database.
MAX_RECIPIENTS_IN_RESULT = 1_000


class WatiGetCampaignOperator(WatiOperator):
    """
    Look up one campaign, with its statistics.

    .. code-block:: python

        WatiGetCampaignOperator(task_id="campaign", campaign_id="66b1fb044045cedb1f195390")

    :param campaign_id: the id that a template send returned as ``campaigns[n]["id"]`` (templated).
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``name``, ``status``, ``scheduled_at``, ``statistics`` (``total_recipients``,
        ``total_delivered`` and so on) and other fields of WATI.
    :raises WatiNotFoundError: when WATI does not know the campaign.
    """

    template_fields: Sequence[str] = ("campaign_id", "wati_conn_id")

    def __init__(self, *, campaign_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id

    def execute(self, context: Context) -> dict[str, Any]:
        campaign = self.hook.client.get_campaign(self.campaign_id)
        self.log.info("Campaign %s is %s.", self.campaign_id, campaign.get("status"))
        return dict(campaign)


class WatiGetCampaignRecipientsOperator(WatiOperator):
    """
    Read the status of each recipient of a campaign: delivered, read, or failed and why.

    WATI lists 100 recipients per call, so a campaign of 10,000 takes 100 calls at the pace of the plan.

    .. code-block:: python

        WatiGetCampaignRecipientsOperator(
            task_id="outcomes",
            campaign_id="66b1fb044045cedb1f195390",
            destination="s3://reports/{{ ds }}.csv",
        )

    :param campaign_id: the id that a template send returned as ``campaigns[n]["id"]`` (templated).
    :param destination: the file to write, one row for each recipient: a local path or an object-storage URI that
        ends in ``.csv``, ``.jsonl`` or ``.parquet`` (templated). Without it the recipients are in the
        result, up to 1,000 of them.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``campaign_id``, ``total``, ``statuses`` (the count of each status), and ``destination`` or
        ``recipients``.
    :raises WatiNotFoundError: when WATI does not know the campaign.
    :raises WatiValidationError: for a destination with another suffix, or more than 1,000 recipients without one.
    """

    template_fields: Sequence[str] = ("campaign_id", "destination", "wati_conn_id")

    def __init__(self, *, campaign_id: str, destination: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.destination = destination

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.operators._files import open_table

        statuses: Counter[str] = Counter()
        found = self.hook.client.iter_campaign_recipients(self.campaign_id)
        result: dict[str, Any] = {"campaign_id": self.campaign_id}
        if self.destination is None:
            recipients: list[dict[str, Any]] = []
            result["recipients"] = recipients
            for recipient in found:
                if len(recipients) == MAX_RECIPIENTS_IN_RESULT:
                    raise WatiValidationError(
                        f"Campaign {self.campaign_id} has more than {MAX_RECIPIENTS_IN_RESULT:,} recipients: give a "
                        "destination for them."
                    )
                recipients.append(_row(recipient))
                statuses[_status_of(recipient)] += 1
        else:
            result["destination"] = self.destination
            with open_table(self.destination, _COLUMNS) as write:
                write(_counted(found, statuses))
        result |= {"total": statuses.total(), "statuses": dict(statuses)}
        self.log.info("Campaign %s: %s", self.campaign_id, dict(statuses))
        return result


_COLUMNS = (
    "contact_phone",
    "contact_name",
    "contact_id",
    "bsuid",
    "status",
    "failed_code",
    "local_message_id",
    "message_id",
    "created",
)


def _counted(recipients: Iterable[CampaignRecipient], statuses: Counter[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of recipients, and count their statuses."""
    for recipient in recipients:
        statuses[_status_of(recipient)] += 1
        yield tuple(_row(recipient).values())


def _status_of(recipient: CampaignRecipient) -> str:
    return recipient.get("status") or "unknown"


def _row(recipient: CampaignRecipient) -> dict[str, str | None]:
    # The client gives text or None for each of these, so that every format of file can hold them.
    return {name: recipient.get(name) for name in _COLUMNS}  # type: ignore[misc] # mypy wants literal names


class WatiCancelScheduledCampaignOperator(WatiOperator):
    """
    Cancel a scheduled campaign. It needs the tenant id in the connection, because only V1 of the API has this call.

    .. code-block:: python

        WatiCancelScheduledCampaignOperator(task_id="cancel", campaign_id="66b1fb044045cedb1f195390")

    :param campaign_id: the id that the scheduling task returned as ``campaigns[n]["id"]`` (templated).
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"campaign_id": ...}``; WATI said that it did it, or the campaign's status says so.
    :raises WatiConfigurationError: when the connection does not name the tenant.
    :raises WatiNotFoundError: when WATI does not know the campaign.
    :raises WatiBadRequestError: when it can no longer be cancelled.
    :raises WatiRejectedError: when WATI answers without having cancelled it.
    """

    template_fields: Sequence[str] = ("campaign_id", "wati_conn_id")

    def __init__(self, *, campaign_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client
        try:
            is_done = client.cancel_scheduled_campaign(self.campaign_id)
        except (WatiBadRequestError, WatiNotFoundError, WatiRejectedError, WatiResponseError):
            # The call before may have done it and lost its answer.
            if not _is_cancelled(client, self.campaign_id):
                raise
        else:
            if not is_done and not _is_cancelled(client, self.campaign_id):
                raise WatiRejectedError(
                    f"WATI answered without saying that campaign {self.campaign_id} is cancelled, and its status does "
                    "not say so either: look at it in WATI, it may still be sent.",
                    status_code=200,
                )
        self.log.info("Campaign %s is cancelled.", self.campaign_id)
        return {"campaign_id": self.campaign_id}


def _is_cancelled(client: WatiClient, campaign_id: str) -> bool:
    try:
        status = client.get_campaign(campaign_id).get("status")
    except WatiNotFoundError:
        return False
    # WATI does not list its statuses; both spellings and both words are in use elsewhere in its product.
    return str(status).strip().casefold() in ("cancelled", "canceled", "stopped")
