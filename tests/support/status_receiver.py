"""A small server that speaks the receiver's contract for statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


class StatusReceiver:
    """
    Statuses that have come in, by number.

    :param keys: the read key of each connection.
    """

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.statuses: list[dict[str, Any]] = []
        #: How many messages have come in.
        self.messages = 0
        self.requests: list[str] = []
        #: What each request gets in place of an answer: a status code, or a body.
        self.fault: int | bytes | None = None
        self.most = 1000
        self.url = ""

    def add(self, status: str, **more: Any) -> None:
        """Let a status come in."""
        self.statuses.append({"status": status, "received": "2026-11-27T00:00:00Z", **more})

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        self.requests.append(path)
        if isinstance(self.fault, int):
            return self.fault, b"{}"
        if isinstance(self.fault, bytes):
            return 200, self.fault
        url = urlsplit(path)
        known = {f"/wati/webhooks/{conn_id}/statuses": f"Bearer {key}" for conn_id, key in self.keys.items()}
        news = {path.replace("/statuses", "/news"): key for path, key in known.items()}
        if news.get(url.path) == authorization:
            return 200, json.dumps(
                {"messages": str(self.messages), "statuses": str(len(self.statuses))}
            ).encode()
        if known.get(url.path) != authorization:
            return 404, b'{"detail": "Not Found"}'
        query = parse_qs(url.query)
        after, limit = int(query.get("after", ["0"])[0]), int(query.get("limit", ["1000"])[0])
        page = self.statuses[after:][: min(limit, self.most)]
        cursor = after + len(page)
        found = {"statuses": page, "cursor": str(cursor), "more": cursor < len(self.statuses)}
        return 200, json.dumps(found).encode()


@contextmanager
def receiving(**keys: str) -> Iterator[StatusReceiver]:
    """Run a receiver that knows some connections by their read keys."""
    receiver = StatusReceiver(keys)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = receiver.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield receiver
        server.shutdown()
