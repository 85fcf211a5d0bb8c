"""
Pacing across hosts: the calls of the last seconds are counted in a Redis or a PostgreSQL that all workers reach.

pyrate-limiter, which counts the calls of one host, has buckets for both, and takes the time from the caller there. Between
hosts that is too little: clocks differ, and a process that is paused between its look at the clock and its count takes a
place that is gone. Here the storage does both in one step, on its own clock.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import unquote

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiConnectionError

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock

log = logging.getLogger(__name__)

# A storage that restarts is back within that time.
_PATIENCE_SECONDS = 60.0
_LONGEST_PAUSE = 8.0
_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10.0
#: Between intent, call and result nothing may wait for long: another attempt could take the call for lost.
_RECOUNT_SECONDS = 1.0
#: The server ends what takes too long by itself, if it can.
_GRACE_SECONDS = 1.0
#: A call that leaves or is over later than this after it was counted is counted again.
_PROMPT_SECONDS = 0.01
#: A count that is so far ahead of the storage's clock comes from before the clock was set back.
_CLOCK_TOLERANCE_SECONDS = 5
_REDIS = ("redis", "rediss")
_POSTGRES = ("postgres", "postgresql")
#: PostgreSQL takes several hosts, of which one is the primary.
_HOST = r"(\[[0-9A-Fa-f:.%]+\]|[^:,\[\]]*)(:\d*)?"
_HOSTS = re.compile(rf"{_HOST}(,{_HOST})*")


@dataclass(frozen=True, slots=True)
class StorageUrl:
    """
    Where calls are counted.

    :param url: with the password, if there is one.
    :param is_redis: whether it is a Redis, or else a PostgreSQL.
    :param name: what errors and logs call it, without user and password.
    """

    url: str
    is_redis: bool
    name: str

    def __repr__(self) -> str:
        return f"StorageUrl({self.name})"

    @classmethod
    def parse(cls, text: str) -> StorageUrl:
        """
        Read a URL.

        :param text: such as ``redis://redis.example.com:6379/0`` or ``postgresql://user:password@db.example.com/airflow``;
            a driver of SQLAlchemy in the scheme is left out.
        :raises WatiConfigurationError: for anything else. The text is not repeated, because it may hold a password.
        """
        scheme, _, rest = text.strip().partition("://")
        scheme = scheme.partition("+")[0].lower()
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        user, at, hosts = authority.rpartition("@")
        # A character of the password that begins another part would make the rest of it the name of a host.
        is_cut = "@" in user or (not at and ":" in hosts and "@" in rest)
        if scheme not in (*_REDIS, *_POSTGRES) or is_cut or not _HOSTS.fullmatch(hosts):
            raise WatiConfigurationError(
                "rate_limit_storage is not the URL of a Redis or a PostgreSQL: give one such as "
                "redis://redis.example.com:6379/0 or postgresql://user:password@db.example.com/airflow. In user and password, "
                "write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25."
            )
        is_redis = scheme in _REDIS
        name = f"{'Redis' if is_redis else 'PostgreSQL'} at {hosts or 'this machine'}"
        return cls(f"{scheme}://{rest}", is_redis, name)


def secrets_in(url: str) -> list[str]:
    """
    Return what of a storage's URL no log may show: the password as it is written, and as it is meant.

    :param url: any text.
    :return: the longest first.
    """
    address, _, query = url.partition("#")[0].partition("?")
    user = address.partition("://")[2].partition("/")[0].rpartition("@")[0]
    options = [option.partition("=") for option in query.split("&")]
    written = {
        user.partition(":")[2],
        *(value for name, _, value in options if name in ("password", "sslpassword")),
    }
    return sorted({*written, *map(unquote, written)} - {""}, key=lambda secret: (-len(secret), secret))


class Storage(Protocol):
    """A place where calls are counted, each in one step that no other caller comes between."""

    #: What it raises when it cannot be used.
    errors: tuple[type[Exception], ...]

    def take(self, key: str, place: str, calls: int, seconds: float) -> float:
        """
        Count a call, unless the limit is used up.

        :param key: names the count.
        :param place: names the call.
        :param calls: how many there may be at the most.
        :param seconds: in any span of that length.
        :return: 0 if it was counted, or else the seconds until there may be room.
        """

    def move(self, key: str, place: str, seconds: float) -> None:
        """Let a call count from now on, and not from when it was taken; or fail within some seconds."""

    def close(self) -> None:
        """Close the connection; the next use opens another one."""


class RedisStorage:
    """
    Counts in sorted sets, which end by themselves some time after the last call.

    :param url: as redis-py reads it.
    :raises WatiConfigurationError: when redis-py is not installed.
    """

    #: Redis runs a script as a whole. Microseconds are written in full, because Lua writes 14 digits by itself.
    _TAKE: ClassVar[str] = """
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local limit, span, ahead = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - span))
    redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.0f', now + ahead), '+inf')
    local used = redis.call('ZCARD', KEYS[1])
    if used < limit or redis.call('ZSCORE', KEYS[1], ARGV[1]) then
        redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
        redis.call('PEXPIRE', KEYS[1], math.ceil(span / 500))
        return 0
    end
    local first = redis.call('ZRANGE', KEYS[1], used - limit, used - limit, 'WITHSCORES')
    return math.max(1, tonumber(first[2]) + span - now)
    """
    _MOVE: ClassVar[str] = """
    local time = redis.call('TIME')
    redis.call('ZADD', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[1])
    return redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) / 500))
    """

    def __init__(self, url: str) -> None:
        redis = _imported("redis", "redis")
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._clients: list[Any] = []
        self._take: Any = self._script(redis, url, self._TAKE, _ANSWER_SECONDS)
        self._move: Any = self._script(redis, url, self._MOVE, _RECOUNT_SECONDS)

    def _script(self, redis: Any, url: str, text: str, seconds: float) -> Any:
        """Return a script on a connection of its own, which waits for an answer for some seconds."""
        timeouts = {"socket_connect_timeout": min(seconds, _CONNECT_SECONDS), "socket_timeout": seconds}
        try:
            client = redis.Redis.from_url(url, **timeouts)
            # Makes no connection, and finds out whether one can be made of the options.
            client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
        except (TypeError, ValueError):
            # Not repeated, because the text may hold the URL.
            raise WatiConfigurationError(
                "rate_limit_storage has an option after the ? that redis-py does not know, or not with this value: correct "
                "the URL."
            ) from None
        self._clients.append(client)
        return client.register_script(text)

    def take(self, key: str, place: str, calls: int, seconds: float) -> float:
        span = math.ceil(seconds * 1e6)
        arguments = [place, calls, span, _CLOCK_TOLERANCE_SECONDS * 1_000_000]
        return float(self._take(keys=[key], args=arguments)) / 1e6

    def move(self, key: str, place: str, seconds: float) -> None:
        self._move(keys=[key], args=[place, math.ceil(seconds * 1e6)])

    def close(self) -> None:
        for client in self._clients:
            client.close()


class PostgresStorage:
    """
    Counts in the table ``wati_rate_limit_calls``, which it creates in the first schema of the user's search path.

    :param url: as libpq reads it.
    :raises WatiConfigurationError: when neither psycopg nor psycopg2 is installed.
    """

    _CREATE = (
        "CREATE TABLE IF NOT EXISTS wati_rate_limit_calls (place text PRIMARY KEY, count_key text NOT NULL, "
        "called_at timestamptz NOT NULL)",
        "CREATE INDEX IF NOT EXISTS wati_rate_limit_calls_of_key ON wati_rate_limit_calls (count_key, called_at)",
    )
    _FORGET = (
        "DELETE FROM wati_rate_limit_calls WHERE count_key = %s AND (called_at <= clock_timestamp() - %s * interval '1 s' "
        "OR called_at > clock_timestamp() + %s * interval '1 s')"
    )
    # A place that is counted already is that of a call whose answer was lost on the way.
    _COUNT = (
        "INSERT INTO wati_rate_limit_calls (place, count_key, called_at) SELECT %s, %s, clock_timestamp() "
        "WHERE (SELECT count(*) FROM wati_rate_limit_calls WHERE count_key = %s AND place <> %s) < %s "
        "ON CONFLICT (place) DO UPDATE SET called_at = excluded.called_at RETURNING 0.0"
    )
    _WAIT = (
        "SELECT extract(epoch FROM called_at - clock_timestamp()) + %s FROM wati_rate_limit_calls WHERE count_key = %s "
        "ORDER BY called_at DESC LIMIT 1 OFFSET %s"
    )
    _MOVE = (
        "INSERT INTO wati_rate_limit_calls (place, count_key, called_at) VALUES (%s, %s, clock_timestamp()) "
        "ON CONFLICT (place) DO UPDATE SET called_at = excluded.called_at"
    )

    def __init__(self, url: str) -> None:
        self._driver = _imported("psycopg2", "postgres", instead="psycopg")
        self.errors: tuple[type[Exception], ...] = (self._driver.Error, OSError)
        self._url = url
        self._connection: Any = None
        self._lock = threading.Lock()

    def take(self, key: str, place: str, calls: int, seconds: float) -> float:
        with self._lock:
            return float(self._in_transaction(self._take, key, place, calls, seconds))

    def _take(self, cursor: Any, key: str, place: str, calls: int, seconds: float) -> float:
        # Ends with the transaction. In an order of arrival, so that nobody is always too late.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_number(key),))
        cursor.execute(self._FORGET, (key, seconds, _CLOCK_TOLERANCE_SECONDS))
        cursor.execute(self._COUNT, (place, key, key, place, calls))
        if cursor.fetchone() is not None:
            return 0.0
        cursor.execute(self._WAIT, (seconds, key, calls - 1))
        (wait,) = cursor.fetchone()
        return max(float(wait), 1e-6)

    def move(self, key: str, place: str, seconds: float) -> None:
        if not self._lock.acquire(timeout=_RECOUNT_SECONDS):
            raise TimeoutError("its connection is in use")
        try:
            if self._connection is None:
                raise ConnectionError("there is no connection now")
            with self._transaction(self._connection, _RECOUNT_SECONDS) as cursor:
                cursor.execute(self._MOVE, (place, key))
        except BaseException:
            self.close()
            raise
        finally:
            self._lock.release()

    def _in_transaction(self, work: Any, *arguments: Any) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        try:
            with self._transaction(self._connection, _ANSWER_SECONDS) as cursor:
                return work(cursor, *arguments)
        except BaseException:
            # Also after an interrupt: what is left of an answer must not be taken for the next one.
            self.close()
            raise

    def _connect(self) -> Any:
        connection = self._driver.connect(self._url, connect_timeout=_CONNECT_SECONDS)
        try:
            if hasattr(connection, "prepare_threshold"):
                # A pooler between may give each transaction another connection.
                connection.prepare_threshold = None
            with self._transaction(connection, _ANSWER_SECONDS) as cursor:
                self._create(cursor)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, cursor: Any) -> None:
        """Create the table, unless there is one: a user who may not create one could not even say ``IF NOT EXISTS``."""
        cursor.execute("SELECT to_regclass('wati_rate_limit_calls') IS NULL")
        if cursor.fetchone() == (False,):
            return
        # Two that create a table at once would disturb each other.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_number("wati_rate_limit_calls"),))
        for statement in self._CREATE:
            cursor.execute(statement)

    @contextmanager
    def _transaction(self, connection: Any, seconds: float) -> Iterator[Any]:
        """
        Run a transaction that ends within some seconds, here and on the server.

        The server ends the wait for a lock, and the transaction of a worker that is gone without a word, which may hold one.
        """
        milliseconds = math.ceil(seconds * 1000)
        with _ended_after(connection, seconds + _GRACE_SECONDS), connection.cursor() as cursor:
            cursor.execute(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "
                f"SET LOCAL statement_timeout = {milliseconds}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"
            )
            yield cursor
            connection.commit()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self.errors):
                connection.close()


@contextmanager
def _ended_after(connection: Any, seconds: float) -> Iterator[None]:
    """
    Shut the socket of a connection down after some seconds.

    Neither driver has a limit for the time that an answer takes, and a server that is frozen, or a network that drops
    packets, gives none.
    """
    # A descriptor of its own: the driver may close the other one, and its number may be given to another file.
    own = socket.socket(fileno=os.dup(connection.fileno()))

    def shut_down() -> None:
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        own.close()


def _lock_number(key: str) -> int:
    digest = hashlib.sha256(f"airflow-provider-wati {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _imported(package: str, extra: str, instead: str | None = None) -> Any:
    for name in filter(None, (package, instead)):
        with suppress(ImportError):
            return import_module(name)
    raise WatiConfigurationError(
        f"rate_limit_storage needs {package} where tasks run: run pip install 'airflow-provider-wati[{extra}]'."
    )


class SharedPace:
    """
    Take places for calls in a storage, through its restarts.

    :param url: the storage.
    :param account: names the WATI account.
    :param clock: where pauses come from.
    """

    def __init__(self, url: StorageUrl, account: str, clock: Clock) -> None:
        self._url = url
        self._account = account
        self._clock = clock
        self._storage: Storage | None = None
        # Each call is made by one thread.
        self._taken = threading.local()
        self._patience = _PATIENCE_SECONDS

    def take(self, group: str, limit: tuple[int, float], seconds: float) -> float:
        """
        Take a place for one call.

        :param group: the endpoints that share the limit.
        :param limit: which names the count, too.
        :param seconds: the span in which the calls of the limit may be made.
        :return: 0, or the seconds until a place may be free.
        :raises WatiConnectionError: when the storage cannot be used for a minute. After that, each call finds out at once.
        :raises WatiConfigurationError: when the storage's driver is not installed.
        """
        key = f"airflow-provider-wati:{self._account}:{group}:{limit[0]}:{limit[1]:g}"
        place = secrets.token_hex(8)
        storage = self._opened()
        pause, ends_at = 1.0, self._clock.monotonic() + self._patience
        while True:
            try:
                wait = storage.take(key, place, limit[0], seconds)
                break
            except storage.errors as error:
                if self._clock.monotonic() + pause > ends_at:
                    self._patience = 0.0
                    raise WatiConnectionError(
                        f"The rate_limit_storage of the connection ({self._url.name}) cannot be used: {self._told(error)}. "
                        "The call was not made. Let all workers reach it, or leave rate_limit_storage out."
                    ) from None
                log.warning(
                    "The rate_limit_storage (%s) cannot be used, and is tried again: %s",
                    self._url.name,
                    self._told(error),
                )
            self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._patience = _PATIENCE_SECONDS
        if wait == 0:
            self._taken.last = key, place, seconds, self._clock.monotonic()
        return wait

    def recount(self) -> None:
        """
        Count the call whose place this thread has taken from now on.

        WATI counts a call when it arrives. What a send writes down before it leaves may take a while, in object storage
        most of all, and so may the way to WATI. Counted from the time before, a call that arrives late and others that
        arrive at once could be too many together. A call arrives between its departure and its answer, so it is counted
        at its departure, and again at its answer.
        """
        key, place, seconds, counted_at = getattr(self._taken, "last", ("", "", 0.0, 0.0))
        now = self._clock.monotonic()
        if not key or now - counted_at < _PROMPT_SECONDS:
            return
        self._taken.last = key, place, seconds, now
        storage = self._opened()
        try:
            storage.move(key, place, seconds)
        except storage.errors as error:
            # Nothing may wait long now. The call is counted all the same, only earlier, and the next call tries the storage again.
            log.warning("The rate_limit_storage (%s) missed a call: %s", self._url.name, self._told(error))

    def _opened(self) -> Storage:
        if self._storage is None:
            self._storage = (RedisStorage if self._url.is_redis else PostgresStorage)(self._url.url)
        return self._storage

    def _told(self, error: Exception) -> str:
        """Return the text of an error, in one line and without the password."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in secrets_in(self._url.url):
            text = text.replace(secret, "***")
        return text

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        if self._storage is not None:
            self._storage.close()
