"""The database side of the transfers: what is read from it, and what is written back."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_wati.tables.readers import Column, Row

#: Rows that are in memory at a time.
CHUNK = 5_000
#: What tells the outcomes of one task from those of others; a later try of it has the same.
TASK_COLUMNS = ("dag_id", "task_id", "run_id", "map_index")
#: A name as a database writes it, with schema and quotes; it goes into statements as it is.
_TABLE_NAME = re.compile(r"[\w.$\"`\[\]-]+")
_TEXT_LENGTH = 1_000
_TEXT = f"VARCHAR({_TEXT_LENGTH})"
_TYPES = {"map_index": "INTEGER", "source_row": "INTEGER"}
#: Outcome columns whose names SQL has other uses for.
_NO_WORDS_OF_SQL = {"row": "source_row", "key": "message_key"}

log = logging.getLogger(__name__)


def hook_of(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> DbApiHook:
    """
    Return the hook of a database connection.

    :param conn_id: a connection whose hook is a ``DbApiHook``, as those of all SQL providers are.
    :param hook_params: what the hook is made with.
    :raises WatiConfigurationError: when it is something else.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    hook = connection.get_hook(hook_params=dict(hook_params or {}))  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    if not isinstance(hook, DbApiHook):
        raise WatiConfigurationError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}, which is no database that speaks SQL."
        )
    return hook


def read_rows(hook: DbApiHook, sql: str, parameters: Any, wanted: Sequence[Column]) -> Generator[Row]:
    """
    Yield the rows of a query; cursor and connection are closed once they are read to the end, or given up.

    :param hook: the database.
    :param sql: one statement that gives rows.
    :param parameters: what the statement's placeholders stand for, in the form that the driver wants.
    :param wanted: the columns that are needed; a row has these and no others. One that the query gives in other
        letters (``PHONE`` for ``phone``, as Snowflake and Oracle do) is found too.
    :raises WatiValidationError: before the first row, when a column is not there, or there twice; for several
        statements.
    """
    if not isinstance(sql, str):
        raise WatiValidationError(f"sql is of type {type(sql).__name__}: give one SELECT as a text.")
    # Some drivers run them all, and one may write and commit.
    if len(hook.split_sql_string(sql)) > 1:
        raise WatiValidationError("The SQL has several statements: give one SELECT.")
    with closing(hook.get_conn()) as connection, closing(_cursor(hook, connection)) as cursor:
        cursor.execute(hook.strip_sql_string(sql), *([parameters] if parameters else []))
        # A cursor of the server knows its columns only once something is fetched.
        rows = cursor.fetchmany(CHUNK) if cursor.description is None else None
        if cursor.description is None:
            raise WatiValidationError("The SQL gives no rows: it has to be one SELECT.")
        columns = [str(column[0]) for column in cursor.description]
        places = [(_name(column), _place_of(_name(column), columns)) for column in wanted]
        if rows is None:
            rows = cursor.fetchmany(CHUNK)
        count = 0
        while rows:
            for row in rows:
                # Drivers can be set to give dicts.
                values = [row[column] for column in columns] if isinstance(row, Mapping) else row
                yield {name: values[place] for name, place in places}
            count += len(rows)
            rows = cursor.fetchmany(CHUNK)
        _report_read(hook, sql, cursor, count)
    log.info("The query gave %s rows.", f"{count:,}")


def _cursor(hook: DbApiHook, connection: Any) -> Any:
    """Open a cursor that leaves the result with the server where the driver would fetch all of it at once."""
    if getattr(hook, "conn_type", None) == "postgres":
        return connection.cursor(name=f"wati_{uuid.uuid4().hex}")
    return connection.cursor()


def _name(column: Column) -> str:
    if not isinstance(column, str):
        raise WatiValidationError(f"Column {column!r} has to be a name: rows of a query have them.")
    return column


def _place_of(name: str, columns: Sequence[str]) -> int:
    places = [n for n, column in enumerate(columns) if column == name]
    places = places or [n for n, column in enumerate(columns) if column.casefold() == name.casefold()]
    if len(places) != 1:
        found = f"gives the column {name!r} {len(places)} times" if places else f"has no column {name!r}"
        raise WatiValidationError(f"The query {found}; its columns are {', '.join(map(repr, columns))}.")
    return places[0]


