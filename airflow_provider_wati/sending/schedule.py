"""When people are messaged: at once or at a time, and in which hours they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_wati.exceptions import WatiValidationError

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock

_FORM = "('09:00', '21:00', 'Asia/Kolkata')"
_MINUTE = timedelta(minutes=1)
# WATI states no limit. This one keeps sums of times within the calendar.
_MOST_YEARS = 10


@dataclass(frozen=True, slots=True)
class SendWindow:
    """
    From ``start`` until before ``end``, each day; over midnight if ``end`` is the earlier one.

    :param start: when it opens, to the minute.
    :param end: when it closes, to the minute.
    :param zone: the time zone of both.
    """

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, window: Sequence[Any]) -> SendWindow:
        """
        Read ``("09:00", "21:00", "Asia/Kolkata")``.

        :raises WatiValidationError: when it is something else.
        """
        try:
            start, end, zone = window
            parsed = cls(time.fromisoformat(start), time.fromisoformat(end), ZoneInfo(zone))
        except (TypeError, ValueError, KeyError, OSError) as error:
            raise WatiValidationError(f"send_window is {window!r} ({error}): write {_FORM}.") from None
        if parsed.start == parsed.end or any(
            at.tzinfo or at.second or at.microsecond for at in (parsed.start, parsed.end)
        ):
            raise WatiValidationError(
                f"send_window is {window!r}: two different times of day, to the minute, as in {_FORM}."
            )
        return parsed

    def is_open(self, moment: datetime) -> bool:
        """
        Return whether people may be messaged at a time.

        :param moment: a time with its time zone.
        """
        now = moment.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def next_opening(self, moment: datetime) -> datetime:
        """
        Return the moment itself if the window is open then, else when it opens next.

        Clocks that are put forward may skip the time at which it opens, and clocks that are put back show it
        twice; so the minutes are gone through one by one. A window of one minute that is skipped opens the day after.

        :param moment: a time with its time zone.
        """
        if self.is_open(moment):
            return moment
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        while not self.is_open(minute):
            minute += _MINUTE
        return minute


@dataclass(frozen=True, slots=True)
class Timetable:
    """
    Says when messages are due.

    :param scheduled_at: the time that was asked for, with its time zone; None for at once.
    :param send_window: the hours in which people may be messaged; None for all.
    :param clock: the time.
    :raises WatiValidationError: for a time more than ten years ahead.
    """

    scheduled_at: datetime | None
    send_window: SendWindow | None
    clock: Clock

    def __post_init__(self) -> None:
        if self.scheduled_at is not None and self.scheduled_at.year > self.clock.now().year + _MOST_YEARS:
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at.isoformat()}: give a time within the next {_MOST_YEARS} years."
            )

    def refuse_the_past(self) -> None:
        """
        Refuse a ``scheduled_at`` in the past.

        :raises WatiValidationError: also when it passes while messages wait for their call.
        """
        if self.scheduled_at is not None and self.scheduled_at <= self.clock.now():
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at.isoformat()}, which is in the past: give a later one."
            )

    def due(self) -> datetime | None:
        """
        Return the due time of a call that leaves now; None for at once.

        :raises WatiValidationError: when the time that was asked for is past.
        """
        self.refuse_the_past()
        if self.send_window is None:
            return self.scheduled_at
        wanted = self.scheduled_at or self.clock.now()
        opening = self.send_window.next_opening(wanted)
        return self.scheduled_at if opening == wanted else opening
