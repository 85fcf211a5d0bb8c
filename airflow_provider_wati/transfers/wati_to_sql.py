"""From WATI to a database: contacts, messages and the recipients of campaigns as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.transfers._extract import (
    CampaignRecipientsSource,
    ContactsSource,
    ExtractOperator,
    MessagesSource,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Context

    from airflow_provider_wati.extracting.rows import Extract, Row, State
    from airflow_provider_wati.state.directory import StateDirectory
    from airflow_provider_wati.transfers._extract_table import ExtractTable
    from airflow_provider_wati.transfers._status_feed import StatusFeed


class _Store(Protocol):
    def load(self) -> State: ...

    def save(self, state: State) -> None: ...

    def clear(self) -> None: ...


class _ToSql(ExtractOperator):
    """
    Base of the transfers to a database.

    :param table: the table (templated).
    :param sql_conn_id: the database (templated).
    """

    template_fields: Sequence[str] = ("table", "sql_conn_id", *ExtractOperator.template_fields)

    def __init__(self, *, table: str, sql_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.sql_conn_id = sql_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.extracting.job import extract
        from airflow_provider_wati.operators._sql import hook_of
        from airflow_provider_wati.transfers._extract_table import ExtractTable

        began = self.clock.monotonic()
        is_full = self.is_full
        source = self._source()
        hook = hook_of(self.sql_conn_id)
        table = ExtractTable(hook, self.table, source.entity, self._chosen(source), is_full=is_full)
        table.prepare()
        store = self._store(hook, source, context) if self.has_watermark else None
        state = store.load() if store else {}
        if store and table.is_empty():
            # Forgotten before the first row is written: after a kill, the table is not empty any more.
            state = {}
            store.clear()
        feed = self._feed(source)
        if is_full:
            state = {**source.forget(state), **(feed.skip(state) if feed else {})}
        elif feed:
            feed.begin(source, state)
        rows = _Rows(table, store, state)
        try:
            listed = extract(source, state, rows, self.clock)
        except WatiError:
            if feed and feed.can_finish_after_error(source):
                feed.finish(table, rows.state, rows.remember)
            raise
        if feed:
            feed.finish(table, rows.state, rows.remember)
        return {
            "table": self.table,
            "listed": listed,
            **asdict(table.counts),
            **({"received": feed.received, "received_updated": feed.updated} if feed else {}),
            "skipped": source.skipped,
            "seconds": round(self.clock.monotonic() - began, 1),
        }

    def _feed(self, source: Any) -> StatusFeed | None:
        """Return what brings received statuses to the table; None where there are none."""
        return None

    def _store(self, hook: DbApiHook, source: Extract, context: Context) -> _Store:
        from airflow_provider_wati.transfers._watermark_table import WatermarkTable

        if self.state_path is None:
            return WatermarkTable(hook, self.table, self._account)
        from airflow_provider_wati.state.directory import StateDirectory

        key = self._state_key(source, context, f"{self.sql_conn_id}\n{self.table}")
        return _DirectoryStore(StateDirectory(self.state_path), key)


class _Rows:
    """Writes rows, and remembers after the commit how far they came."""

    def __init__(self, table: ExtractTable, store: _Store | None, state: State) -> None:
        self._table = table
        self._store = store
        #: What is remembered now.
        self.state = state

    def write(self, rows: Sequence[Row]) -> None:
        self._table.write(rows)

    def remember(self, state: State) -> None:
        self.state = state
        if self._store is not None:
            self._store.save(state)


class _DirectoryStore:
    """Keeps the state in the user's directory."""

    def __init__(self, directory: StateDirectory, key: str) -> None:
        self._directory = directory
        self._key = key

    def load(self) -> State:
        stored = self._directory.get(self._key)
        if stored is not None and not isinstance(stored, dict):
            raise WatiConfigurationError(
                f"{self._directory.path_of(self._key)} is not a watermark that was written there: remove it, and the next "
                "run reads everything."
            )
        return dict(stored or {})

    def save(self, state: State) -> None:
        self._directory.set(self._key, state)

    def clear(self) -> None:
        # Other tasks that fill the table have their own files, which nothing here names.
        if self.load():
            self.save({})


