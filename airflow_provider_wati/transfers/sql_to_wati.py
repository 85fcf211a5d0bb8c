"""From a database to WATI: send to the people in a query, keep contacts in step with one."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.operators._base import unredacted
from airflow_provider_wati.operators._contact_sync import ContactSyncOperator
from airflow_provider_wati.operators._rows import RowsOperator
from airflow_provider_wati.operators._template_send import TableSendOperator
from airflow_provider_wati.state.task_context import loop_index

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.operators._rows import RowsJob
    from airflow_provider_wati.operators._sql import OutcomesTable
    from airflow_provider_wati.tables.values import Column, Row


class _SqlSource(RowsOperator):
    """
    Base of the transfers: the query that rows come from, and the table that outcomes go to.

    :param sql: one SELECT, or the path of a ``.sql`` file (templated).
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param parameters: the values of the placeholders, in the form of the driver (templated; Airflow stores only how
        many there are).
    :param sql_hook_params: arguments of the database hook.
    :param outcomes_table: a table that every row's outcome is written to, beside ``outcomes_path`` (templated).
        It is created if it does not exist.
    :param outcomes_conn_id: the database of that table (templated); ``sql_conn_id`` if left out.
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "outcomes_table",
        "outcomes_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    redacted_fields: ClassVar[Sequence[str]] = ("parameters",)

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        sql_hook_params: Mapping[str, Any] | None = None,
        outcomes_table: str | None = None,
        outcomes_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.sql_hook_params = sql_hook_params
        self.outcomes_table = outcomes_table
        self.outcomes_conn_id = outcomes_conn_id
        self._remember("outcomes_table", "outcomes_conn_id")

    def execute(self, context: Context) -> dict[str, Any]:
        summary: dict[str, Any] = super().execute(context)
        if not self.is_dry_run:
            self._report_written()
        return summary

    def _check(self, context: Context) -> None:
        super()._check(context)
        if self.outcomes_table is not None:
            self._table().create()

    @property
    @abstractmethod
    def _written_to(self) -> str:
        """The part of the account that rows are written to, as lineage names it."""

    def _query(self, wanted: Sequence[Column]) -> Generator[Row]:
        from airflow_provider_wati.operators._sql import hook_of, read_rows

        hook = hook_of(self.sql_conn_id, self.sql_hook_params)
        self.log.info("Reading the rows of %r.", self.sql_conn_id)
        return read_rows(hook, self.sql, unredacted(self.parameters), wanted)

    def _report_written(self) -> None:
        """Report to Airflow's lineage where the rows were written."""
        from airflow_provider_wati.operators._sql import report_written

        endpoint = self.hook.client.endpoint
        account = [endpoint.host, *([endpoint.tenant_id] if endpoint.tenant_id else [])]
        report_written(self.hook, f"wati://{'/'.join([*account, self._written_to])}")

    def _table(self) -> OutcomesTable:
        from airflow_provider_wati.operators._sql import OutcomesTable, hook_of

        conn_id = self.outcomes_conn_id or self.sql_conn_id
        hook = hook_of(conn_id, self.sql_hook_params if conn_id == self.sql_conn_id else None)
        return OutcomesTable(hook, str(self.outcomes_table), (self.key_name, *self.outcome_columns))

    @property
    def _outcomes_go_to(self) -> str | None:
        return self.outcomes_path or self.outcomes_table

    def _keep_outcomes(self, job: RowsJob, summary: Mapping[str, Any], context: Context) -> None:
        """Write the outcomes to the table too, in place of those of an earlier attempt."""
        super()._keep_outcomes(job, summary, context)
        if self.outcomes_table is not None:
            ti = context["ti"]
            task = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index, loop_index(context))
            key = summary[self.key_name]
            rows = ((key, *outcome) for outcome in job.outcome_rows())
            self._table().replace(task, rows)


