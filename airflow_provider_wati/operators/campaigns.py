"""Operators for campaigns: what WATI makes of each template call. WATI's API calls them broadcasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiResponseError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.tables.outcomes import RECIPIENT_COLUMNS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import CampaignRecipient
    from airflow_provider_wati.sending.send_summary import SendSummary

    _Rows = AbstractContextManager[Iterable[Mapping[str, Any]]]

#: More recipients than this belong in a file, not in Airflow's database.
MAX_RECIPIENTS_IN_RESULT = 1_000
#: Campaign ids that the result names.
_SHOWN_CAMPAIGNS = 50


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
    Read the status of each recipient of a campaign, or of all campaigns of a send: delivered, read, or failed and why.

    WATI lists 100 recipients per call, so a campaign of 10,000 takes 100 calls at the pace of the plan.

    .. code-block:: python

        WatiGetCampaignRecipientsOperator(
            task_id="recipients",
            campaign_id="66b1fb044045cedb1f195390",
            destination="s3://reports/{{ ds }}.csv",
        )

    With ``summary`` and the outcomes of the send, it writes one line for each row of the send, from the outcome of the row to
    the status of its message:

    .. code-block:: python

        WatiGetCampaignRecipientsOperator(
            task_id="deliveries",
            summary=send.output,
            destination="s3://reports/{{ ds }}.csv",
        )

    :param campaign_id: one campaign: the id that a template send returned as ``campaigns[n]["id"]`` (templated).
    :param summary: the result of a template send, in place of it (templated). All campaigns of the send are found by its
        mark, also those that the summary does not name.
    :param channel: name or number of the channel of the send, if that is not the connection's (templated).
    :param outcomes: the outcomes file of the send, if that is not the one that the summary names (templated).
    :param outcomes_table: the outcomes table of the send, in place of a file (templated); the one that the summary names, if
        left out.
    :param outcomes_conn_id: the database of that table (templated).
    :param destination: the file to write, one line for each recipient or row: a local path or an object-storage URI that
        ends in ``.csv``, ``.jsonl`` or ``.parquet`` (templated). Without it they are in the result, up to 1,000 of them.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``total``, ``statuses`` (the count of each status), and ``destination`` or ``recipients``. Of a campaign also
        ``campaign_id``. Of a send also ``send_key``, ``campaigns`` (ids, 50 at most), ``more_campaigns``, and ``missing``
        (messages that WATI accepted and does not list). With outcomes, ``total`` counts rows, which are ``rows`` without a
        destination; it is the sum of ``statuses`` and ``without_delivery``. ``listed`` counts recipients; it is the sum of
        ``statuses``, ``repeated`` (of a row that has another recipient) and ``unmatched`` (of no row). Where a message of no
        row may have reached the person of a row that failed, that row is in ``without_delivery``, not in ``failed``.
    :raises WatiNotFoundError: when WATI does not know a campaign, or no longer.
    :raises WatiValidationError: for an argument that cannot be right, outcomes that are not those of the summary, or more
        than 1,000 lines without a destination.
    :raises WatiConfigurationError: when the outcomes table cannot be read.
    """

    template_fields: Sequence[str] = (
        "campaign_id",
        "summary",
        "channel",
        "outcomes",
        "outcomes_table",
        "outcomes_conn_id",
        "destination",
        "wati_conn_id",
    )

    def __init__(
        self,
        *,
        campaign_id: str | None = None,
        summary: Mapping[str, Any] | None = None,
        channel: str | None = None,
        outcomes: str | None = None,
        outcomes_table: str | None = None,
        outcomes_conn_id: str | None = None,
        destination: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign_id = campaign_id
        self.summary = summary
        self.channel = channel
        self.outcomes = outcomes
        self.outcomes_table = outcomes_table
        self.outcomes_conn_id = outcomes_conn_id
        self.destination = destination

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.operators._files import check_table
        from airflow_provider_wati.sending.send_summary import SendSummary

        has_outcomes = self.outcomes is not None or self.outcomes_table is not None
        if (self.campaign_id is None) == (self.summary is None):
            raise WatiValidationError("Give either campaign_id or summary.")
        if self.campaign_id is not None and has_outcomes:
            raise WatiValidationError(
                "Outcomes are those of a send: give its summary in place of campaign_id."
            )
        if self.destination is not None:
            check_table(self.destination)
        if self.campaign_id is not None:
            return self._read_campaign(self.campaign_id)
        send = SendSummary.of(self.summary)
        outcomes = self._outcomes_of(send, context)
        result = self._read_send(send) if outcomes is None else self._read_rows(send, outcomes)
        if result["missing"]:
            self.log.warning(
                "WATI accepted %s messages of the send %r that its campaigns do not list.",
                f"{result['missing']:,}",
                send.send_key,
            )
        self.log.info("Send %s: %s", send.send_key, result["statuses"])
        return result

    def _read_campaign(self, campaign_id: str) -> dict[str, Any]:
        statuses: Counter[str] = Counter()
        found = self.hook.client.iter_campaign_recipients(campaign_id)
        kept = self._keep(_counted(found, statuses), RECIPIENT_COLUMNS, f"Campaign {campaign_id}")
        self.log.info("Campaign %s: %s", campaign_id, dict(statuses))
        return {"campaign_id": campaign_id, **kept, "total": statuses.total(), "statuses": dict(statuses)}

    def _read_send(self, send: SendSummary) -> dict[str, Any]:
        """Read the recipients of all campaigns of a send."""
        campaigns = self._campaigns_of(send, send.campaigns)
        statuses: Counter[str] = Counter()
        rows = (
            (*row, id, name)
            for id, name in campaigns.items()
            for row in _counted(self._recipients_of(send, id, name), statuses)
        )
        kept = self._keep(rows, (*RECIPIENT_COLUMNS, "campaign_id", "campaign_name"), f"Send {send.send_key}")
        missing = max(send.accepted - statuses.total(), 0)
        return {
            **_named(send, campaigns),
            **kept,
            "total": statuses.total(),
            "statuses": dict(statuses),
            "missing": missing,
        }

    def _read_rows(self, send: SendSummary, outcomes: _Rows) -> dict[str, Any]:
        """Join the outcomes of a send to the recipients of its campaigns."""
        from airflow_provider_wati.sending.delivery_rows import DELIVERED_COLUMNS, DeliveryRows

        with closing(DeliveryRows(self.hook.default_region)) as rows:
            with outcomes as outcome_rows:
                rows.add_outcomes(outcome_rows)
            self._check_outcomes(send, rows.statuses())
            campaigns = self._campaigns_of(send, {**send.campaigns, **rows.campaigns()})
            for id, name in campaigns.items():
                rows.add_recipients(id, name, self._recipients_of(send, id, name))
            rows.join()
            kept = self._keep(rows.rows(), DELIVERED_COLUMNS, f"Send {send.send_key}", "rows")
            counts = rows.counts()
        if counts["unmatched"]:
            self.log.warning(
                "WATI lists %s messages of the send %r that belong to no row of its outcomes, such as those of earlier "
                "attempts whose rows are gone.",
                f"{counts['unmatched']:,}",
                send.send_key,
            )
        return {**_named(send, campaigns), **kept, **counts}

    def _outcomes_of(self, send: SendSummary, context: Context) -> _Rows | None:
        """Return the outcomes of a send; None if it has kept none."""
        from airflow_provider_wati.operators._files import is_table_file, open_rows

        if self.outcomes is not None and self.outcomes_table is not None:
            raise WatiValidationError("Give either outcomes or outcomes_table.")
        path, table = self.outcomes, self.outcomes_table
        if path is None and table is None and send.outcomes:
            path, table = (send.outcomes, None) if is_table_file(send.outcomes) else (None, send.outcomes)
        if path is not None:
            return open_rows(path)
        if table is None:
            return None
        if not self.outcomes_conn_id:
            raise WatiValidationError(
                f"The outcomes of this send are in the table {table!r}: give its database as outcomes_conn_id."
            )
        from airflow_provider_wati.operators._sql import OutcomesTable, hook_of
        from airflow_provider_wati.tables.outcomes import SEND_COLUMNS

        stored = OutcomesTable(hook_of(self.outcomes_conn_id), table, ("send_key", *SEND_COLUMNS))
        ti = context["ti"]
        return closing(stored.read(send.send_key, (ti.dag_id, ti.run_id)))

    def _check_outcomes(self, send: SendSummary, counts: Mapping[str, int]) -> None:
        """Refuse the outcomes of another send or attempt, whose rows would seem to have got nothing."""
        other = [name for name in counts if send.counts.get(name, counts[name]) != counts[name]]
        if other:
            raise WatiValidationError(
                f"The outcomes are not those of the summary: they have {counts[other[0]]:,} {other[0]}, and the summary "
                f"{send.counts[other[0]]:,}. Give the outcomes that this send has written last, in a file or table of its own."
            )
        if self.destination is None and counts["total"] > MAX_RECIPIENTS_IN_RESULT:
            raise _too_many(f"Send {send.send_key}", "rows")

    def _campaigns_of(self, send: SendSummary, known: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return the names of all campaigns of a send by id: those that are known, and those that WATI lists."""
        from airflow_provider_wati.sending.send_summary import find_campaigns

        found = find_campaigns(self.hook.client, self.channel, send.send_key, self.clock)
        return {**known, **found}

    def _recipients_of(
        self, send: SendSummary, campaign_id: str, campaign_name: str | None
    ) -> Iterator[CampaignRecipient]:
        try:
            yield from self.hook.client.iter_campaign_recipients(campaign_id)
        except (WatiNotFoundError, WatiBadRequestError) as error:
            raise type(error)(
                f"WATI does not give the recipients of campaign {campaign_id} ({mask_numbers(str(campaign_name))}) of the send "
                f"{send.send_key!r}: it may have been deleted in WATI, and then nothing tells whether its messages were "
                f"delivered. {error}",
                status_code=error.status_code,
                wati_message=error.wati_message,
            ) from error

    def _keep(
        self, rows: Iterator[Sequence[Any]], columns: Sequence[str], whose: str, what: str = "recipients"
    ) -> dict[str, Any]:
        """Write rows to the destination; without one, return them for the result."""
        from airflow_provider_wati.operators._files import open_table

        if self.destination is not None:
            with open_table(self.destination, columns) as write:
                write(rows)
            return {"destination": self.destination}
        kept = [dict(zip(columns, row, strict=True)) for row in islice(rows, MAX_RECIPIENTS_IN_RESULT + 1)]
        if len(kept) > MAX_RECIPIENTS_IN_RESULT:
            raise _too_many(whose, what)
        return {what: kept}


def _too_many(whose: str, what: str) -> WatiValidationError:
    return WatiValidationError(
        f"{whose} has more than {MAX_RECIPIENTS_IN_RESULT:,} {what}: give a destination for them."
    )


def _named(send: SendSummary, campaigns: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the part of a result that names the send and its campaigns."""
    return {
        "send_key": send.send_key,
        "campaigns": list(campaigns)[:_SHOWN_CAMPAIGNS],
        "more_campaigns": max(len(campaigns) - _SHOWN_CAMPAIGNS, 0),
    }


def _counted(recipients: Iterable[CampaignRecipient], statuses: Counter[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of recipients, and count their statuses."""
    for recipient in recipients:
        statuses[recipient.get("status") or "unknown"] += 1
        # The client gives text or None for each of these, so that every format of file can hold them.
        yield tuple(recipient.get(name) for name in RECIPIENT_COLUMNS)


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
    from airflow_provider_wati.sending.reconciler import is_cancelled

    try:
        return is_cancelled(client.get_campaign(campaign_id).get("status"))
    except WatiNotFoundError:
        return False
