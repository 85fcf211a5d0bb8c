"""The database side of operators and transfers: read the rows of a query, write and read outcomes in a table."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiValidationError
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_wati.tables.values import Column

#: Rows in memory at a time.
CHUNK = 5_000
#: The columns that identify the outcomes of one task; each attempt of it has the same values.
TASK_COLUMNS = ("dag_id", "task_id", "run_id", "map_index", "loop_index")
#: One part of a table name, such as its schema: bare, or quoted in the way of some database. A dash stands within
#: quotes only, and never twice, because two begin a comment in SQL; a per cent sign is a placeholder to some drivers.
_QUOTED = r"(?!-)(?!.*--)[\w$ -]+"
_PART = re.compile(
    rf"(?P<bare>[^\W\d][\w$]*)|\"(?P<double>{_QUOTED})\"|`(?P<back>{_QUOTED})`|\[(?P<square>{_QUOTED})\]"
)
_MOST_PARTS = 3
_TEXT_LENGTH = 1_000
_TEXT = f"VARCHAR({_TEXT_LENGTH})"
_TYPES = {"map_index": "INTEGER", "loop_index": "INTEGER", "source_row": "INTEGER"}
#: Outcome columns whose names are reserved words in SQL.
_RESERVED = {"row": "source_row", "key": "message_key"}

log = logging.getLogger(__name__)


def hook_of(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> DbApiHook:
    """
    Return the hook of a database connection.

    :param conn_id: a connection whose hook is a ``DbApiHook``, as in all SQL providers.
    :param hook_params: arguments of the hook.
    :raises WatiConfigurationError: for a connection of another kind.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    hook = connection.get_hook(hook_params=dict(hook_params or {}))  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    if not isinstance(hook, DbApiHook):
        raise WatiConfigurationError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}, which is not an SQL database."
        )
    return hook


def read_rows(
    hook: DbApiHook, sql: str, parameters: Any, wanted: Sequence[Column]
) -> Generator[dict[str, Any]]:
    """
    Yield the rows of a query; cursor and connection are closed at the end, and when the generator is closed.

    :param hook: the database.
    :param sql: one statement that returns rows.
    :param parameters: the values of the placeholders, in the form of the driver.
    :param wanted: the columns of a row that is yielded. Case does not matter: Snowflake and Oracle return ``PHONE``
        for ``phone``.
    :raises WatiValidationError: before the first row, for a column that is missing or occurs twice, and for several
        statements.
    """
    if not isinstance(sql, str):
        raise WatiValidationError(f"sql is of type {type(sql).__name__}: give one SELECT as a text.")
    # Some drivers run all of them, and one may write and commit.
    if len(hook.split_sql_string(sql)) > 1:
        raise WatiValidationError("The SQL has several statements: give one SELECT.")
    with closing(hook.get_conn()) as connection, closing(_cursor(hook, connection)) as cursor:
        cursor.execute(hook.strip_sql_string(sql), *([parameters] if parameters else []))
        # A server-side cursor knows its columns only after the first fetch.
        rows = cursor.fetchmany(CHUNK)
        if cursor.description is None:
            raise WatiValidationError("The SQL returns no rows: give one SELECT.")
        columns = [str(column[0]) for column in cursor.description]
        places = [(_name(column), _place_of(_name(column), columns)) for column in wanted]
        count = 0
        while rows:
            for row in rows:
                # Some drivers can be set to return dicts.
                values = [row[column] for column in columns] if isinstance(row, Mapping) else row
                yield {name: values[place] for name, place in places}
            count += len(rows)
            rows = cursor.fetchmany(CHUNK)
        _report_read(hook, sql, cursor, count)
    log.info("The query returned %s rows.", f"{count:,}")


def _cursor(hook: DbApiHook, connection: Any) -> Any:
    """Return a cursor; for PostgreSQL a server-side one, because the driver would fetch the whole result at once."""
    if getattr(hook, "conn_type", None) == "postgres":
        return connection.cursor(name=f"wati_{uuid.uuid4().hex}")
    return connection.cursor()


def _name(column: Column) -> str:
    if not isinstance(column, str):
        raise WatiValidationError(f"Column {column!r} has to be a name: the columns of a query have names.")
    return column


def _place_of(name: str, columns: Sequence[str]) -> int:
    places = [n for n, column in enumerate(columns) if column == name]
    places = places or [n for n, column in enumerate(columns) if column.casefold() == name.casefold()]
    if len(places) != 1:
        found = f"returns the column {name!r} {len(places)} times" if places else f"has no column {name!r}"
        raise WatiValidationError(f"The query {found}; its columns are {', '.join(map(repr, columns))}.")
    return places[0]


def _report_read(hook: DbApiHook, sql: str, cursor: Any, count: int) -> None:
    """Report the query to Airflow's lineage, without its parameters, which may be phone numbers."""
    with suppress(ImportError):  # common-sql before 1.31 has no lineage
        from airflow.providers.common.sql.hooks.lineage import send_sql_hook_lineage

        send_sql_hook_lineage(context=hook, sql=sql, cur=cursor, row_count=count)


