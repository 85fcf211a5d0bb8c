"""Values of WATI in the form in which they are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_wati.listening.values import time_before, time_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-02-20T15:28:57.3422044Z", "2026-02-20T15:28:57.342204Z"),
        ("2026-02-20T15:28:57+05:30", "2026-02-20T09:58:57.000000Z"),
        ("2026-02-20", "2026-02-20T00:00:00.000000Z"),
        ("1793318400", "2026-10-30T00:00:00.000000Z"),
        (1793318400123, "2026-10-30T00:00:00.123000Z"),
        ("0001-01-01T00:00:00+14:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("9" * 30, None),
        ("yesterday", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_times(given: Any, expected: str | None) -> None:
    """Times come out in one form, which sorts in the order of time; what is not a time is NULL."""
    assert time_of(given) == expected


def test_an_overlap_before_the_first_year_is_no_error() -> None:
    """The earliest time is the limit of an overlap."""
    assert time_before(datetime(1, 1, 1, 1, tzinfo=UTC), timedelta(days=1)) == "0001-01-01T00:00:00.000000Z"
