"""One at a time, with a store that can only get and set values: Airflow's has neither locks nor a compare-and-set."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wati.exceptions import WatiError

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock

log: logging.Logger = logging.getLogger(__name__)

#: Seconds from the first look to the end of the write, at most. A slower one may have replaced the mark of the one that holds the lock.
SLOWEST_WRITE = 2.5
#: Seconds after which a mark that is still there is safe: longer than the slowest write of those who had looked before.
PAUSE = 3.0
#: Seconds in which the holder may begin to write.
WORK = 60.0
#: Seconds after which an unchanged mark is that of somebody who was killed: twice WORK, so that a write that has begun ends before.
LEASE = 120.0
#: Seconds to wait for the lock, at most.
MOST_WAIT = 600.0


class Store(Protocol):
    """Keeps JSON values by name; a reader sees the latest value that was set."""

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        ...


class Held(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """
        Say before and after each write that nobody else can have got the lock.

        :raises WatiError: when that is not sure.
        """
        ...


class _Lease:
    """
    A lock that is held for a time.

    :param clock: the time.
    :param began: before which moment nobody could see our mark.
    """

    def __init__(self, clock: Clock, began: float) -> None:
        self._clock = clock
        self._began = began

    def check(self) -> None:
        if not self.is_sure:
            raise WatiError(
                f"Airflow's store is so slow that the messages of the run could not be written down in {WORK:g} s. None was "
                "handed on; let the task be retried, or set max_active_runs=1 and a state_path that is a local directory."
            )

    @property
    def is_sure(self) -> bool:
        return self._clock.monotonic() - self._began <= WORK


class StoreLock:
    """
    A lock in a store without locks, after Fischer: set a mark where there is none, pause, and see if it is still there.

    The pause is longer than a write takes of anybody who has seen no mark before ours, so that of several that set theirs only the last
    finds it again. A write that took longer is noticed by its writer, who then does not enter. Its mark may have replaced that of a
    holder, and so stands until the holder's time is over. Times are measured by each one's own monotonic clock.

    :param store: where the mark is.
    :param key: the name of the mark.
    :param clock: the time.
    """

    def __init__(self, store: Store, key: str, clock: Clock) -> None:
        self._store = store
        self._key = key
        self._clock = clock

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """
        Hold the lock, for :data:`WORK` seconds at most.

        :raises WatiError: when it is not to be had in :data:`MOST_WAIT` seconds.
        """
        lease = _Lease(self._clock, self._acquire())
        try:
            yield lease
        finally:
            # Later, somebody else may hold it.
            if lease.is_sure:
                self._release()

    def _acquire(self) -> float:
        """Get the lock; return a moment from before our mark could be seen."""
        first = self._clock.monotonic()
        seen, since = "", first
        while (began := self._clock.monotonic()) - first < MOST_WAIT:
            mark = str(self._store.get(self._key) or "")
            if mark != seen:
                seen, since = mark, self._clock.monotonic()
            if not mark or began - since >= LEASE:
                if self._mark(began):
                    return began
            else:
                self._clock.sleep(PAUSE * random.uniform(0.1, 0.3))
        raise WatiError(
            f"Other runs of the DAG take messages, and {MOST_WAIT:g} s were not enough to wait for them: set max_active_runs=1, "
            "or let the task be retried. Nothing is lost."
        )

    def _mark(self, began: float) -> bool:
        """Set a mark of our own; return whether it has given us the lock."""
        mine = secrets.token_hex(8)
        self._store.set(self._key, mine)
        if self._clock.monotonic() - began > SLOWEST_WRITE:
            log.info("Airflow's store took too long for a lock; it is tried again.")
            return False
        self._clock.sleep(PAUSE)
        return bool(self._store.get(self._key) == mine)

    def _release(self) -> None:
        try:
            self._store.set(self._key, "")
        except Exception as error:
            log.warning("A lock could not be given back, and ends in %g s: %s", LEASE, type(error).__name__)
