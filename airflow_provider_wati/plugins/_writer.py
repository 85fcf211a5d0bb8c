"""Stores events that arrive together in one transaction."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._store import Received

log = logging.getLogger(__name__)

#: Events in one transaction.
_TOGETHER = 500
#: Events that may wait; at 500 a second, ten seconds' worth.
LONGEST_QUEUE = 5000
_ATTEMPTS = 5
_PAUSE = 0.2


class WriterIsBusyError(Exception):
    """So many events wait that another one would wait for too long."""


class NotStoredError(Exception):
    """The database did not take the event."""


class Writer:
    """
    One thread that stores the events of all requests.

    :param store: stores events in one transaction, or raises.
    :param on_stored: called after each transaction.
    """

    def __init__(
        self, store: Callable[[Sequence[Received]], None], on_stored: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._on_stored = on_stored
        self._queue: deque[tuple[Received, asyncio.Future[None]]] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="wati-webhook-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Store what still waits, and end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join(timeout=10)

    async def write(self, received: Received) -> None:
        """
        Return when the event is stored.

        :raises WriterIsBusyError: when too many events wait.
        :raises NotStoredError: when the database did not take it.
        """
        stored = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._is_stopped or len(self._queue) >= LONGEST_QUEUE:
                raise WriterIsBusyError
            self._queue.append((received, stored))
            self._changed.notify()
        await stored

    def _run(self) -> None:
        while entries := self._next():
            failed = self._try_to_store([received for received, _ in entries])
            by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
            for _, stored in entries:
                by_loop.setdefault(stored.get_loop(), []).append(stored)
            for loop, futures in by_loop.items():
                # The loop is closed when the server ends.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_resolve, futures, failed)
            if not failed:
                self._on_stored()

    def _next(self) -> list[tuple[Received, asyncio.Future[None]]]:
        with self._changed:
            while not self._queue:
                if self._is_stopped:
                    return []
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), _TOGETHER))]

    def _try_to_store(self, events: Sequence[Received]) -> bool:
        """Return whether the database did not take them."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._store(events)
                return False
            except Exception as error:
                # Not its text, which may hold what was to be stored.
                log.warning(
                    "Storing %d webhook events failed (%s), attempt %d of %d",
                    len(events),
                    type(error).__name__,
                    attempt,
                    _ATTEMPTS,
                )
            time.sleep(_PAUSE * attempt)
        return True


def _resolve(futures: Sequence[asyncio.Future[None]], failed: bool) -> None:
    for future in futures:
        if future.done():
            continue
        if failed:
            future.set_exception(NotStoredError())
        else:
            future.set_result(None)
