"""What may be sent again, and when: pure policy, without a socket or a clock."""

from __future__ import annotations

import math
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus

# A header that asks for more than a century is garbage rather than a time to wait.
_LONGEST_WAIT = 100 * 366 * 86_400.0


class Safety(Enum):
    """How bad a repeat of a call is."""

    READ = "read"
    #: Sets a state; doing it twice leaves the same state.
    IDEMPOTENT = "idempotent"
    #: Messages a person, starts a chatbot or makes a contact; doing it twice does it twice.
    NON_IDEMPOTENT = "non-idempotent"


class FailureKind(Enum):
    """What is known about an attempt that failed."""

    #: No connection was made, so WATI cannot have seen the call.
    NOT_SENT = "not sent"
    #: WATI refused it for now (429).
    THROTTLED = "throttled"
    #: It left, and no answer shows its outcome.
    AMBIGUOUS = "ambiguous"
    #: WATI refused it for good.
    REFUSED = "refused"


def is_retryable(safety: Safety, kind: FailureKind) -> bool:
    """
    Say if a failed call may go out again without a look at what became of it.

    :param safety: what the call does.
    :param kind: what is known about its failure.
    :return: always for what never left or was throttled; for an ambiguous failure unless the call is not idempotent;
        never for a refusal.
    """
    if kind is FailureKind.AMBIGUOUS:
        return safety is not Safety.NON_IDEMPOTENT
    return kind in (FailureKind.NOT_SENT, FailureKind.THROTTLED)


def is_success(status: int) -> bool:
    """
    Say if a status code is a success: 200 to 299, so that 300 and 304 are none.

    :param status: the HTTP status.
    """
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def failure_kind_of(status: int) -> FailureKind:
    """
    Classify a status code that is not a success.

    :param status: the HTTP status. WATI documents a 5xx on a write as unknown, 503 with ``Retry-After`` included; 408
        and what is below 200 say as little.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return FailureKind.THROTTLED
    is_vague = status < HTTPStatus.OK or status == HTTPStatus.REQUEST_TIMEOUT
    if is_vague or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return FailureKind.AMBIGUOUS
    return FailureKind.REFUSED


def read_retry_after(value: str | None, server_date: str | None, now: datetime) -> float | None:
    """
    Read a ``Retry-After`` header, which is a number of seconds or a date.

    :param value: the header; None if there is none.
    :param server_date: the ``Date`` header of the same answer, so that two clocks that differ do no harm.
    :param now: the time where there is no ``Date``, aware.
    :return: seconds, 0 for a date gone by; None for no header, and for one that cannot be read.
    """
    value = (value or "").strip()
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            seconds = float(value)
        else:
            then = parsedate_to_datetime(value)
            seconds = max(0.0, (then - (read_http_date(server_date) or now)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds <= _LONGEST_WAIT else None


def read_http_date(value: str | None) -> datetime | None:
    """
    Read a ``Date`` header.

    :param value: the header; None if there is none.
    :return: an aware time; None for no header, and for one that cannot be read.
    """
    try:
        date = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else None
