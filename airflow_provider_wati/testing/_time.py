"""The time of a test: pauses take none, and the clocks of the provider and of the sandbox go on together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Ahead(Protocol):
    """How far the clocks are ahead of the machine's."""

    #: In seconds.
    seconds: float


class LocalAhead:
    """The same for the threads of one process."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def pauses_skipped(ahead: Ahead) -> Iterator[None]:
    """
    Let the provider's own pauses take no time, and its clock be ahead by them.

    Everything in the provider that is given no other clock uses the methods that are replaced here; so Airflow need not
    be imported for it.
    """
    import time

    from airflow_provider_wati.clock import SystemClock

    def now(_: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead.seconds)

    def monotonic(_: SystemClock) -> float:
        return time.monotonic() + ahead.seconds

    def sleep(_: SystemClock, seconds: float) -> None:
        ahead.seconds += max(seconds, 0.0)

    replaced = {name: SystemClock.__dict__[name] for name in ("now", "monotonic", "sleep")}
    for function in (now, monotonic, sleep):
        setattr(SystemClock, function.__name__, function)
    try:
        yield
    finally:
        for name, function in replaced.items():
            setattr(SystemClock, name, function)
