"""An answer ends, in time and in size, whatever the server does."""

from __future__ import annotations

import functools
import gzip
import io
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from urllib3.util import connection

from airflow_provider_wati.client import SendHooks, WatiClient
from airflow_provider_wati.client.bounds import MAX_JSON_BYTES, MAX_MEDIA_BYTES
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConnectionError,
    WatiError,
    WatiResponseError,
    WatiUnknownOutcomeError,
)
from tests.support.clients import NUMBER, client_of
from tests.support.clock import FakeClock
from tests.support.scripted_server import Step, answer, drip, flood, raw, serving

OK = b"HTTP/1.1 200 OK\r\n"
GZIP_CHUNKED = OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
#: The beginning of an answer, and what then comes again and again: no single wait is as long as the read timeout.
DRIPS: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"HTTP/1.1 ", b"2"),
    "headers": (OK + b"X-Slow: ", b"x"),
    "header lines": (OK, b"X-Slow: 1\r\n"),
    "body": (OK + b"Content-Length: 100000\r\n\r\n{", b" "),
    "body without a length": (OK + b"Connection: close\r\n\r\n{", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "size of a chunk": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Slow: 1\r\n"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body of an error": (b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n{", b" "),
    "empty gzip": (OK + b"Content-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n" + gzip.compress(b"")[:10], b"\x00"),
}  # fmt: skip


def dripping(part: str, clock: FakeClock) -> Step:
    """An answer of which each piece takes four seconds by a clock."""
    head, piece = DRIPS[part]

    def pause() -> None:
        time.sleep(0.001)
        clock.advance(4)

    return drip(head, piece, pause)


def read_media(wati: WatiClient) -> None:
    with wati.get_media("abc") as media:
        for _ in media.iter_bytes():
            pass


CALLS: dict[str, tuple[Callable[[WatiClient], Any], type[WatiError]]] = {
    "read": (lambda wati: wati.get_credits(), WatiError),
    "send": (lambda wati: wati.send_text(NUMBER, "Hello"), WatiUnknownOutcomeError),
    "media": (read_media, WatiError),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("part", DRIPS)
def test_an_answer_that_drips_ends_with_the_call(part: str, call: str) -> None:
    """A call whose answer never stops coming ends soon after its time, with a typed error."""
    make, error = CALLS[call]
    clock = FakeClock()
    with serving(dripping(part, clock)) as server:
        wati = client_of(server, clock=clock, timeout=30.0, max_seconds=30, max_tries=5)
        began = time.monotonic()
        with pytest.raises(error):
            make(wati)
        # Without a deadline it never ends; a second attempt would be one too many.
        assert time.monotonic() - began < 60
        assert len(server.requests) == 1


def test_the_end_of_the_time_is_said() -> None:
    """The error of a slow answer names the seconds that the call had."""
    clock = FakeClock()
    with serving(dripping("body", clock)) as server:
        wati = client_of(server, clock=clock, timeout=30.0, max_seconds=2.5)
        with pytest.raises(
            WatiConnectionError, match=r"did not complete its answer to GET .* within 32\.5 s"
        ):
            wati.get_credits()


def test_a_slow_answer_within_its_time_is_read() -> None:
    """An answer that takes longer than one read timeout is read, as long as the call has time."""

    clock = FakeClock()

    def slow(connection: Any) -> bool:
        connection.sendall(OK + b"Content-Length: 13\r\n\r\n")
        for byte in b'{"credit": 1}':
            clock.advance(10)
            connection.sendall(bytes([byte]))
        return True

    with serving(slow) as server:
        wati = client_of(server, clock=clock, timeout=30.0, max_seconds=120)
        assert wati.get_credits() == {"credit": 1}


def test_a_call_delayed_by_its_hook_still_has_time_for_its_answer() -> None:
    """Time that passes before a send leaves is not taken from its answer."""
    clock = FakeClock()

    def before() -> bool:
        clock.advance(1000)
        return True

    with serving(answer(200, {"message": {"id": "1"}})) as server:
        wati = client_of(server, clock=clock, max_seconds=5)
        hooks = SendHooks(before_send=before, not_sent=lambda: None)
        assert wati.send_text(NUMBER, "Hello", hooks=hooks)["id"] == "1"


def test_a_server_that_takes_a_request_slowly_ends_with_the_call() -> None:
    """An upload that is taken a little at a time ends soon after its time."""
    clock = FakeClock()
    with serving(answer(200, {})) as server:

        class Slow(io.BytesIO):
            """A file whose pieces take two seconds each, so that no wait of the socket is long."""

            pieces = 0

            def read(self, size: int | None = -1) -> bytes:
                self.pieces += 1
                clock.advance(2)
                return super().read(size)

        wati = client_of(server, clock=clock, timeout=30.0, max_seconds=30)
        file = Slow(bytes(4_000_000))
        with pytest.raises(WatiUnknownOutcomeError):
            wati.send_file(NUMBER, file, file_name="a.pdf", mime_type="application/pdf")
        assert file.pieces < 50


@pytest.mark.parametrize("call", ["read", "send"])
def test_a_resolver_that_hangs_ends_with_the_call(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that is not resolved in time ends the call, which is known not to have left."""
    released = threading.Event()

    def hang(*_: object, **__: object) -> Any:
        released.wait(10)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    wati = WatiClient(
        "https://wati.invalid",
        "token",
        rate_limits={"*": None},
        timeout=(1.0, 0.3),
        max_seconds=0.3,
        max_tries=1,
    )
    monkeypatch.setattr(wati._transport._session, "trust_env", False)
    try:
        with pytest.raises(WatiConnectionError, match=r"Could not connect.*within the time of the call"):
            CALLS[call][0](wati)
        assert not released.is_set()
        assert any(thread.name == "connect to wati.invalid" for thread in threading.enumerate())
    finally:
        released.set()


def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is made after the deadline is closed, and nothing goes over it."""
    made: list[socket.socket] = []
    raised, ended = threading.Event(), threading.Event()

    def late(*args: Any, **kwargs: Any) -> socket.socket:
        raised.wait(60)
        made.append(create(*args, **kwargs))
        ended.set()
        return made[0]

    create = connection.create_connection
    monkeypatch.setattr(connection, "create_connection", late)
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        wati = client_of(server, clock=SYSTEM_CLOCK, timeout=(1.0, 0.2), max_seconds=0.2)
        with pytest.raises(WatiConnectionError, match="Could not connect"):
            wati.send_text(NUMBER, "Hello")
        raised.set()
        assert ended.wait(60)
        for _ in range(100):
            if made[0].fileno() == -1:
                break
            time.sleep(0.05)
    assert made[0].fileno() == -1
    assert server.requests == []


def test_the_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with many addresses of which none answers takes no longer than the call may."""
    # Packets to these addresses, reserved for documentation, get no answer, or a refusal at once.
    many = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 443)) for n in range(1, 41)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: many)
    wati = WatiClient(
        "https://wati.invalid",
        "token",
        rate_limits={"*": None},
        timeout=(1.0, 0.5),
        max_seconds=0.5,
        max_tries=1,
    )
    monkeypatch.setattr(wati._transport._session, "trust_env", False)
    began = time.monotonic()
    with pytest.raises(WatiConnectionError, match="Could not connect"):
        wati.send_text(NUMBER, "Hello")
    # Each address alone would take half a second: 20 s, and without a limit for one, hours.
    assert time.monotonic() - began < 18


# Size

MEGABYTE = b" " * 1_000_000


@functools.cache
def bomb(size: int, layers: int = 1) -> bytes:
    """Return what grows to megabytes of spaces when it is decompressed."""
    compressor = zlib.compressobj(9, wbits=31)
    data = b"".join(compressor.compress(MEGABYTE) for _ in range(size)) + compressor.flush()
    for _ in range(layers - 1):
        data = gzip.compress(data, 9)
    return data


def packed(body: bytes, encoding: str = "gzip", status: int = 200) -> Step:
    return answer(status, raw=body, headers={"Content-Encoding": encoding})


LARGE: dict[str, Callable[[], Step]] = {
    "body": lambda: flood(OK + b"Content-Length: 200000000\r\n\r\n", MEGABYTE, 130),
    "body without a length": lambda: flood(OK + b"Connection: close\r\n\r\n", MEGABYTE, 130),
    "chunks": lambda: flood(CHUNKED, b"f4240\r\n" + MEGABYTE + b"\r\n", 200),
    "one chunk": lambda: flood(CHUNKED + b"FFFFFFFF\r\n", MEGABYTE, 130),
    "size of a chunk": lambda: flood(CHUNKED + b"1;", MEGABYTE, 130),
    "trailers": lambda: flood(CHUNKED + b"0\r\n", b"X-Large: " + b"x" * 10_000 + b"\r\n", 20_000),
    "gzip bomb": lambda: packed(bomb(120)),
    "deflate bomb": lambda: packed(zlib.compress(MEGABYTE * 120, 9), "deflate"),
    "gzip bomb in gzip": lambda: packed(bomb(300, 2), "gzip, gzip"),
    "gzip bomb in chunks": lambda: raw(GZIP_CHUNKED + b"%x\r\n" % len(bomb(120)) + bomb(120) + b"\r\n0\r\n\r\n"),
    "body of an error": lambda: flood(b"HTTP/1.1 400 No\r\nContent-Length: 200000000\r\n\r\n", MEGABYTE, 130),
    "gzip bomb in an error": lambda: packed(bomb(120), status=400),
    "body of a redirect": lambda: flood(
        b"HTTP/1.1 302 No\r\nLocation: /x\r\nContent-Length: 200000000\r\n\r\n", MEGABYTE, 200
    ),
    "interim answers": lambda: flood(b"", b"HTTP/1.1 103 Early Hints\r\nX-Large: " + b"x" * 60_000 + b"\r\n\r\n", 4_000),
    "100 Continue": lambda: flood(b"", b"HTTP/1.1 100 Continue\r\nX-Large: " + b"x" * 60_000 + b"\r\n\r\n", 4_000),
    "one header": lambda: flood(OK + b"X-Large: ", MEGABYTE, 130),
    "headers": lambda: flood(OK, b"X-Large: " + b"x" * 60_000 + b"\r\n", 4_000),
}  # fmt: skip

# The memory of a process only ever shows its highest level, so each answer is read by a process of its own: the fork of
# one that has loaded the client.
MEASURE = """
import os, resource, sys
from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import WatiError

def client(url):
    return WatiClient(url, "token", rate_limits={"*": None}, max_tries=1, timeout=(30, 60))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def measure(small, url, call):
    client(small).get_credits()
    wati, before = client(url), peak()
    size = 0
    try:
        if call == "media":
            with wati.get_media("abc") as media:
                for piece in media.iter_bytes():
                    size += len(piece)
        else:
            wati.get_credits()
    except WatiError as error:
        print(type(error).__name__, peak() - before, size, error, flush=True)
    else:
        print("nothing was raised", flush=True)

for line in sys.stdin:
    if os.fork() == 0:
        measure(*line.split())
        os._exit(0)
    if os.wait()[1]:
        print("it crashed", flush=True)
"""


@pytest.fixture(scope="module")
def measure() -> Iterator[Callable[..., str]]:
    """Return what a new process says of an answer: the error, the megabytes that it took, and the bytes that it got."""
    command = [sys.executable, "-c", MEASURE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(*arguments: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            print(*arguments, file=process.stdin, flush=True)
            return process.stdout.readline()

        yield ask


@pytest.mark.slow
@pytest.mark.parametrize("call", ["read", "media"])
@pytest.mark.parametrize("part", LARGE)
def test_an_answer_that_is_too_large_takes_little_memory(
    part: str, call: str, measure: Callable[..., str]
) -> None:
    """An answer without end is a typed error, and costs less than 50 MB of memory."""
    with serving(answer(200, {"credit": 1})) as small, serving(LARGE[part]()) as server:
        said = measure(small.url, server.url, call)
    assert said.startswith("Wati"), said
    _, megabytes, size, text = said.split(" ", 3)
    assert int(megabytes) < 50, said
    assert int(size) <= MAX_MEDIA_BYTES
    if part.startswith(("body", "chunks", "gzip", "deflate")) and not part.endswith(("error", "redirect")):
        assert f"larger than {'100' if call == 'media' else '32'} MB" in text
    if "error" in part:
        assert "400" in text


def test_a_large_answer_within_its_limit_is_read() -> None:
    """An answer just below the limit is read, compressed or not."""
    body = json.dumps({"credit": "x" * (MAX_JSON_BYTES - 100)}).encode()
    with serving(answer(200, raw=body), packed(gzip.compress(body, 1))) as server:
        wati = client_of(server, timeout=(5.0, 30.0))
        for _ in range(2):
            assert len(str(wati.get_credits()["credit"])) == MAX_JSON_BYTES - 100


def test_one_byte_too_many_is_an_error() -> None:
    """An answer just above the limit is refused, also where it says its length beforehand."""
    body = b" " * (MAX_JSON_BYTES - 1) + b"{}"
    with serving(answer(200, raw=body)) as server:
        with pytest.raises(WatiResponseError, match="larger than 32 MB"):
            client_of(server, timeout=(5.0, 30.0)).get_credits()


def test_a_send_whose_answer_is_too_large_is_ambiguous() -> None:
    """A send that was answered with too much is not known to have failed, and is not repeated."""
    with serving(LARGE["gzip bomb"]()) as server:
        with pytest.raises(WatiUnknownOutcomeError, match="larger than 32 MB"):
            client_of(server, max_tries=3, timeout=(5.0, 30.0)).send_text(NUMBER, "Hello")
    assert len(server.requests) == 1


def test_a_long_error_loses_its_words_only() -> None:
    """An error whose body is too long keeps its status and its kind."""
    with serving(answer(400, raw=json.dumps({"message": "x" * 100_000}).encode())) as server:
        with pytest.raises(WatiBadRequestError) as raised:
            client_of(server).get_credits()
    assert raised.value.status_code == 400
    assert raised.value.wati_message is None
