"""The door to the API: reads every request to its end, notes it, and makes faults happen."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response

from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.sandbox.callers import refusal_of
from airflow_provider_wati.sandbox.errors import ENVELOPE_STATUSES, error_body
from airflow_provider_wati.sandbox.workspace import SeenRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_wati.sandbox.faults import Fault
    from airflow_provider_wati.sandbox.workspace import Workspace

log = logging.getLogger(__name__)

#: Under this key the scope carries the fault that acts on the request, for the handlers and for a wrapper.
FAULT_KEY = "wati_sandbox.fault"
TAMPERING_KEY = "wati_sandbox.tampering"
#: Under this key the scope carries the connection's transport; the server puts it there.
TRANSPORT_KEY = "wati_sandbox.transport"

_API_PATH = re.compile(r"/api/|/[^/]+/api/")
_TORN_JSON = b'{"success": true, "result": true, "message": {"id": "66b1fb04'


@dataclass
class Answer:
    """A response held back, so that a fault can spoil it or throw it away."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def keep(self, message: Message) -> None:
        """Stand in for ``send``."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message["headers"])
        else:
            self.body += message.get("body", b"")

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def with_body(
        self, body: bytes, *, status: int = 200, media_type: str | None = "application/json"
    ) -> Answer:
        response = Response(body, status, media_type=media_type)
        return Answer(status, response.raw_headers, body)

    def with_json(self, content: object) -> Answer:
        return self.with_body(json.dumps(content).encode())


class Gate:
    """
    ASGI middleware around the API.

    :param verbose: log one line for each API request, numbers masked.
    :param allowed_hosts: names under which the sandbox may be called, besides loopback names and the address that
        the call came to.
    """

    def __init__(
        self,
        app: ASGIApp,
        workspace: Workspace,
        *,
        verbose: bool = False,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._names = frozenset(name.lower().removesuffix(".") for name in allowed_hosts)
        self._workspace = workspace
        self._verbose = verbose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = {scope["server"][0]} if scope.get("server") else set()
        refusal = refusal_of(scope["headers"], self._names | address)
        if refusal:
            error = error_body(403, refusal, self._workspace.clock.now())
            await JSONResponse(error, 403)(scope, receive, send)
            return
        self._workspace.advance()
        if not _API_PATH.match(scope["path"]):
            await self._app(scope, receive, send)
            self._workspace.revision += scope["method"] not in ("GET", "HEAD")
            return
        # The whole request first: a fault strikes a server that has read it all, and a client that gives up
        # waiting does not stop the effect.
        body = await _read(receive)
        if body is None:
            return
        tampering, fault = self._workspace.faults.pick(scope["method"], scope["path"], body)
        scope[TAMPERING_KEY] = tampering
        scope[FAULT_KEY] = fault or tampering
        note = partial(self._note, scope, fault or tampering, time.perf_counter())

        async def noting_send(message: Message) -> None:
            # Before the client can go on, or a test would look before the note is there.
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        if fault is None:
            await self._app(scope, _replay(body), noting_send)
            return
        if fault.kind == "drop":
            await self._drop(fault, scope, body, receive, note)
        else:
            await self._spoil_answer(fault, scope, body, receive, noting_send)

    async def _drop(
        self, fault: Fault, scope: Scope, body: bytes, receive: Receive, note: Callable[[None], None]
    ) -> None:
        if fault.when == "after":
            await self._app(scope, _replay(body), Answer().keep)
        await asyncio.sleep(fault.seconds)
        note(None)
        await _break_connection(scope, receive, reset=fault.reset)

    async def _spoil_answer(
        self, fault: Fault, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        answer = Answer()
        if fault.when == "before":
            await asyncio.sleep(fault.seconds)
        if fault.when == "after" or fault.kind == "delay":
            await self._app(scope, _replay(body), answer.keep)
        if fault.when == "after":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "garbage" and fault.body == "cut":
            await _send_half(scope, answer.body or _TORN_JSON * 2, receive, send)
        else:
            await self._spoil(fault, scope, answer).send(send)

    def _spoil(self, fault: Fault, scope: Scope, answer: Answer) -> Answer:
        """Return what the client gets instead of the answer."""
        if fault.kind in ("status", "redirect"):
            return self._refusal(fault)
        if fault.kind == "garbage":
            if fault.body == "html":
                return answer.with_body(b"<html><body>Bad gateway</body></html>", media_type="text/html")
            torn = answer.body[: len(answer.body) // 2] or _TORN_JSON
            return answer.with_body(b"" if fault.body == "empty" else torn)
        if fault.kind == "answer":
            real = answer.json()
            return answer.with_json((real if isinstance(real, dict) else {}) | fault.answer)
        if fault.kind == "refused_in_200":
            return answer.with_json(_failure_inside_a_200(scope["path"]))
        if fault.kind == "message_failed":
            return _with_failed_message(answer)
        return answer

    def _refusal(self, fault: Fault) -> Answer:
        now = self._workspace.clock.now()
        body, media_type = b"", None
        if fault.body is not None:
            body, media_type = fault.body.encode(), "text/plain"
        elif fault.status in ENVELOPE_STATUSES:
            envelope = error_body(fault.status, "Fault on request", now)
            body, media_type = json.dumps(envelope).encode(), "application/json"
        refusal = Answer().with_body(body, status=fault.status, media_type=media_type)
        headers = MutableHeaders(raw=refusal.headers)
        headers.update(fault.retry_after_header(time.time()))
        if fault.kind == "redirect":
            headers["Location"] = fault.location
        return refusal

    def _note(self, scope: Scope, fault: Fault | None, began: float, status: int | None) -> None:
        seen = SeenRequest(
            time=self._workspace.clock.now(),
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            status=status,
            milliseconds=round((time.perf_counter() - began) * 1000, 1),
            fault=fault.kind if fault else None,
        )
        self._workspace.requests.append(seen)
        self._workspace.revision += 1
        if self._verbose:
            log.info(
                "%s %s -> %s in %.0f ms%s",
                seen.method,
                mask_numbers(seen.path),
                status or "connection dropped",
                seen.milliseconds,
                f" (fault: {seen.fault})" if fault else "",
            )


async def _read(receive: Receive) -> bytes | None:
    """Return the whole request body, or None when the client has gone away meanwhile."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _break_connection(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Break the TCP connection without an answer."""
    transport: asyncio.Transport = scope[TRANSPORT_KEY]
    if reset:
        # Lingering for zero seconds turns the close into a reset.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
    else:
        transport.close()
    await _until_gone(receive)


async def _send_half(scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Promise a whole body, send half of it and hang up."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    scope[TRANSPORT_KEY].close()
    await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    """Wait until the server has noticed, or it would answer 500 on the dead connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _failure_inside_a_200(path: str) -> dict[str, object]:
    reason = "Refused on request"
    if "/messageTemplates/" in path:
        return {"success": False, "broadcast_id": None, "error": reason, "recipients": []}
    if path.endswith("/estimate-cost"):
        return {"result": False, "is_request_succeeded": False, "failed_detail": reason}
    return {"result": False}


def _with_failed_message(answer: Answer) -> Answer:
    content = answer.json()
    if isinstance(content, dict) and isinstance(content.get("message"), dict):
        content["message"] |= {"status": "failed", "failed_detail": "Message undeliverable"}
        return answer.with_json(content)
    return answer
