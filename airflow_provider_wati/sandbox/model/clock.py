"""The sandbox's own time, which a test can stop and move."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_EARLIEST = datetime.min.replace(tzinfo=UTC).timestamp()
#: A whole second, because a fraction would be rounded up into the year 10000.
_LATEST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class Clock:
    """
    Wall-clock time plus whatever a test has added.

    Everything that WATI would date or let expire uses this clock; pauses and rate limits use real time.
    """

    def __init__(self) -> None:
        self._moved = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """Return the current time as seconds since 1970."""
        return self._real() + self._moved

    def reaches(self, seconds: float) -> bool:
        """Return whether the time so many seconds from now, or before it if they are negative, is one of a date."""
        return _EARLIEST <= self.now() + seconds <= _LATEST

    def advance(self, seconds: float) -> None:
        self._moved += seconds

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def freeze(self) -> None:
        """Stop the clock; from now on only ``advance`` moves it."""
        if self._frozen_at is None:
            self._frozen_at = time.time()

    def unfreeze(self) -> None:
        """Let the clock run again from the time it shows."""
        if self._frozen_at is not None:
            self._moved -= time.time() - self._frozen_at
            self._frozen_at = None

    def position(self) -> tuple[float, float | None]:
        """Return how far it was moved, and the time at which it was stopped; for another clock."""
        return self._moved, self._frozen_at

    def set_position(self, moved: float, frozen_at: float | None) -> None:
        """Go on as a clock with this position."""
        self._moved, self._frozen_at = moved, frozen_at

    def _real(self) -> float:
        return time.time() if self._frozen_at is None else self._frozen_at


def to_iso(seconds: float) -> str:
    """Write a time as WATI does: UTC, seven fractional digits, ``Z``; times before year 1 and after 9999 as its end."""
    moment = datetime.fromtimestamp(min(max(seconds, _EARLIEST), _LATEST), tz=UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}0Z"


def from_iso(text: str) -> float:
    """
    Read an ISO-8601 date or date-time; one without an offset is taken as UTC.

    :raises ValueError: when the text is neither.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
