"""The rows of one try of a template send, in a run file, and what has become of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.bulk.ledger import FINGERPRINT_LENGTH
from airflow_provider_wati.bulk.outcomes import PROBLEMS, SEND_COLUMNS, SHOWN_PROBLEMS, SendStatus, problem
from airflow_provider_wati.bulk.run_file import CHUNK, open_run_file

if TYPE_CHECKING:
    from airflow_provider_wati.bulk.recipients import Recipients
    from airflow_provider_wati.bulk.rows import Row


_TABLES = """
CREATE TABLE broadcasts (number INTEGER PRIMARY KEY, id TEXT, name TEXT);
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, status TEXT NOT NULL, reason TEXT, broadcast INTEGER, left_out INTEGER,
    key TEXT, target TEXT NOT NULL, local_message_id TEXT, params BLOB
);
CREATE TABLE suppressed (target TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE contacts (target TEXT PRIMARY KEY, contact_id TEXT, opted_out INTEGER) WITHOUT ROWID;
CREATE TABLE listed (local_message_id TEXT PRIMARY KEY, broadcast INTEGER) WITHOUT ROWID;
"""

_CONTACTS = 1_000

#: A message to be sent: row, target, parameters as `marshal` writes them, local message id.
Message = tuple[int, str, bytes, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Messages that go in one call.

    :param number: 1 for the first.
    :param first: its first row.
    :param last: its last row; rows between that were not to be sent are no part of it.
    :param fingerprint: names its people, so that a later try can tell whether they are the same.
    """

    number: int
    first: int
    last: int
    fingerprint: str

    @property
    def label(self) -> str:
        """What the ledger calls it."""
        return str(self.number)


class SendFile:
    """
    Rows and their outcomes. A row that is yet to be sent is ``unsent``.

    Whatever number of rows there is, memory holds one chunk of them.
    """

    def __init__(self) -> None:
        self._db = open_run_file()
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Write many rows in one go. There is no way back from it, so an error keeps what was written."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    # Before anything is sent

    def load(self, rows: Iterable[Row], recipients: Recipients) -> None:
        """Read all rows, check each by itself, and find those that come twice."""
        numbered = enumerate(rows, 1)
        while chunk := list(islice(numbered, CHUNK)):
            with self._at_once():
                self._db.executemany(
                    "INSERT INTO rows (row, status, reason, key, target, local_message_id, params) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [self._checked(number, row, recipients) for number, row in chunk],
                )
        self._skip_duplicates()

    @staticmethod
    def _checked(number: int, row: Row, recipients: Recipients) -> tuple[Any, ...]:
        key, target, params, local_message_id, complaint = recipients.read(row)
        status = "invalid" if complaint else "unsent"
        return number, status, complaint, key, target, local_message_id, params

    def _skip_duplicates(self) -> None:
        self._db.execute("CREATE INDEX same ON rows (local_message_id) WHERE status = 'unsent'")
        self._db.execute(
            "UPDATE rows SET status = 'skipped', local_message_id = NULL, "
            "reason = 'the same person as in row ' || again.first || ': give a `key` if both are meant' "
            "FROM (SELECT local_message_id, MIN(row) AS first FROM rows WHERE status = 'unsent' "
            "GROUP BY local_message_id HAVING COUNT(*) > 1) AS again "
            "WHERE rows.status = 'unsent' AND rows.local_message_id = again.local_message_id "
            "AND rows.row > again.first"
        )
        self._db.execute("DROP INDEX same")

    def suppress(self, targets: Iterable[str]) -> None:
        """Leave out the rows of people who are to get nothing."""
        with self._at_once():
            self._db.executemany("INSERT OR IGNORE INTO suppressed VALUES (?)", ((t,) for t in targets))
        self._db.execute(
            "UPDATE rows SET status = 'skipped', reason = 'suppressed' "
            "WHERE status = 'unsent' AND target IN (SELECT target FROM suppressed)"
        )

    def skip_opted_out(self, contacts: Iterable[tuple[str, str, bool]]) -> None:
        """Leave out the rows of people who opted out: ``(target, contact id, opted out)`` each."""
        with self._at_once():
            # A person may have a contact for each channel; one that opted out is enough.
            self._db.executemany(
                "INSERT INTO contacts VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET opted_out = opted_out OR excluded.opted_out",
                contacts,
            )
        self._db.execute(
            "UPDATE rows SET status = 'skipped', reason = 'opted out: allow_broadcast is false in WATI' "
            "WHERE status = 'unsent' AND target IN (SELECT target FROM contacts WHERE opted_out)"
        )

    def contact_ids(self) -> Iterator[list[str | None]]:
        """Yield WATI's ids of those yet to be sent to, as far as they were looked up, some at a time."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT contact_id FROM rows LEFT JOIN contacts USING (target) WHERE status = 'unsent'"
            )
            while some := cursor.fetchmany(_CONTACTS):
                yield [contact_id for (contact_id,) in some]

    def plan(self, size: int) -> list[Batch]:
        """Divide what is to be sent into batches; from then on rows keep their batch, whatever becomes of them."""
        self._db.execute("UPDATE rows SET left_out = 1 WHERE status <> 'unsent'")
        batches: list[Batch] = []
        with closing(self._db.cursor()) as cursor:
            cursor.execute("SELECT row, local_message_id FROM rows WHERE left_out IS NULL ORDER BY row")
            while members := cursor.fetchmany(size):
                people = hashlib.sha256("".join(member for _, member in members).encode())
                batches.append(
                    Batch(
                        len(batches) + 1,
                        members[0][0],
                        members[-1][0],
                        people.hexdigest()[:FINGERPRINT_LENGTH],
                    )
                )
        return batches

    def unsent_targets(self) -> Iterator[str]:
        """Yield everybody who is yet to be sent to, once."""
        with closing(self._db.cursor()) as cursor:
            for (target,) in cursor.execute("SELECT DISTINCT target FROM rows WHERE status = 'unsent'"):
                yield target

    def count_unsent(self) -> int:
        """Count the rows that are yet to be sent."""
        return self._count("status = 'unsent'")

    def count_unsent_targets(self) -> int:
        """Count the people who are yet to be sent to."""
        (people,) = self._db.execute(
            "SELECT COUNT(DISTINCT target) FROM rows WHERE status = 'unsent'"
        ).fetchone()
        return int(people)

    # Sending

    def unsent(self, batch: Batch) -> list[Message]:
        """Return the messages of a batch that are yet to be sent."""
        return self._db.execute(
            "SELECT row, target, params, local_message_id FROM rows WHERE row BETWEEN ? AND ? "
            "AND status = 'unsent' AND left_out IS NULL",
            (batch.first, batch.last),
        ).fetchall()

    def broadcast(self, id: str | None, name: str) -> int:
        """Note a campaign, and return its number here."""
        number = self._db.execute("INSERT INTO broadcasts (id, name) VALUES (?, ?)", (id, name)).lastrowid
        assert number is not None  # noqa: S101 # SQLite numbers every row that it inserts
        return number

    def mark(self, batch: Batch, was: SendStatus, status: SendStatus, reason: str | None = None) -> None:
        """Give the rows of a batch that have one status another."""
        self._db.execute(
            "UPDATE rows SET status = ?, reason = ? WHERE row BETWEEN ? AND ? AND status = ? AND left_out IS NULL",
            (status, reason, batch.first, batch.last, was),
        )

    def answered(self, batch: Batch, rejected: Sequence[tuple[str, int]], broadcast: int) -> None:
        """Note WATI's answer: who was refused and why, ``(reason, row)`` each; the others it accepted."""
        self._db.executemany("UPDATE rows SET status = 'rejected', reason = ? WHERE row = ?", rejected)
        self._accept(batch, broadcast)

    def accepted_before(self, batch: Batch, not_accepted: Iterable[int], broadcast: int | None) -> None:
        """Note that an earlier try had all of a batch accepted but those in some positions."""
        others = set(not_accepted)
        kept: list[int] = []
        if others:
            members = self._db.execute(
                "SELECT row FROM rows WHERE row BETWEEN ? AND ? AND left_out IS NULL ORDER BY row",
                (batch.first, batch.last),
            )
            kept = [row for position, (row,) in enumerate(members) if position in others]
        self._accept(batch, broadcast)
        self._db.executemany(
            "UPDATE rows SET status = 'unsent', broadcast = NULL WHERE row = ?", ((row,) for row in kept)
        )

    def _accept(self, batch: Batch, broadcast: int | None) -> None:
        self._db.execute(
            "UPDATE rows SET status = 'accepted', reason = NULL, broadcast = ? "
            "WHERE row BETWEEN ? AND ? AND status = 'unsent' AND left_out IS NULL",
            (broadcast, batch.first, batch.last),
        )

    def attribute(self, batch: Batch, broadcast: int) -> None:
        """Note the campaign of messages that were accepted in one that was not known."""
        self._db.execute(
            "UPDATE rows SET broadcast = ? WHERE row BETWEEN ? AND ? AND left_out IS NULL "
            "AND status = 'accepted' AND broadcast IS NULL",
            (broadcast, batch.first, batch.last),
        )

    def not_accepted(self, batch: Batch) -> list[int]:
        """Return the positions in a batch of those whom WATI has not accepted."""
        members = self._db.execute(
            "SELECT status FROM rows WHERE row BETWEEN ? AND ? AND left_out IS NULL ORDER BY row",
            (batch.first, batch.last),
        )
        return [position for position, (status,) in enumerate(members) if status != SendStatus.ACCEPTED]

    def has(self, status: SendStatus, batch: Batch | None = None) -> bool:
        """Tell whether any row, of a batch or of all, has a status."""
        first, last = (batch.first, batch.last) if batch else (0, 2**62)
        found = self._db.execute(
            "SELECT 1 FROM rows WHERE row BETWEEN ? AND ? AND status = ? AND left_out IS NULL LIMIT 1",
            (first, last, status),
        )
        return found.fetchone() is not None

    def mark_all(self, was: SendStatus, status: SendStatus, reason: str | None = None) -> None:
        """Give all rows that have one status another."""
        self._db.execute("UPDATE rows SET status = ?, reason = ? WHERE status = ?", (status, reason, was))

    def explain_unsent(self, reason: str) -> None:
        """Say why rows were not attempted."""
        self._db.execute("UPDATE rows SET reason = ? WHERE status = 'unsent'", (reason,))

    # What WATI shows of earlier tries

    def listed(self, local_message_ids: Iterable[str], broadcast: int) -> None:
        """Note whom a campaign lists."""
        with self._at_once():
            self._db.executemany(
                "INSERT OR IGNORE INTO listed VALUES (?, ?)",
                ((each, broadcast) for each in local_message_ids),
            )

    def accept_listed(self) -> None:
        """Take everybody whom a campaign lists for accepted, also where the row could not be sent any more."""
        self._db.execute(
            "UPDATE rows SET status = 'accepted', reason = NULL, broadcast = listed.broadcast FROM listed "
            "WHERE rows.status <> 'accepted' AND rows.local_message_id = listed.local_message_id"
        )

    def count_earlier(self) -> int:
        """Count messages of earlier tries whose rows are gone now."""
        (earlier,) = self._db.execute(
            "SELECT COUNT(*) FROM listed WHERE local_message_id NOT IN "
            "(SELECT local_message_id FROM rows WHERE local_message_id IS NOT NULL)"
        ).fetchone()
        return int(earlier)

    # What became of it

    def counts(self) -> dict[str, int]:
        """Count the rows in each status; ``total`` is their sum."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM rows GROUP BY status"))
        counts = {status.value: found.get(status, 0) for status in SendStatus}
        return {"total": sum(counts.values()), **counts}

    def broadcasts(self, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many campaigns have people of this send in them, and the first few of them."""
        self._db.execute(
            "CREATE TEMP TABLE IF NOT EXISTS reached (broadcast INTEGER PRIMARY KEY, accepted INTEGER)"
        )
        self._db.execute("DELETE FROM reached")
        self._db.execute(
            "INSERT INTO reached SELECT broadcast, COUNT(*) FROM rows WHERE broadcast IS NOT NULL GROUP BY broadcast"
        )
        (count,) = self._db.execute("SELECT COUNT(*) FROM reached").fetchone()
        first = self._db.execute(
            "SELECT id, name, accepted FROM reached JOIN broadcasts ON number = broadcast ORDER BY number LIMIT ?",
            (limit,),
        )
        return int(count), [{"id": id, "name": name, "accepted": n} for id, name, n in first]

    def problems(self) -> list[dict[str, Any]]:
        """Return the first rows that did not end well, their numbers masked."""
        statuses = ", ".join("?" * len(PROBLEMS))
        found = self._db.execute(
            f"SELECT row, target, status, reason FROM rows WHERE status IN ({statuses}) ORDER BY row LIMIT ?",
            (*PROBLEMS, SHOWN_PROBLEMS),
        )
        return [problem(*row) for row in found]

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield what became of each row, in order."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT row, key, target, status, reason, local_message_id, id, name FROM rows "
                "LEFT JOIN broadcasts ON number = broadcast ORDER BY row"
            )
            for row in cursor:
                yield dict(zip(SEND_COLUMNS, row, strict=True))

    def _count(self, condition: str) -> int:
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM rows WHERE {condition}").fetchone()
        return int(count)
