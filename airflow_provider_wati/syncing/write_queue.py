"""The people who are yet to be written, and what became of those who were."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_wati.syncing.changes import KNOWN, OTHER_NAME
from airflow_provider_wati.syncing.diff import Person
from airflow_provider_wati.syncing.scratch_tables import TablesPart
from airflow_provider_wati.tables.outcomes import SyncStatus
from airflow_provider_wati.tables.scratch_db import bulk_write

if TYPE_CHECKING:
    import sqlite3

    from airflow_provider_wati.syncing.diff import Seen

_ENDED = "the sync ended during the call"
_PERSON = (
    "SELECT id, COALESCE(people.phone_number, rows.phone_number), rows.name, rows.vals, was, done, switched "
    "FROM rows LEFT JOIN people ON people.person = rows.person "
)


class WriteQueue(TablesPart):
    """People stay in the queue until an outcome is recorded; after a failed call they may be written again."""

    def next(self, act: str, most: int) -> list[Person]:
        """Return the first people of the queue for one kind of call (``put`` or ``post``)."""
        return _people(self._db.execute(f"{_PERSON} WHERE act = ? ORDER BY id LIMIT ?", (act, most)))

    def last(self, act: str) -> list[Person]:
        """Return the last person of the queue, if there is one."""
        return _people(self._db.execute(f"{_PERSON} WHERE act = ? ORDER BY id DESC LIMIT 1", (act,)))

    def known_good(self) -> Person | None:
        """Return a person whose values were written before, by this run if there is one; None if nobody was."""
        found = self._db.execute(
            f"{_PERSON} WHERE (status IN ('created', 'updated') OR (status = 'unchanged' AND people.written)) "
            "AND rows.vals LIKE '%\"_%' ORDER BY status = 'unchanged', id DESC LIMIT 1"
        )
        return next(iter(_people(found)), None)

    # Around a call

    def begin_call(self, people: Iterable[Person]) -> None:
        """Record that a call is about to be made: however the run ends now, the outcome is not known."""
        self._mark(people, SyncStatus.UNKNOWN, _ENDED)

    def put_back(self, people: Iterable[Person], doubt: str | None) -> None:
        """
        Record that a call failed whose people stay in the queue.

        :param doubt: why it may have taken effect all the same, so that it is not known any more what WATI has; None if
            it certainly did not.
        """
        with bulk_write(self._db):
            self._db.executemany(
                "UPDATE rows SET doubt = COALESCE(:doubt, doubt), reason = COALESCE(:doubt, doubt), "
                "status = CASE WHEN COALESCE(:doubt, doubt) IS NULL THEN 'unsent' ELSE 'unknown' END, "
                "was = CASE WHEN :doubt IS NULL THEN was END, was_intended = CASE WHEN :doubt IS NULL THEN was_intended "
                "ELSE (SELECT intended FROM people WHERE people.person = rows.person) END WHERE id = :id",
                [{"doubt": doubt, "id": person.id} for person in people],
            )

    def _mark(self, people: Iterable[Person], status: SyncStatus, reason: str | None) -> None:
        with bulk_write(self._db):
            self._db.executemany(
                "UPDATE rows SET status = ?, reason = ? WHERE id = ?",
                [(status, reason, person.id) for person in people],
            )

    def switch(self, person: Person, act: str, done: SyncStatus, seen: Seen | None = None) -> None:
        """
        Record that a person needs another call.

        It is a create instead of an update, or the other way round, or an update under the spelling of the phone number
        that WATI shows.

        :param seen: what WATI showed of the contact; None if it has none.
        """
        self._db.execute(
            "UPDATE rows SET status = 'unsent', reason = NULL, doubt = NULL, act = ?, done = ?, was = ?, switched = 1 "
            "WHERE id = ?",
            (act, done, seen and seen.vals, person.id),
        )
        self._db.execute(
            "UPDATE people SET certain = ?, phone_number = COALESCE(?, people.phone_number), vals = NULL "
            "FROM rows WHERE rows.id = ? AND people.person = rows.person",
            (act == "put", seen and seen.phone_number, person.id),
        )

    def switch_created(self, person: Person, seen: Seen) -> None:
        """Record that WATI took a create without showing the attributes, so that an update sets them."""
        # If the run ends before the update, they may be there already.
        self._db.execute(
            "UPDATE rows SET was_intended = people.intended FROM people WHERE id = ? AND people.person = rows.person",
            (person.id,),
        )
        self.switch(person, "put", SyncStatus.CREATED, seen)

    # Outcomes

    def record_written(self, people: Sequence[tuple[Person, str | None, str | None]]) -> None:
        """
        Record that WATI has the values of the rows.

        :param people: each with the name that WATI has, and the values if it showed them.
        """
        with bulk_write(self._db):
            self._db.executemany(
                "UPDATE rows SET status = done, act = NULL, "
                f"reason = CASE WHEN name <> ? THEN '{OTHER_NAME}' END WHERE id = ?",
                [(name, person.id) for person, name, _ in people],
            )
            # A person who was cleared does not belong to the sync any more.
            self._db.executemany(
                "UPDATE people SET certain = 1, name = ?, vals = COALESCE(?, rows.vals), written = rows.done <> 'cleared', "
                "intended = '' FROM rows WHERE rows.id = ? AND people.person = rows.person",
                [(name or person.name, vals, person.id) for person, name, vals in people],
            )

    def record_unchanged(self, person: Person, seen: Seen) -> None:
        """Record that WATI had the values already."""
        reason = OTHER_NAME if None not in (person.name, seen.name) and person.name != seen.name else None
        self._end(person, SyncStatus.UNCHANGED, reason)
        self._record_seen(person, seen)

    def record_existing(self, person: Person, seen: Seen) -> None:
        """Record that a contact exists, and is therefore left alone."""
        self._end(person, SyncStatus.SKIPPED, KNOWN)
        self._record_seen(person, seen)

    def _record_seen(self, person: Person, seen: Seen) -> None:
        """Record a contact that was not written by this run, unless by a call whose outcome is not known."""
        self._set_people(
            person,
            "certain = 1, phone_number = :phone_number, name = :name, vals = :vals, intended = '', "
            "written = people.written OR is_intended(:vals, rows.was_intended)",
            seen._asdict(),
        )

    def record_refused(self, person: Person, status: SyncStatus, reason: str, *, missing: bool) -> None:
        """
        Record that WATI refused the values of the row.

        :param missing: whether WATI does not have the contact at all.
        """
        self._end(person, status, reason)
        if missing:
            self._db.execute(
                "DELETE FROM people WHERE person = (SELECT person FROM rows WHERE id = ?)", (person.id,)
            )
        else:
            self._set_people(person, "intended = rows.was_intended", {})

    def take_back(self, people: Iterable[Person], reason: str) -> None:
        """Record that people were refused for a cause that is not known to be theirs, so that their rows are not at fault."""
        self._mark(people, SyncStatus.UNSENT, reason)

    def record_unknown(self, person: Person, reason: str) -> None:
        """Record that it is not known what became of a row; the next run writes it again."""
        self._end(person, SyncStatus.UNKNOWN, reason)

    def _end(self, person: Person, status: SyncStatus, reason: str | None) -> None:
        self._db.execute(
            "UPDATE rows SET status = ?, reason = ?, act = NULL WHERE id = ?", (status, reason, person.id)
        )

    def _set_people(self, person: Person, change: str, values: Mapping[str, str | None]) -> None:
        self._db.execute(
            f"UPDATE people SET {change} FROM rows WHERE rows.id = :id AND people.person = rows.person",
            {**values, "id": person.id},
        )


def _people(found: sqlite3.Cursor) -> list[Person]:
    return [
        Person(id, phone_number, name, json.loads(vals), was and json.loads(was), done, bool(switched))
        for id, phone_number, name, vals, was, done, switched in found
    ]
