"""The watermark of an extract, in a table beside that of the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.extracting.rows import LONGEST_ID
from airflow_provider_wati.operators._sql import execute_many, quoted_name, roll_back
from airflow_provider_wati.transfers._transactions import in_transaction

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_wati.extracting.rows import State

#: What the table with the watermark of a table is called.
_SUFFIX = "_watermark"


class WatermarkTable:
    """
    The state that a run stores for the next one, in a table beside that of the rows: ``<table>_watermark``.

    :param hook: the database.
    :param table: the table of the rows.
    :param account: the account and channel that is read; each has its own watermark.
    """

    def __init__(self, hook: DbApiHook, table: str, account: str) -> None:
        self._hook = hook
        name = re.sub(r"([\"`\]]?)\Z", rf"{_SUFFIX}\1", table, count=1)
        self._name = name
        self._table = quoted_name(name, hook, "The table of the watermark")
        self._account = account[:LONGEST_ID]
        self._saved: State = {}

    def load(self) -> State:
        """
        Return the state of the last run, empty before the first one. The table is created if it does not exist.

        :raises WatiConfigurationError: when it cannot be created, or a table of that name has other columns.
        """
        select = f"SELECT name, value FROM {self._table} WHERE account = {self._hook.placeholder}"
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            try:
                cursor.execute(select, (self._account,))
            except Exception:
                roll_back(connection)
                self._create(connection, cursor)
                cursor.execute(select, (self._account,))
            rows = cursor.fetchall()
        pairs = (tuple(row.values()) if isinstance(row, Mapping) else row for row in rows)
        self._saved = {str(name): str(value) for name, value in pairs}
        return dict(self._saved)

    def save(self, state: State) -> None:
        """Store a state. Only differences from the last one are written, in one transaction."""
        mark = self._hook.placeholder
        gone = [name for name in self._saved if self._saved[name] != state.get(name)]
        new = [name for name in state if state[name] != self._saved.get(name)]
        if not gone and not new:
            return

        def write(cursor: Any) -> None:
            # Another run may have written the new ones meanwhile.
            outdated = [(self._account, name) for name in sorted({*gone, *new})]
            delete = f"DELETE FROM {self._table} WHERE account = {mark} AND name = {mark}"
            execute_many(cursor, delete, outdated)
            if new:
                insert = f"INSERT INTO {self._table} (account, name, value) VALUES ({mark}, {mark}, {mark})"
                execute_many(cursor, insert, [(self._account, name, state[name]) for name in sorted(new)])

        in_transaction(self._hook, write)
        self._saved = dict(state)

    def clear(self) -> None:
        """Delete the state of all accounts and channels, because the rows of all of them are gone."""
        in_transaction(self._hook, lambda cursor: cursor.execute(f"DELETE FROM {self._table}"))
        self._saved = {}

    def _create(self, connection: Any, cursor: Any) -> None:
        try:
            cursor.execute(
                f"CREATE TABLE {self._table} (account VARCHAR({LONGEST_ID}) NOT NULL, name VARCHAR({LONGEST_ID + 45}) NOT NULL, "
                f"value VARCHAR(1000) NOT NULL, PRIMARY KEY (account, name))"
            )
            connection.commit()
        except Exception as error:
            roll_back(connection)
            raise WatiConfigurationError(
                f"The watermark cannot be kept in the table {self._name!r}: {error}. Nothing was read. Create it with the "
                "columns account, name and value, or give a state_path."
            ) from error
