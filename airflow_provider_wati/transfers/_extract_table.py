"""Extracted rows in a table of a database: create it, check it, merge rows into it."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.extracting.received_statuses import changed_rows, lookups_of
from airflow_provider_wati.extracting.rows import EXTRACTED_AT, ID, LONGEST_ID, Column, ColumnKind, json_of
from airflow_provider_wati.listening.values import time_of, written_time
from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.operators._sql import execute_many, quoted_name, roll_back
from airflow_provider_wati.transfers._transactions import for_update, in_transaction, is_refusal

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_wati.extracting.rows import Entity, Row
    from airflow_provider_wati.listening.types import MessageStatus

T = TypeVar("T")

log = logging.getLogger(__name__)

_TYPES = {
    ColumnKind.ID: f"VARCHAR({LONGEST_ID}) NOT NULL",
    ColumnKind.TEXT: "TEXT",
    ColumnKind.FLAG: "BOOLEAN",
    ColumnKind.TIME: "VARCHAR(40)",
}
_TIME_IN_POSTGRES = "TIMESTAMP WITH TIME ZONE"
_SAMPLES: dict[ColumnKind, Any] = {
    ColumnKind.TEXT: "{}",  # JSON too
    ColumnKind.FLAG: True,
    ColumnKind.TIME: "2000-01-01T00:00:00.000000Z",
}
#: Statuses whose rows are looked up by one statement; each has up to three ids.
_STATUSES_A_LOOK = 250
#: Ids that are looked up by one statement; some databases allow a thousand placeholders.
_IDS_A_LOOK = 500


@dataclass(slots=True)
class Counts:
    """What became of the rows that were written."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0


