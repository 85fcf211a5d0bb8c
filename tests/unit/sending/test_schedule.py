from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.schedule import SendWindow

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
    found = SendWindow.parse(window).next_opening(datetime.fromisoformat(moment))
    assert found.astimezone(UTC) == datetime.fromisoformat(opening)


def test_an_opening_is_always_inside_the_window() -> None:
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
    with pytest.raises(WatiValidationError, match="send_window is"):
        SendWindow.parse(window)