def report_written(hook: Any, uri: str) -> None:
    """Report to Airflow's lineage where the rows were written."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    collector.add_output_asset(context=hook, uri=uri)


class OutcomesTable:
    """
    A table with the outcomes of every row, for all tasks and runs.

    Its columns are ``TASK_COLUMNS``, then those of the outcomes, then ``written_at`` in UTC.

    :param hook: the database.
    :param name: the table, with its schema if it needs one.
    :param columns: the columns of the outcomes.
    :raises WatiValidationError: for a text that is not the name of a table.
    """

    def __init__(self, hook: DbApiHook, name: str, columns: Sequence[str]) -> None:
        self._hook = hook
        self._name = name
        #: The name as it stands in statements.
        self._table = quoted_name(name, hook, "outcomes_table")
        named = (_RESERVED.get(column, column) for column in columns)
        self._columns = [*TASK_COLUMNS, *named, "written_at"]

    def create(self) -> None:
        """
        Create the table if it does not exist, and find out whether outcomes can be written to it.

        :raises WatiConfigurationError: when that fails, or a table of that name has other columns.
        """
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            self._create(connection, cursor)
            self._try_row(connection, cursor)

    def _create(self, connection: Any, cursor: Any) -> None:
        if not self._exists(connection, cursor):
            types = ", ".join(f"{column} {_TYPES.get(column, _TEXT)}" for column in self._columns)
            try:
                cursor.execute(f"CREATE TABLE {self._table} ({types})")
                connection.commit()
            except Exception as error:
                roll_back(connection)
                # Another task may have created it at the same time.
                if not self._exists(connection, cursor):
                    raise self._not_created(error) from error

    def _try_row(self, connection: Any, cursor: Any) -> None:
        """Write a row and roll it back. It fails for columns of other types, and for further columns that are NOT NULL."""
        values = [0 if column in _TYPES else "x" for column in self._columns]
        # A database without transactions keeps the row until it is deleted, so it must not look like a task's.
        values[TASK_COLUMNS.index("run_id")] = f"check {uuid.uuid4()}"
        # The check for the table has begun a transaction. Autocommit cannot be changed within it.
        roll_back(connection)
        if self._hook.supports_autocommit:
            self._hook.set_autocommit(connection, False)
        try:
            # Checks the right to delete. It matches no row, so it locks none of other tasks.
            cursor.execute(f"DELETE FROM {self._table} WHERE 1 = 0")
            cursor.execute(self._insert_statement(), tuple(values))
        except Exception as error:
            raise WatiConfigurationError(
                f"outcomes_table {self._name!r} does not take a row of outcomes: {error}. Nothing was sent or written to "
                "WATI. Give the name of a table that does not exist yet, or correct this one: map_index, loop_index "
                "and source_row are integers, the other columns are text."
            ) from error
        finally:
            roll_back(connection)
        self._delete(cursor, values[: len(TASK_COLUMNS)])

    def _delete(self, cursor: Any, task: Sequence[Any]) -> None:
        """
        Delete the rows of a task, if it has any.

        MySQL locks all rows that a DELETE reads, and the end of the table too: of two tasks that delete and insert at once, it
        ends one with a deadlock. A first attempt has nothing to delete, and a SELECT locks nothing.
        """
        cursor.execute(f"SELECT DISTINCT run_id FROM {self._table} WHERE {self._same_task()}", tuple(task))
        if cursor.fetchall():
            cursor.execute(f"DELETE FROM {self._table} WHERE {self._same_task()}", tuple(task))

    def _same_task(self) -> str:
        return " AND ".join(f"{column} = {self._hook.placeholder}" for column in TASK_COLUMNS)

    def _insert_statement(self) -> str:
        marks = ", ".join([self._hook.placeholder] * len(self._columns))
        return f"INSERT INTO {self._table} ({', '.join(self._columns)}) VALUES ({marks})"

    def _exists(self, connection: Any, cursor: Any) -> bool:
        try:
            cursor.execute(f"SELECT {', '.join(self._columns)} FROM {self._table} WHERE 1 = 0")
            cursor.fetchall()
        except Exception:
            # Each driver has its own error for a missing table; after any other error, creating the table fails
            # too.
            roll_back(connection)
            return False
        return True

    def _not_created(self, error: Exception) -> WatiConfigurationError:
        return WatiConfigurationError(
            f"outcomes_table {self._name!r} does not exist with the columns {', '.join(self._columns)}, and cannot "
            f"be created: {error}. Nothing was sent or written to WATI. Give the name of a table that does not exist "
            "yet, or of one with these columns."
        )

    def read(self, key: str, run: tuple[str, str]) -> Generator[dict[str, Any]]:
        """
        Yield the outcomes of one send or sync, with the columns that the table was made for.

        :param key: its ``send_key`` or ``sync_key``.
        :param run: DAG and run; where several tasks or runs share the key, their outcomes are meant.
        :raises WatiConfigurationError: when the table cannot be read.
        :raises WatiValidationError: when it has no outcomes of that key, or those of several tasks.
        """
        task = self._task_of(key, run)
        wanted = self._columns[len(TASK_COLUMNS) + 1 : -1]
        names = {reserved: name for name, reserved in _RESERVED.items()}
        sql = f"SELECT {', '.join(wanted)} FROM {self._table} WHERE {self._same_task()}"
        with closing(read_rows(self._hook, sql, task, wanted)) as rows:
            for row in rows:
                yield {names.get(column, column): row[column] for column in wanted}

    def _task_of(self, key: str, run: tuple[str, str]) -> tuple[Any, ...]:
        """Return the values of ``TASK_COLUMNS`` of the task that has written the outcomes of a key."""
        key_column = self._columns[len(TASK_COLUMNS)]
        sql = (
            f"SELECT DISTINCT {', '.join(TASK_COLUMNS)} FROM {self._table} "
            f"WHERE {key_column} = {self._hook.placeholder}"
        )
        try:
            tasks = [
                tuple(row.values()) for row in read_rows(self._hook, sql, (_fitting(key),), TASK_COLUMNS)
            ]
        except Exception as error:
            raise WatiConfigurationError(
                f"outcomes_table {self._name!r} cannot be read: {error}. Give the table that the send has written, and its "
                "database as outcomes_conn_id."
            ) from error
        if not tasks:
            raise WatiValidationError(
                f"outcomes_table {self._name!r} has no outcomes of the {key_column} {key!r}: give the table that the task "
                "has written."
            )
        of_run = [task for task in tasks if task[0] == run[0] and task[2] == run[1]]
        tasks = of_run if len(tasks) > 1 else tasks
        if len(tasks) != 1:
            raise WatiValidationError(
                f"outcomes_table {self._name!r} has outcomes of several tasks or runs for the {key_column} {key!r}, and not "
                "of one task in this run: put this task into the DAG of the send, or give a file as outcomes."
            )
        return tasks[0]

    def replace(self, task: Sequence[Any], outcomes: Iterable[Sequence[Any]]) -> None:
        """
        Write the outcomes of a task in place of those of an earlier attempt, in one transaction.

        :param task: the values of ``TASK_COLUMNS``.
        :param outcomes: the values of the outcome columns, row by row.
        :raises WatiError: when the database refuses a row.
        """
        try:
            self._replace(task, outcomes)
        except Exception as error:
            # PostgreSQL repeats the whole row, with the phone number, from the second line on.
            [reason] = str(error).splitlines()[:1] or [""]
            raise WatiError(
                f"outcomes_table {self._name!r} does not take the outcomes of this task: {type(error).__name__}: "
                f"{mask_numbers(reason)}. What the task has done counts all the same: correct the table, and clear the "
                "task, which writes the outcomes again."
            ) from None

    def _replace(self, task: Sequence[Any], outcomes: Iterable[Sequence[Any]]) -> None:
        insert = self._insert_statement()
        task = tuple(map(_fitting, task))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = ((*task, *map(_fitting, outcome), now) for outcome in outcomes)
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            if self._hook.supports_autocommit:
                self._hook.set_autocommit(connection, False)
            self._delete(cursor, task)
            while chunk := list(islice(rows, CHUNK)):
                execute_many(cursor, insert, chunk)
            connection.commit()


def roll_back(connection: Any) -> None:
    """End a transaction without effect, where there is one."""
    # Drivers of databases without transactions (BigQuery, Databricks, Trino) lack the method, or raise errors of their own.
    with suppress(Exception):
        connection.rollback()


def quoted_name(name: str, hook: DbApiHook, what: str) -> str:
    """
    Return the name of a table as it stands in a statement, quoted in the way of the database.

    :param name: up to three parts with dots between them. A bare part stays bare unless the database reserves the word,
        because quotes would make its case count.
    :param what: the argument that names it, for errors.
    :raises WatiValidationError: for anything else.
    """
    parts: list[str] = []
    place = 0
    while len(parts) < _MOST_PARTS and (found := _PART.match(name, place)):
        if found["bare"]:
            parts.append(hook.dialect.escape_word(found["bare"]))
        else:
            within = found["double"] or found["back"] or found["square"]
            parts.append(hook.dialect.escape_word_format.format(within))
        place = found.end() + 1
        if place > len(name):
            return ".".join(parts)
        if name[place - 1] != ".":
            break
    raise WatiValidationError(
        f"{what} is {name!r}, which is not the name of a table: give a name of letters, digits and underscores, "
        "with its schema before it if it needs one, and quotes around a part with other characters."
    )


def execute_many(cursor: Any, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a statement for each row."""
    if type(cursor).__module__.startswith("psycopg2"):
        # Its executemany makes a round trip for each row.
        from psycopg2.extras import execute_batch

        execute_batch(cursor, statement, rows, page_size=500)
    else:
        cursor.executemany(statement, rows)


def _fitting(value: Any) -> Any:
    """Cut a text that its column would refuse: a target may be any value of a row."""
    return value.replace("\0", "")[:_TEXT_LENGTH] if isinstance(value, str) else value
