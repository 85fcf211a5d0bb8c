"""A clock that a test moves; it stands in for the clock of the machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from airflow_provider_wati.clock import Clock

_START = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)


class MovableClock(Clock, Protocol):
    """A clock that a test moves, and that knows how long was slept."""

    #: Every pause, in order, in seconds.
    sleeps: list[float]

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass."""


class FakeClock:
    """
    A clock that only moves when it is told to, or slept on.

    :param now: the time that it starts at, aware.
    """

    def __init__(self, now: datetime = _START) -> None:
        self._now = now
        self._monotonic = 1000.0
        #: Every pause, in order, in seconds.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(max(seconds, 0.0))

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass."""
        passed = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        self._now += passed
        self._monotonic += passed.total_seconds()


class SkippingClock:
    """The clock of the machine, but for pauses: they take no time, and the clock is ahead by them afterwards."""

    def __init__(self) -> None:
        self._skipped = timedelta()
        #: Every pause, in order, in seconds.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + self._skipped

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped.total_seconds()

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._skipped += timedelta(seconds=max(seconds, 0.0))
