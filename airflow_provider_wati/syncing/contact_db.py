"""The rows of one run of a contact sync, in a run file beside what is known of WATI's contacts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wati.syncing.snapshot import vals_of
from airflow_provider_wati.tables.outcomes import SYNC_COLUMNS, SyncStatus
from airflow_provider_wati.tables.scratch_db import CHUNK, first_problems, open_run_file

if TYPE_CHECKING:
    from airflow_provider_wati.syncing.snapshot import Known

# `people` is the snapshot: at any moment what the next run has to know if this one dies now.
# `rows` has the rows, and after them the people who are gone from them. A row that is yet to be written is `unsent`;
# `act` is how (`put` or `post`), `done` how it ends when that succeeds, `was` and `was_ours` what `people` had.
_TABLES = """
CREATE TABLE people (
    number TEXT PRIMARY KEY, ours INTEGER NOT NULL, sure INTEGER NOT NULL, name TEXT, vals TEXT
) WITHOUT ROWID;
CREATE TABLE listed (number TEXT PRIMARY KEY, name TEXT, vals TEXT) WITHOUT ROWID;
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, row INTEGER, status TEXT NOT NULL, reason TEXT, act TEXT, done TEXT, turned INTEGER,
    number TEXT, target TEXT NOT NULL, name TEXT, vals TEXT, was TEXT, was_ours INTEGER
);
"""

_OTHER_NAME = "WATI has another name for the contact, and no call to change it"
KNOWN = "WATI knows the number, and mode is insert"
NO_NAME = (
    "there is no name, and WATI needs one for a new contact: give one, COALESCE(name, ...) in the query say"
)
_GONE = "ours AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.number = people.number)"
_DOUBTFUL = (
    "rows WHERE status = 'unsent' "
    "AND EXISTS (SELECT 1 FROM people WHERE people.number = rows.number AND NOT sure)"
)


class Person(NamedTuple):
    """
    Somebody to be written to WATI.

    :param id: the row in the run file.
    :param values: the mapped attributes as they should be, empty where there is none.
    :param was: the same as WATI has them; None if that is not known.
    :param done: the status when it succeeds.
    :param turned: whether WATI's answer has already turned a create into an update, or the other way round.
    """

    id: int
    number: str
    name: str | None
    values: list[str]
    was: list[str] | None
    done: str
    turned: bool


class SyncFile:
    """
    Rows, outcomes and what is known of WATI's contacts. Whatever number of them there is, memory holds one chunk.

    :param attributes: how many attributes are mapped.
    """

    def __init__(self, attributes: int) -> None:
        self._empty = vals_of([""] * attributes)
        self._db = open_run_file()
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write many rows in one go. There is no way back from it, so an error keeps what was written."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    # What comes in

    def load_rows(self, rows: Iterable[tuple[str | None, str, str | None, str | None, str | None]]) -> None:
        """
        Read all rows, and find the numbers that occur twice.

        :param rows: number, target as it stands in the row, name, values and what is wrong with it, of each.
        """
        numbered = enumerate(rows, 1)
        while chunk := list(islice(numbered, CHUNK)):
            with self.at_once():
                self._db.executemany(
                    "INSERT INTO rows (row, status, reason, number, target, name, vals) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (row, SyncStatus.INVALID if complaint else SyncStatus.UNSENT, complaint, *person)
                        for row, (*person, complaint) in chunk
                    ],
                )
        self._db.execute("CREATE INDEX by_number ON rows (number) WHERE number IS NOT NULL")
        # Which of them is right nobody can tell, and a guess would be written to a customer's record.
        self._db.execute(
            "UPDATE rows SET status = 'invalid', reason = 'the same number stands in ' || again.times || "
            "' rows, of which row ' || again.first || ' is the first: make it one row a number' "
            "FROM (SELECT number, COUNT(*) AS times, MIN(row) AS first FROM rows WHERE number IS NOT NULL "
            "GROUP BY number HAVING COUNT(*) > 1) AS again "
            "WHERE rows.number IS NOT NULL AND rows.number = again.number AND status = 'unsent'"
        )

    def load_known(self, known: Iterable[Known]) -> None:
        """Read what a snapshot holds."""
        known = iter(known)
        while chunk := list(islice(known, CHUNK)):
            with self.at_once():
                self._db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", chunk)

    def load_listed(self, contacts: Iterable[tuple[str, str | None, str]]) -> int:
        """
        Take over what WATI lists, and return how many contacts that were.

        :param contacts: number, name and values of each.
        """
        counted = 0
        contacts = iter(contacts)
        while chunk := list(islice(contacts, CHUNK)):
            counted += len(chunk)
            with self.at_once():
                # Somebody may have a contact for each channel. Which of them an update reaches is not documented,
                # so where they differ nothing is known.
                self._db.executemany(
                    "INSERT INTO listed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "vals = CASE WHEN vals = excluded.vals THEN vals END",
                    chunk,
                )
        with self.at_once():
            self._db.execute(
                "INSERT INTO people SELECT number, 0, 1, name, vals FROM listed WHERE TRUE "
                "ON CONFLICT DO UPDATE SET sure = 1, name = excluded.name, vals = excluded.vals"
            )
            self._db.execute("DELETE FROM people WHERE number NOT IN (SELECT number FROM listed)")
            self._db.execute("DELETE FROM listed")
        return counted

    # Before anything is written

    def count_doubtful(self) -> int:
        """Count the people to be written of whom nobody can tell whether WATI has them."""
        return self._count(_DOUBTFUL)

    def doubtful(self) -> list[str]:
        """Return the numbers of :meth:`count_doubtful`; the caller knows that they are few."""
        return [number for (number,) in self._db.execute(f"SELECT number FROM {_DOUBTFUL}")]

    def found(self, number: str, name: str | None, vals: str) -> None:
        """Note what WATI has of somebody."""
        self._db.execute(
            "UPDATE people SET sure = 1, name = ?, vals = ? WHERE number = ?", (name, vals, number)
        )

    def missing(self, number: str) -> None:
        """Note that WATI does not have somebody."""
        self._db.execute("DELETE FROM people WHERE number = ?", (number,))

    def count_new(self) -> int:
        """Count the people to be written whom WATI is not known to have."""
        return self._count(
            "rows WHERE status = 'unsent' "
            "AND NOT EXISTS (SELECT 1 FROM people WHERE people.number = rows.number AND sure)"
        )

    def compare(self, mode: str) -> None:
        """Find what differs from what is known, and how it is to be written."""
        with self.at_once():
            self._db.execute(
                "UPDATE rows SET done = 'updated', was = people.vals, was_ours = people.ours, "
                "act = CASE WHEN people.vals IS rows.vals THEN 'none' ELSE 'put' END, "
                f"reason = CASE WHEN rows.name <> people.name THEN '{_OTHER_NAME}' END "
                "FROM people WHERE rows.status = 'unsent' AND people.number = rows.number"
            )
            if mode == "insert":
                self._skip("act IS NOT NULL", KNOWN)
            self._db.execute(
                "UPDATE rows SET status = 'unchanged', act = NULL WHERE status = 'unsent' AND act = 'none'"
            )
            if mode == "update":
                self._skip("act IS NULL", "WATI does not know the number, and mode is update")
            self._db.execute(
                "UPDATE rows SET status = 'invalid', reason = ? WHERE status = 'unsent' AND act IS NULL AND name IS NULL",
                (NO_NAME,),
            )
            self._db.execute(
                "UPDATE rows SET act = 'post', done = 'created', was_ours = 0 WHERE status = 'unsent' AND act IS NULL"
            )
            self._db.execute("CREATE INDEX todo ON rows (act, id) WHERE status = 'unsent'")

    def _skip(self, condition: str, reason: str) -> None:
        self._db.execute(
            f"UPDATE rows SET status = 'skipped', act = NULL, reason = ? WHERE status = 'unsent' AND {condition}",
            (reason,),
        )

    def count_ours(self) -> tuple[int, int]:
        """Count the people whom this sync has written, and those of them who are gone from the rows."""
        # Nothing is left to clear of these, and they must not add up from run to run.
        self._db.execute(f"UPDATE people SET ours = 0 WHERE {_GONE} AND vals IS ?", (self._empty,))
        ours = self._count("people WHERE ours")
        return ours, self._count(f"people WHERE {_GONE}")

    def count_unreadable(self) -> int:
        """Count the rows that may be about anybody."""
        return self._count("rows WHERE number IS NULL")

    def clear_removed(self, why_not: str | None) -> None:
        """
        Add the people who are gone from the rows, their attributes to be emptied.

        :param why_not: why they are to be left alone after all.
        """
        self._db.execute(
            "INSERT INTO rows (status, reason, act, done, number, target, vals, was, was_ours) "
            "SELECT ?, ?, ?, 'cleared', number, number, ?, vals, 1 "
            f"FROM people WHERE {_GONE} AND vals IS NOT ? ORDER BY number",
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
        Take all that is about to be written for unknown.

        A run that dies leaves them so, and the next one writes them again: it cannot compare them with values
        that this run may have replaced.
        """
        with self.at_once():
            self._db.execute(
                "INSERT INTO people SELECT number, 1, act = 'put', name, NULL FROM rows WHERE status = 'unsent' "
                "ON CONFLICT DO UPDATE SET ours = 1, vals = NULL"
            )

    # Writing

    def next(self, act: str, most: int) -> list[Person]:
        """Return the next people to be written in a way."""
        found = self._db.execute(
            "SELECT id, number, name, vals, was, done, turned FROM rows WHERE act = ? AND status = 'unsent' "
            "ORDER BY id LIMIT ?",
            (act, most),
        )
        return [
            Person(id, number, name, json.loads(vals), was and json.loads(was), done, bool(turned))
            for id, number, name, vals, was, done, turned in found
        ]

    def mark(self, people: Iterable[Person], status: SyncStatus, reason: str | None = None) -> None:
        """Give people a status without news of what WATI has."""
        with self.at_once():
            self._db.executemany(
                "UPDATE rows SET status = ?, reason = ? WHERE id = ?",
                [(status, reason, p.id) for p in people],
            )

    def written(self, people: Sequence[tuple[Person, str | None, str | None]]) -> None:
        """
        Note that WATI has what the rows say.

        :param people: beside each the name that WATI has, and the values if it showed them.
        """
        with self.at_once():
            self._db.executemany(
                f"UPDATE rows SET status = done, reason = CASE WHEN name <> ? THEN '{_OTHER_NAME}' END WHERE id = ?",
                [(name, person.id) for person, name, _ in people],
            )
            # Whom it has emptied, the sync has nothing to do with any more.
            self._db.executemany(
                "UPDATE people SET sure = 1, name = ?1, vals = COALESCE(?3, rows.vals), ours = rows.done <> 'cleared' "
                "FROM rows WHERE rows.id = ?2 AND people.number = rows.number",
                [(name or person.name, person.id, vals) for person, name, vals in people],
            )

    def matches(self, person: Person, name: str | None) -> None:
        """Note that WATI has it all already."""
        self.written([(person, name, None)])
        self._set_people(person, "ours = rows.was_ours")
        self._db.execute("UPDATE rows SET status = 'unchanged' WHERE id = ?", (person.id,))

    def turn(self, person: Person, act: str, done: SyncStatus, was: str | None = None) -> None:
        """Note that somebody is to be written in another way than was thought."""
        self._db.execute(
            "UPDATE rows SET status = 'unsent', reason = NULL, act = ?, done = ?, was = ?, turned = 1 WHERE id = ?",
            (act, done, was, person.id),
        )
        self._db.execute(
            "UPDATE people SET sure = ?, vals = NULL WHERE number = ?", (act == "put", person.number)
        )

    def is_there(self, person: Person, name: str | None, vals: str, reason: str) -> None:
        """Note that WATI has somebody who was to be left alone in that case."""
        self.mark([person], SyncStatus.SKIPPED, reason)
        self.found(person.number, name, vals)
        self._set_people(person, "ours = rows.was_ours")

    def refused(self, person: Person, status: SyncStatus, reason: str, *, missing: bool) -> None:
        """
        Note that WATI did not take what the row says.

        :param missing: whether it does not have the contact at all.
        """
        self.mark([person], status, reason)
        if missing:
            self.missing(person.number)
        else:
            self._set_people(person, "ours = rows.was_ours")

    def _set_people(self, person: Person, change: str) -> None:
        self._db.execute(
            f"UPDATE people SET {change} FROM rows WHERE rows.id = ? AND people.number = rows.number",
            (person.id,),
        )

    def finish(self) -> None:
        """Restore what was known of those who were not attempted."""
        with self.at_once():
            self._db.execute(
                "DELETE FROM people WHERE number IN (SELECT number FROM rows WHERE act = 'post' AND status = 'unsent')"
            )
            self._db.execute(
                "UPDATE people SET vals = rows.was, ours = rows.was_ours FROM rows "
                "WHERE rows.act = 'put' AND rows.status = 'unsent' AND people.number = rows.number"
            )

    def known(self) -> Iterator[tuple[Any, ...]]:
        """Yield what the next run has to know."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute("SELECT number, ours, sure, name, vals FROM people ORDER BY number")

    # What became of it

    def explain_unsent(self, reason: str) -> None:
        """Say why rows were not attempted."""
        self._db.execute("UPDATE rows SET reason = ? WHERE status = 'unsent'", (reason,))

    def plan(self) -> dict[str, int]:
        """Count what is to be done, before any of it is."""
        return {
            "to_create": self._count("rows WHERE status = 'unsent' AND done = 'created'"),
            "to_update": self._count("rows WHERE status = 'unsent' AND done = 'updated'"),
            "to_clear": self._count("rows WHERE status = 'unsent' AND done = 'cleared'"),
        }

    def counts(self) -> dict[str, int]:
        """Count the rows, those who are gone from them included, and how many ended in each status."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM rows GROUP BY status"))
        return {"total": sum(found.values()), **{status.value: found.get(status, 0) for status in SyncStatus}}

    def count_rows(self) -> int:
        """Count the rows that were read."""
        return self._count("rows WHERE row IS NOT NULL")

    def problems(self) -> list[dict[str, Any]]:
        """Describe the first rows that did not end well, their numbers masked."""
        return first_problems(self._db, "id")

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield what became of each row, in order."""
        with closing(self._db.cursor()) as cursor:
            for row in cursor.execute("SELECT row, target, status, reason FROM rows ORDER BY id"):
                yield dict(zip(SYNC_COLUMNS, row, strict=True))

    def _count(self, what: str) -> int:
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM {what}").fetchone()
        return int(count)
