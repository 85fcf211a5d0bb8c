"""The policy of what may be sent again, cell by cell, without a socket."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_provider_wati.client.retry import (
    FailureKind,
    Safety,
    failure_kind_of,
    is_retryable,
    is_success,
    read_http_date,
    read_retry_after,
)

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
READ, SET, SEND = Safety.READ, Safety.IDEMPOTENT, Safety.NON_IDEMPOTENT


@pytest.mark.parametrize(
    ("kind", "who_goes_again"),
    [
        (FailureKind.NOT_SENT, {READ, SET, SEND}),
        (FailureKind.THROTTLED, {READ, SET, SEND}),
        (FailureKind.AMBIGUOUS, {READ, SET}),
        (FailureKind.REFUSED, set()),
    ],
)
def test_only_what_cannot_have_happened_twice_goes_again(
    kind: FailureKind, who_goes_again: set[Safety]
) -> None:
    """The retry table of the design holds in every cell."""
    assert {safety for safety in Safety if is_retryable(safety, kind)} == who_goes_again


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, FailureKind.THROTTLED),
        *[(status, FailureKind.AMBIGUOUS) for status in (100, 102, 103, 199, 408, 500, 502, 503, 504, 599)],
        *[
            (status, FailureKind.REFUSED)
            for status in (300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413, 422, 499)
        ],
    ],
)
def test_a_status_code_is_classified(status: int, kind: FailureKind) -> None:
    """Every status code that is no success says what is known about its call."""
    assert failure_kind_of(status) is kind
    assert not is_success(status)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_only_200_to_299_are_a_success(status: int) -> None:
    """The codes from 200 to 299 count as a success."""
    assert is_success(status)


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("3", None, 3.0),
        (" 3 ", None, 3.0),
        ("0", None, 0.0),
        ("1.5", None, 1.5),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:10 GMT", 20.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", None, 30.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "yesterday", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("-3", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
        # a hundred years of 366 days
        ("3162240000", None, 3_162_240_000.0),
        ("3162240001", None, None),
        ("9" * 400, None, None),
        ("9" * 30, None, None),
        ("٣", None, None),
        ("Wed, 21 Oct 99999 07:28:30 GMT", None, None),
        ("Wed, 21 Oct 9999999999999999999 07:28:30 GMT", None, None),
        ("Wed, 21 Oct 2026 07:28:30 -0000", None, None),
        ("Wed, 21 Oct 9999 23:59:59 -2359", None, None),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, date: str | None, seconds: float | None) -> None:
    """A Retry-After is seconds or a date by WATI's own clock, and what cannot be read is none."""
    assert read_retry_after(header, date, NOW) == seconds


@pytest.mark.parametrize(
    "header", [None, "", "now", "Wed, 21 Oct 2026 07:28:00", "Wed, 32 Oct 2026 07:28:00 GMT"]
)
def test_a_date_that_cannot_be_read_is_none(header: str | None) -> None:
    """A Date header that is missing, garbage or without a zone gives no time."""
    assert read_http_date(header) is None
