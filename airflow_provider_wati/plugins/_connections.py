"""What the receiver knows of a connection, kept for a short time."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from airflow_provider_wati.connection_form import CONN_TYPE
from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.listening.read_key import read_key

log = logging.getLogger(__name__)

#: Seconds after which a connection is read again.
_FRESH = 15.0
#: Seconds for which a known connection is used while it is read again.
_USABLE = 30.0
_MOST_KEPT = 1000
#: Look-ups that may run at once; a guesser who makes more is told to come back.
_MOST_AT_ONCE = 8
_CONN_ID = re.compile(r"[\w.()\[\]!:#@ -]{1,250}")


class TooManyLookupsError(Exception):
    """The connection cannot be read now, or others cannot, which must look alike."""


@dataclass(frozen=True, slots=True)
class Account:
    """
    A connection that receives webhooks.

    :param secret: what its address ends with.
    :param read_key: by which workers read its statuses.
    :param tenant_id: its tenant, where the connection says it.
    """

    secret: bytes = field(repr=False)
    read_key: bytes = field(repr=False)
    tenant_id: str | None = None


#: Compared with where there is no account, so that both answers take the same time.
_NOBODY = Account(b"\0", b"\0")


def account_of(conn_id: str) -> Account | None:
    """
    Read a connection from where Airflow keeps it; this blocks.

    :return: None where it does not exist, is of another type or receives nothing.
    :raises Exception: of the secrets backend or the database, where that cannot be said.
    """
    from airflow.models.connection import Connection

    from airflow_provider_wati._compat import AirflowNotFoundException
    from airflow_provider_wati.client.endpoint import Endpoint
    from airflow_provider_wati.hooks.settings import settings_of

    try:
        connection = Connection.get_connection_from_secrets(conn_id)
        if connection.conn_type != CONN_TYPE:
            return None
        settings = settings_of(connection)
        arguments = settings.client_arguments
        if settings.webhook_secret is None:
            return None
        tenant_id = Endpoint.parse(arguments["endpoint"], arguments.get("tenant_id")).tenant_id
    except AirflowNotFoundException:
        _ask_each_backend(conn_id)
        return None
    except WatiConfigurationError as error:
        log.warning("No webhooks are received. %s", error)
        return None
    key = read_key(arguments["token"].reveal(), conn_id)
    return Account(settings.webhook_secret.encode(), key.encode(), tenant_id)


def _ask_each_backend(conn_id: str) -> None:
    """Raise what a secrets backend raises; Airflow takes a backend that fails for one without the connection."""
    from airflow.configuration import ensure_secrets_loaded

    for backend in ensure_secrets_loaded():
        backend.get_connection(conn_id=conn_id)


class Accounts:
    """
    The connections that were asked for lately, also those that do not exist.

    :param read: reads one; it is called in a thread.
    :param clock: seconds that never go back.
    """

    def __init__(self, read: Callable[[str], Account | None], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Account | None]] = OrderedDict()
        self._running: dict[str, asyncio.Task[Account | None]] = {}
        self._is_failing = False

    async def with_secret(self, conn_id: str, secret: str) -> Account | None:
        """Return the account if it has this secret."""
        return await self._matching(conn_id, secret, lambda account: account.secret)

    async def with_read_key(self, conn_id: str, key: str) -> Account | None:
        """Return the account if it has this read key."""
        return await self._matching(conn_id, key, lambda account: account.read_key)

    async def _matching(
        self, conn_id: str, given: str, expected: Callable[[Account], bytes]
    ) -> Account | None:
        account = await self._get(conn_id) if _CONN_ID.fullmatch(conn_id) else None
        is_it = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected(account or _NOBODY))
        if not is_it and (self._is_failing or len(self._running) >= _MOST_AT_ONCE):
            # An unknown connection is refused so, and a known one must not differ from it.
            raise TooManyLookupsError
        return account if is_it else None

    async def _get(self, conn_id: str) -> Account | None:
        read_at, account = self._kept.get(conn_id, (float("-inf"), None))
        age = self._clock() - read_at
        if age < _FRESH:
            return account
        task = self._running.get(conn_id) or self._begin(conn_id, is_known=account is not None)
        if account is not None and age < _USABLE:
            return account
        return await asyncio.shield(task)

    def _begin(self, conn_id: str, *, is_known: bool) -> asyncio.Task[Account | None]:
        # A known connection is never kept out by a guesser.
        if not is_known and len(self._running) >= _MOST_AT_ONCE:
            raise TooManyLookupsError
        task = asyncio.create_task(self._look_up(conn_id))
        self._running[conn_id] = task
        task.add_done_callback(lambda done: self._end(conn_id, done))
        return task

    async def _look_up(self, conn_id: str) -> Account | None:
        account = await asyncio.to_thread(self._read, conn_id)
        self._kept[conn_id] = (self._clock(), account)
        self._kept.move_to_end(conn_id)
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next((key for key, (_, value) in self._kept.items() if value is None), conn_id)]
        return account

    def _end(self, conn_id: str, done: asyncio.Task[Account | None]) -> None:
        self._running.pop(conn_id, None)
        with suppress(asyncio.CancelledError):
            self._is_failing = done.exception() is not None
            if (error := done.exception()) is not None:
                # Not its text: those of Airflow and of its secrets backends may hold the connection.
                log.warning("Connection %r could not be read (%s).", conn_id, type(error).__name__)
