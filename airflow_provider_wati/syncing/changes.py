"""What has to be written: the difference between the rows and what is known of WATI's contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wati.syncing.scratch_tables import TablesPart
from airflow_provider_wati.syncing.values import vals_of
from airflow_provider_wati.tables.outcomes import SyncStatus
from airflow_provider_wati.tables.scratch_db import bulk_write

if TYPE_CHECKING:
    import sqlite3

OTHER_NAME = "WATI has another name for the contact, and its API cannot change it"
KNOWN = "WATI knows the phone number, and mode is insert"
NOT_KNOWN = "WATI does not know the phone number, and mode is update"
NO_NAME = "there is no name, and WATI needs one for a new contact: give one, for example COALESCE(name, ...) in the query"
_REMOVED = "written AND NOT EXISTS (SELECT 1 FROM rows WHERE rows.person = people.person)"


class Changes(TablesPart):
    """
    Decides before the first write how each difference is written, and keeps the snapshot true meanwhile.

    :param db: the scratch database.
    :param attributes: how many attributes are mapped.
    """

    def __init__(self, db: sqlite3.Connection, attributes: int) -> None:
        super().__init__(db)
        self._empty = vals_of([""] * attributes)

    def compare(self, mode: str) -> None:
        """Compare the rows with what is known, and decide how each difference is written."""
        with bulk_write(self._db):
            self._db.execute(
                "UPDATE rows SET done = 'updated', was = people.vals, was_intended = people.intended, "
                "act = CASE WHEN people.vals IS rows.vals OR same_values(people.vals, rows.vals) "
                "THEN 'none' ELSE 'put' END, "
                f"reason = CASE WHEN rows.name <> people.name THEN '{OTHER_NAME}' END "
                "FROM people WHERE rows.status = 'unsent' AND people.person = rows.person"
            )
            if mode == "insert":
                self._skip("act IS NOT NULL", KNOWN)
            self._db.execute(
                "UPDATE rows SET status = 'unchanged', act = NULL WHERE status = 'unsent' AND act = 'none'"
            )
            if mode == "update":
                self._skip("act IS NULL", NOT_KNOWN)
            self._db.execute(
                "UPDATE rows SET status = 'invalid', reason = ? WHERE status = 'unsent' AND act IS NULL AND name IS NULL",
                (NO_NAME,),
            )
            self._db.execute(
                "UPDATE rows SET act = 'post', done = 'created' WHERE status = 'unsent' AND act IS NULL"
            )
            self._db.execute("CREATE INDEX todo ON rows (act, id) WHERE act IS NOT NULL")

    def _skip(self, condition: str, reason: str) -> None:
        self._db.execute(
            f"UPDATE rows SET status = 'skipped', act = NULL, reason = ? WHERE status = 'unsent' AND {condition}",
            (reason,),
        )

    def count_written(self) -> tuple[int, int]:
        """Count the people that this sync has written, and those of them who are no longer in the rows."""
        # These have nothing left to clear, and must not add up from run to run.
        self._db.execute(f"UPDATE people SET written = 0 WHERE {_REMOVED} AND vals IS ?", (self._empty,))
        return self._count("people WHERE written"), self._count(f"people WHERE {_REMOVED}")

    def clear_removed(self, why_not: str | None) -> None:
        """
        Add the people who are no longer in the rows, with their attributes to be emptied.

        :param why_not: the reason not to empty them after all.
        """
        self._db.execute(
            "INSERT INTO rows (status, reason, act, done, person, phone_number, target, vals, was) "
            "SELECT ?, ?, ?, 'cleared', person, phone_number, phone_number, ?, vals "
            f"FROM people WHERE {_REMOVED} AND vals IS NOT ? ORDER BY person",
            (
                SyncStatus.SKIPPED if why_not else SyncStatus.UNSENT,
                why_not,
                None if why_not else "put",
                self._empty,
                self._empty,
            ),
        )

    def plan(self) -> dict[str, int]:
        """Count the planned writes, before the first of them."""
        return {
            name: self._count("rows WHERE status = 'unsent' AND done = ?", done)
            for name, done in (("to_create", "created"), ("to_update", "updated"), ("to_clear", "cleared"))
        }

    def begin(self) -> None:
        """
        Mark everything that is about to be written as unknown.

        If the run dies, it stays unknown, and the next run writes it again: it cannot compare it with values that this
        run may have replaced. What is to be written to a contact for the first time is kept with it: should the person
        leave the rows, it shows whether the write took place. Without that, `clear` would empty contacts of others.
        """
        with bulk_write(self._db):
            self._db.execute(
                "INSERT INTO people SELECT person, phone_number, 0, act = 'put', name, NULL, vals FROM rows "
                "WHERE status = 'unsent' ON CONFLICT DO UPDATE SET vals = NULL, "
                "intended = CASE WHEN written OR instr(intended, excluded.intended) THEN intended "
                "ELSE trim(intended || ',' || excluded.intended, ',') END"
            )

    def finish(self) -> None:
        """Restore what was known of the people who were not attempted."""
        with bulk_write(self._db):
            self._db.execute(
                "DELETE FROM people WHERE person IN (SELECT person FROM rows WHERE act = 'post' AND status = 'unsent')"
            )
            self._db.execute(
                "UPDATE people SET vals = rows.was, intended = rows.was_intended FROM rows "
                "WHERE rows.act = 'put' AND rows.status = 'unsent' AND people.person = rows.person"
            )
