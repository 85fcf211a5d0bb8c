"""A Redis of the tests' own, where the machine has the server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager


class RedisUnavailableError(Exception):
    """Redis cannot run here; the text says what it needs."""


@contextmanager
def running_redis() -> Iterator[str]:
    """
    Run a server that keeps nothing on a free port, and yield its URL.

    :raises RedisUnavailableError: when the machine has no ``redis-server``, or it does not start.
    """
    server = shutil.which("redis-server")
    if server is None:
        raise RedisUnavailableError(
            "Redis needs the program redis-server; Debian's package has that name, too"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="wati-redis-") as folder, tempfile.TemporaryFile("w+") as log:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen([server, *options], stdout=log, stderr=log)
        try:
            if not _answers(port):
                log.seek(0)
                raise RedisUnavailableError(f"Redis does not start here: {log.read()[-500:]}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False
