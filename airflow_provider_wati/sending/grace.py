"""How long WATI may hide what it took; WATI names no figure."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow_provider_wati.exceptions import WatiConfigurationError

#: What is not in WATI's lists by then counts as not sent.
UNKNOWN_GRACE = timedelta(seconds=120)
POLL_SECONDS = 5.0


def grace_of(given: timedelta | None, timeout: tuple[float, float]) -> timedelta:
    """
    Return how long to look for a batch whose answer was lost.

    :param given: what the user wants; if left out, 120 seconds, or more where a call may take as long.
    :param timeout: seconds that a client waits for a connection and for an answer.
    :raises WatiConfigurationError: for a grace that ends while the call itself may still be under way: its people
        would be messaged twice.
    """
    longest = longest_call(timeout)
    if given is None:
        return UNKNOWN_GRACE if longest < UNKNOWN_GRACE else longest + UNKNOWN_GRACE
    if given <= longest:
        raise WatiConfigurationError(
            f"unknown_grace is {given.total_seconds():g} s, and a call may take {longest.total_seconds():g} s (the "
            "timeout of the connection): the grace must be longer, or a batch still under way could be taken for lost."
        )
    return given


def longest_call(timeout: tuple[float, float]) -> timedelta:
    """Return for how long a call may be under way after it was written down that it leaves."""
    return timedelta(seconds=sum(timeout))


def pause() -> None:
    """Wait until it is worth while to look into WATI's lists again."""
    time.sleep(POLL_SECONDS)
