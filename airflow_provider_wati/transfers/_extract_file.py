"""Extracted rows in a file of one run, and the watermark of the runs in a directory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.extracting.collected_rows import CollectedRows
from airflow_provider_wati.extracting.rows import Column, ColumnKind
from airflow_provider_wati.operators._files import open_table
from airflow_provider_wati.state.storage import storage_path

if TYPE_CHECKING:
    from airflow_provider_wati.extracting.rows import Entity, Row, State
    from airflow_provider_wati.state.directory import StateDirectory


class ExtractFile:
    """
    The rows of one run: collected first, then written to a new file.

    :param path: a path or URI that ends in ``.csv``, ``.jsonl`` or ``.parquet``.
    :param entity: what the rows are.
    :param columns: the columns of the file.
    """

    def __init__(self, path: str, entity: Entity, columns: Sequence[Column]) -> None:
        self._path = path
        self._columns = columns
        self._rows = CollectedRows(entity)
        #: What to remember once the file is complete; None if nothing is new.
        self.state: State | None = None

    def close(self) -> None:
        """Delete the collected rows."""
        self._rows.close()

    def write(self, rows: Sequence[Row]) -> None:
        """Collect rows."""
        self._rows.add(rows)

    def remember(self, state: State) -> None:
        """Keep a state until the file is complete."""
        self.state = state

    def finish(self, check: Callable[[], None]) -> int:
        """
        Write the file, completely or not at all, and return its number of rows; without rows it has none.

        :param check: raises an error if the file must not be put in its place.
        """
        names = [column.name for column in self._columns]
        flags = {column.name for column in self._columns if column.kind is ColumnKind.FLAG}
        with open_table(self._path, names, flags) as write:
            write(self._rows.values(names))
            check()
        return self._rows.count()


class FileWatermark:
    """
    The watermark of a task in a state directory, and the file that was written last.

    The attempts of one run write the same file, so each of them begins at the watermark of the first one. Otherwise a Clear
    would replace the file by one with only the rows that have come since.

    Only the latest attempt may write the file. An attempt that Airflow takes for dead may still run, and has read less. So each
    attempt writes its fencing token into the state, and an attempt that finds another token there writes no file.

    :param directory: the user's directory for state.
    :param key: names the task and the account.
    :param path: the file of this run.
    :param run_id: the run.
    """

    def __init__(self, directory: StateDirectory, key: str, path: str, run_id: str) -> None:
        self._directory = directory
        self._key = key
        self._path = path
        self._run_id = run_id
        self._before: State = {}
        self._after: State | None = None
        self._token = uuid.uuid4().hex

    def load(self, *, may_replace: bool) -> State:
        """
        Return where this run begins, and note its file before anything is written.

        :param may_replace: whether to replace a file that another run has written.
        :raises WatiValidationError: for a file that another run has written, unless it may be replaced.
        :raises WatiConfigurationError: when the state is damaged.
        """
        stored = self._directory.get(self._key)
        last, before, after = _parts_of(stored, self._key)
        is_ours = last == (self._path, self._run_id)
        self._before = before if is_ours or after is None else after
        self._after = after if is_ours else None
        if not is_ours and not may_replace and storage_path(self._path).exists():
            raise WatiValidationError(
                f"{self._path} is there, and this run has not written it, so its rows would be lost. "
                "Put the run into the path, such as {{ run_id }}, or give full=True."
            )
        self._set(self._after)
        return dict(self._before)

    def check(self) -> None:
        """
        Make sure that no later attempt of this run has begun.

        :raises WatiConfigurationError: when one has.
        """
        stored = self._directory.get(self._key)
        is_ours = _parts_of(stored, self._key)[0] == (self._path, self._run_id)
        if is_ours and stored.get("token") != self._token:
            raise WatiConfigurationError(
                f"A later attempt of this run has begun, which writes {self._path}. This attempt stops and has written nothing."
            )

    def save(self, state: State) -> None:
        """
        Remember a state: the file of this run is complete.

        :raises WatiConfigurationError: when a later attempt has begun.
        """
        self.check()
        self._set(state)

    def _set(self, after: State | None) -> None:
        run = {"path": self._path, "run_id": self._run_id, "token": self._token}
        self._directory.set(self._key, {**run, "before": self._before, "after": after})


def _parts_of(stored: Any, key: str) -> tuple[tuple[str, str] | None, State, State | None]:
    if stored is None:
        return None, {}, None
    try:
        after = stored["after"]
        last = (str(stored["path"]), str(stored["run_id"]))
        return last, dict(stored["before"]), None if after is None else dict(after)
    except (TypeError, KeyError, ValueError):
        raise WatiConfigurationError(
            f"The state {key!r} is not a watermark that was written there: remove it and read everything once with full=True."
        ) from None
