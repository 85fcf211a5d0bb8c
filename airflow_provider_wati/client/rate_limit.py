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
import stat
import tempfile
import threading
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.rate_storage import SharedPace, StorageUrl
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiConfigurationError

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket, Rate, SQLiteBucket

    from airflow_provider_wati.client.endpoint import Endpoint
    from airflow_provider_wati.clock import Clock


log: logging.Logger = logging.getLogger(__name__)

#: What a file of counts raises when it cannot be used, whatever it holds.
_FILE_ERRORS = (OSError, sqlite3.Error, TypeError, ValueError)
#: SQLite's codes for a file that is sound and cannot be used now: no permission, in use, no space, no memory.
_OUT_OF_REACH = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
    }
)
#: Milliseconds that a count may be ahead of the clock: another process may have counted while this one waited for
#: the lock.
_CLOCK_TOLERANCE_MS = 5_000
_of_parent_processes: list[object] = []


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
            # Not repeated: a token pasted into the wrong field must not end up in a log.
            raise WatiConfigurationError(
                f"rate_limits names a group that does not exist: known are {', '.join(EndpointGroup)} and * for all."
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
            f"rate_limits[{name!r}] is not a limit: give [calls, seconds], as in [10, 10], or null for no limit."
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

    The count is kept in a small SQLite file in the temporary directory, named after the account. The directory must
    be one that only this user can write. Where the file cannot be used (a read-only disk, a directory of another
    user), the pacing covers this process alone, and the log says so. A file that is damaged is replaced.

    With a storage, the count is kept there, together with the processes of all hosts that use it.

    :param endpoint: the account whose limits are shared.
    :param limits: what :func:`rate_limits_of` gave.
    :param storage: the URL of a Redis or PostgreSQL.
    :param clock: where times and pauses come from.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Mapping[EndpointGroup, RateLimit],
        clock: Clock = SYSTEM_CLOCK,
        storage: str | None = None,
    ) -> None:
        self._account = hashlib.sha256(f"{endpoint.base_url}/{endpoint.tenant_id}".encode()).hexdigest()[:16]
        self._limits = limits
        self._clock = clock
        self._lock = threading.RLock()
        self._buckets: dict[EndpointGroup, SQLiteBucket | InMemoryBucket] = {}
        self._process = os.getpid()
        self._storage = None if storage is None else StorageUrl.parse(storage)
        self._shared = self._new_shared()

    def _new_shared(self) -> SharedPace | None:
        return None if self._storage is None else SharedPace(self._storage, self._account, self._clock)

    def wait(self, group: EndpointGroup) -> None:
        """
        Return when one more call of this group is within its limit, at once if it has none.

        :param group: the group of the call that is about to leave.
        :raises WatiConnectionError: when there is a storage, and it cannot be used.
        :raises WatiConfigurationError: when the driver of the storage is not installed.
        """
        limit = self._limits[group]
        if limit is None:
            return
        self._leave_files_of_another_process()
        while seconds := self._seconds_to_wait(group, limit):
            log.debug("Waiting for WATI's limit of %s %s calls in %s s.", limit[0], group.value, limit[1])
            self._clock.sleep(seconds)

    def recount(self, group: EndpointGroup) -> None:
        """
        Move the count of the call for which :meth:`wait` returned to the present: the call leaves now, or its answer is here.

        :param group: the group of that call.
        """
        if self._shared is not None and self._limits[group] is not None:
            self._shared.recount()

    def _leave_files_of_another_process(self) -> None:
        """After a fork, start with files and locks of this process: SQLite forbids to use those of the parent."""
        if self._process == os.getpid():
            return
        # Kept, because closing or collecting them here would release the parent's locks.
        _of_parent_processes.append((self._buckets, self._lock, self._shared))
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._buckets = {}
        self._shared = self._new_shared()

    def _seconds_to_wait(self, group: EndpointGroup, limit: tuple[int, float]) -> float:
        """Take a place for one call; return 0, or the seconds until one may be free."""
        if self._shared is not None:
            wait = self._shared.take(group.value, limit, limit[1] * _MARGIN)
            return wait and wait + _BUFFER_MS / 1000
        with self._lock:
            try:
                return self._take_place(self._bucket(group, limit), group)
            except _FILE_ERRORS as error:
                problem: Exception = error
            if _is_damaged(problem):
                log.warning("The file of WATI's limits is damaged and is replaced: %s", problem)
                try:
                    self._close_buckets()
                    _delete_database(self._path())
                    return self._take_place(self._bucket(group, limit), group)
                except _FILE_ERRORS as error:
                    problem = error
            log.warning("WATI's %s limit is kept by this process alone: %s", group.value, problem)
            self._buckets[group] = _memory_bucket(limit)
            return self._take_place(self._buckets[group], group)

    def _take_place(self, bucket: SQLiteBucket | InMemoryBucket, group: EndpointGroup) -> float:
        from pyrate_limiter import RateItem

        bucket.leak(self._now())
        # The time of the call, which the wait for the lock of the file must not make older.
        now = self._now()
        item = RateItem(group.value, now)
        if bucket.put(item):
            return 0.0
        newest = bucket.peek(0)
        if newest is not None and newest.timestamp > now + _CLOCK_TOLERANCE_MS:
            log.warning(
                "The clock of this machine was set back by %.0f s or more: the count of WATI's %s calls starts "
                "again, and the next ones may exceed the limit.",
                (newest.timestamp - now) / 1000, group.value,
            )  # fmt: skip
            bucket.flush()
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
        """Return the count of a group, opened at its first use."""
        bucket = self._buckets.get(group)
        if bucket is None:
            bucket = self._buckets[group] = _file_bucket(self._path(), group, limit)
        return bucket

    def _path(self) -> Path:
        return own_directory(Path(tempfile.gettempdir())) / f"pace-{self._account}.sqlite"

    def close(self) -> None:
        """Close the files."""
        self._leave_files_of_another_process()
        with self._lock:
            self._close_buckets()
        if self._shared is not None:
            self._shared.close()

    def _close_buckets(self) -> None:
        for bucket in self._buckets.values():
            bucket.close()
        self._buckets.clear()