def _report_read(hook: DbApiHook, sql: str, cursor: Any, count: int) -> None:
    """Tell Airflow's lineage what was read; the parameters may be people's numbers and stay out of it."""
    with suppress(ImportError):  # common-sql before 1.31 tells nothing
        from airflow.providers.common.sql.hooks.lineage import send_sql_hook_lineage

        send_sql_hook_lineage(context=hook, sql=sql, cur=cursor, row_count=count)


def report_written(hook: Any, uri: str) -> None:
    """Tell Airflow's lineage where the rows went."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    collector.add_output_asset(context=hook, uri=uri)


class OutcomesTable:
    """
    A table that keeps what became of each row, of one task and run after the other.

    Its columns are ``TASK_COLUMNS``, then those of the outcomes, then ``written_at`` in UTC.

    :param hook: the database.
    :param name: the table, with its schema if it needs one.
    :param columns: those of the outcomes.
    :raises WatiValidationError: for what cannot be a name.
    """

    def __init__(self, hook: DbApiHook, name: str, columns: Sequence[str]) -> None:
        if not _TABLE_NAME.fullmatch(name):
            raise WatiValidationError(f"outcomes_table is {name!r}, which is no name of a table.")
        self._hook = hook
        self._name = name
        named = (_NO_WORDS_OF_SQL.get(column, column) for column in columns)
        self._columns = [*TASK_COLUMNS, *named, "written_at"]

    def make(self) -> None:
        """
        Make the table if it is not there.

        :raises WatiConfigurationError: when that fails, or a table of that name has other columns.
        """
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            if self._is_there(connection, cursor):
                return
            types = ", ".join(f"{column} {_TYPES.get(column, _TEXT)}" for column in self._columns)
            try:
                cursor.execute(f"CREATE TABLE {self._name} ({types})")
                connection.commit()
            except Exception as error:
                connection.rollback()
                # A task that began at the same time may have made it.
                if not self._is_there(connection, cursor):
                    raise self._cannot_be_made(error) from error

    def _is_there(self, connection: Any, cursor: Any) -> bool:
        try:
            cursor.execute(f"SELECT {', '.join(self._columns)} FROM {self._name} WHERE 1 = 0")
            cursor.fetchall()
        except Exception:
            # Each driver has errors of its own for a table that is not there; if it was something else, making it
            # fails too.
            connection.rollback()
            return False
        return True

    def _cannot_be_made(self, error: Exception) -> WatiConfigurationError:
        return WatiConfigurationError(
            f"outcomes_table {self._name!r} is not there with the columns {', '.join(self._columns)}, and cannot be "
            f"made: {error}. Nothing was sent or written to WATI. Give the name of a table that is not there yet, "
            "or of one with these columns."
        )

    def replace(self, task: Sequence[Any], outcomes: Iterable[Sequence[Any]]) -> None:
        """
        Write the outcomes of a task, in place of what an earlier try has written, all in one transaction.

        :param task: the values of ``TASK_COLUMNS``.
        :param outcomes: the values of the other columns, row by row.
        """
        mark = self._hook.placeholder
        marks = ", ".join([mark] * len(self._columns))
        insert = f"INSERT INTO {self._name} ({', '.join(self._columns)}) VALUES ({marks})"
        same_task = " AND ".join(f"{column} = {mark}" for column in TASK_COLUMNS)
        task = tuple(map(_fitting, task))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = ((*task, *map(_fitting, outcome), now) for outcome in outcomes)
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            if self._hook.supports_autocommit:
                self._hook.set_autocommit(connection, False)
            cursor.execute(f"DELETE FROM {self._name} WHERE {same_task}", task)
            while chunk := list(islice(rows, CHUNK)):
                _insert_many(cursor, insert, chunk)
            connection.commit()


def _insert_many(cursor: Any, insert: str, rows: Sequence[Sequence[Any]]) -> None:
    if type(cursor).__module__.startswith("psycopg2"):
        # Its own executemany asks the server once for each row.
        from psycopg2.extras import execute_batch  # type: ignore[import-untyped] # it has none

        execute_batch(cursor, insert, rows, page_size=500)
    else:
        cursor.executemany(insert, rows)


def _fitting(value: Any) -> Any:
    """Cut what a text column would refuse: a target may be whatever the row had."""
    return value.replace("\0", "")[:_TEXT_LENGTH] if isinstance(value, str) else value
