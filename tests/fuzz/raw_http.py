"""Bytes that a server sends in place of HTTP, over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.fuzz.harness import Surface
from tests.fuzz.odd import damaged_bytes
from tests.support.clients import NUMBER, client_of
from tests.support.scripted_server import ScriptedServer, Step

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

_BODY = b'{"id": "a", "message": {"id": "b"}}'
_WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)
_EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
_ANSWERS = (
    _WHOLE,
    _CHUNKED,
    _EARLY + _WHOLE,
    b"HTTP/1.1 100 Continue\r\n\r\n" + _WHOLE,
    b"HTTP/1.0 200 OK\r\n\r\n" + _BODY,
    b"HTTP/1.1 204 No Content\r\n\r\n" + _BODY,
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
)
_PIECES = (
    b"HTTP/1.1", b"HTTP/9.9", b" 200 ", b" 999 ", b" -1 ", b"OK", b"\r\n", b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b": ", b"a: b\r\n", b" folded\r\n",
    b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"-1", b"5", b"ffffffffffffffffff\r\n", b"\x16\x03\x01",
    b"a: b\r\n" * 200, b"x" * 70_000, _WHOLE, _CHUNKED, _EARLY,
)  # fmt: skip
_streams = st.one_of(
    *map(damaged_bytes, _ANSWERS),
    st.lists(st.sampled_from(_PIECES), max_size=8).map(b"".join),
    st.binary(max_size=30),
)


def _get_media(wati: WatiClient) -> None:
    with wati.get_media("66b1fb043e55a6e000000001") as media:
        for _ in media.iter_bytes():
            pass


_CALLS: tuple[Callable[[WatiClient], object], ...] = (
    lambda wati: wati.get_contact(NUMBER),
    lambda wati: wati.send_text(NUMBER, "Hi"),
    _get_media,
)


@cache
def _server() -> tuple[ScriptedServer, WatiClient]:
    """Start the server that all inputs share; it ends with the process."""
    server = ScriptedServer([])
    server.start()
    return server, client_of(server)


def _saying(stream: bytes) -> Step:
    def step(connection: socket.socket) -> bool:
        connection.sendall(stream)
        return False

    return step


def _feed(given: tuple[int, bytes]) -> None:
    """Make a call that is answered with these bytes; then the connection is closed."""
    call, stream = given
    server, client = _server()
    server.requests.clear()
    server.script[:] = [_saying(stream)]
    _CALLS[call](client)


SURFACE = Surface(
    name="raw HTTP",
    inputs=st.tuples(st.integers(0, len(_CALLS) - 1), _streams),
    feed=_feed,
    batch=5,
    share=2.0,
)
