"""Values of WATI in the form in which they are stored: texts and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_provider_wati.client.responses import text_in

#: From here on, a Unix time counts milliseconds.
_MILLISECONDS = 100_000_000_000
#: The first and the last year stand for "no time" in WATI's language, and some databases cannot return them.
_FIRST_YEAR, _LAST_YEAR = 1, 9999


def text_of(value: object) -> str | None:
    """Return a text as databases take it, without NUL; a number becomes text, anything else and an empty text None."""
    text = text_in(value)
    return text.replace("\0", "") or None if text else None


def time_of(value: object) -> str | None:
    """
    Return a time of WATI as ``2026-11-26T09:30:00.000000Z``, which sorts in the order of time.

    :param value: ISO 8601, without an offset in UTC, or Unix seconds as text; anything else becomes None, and so does a
        time in the year 1 or 9999, which stands for none.
    """
    text = text_in(value)
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            number = int(text)
            moment = datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS else number, UTC)
        else:
            moment = datetime.fromisoformat(text)
        return written_time(moment) if _FIRST_YEAR < moment.year < _LAST_YEAR else None
    except (ValueError, OverflowError, OSError):
        return None


def written_time(moment: datetime) -> str:
    """
    Write a time as ``2026-11-26T09:30:00.000000Z``, which sorts in the order of time.

    :param moment: without an offset, it is in UTC.
    """
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def time_before(moment: datetime, span: timedelta) -> str:
    """Return an earlier time, in the form of a column of times."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return written_time(moment - span if moment - earliest > span else earliest)
