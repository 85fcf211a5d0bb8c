"""A TCP server that answers each request as a script says, and counts them: for what HTTP servers refuse to do."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: What happens to one request, given its socket; returns whether the connection stays open.
Step = Callable[[socket.socket], bool]

#: The steps after which a client waits for more, so that its read timeout decides how long a test takes.
_STALLING: set[Step] = set()


def answer(
    status: int, body: object = None, *, headers: dict[str, str] | None = None, raw: bytes | None = None
) -> Step:
    payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()

    def step(connection: socket.socket) -> bool:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        return True

    return step


def reset(connection: socket.socket) -> bool:
    """Send a TCP reset in place of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang_up(connection: socket.socket) -> bool:
    """Close the connection in an orderly way, without an answer."""
    return False


def stay_silent(connection: socket.socket) -> bool:
    """Never answer; the client's read timeout ends it."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    return False


_STALLING.add(stay_silent)


def cut_short(connection: socket.socket) -> bool:
    """Promise more bytes than come."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"message": ')
    return False


def raw(data: bytes) -> Step:
    """Send bytes as they are."""

    def step(connection: socket.socket) -> bool:
        connection.sendall(data)
        return True

    _STALLING.add(step)
    return step


def drip(head: bytes, piece: bytes = b" ", pause: Callable[[], object] = lambda: time.sleep(0.05)) -> Step:
    """Send the beginning of an answer at once, and then one more piece after each pause, without an end."""

    def step(connection: socket.socket) -> bool:
        connection.sendall(head)
        while True:
            pause()
            connection.sendall(piece)

    _STALLING.add(step)
    return step


def flood(head: bytes, piece: bytes, count: int) -> Step:
    """Send the beginning of an answer and then many equal pieces, as fast as they are taken."""

    def step(connection: socket.socket) -> bool:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(piece)
        return False

    return step


def stalls(step: Step) -> bool:
    """Say if a step leaves its client waiting."""
    return step in _STALLING


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class ScriptedServer:
    """Plays one step for each request; the last step is repeated."""

    script: list[Step]
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _listener: socket.socket | None = None
    _acceptor: threading.Thread | None = None
    _connections: int = 0
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def next_step(self) -> Step:
        """What happens to the next request."""
        return self.script[min(len(self.requests), len(self.script) - 1)]

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have come: a busy machine reads one later than its client gives it up."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout=60)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        if self._listener is None or self._acceptor is None:
            return
        # Closing alone leaves the thread in accept(), for which Linux reserves a file descriptor.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)
        assert not self._acceptor.is_alive(), "A stopped server still waits for connections."

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections += 1
                threading.Thread(
                    target=self._serve, args=(connection, self._connections), daemon=True
                ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                return
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            # A TLS handshake may look like a request that has no end; a server without TLS closes the connection.
            while (start := stream.readline()).endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")):
                method, path, _ = start.decode("latin-1").split(" ", 2)
                headers = {}
                while (line := stream.readline().decode("latin-1").strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                step = self.next_step
                with self._arrived:
                    self.requests.append(Request(method, path, headers, body, number))
                    self._arrived.notify_all()
                if not step(connection):
                    return


@contextlib.contextmanager
def serving(*script: Step, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    server = ScriptedServer(list(script), tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