class ExtractTable:
    """
    A table with one row for each object of WATI.

    :param hook: the database.
    :param name: the table, with its schema if it needs one.
    :param entity: what the rows are.
    :param columns: the columns of the table.
    :param is_full: whether the listed values replace the stored ones: every row is written, and a status may go back.
    :raises WatiValidationError: for a text that is not the name of a table.
    """

    def __init__(
        self,
        hook: DbApiHook,
        name: str,
        entity: Entity,
        columns: Sequence[Column],
        *,
        is_full: bool = False,
    ) -> None:
        self._hook = hook
        self._name = name
        self._table = quoted_name(name, hook, "table")
        self._entity = entity
        self._columns = columns
        self._names = [column.name for column in columns]
        self._is_full = is_full
        self.counts = Counts()

    def prepare(self) -> None:
        """
        Create the table if it does not exist, and find out whether rows can be written to it.

        :raises WatiConfigurationError: when that fails, or a table of that name has other columns.
        """
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            found = self._found_columns(connection, cursor)
            if found is None:
                self._create(connection, cursor)
                found = self._found_columns(connection, cursor) or []
            have = {name.casefold() for name in found}
            if missing := [name for name in self._names if name not in have]:
                raise WatiConfigurationError(
                    f"table {self._name!r} has other columns than {self._entity.name} have: it lacks "
                    f"{', '.join(missing)}. Nothing was read. Give the name of a table that does not exist yet, add these "
                    "columns, or leave them out of `columns`."
                )
            self._try_row(connection, cursor)

    def is_empty(self) -> bool:
        """Return whether the table has no row."""
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            # Not COUNT, which reads the whole table in some databases.
            cursor.execute(f"SELECT MIN({ID}) FROM {self._table}")
            return next(iter(_values_of(cursor.fetchone()))) is None

    def write(self, rows: Sequence[Row]) -> None:
        """
        Merge rows into the table by id, in one transaction. A row that is the same already is not written.

        :param rows: some thousand at most.
        :raises WatiConfigurationError: when the database refuses a row; its content is not repeated.
        """
        listed: dict[str, Row] = {}
        for row in rows:
            known = listed.get(row[ID])
            listed[row[ID]] = row if known is None else self._merged(known, row)
        # Two runs that write the same rows take them in the same order, so that they do not wait for each other.
        ordered = dict(sorted(listed.items()))
        counts = self._in_transaction(lambda cursor: self._write(cursor, ordered))
        self.counts.inserted += counts.inserted
        self.counts.updated += counts.updated
        self.counts.unchanged += counts.unchanged

    def apply(self, statuses: Sequence[MessageStatus], now: str) -> int:
        """
        Raise the statuses of rows to those that came by webhook, in one transaction.

        The status of a message that is not in the table is ignored.

        :param statuses: a thousand at most.
        :param now: the time for ``extracted_at``.
        :return: how many rows were written.
        :raises WatiConfigurationError: when the database refuses a row; its content is not repeated.
        """
        return self._in_transaction(lambda cursor: self._apply(cursor, statuses, now))

    def _in_transaction(self, write: Callable[[Any], T]) -> T:
        """Write rows in a transaction, and name the table where the database refuses one."""
        try:
            return in_transaction(self._hook, write)
        except Exception as error:
            if not is_refusal(error, "IntegrityError", "DataError"):
                raise
            # Without what follows: PostgreSQL repeats the row there.
            reason = mask_numbers(str(error).partition("\n")[0])
            raise WatiConfigurationError(
                f"table {self._name!r} refuses a row of {self._entity.name} ({type(error).__name__}: {reason}). The rows "
                "before it are stored. Give the name of a table that does not exist yet, or correct this one."
            ) from None

    def _apply(self, cursor: Any, statuses: Sequence[MessageStatus], now: str) -> int:
        written = 0
        source = iter(statuses)
        while part := list(islice(source, _STATUSES_A_LOOK)):
            wanted = {name: ids for name, ids in lookups_of(part).items() if ids and name in self._names}
            rows = changed_rows(self._rows_with(cursor, wanted), part, now)
            if rows:
                changed = [(*self._values(row)[1:], row[ID]) for row in sorted(rows, key=itemgetter(ID))]
                execute_many(cursor, self._update_statement(), changed)
            written += len(rows)
        return written

    def _rows_with(self, cursor: Any, wanted: Mapping[str, Sequence[str]]) -> list[Row]:
        """Return the stored rows that have one of some values in a column."""
        if not wanted:
            return []
        mark = self._hook.placeholder
        conditions = " OR ".join(
            f"{name} IN ({', '.join([mark] * len(ids))})" for name, ids in wanted.items()
        )
        cursor.execute(
            f"SELECT {', '.join(self._names)} FROM {self._table} WHERE {conditions}{for_update(self._hook, ID)}",
            tuple(id for ids in wanted.values() for id in ids),
        )
        return [self._row_of(values) for values in cursor.fetchall()]

    def _row_of(self, values: Any) -> Row:
        return {
            column.name: _plain(value, column)
            for column, value in zip(self._columns, _values_of(values), strict=True)
        }

    def _write(self, cursor: Any, listed: Mapping[str, Row]) -> Counts:
        stored = self._stored(cursor, list(listed))
        new = [self._values(row) for id, row in listed.items() if id not in stored]
        changed = []
        for id, old in stored.items():
            row = self._merged(old, listed[id])
            if self._is_full or any(row[name] != old[name] for name in self._names if name != EXTRACTED_AT):
                changed.append((*self._values(row)[1:], id))
        if new:
            execute_many(cursor, self._insert_statement(), new)
        if changed:
            execute_many(cursor, self._update_statement(), changed)
        return Counts(len(new), len(changed), len(stored) - len(changed))

    def _merged(self, stored: Row, listed: Row) -> Row:
        return listed if self._is_full else self._entity.merge(stored, listed)

    def _stored(self, cursor: Any, ids: Sequence[str]) -> dict[str, Row]:
        """Return the stored rows among some ids."""
        found: dict[str, Row] = {}
        source = iter(ids)
        lock = for_update(self._hook, ID)
        while part := list(islice(source, _IDS_A_LOOK)):
            marks = ", ".join([self._hook.placeholder] * len(part))
            cursor.execute(
                f"SELECT {', '.join(self._names)} FROM {self._table} WHERE {ID} IN ({marks}){lock}",
                tuple(part),
            )
            for values in cursor.fetchall():
                row = self._row_of(values)
                row[ID] = self._id_among(part, row[ID])
                found[row[ID]] = row
        return found

    def _id_among(self, ids: Sequence[str], stored: str) -> str:
        """Return the id as it was asked for: a column of fixed length pads it with spaces."""
        for id in (stored, stored.rstrip(" ")):
            if id in ids:
                return id
        raise WatiConfigurationError(
            f"table {self._name!r} has the {ID} {stored!r} where another one was asked for: make the column {ID} a text "
            "that is compared character by character."
        )

    def _values(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._names)

    def _insert_statement(self) -> str:
        marks = ", ".join([self._hook.placeholder] * len(self._names))
        return f"INSERT INTO {self._table} ({', '.join(self._names)}) VALUES ({marks})"

    def _update_statement(self) -> str:
        values = ", ".join(f"{name} = {self._hook.placeholder}" for name in self._names[1:])
        return f"UPDATE {self._table} SET {values} WHERE {ID} = {self._hook.placeholder}"

    def _found_columns(self, connection: Any, cursor: Any) -> list[str] | None:
        """Return the columns of the table; None if it does not exist."""
        try:
            cursor.execute(f"SELECT * FROM {self._table} WHERE 1 = 0")
            cursor.fetchall()
        except Exception:
            # Each driver has its own error for a missing table; after any other error, creating it fails too.
            roll_back(connection)
            return None
        return [str(column[0]) for column in cursor.description]

    def _create(self, connection: Any, cursor: Any) -> None:
        types = dict(_TYPES)
        if self._hook.dialect_name == "postgresql":
            types[ColumnKind.TIME] = _TIME_IN_POSTGRES
        columns = ", ".join(f"{column.name} {types[column.kind]}" for column in self._columns)
        try:
            cursor.execute(f"CREATE TABLE {self._table} ({columns}, PRIMARY KEY ({ID}))")
            connection.commit()
            self._create_indexes(connection, cursor)
        except Exception as error:
            roll_back(connection)
            # Another task may have created it at the same time.
            if self._found_columns(connection, cursor) is None:
                raise WatiConfigurationError(
                    f"table {self._name!r} does not exist and cannot be created: {error}. Nothing was read. Create it "
                    f"with the columns {', '.join(self._names)} and the primary key {ID}."
                ) from error

    def _create_indexes(self, connection: Any, cursor: Any) -> None:
        """Create an index for each other column by which rows are looked up, where the database can have one."""
        bare = re.sub(r"[^0-9A-Za-z_]", "_", self._name.rpartition(".")[2]).strip("_")
        # A B-tree of PostgreSQL refuses rows with a longer text than 2,700 bytes; WATI takes local ids of any length.
        method = " USING hash" if self._hook.dialect_name == "postgresql" else ""
        for column in set(self._entity.lookups) & set(self._names):
            index = quoted_name(f'"{bare[:40]}_{column}"', self._hook, "The index")
            try:
                cursor.execute(f"CREATE INDEX {index} ON {self._table}{method} ({column})")
                connection.commit()
            except Exception as error:
                # MySQL has none for a text of any length, Snowflake none at all: looking rows up takes longer there.
                roll_back(connection)
                log.info("The table %s has no index for %s (%s).", self._name, column, type(error).__name__)

    def _try_row(self, connection: Any, cursor: Any) -> None:
        """Write a row and roll it back. It fails for columns of other types, and for further columns that are NOT NULL."""
        roll_back(connection)
        if self._hook.supports_autocommit:
            self._hook.set_autocommit(connection, False)
        try:
            # A database without transactions keeps the row until it is deleted; as long as an id of WATI.
            samples = {**_SAMPLES, ColumnKind.ID: f"check{uuid.uuid4().hex[:19]}"}
            cursor.execute(self._insert_statement(), tuple(samples[column.kind] for column in self._columns))
            cursor.execute(
                f"DELETE FROM {self._table} WHERE {ID} = {self._hook.placeholder}", (samples[ColumnKind.ID],)
            )
        except Exception as error:
            raise WatiConfigurationError(
                f"table {self._name!r} does not take a row of {self._entity.name}: {error}. Nothing was read. Give the "
                "name of a table that does not exist yet, or correct this one."
            ) from error
        finally:
            roll_back(connection)


def _values_of(row: Any) -> Sequence[Any]:
    """Return the values of a row that a cursor gives: some drivers can be set to return dicts."""
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


def _plain(value: Any, column: Column) -> Any:
    """Return a value of a database as it stands in a row."""
    if value is None:
        return None
    if column.kind is ColumnKind.ID:
        return str(value)
    if column.kind is ColumnKind.FLAG:
        return bool(value)
    if column.kind is ColumnKind.TIME:
        return written_time(value) if isinstance(value, datetime) else time_of(value)
    # A column of the user's own making may be of a JSON type.
    return json_of(value) if isinstance(value, (dict, list)) else value
