"""The receiver of one process of the API server: its pages, and the threads that store and dispatch."""

from __future__ import annotations

import gc
import logging
import threading
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_wati._compat import conf
from airflow_provider_wati.plugins import _store, _tables
from airflow_provider_wati.plugins._connections import Accounts, account_of
from airflow_provider_wati.plugins._writer import NotStoredError, Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from sqlalchemy.engine import Engine

    from airflow_provider_wati.plugins._dispatcher import Dispatcher

log = logging.getLogger(__name__)

DEFAULT_RETENTION_DAYS = 7
#: WATI repeats an event for a day; what is forgotten earlier would count twice.
_FEWEST_DAYS = 2
_DAY = 86_400_000
_TIDY_EVERY = 3600.0
#: Seconds between two looks for tables that another process may have made.
_LOOK_EVERY = 600.0
#: Seconds for which tables that could not be made are not tried again.
_AFTER_REFUSAL = 30.0


def now_in_milliseconds() -> int:
    return time.time_ns() // 1_000_000


class _TablesOnce:
    """Makes the tables once; where that fails, it says so once and is not tried by each request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._are_made = False
        self._was_refused = False
        self._not_before = float("-inf")

    def make(self, engine: Engine) -> None:
        """
        Make what is missing.

        :raises NotStoredError: where the database does not allow it.
        """
        if self._are_made:
            return
        with self._lock:
            if self._are_made:
                return
            if time.monotonic() < self._not_before:
                raise NotStoredError
            try:
                _tables.create_tables(engine)
            except Exception as error:
                self._not_before = time.monotonic() + _AFTER_REFUSAL
                if not self._was_refused:
                    log.error(
                        "The tables of WATI's webhooks, wati_webhook_*, cannot be made in Airflow's database (%s): no "
                        "webhook is stored. Its user needs the right to create tables. It is tried again.",
                        type(error).__name__,
                    )
                self._was_refused = True
                raise NotStoredError from error
            self._are_made = True


def _airflows_engine() -> Engine:
    from airflow import settings

    engine: Any = settings.engine
    found: Engine = engine
    return found


class Receiver:
    """
    What the requests of one process share.

    Nothing is made in the database before a connection receives: the threads start with the first request that knows a
    secret or read key, or once the tables are there, because another process made them.
    """

    def __init__(self) -> None:
        self.accounts = Accounts(account_of, time.monotonic)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._writer: Writer | None = None
        self._dispatcher: Dispatcher | None = None
        self._tidied = float("-inf")
        self._tables = _TablesOnce()

    @cached_property
    def app(self) -> FastAPI:
        """The pages."""
        from airflow_provider_wati.plugins._app import build_app

        return build_app(self)

    async def take(self, conn_id: str, scope: Any, receive: Any, send: Any) -> None:
        """
        Answer a webhook as an ASGI application does.

        :param conn_id: the connection that its address names.
        """
        from airflow_provider_wati.plugins._app import take

        await take(self, conn_id, scope, receive, send)

    @property
    def engine(self) -> Engine:
        """Airflow's metadata database, with the tables; :class:`NotStoredError` where they cannot be made."""
        engine = _airflows_engine()
        self._tables.make(engine)
        return engine

    def has_tables(self) -> bool:
        """Say whether the tables exist; none are made."""
        return _tables.are_there(_airflows_engine())

    def start(self) -> None:
        """Look for tables that hold what another process has left."""
        threading.Thread(target=self._look_for_tables, name="wati-webhook-tables", daemon=True).start()

    @property
    def is_active(self) -> bool:
        """Whether :meth:`activate` has nothing to do."""
        return self._writer is not None

    def activate(self) -> None:
        """
        Make the tables and start the threads, once; this blocks.

        :raises NotStoredError: where the tables cannot be made, or the server ends.
        """
        if self.is_active:
            return
        from airflow_provider_wati.plugins._dispatcher import Dispatcher

        with self._lock:
            if self._writer is not None:
                return
            if self._stopped.is_set():
                raise NotStoredError
            self._tables.make(_airflows_engine())
            self._dispatcher = Dispatcher(self._session, self._tidy)
            self._dispatcher.start()
            writer = Writer(self._write, self._dispatcher.wake)
            writer.start()
            self._writer = writer
        # A full garbage collection looks at all 600,000 objects of the API server's pages, and nothing is answered for half
        # a second. They live as long as the process, so that it need not look at them.
        gc.freeze()

    def stop(self) -> None:
        """Store what still waits, and end the threads."""
        self._stopped.set()
        with self._lock:
            if self._writer is not None:
                self._writer.stop()
            if self._dispatcher is not None:
                self._dispatcher.stop()

    @property
    def writer(self) -> Writer:
        """The thread that stores."""
        self.activate()
        assert self._writer is not None  # noqa: S101 - activate() has set it
        return self._writer

    def _look_for_tables(self) -> None:
        while not self._stopped.is_set() and self._writer is None:
            # A failure is logged by what makes the tables; here there may be nothing to make.
            with suppress(Exception):
                if self.has_tables():
                    self.activate()
                    return
            self._stopped.wait(_LOOK_EVERY)

    def _write(self, events: Sequence[_store.Received]) -> None:
        _store.store(self.engine, events)

    def _session(self) -> Any:
        from airflow.utils.session import create_session

        # Makes the tables where they are missing.
        _ = self.engine
        return create_session(scoped=False)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied < _TIDY_EVERY:
            return
        self._tidied = time.monotonic()
        from airflow_provider_wati.plugins._dispatcher import forget_older

        before = now_in_milliseconds() - retention_days() * _DAY
        with self._session() as session:
            forget_older(session, before)
        if deleted := _store.delete_older(self.engine, before):
            log.info("Deleted %d webhook events that were kept long enough", deleted)


def retention_days() -> int:
    """Return ``[wati] webhook_retention_days``, at least 2."""
    days = conf.getint("wati", "webhook_retention_days", fallback=DEFAULT_RETENTION_DAYS)
    return max(days or DEFAULT_RETENTION_DAYS, _FEWEST_DAYS)
