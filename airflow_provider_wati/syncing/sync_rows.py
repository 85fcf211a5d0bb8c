"""The rows of a sync as they came in, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.syncing.scratch_tables import TablesPart
from airflow_provider_wati.tables.outcomes import SyncStatus
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from airflow_provider_wati.tables.scratch_db import first_problems

if TYPE_CHECKING:
    from airflow_provider_wati.syncing.row_mapping import CheckedRow

# It is not known which of them is right, and a guess would be written to a customer's record.
_REFUSE_REPEATED = """
UPDATE rows SET status = 'invalid', reason = CASE WHEN again.spellings = 1
    THEN 'the same phone number stands in ' || again.times || ' rows'
    ELSE 'the same phone number stands in ' || again.times || ' rows, in two spellings of its country'
END || ', of which row ' || again.first || ' is the first: give one row per phone number'
FROM (
    SELECT person, COUNT(*) AS times, MIN(row) AS first, COUNT(DISTINCT phone_number) AS spellings
    FROM rows WHERE person IS NOT NULL GROUP BY person HAVING COUNT(*) > 1
) AS again
WHERE rows.person IS NOT NULL AND rows.person = again.person AND status = 'unsent'
"""


class SyncRows(TablesPart):
    """The rows, and after them the people who are no longer in them."""

    def load(self, rows: Iterable[CheckedRow]) -> None:
        """Load all rows, and refuse the people who occur twice."""
        self._insert(
            "INSERT INTO rows (row, status, reason, person, phone_number, target, name, vals) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (_loaded(n, row) for n, row in enumerate(rows, 1)),
        )
        self._db.execute("CREATE INDEX by_person ON rows (person) WHERE person IS NOT NULL")
        self._db.execute(_REFUSE_REPEATED)

    def count(self) -> int:
        """Count the rows that were read."""
        return self._count("rows WHERE row IS NOT NULL")

    def count_unreadable(self) -> int:
        """Count the rows whose phone number cannot be read, which may be about anybody."""
        return self._count("rows WHERE phone_number IS NULL")

    def explain_unsent(self, reason: str) -> None:
        """Record why rows were not attempted, but for those that have a reason of their own."""
        self._db.execute("UPDATE rows SET reason = ? WHERE status = 'unsent' AND reason IS NULL", (reason,))

    def set_unknown(self, phone_number: str, reason: str) -> None:
        """Record that the row of a person cannot be written, because it is not known whether WATI has the contact."""
        self._db.execute(
            "UPDATE rows SET status = 'unknown', reason = ? WHERE person = ? AND status = 'unsent'",
            (reason, dedupe_key_of(phone_number)),
        )

    def counts(self) -> dict[str, int]:
        """Count the rows in each status, including the people who are no longer in the rows."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM rows GROUP BY status"))
        return {"total": sum(found.values()), **{status.value: found.get(status, 0) for status in SyncStatus}}

    def problems(self) -> list[dict[str, Any]]:
        """Return the first rows that failed, phone numbers masked."""
        return first_problems(self._db, "id")

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the outcome of each row, in order, as ``SYNC_COLUMNS`` names it."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute("SELECT row, target, status, reason FROM rows ORDER BY id")


def _loaded(n: int, row: CheckedRow) -> tuple[Any, ...]:
    status = SyncStatus.INVALID if row.complaint else SyncStatus.UNSENT
    person = None if row.phone_number is None else dedupe_key_of(row.phone_number)
    return n, status, row.complaint, person, row.phone_number, row.target, row.name, row.vals
