"""Wait for what becomes of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sensors._base import WatiSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.waiting.condition import Condition

_ON_TIMEOUT = ("fail", "return")


class WatiCampaignSensor(WatiSensor):
    """
    Wait until the recipients of a campaign, or of all campaigns of a send, have reached a stage.

    Recipients whose message failed count as finished, and are held against ``failure_threshold``; too many of them end the
    wait at once. A status that is not known is not finished yet.

    .. code-block:: python

        WatiCampaignSensor(
            task_id="wait_for_delivery",
            summary=send.output,
            until="delivered",
            share=0.95,
            failure_threshold=0.05,
            timeout=timedelta(hours=6),
            deferrable=True,
        )

    :param campaign_id: one campaign (templated).
    :param summary: the result of a template send, in place of it (templated). All campaigns of the send are found by its
        mark, also those that the summary does not name.
    :param until: ``sent``, ``delivered``, ``read`` or ``replied`` (templated); each includes the stages after it.
    :param share: the part of the recipients that must have finished, above 0 and up to 1.
    :param failure_threshold: the part of the recipients that may fail, from 0 to 1. A campaign that nobody got fails always.
    :param on_timeout: ``fail``, or ``return`` for the counts at that time, with ``timed_out`` true; the latter does not go
        with ``soft_fail`` or ``never_fail``.
    :param channel: name or number of the channel of the send, if that is not the connection's (templated).
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks, 300 by default. A look costs one call for each campaign.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``until``, ``total``, ``reached``, ``failed``, ``waiting``, ``unknown_statuses``, ``campaigns`` (ids, 50 at
        most), ``more_campaigns``, ``timed_out``.
    :raises WatiNotFoundError: when WATI does not know a campaign, or no longer.
    :raises WatiValidationError: for an argument that cannot be right.
    :raises AirflowFailException: when too many messages have failed.
    :raises AirflowSensorTimeout: when ``timeout`` is over.
    """

    template_fields: Sequence[str] = ("campaign_id", "summary", "until", "channel", "wati_conn_id")
    trigger_name = "airflow_provider_wati.triggers.campaigns.WatiCampaignTrigger"

    def __init__(
        self,
        *,
        campaign_id: str | None = None,
        summary: Mapping[str, Any] | None = None,
        until: str = "sent",
        share: float = 1.0,
        failure_threshold: float = 0.0,
        on_timeout: str = "fail",
        channel: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_timeout not in _ON_TIMEOUT:
            raise WatiValidationError(f"on_timeout is {on_timeout!r}: give one of {', '.join(_ON_TIMEOUT)}.")
        if on_timeout == "return" and (self.soft_fail or self.never_fail):
            raise WatiValidationError(
                "on_timeout='return' does not go with soft_fail or never_fail: give one of them."
            )
        self.campaign_id = campaign_id
        self.summary = summary
        self.until = until
        self.share = share
        self.failure_threshold = failure_threshold
        self.on_timeout = on_timeout
        self.channel = channel

    def _condition(self, context: Context) -> Condition:
        from airflow_provider_wati.waiting.campaigns import campaign_condition

        return campaign_condition(
            campaign_id=self.campaign_id,
            summary=self.summary,
            until=self.until,
            share=self.share,
            failure_threshold=self.failure_threshold,
            channel=self.channel,
        )

    def _after_timeout(self, error: Exception, context: Context, result: Mapping[str, Any] | None) -> Any:
        if self.on_timeout == "fail":
            raise error
        self.log.warning("%s The counts are returned.", error)
        return {**(result or self._condition(context).unseen()), "timed_out": True}
