"""The rows of one try of a template send, in a run file, and what has become of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sending.ledger import FINGERPRINT_LENGTH
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS, SendStatus
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, spellings_of
from airflow_provider_wati.tables.scratch_db import CHUNK, first_problems, open_run_file

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import CampaignRecipient
    from airflow_provider_wati.sending.row_mapping import CheckedRow, Recipients
    from airflow_provider_wati.tables.readers import Row


_TABLES = """
CREATE TABLE batches (batch INTEGER PRIMARY KEY, first INTEGER, last INTEGER);
CREATE TABLE broadcasts (number INTEGER PRIMARY KEY, id TEXT, name TEXT, batch INTEGER);
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, status TEXT NOT NULL, reason TEXT, broadcast INTEGER, left_out INTEGER,
    key TEXT, target TEXT NOT NULL, line TEXT, local_message_id TEXT, names_itself INTEGER, params BLOB
);
CREATE TABLE suppressed (line TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE contacts (line TEXT PRIMARY KEY, contact_id TEXT, opted_out INTEGER) WITHOUT ROWID;
CREATE TABLE listed (
    entry TEXT, kind TEXT, line TEXT, local_message_id TEXT, broadcast INTEGER, PRIMARY KEY (entry, kind)
) WITHOUT ROWID;
CREATE INDEX listed_ids ON listed (local_message_id);
CREATE INDEX listed_lines ON listed (line);
CREATE TABLE found (row INTEGER PRIMARY KEY, entry TEXT, broadcast INTEGER, otherwise_named INTEGER);
"""

_CONTACTS = 1_000
_UNDER_ANOTHER_ID = "WATI shows a message to this person under another local_message_id"
_CANCELLED = "its campaign was cancelled in WATI: give another send_key to send it after all"

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
        #: Whether rows have keys.
        self.has_keys = False
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
                    "INSERT INTO rows "
                    "(row, status, reason, key, target, line, local_message_id, names_itself, params) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [self._checked(number, recipients.read(row)) for number, row in chunk],
                )
        self.has_keys = self._any("key IS NOT NULL")
        if self.has_keys:
            # It could not be told from another message to its person.
            self._db.execute(
                "UPDATE rows SET status = 'invalid', reason = 'it has no key, and other rows have one' "
                "WHERE status = 'unsent' AND key IS NULL"
            )
        self._find_again(
            "line, key",
            "skipped",
            "'the same person as in row ' || again.first || ', and no `key` tells two messages apart'",
        )
        if self._any("names_itself"):
            # Two messages under one id could not be told apart in what WATI shows.
            self._find_again(
                "local_message_id",
                "invalid",
                "'its local_message_id is that of row ' || again.first || ', which is another message'",
            )
        if self._any("status = 'invalid'"):
            self._leave_to_the_right_row()

    def _leave_to_the_right_row(self) -> None:
        """Take their ids from wrong rows whose person and key another row has: what WATI shows is that one's message."""
        self._db.execute("CREATE INDEX same ON rows (line, key)")
        self._db.execute(
            "UPDATE rows SET local_message_id = NULL WHERE status = 'invalid' AND EXISTS (SELECT 1 FROM rows AS other "
            "WHERE other.line = rows.line AND other.key IS rows.key AND other.row <> rows.row "
            "AND (other.status = 'unsent' OR other.row < rows.row))"
        )
        self._db.execute("DROP INDEX same")

    @staticmethod
    def _checked(number: int, row: CheckedRow) -> tuple[Any, ...]:
        return number, "invalid" if row.complaint else "unsent", *row

    def _find_again(self, columns: str, status: str, reason: str) -> None:
        """Give the rows that are like an earlier one in some columns a status, and no id of their own."""
        self._db.execute(f"CREATE INDEX same ON rows ({columns}) WHERE status = 'unsent'")
        alike = " AND ".join(f"rows.{column} IS again.{column}" for column in columns.split(", "))
        self._db.execute(
            f"UPDATE rows SET status = '{status}', local_message_id = NULL, reason = {reason} "
            f"FROM (SELECT {columns}, MIN(row) AS first FROM rows WHERE status = 'unsent' "
            f"GROUP BY {columns} HAVING COUNT(*) > 1) AS again "
            f"WHERE rows.status = 'unsent' AND {alike} AND rows.row > again.first"
        )
        self._db.execute("DROP INDEX same")

    def suppress(self, targets: Iterable[str]) -> None:
        """Leave out the rows of people who are to get nothing."""
        with self._at_once():
            self._db.executemany(
                "INSERT OR IGNORE INTO suppressed VALUES (?)",
                ((dedupe_key_of(target),) for target in targets),
            )
        self._db.execute(
            "UPDATE rows SET status = 'skipped', reason = 'suppressed' "
            "WHERE status = 'unsent' AND line IN (SELECT line FROM suppressed)"
        )

    def skip_opted_out(self, contacts: Iterable[tuple[str, str, bool]]) -> None:
        """Leave out the rows of people who opted out: ``(target, contact id, opted out)`` each."""
        with self._at_once():
            # A person may have a contact for each channel; one that opted out is enough.
            self._db.executemany(
                "INSERT INTO contacts VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET opted_out = opted_out OR excluded.opted_out",
                (
                    (dedupe_key_of(target), contact_id, opted_out)
                    for target, contact_id, opted_out in contacts
                ),
            )
        self._db.execute(
            "UPDATE rows SET status = 'skipped', reason = 'opted out: allow_broadcast is false in WATI' "
            "WHERE status = 'unsent' AND line IN (SELECT line FROM contacts WHERE opted_out)"
        )

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Leave out the rows of people of whom WATI would not say whether they opted out."""
        self._db.executemany(
            "UPDATE rows SET status = 'rejected', reason = ? WHERE status = 'unsent' AND target = ?",
            ((reason, target) for target, reason in reasons.items()),
        )

    def contact_ids(self) -> Iterator[list[str | None]]:
        """Yield WATI's ids of those yet to be sent to, as far as they were looked up, some at a time."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT contact_id FROM rows LEFT JOIN contacts USING (line) WHERE status = 'unsent'"
            )
            while some := cursor.fetchmany(_CONTACTS):
                yield [contact_id for (contact_id,) in some]

    def plan(self, size: int) -> list[Batch]:
        """Divide what is to be sent into batches; from then on rows keep their batch, whatever becomes of them."""
        self._db.execute("UPDATE rows SET left_out = 1 WHERE status <> 'unsent'")
        batches: list[Batch] = []
        with closing(self._db.cursor()) as cursor:
            cursor.execute("SELECT row, target, key FROM rows WHERE left_out IS NULL ORDER BY row")
            while members := cursor.fetchmany(size):
                # Not their ids, which rows may name themselves, and anew each time.
                people = hashlib.sha256(
                    "".join(f"{target}\n{key or ''}\n" for _, target, key in members).encode()
                )
                batches.append(
                    Batch(
                        len(batches) + 1,
                        members[0][0],
                        members[-1][0],
                        people.hexdigest()[:FINGERPRINT_LENGTH],
                    )
                )
        self._db.executemany(
            "INSERT INTO batches VALUES (?, ?, ?)",
            ((batch.number, batch.first, batch.last) for batch in batches),
        )
        return batches

    def people_to_ask_about(self) -> Iterator[str]:
        """Yield everybody who is yet to be sent to, under each spelling of their number."""
        with closing(self._db.cursor()) as cursor:
            for (line,) in cursor.execute("SELECT DISTINCT line FROM rows WHERE status = 'unsent'"):
                yield from spellings_of(line)

    def count_unsent(self) -> int:
        """Count the rows that are yet to be sent."""
        return self._count("status = 'unsent'")

    # Sending

    def unsent(self, batch: Batch) -> list[Message]:
        """Return the messages of a batch that are yet to be sent."""
        return self._db.execute(
            "SELECT row, target, params, local_message_id FROM rows WHERE row BETWEEN ? AND ? "
            "AND status = 'unsent' AND left_out IS NULL",
            (batch.first, batch.last),
        ).fetchall()

    def broadcast(self, id: str | None, name: str, batch: int) -> int:
        """Note a campaign of the batch with a number, and return its own number here."""
        insert = "INSERT INTO broadcasts (id, name, batch) VALUES (?, ?, ?)"
        number = self._db.execute(insert, (id, name, batch)).lastrowid
        assert number is not None  # noqa: S101 # SQLite numbers every row that it inserts
        return number

    def mark(self, batch: Batch, was: SendStatus, status: SendStatus, reason: str | None = None) -> None:
        """Give the rows of a batch that have one status another, but those of whom WATI shows a message."""
        self._db.execute(
            "UPDATE rows SET status = ?, reason = ? WHERE row BETWEEN ? AND ? AND status = ? "
            "AND left_out IS NULL AND broadcast IS NULL",
            (status, reason, batch.first, batch.last, was),
        )

    def answered(self, batch: Batch, rejected: Sequence[tuple[str, int]], broadcast: int) -> None:
        """Note WATI's answer: who was refused and why, ``(reason, row)`` each; the others it accepted."""
        self._db.executemany("UPDATE rows SET status = 'rejected', reason = ? WHERE row = ?", rejected)
        self._accept(batch, broadcast)

    def accepted_before(self, batch: Batch, not_accepted: Iterable[int]) -> None:
        """Note that earlier tries had all of a batch accepted but those in some positions."""
        others = set(not_accepted)
        kept: list[int] = []
        if others:
            members = self._db.execute(
                "SELECT row FROM rows WHERE row BETWEEN ? AND ? AND left_out IS NULL ORDER BY row",
                (batch.first, batch.last),
            )
            kept = [row for position, (row,) in enumerate(members) if position in others]
        self._accept(batch, None)
        self._db.executemany("UPDATE rows SET status = 'unsent' WHERE row = ?", ((row,) for row in kept))

    def _accept(self, batch: Batch, broadcast: int | None) -> None:
        self._db.execute(
            "UPDATE rows SET status = 'accepted', reason = NULL, broadcast = ? "
            "WHERE row BETWEEN ? AND ? AND status = 'unsent' AND left_out IS NULL",
            (broadcast, batch.first, batch.last),
        )

    def lacks_campaign(self, batch: Batch) -> bool:
        """Tell whether it is not known of somebody who was accepted in which campaign."""
        return self._any(
            "row BETWEEN ? AND ? AND left_out IS NULL AND status = 'accepted' AND broadcast IS NULL",
            (batch.first, batch.last),
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
        return self._any("row BETWEEN ? AND ? AND status = ? AND left_out IS NULL", (first, last, status))

    def may_show(self) -> bool:
        """Tell whether WATI may show a message for any row that is not known to be accepted."""
        return self._any("status <> 'accepted' AND local_message_id IS NOT NULL")

    def skip_cancelled(self, broadcasts: Iterable[int]) -> None:
        """Note that campaigns were cancelled, so that nobody in them is messaged."""
        self._db.executemany(
            "UPDATE rows SET status = 'skipped', reason = ? WHERE status = 'accepted' AND broadcast = ?",
            ((_CANCELLED, broadcast) for broadcast in broadcasts),
        )

    def mark_all(self, was: SendStatus, status: SendStatus, reason: str | None = None) -> None:
        """Give all rows that have one status another."""
        self._db.execute("UPDATE rows SET status = ?, reason = ? WHERE status = ?", (status, reason, was))

    def explain_unsent(self, reason: str) -> None:
        """Say why rows were not attempted."""
        self._db.execute("UPDATE rows SET reason = ? WHERE status = 'unsent'", (reason,))

    # What WATI shows of earlier tries

    def listed(self, people: Iterable[CampaignRecipient], broadcast: int) -> None:
        """Note whom a campaign lists."""
        listed: list[tuple[str, str, str | None, str, int]] = []
        for person in people:
            id = str(person.get("local_message_id") or "")
            phone = (person.get("contact_phone") or "").lstrip("+")
            names = {
                "phone": dedupe_key_of(phone),
                "contact": person.get("contact_id"),
                "bsuid": person.get("bsuid"),
            }
            entry = f"{broadcast} {person.get('id') or f'{id} {phone}'}"
            listed += [(entry, kind, name or None, id, broadcast) for kind, name in names.items()]
        with self._at_once():
            self._db.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?, ?)", listed)

    def accept_listed(self, *, same_people: bool) -> None:
        """
        Take everybody whom a campaign lists for accepted, also where the row could not be sent any more.

        An id that is made here says all. One that a row brings along may be another's next time, so it does not count
        where WATI names somebody else; or it may be a new one each time, so that the person counts, and where a person
        may get several messages, whether the campaign is that of the row's own batch.

        :param same_people: whether a campaign holds the people that the batch of its number has now.
        """
        find = "INSERT OR IGNORE INTO found SELECT rows.row, listed.entry, listed.broadcast, {} FROM rows JOIN listed {}"
        by_id = (
            "ON rows.local_message_id = listed.local_message_id WHERE NOT names_itself OR NOT EXISTS "
            "(SELECT 1 FROM listed AS name WHERE name.entry = listed.entry AND name.line <> rows.line AND name.kind = "
            "CASE WHEN instr(rows.line, '.') THEN 'bsuid' WHEN length(rows.line) = 24 THEN 'contact' ELSE 'phone' END)"
        )
        by_person = "ON rows.local_message_id IS NOT NULL AND rows.line = listed.line"
        self._db.execute(find.format(0, by_id))
        if not self.has_keys:
            self._db.execute(find.format(0, by_person))
        elif same_people:
            self._db.execute(
                find.format(1, by_person)
                + " JOIN broadcasts ON number = listed.broadcast JOIN batches USING (batch) "
                "WHERE rows.row BETWEEN first AND last "
                "AND listed.entry NOT IN (SELECT entry FROM found)"
            )
        self._db.execute(
            "UPDATE rows SET status = iif(otherwise_named, 'unknown', 'accepted'), broadcast = found.broadcast, "
            f"reason = iif(otherwise_named, '{_UNDER_ANOTHER_ID}', NULL) FROM found WHERE rows.row = found.row "
            "AND (rows.status <> 'accepted' OR (rows.broadcast IS NULL AND NOT otherwise_named))"
        )

    def count_earlier(self) -> int:
        """Count messages of earlier tries whose rows are gone now."""
        (earlier,) = self._db.execute(
            "SELECT COUNT(DISTINCT entry) FROM listed WHERE entry NOT IN (SELECT entry FROM found)"
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
            "INSERT INTO reached SELECT broadcast, COUNT(*) FROM rows "
            "WHERE broadcast IS NOT NULL AND status = 'accepted' GROUP BY broadcast"
        )
        (count,) = self._db.execute("SELECT COUNT(*) FROM reached").fetchone()
        first = self._db.execute(
            "SELECT id, name, accepted FROM reached JOIN broadcasts ON number = broadcast ORDER BY number LIMIT ?",
            (limit,),
        )
        return int(count), [{"id": id, "name": name, "accepted": n} for id, name, n in first]

    def problems(self) -> list[dict[str, Any]]:
        """Describe the first rows that did not end well, their numbers masked."""
        return first_problems(self._db, "row")

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield what became of each row, in order."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT row, key, target, status, reason, local_message_id, id, name FROM rows "
                "LEFT JOIN broadcasts ON number = broadcast ORDER BY row"
            )
            for row in cursor:
                yield dict(zip(SEND_COLUMNS, row, strict=True))

    def _any(self, condition: str, values: Sequence[Any] = ()) -> bool:
        return (
            self._db.execute(f"SELECT 1 FROM rows WHERE {condition} LIMIT 1", values).fetchone() is not None
        )

    def _count(self, condition: str) -> int:
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM rows WHERE {condition}").fetchone()
        return int(count)
