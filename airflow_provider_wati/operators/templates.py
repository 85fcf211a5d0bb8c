"""Template messages: what may be sent to people who have not written lately."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.exceptions import (
    WatiError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiValidationError,
)
from airflow_provider_wati.operators.base import WatiOperator, send_key_of, shown

if TYPE_CHECKING:
    from airflow.sdk import Context


class WatiSendTemplateOperator(WatiOperator):
    """
    Send an approved template to one person or to many, each with their own parameters.

    Each person is messaged once, through retries and Clear: a try after the first reads WATI's campaigns back
    and sends only what is not there. To send the same again on purpose, give another ``send_key``.

    .. code-block:: python

        WatiSendTemplateOperator(
            task_id="tell_customers",
            template_name="order_update",
            recipients=[
                {
                    "phone_number": "85264318722",
                    "params": {"name": "Ada", "order_id": "1001", "status": "packed"},
                },
            ],
        )

    .. warning::
        Green means that WATI accepted every message, which is not yet to say that it was delivered.

    :param template_name: the exact name of an approved template (templated).
    :param recipients: one dict, a list of them, or either as a JSON string (templated; Airflow stores the
        number of rows only). Each has ``target`` (phone number, contact id or BSUID) or ``phone_number``,
        ``params`` (a dict of texts) or ``custom_params`` (WATI's list), maybe ``local_message_id`` (10 to 64
        characters), and maybe ``key``, which makes two messages to one person distinct. Any number of them;
        10,000 go in one call, which is WATI's limit.
    :param broadcast_name: what the campaign is called in WATI (templated); the template's name if left out. A
        mark such as ``[1f3870be-1]`` is added, by which a later try finds it.
    :param channel: name or number to send from (templated); the connection's, else WATI's default.
    :param send_key: names this send (templated). The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``send_key``, the counts ``total``, ``accepted``, ``rejected``, ``unknown`` and ``unsent``, ``broadcasts``
        (``id``, ``name``, ``accepted`` each), ``calls``, ``seconds`` and the first 20 ``problems``. Pushed to
        XCom also when the task fails.
    :raises WatiValidationError: before anything is sent, for a recipient that cannot be right, by its number.
    :raises WatiRejectedError: when WATI refused one message or more, with its reasons.
    :raises WatiUnknownOutcomeError: when nobody can tell whether a batch went out; the next try looks.
    """

    template_fields: Sequence[str] = (
        "template_name",
        "recipients",
        "broadcast_name",
        "channel",
        "send_key",
        "wati_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipients": "json"}
    unshown_fields: ClassVar[Sequence[str]] = ("recipients",)

    def __init__(
        self,
        *,
        template_name: str,
        recipients: Any,
        broadcast_name: str | None = None,
        channel: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template_name = template_name
        self.recipients = recipients
        self.broadcast_name = broadcast_name
        self.channel = channel
        self.send_key = send_key

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.bulk.ledger import Ledger
        from airflow_provider_wati.bulk.send import TemplateSend, parse_recipients

        rows = parse_recipients(shown(self.recipients))
        send_key = send_key_of(context, self.send_key)
        ledger = Ledger(context.get("task_state_store"), send_key)
        send = TemplateSend(
            self.hook.client,
            self.template_name,
            self.broadcast_name or self.template_name,
            send_key,
            ledger,
            self.channel,
            self._scheduled_at(),
        )
        # A key that the user gave may be another run's too, and then WATI alone knows.
        sent_before = ledger.known_before or context["ti"].try_number > 1 or self.send_key is not None
        try:
            send.run(rows, sent_before=sent_before)
        except WatiError:
            if send.recipients:
                context["ti"].xcom_push("return_value", send.summary())
            raise
        summary = send.summary()
        self.log.info("WATI accepted %d of %d messages.", summary["accepted"], summary["total"])
        if summary["accepted"] < summary["total"]:
            context["ti"].xcom_push("return_value", summary)
            raise WatiRejectedError(_refusals(summary))
        return summary

    def _scheduled_at(self) -> datetime | None:
        return None


class WatiScheduleTemplateOperator(WatiSendTemplateOperator):
    """
    Let WATI send an approved template at a later time, to one person or to many.

    The rest is as for :class:`WatiSendTemplateOperator`: each person is scheduled once, through retries and
    Clear. ``WatiCancelScheduledCampaignOperator`` takes a campaign back before its time.

    .. code-block:: python

        WatiScheduleTemplateOperator(
            task_id="remind",
            template_name="order_update",
            recipients=[
                {
                    "phone_number": "85264318722",
                    "params": {"name": "Ada", "order_id": "1001", "status": "due"},
                }
            ],
            scheduled_at="{{ dag_run.run_after + macros.timedelta(hours=3) }}",
        )

    :param scheduled_at: when, as a datetime with a time zone or as ISO 8601 text with an offset, such as
        ``2026-12-24T10:00:00+08:00`` (templated). WATI gets it in UTC. One in the past is refused, unless
        nothing is left to schedule.
    :param template_name: as for :class:`WatiSendTemplateOperator`, like all that follow.
    :param recipients: whom, and with which parameters.
    :param broadcast_name: what the campaign is called in WATI.
    :param channel: name or number to send from.
    :param send_key: names this send.
    :param wati_conn_id: the connection of type ``wati``.
    :raises WatiValidationError: before anything is sent, for a time without a zone or in the past.
    """

    template_fields: Sequence[str] = (*WatiSendTemplateOperator.template_fields, "scheduled_at")

    def __init__(
        self,
        *,
        template_name: str,
        recipients: Any,
        scheduled_at: datetime | str,
        broadcast_name: str | None = None,
        channel: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            template_name=template_name,
            recipients=recipients,
            broadcast_name=broadcast_name,
            channel=channel,
            send_key=send_key,
            **kwargs,
        )
        self.scheduled_at = scheduled_at

    def _scheduled_at(self) -> datetime:
        at: datetime | None
        try:
            at = (
                datetime.fromisoformat(self.scheduled_at)
                if isinstance(self.scheduled_at, str)
                else self.scheduled_at
            )
        except ValueError:
            at = None
        if not isinstance(at, datetime):
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at!r}: give ISO 8601, such as 2026-12-24T10:00:00+08:00."
            )
        if at.utcoffset() is None:
            raise WatiValidationError(
                f"scheduled_at is {at.isoformat()}, without a time zone: add one, such as {at.isoformat()}+08:00."
            )
        return at


class WatiGetTemplateOperator(WatiOperator):
    """
    Look up a template: its text, its parameters, whether it is approved.

    .. code-block:: python

        WatiGetTemplateOperator(task_id="template", template_name="order_update")

    :param template_id: the id of the template (templated).
    :param template_name: its exact name, in place of the id (templated); costs one call for each 100 templates.
        Of several with that name (in several languages, say), an approved one is taken.
    :param channel: name or number of the channel whose templates are looked through (templated); the
        connection's, else WATI's default.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the template: ``id``, ``name``, ``status``, ``custom_params`` (the names a send must give values
        for), ``body`` and what else WATI tells.
    :raises WatiValidationError: when neither or both of id and name are given.
    :raises WatiNotFoundError: when there is no such template.
    """

    template_fields: Sequence[str] = ("template_id", "template_name", "channel", "wati_conn_id")

    def __init__(
        self,
        *,
        template_id: str | None = None,
        template_name: str | None = None,
        channel: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template_id = template_id
        self.template_name = template_name
        self.channel = channel

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client
        if bool(self.template_id) == bool(self.template_name):
            raise WatiValidationError("Give either template_id or template_name.")
        if self.template_id:
            return dict(client.get_template(self.template_id))
        named = [
            each for each in client.iter_templates(self.channel) if each.get("name") == self.template_name
        ]
        if not named:
            raise WatiNotFoundError(
                f"WATI has no template {self.template_name!r} on the channel {self.channel or client.channel or 'default'!r}."
            )
        approved = [each for each in named if each.get("status") == "APPROVED"]
        return dict((approved or named)[0])


def _refusals(summary: dict[str, Any]) -> str:
    reasons = "; ".join(f"row {p['row']} ({p['target']}): {p['reason']}" for p in summary["problems"][:5])
    return f"WATI refused {summary['rejected']} of {summary['total']} messages: {reasons}"
