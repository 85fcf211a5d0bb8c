"""The rows of one file, each id once, in a scratch database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.extracting.rows import ID, Row
from airflow_provider_wati.tables.scratch_db import bulk_write, open_scratch_db

if TYPE_CHECKING:
    from airflow_provider_wati.extracting.rows import Entity


class CollectedRows:
    """
    Collects rows; one that WATI lists twice, because its list moved between two pages, is merged.

    :param entity: what the rows are.
    """

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._db = open_scratch_db()
        self._db.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, content TEXT NOT NULL)")

    def close(self) -> None:
        """Delete everything."""
        self._db.close()

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        with bulk_write(self._db):
            for row in rows:
                found = self._db.execute("SELECT content FROM rows WHERE id = ?", (row[ID],)).fetchone()
                merged = self._entity.merge(json.loads(found[0]), row) if found else row
                self._db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (row[ID], json.dumps(merged)))

    def count(self) -> int:
        """Return how many rows there are."""
        number: int = self._db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]
        return number

    def values(self, names: Sequence[str]) -> Iterator[list[Any]]:
        """
        Yield the rows, in the order in which they were added.

        :param names: the wanted columns.
        """
        with closing(self._db.cursor()) as cursor:
            for (content,) in cursor.execute("SELECT content FROM rows ORDER BY rowid"):
                row = json.loads(content)
                yield [row[name] for name in names]
