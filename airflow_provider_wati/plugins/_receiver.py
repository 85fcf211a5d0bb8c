"""The receiver of one process of the API server: its pages, and the threads that store and dispatch."""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_wati._compat import conf
from airflow_provider_wati.plugins import _store, _tables
from airflow_provider_wati.plugins._connections import Accounts, account_of
from airflow_provider_wati.plugins._writer import Writer

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


def now_in_milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Receiver:
    """What the requests of one process share. The database is not touched before :meth:`start`."""

    def __init__(self) -> None:
        self.accounts = Accounts(account_of, time.monotonic)
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._dispatcher: Dispatcher | None = None
        self._tidied = float("-inf")
        self._has_tables = False

    @cached_property
    def app(self) -> FastAPI:
        """The pages."""
        from airflow_provider_wati.plugins._app import build_app

        return build_app(self)

    @property
    def engine(self) -> Engine:
        """Airflow's metadata database, with the tables."""
        from airflow import settings

        engine: Any = settings.engine
        if not self._has_tables:
            _tables.create_tables(engine)
            self._has_tables = True
        found: Engine = engine
        return found

    def start(self) -> None:
        """Start the threads, once."""
        from airflow_provider_wati.plugins._dispatcher import Dispatcher

        with self._lock:
            if self._writer is not None:
                return
            dispatcher = Dispatcher(self._session, self._tidy)
            self._dispatcher = dispatcher
            self._writer = Writer(self._write, dispatcher.wake)
            self._writer.start()
            dispatcher.start()

    def stop(self) -> None:
        """Store what still waits, and end the threads."""
        with self._lock:
            if self._writer is not None:
                self._writer.stop()
            if self._dispatcher is not None:
                self._dispatcher.stop()

    @property
    def writer(self) -> Writer:
        """The thread that stores."""
        if self._writer is None:
            self.start()
        assert self._writer is not None  # noqa: S101 - start() has set it
        return self._writer

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
