"""
Bounds of an answer: until when it has to end, and how large it may be.

A socket's timeout bounds the wait for the next byte only, so an answer that comes byte by byte has no end. Here every
read of the socket looks at the deadline of the call and at the bytes so far: status line, headers, interim answers and
body alike, direct or through a proxy.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError

if TYPE_CHECKING:
    import requests

    from airflow_provider_wati.clock import Clock

MEGABYTE = 1024 * 1024
#: Bytes of a JSON answer, after decompression.
MAX_JSON_BYTES = 32 * MEGABYTE
#: Bytes of a media file, after decompression: WhatsApp allows no larger one.
MAX_MEDIA_BYTES = 100 * MEGABYTE
#: Bytes of the answer to a call that failed, of which only a message is used.
MAX_ERROR_BYTES = 64 * 1024
#: Bytes that are decompressed at a time: deflate expands each by 1,032 at the most, and releases of urllib3 before
#: 2.6 decompress a piece whole.
PIECE = 16 * 1024

# A socket takes 0 for "do not block".
_SHORTEST_TIMEOUT = 0.001
# What may come on top of a body: headers, interim answers, the framing of chunks.
_OVERHEAD = MEGABYTE


class AnswerTooLargeError(OSError):
    """
    An answer is larger than its limit; an :class:`OSError`, which every layer above a socket expects.

    :param max_bytes: the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        size = f"{max_bytes // MEGABYTE} MB" if max_bytes >= MEGABYTE else f"{max_bytes // 1024} kB"
        super().__init__(f"the answer is larger than {size}")


class DeadlineError(TimeoutError):
    """The deadline of a call has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    The bounds of one answer.

    :param deadline: when it has to be complete, in the clock's monotonic seconds.
    :param max_bytes: bytes of its body, as they come over the wire.
    :param clock: where the time comes from.
    """

    deadline: float
    max_bytes: int
    clock: Clock

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; 0 or less once it has passed."""
        return self.deadline - self.clock.monotonic()

    def timeout(self, longest: float | None) -> float:
        """
        Return how long a socket may wait now.

        :param longest: seconds that it may wait in any case; None for no such limit.
        :raises DeadlineError: when the deadline has passed.
        """
        seconds = self.seconds_left()
        if seconds <= 0:
            raise DeadlineError("the deadline of the call has passed")
        return seconds if longest is None else min(seconds, longest)


# The connections are made deep inside of urllib3, which hands nothing of ours down to them.
_current: ContextVar[Bounds | None] = ContextVar("airflow_provider_wati_bounds", default=None)


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """
    Hold the request that is made inside to bounds; its answer stays held to them when the body is read later.

    :param bounds: what the answer has to keep.
    """
    token = _current.set(bounds)
    try:
        yield
    finally:
        _current.reset(token)


def read_body(response: requests.Response, max_bytes: int) -> bytearray:
    """
    Read the body of an answer, decompressed.

    :param response: an answer whose body has not been read.
    :param max_bytes: how large it may be.
    :raises AnswerTooLargeError: when it is larger; no more than the limit has been kept in memory.
    """
    body = bytearray()
    for piece in response.iter_content(PIECE):
        if len(body) + len(piece) > max_bytes:
            raise AnswerTooLargeError(max_bytes)
        body += piece
    return body


class _BoundedReader(io.RawIOBase):
    """The bytes that arrive at a socket, as long as the bounds allow."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds
        self._timeout = sock.gettimeout()
        self._left = bounds.max_bytes + _OVERHEAD
        # Its own file object: closing it keeps the socket open for as long as others use it.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounds.timeout(self._timeout))
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            self._bounds.timeout(self._timeout)
            raise
        self._left -= count or 0
        if self._left < 0:
            raise AnswerTooLargeError(self._bounds.max_bytes)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer within its bounds; interim answers before it are left out, as RFC 9110 (15.2) asks."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        bounds = _current.get()
        if bounds is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_BoundedReader(sock, bounds))

    def begin(self) -> None:
        super().begin()
        # 101 is final: the connection speaks another protocol from there on.
        while HTTPStatus.SWITCHING_PROTOCOLS < self.status < HTTPStatus.OK:
            self.headers = self.msg = None  # type: ignore[assignment] # so that http.client reads the next one
            super().begin()
        if self.length == 0:
            # A body that comes all the same would be the answer to the next call on this connection.
            self.will_close = True


class BoundedConnection(HTTPConnection):
    """A connection whose connecting, sending and receiving end by the deadline of the call."""

    response_class: type[HTTPResponse] = _Response

    def _new_conn(self) -> socket.socket:
        bounds = _current.get()
        if bounds is None:
            return super()._new_conn()
        seconds = max(_SHORTEST_TIMEOUT, bounds.seconds_left())
        self.timeout: float | None = min(seconds, self.timeout or seconds)
        # The resolver of the machine takes no timeout, and urllib3 tries each address of a host with the whole of its own.
        connecting: Future[socket.socket] = Future()
        threading.Thread(
            target=_fulfil, args=(connecting, super()._new_conn), name=f"connect to {self.host}", daemon=True
        ).start()
        try:
            wait([connecting], seconds)
        finally:
            # A connection that comes later, also after an interruption, is closed.
            is_late = connecting.cancel()
        if is_late:
            raise ConnectTimeoutError(self, "there was no connection within the time of the call")
        return connecting.result()

    def send(self, data: Any) -> None:
        bounds = _current.get()
        if bounds is not None and self.sock is not None:
            self.sock.settimeout(bounds.timeout(self.sock.gettimeout()))
        super().send(data)


def _fulfil(connecting: Future[socket.socket], connect: Callable[[], socket.socket]) -> None:
    """
    Connect for somebody who may not wait so long.

    :param connecting: gets the connection, or the error; once it is cancelled, the connection is closed.
    :param connect: makes the connection.
    """
    try:
        connection = connect()
    except BaseException as error:
        with suppress(InvalidStateError):
            connecting.set_exception(error)
        return
    try:
        connecting.set_result(connection)
    except InvalidStateError:
        connection.close()


def hit_deadline(error: BaseException | None) -> bool:
    """
    Say if an error goes back to the deadline of the call.

    :param error: an error of requests or urllib3, which do not keep the one below as an argument.
    """
    while error is not None and not isinstance(error, DeadlineError):
        error = error.__cause__ or error.__context__
    return error is not None
