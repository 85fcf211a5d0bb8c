"""The scratch database of a contact sync: the rows of one run, and what is known of WATI's contacts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.syncing.diff import Person
from airflow_provider_wati.syncing.snapshot import vals_of
from airflow_provider_wati.tables.outcomes import SYNC_COLUMNS, SyncStatus
from airflow_provider_wati.tables.scratch_db import CHUNK, first_problems, open_scratch_db

if TYPE_CHECKING:
    from airflow_provider_wati.syncing.row_mapping import CheckedRow
    from airflow_provider_wati.syncing.snapshot import Known

# `people` is the snapshot: at any moment what the next run has to know if this one dies now. `written`: this sync has
# written to the contact, or may have; `certain`: it is known that the contact exists.
# `rows` has the rows, and after them the people who are no longer in them. A row that is yet to be written is `unsent`;
# `act` is how (`put` or `post`), `done` its status when that succeeds, `was` and `was_written` what `people` had.
_TABLES = """
CREATE TABLE people (
    phone_number TEXT PRIMARY KEY, written INTEGER NOT NULL, certain INTEGER NOT NULL, name TEXT, vals TEXT
) WITHOUT ROWID;
CREATE TABLE listed (phone_number TEXT PRIMARY KEY, name TEXT, vals TEXT) WITHOUT ROWID;
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, row INTEGER, status TEXT NOT NULL, reason TEXT, act TEXT, done TEXT, switched INTEGER,
    phone_number TEXT, target TEXT NOT NULL, name TEXT, vals TEXT, was TEXT, was_written INTEGER
);
"""

_OTHER_NAME = "WATI has another name for the contact, and its API cannot change it"
KNOWN = "WATI knows the phone number, and mode is insert"
NO_NAME = "there is no name, and WATI needs one for a new contact: give one, for example COALESCE(name, ...) in the query"
_REMOVED = "written AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.phone_number = people.phone_number)"
_UNCERTAIN = (
    "rows WHERE status = 'unsent' "
    "AND EXISTS (SELECT 1 FROM people WHERE people.phone_number = rows.phone_number AND NOT certain)"
)


class ContactDb:
    """
    Rows, outcomes and what is known of WATI's contacts. Memory holds one chunk of them at a time.

    :param attributes: how many attributes are mapped.
    """

    def __init__(self, attributes: int) -> None:
        self._empty = vals_of([""] * attributes)
        self._db = open_scratch_db()
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Delete the database."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write many rows in one transaction. There is no journal to roll back with, so an error keeps what was written."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    # What comes in

    def load_rows(self, rows: Iterable[CheckedRow]) -> None:
        """Load all rows, and refuse the phone numbers that occur twice."""
        numbered = enumerate(rows, 1)
        while chunk := list(islice(numbered, CHUNK)):
            with self.transaction():
                self._db.executemany(
                    "INSERT INTO rows (row, status, reason, phone_number, target, name, vals) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (row, SyncStatus.INVALID if complaint else SyncStatus.UNSENT, complaint, *person)
                        for row, (*person, complaint) in chunk
                    ],
                )
        self._db.execute("CREATE INDEX by_number ON rows (phone_number) WHERE phone_number IS NOT NULL")
        # It is not known which of them is right, and a guess would be written to a customer's record.
        self._db.execute(
            "UPDATE rows SET status = 'invalid', reason = 'the same phone number stands in ' || again.times || "
            "' rows, of which row ' || again.first || ' is the first: give one row per phone number' "
            "FROM (SELECT phone_number, COUNT(*) AS times, MIN(row) AS first FROM rows WHERE phone_number IS NOT NULL "
            "GROUP BY phone_number HAVING COUNT(*) > 1) AS again "
            "WHERE rows.phone_number IS NOT NULL AND rows.phone_number = again.phone_number AND status = 'unsent'"
        )

    def load_known(self, known: Iterable[Known]) -> None:
        """Load what a snapshot holds."""
        known = iter(known)
        while chunk := list(islice(known, CHUNK)):
            with self.transaction():
                self._db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", chunk)

    def load_listed(self, contacts: Iterable[tuple[str, str | None, str]]) -> int:
        """
        Load the contacts that WATI lists, and return their count.

        :param contacts: phone number, name and values of each.
        """
        counted = 0
        contacts = iter(contacts)
        while chunk := list(islice(contacts, CHUNK)):
            counted += len(chunk)
            with self.transaction():
                # A person may have a contact for each channel. Which of them an update reaches is not documented, so
                # where they differ, the values are unknown.
                self._db.executemany(
                    "INSERT INTO listed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "vals = CASE WHEN vals = excluded.vals THEN vals END",
                    chunk,
                )
        with self.transaction():
            self._db.execute(
                "INSERT INTO people SELECT phone_number, 0, 1, name, vals FROM listed WHERE TRUE "
                "ON CONFLICT DO UPDATE SET certain = 1, name = excluded.name, vals = excluded.vals"
            )
            self._db.execute("DELETE FROM people WHERE phone_number NOT IN (SELECT phone_number FROM listed)")
            self._db.execute("DELETE FROM listed")
        return counted

    # Before anything is written

    def count_uncertain(self) -> int:
        """Count the people to be written of whom it is not known whether WATI has them."""
        return self._count(_UNCERTAIN)

    def uncertain(self) -> list[str]:
        """Return the phone numbers of :meth:`count_uncertain`; the caller makes sure that they are few."""
        return [
            phone_number for (phone_number,) in self._db.execute(f"SELECT phone_number FROM {_UNCERTAIN}")
        ]

    def record_found(self, phone_number: str, name: str | None, vals: str) -> None:
        """Record what WATI has of a person."""
        self._db.execute(
            "UPDATE people SET certain = 1, name = ?, vals = ? WHERE phone_number = ?",
            (name, vals, phone_number),
        )

    def record_missing(self, phone_number: str) -> None:
        """Record that WATI does not have a person."""
        self._db.execute("DELETE FROM people WHERE phone_number = ?", (phone_number,))

    def count_new(self) -> int:
        """Count the people to be written whose contact is not known to exist."""
        return self._count(
            "rows WHERE status = 'unsent' "
            "AND NOT EXISTS (SELECT 1 FROM people WHERE people.phone_number = rows.phone_number AND certain)"
        )

    def compare(self, mode: str) -> None:
        """Compare the rows with what is known, and decide how each difference is written."""
        with self.transaction():
            self._db.execute(
                "UPDATE rows SET done = 'updated', was = people.vals, was_written = people.written, "
                "act = CASE WHEN people.vals IS rows.vals THEN 'none' ELSE 'put' END, "
                f"reason = CASE WHEN rows.name <> people.name THEN '{_OTHER_NAME}' END "
                "FROM people WHERE rows.status = 'unsent' AND people.phone_number = rows.phone_number"
            )
            if mode == "insert":
                self._skip("act IS NOT NULL", KNOWN)
            self._db.execute(
                "UPDATE rows SET status = 'unchanged', act = NULL WHERE status = 'unsent' AND act = 'none'"
            )
            if mode == "update":
                self._skip("act IS NULL", "WATI does not know the phone number, and mode is update")
            self._db.execute(
                "UPDATE rows SET status = 'invalid', reason = ? WHERE status = 'unsent' AND act IS NULL AND name IS NULL",
                (NO_NAME,),
            )
            self._db.execute(
                "UPDATE rows SET act = 'post', done = 'created', was_written = 0 WHERE status = 'unsent' AND act IS NULL"
            )
            self._db.execute("CREATE INDEX todo ON rows (act, id) WHERE status = 'unsent'")

    def _skip(self, condition: str, reason: str) -> None:
        self._db.execute(
            f"UPDATE rows SET status = 'skipped', act = NULL, reason = ? WHERE status = 'unsent' AND {condition}",
            (reason,),
        )

    def count_written(self) -> tuple[int, int]:
        """Count the people that this sync has written, and those of them who are no longer in the rows."""
        # These have nothing left to clear, and must not add up from run to run.
        self._db.execute(f"UPDATE people SET written = 0 WHERE {_REMOVED} AND vals IS ?", (self._empty,))
        written = self._count("people WHERE written")
        return written, self._count(f"people WHERE {_REMOVED}")

    def count_unreadable(self) -> int:
        """Count the rows whose phone number cannot be read, which may be about anybody."""
        return self._count("rows WHERE phone_number IS NULL")

    def clear_removed(self, why_not: str | None) -> None:
        """
        Add the people who are no longer in the rows, with their attributes to be emptied.

        :param why_not: the reason not to empty them after all.
        """
        self._db.execute(
            "INSERT INTO rows (status, reason, act, done, phone_number, target, vals, was, was_written) "
            "SELECT ?, ?, ?, 'cleared', phone_number, phone_number, ?, vals, 1 "
            f"FROM people WHERE {_REMOVED} AND vals IS NOT ? ORDER BY phone_number",
            (
                SyncStatus.SKIPPED if why_not else SyncStatus.UNSENT,
                why_not,
                None if why_not else "put",
                self._empty,
                self._empty,
            ),
        )

    def begin(self) -> None:
        """
        Mark everything that is about to be written as unknown.

        If the run dies, it stays unknown, and the next run writes it again: it cannot compare it with values that this
        run may have replaced.
        """
        with self.transaction():
            self._db.execute(
                "INSERT INTO people SELECT phone_number, 1, act = 'put', name, NULL FROM rows WHERE status = 'unsent' "
                "ON CONFLICT DO UPDATE SET written = 1, vals = NULL"
            )

    # Writing

    def next(self, act: str, most: int) -> list[Person]:
        """Return the next people to be written with one kind of call (``put`` or ``post``)."""
        found = self._db.execute(
            "SELECT id, phone_number, name, vals, was, done, switched FROM rows WHERE act = ? AND status = 'unsent' "
            "ORDER BY id LIMIT ?",
            (act, most),
        )
        return [
            Person(id, phone_number, name, json.loads(vals), was and json.loads(was), done, bool(switched))
            for id, phone_number, name, vals, was, done, switched in found
        ]

    def mark(self, people: Iterable[Person], status: SyncStatus, reason: str | None = None) -> None:
        """Set the status of people; what is known of their contacts stays."""
        with self.transaction():
            self._db.executemany(
                "UPDATE rows SET status = ?, reason = ? WHERE id = ?",
                [(status, reason, p.id) for p in people],
            )

    def record_written(self, people: Sequence[tuple[Person, str | None, str | None]]) -> None:
        """
        Record that WATI has the values of the rows.

        :param people: each with the name that WATI has, and the values if it showed them.
        """
        with self.transaction():
            self._db.executemany(
                f"UPDATE rows SET status = done, reason = CASE WHEN name <> ? THEN '{_OTHER_NAME}' END WHERE id = ?",
                [(name, person.id) for person, name, _ in people],
            )
            # A person who was cleared does not belong to the sync any more.
            self._db.executemany(
                "UPDATE people SET certain = 1, name = ?1, vals = COALESCE(?3, rows.vals), written = rows.done <> 'cleared' "
                "FROM rows WHERE rows.id = ?2 AND people.phone_number = rows.phone_number",
                [(name or person.name, person.id, vals) for person, name, vals in people],
            )

    def record_unchanged(self, person: Person, name: str | None) -> None:
        """Record that WATI had the values already."""
        self.record_written([(person, name, None)])
        self._set_people(person, "written = rows.was_written")
        self._db.execute("UPDATE rows SET status = 'unchanged' WHERE id = ?", (person.id,))

    def switch(self, person: Person, act: str, done: SyncStatus, was: str | None = None) -> None:
        """Record that a person needs the other kind of call: a create instead of an update, or the other way round."""
        self._db.execute(
            "UPDATE rows SET status = 'unsent', reason = NULL, act = ?, done = ?, was = ?, switched = 1 WHERE id = ?",
            (act, done, was, person.id),
        )
        self._db.execute(
            "UPDATE people SET certain = ?, vals = NULL WHERE phone_number = ?",
            (act == "put", person.phone_number),
        )

    def record_existing(self, person: Person, name: str | None, vals: str, reason: str) -> None:
        """Record that a contact exists, and is therefore left alone."""
        self.mark([person], SyncStatus.SKIPPED, reason)
        self.record_found(person.phone_number, name, vals)
        self._set_people(person, "written = rows.was_written")

    def record_refused(self, person: Person, status: SyncStatus, reason: str, *, missing: bool) -> None:
        """
        Record that WATI refused the values of the row.

        :param missing: whether WATI does not have the contact at all.
        """
        self.mark([person], status, reason)
        if missing:
            self.record_missing(person.phone_number)
        else:
            self._set_people(person, "written = rows.was_written")

    def _set_people(self, person: Person, change: str) -> None:
        self._db.execute(
            f"UPDATE people SET {change} FROM rows WHERE rows.id = ? AND people.phone_number = rows.phone_number",
            (person.id,),
        )

    def finish(self) -> None:
        """Restore what was known of the people who were not attempted."""
        with self.transaction():
            self._db.execute(
                "DELETE FROM people WHERE phone_number IN (SELECT phone_number FROM rows WHERE act = 'post' AND status = 'unsent')"
            )
            self._db.execute(
                "UPDATE people SET vals = rows.was, written = rows.was_written FROM rows "
                "WHERE rows.act = 'put' AND rows.status = 'unsent' AND people.phone_number = rows.phone_number"
            )

    def known(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the snapshot for the next run."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(
                "SELECT phone_number, written, certain, name, vals FROM people ORDER BY phone_number"
            )

    # Results

    def explain_unsent(self, reason: str) -> None:
        """Record why rows were not attempted."""
        self._db.execute("UPDATE rows SET reason = ? WHERE status = 'unsent'", (reason,))

    def plan(self) -> dict[str, int]:
        """Count the planned writes, before the first of them."""
        return {
            "to_create": self._count("rows WHERE status = 'unsent' AND done = 'created'"),
            "to_update": self._count("rows WHERE status = 'unsent' AND done = 'updated'"),
            "to_clear": self._count("rows WHERE status = 'unsent' AND done = 'cleared'"),
        }

    def counts(self) -> dict[str, int]:
        """Count the rows in each status, including the people who are no longer in the rows."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM rows GROUP BY status"))
        return {"total": sum(found.values()), **{status.value: found.get(status, 0) for status in SyncStatus}}

    def count_rows(self) -> int:
        """Count the rows that were read."""
        return self._count("rows WHERE row IS NOT NULL")

    def problems(self) -> list[dict[str, Any]]:
        """Return the first rows that failed, phone numbers masked."""
        return first_problems(self._db, "id")

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield the outcome of each row, in order."""
        with closing(self._db.cursor()) as cursor:
            for row in cursor.execute("SELECT row, target, status, reason FROM rows ORDER BY id"):
                yield dict(zip(SYNC_COLUMNS, row, strict=True))

    def _count(self, what: str) -> int:
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM {what}").fetchone()
        return int(count)
