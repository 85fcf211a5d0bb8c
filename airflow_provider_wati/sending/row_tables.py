"""What the tables of one attempt share: a scratch database of its own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from airflow_provider_wati.tables.scratch_db import open_scratch_db

#: Rows that have no message as far as is known. An invalid row may have got one before it changed; of several rows of one
#: person, it counts only if it is the first and none is valid.
WITHOUT_MESSAGE = (
    "(rows.status = 'unsent' OR (rows.status = 'invalid' AND rows.person IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM rows AS other WHERE other.person = rows.person AND other.row <> rows.row "
    "AND (other.status <> 'invalid' OR other.row < rows.row))))"
)

#: Why a row is unknown though nothing was sent in the end; the reason for that follows.
MAY_HAVE_IT = "an earlier call may have sent it, WATI does not show it, and it was not sent again: "


def end_as(status: str, reason: str) -> str:
    """
    Return SQL that ends rows without a message; ``unknown`` where a recorded call may have reached the person.

    :param status: the status of a row that no earlier call can have sent.
    :param reason: why, as SQL.
    """
    return (
        f"status = CASE WHEN unresolved THEN 'unknown' ELSE '{status}' END, "
        f"reason = CASE WHEN unresolved THEN '{MAY_HAVE_IT}' ELSE '' END || {reason}"
    )


class RowTables:
    """
    Base of the parts of a send's queue, which work on one database.

    :param tables: what the parts need, as SQL.
    """

    def __init__(self, *tables: str) -> None:
        self._db = open_scratch_db()
        for each in tables:
            self._db.executescript(each)
        #: Whether rows have keys.
        self.has_keys = False
        #: Whether listed messages with other parameters may be those of other mapped tasks.
        self.compares_params = False
        #: Whether another task has sent a message with other parameters to somebody, which may be the row's.
        self.has_undecided_params = False
        self._chunk_first = 0
        self._chunk: list[str] = []

    def _body(self, row: int) -> str:
        """Return a recipient's JSON; the chunk that has it stays in memory until another one is needed."""
        position = row - self._chunk_first
        if not 0 <= position < len(self._chunk):
            self._chunk_first, bodies = self._db.execute(
                "SELECT first, bodies FROM bodies WHERE first <= ? ORDER BY first DESC LIMIT 1", (row,)
            ).fetchone()
            self._chunk = bodies.split("\n")
            position = row - self._chunk_first
        return self._chunk[position]

    def _bodies(self, rows: Sequence[int]) -> list[str]:
        """Return the JSON of recipients, whose rows are in order."""
        bodies: list[str] = []
        while len(bodies) < len(rows):
            first = rows[len(bodies)]
            bodies.append(self._body(first))
            end = bisect_left(rows, self._chunk_first + len(self._chunk), len(bodies))
            bodies.extend(self._chunk[row - self._chunk_first] for row in rows[len(bodies) : end])
        return bodies

    def _index_people(self) -> None:
        """Make the rows of a person quick to find; a send without earlier calls does without."""
        self._db.execute("CREATE INDEX IF NOT EXISTS people ON rows (person)")

    def _any(self, condition: str) -> bool:
        return self._db.execute(f"SELECT 1 FROM rows WHERE {condition} LIMIT 1").fetchone() is not None

    def _number(self, query: str) -> int:
        (number,) = self._db.execute(query).fetchone()
        return int(number)
