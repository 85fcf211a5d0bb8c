"""What is known of WATI's contacts: from the snapshot, from a listing, and from single look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.syncing.scratch_tables import TablesPart
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from airflow_provider_wati.tables.scratch_db import CHUNK, bulk_write

if TYPE_CHECKING:
    import sqlite3

    from airflow_provider_wati.syncing.diff import Seen
    from airflow_provider_wati.syncing.snapshot import Known

_UNLISTED = "person NOT IN (SELECT person FROM listed)"
_UNCERTAIN = "people WHERE NOT certain AND EXISTS (SELECT 1 FROM rows WHERE rows.person = people.person AND status = 'unsent')"
_REMOVED = "intended <> '' AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.person = people.person)"
# The values that WATI shows say if they are those that this sync was to write.
_SETTLED = "written = written OR is_intended({0}, intended), intended = CASE WHEN {0} IS NULL THEN intended ELSE '' END"
# Where WATI has a contact for each spelling of one line, the one that a row names is meant.
_LISTED = f"""
INSERT INTO people SELECT person, phone_number, 0, 1, name, vals, '' FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY person ORDER BY EXISTS (
        SELECT 1 FROM rows WHERE rows.person = listed.person AND rows.phone_number = listed.phone_number
    ) DESC, phone_number) AS place FROM listed
) WHERE place = 1
ON CONFLICT DO UPDATE SET certain = 1, phone_number = excluded.phone_number, name = excluded.name, vals = excluded.vals,
    {_SETTLED.format("excluded.vals")}
"""


class KnownContacts(TablesPart):
    """
    The contacts that are known, one for each person.

    :param db: the scratch database.
    :param settles_removed: whether it matters if people who are no longer in the rows were written by a run that died.
    """

    def __init__(self, db: sqlite3.Connection, *, settles_removed: bool) -> None:
        super().__init__(db)
        self._uncertain = f"{_UNCERTAIN} OR {_REMOVED}" if settles_removed else _UNCERTAIN

    def load_snapshot(self, known: Iterable[Known]) -> None:
        """Load what a snapshot holds; of a person who is in it twice, the values are not known."""
        self._insert(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET vals = NULL, "
            "written = MAX(written, excluded.written), certain = MAX(certain, excluded.certain), "
            "intended = trim(intended || ',' || excluded.intended, ',')",
            ((dedupe_key_of(each.phone_number), *each) for each in known),
        )

    def add_listed(self, contacts: Iterable[tuple[str, Sequence[Seen]]]) -> int:
        """
        Add the contacts that WATI lists, before :meth:`take_listed`.

        :param contacts: the id of each, and what it shows.
        :return: how many there are, with repetitions.
        """
        contacts, count = iter(contacts), 0
        while chunk := list(islice(contacts, CHUNK)):
            count += len(chunk)
            with bulk_write(self._db):
                self._db.executemany(
                    "INSERT OR IGNORE INTO listed_contacts VALUES (?)", [(id,) for id, _ in chunk]
                )
                # A person may have a contact for each channel. Which of them an update reaches is not documented, so
                # where they differ, the values are unknown.
                self._db.executemany(
                    "INSERT INTO listed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "vals = CASE WHEN vals = excluded.vals THEN vals END",
                    [
                        (seen.phone_number, dedupe_key_of(seen.phone_number), seen.name, seen.vals)
                        for _, each in chunk
                        for seen in each
                    ],
                )
        return count

    def count_listed(self) -> int:
        """Count the contacts of all listings, each of them once."""
        return self._count("listed_contacts")

    def has_unlisted(self) -> bool:
        """Return whether the listings lack a person of the rows, or one who is known."""
        return bool(
            self._count(f"rows WHERE status = 'unsent' AND {_UNLISTED}")
            or self._count(f"people WHERE {_UNLISTED}")
        )

    def take_listed(self, *, is_whole: bool) -> None:
        """
        Take over what WATI lists.

        :param is_whole: whether the listings have everybody. The others are then forgotten; else they are uncertain.
        """
        with bulk_write(self._db):
            self._db.execute(_LISTED)
            if is_whole:
                self._db.execute(f"DELETE FROM people WHERE {_UNLISTED}")
            else:
                self._db.execute(f"UPDATE people SET certain = 0, vals = NULL WHERE {_UNLISTED}")
                self.add_unknown()
            self._db.execute("DELETE FROM listed")
            self._db.execute("DELETE FROM listed_contacts")

    def add_unknown(self) -> None:
        """Add the people of the rows who are not known, as uncertain."""
        self._db.execute(
            "INSERT INTO people SELECT person, phone_number, 0, 0, NULL, NULL, '' FROM rows WHERE status = 'unsent' "
            "AND NOT EXISTS (SELECT 1 FROM people WHERE people.person = rows.person)"
        )

    def count_uncertain(self) -> int:
        """Count the people to be written, and to be cleared, of whom the snapshot does not tell what WATI has."""
        return self._count(self._uncertain)

    def uncertain(self) -> list[str]:
        """Return the phone numbers of :meth:`count_uncertain`, in memory: each of them is going to cost a call."""
        found = self._db.execute(f"SELECT phone_number FROM {self._uncertain}")
        return [phone_number for (phone_number,) in found]

    def record_found(self, seen: Seen) -> None:
        """Record what WATI has of a person."""
        self._db.execute(
            "UPDATE people SET certain = 1, phone_number = :phone_number, name = :name, vals = :vals, "
            f"{_SETTLED.format(':vals')} WHERE person = :person",
            {**seen._asdict(), "person": dedupe_key_of(seen.phone_number)},
        )

    def record_missing(self, phone_number: str) -> None:
        """Record that WATI does not have a person."""
        self._db.execute("DELETE FROM people WHERE person = ?", (dedupe_key_of(phone_number),))

    def all(self) -> Iterator[tuple[Any, ...]]:
        """Yield the lines of the snapshot for the next run."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(
                "SELECT phone_number, written, certain, name, vals, intended FROM people ORDER BY person"
            )
