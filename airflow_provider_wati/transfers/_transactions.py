"""Transactions in which no other run can write the same rows between a look and a write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_wati.operators._sql import roll_back

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

#: Another run may insert the same row between the look and the insert. The next attempt finds it.
_MOST_ATTEMPTS = 3
_LOCKING = frozenset({"postgresql", "mysql"})


def for_update(hook: DbApiHook, column: str) -> str:
    """
    Return what a SELECT ends with that locks its rows until the end of the transaction, where the database can do that.

    :param hook: the database. SQLite needs nothing: its transactions run one after the other.
    :param column: the order of the rows, so that two transactions never wait for each other.
    """
    return f" ORDER BY {column} FOR UPDATE" if hook.dialect_name in _LOCKING else ""


def is_refusal(error: BaseException, *kinds: str) -> bool:
    """
    Return whether a database error is of a class of PEP 249, which each driver has under the same name.

    :param error: the error.
    :param kinds: names such as ``IntegrityError``.
    """
    return any(base.__name__ in kinds for base in type(error).__mro__)


def in_transaction(hook: DbApiHook, write: Callable[[Any], T]) -> T:
    """
    Run a function in a transaction, and commit; after any error, nothing is written.

    :param hook: the database.
    :param write: gets a cursor. It runs again when the database refuses a key that another run has inserted meanwhile.
    """
    for _ in range(_MOST_ATTEMPTS - 1):
        try:
            return _once(hook, write)
        except Exception as error:
            if not is_refusal(error, "IntegrityError"):
                raise
    return _once(hook, write)


def _once(hook: DbApiHook, write: Callable[[Any], T]) -> T:
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        if hook.supports_autocommit:
            hook.set_autocommit(connection, False)
        try:
            if hook.dialect_name == "sqlite":
                # Python begins a transaction at the first write only, and another run could write before it.
                cursor.execute("BEGIN IMMEDIATE")
            result = write(cursor)
            connection.commit()
        except BaseException:
            roll_back(connection)
            raise
    return result
