"""Template messages: what may be sent to people who have not written lately."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.exceptions import WatiNotFoundError, WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator, unredacted
from airflow_provider_wati.operators._template_send import TableSendOperator, WatiBulkSendOperator, rows_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.sending.row_mapping import RowMapping
    from airflow_provider_wati.tables.values import Row


class WatiSendTemplateOperator(WatiBulkSendOperator):
    """
    Send an approved template to one person or to many, each with their own parameters.

    Each person is messaged once, through retries, crashes and Clear. To send the same again on purpose, give
    another ``send_key``.

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
        Green means that WATI accepted the messages, which is not yet to say that they were delivered.

    :param recipients: one dict, a list of them, or either as a JSON string (templated; Airflow stores the
        number of rows only). Each has ``target`` (phone number, contact id or BSUID) or ``phone_number``,
        ``params`` (a dict) or ``custom_params`` (WATI's list), maybe ``local_message_id`` (10 to 64 letters,
        digits, ``-`` and ``_``), and maybe ``key``, which makes two messages to one person distinct. Any number
        of them.

    The other parameters, the result and the errors are those of :class:`WatiBulkSendOperator`.
    """

    template_fields: Sequence[str] = ("recipients", *WatiBulkSendOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipients": "json"}
    redacted_fields: ClassVar[Sequence[str]] = ("recipients", *WatiBulkSendOperator.redacted_fields)

    def __init__(self, *, template_name: str, recipients: Any, **kwargs: Any) -> None:
        super().__init__(template_name=template_name, **kwargs)
        self.recipients = recipients

    def _rows(self, context: Context) -> Iterable[Row]:
        from airflow_provider_wati.tables.readers import rows_given

        return rows_given(unredacted(self.recipients), "recipients")

    def _mapping(self) -> RowMapping:
        from airflow_provider_wati.sending.row_mapping import map_recipient

        return map_recipient


class WatiScheduleTemplateOperator(WatiSendTemplateOperator):
    """
    Let WATI send an approved template at a later time, to one person or to many.

    Each person is scheduled once, through retries and Clear. ``WatiCancelScheduledCampaignOperator`` takes a
    campaign back before its time.

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

    The other parameters are those of :class:`WatiSendTemplateOperator`.
    """

    def __init__(
        self, *, template_name: str, recipients: Any, scheduled_at: datetime | str, **kwargs: Any
    ) -> None:
        super().__init__(
            template_name=template_name, recipients=recipients, scheduled_at=scheduled_at, **kwargs
        )

    def _scheduled_at(self) -> datetime | None:
        # A template that renders to nothing must not turn a schedule into a send.
        if self.scheduled_at is None:
            raise WatiValidationError(
                "scheduled_at is None: give ISO 8601, such as 2026-12-24T10:00:00+08:00."
            )
        return super()._scheduled_at()


class WatiBroadcastTemplateOperator(TableSendOperator):
    """
    Send an approved template to everybody in a table: columns hold the targets and the parameters.

    .. code-block:: python

        WatiBroadcastTemplateOperator(
            task_id="order_updates",
            template_name="order_update",
            rows="s3://exports/orders/{{ ds }}.parquet",
            target_column="phone",
            param_columns={"name": "first_name", "order_id": "id"},
            template_params={"status": "on its way"},
            key_column="id",
            outcomes_path="s3://exports/outcomes/{{ ds }}.csv",
        )

    ``.partial(...).expand(rows=...)`` sends each chunk in a task of its own; a person who is in two chunks is
    messaged by both. ``.partial(...).expand(shard=[[n, 8] for n in range(8)])`` divides one table by its people.

    :param rows: a list of dicts (or of tuples, with numbers from 0 for columns), one dict, either as a JSON
        string, the output of an upstream task, or the URI of a file that ends in ``.csv``, ``.jsonl`` or
        ``.parquet`` (templated; Airflow stores the number of rows, or the URI).
    :param target_column: the column with the phone number, contact id or BSUID. Numbers may be spelled with ``+``, spaces
        and dashes; those without a country code are read by the connection's ``default_region``.
    :param param_columns: ``{parameter of the template: column}``. Numbers, dates and booleans are written as
        text; NULL makes the row invalid.
    :param template_params: ``{parameter of the template: value}``, the same for everybody (templated).

    :param key_column: the column that makes two messages to one person distinct, such as an order id. Without it a
        person who comes twice is messaged once. If some rows have a key, those without one are invalid.
    :param shard: the part of the people that this task sends to, as ``[index, count]`` with the index from 0 (templated);
        all if left out. A hash of the person decides: see :doc:`/cluster`.

    The other parameters, the result and the errors are those of :class:`WatiBulkSendOperator`.
    """

    template_fields: Sequence[str] = ("rows", *TableSendOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "rows": "json",
        **TableSendOperator.template_fields_renderers,
    }
    redacted_fields: ClassVar[Sequence[str]] = ("rows", *TableSendOperator.redacted_fields)

    def __init__(self, *, rows: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows

    def _rows(self, context: Context) -> Iterable[Row]:
        return rows_of(unredacted(self.rows), "rows")


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
        from airflow_provider_wati.sending.prechecks import find_template

        client = self.hook.client
        if bool(self.template_id) == bool(self.template_name):
            raise WatiValidationError("Give either template_id or template_name.")
        if not self.template_name:
            return dict(client.get_template(str(self.template_id)))
        found = find_template(client, self.template_name, self.channel)
        if isinstance(found, WatiNotFoundError):
            raise found
        return dict(found)
