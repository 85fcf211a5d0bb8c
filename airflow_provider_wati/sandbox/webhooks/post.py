"""
One POST to a receiver, over a connection of its own.

A receiver is somebody else's program: it may hang, drip, redirect, or answer without end. Every attempt ends within
``timeout`` seconds, a redirect is an answer like any other that is not 200, and no more than 64 kB of an answer are read.

The sandbox is a tool for one machine. Unless it was started to do otherwise, it connects to this machine only. What counts
is the address that is connected to: a name is resolved here, once, and all of its addresses have to be loopback ones.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from airflow_provider_wati.sandbox.webhooks.deliveries import Outcome

if TYPE_CHECKING:
    from types import TracebackType

_MAX_ANSWER = 64 * 1024
_CHUNK = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "::1")


class _RefusedError(Exception):
    """The URL leads to another machine."""


@dataclass(frozen=True)
class Destination:
    """
    A URL taken apart.

    :param path: with the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Destination:
        """
        Take a URL apart.

        :raises ValueError: when it is not an http or https URL with a host.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("the URL is not an http or https URL with a host")
        path = parts.path or "/"
        if not url.isascii() or any(character <= " " for character in url):
            raise ValueError("the URL has characters that a URL cannot have")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], path + query)

    @property
    def origin(self) -> str:
        """Scheme, host and port: all of a URL that may be logged, as its path can hold a secret."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Line:
    """
    A connection to one receiver, kept open from one delivery to the next.

    :param any_host: connect to other machines too.
    """

    def __init__(self, *, any_host: bool) -> None:
        self._any_host = any_host
        self._destination: Destination | None = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def post(self, url: str, body: bytes, timeout: float) -> Outcome:  # noqa: ASYNC109  # of one attempt
        """
        Post JSON and return how that ended.

        :param timeout: seconds for connecting, sending and reading the whole answer.
        """
        try:
            destination = Destination.of(url)
        except ValueError as error:
            return Outcome(error=str(error))
        try:
            async with asyncio.timeout(timeout):
                return Outcome(status=await self._post(destination, body))
        except _RefusedError as error:
            return Outcome(error=str(error), refused=True)
        except TimeoutError:
            self.close()
            return Outcome(error=f"no whole answer within {timeout:g} seconds")
        except (OSError, ValueError, h11.ProtocolError, EOFError) as error:
            self.close()
            return Outcome(error=_words(error))

    def close(self) -> None:
        """Close the connection; the next delivery opens a new one."""
        if self._writer is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._writer.transport.abort()
        self._reader = self._writer = None

    async def _post(self, destination: Destination, body: bytes) -> int:
        was_open = self._is_open_to(destination)
        if not was_open:
            await self._connect(destination)
        try:
            status = await self._exchange(destination, body)
        except (OSError, h11.RemoteProtocolError, EOFError):
            if not was_open or self._has_answered():
                raise
            # A receiver may close an idle connection at any time: that says nothing about this event.
            await self._connect(destination)
            status = await self._exchange(destination, body)
        self._make_ready()
        return status

    def _is_open_to(self, destination: Destination) -> bool:
        known = self._destination
        return (
            self._writer is not None
            and known is not None
            and (known.scheme, known.host, known.port)
            == (destination.scheme, destination.host, destination.port)
        )

    def _has_answered(self) -> bool:
        return (
            self._protocol.their_state is not h11.SEND_RESPONSE
            and self._protocol.their_state is not h11.ERROR
        )

    async def _connect(self, destination: Destination) -> None:
        self.close()
        self._destination = destination
        addresses = await _addresses_of(destination, any_host=self._any_host)
        secure = _secure() if destination.scheme == "https" else None
        for index, address in enumerate(addresses):
            try:
                self._reader, self._writer = await asyncio.open_connection(
                    address,
                    destination.port,
                    ssl=secure,
                    server_hostname=destination.host if secure else None,
                )
            except OSError:
                if index == len(addresses) - 1:
                    raise
            else:
                break
        self._protocol = h11.Connection(h11.CLIENT)

    async def _exchange(self, destination: Destination, body: bytes) -> int:
        if self._reader is None or self._writer is None:
            raise EOFError
        protocol = self._protocol
        head = h11.Request(
            method="POST",
            target=destination.path,
            headers=[
                ("Host", destination.authority),
                ("Content-Type", "application/json; charset=utf-8"),
                ("Content-Length", str(len(body))),
            ],
        )
        message = [protocol.send(head), protocol.send(h11.Data(body)), protocol.send(h11.EndOfMessage())]
        self._writer.write(b"".join(part for part in message if part))
        await self._writer.drain()
        return await self._read_answer(self._reader)

    async def _read_answer(self, reader: asyncio.StreamReader) -> int:
        status, length = 0, 0
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(_CHUNK)
                if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                    raise EOFError("the connection was closed without an answer")
                length += len(data)
                if length > _MAX_ANSWER:
                    raise EOFError(f"the answer is longer than {_MAX_ANSWER} bytes")
                self._protocol.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                return status
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise EOFError

    def _make_ready(self) -> None:
        """Keep the connection if the receiver does."""
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()


@cache
def _secure() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _addresses_of(destination: Destination, *, any_host: bool) -> tuple[str, ...]:
    """
    Return the addresses to connect to.

    :raises _RefusedError: when one of them is not of this machine.
    :raises OSError: for a name that does not resolve.
    """
    host = destination.host
    if host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK
    addresses = (host,) if _is_address(host) else await _resolve(host, destination.port)
    if not any_host and not all(_is_loopback(address) for address in addresses):
        raise _RefusedError(
            f"{host} is not this machine: start the sandbox with --webhooks-to-any-host to send webhooks to others"
        )
    return addresses


async def _resolve(host: str, port: int) -> tuple[str, ...]:
    """Resolve a name in a thread that nobody waits for: a name server that hangs must not hold up a shutdown."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...] | None) -> None:
        if answer.done():
            return
        if addresses is None:
            answer.set_exception(OSError("the name does not resolve"))
        else:
            answer.set_result(addresses)

    def look_up() -> None:
        addresses: tuple[str, ...] | None = None
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        with suppress(RuntimeError):  # the loop is closed meanwhile
            loop.call_soon_threadsafe(settle, addresses)

    threading.Thread(target=look_up, name="wati-sandbox-resolver", daemon=True).start()
    return await answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _words(error: Exception) -> str:
    """Say what went wrong without a word that may come from the receiver or hold a path."""
    if isinstance(error, h11.ProtocolError):
        return "the answer is not HTTP, or not whole"
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection failed: {error.reason or type(error).__name__}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or "the connection was closed without an answer"
