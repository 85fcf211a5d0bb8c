"""The ids that a run has seen, on the disk, so that memory stays flat."""

from __future__ import annotations

from airflow_provider_wati.tables.scratch_db import open_scratch_db


class SeenIds:
    """A set of ids in a scratch database, of any size."""

    def __init__(self) -> None:
        self._db = open_scratch_db()
        self._db.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        # Never committed, because nobody else reads it; each id would be a transaction of its own.
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Delete everything."""
        self._db.close()

    def add(self, id: str) -> bool:
        """
        Take an id in, and return whether it was not there.

        :param id: any text.
        """
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (id,)).rowcount == 1
