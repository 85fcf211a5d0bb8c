"""The outcomes of the rows of a send: counts, campaigns, problems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from airflow_provider_wati.sending.row_tables import MAY_HAVE_IT, WITHOUT_MESSAGE, RowTables
from airflow_provider_wati.tables.outcomes import DRY_RUN, SendStatus
from airflow_provider_wati.tables.scratch_db import first_problems

OUTCOME_TABLES = """
CREATE TABLE campaigns (campaign INTEGER PRIMARY KEY, id TEXT UNIQUE, name TEXT);
"""


class OutcomeRows(RowTables):
    """The part of a send's queue that holds the outcome of each row."""

    def explain_unsent(self, reason: str) -> None:
        """Give the unsent rows a reason. Rows that an earlier call may have sent become unknown."""
        if reason != DRY_RUN:
            self._db.execute(
                "UPDATE rows SET status = 'unknown', reason = ? || COALESCE(reason, ?) WHERE status = 'unsent' AND resend",
                (MAY_HAVE_IT, reason),
            )
        self._db.execute("UPDATE rows SET reason = COALESCE(reason, ?) WHERE status = 'unsent'", (reason,))

    def doubt_unsent(self, reason: str) -> None:
        """Make the rows without a message unknown, because the calls of earlier attempts could not be looked up."""
        self._index_people()
        self._db.execute(f"UPDATE rows SET status = 'unknown', reason = ? WHERE {WITHOUT_MESSAGE}", (reason,))

    def explain_waiting(self, reason: str) -> None:
        """Say why rows that wait for evidence got none."""
        self._db.execute("UPDATE rows SET reason = ? WHERE row IN (SELECT row FROM pending)", (reason,))

    def counts(self) -> dict[str, int]:
        """Count the rows in each status; ``total`` is their sum."""
        # One pass without a sort, which GROUP BY takes.
        each = ", ".join(f"COUNT(*) FILTER (WHERE status = '{status}')" for status in SendStatus)
        found = self._db.execute(f"SELECT {each} FROM rows").fetchone()
        counts = dict(zip((status.value for status in SendStatus), found, strict=True))
        return {"total": sum(counts.values()), **counts}

    def count_unsent(self) -> int:
        """Count the rows that are yet to be sent."""
        return self._number("SELECT COUNT(*) FROM rows WHERE status = 'unsent'")

    def count_accepted(self) -> int:
        """Count the rows with a message."""
        return self._number("SELECT COUNT(*) FROM rows WHERE status = 'accepted'")

    @property
    def has_rows(self) -> bool:
        """Whether the table of the user has a row."""
        return self._any("TRUE")

    def campaigns(self, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many campaigns have people of this send in them, and the first few of them."""
        first = self._db.execute(
            "SELECT id, name, accepted, COUNT(*) OVER () FROM (SELECT campaign, COUNT(*) AS accepted FROM rows "
            "WHERE status = 'accepted' GROUP BY campaign) JOIN campaigns USING (campaign) ORDER BY campaign LIMIT ?",
            (limit,),
        ).fetchall()
        count = first[0][3] if first else 0
        return count, [{"id": id, "name": name, "accepted": accepted} for id, name, accepted, _ in first]

    def add_campaign(self, id: str | None, name: str | None) -> int:
        """Note a campaign, one with an id once, and return its number here."""
        known = self._db.execute("SELECT campaign FROM campaigns WHERE id = ?", (id,)).fetchone()
        if known:
            return int(known[0])
        number = self._db.execute("INSERT INTO campaigns (id, name) VALUES (?, ?)", (id, name)).lastrowid
        assert number is not None  # noqa: S101 # SQLite numbers every row that it inserts
        return number

    def problems(self) -> list[dict[str, Any]]:
        """Return the first rows that failed, phone numbers masked."""
        return first_problems(self._db, "row")

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the outcome of each row, in order, with the values of ``SEND_COLUMNS``."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(
                "SELECT row, key, target, status, reason, local_message_id, id, name FROM rows "
                "LEFT JOIN campaigns USING (campaign) ORDER BY row"
            )
