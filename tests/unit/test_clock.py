"""The clock of the machine, and the one of the tests."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock
from tests.support.clock import FakeClock


def test_the_system_clock_tells_the_time_of_the_machine() -> None:
    """The time is aware and in UTC, and pauses take their time."""
    before = datetime.now(UTC)
    now = SYSTEM_CLOCK.now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)
    began = time.monotonic()
    started = SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(0.02)
    SYSTEM_CLOCK.sleep(-1)
    assert time.monotonic() - began >= 0.02
    assert SYSTEM_CLOCK.monotonic() - started >= 0.02


def test_the_fake_clock_moves_when_it_is_told_to() -> None:
    """Both of its times move together, by pauses and by hand."""
    clock = FakeClock()
    stands_in: Clock = clock
    now, seconds = stands_in.now(), stands_in.monotonic()
    stands_in.sleep(2)
    clock.advance(timedelta(minutes=1))
    assert stands_in.now() - now == timedelta(seconds=62)
    assert stands_in.monotonic() - seconds == 62
    assert clock.sleeps == [2]