class SqlToWatiTemplateOperator(_SqlSource, TableSendOperator):
    """
    Send an approved template to everybody in the result of a query.

    The rows are read to the end, and the connection to the database is closed, before the first message is sent.
    SQL that fails half-way sends nothing. Each attempt reads the rows again; a person who was messaged is not messaged
    again, whatever the order of the rows.

    .. code-block:: python

        SqlToWatiTemplateOperator(
            task_id="order_updates",
            sql_conn_id="warehouse",
            sql="SELECT id, phone, first_name FROM orders WHERE shipped_on = '{{ ds }}'",
            target_column="phone",
            template_name="order_update",
            param_columns={"name": "first_name", "order_id": "id"},
            template_params={"status": "on its way"},
            key_column="id",
            outcomes_table="order_messages",
        )

    :param sql: one SELECT, or the path of a ``.sql`` file (templated).
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param parameters: the values of the placeholders, in the form of the driver (templated; Airflow stores only how
        many there are).
    :param sql_hook_params: arguments of the database hook.
    :param target_column: the column with the phone number, contact id or BSUID.
    :param param_columns: ``{parameter of the template: column}``. Numbers, dates and booleans are written as
        text; NULL makes the row invalid.
    :param template_params: ``{parameter of the template: value}``, the same for everybody (templated).
    :param shard: the part of the people that this task sends to, as ``[index, count]`` with the index from 0 (templated);
        all if left out. Each task runs the whole query and keeps its part: see :doc:`/cluster`.
    :param outcomes_table: a table that every row's outcome is written to, beside ``outcomes_path`` (templated):
        ``dag_id``, ``task_id``, ``run_id``, ``map_index``, ``loop_index``, ``send_key``, ``source_row``, ``message_key``,
        ``target``, ``status``, ``reason``, ``local_message_id``, ``campaign_id``, ``campaign_name``,
        ``written_at``. It is created if it does not exist; a later attempt of the same task replaces its rows.
    :param outcomes_conn_id: the database of that table (templated); ``sql_conn_id`` if left out.
    :raises WatiValidationError: before anything is sent, when the query lacks a column, or ``outcomes_table`` is not the
        name of a table.
    :raises WatiConfigurationError: before anything is sent, when that table does not take a row of outcomes.

    The other parameters, the result and the errors are those of
    :class:`~airflow_provider_wati.operators._template_send.WatiBulkSendOperator`.
    """

    template_fields: Sequence[str] = (*_SqlSource.template_fields, *TableSendOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **_SqlSource.template_fields_renderers,
        **TableSendOperator.template_fields_renderers,
    }
    redacted_fields: ClassVar[Sequence[str]] = (
        *_SqlSource.redacted_fields,
        *TableSendOperator.redacted_fields,
    )

    @property
    def _written_to(self) -> str:
        return f"messageTemplates/{self.template_name}"

    def _rows(self, context: Context) -> Iterable[Row]:
        key = [] if self.key_column is None else [self.key_column]
        return self._query([self.target_column, *self.param_columns.values(), *key])


class SqlToWatiContactsOperator(_SqlSource, ContactSyncOperator):
    """
    Keep WATI's contacts in step with the result of a query: create new ones, update what changed.

    The rows are read to the end, and the connection to the database is closed, before the first call to
    WATI. SQL that fails half-way writes nothing.

    .. code-block:: python

        SqlToWatiContactsOperator(
            task_id="sync_contacts",
            sql_conn_id="warehouse",
            sql="SELECT phone, full_name, tier FROM customers WHERE consented",
            phone_column="phone",
            name_column="full_name",
            attribute_columns={"loyalty_tier": "tier"},
            state_path="s3://airflow-state/wati",
        )

    :param sql: one SELECT, or the path of a ``.sql`` file (templated).
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param parameters: the values of the placeholders, in the form of the driver (templated; Airflow stores only how
        many there are).
    :param sql_hook_params: arguments of the database hook.
    :param outcomes_table: a table that every row's outcome is written to, beside ``outcomes_path`` (templated):
        ``dag_id``, ``task_id``, ``run_id``, ``map_index``, ``loop_index``, ``sync_key``, ``source_row``, ``target``, ``status``,
        ``reason``, ``written_at``. It is created if it does not exist; a later attempt of the same task replaces its rows.
    :param outcomes_conn_id: the database of that table (templated); ``sql_conn_id`` if left out.
    :raises WatiValidationError: before anything is written, when the query lacks a column, or ``outcomes_table`` is not
        the name of a table.
    :raises WatiConfigurationError: before anything is written, when that table does not take a row of outcomes.

    The other parameters, the result and the errors are those of
    :class:`~airflow_provider_wati.operators._contact_sync.ContactSyncOperator`.
    """

    template_fields: Sequence[str] = (*_SqlSource.template_fields, *ContactSyncOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **_SqlSource.template_fields_renderers,
        **ContactSyncOperator.template_fields_renderers,
    }

    _written_to = "contacts"

    @contextlib.contextmanager
    def _rows(self, context: Context) -> Iterator[Iterable[Row]]:
        name = [] if self.name_column is None else [self.name_column]
        with contextlib.closing(
            self._query([self.phone_column, *name, *self.attribute_columns.values()])
        ) as rows:
            yield rows
