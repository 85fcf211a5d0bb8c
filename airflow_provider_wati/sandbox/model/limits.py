"""WATI's published rate limits."""

from __future__ import annotations

import time
from collections import deque

WINDOW_SECONDS = 10.0

#: Calls per ten seconds by family and plan. They are published for V1; V3 is held to the row of the same
#: function (inferred). What has no row is not limited.
CALLS_PER_WINDOW: dict[str, dict[str, int]] = {
    "contacts": {"growth": 10, "pro": 10, "business": 10},
    "messages": {"growth": 10, "pro": 10, "business": 10},
    "templates": {"growth": 30, "pro": 60, "business": 100},
}


class RateLimiter:
    """
    A sliding window per family, in real time.

    WATI does not say whether its window slides or what it is counted by; sliding over the whole workspace
    is the strictest reading.
    """

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def wait_for(self, family: str, plan: str) -> float:
        """Count a call, and return 0, or the seconds to wait when it is one too many (then not counted)."""
        calls = self._calls.setdefault(family, deque())
        now = time.monotonic()
        while calls and now - calls[0] >= WINDOW_SECONDS:
            calls.popleft()
        if len(calls) >= CALLS_PER_WINDOW[family][plan]:
            return WINDOW_SECONDS - (now - calls[0])
        calls.append(now)
        return 0.0
