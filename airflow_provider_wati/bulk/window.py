"""The hours in which people may be messaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_wati.exceptions import WatiValidationError

_FORM = "('09:00', '21:00', 'Asia/Kolkata')"


@dataclass(frozen=True, slots=True)
class SendWindow:
    """
    From ``start`` until before ``end``, each day; over midnight if ``end`` is the earlier one.

    :param start: when it opens.
    :param end: when it closes.
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
        if parsed.start == parsed.end or parsed.start.tzinfo or parsed.end.tzinfo:
            raise WatiValidationError(
                f"send_window is {window!r}: two different times of day, as in {_FORM}."
            )
        return parsed

    def next_opening(self, moment: datetime) -> datetime:
        """
        Return the moment itself if the window is open then, else when it opens next.

        :param moment: a time with its time zone.
        """
        local = moment.astimezone(self.zone)
        now = local.time()
        if self.start < self.end:
            is_open = self.start <= now < self.end
        else:
            is_open = now >= self.start or now < self.end
        if is_open:
            return moment
        day = local.date() if now < self.start else local.date() + timedelta(days=1)
        return datetime.combine(day, self.start, self.zone)
