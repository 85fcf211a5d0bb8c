"""What is known of WATI's contacts: from the snapshot, from a listing, and from single look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.syncing.scratch_tables import TablesPart
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of

if TYPE_CHECKING:
    from airflow_provider_wati.syncing.diff import Seen
    from airflow_provider_wati.syncing.snapshot import Known

_UNCERTAIN = "rows WHERE status = 'unsent' AND EXISTS (SELECT 1 FROM people WHERE people.person = rows.person AND NOT certain)"
# Where WATI has a contact for each spelling of one line, the one that a row names is meant.
_LISTED = """
INSERT INTO people SELECT person, phone_number, 0, 1, name, vals FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY person ORDER BY EXISTS (
        SELECT 1 FROM rows WHERE rows.person = listed.person AND rows.phone_number = listed.phone_number
    ) DESC, phone_number) AS place FROM listed
) WHERE place = 1
ON CONFLICT DO UPDATE SET certain = 1, phone_number = excluded.phone_number, name = excluded.name, vals = excluded.vals
"""


class KnownContacts(TablesPart):
    """The contacts that are known, one for each person."""

    def load_snapshot(self, known: Iterable[Known]) -> None:
        """Load what a snapshot holds; of a person who is in it twice, the values are not known."""
        self._insert(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET vals = NULL, "
            "written = MAX(written, excluded.written), certain = MAX(certain, excluded.certain)",
            ((dedupe_key_of(each.phone_number), *each) for each in known),
        )

    def load_listed(self, contacts: Iterable[Seen]) -> None:
        """Load the contacts that WATI lists; those that are known and not listed are forgotten."""
        # A person may have a contact for each channel. Which of them an update reaches is not documented, so where they
        # differ, the values are unknown.
        self._insert(
            "INSERT INTO listed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "vals = CASE WHEN vals = excluded.vals THEN vals END",
            (
                (seen.phone_number, dedupe_key_of(seen.phone_number), seen.name, seen.vals)
                for seen in contacts
            ),
        )
        with self._transaction():
            self._db.execute(_LISTED)
            self._db.execute("DELETE FROM people WHERE person NOT IN (SELECT person FROM listed)")
            self._db.execute("DELETE FROM listed")

    def count_uncertain(self) -> int:
        """Count the people to be written of whom it is not known whether WATI has them."""
        return self._count(_UNCERTAIN)

    def uncertain(self) -> list[str]:
        """Return the phone numbers of :meth:`count_uncertain`; the caller makes sure that they are few."""
        found = self._db.execute(f"SELECT phone_number FROM {_UNCERTAIN}")
        return [phone_number for (phone_number,) in found]

    def count_new(self) -> int:
        """Count the people to be written whose contact is not known to exist."""
        return self._count(
            "rows WHERE status = 'unsent' "
            "AND NOT EXISTS (SELECT 1 FROM people WHERE people.person = rows.person AND certain)"
        )

    def record_found(self, seen: Seen) -> None:
        """Record what WATI has of a person."""
        self._db.execute(
            "UPDATE people SET certain = 1, phone_number = ?, name = ?, vals = ? WHERE person = ?",
            (*seen, dedupe_key_of(seen.phone_number)),
        )

    def record_missing(self, phone_number: str) -> None:
        """Record that WATI does not have a person."""
        self._db.execute("DELETE FROM people WHERE person = ?", (dedupe_key_of(phone_number),))

    def all(self) -> Iterator[tuple[Any, ...]]:
        """Yield the lines of the snapshot for the next run."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(
                "SELECT phone_number, written, certain, name, vals FROM people ORDER BY person"
            )
