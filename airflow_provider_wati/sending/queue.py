"""
The rows of one attempt in a scratch database: what is to be sent.

A row that may have been sent before is a ``resend``. It is ``unresolved`` too where a recorded call names the person and
was closed without evidence: such a row never ends as if the person had no message.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.types import EncodedRecipient
from airflow_provider_wati.sending.consent_rows import CONSENT_TABLES, ConsentRows
from airflow_provider_wati.sending.evidence_rows import EVIDENCE_TABLES, EvidenceRows
from airflow_provider_wati.sending.journal_rows import JOURNAL_TABLES
from airflow_provider_wati.sending.outcome_rows import OUTCOME_TABLES, OutcomeRows
from airflow_provider_wati.sending.row_tables import end_as
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from airflow_provider_wati.tables.scratch_db import CHUNK, bulk_write, collector_paused

if TYPE_CHECKING:
    from airflow_provider_wati.sending.row_mapping import MappedRow, RowReader
    from airflow_provider_wati.tables.outcomes import SendStatus
    from airflow_provider_wati.tables.values import Row

_ROW_TABLES = """
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, status TEXT NOT NULL DEFAULT 'unsent', reason TEXT, campaign INTEGER, person INTEGER,
    other_spelling TEXT, key TEXT, target TEXT NOT NULL, local_message_id TEXT, has_own_id INTEGER NOT NULL DEFAULT 0,
    resend INTEGER, unresolved INTEGER, consent_due INTEGER,
    dedupe_key TEXT AS (CASE WHEN person IS NOT NULL THEN COALESCE(other_spelling, target) END)
);
CREATE TABLE bodies (first INTEGER PRIMARY KEY, bodies TEXT NOT NULL);
CREATE TABLE suppressed (dedupe_key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SUPPRESSED = end_as("skipped", "'suppressed'")


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Messages that go in one call: consecutive rows among those that are to be sent.

    :param rows: one at least.
    :param people: the hashes of the people, one for each row.
    :param recipients: the encoded recipients, likewise.
    :param resend: whether they may have been sent before.
    """

    rows: Sequence[int]
    people: array[int]
    recipients: Sequence[EncodedRecipient]
    resend: bool

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, position: int) -> tuple[Batch, Batch]:
        """Split the batch in two before a position."""
        return self._part(slice(position)), self._part(slice(position, None))

    def _part(self, rows: slice) -> Batch:
        return Batch(self.rows[rows], self.people[rows], self.recipients[rows], self.resend)


class SendQueue(ConsentRows, EvidenceRows, OutcomeRows):
    """The rows of a send and their outcomes. A row that is to be sent is ``unsent``. Memory holds one chunk of rows at a time."""

    def __init__(self) -> None:
        super().__init__(_ROW_TABLES, OUTCOME_TABLES, CONSENT_TABLES, JOURNAL_TABLES, EVIDENCE_TABLES)

    def close(self) -> None:
        """Delete the database."""
        self._db.close()

    def load(self, rows: Iterable[Row], reader: RowReader) -> None:
        """
        Read all rows, check each by itself, and find duplicates.

        :param rows: the source, read to its end.
        :param reader: maps rows; it raises for none of them.
        """
        source, first = iter(rows), 1
        while True:
            with collector_paused():
                chunk = reader.read_all(islice(source, CHUNK))
                if not chunk:
                    break
                self._add(chunk, first)
            first += len(chunk)
        self._db.execute("UPDATE rows SET status = 'invalid' WHERE reason IS NOT NULL")
        self.has_keys = reader.has_keys_elsewhere or self._any("key IS NOT NULL")
        if self.has_keys:
            # Without a key, the row cannot be distinguished from another message to the same person.
            self._db.execute(
                "UPDATE rows SET status = 'invalid', reason = 'it has no key, and other rows have one' "
                "WHERE status = 'unsent' AND key IS NULL"
            )
        self._skip_duplicates()

    def _add(self, chunk: Sequence[MappedRow | None], first: int) -> None:
        """Insert a chunk of rows. Most have only four values, and a statement of their own for these takes half the time."""
        plain: list[tuple[Any, ...]] = []
        others: list[tuple[Any, ...]] = []
        for number, row in enumerate(chunk, first):
            if row is None:
                continue
            problem, person, dedupe_key, key, target, local_id, has_own_id, _ = row
            if problem is None and key is None and dedupe_key is target and not has_own_id:
                plain.append((number, person, target, local_id))
            else:
                others.append((number, problem, person, dedupe_key, key, target, local_id, has_own_id))
        with bulk_write(self._db):
            self._db.executemany(
                "INSERT INTO rows (row, person, target, local_message_id) VALUES (?, ?, ?, ?)", plain
            )
            self._db.executemany(
                "INSERT INTO rows (row, reason, person, other_spelling, key, target, local_message_id, has_own_id) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                others,
            )
            # JSON has no line breaks, so one text holds the bodies of a chunk.
            bodies = "\n".join([(row and row.body) or "" for row in chunk])
            self._db.execute("INSERT INTO bodies VALUES (?, ?)", (first, bodies))

    def _skip_duplicates(self) -> None:
        """Skip all but the first of several rows for one message, and refuse a second row with the same local message id."""
        self._find_duplicates(
            "person",
            "skipped",
            "'the same person as in row ' || again.first || ', and no `key` tells two messages apart'",
        )
        if self._any("has_own_id"):
            self._find_duplicates(
                "local_message_id",
                "invalid",
                "'its local_message_id is that of row ' || again.first || ', which is another message'",
            )

    def _find_duplicates(self, column: str, status: str, reason: str) -> None:
        self._db.execute(f"CREATE INDEX same ON rows ({column}) WHERE status = 'unsent'")
        self._db.execute(
            f"UPDATE rows SET status = '{status}', reason = {reason} FROM (SELECT {column}, MIN(row) AS first FROM rows "
            f"WHERE status = 'unsent' GROUP BY {column} HAVING COUNT(*) > 1) AS again "
            f"WHERE rows.status = 'unsent' AND rows.{column} = again.{column} AND rows.row > again.first"
        )
        self._db.execute("DROP INDEX same")

    def add_suppressed(self, targets: Iterable[str]) -> None:
        """Store the people on the suppression list."""
        with bulk_write(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO suppressed VALUES (?)",
                ((dedupe_key_of(target),) for target in targets),
            )

    def skip_suppressed(self) -> None:
        """Skip the unsent rows of suppressed people. Rows with a message stay accepted."""
        self._db.execute(
            f"UPDATE rows SET {_SUPPRESSED} WHERE EXISTS (SELECT 1 FROM suppressed) "
            "AND status = 'unsent' AND dedupe_key IN (SELECT dedupe_key FROM suppressed)"
        )

    def people_digest(self) -> str:
        """Return a hash of the set of people, which does not depend on the order of their rows."""
        digest = hashlib.sha256()
        with closing(self._db.cursor()) as cursor:
            for (person,) in cursor.execute(
                "SELECT DISTINCT person FROM rows WHERE person IS NOT NULL ORDER BY person"
            ):
                digest.update(person.to_bytes(8, "big", signed=True))
        return digest.hexdigest()[:16]

    def next_batch(self, size: int, after: int, *, resend: bool) -> Batch | None:
        """
        Return the next messages to be sent; None when there are none.

        :param size: people at most.
        :param after: the last row of the batch before, 0 for the first.
        :param resend: whether to take those that may have been sent before, or the others.
        """
        with collector_paused():
            found = self._db.execute(
                "SELECT row, person, target, local_message_id FROM rows WHERE row > ? AND status = 'unsent' "
                f"AND resend IS {'1' if resend else 'NULL'} ORDER BY row LIMIT ?",
                (after, size),
            ).fetchall()
            if not found:
                return None
            rows, people, targets, local_ids = zip(*found, strict=True)
            recipients = list(map(EncodedRecipient, targets, local_ids, self._bodies(rows)))
            return Batch(rows, array("q", people), recipients, resend)

    def mark(
        self, batch: Batch, status: SendStatus, reason: str | None = None, campaign: int | None = None
    ) -> None:
        """Give the unsent rows of a batch a status."""
        self._db.execute(
            "UPDATE rows SET status = ?, reason = ?, campaign = ? "
            "WHERE row BETWEEN ? AND ? AND status = 'unsent' AND resend IS ?",
            (status, reason, campaign, batch.rows[0], batch.rows[-1], 1 if batch.resend else None),
        )

    def accept(self, rows: Iterable[int], campaign: int) -> None:
        """Accept single rows."""
        self._db.executemany(
            "UPDATE rows SET status = 'accepted', reason = NULL, campaign = ? WHERE row = ?",
            ((campaign, row) for row in rows),
        )

    def reject(self, reasons: Iterable[tuple[str, int]]) -> None:
        """Reject single rows, ``(reason, row)`` each; a refusal says nothing about an earlier call."""
        self._db.executemany(f"UPDATE rows SET {end_as('rejected', '?')} WHERE row = ?", reasons)
