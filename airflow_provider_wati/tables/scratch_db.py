"""The scratch database: a local SQLite file for the rows of one attempt, so that memory stays flat."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_wati.tables.outcomes import DRY_RUN, PROBLEMS, SHOWN_PROBLEMS, problem

#: Rows that are written in one transaction.
CHUNK = 5_000


def open_scratch_db() -> sqlite3.Connection:
    """
    Open a new, empty scratch database.

    For the name ``""``, SQLite creates a file in the directory for temporary files (``SQLITE_TMPDIR``, ``TMPDIR``)
    and unlinks it at once: however the process ends, no personal data stays on the disk.
    """
    connection = sqlite3.connect("", isolation_level=None)
    # A crash loses the file anyway, so durability is not needed. The cache holds 8 MB of memory.
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000", "temp_store = FILE"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def bulk_write(connection: sqlite3.Connection) -> Iterator[None]:
    """
    Write many rows in one transaction.

    :param connection: a scratch database. It has no journal to roll back with, so an error keeps what was written.
    """
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def first_problems(connection: sqlite3.Connection, order: str) -> list[dict[str, Any]]:
    """
    Return the first rows that failed, phone numbers masked; attempted rows come before unsent ones.

    :param connection: a database with a table ``rows`` (``row``, ``target``, ``status``, ``reason``).
    :param order: the column that gives the order of the rows.
    """
    statuses = ", ".join("?" * len(PROBLEMS))
    found = connection.execute(
        f"SELECT row, target, status, reason FROM rows WHERE status IN ({statuses}) AND reason IS NOT ? "
        f"ORDER BY status = 'unsent', {order} LIMIT ?",
        (*PROBLEMS, DRY_RUN, SHOWN_PROBLEMS),
    )
    return [problem(*row) for row in found]


@contextmanager
def collector_paused() -> Iterator[None]:
    """
    Keep Python from looking for garbage while a batch is written and its answer read.

    Ten thousand people are a hundred thousand objects, none of which is garbage before the batch is done; looking for it
    in all that Airflow has loaded took a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
