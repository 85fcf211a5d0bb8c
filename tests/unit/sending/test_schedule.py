"""When people are messaged: the hours in which they may be, and the time that was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.schedule import SendWindow, Timetable
from tests.support.clock import FakeClock

DAY = ("09:00", "21:00", "Asia/Kolkata")
NIGHT = ("22:00", "06:00", "UTC")
BERLIN = ("02:30", "09:00", "Europe/Berlin")


@pytest.mark.parametrize(
    ("window", "moment", "opening"),
    [
        # Kolkata is 5:30 ahead
        (DAY, "2026-11-03T03:29:59Z", "2026-11-03T03:30:00Z"),
        (DAY, "2026-11-03T03:30:00Z", "2026-11-03T03:30:00Z"),
        (DAY, "2026-11-03T15:29:59Z", "2026-11-03T15:29:59Z"),
        (DAY, "2026-11-03T15:30:00Z", "2026-11-04T03:30:00Z"),
        (DAY, "2026-11-03T20:00:00Z", "2026-11-04T03:30:00Z"),
        # over midnight
        (NIGHT, "2026-11-03T23:00:00Z", "2026-11-03T23:00:00Z"),
        (NIGHT, "2026-11-03T05:59:59Z", "2026-11-03T05:59:59Z"),
        (NIGHT, "2026-11-03T06:00:00Z", "2026-11-03T22:00:00Z"),
        # the clocks of Berlin go back at 01:00 UTC, and forth over half past two
        (("09:00", "21:00", "Europe/Berlin"), "2026-10-24T20:00:00Z", "2026-10-25T08:00:00Z"),
        (("09:00", "21:00", "Europe/Berlin"), "2026-10-23T20:00:00Z", "2026-10-24T07:00:00Z"),
        (BERLIN, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        (("02:30", "02:40", "Europe/Berlin"), "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z"),
        # half past two comes twice: what is past is no opening
        (("02:30", "02:40", "Europe/Berlin"), "2026-10-25T00:35:00Z", "2026-10-25T00:35:00Z"),
        (("02:30", "02:40", "Europe/Berlin"), "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"),
        (("02:30", "02:40", "Europe/Berlin"), "2026-10-25T01:40:00Z", "2026-10-26T01:30:00Z"),
    ],
)
def test_next_opening(window: Any, moment: str, opening: str) -> None:
    """An open window is open now; a closed one opens at its minute, also when clocks change."""
    found = SendWindow.parse(window).next_opening(datetime.fromisoformat(moment))
    assert found.astimezone(UTC) == datetime.fromisoformat(opening)


def test_an_opening_is_always_inside_the_window() -> None:
    """Over a whole year, no opening is early or outside the window."""
    for given in (DAY, NIGHT, BERLIN):
        window = SendWindow.parse(given)
        for hour in range(0, 24 * 365, 13):
            moment = datetime.fromtimestamp(1_767_225_600 + hour * 3_600, UTC)
            opening = window.next_opening(moment)
            assert opening >= moment
            assert window.is_open(opening)


@pytest.mark.parametrize(
    "window",
    [
        ("09:00", "21:00"),
        ("09:00", "21:00", "Asia/Nowhere"),
        ("9 am", "21:00", "UTC"),
        ("09:00", "09:00", "UTC"),
        ("09:00:30", "21:00", "UTC"),
        ("09:00+01:00", "21:00", "UTC"),
        ("09:00", "21:00", "../etc/passwd"),
        (9, 21, "UTC"),
        7,
    ],
)
def test_what_is_no_window_is_refused(window: Any) -> None:
    """Anything but two different minutes of the day and a zone is refused."""
    with pytest.raises(WatiValidationError, match="send_window is"):
        SendWindow.parse(window)


# The timetable

NOW = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)


def due_of(at: datetime | None, window: Any = None) -> datetime | None:
    """When a message that leaves now is due."""
    return Timetable(at, SendWindow.parse(window) if window else None, FakeClock(NOW)).due()


@pytest.mark.parametrize(
    ("at", "window", "due"),
    [
        (None, None, None),
        (None, ("06:00", "07:00", "UTC"), None),
        (None, ("07:00", "08:00", "UTC"), "2026-11-03T07:00:00+00:00"),
        ("2026-11-03T09:00:00+00:00", None, "2026-11-03T09:00:00+00:00"),
        ("2026-11-03T09:00:00+00:00", ("08:00", "10:00", "UTC"), "2026-11-03T09:00:00+00:00"),
        ("2026-11-03T11:00:00+00:00", ("08:00", "10:00", "UTC"), "2026-11-04T08:00:00+00:00"),
        ("2026-11-03T12:00:00+05:30", ("06:00", "07:00", "UTC"), "2026-11-03T12:00:00+05:30"),
    ],
)
def test_when_a_message_is_due(at: str | None, window: Any, due: str | None) -> None:
    """At once, at the time asked for, or when the window opens next after it."""
    found = due_of(None if at is None else datetime.fromisoformat(at), window)
    assert found == (None if due is None else datetime.fromisoformat(due))


def test_a_time_gone_by_is_refused_when_it_passes() -> None:
    """A time may pass while messages wait for their turn; they are not sent at once instead."""
    clock = FakeClock(NOW)
    timetable = Timetable(NOW + timedelta(seconds=5), None, clock)
    assert timetable.due() == NOW + timedelta(seconds=5)
    clock.advance(5)
    for ask in (timetable.due, timetable.refuse_the_past):
        with pytest.raises(WatiValidationError, match="in the past: give a later one"):
            ask()


@pytest.mark.parametrize("year", [2037, 9999])
def test_a_time_far_ahead_is_refused(year: int) -> None:
    """A date of the year 9999 is a placeholder, and sums with it would leave the calendar."""
    at = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(WatiValidationError, match=f"scheduled_at is {year}-12-31.*within the next 10 years"):
        Timetable(at, None, FakeClock(NOW))


def test_a_time_ten_years_ahead_is_taken() -> None:
    """The limit is ten calendar years."""
    at = datetime(2036, 12, 31, tzinfo=UTC)
    assert due_of(at) == at


@pytest.mark.parametrize("hours", [-12, 14])
def test_the_last_moment_of_the_calendar_in_any_zone_is_refused(hours: int) -> None:
    """Neither the check nor its error leaves the calendar."""
    at = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(WatiValidationError, match="within the next 10 years"):
        Timetable(at, None, FakeClock(NOW))
