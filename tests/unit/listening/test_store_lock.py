"""A lock in a store without locks."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.listening import store_lock
from airflow_provider_wati.listening.store_lock import StoreLock


class TickingClock:
    """Pauses take no time, and count."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class FastClock:
    """The real time, ten times as fast."""

    SPEED = 10.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() * self.SPEED

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.SPEED)


class SlowStore:
    """A store for threads: each call takes a while before and after it counts, as over a network."""

    def __init__(self, slowest: float) -> None:
        self.values: dict[str, str] = {}
        self._slowest = slowest
        self._dice = random.Random(7)

    def get(self, key: str) -> Any:
        self._wait()
        value = self.values.get(key)
        self._wait()
        return None if value is None else json.loads(value)

    def set(self, key: str, value: Any) -> None:
        self._wait()
        self.values[key] = json.dumps(value)
        self._wait()

    def _wait(self) -> None:
        time.sleep(self._dice.uniform(0, self._slowest))


class Store:
    """A store at which something may happen before each write."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.before_set: Callable[[], object] | None = None

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        if self.before_set is not None:
            before, self.before_set = self.before_set, None
            before()
        self.values[key] = value


def test_only_one_of_many_is_inside_at_a_time() -> None:
    """Threads that want the lock at the same time get it one after the other, and each gets it."""
    store, clock = SlowStore(0.01), FastClock()
    inside, most, times = 0, 0, 0
    counting = threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most, times
        with StoreLock(store, "lock", clock).hold() as held:
            with counting:
                inside, times = inside + 1, times + 1
                most = max(most, inside)
            time.sleep(0.02)
            held.check()
            with counting:
                inside -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert (most, times) == (1, 6)


def test_the_lock_of_one_who_was_killed_ends() -> None:
    """A mark that nobody takes away holds for its time, and no longer."""
    store, clock = Store(), TickingClock()
    store.set("lock", "of somebody who was killed")
    with StoreLock(store, "lock", clock).hold():
        assert store_lock.LEASE <= clock.seconds < store_lock.LEASE + 10
    assert store.get("lock") == ""


def test_a_slow_write_does_not_enter_while_the_one_whose_mark_it_replaced_may_be_inside() -> None:
    """Who sees no mark, and writes so late that another has the lock by then, waits until that one's time is over."""
    store, clock = Store(), TickingClock()
    entered = 0.0

    def other() -> None:
        nonlocal entered
        holding = StoreLock(store, "lock", clock).hold()
        holding.__enter__()
        entered = clock.seconds

    store.before_set = other
    with StoreLock(store, "lock", clock).hold():
        assert clock.seconds - entered >= store_lock.LEASE - store_lock.PAUSE


def test_of_two_that_see_no_mark_the_last_one_to_write_enters() -> None:
    """A mark that was replaced during the pause gives no lock."""
    store, clock = Store(), TickingClock()
    pauses: list[float] = []

    class Interrupted(TickingClock):
        def sleep(self, seconds: float) -> None:
            if not pauses:
                store.set("lock", "of somebody else")
            pauses.append(seconds)
            clock.sleep(seconds)

        def monotonic(self) -> float:
            return clock.seconds

    with StoreLock(store, "lock", Interrupted()).hold():
        assert clock.seconds >= store_lock.LEASE


def test_a_holder_that_is_too_slow_is_told_and_leaves_the_mark_of_its_successor() -> None:
    """After its time, a holder may not write, and does not open the lock that somebody else may hold."""
    store, clock = Store(), TickingClock()
    with StoreLock(store, "lock", clock).hold() as held:
        held.check()
        clock.sleep(store_lock.WORK)
        store.set("lock", "of the successor")
        with pytest.raises(WatiError, match="slow"):
            held.check()
    assert store.get("lock") == "of the successor"


def test_an_error_inside_gives_the_lock_back() -> None:
    """The next one need not wait for the time of one who failed."""
    store, clock = Store(), TickingClock()
    with pytest.raises(ValueError, match="inside"), StoreLock(store, "lock", clock).hold():
        raise ValueError("inside")
    assert store.get("lock") == ""


def test_waiting_ends() -> None:
    """Where others take the lock again and again, the error says what to set."""

    class Busy(Store):
        def get(self, key: str) -> Any:
            return str(random.random())

    with (
        pytest.raises(WatiError, match="max_active_runs=1"),
        StoreLock(Busy(), "lock", TickingClock()).hold(),
    ):
        pytest.fail("it is not free")


def test_a_lock_that_cannot_be_given_back_is_no_error() -> None:
    """What was written is written; the lock ends by itself."""
    store, clock = Store(), TickingClock()

    def fail() -> None:
        raise ConnectionError

    with StoreLock(store, "lock", clock).hold():
        store.before_set = fail
    assert store.get("lock") != ""
