"""The scratch database of a contact sync, which the tables of a run share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.syncing.values import is_intended, is_same_list
from airflow_provider_wati.tables.scratch_db import CHUNK, bulk_write, open_scratch_db

if TYPE_CHECKING:
    import sqlite3

# A person is the dedupe key of a phone number: two spellings of one line are one person.
# `people` is the snapshot: at any moment what the next run has to know if this one dies now. Its `phone_number` is the
# spelling that WATI knows. `written`: this sync has written to the contact; `certain`: it is known that the contact
# exists; `intended`: the values that were to be written to a contact that is not `written`, by a call whose outcome is
# not known, separated by commas. If WATI shows one of them, the sync has written to the contact.
# `rows` has the rows, and after them the people who are no longer in them. A row that is yet to be written is `unsent`,
# or `unknown` after a call that failed without saying why (`doubt`); `act` is how (`put` or `post`), None once it is
# done; `done` its status when that succeeds, `was` and `was_intended` what `people` had.
_TABLES = """
CREATE TABLE people (
    person TEXT PRIMARY KEY, phone_number TEXT NOT NULL, written INTEGER NOT NULL, certain INTEGER NOT NULL,
    name TEXT, vals TEXT, intended TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE listed_contacts (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE listed (phone_number TEXT PRIMARY KEY, person TEXT NOT NULL, name TEXT, vals TEXT) WITHOUT ROWID;
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, row INTEGER, status TEXT NOT NULL, reason TEXT, act TEXT, done TEXT, switched INTEGER,
    person TEXT, phone_number TEXT, target TEXT NOT NULL, name TEXT, vals TEXT, was TEXT, was_intended TEXT NOT NULL DEFAULT '',
    doubt TEXT
);
"""


def open_tables() -> sqlite3.Connection:
    """Open a scratch database with the tables of a sync."""
    connection = open_scratch_db()
    connection.executescript(_TABLES)
    connection.create_function("same_values", 2, is_same_list, deterministic=True)
    connection.create_function("is_intended", 2, is_intended, deterministic=True)
    return connection


class TablesPart:
    """
    Base of the parts of a sync that work on its tables.

    :param db: the scratch database.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def _insert(self, statement: str, lines: Iterable[Sequence[Any]]) -> None:
        """Insert any number of lines; memory holds one chunk of them at a time."""
        lines = iter(lines)
        while chunk := list(islice(lines, CHUNK)):
            with bulk_write(self._db):
                self._db.executemany(statement, chunk)

    def _count(self, what: str, *parameters: Any) -> int:
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM {what}", parameters).fetchone()
        return int(count)
