"""Time as the package sees it: one protocol, so that a test can stand in for the clock of the machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where times and pauses come from."""

    def now(self) -> datetime:
        """Return the time of day, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards; only differences mean anything."""
        ...

    def sleep(self, seconds: float) -> None:
        """
        Pause.

        :param seconds: how long; 0 or less returns at once.
        """
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the time of day, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the monotonic seconds of the machine."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """
        Pause the calling thread.

        :param seconds: how long; 0 or less returns at once.
        """
        if seconds > 0:
            time.sleep(seconds)


#: The clock that is used where no other is given.
SYSTEM_CLOCK = SystemClock()
