"""The progress of a long operation, logged every 10 seconds."""

from __future__ import annotations

import logging
import time

_SECONDS_BETWEEN = 10.0


class Progress:
    """
    Log how much is done, how fast, and how many seconds are left.

    :param log: the logger.
    :param total: how many people or messages there are.
    """

    def __init__(self, log: logging.Logger, total: int = 0) -> None:
        self._log = log
        self._total = total
        self._done = 0
        self._started = self._logged = time.monotonic()

    def add(self, done: int) -> None:
        """Count some more; they are logged when 10 seconds have passed since the last time, and at the end."""
        self._done += done
        now = time.monotonic()
        if now - self._logged < _SECONDS_BETWEEN and self._done < self._total:
            return
        self._logged = now
        rate = self._done / max(now - self._started, 0.001)
        self._log.info(
            "%s of %s done, %s a second, %s s left.",
            f"{self._done:,}",
            f"{self._total:,}",
            f"{rate:,.0f}",
            f"{max(self._total - self._done, 0) / rate:,.0f}",
        )
