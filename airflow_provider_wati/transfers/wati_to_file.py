"""From WATI to files: contacts, messages and the recipients of campaigns, one file for each run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.transfers._extract import (
    CampaignRecipientsSource,
    ContactsSource,
    ExtractOperator,
    MessagesSource,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.extracting.rows import Extract
    from airflow_provider_wati.transfers._extract_file import FileWatermark


class _ToFile(ExtractOperator):
    """
    Base of the transfers to files.

    :param path: the file of the run (templated).
    """

    template_fields: Sequence[str] = ("path", *ExtractOperator.template_fields)

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.extracting.job import extract
        from airflow_provider_wati.operators._files import check_table
        from airflow_provider_wati.transfers._extract_file import ExtractFile

        began = self.clock.monotonic()
        is_full = self.is_full
        source = self._source()
        columns = self._chosen(source)
        check_table(self.path)
        watermark = self._watermark(source, context) if self.has_watermark else None
        state = watermark.load(may_replace=is_full) if watermark else {}
        if is_full:
            state = source.forget(state)
        with closing(ExtractFile(self.path, source.entity, columns)) as file:
            listed = extract(source, state, file, self.clock)
            rows = file.finish(watermark.check if watermark else lambda: None)
            if watermark and file.state is not None:
                watermark.save(file.state)
        return {
            "path": self.path,
            "listed": listed,
            "rows": rows,
            "skipped": source.skipped,
            "seconds": round(self.clock.monotonic() - began, 1),
        }

    def _watermark(self, source: Extract, context: Context) -> FileWatermark:
        from airflow_provider_wati.state.directory import state_directory
        from airflow_provider_wati.transfers._extract_file import FileWatermark

        directory = state_directory(self.state_path)
        if directory is None:
            raise WatiConfigurationError(
                f"The files of {source.entity.name} need a place for their watermark: set state_path or the option [wati] "
                "state_path to a directory or object-storage URI that all workers reach. Nothing was read."
            )
        key = self._state_key(source, context, "")
        return FileWatermark(directory, key, self.path, str(context["ti"].run_id))


class WatiContactsToFileOperator(_ToFile, ContactsSource):
    """
    Write all contacts to a file, with what they have consented to.

    WATI lists contacts without a filter, so the file of each run has all of them.

    .. code-block:: python

        WatiContactsToFileOperator(task_id="contacts", path="s3://lake/wati/contacts/{{ run_id }}.parquet")

    :param path: the file of this run: a local path or an object-storage URI that ends in ``.csv``, ``.jsonl`` or
        ``.parquet`` (templated). An existing file is replaced.
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: without effect, because each file has everything (templated); the other transfers have it.
    :param state_path: without effect, because there is nothing to remember (templated); the other transfers have it.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``path``, ``listed`` (rows that WATI gave), ``rows`` (in the file), ``skipped`` (objects without an id) and
        ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist or a path with another suffix.
    """

    template_fields: Sequence[str] = _ToFile.template_fields


class WatiMessagesToFileOperator(_ToFile, MessagesSource):
    """
    Write the messages of all conversations to a file, both ways.

    The file of the first run has everything; those of the next ones have what has come since the watermark, less an hour. So
    a message may be in two files, and the later one counts.

    .. code-block:: python

        WatiMessagesToFileOperator(
            task_id="messages",
            path="s3://lake/wati/messages/{{ run_id }}.jsonl",
            state_path="s3://airflow-state/wati",
        )

    :param path: the file of this run: a local path or an object-storage URI that ends in ``.csv``, ``.jsonl`` or
        ``.parquet`` (templated). Each run needs its own; each attempt of a run replaces that of the one before.
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to read everything again (templated).
    :param state_path: a directory or object-storage URI that all workers reach, for the watermark (templated); else the
        option ``[wati] state_path``. One of them is needed.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``path``, ``listed`` (rows that WATI gave), ``rows`` (in the file), ``skipped`` (objects without an id) and
        ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist, a path with another suffix, or
        one that an earlier run has written.
    :raises WatiConfigurationError: before anything is read, without a ``state_path``.
    :raises WatiError: when some conversations could not be read; no file is written then.
    """

    template_fields: Sequence[str] = _ToFile.template_fields


class WatiCampaignRecipientsToFileOperator(_ToFile, CampaignRecipientsSource):
    """
    Write the recipients of campaigns to a file, with how far each message has come.

    The file of the first run has everything; those of the next ones have the recipients of campaigns whose statistics have
    changed. So a recipient may be in several files, and the last one counts.

    .. code-block:: python

        WatiCampaignRecipientsToFileOperator(
            task_id="recipients",
            path="s3://lake/wati/recipients/{{ run_id }}.csv",
            state_path="s3://airflow-state/wati",
        )

    :param path: the file of this run: a local path or an object-storage URI that ends in ``.csv``, ``.jsonl`` or
        ``.parquet`` (templated). Each run needs its own; each attempt of a run replaces that of the one before.
    :param campaigns: an id, a list of ids, or the ``campaigns`` of the summary of a send (templated); None for all
        campaigns of the connection's channel.
    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to read everything again (templated).
    :param state_path: a directory or object-storage URI that all workers reach, for the watermark (templated); else the
        option ``[wati] state_path``. One of them is needed.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``path``, ``listed`` (rows that WATI gave), ``rows`` (in the file), ``skipped`` (objects without an id) and
        ``seconds``.
    :raises WatiValidationError: before anything is read, for a column that does not exist, a path with another suffix, or
        one that an earlier run has written.
    :raises WatiConfigurationError: before anything is read, without a ``state_path``.
    :raises WatiNotFoundError: when WATI does not know one of ``campaigns``.
    :raises WatiError: when some campaigns could not be read; no file is written then.
    """

    template_fields: Sequence[str] = ("campaigns", *_ToFile.template_fields)
