"""The base of the operators that keep WATI's contacts in step with a table."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_wati.operators._rows import RowsOperator
from airflow_provider_wati.state.directory import StateFile, key_of, state_directory
from airflow_provider_wati.state.lock import locked
from airflow_provider_wati.tables.outcomes import SYNC_COLUMNS, SyncStatus

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from airflow.sdk import Context

    from airflow_provider_wati.syncing.job import ContactSync
    from airflow_provider_wati.tables.values import Row


class ContactSyncOperator(RowsOperator):
    """
    Base of the operators that keep WATI's contacts in step with rows.

    A snapshot under ``state_path`` holds what was written, so that unchanged rows cost no call. See :doc:`/sync`.

    :param phone_column: the column with the phone number (templated); one that occurs in several rows, also in two
        spellings of Brazil, Mexico or Argentina, makes all of them invalid.
    :param name_column: the column with the name that a new contact gets (templated); None where no
        contact is to be created. WATI's API cannot change a name; the outcomes report one that differs.
    :param attribute_columns: ``{attribute in WATI: column}`` (templated). Values become text by one rule; NULL and
        empty text mean no value. Consent (``allow_broadcast`` and the like) is refused.
    :param mode: ``upsert``; ``update``, which creates nobody; ``insert``, which changes nobody (templated).
    :param on_removed: for people that this sync has written and that are no longer in the rows: ``ignore``, or
        ``clear`` to empty the mapped attributes, which needs a ``state_path`` (templated).
    :param sync_key: names the sync and its snapshot (templated). The default is ``<dag_id>/<task_id>``.
    :param dry_run: whether to do everything but write; the summary's ``plan`` counts what would be written.
    :param failure_threshold: the share of rows, 0 to 1, that may end rejected, invalid, unknown or unsent
        before the task fails.
    :param outcomes_path: where every row's outcome is written: a local path or an object-storage URI ending in
        ``.csv``, ``.jsonl`` or ``.parquet`` (templated).
    :param state_path: a directory or object-storage URI that all workers reach, for the snapshot (templated);
        else the option ``[wati] state_path``. Without either, all of WATI's contacts are listed in each run.
    :param max_removed: the share, 0 to 1, of the people written so far that ``clear`` may empty in one run; with more,
        nothing is written.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``sync_key``; ``rows_read``; ``total``, which is that and the people who are no longer in the rows and
        were to be cleared; its parts ``created``, ``updated``, ``unchanged``, ``cleared``, ``invalid``, ``rejected``,
        ``skipped``, ``unknown``, ``unsent``; ``plan`` (the planned writes, ``calls`` and ``seconds``); ``calls``,
        of which ``reads`` and ``writes``; ``seconds``, ``outcomes`` (the path), and the first 20 ``problems``
        (``row``, ``target`` masked, ``status``, ``reason``). Pushed to XCom also when the task fails.
    :raises WatiValidationError: before anything is written, for an argument with an error, or when too many
        people are no longer in the rows; afterwards, when too many rows were invalid.
    :raises WatiConfigurationError: when another run of the sync is under way, or the snapshot cannot be read.
    :raises WatiRejectedError: when WATI refused too many rows.
    :raises WatiIncompleteError: when some rows were not attempted; the next attempt goes on from there.
    :raises WatiUnknownOutcomeError: when the outcome of some writes is not known; the next run writes them again.
    """

    template_fields: Sequence[str] = (
        "phone_column",
        "name_column",
        "attribute_columns",
        "mode",
        "on_removed",
        "sync_key",
        "outcomes_path",
        "state_path",
        "wati_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"attribute_columns": "json"}
    key_name = "sync_key"
    outcome_columns: ClassVar[Sequence[str]] = SYNC_COLUMNS
    statuses: ClassVar[type[StrEnum]] = SyncStatus
    counted = "rows and people no longer in them"

    def __init__(
        self,
        *,
        phone_column: str | int,
        name_column: str | int | None = None,
        attribute_columns: dict[str, str | int],
        mode: Literal["upsert", "update", "insert"] = "upsert",
        on_removed: Literal["ignore", "clear"] = "ignore",
        sync_key: str | None = None,
        max_removed: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.phone_column = phone_column
        self.name_column = name_column
        self.attribute_columns = attribute_columns
        self.mode = mode
        self.on_removed = on_removed
        self.sync_key = sync_key
        self.max_removed = max_removed
        self._remember("sync_key")

    def execute(self, context: Context) -> dict[str, Any]:
        self._check(context)
        with self._sync(context) as sync:

            def run() -> None:
                with self._rows(context) as rows:
                    sync.read(rows)
                sync.run()

            return self._account_for(sync, run, context)

    @abstractmethod
    def _rows(self, context: Context) -> AbstractContextManager[Iterable[Row]]:
        """Open the rows; they are read to the end and closed before the first call to WATI."""

    @contextlib.contextmanager
    def _sync(self, context: Context) -> Iterator[ContactSync]:
        """Return the sync, with a lock against a second run of it where there is a ``state_path``."""
        from airflow_provider_wati.syncing.job import ContactSync
        from airflow_provider_wati.syncing.row_mapping import ContactColumns
        from airflow_provider_wati.tables.phone_numbers import TargetReader

        ti = context["ti"]
        # Native templates turn digits into an int.
        sync_key = f"{ti.dag_id}/{ti.task_id}" if self.sync_key is None else str(self.sync_key)
        client = self.hook.client
        directory = state_directory(self.state_path)
        # Another account has other contacts, and the snapshot of this one would report them as unchanged.
        account = f"{client.endpoint.base_url}/{client.endpoint.tenant_id or self.wati_conn_id}"
        key = key_of("wati_sync", f"{sync_key}\n{account}")
        with contextlib.ExitStack() as stack:
            if directory is not None:
                owner = "/".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
                stack.enter_context(locked(directory, key, f"The sync {sync_key!r}", owner))
            sync = ContactSync(
                client=client,
                sync_key=sync_key,
                columns=ContactColumns(self.phone_column, self.name_column, self.attribute_columns),
                snapshot=StateFile(directory.path_of(key, ".jsonl.gz")) if directory else None,
                targets=TargetReader(self.hook.default_region),
                mode=self.mode,
                on_removed=self.on_removed,
                max_removed=self.max_removed,
                dry_run=self.is_dry_run,
            )
            stack.callback(sync.close)
            yield sync
