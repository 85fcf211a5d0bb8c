"""
Pacing: how often WATI may be called, by group of endpoints.

WATI publishes its limits for the V1 names of its endpoints only; a V3 endpoint is taken to share the limit of
the V1 endpoint that does the same (support article 11823158, "Understanding WATI APIs and their usage
limits"). What WATI publishes no figure for is paced like the slowest group. Every figure is a setting.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiConfigurationError

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket, SQLiteBucket

    from airflow_provider_wati.client.endpoint import Endpoint
    from airflow_provider_wati.clock import Clock


log = logging.getLogger(__name__)


class EndpointGroup(StrEnum):
    """Endpoints that share one limit."""

    CONTACTS = "contacts"
    CONVERSATIONS = "conversations"
    TEMPLATES = "templates"
    CAMPAIGNS = "campaigns"
    OTHER = "other"


#: Calls per seconds, or None for no limit.
RateLimit = tuple[int, float] | None

_SLOWEST: RateLimit = (10, 10.0)
_TEMPLATE_CALLS_PER_10_SECONDS = {"growth": 30, "pro": 60, "business": 100}
PLANS = tuple(_TEMPLATE_CALLS_PER_10_SECONDS)

# WATI's clock starts when a request arrives, ours when it leaves. A first call that was slow to arrive (a new
# TLS connection, say) narrows the window that WATI sees; this much longer a window of ours absorbs it.
_MARGIN = 1.01
# Added to each wait, so that a clock with coarse ticks does not ask again a moment too early.
_BUFFER_MS = 10


def rate_limits_of(plan: str, settings: Mapping[str, object] | None = None) -> dict[EndpointGroup, RateLimit]:
    """
    Work out the limit of each group.

    :param plan: ``growth``, ``pro`` or ``business``, for the published limits.
    :param settings: ``{group: [calls, seconds] or None}`` in place of the published ones; the group ``*``
        stands for all that are not named.
    :raises WatiConfigurationError: for a plan, a group or a limit that does not exist.
    """
    if plan not in PLANS:
        raise WatiConfigurationError(f"Plan {plan!r} is not one of {', '.join(PLANS)}.")
    settings = dict(settings or {})
    everything = _limit_of("*", settings.pop("*")) if "*" in settings else _SLOWEST
    limits: dict[EndpointGroup, RateLimit] = dict.fromkeys(EndpointGroup, everything)
    if everything is _SLOWEST:
        limits[EndpointGroup.TEMPLATES] = (_TEMPLATE_CALLS_PER_10_SECONDS[plan], 10.0)
    for name, value in settings.items():
        if name not in EndpointGroup._value2member_map_:
            raise WatiConfigurationError(
                f"rate_limits names the group {name!r}: known are {', '.join(EndpointGroup)} and * for all."
            )
        limits[EndpointGroup(name)] = _limit_of(name, value)
    return limits


def _limit_of(name: str, value: object) -> RateLimit:
    if value is None:
        return None
    try:
        pair: list[Any] = list(value)  # type: ignore[call-overload] # user input, which may be anything
        limit = (int(pair[0]), float(pair[1])) if len(pair) == 2 else (0, 0.0)
    except (TypeError, ValueError):
        limit = (0, 0.0)
    if limit[0] < 1 or not 0 < limit[1] < float("inf"):
        raise WatiConfigurationError(
            f"rate_limits[{name!r}] is {value!r}: give [calls, seconds], as in [10, 10], or null for no limit."
        )
    return limit


def seconds_at(limit: RateLimit, calls: int) -> float:
    """Return how long a number of calls take at least, at the pace of a limit."""
    if limit is None or calls < 1:
        return 0.0
    return (calls - 1) // limit[0] * limit[1]


class Pacer:
    """
    Hold calls back so that WATI's limits are met, together with every other process of this user on this host.

    The count is kept in a small SQLite file in the temporary directory, named after the account. Where that
    cannot be used (a read-only disk), the pacing covers this process alone, and the log says so.

    :param endpoint: the account whose limits are shared.
    :param limits: what :func:`rate_limits_of` gave.
    :param clock: where times and pauses come from.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Mapping[EndpointGroup, RateLimit],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._account = hashlib.sha256(f"{endpoint.base_url}/{endpoint.tenant_id}".encode()).hexdigest()[:16]
        self._limits = limits
        self._clock = clock
        self._lock = threading.RLock()
        self._buckets: dict[EndpointGroup, SQLiteBucket | InMemoryBucket] = {}

    def wait(self, group: EndpointGroup) -> None:
        """
        Return when one more call of this group is within its limit, at once if it has none.

        :param group: the group of the call that is about to leave.
        """
        limit = self._limits[group]
        if limit is None:
            return
        with self._lock:
            bucket = self._buckets.get(group)
            if bucket is None:
                bucket = self._buckets[group] = self._bucket(group, limit)
            bucket.leak(self._now())
        while seconds := self._seconds_to_wait(bucket, group):
            log.debug("Waiting for WATI's limit of %s %s calls in %s s.", limit[0], group.value, limit[1])
            self._clock.sleep(seconds)

    def _seconds_to_wait(self, bucket: SQLiteBucket | InMemoryBucket, group: EndpointGroup) -> float:
        """Take a place for one call; return 0, or the seconds until one may be free."""
        from pyrate_limiter import RateItem

        with self._lock:
            item = RateItem(group.value, self._now())
            if bucket.put(item):
                return 0.0
            milliseconds = bucket.waiting(item)
        if not isinstance(milliseconds, int):
            raise TypeError("a bucket that waits asynchronously")
        return (max(milliseconds, 0) + _BUFFER_MS) / 1000

    def _now(self) -> int:
        """Return the time of day in milliseconds, which all processes of a host share."""
        return int(self._clock.now().timestamp() * 1000)

    def _bucket(self, group: EndpointGroup, limit: tuple[int, float]) -> SQLiteBucket | InMemoryBucket:
        from pyrate_limiter import InMemoryBucket, Rate, SQLiteBucket

        rates = [Rate(limit[0], int(limit[1] * 1000 * _MARGIN))]
        try:
            directory = Path(tempfile.gettempdir()) / f"airflow-provider-wati-{os.getuid()}"
            directory.mkdir(mode=0o700, exist_ok=True)
            return SQLiteBucket.init_from_file(
                rates,
                table=f"{group.value}_{limit[0]}_{int(limit[1] * 1000)}",
                db_path=str(directory / f"pace-{self._account}.sqlite"),
                use_file_lock=True,
            )
        except (OSError, sqlite3.Error) as error:
            log.warning("WATI's %s limit is kept by this process alone: %s", group.value, error)
            return InMemoryBucket(rates)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for bucket in self._buckets.values():
                bucket.close()
            self._buckets.clear()
