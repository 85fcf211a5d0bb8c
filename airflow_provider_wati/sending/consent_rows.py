"""The rows of people who opted out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from airflow_provider_wati.sending.row_tables import RowTables, end_as
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, spellings_of
from airflow_provider_wati.tables.scratch_db import bulk_write

CONSENT_TABLES = """
CREATE TABLE contacts (dedupe_key TEXT PRIMARY KEY, contact_id TEXT, opted_out INTEGER) WITHOUT ROWID;
"""
_CONTACTS = 1_000
_OPTED_OUT = end_as("skipped", "'opted out: allow_broadcast is false in WATI'")


class ConsentRows(RowTables):
    """The part of a send's queue that skips people who opted out."""

    _consent_asked = False

    def people_to_ask_about(self) -> Iterator[str]:
        """Yield the people of unsent rows whose consent was not looked up, in each spelling of their phone number."""
        with closing(self._db.cursor()) as cursor:
            for (key,) in cursor.execute(
                "SELECT DISTINCT dedupe_key FROM rows WHERE status = 'unsent'"
                + (" AND consent_due" if self._consent_asked else "")
            ):
                yield from spellings_of(key)

    def end_of_consent(self) -> None:
        """Mark the consent of all unsent rows as looked up. Rows that wait for evidence are due for the next look-up."""
        if self._consent_asked:
            self._db.execute("UPDATE rows SET consent_due = NULL WHERE status = 'unsent' AND consent_due")
        else:
            self._db.execute("UPDATE rows SET consent_due = 1 WHERE status = 'unknown'")
        self._consent_asked = True

    def skip_opted_out(self, contacts: Iterable[tuple[str, str, bool]]) -> None:
        """Skip the rows of people who opted out: ``(target, contact id, opted out)`` each."""
        with bulk_write(self._db):
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
            f"UPDATE rows SET {_OPTED_OUT} WHERE EXISTS (SELECT 1 FROM contacts WHERE opted_out) "
            "AND status = 'unsent' AND dedupe_key IN (SELECT dedupe_key FROM contacts WHERE opted_out)"
        )

    def count_contacts(self) -> int:
        """Count the contacts that were looked up."""
        return self._number("SELECT COUNT(DISTINCT contact_id) FROM contacts")

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Reject the rows of people whose consent could not be looked up."""
        self._db.executemany(
            f"UPDATE rows SET {end_as('rejected', '?')} WHERE status = 'unsent' AND dedupe_key = ?",
            ((reason, dedupe_key_of(target)) for target, reason in reasons.items()),
        )

    def contact_ids(self) -> Iterator[list[str | None]]:
        """Yield, in parts, the contact ids of unsent rows; None for a person whose contact was not looked up."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT contact_id FROM rows LEFT JOIN contacts USING (dedupe_key) WHERE status = 'unsent'"
            )
            while some := cursor.fetchmany(_CONTACTS):
                yield [contact_id for (contact_id,) in some]
