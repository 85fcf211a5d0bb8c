"""A SQLite file for the rows of one try, so that memory stays flat however many there are."""

from __future__ import annotations

import sqlite3
from typing import Any

from airflow_provider_wati.tables.outcomes import DRY_RUN, PROBLEMS, SHOWN_PROBLEMS, problem

#: Rows that go to the file at once.
CHUNK = 5_000


def open_run_file() -> sqlite3.Connection:
    """
    Open a new, empty database for one try.

    SQLite makes a file for the name ``""`` in the directory for temporary files (``SQLITE_TMPDIR``, ``TMPDIR``)
    and takes its name away at once: whatever becomes of the process, nothing of the people in it stays behind.
    """
    connection = sqlite3.connect("", isolation_level=None)
    # A crash loses the file anyway, so nothing needs to be safe in it. The cache is what memory sees: 8 MB.
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000", "temp_store = FILE"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def first_problems(connection: sqlite3.Connection, order: str) -> list[dict[str, Any]]:
    """
    Describe the first rows that did not end well, their numbers masked: those that were attempted before the others.

    :param order: the column that says which row comes first.
    """
    statuses = ", ".join("?" * len(PROBLEMS))
    found = connection.execute(
        f"SELECT row, target, status, reason FROM rows WHERE status IN ({statuses}) AND reason IS NOT ? "
        f"ORDER BY status = 'unsent', {order} LIMIT ?",
        (*PROBLEMS, DRY_RUN, SHOWN_PROBLEMS),
    )
    return [problem(*row) for row in found]