class WatiContactsToSqlOperator(_ToSql, ContactsSource):
    """
    Bring all contacts into a table, with what they have consented to.

    WATI lists contacts without a filter, so each run reads the whole list, 100 contacts a call, and writes the rows that
    have changed.

    .. code-block:: python

        WatiContactsToSqlOperator(task_id="contacts", table="wati_contacts", sql_conn_id="warehouse")

    :param table: the table, with its schema if it needs one (templated). It is created if it does not exist.
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to write every row, also those that have not changed (templated).
    :param state_path: without effect, because there is nothing to remember (templated); the other transfers have it.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``table``, ``listed`` (rows that WATI gave), of which ``inserted``, ``updated``, ``unchanged``; ``skipped``
        (objects without an id) and ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist, or a name that is not one of a
        table.
    :raises WatiConfigurationError: before anything is read, when the table has other columns or cannot be written.
    """

    template_fields: Sequence[str] = _ToSql.template_fields


class WatiMessagesToSqlOperator(_ToSql, MessagesSource):
    """
    Bring the messages of all conversations into a table, both ways.

    The first run reads everything; the next ones read what has come since the watermark, less an hour.

    .. code-block:: python

        WatiMessagesToSqlOperator(task_id="messages", table="wati_messages", sql_conn_id="warehouse")

    :param table: the table, with its schema if it needs one (templated). It is created if it does not exist.
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to read everything again (templated); each row is then as WATI has it now.
    :param state_path: a directory or object-storage URI that all workers reach, for the watermark (templated). Without it,
        the watermark is in the table ``<table>_watermark`` of the same database.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``table``, ``listed`` (rows that WATI gave), of which ``inserted``, ``updated``, ``unchanged``; ``skipped``
        (objects without an id) and ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist, or a name that is not one of a
        table.
    :raises WatiConfigurationError: before anything is read, when the table has other columns or cannot be written.
    :raises WatiError: at the end, when some conversations could not be read; the watermark stays then.
    """

    template_fields: Sequence[str] = _ToSql.template_fields


class WatiCampaignRecipientsToSqlOperator(_ToSql, CampaignRecipientsSource):
    """
    Bring the recipients of campaigns into a table, with how far each message has come.

    A status only climbs: a read implies delivered, and a failure is final. The recipients of a campaign are read
    when its statistics have changed, for 31 days. Where the connection has a ``webhook_secret``, the statuses that Airflow's
    receiver has stored go into the rows too, and while they come in, the statistics of a campaign are read every 6 hours
    at most.

    .. code-block:: python

        WatiCampaignRecipientsToSqlOperator(
            task_id="recipients", table="wati_campaign_recipients", sql_conn_id="warehouse"
        )

    :param table: the table, with its schema if it needs one (templated). It is created if it does not exist.
    :param sql_conn_id: the database: a connection of any provider whose hook is a ``DbApiHook`` (templated).
    :param campaigns: an id, a list of ids, or the ``campaigns`` of the summary of a send (templated); None for all
        campaigns of the connection's channel.
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to read everything again (templated); each row is then as WATI has it now, so that a status may go
        back.
    :param state_path: a directory or object-storage URI that all workers reach, for the watermark (templated). Without it,
        the watermark is in the table ``<table>_watermark`` of the same database.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``table``, ``listed`` (rows that WATI gave), of which ``inserted``, ``updated``, ``unchanged``; with a receiver
        ``received`` (statuses that it gave) and ``received_updated`` (rows that they changed); ``skipped`` (objects without
        an id) and ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist, or a name that is not one of a
        table.
    :raises WatiConfigurationError: before anything is read, when the table has other columns or cannot be written.
    :raises WatiNotFoundError: when WATI does not know one of ``campaigns``.
    :raises WatiError: at the end, when some campaigns could not be read; the next run reads them again.
    """

    template_fields: Sequence[str] = ("campaigns", *_ToSql.template_fields)

    def _feed(self, source: Any) -> StatusFeed | None:
        from airflow_provider_wati.extracting.received_statuses import can_find
        from airflow_provider_wati.transfers._status_feed import StatusFeed

        columns = [column.name for column in self._chosen(source)]
        received = self.hook.received_statuses() if can_find(columns) else None
        return StatusFeed(received, self.clock) if received else None