def own_directory(parent: Path) -> Path:
    """
    Return the directory of the counts, made if there is none.

    The temporary directory is shared, so another user may have made one of the same name, or a link to a directory
    of this user, in which files would then be changed.

    :param parent: the temporary directory.
    :raises OSError: when it is not a directory of this user that nobody else can write.
    """
    directory = parent / f"airflow-provider-wati-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"{directory} is a link, belongs to another user or can be written by others: remove it, or set TMPDIR."
        )
    return directory


def _file_bucket(path: Path, group: EndpointGroup, limit: tuple[int, float]) -> SQLiteBucket:
    from pyrate_limiter import SQLiteBucket

    if path.is_symlink():
        raise PermissionError(f"{path} is a link: remove it.")
    return SQLiteBucket.init_from_file(
        _rates(limit),
        table=f"{group.value}_{limit[0]}_{int(limit[1] * 1000)}",
        db_path=str(path),
        use_file_lock=True,
    )


def _memory_bucket(limit: tuple[int, float]) -> InMemoryBucket:
    from pyrate_limiter import InMemoryBucket

    return InMemoryBucket(_rates(limit))


def _rates(limit: tuple[int, float]) -> list[Rate]:
    from pyrate_limiter import Rate

    return [Rate(limit[0], int(limit[1] * 1000 * _MARGIN))]


def _is_damaged(error: Exception) -> bool:
    """Return whether an error comes from what a file of counts holds, so that a new file helps."""
    if isinstance(error, sqlite3.Error):
        # The lowest byte of an extended code is the code itself. Errors of Python's own module have none.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY) & 0xFF
        return code not in _OUT_OF_REACH
    return not isinstance(error, OSError)


def _delete_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
