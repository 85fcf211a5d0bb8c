"""What a fault does to a call: breaks its connection, or spoils its answer."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from airflow_provider_wati.sandbox.errors import ENVELOPE_STATUSES, error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from airflow_provider_wati.sandbox.faults.rules import Fault

#: Under this key the scope carries the fault that acts on the request, for the handlers and for a wrapper.
FAULT_KEY = "wati_sandbox.fault"
TAMPERING_KEY = "wati_sandbox.tampering"
#: Under this key the scope carries the connection's transport; the server puts it there.
TRANSPORT_KEY = "wati_sandbox.transport"

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


@dataclass(frozen=True)
class Call:
    """
    A call that a fault acts on.

    :param send: takes what the client gets.
    :param handle: lets the API handle the call; it is given what takes the answer.
    :param note_drop: notes in the log that the call got no answer.
    """

    scope: Scope
    receive: Receive
    send: Send
    handle: Callable[[Send], Awaitable[None]]
    note_drop: Callable[[], None]


async def act(fault: Fault, call: Call, now: Callable[[], float]) -> None:
    """
    Make a fault happen to a call.

    :param now: the sandbox's time, for what answers say of it.
    """
    if fault.kind == "drop":
        await _drop(fault, call)
    else:
        await _spoil_answer(fault, call, now)


async def _drop(fault: Fault, call: Call) -> None:
    if fault.when == "after":
        await call.handle(Answer().keep)
    await asyncio.sleep(fault.seconds)
    call.note_drop()
    await _break_connection(call, reset=fault.reset)


async def _spoil_answer(fault: Fault, call: Call, now: Callable[[], float]) -> None:
    answer = Answer()
    if fault.when == "before":
        await asyncio.sleep(fault.seconds)
    if fault.when == "after" or fault.kind == "delay":
        await call.handle(answer.keep)
    if fault.when == "after":
        await asyncio.sleep(fault.seconds)
    if fault.kind == "garbage" and fault.body == "cut":
        await _send_half(call, answer.body or _TORN_JSON * 2)
    else:
        await _spoiled(fault, call.scope["path"], answer, now).send(call.send)


def _spoiled(fault: Fault, path: str, answer: Answer, now: Callable[[], float]) -> Answer:
    """Return what the client gets instead of the answer."""
    if fault.kind in ("status", "redirect"):
        return _refusal(fault, now())
    if fault.kind == "garbage":
        if fault.body == "html":
            return answer.with_body(b"<html><body>Bad gateway</body></html>", media_type="text/html")
        torn = answer.body[: len(answer.body) // 2] or _TORN_JSON
        return answer.with_body(b"" if fault.body == "empty" else torn)
    if fault.kind == "answer":
        real = answer.json()
        return answer.with_json((real if isinstance(real, dict) else {}) | fault.answer)
    if fault.kind == "refused_in_200":
        return answer.with_json(_failure_inside_a_200(path))
    if fault.kind == "message_failed":
        return _with_failed_message(answer)
    return answer


def _refusal(fault: Fault, now: float) -> Answer:
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


async def _break_connection(call: Call, *, reset: bool) -> None:
    """Break the TCP connection without an answer."""
    transport: asyncio.Transport = call.scope[TRANSPORT_KEY]
    if reset:
        # Lingering for zero seconds turns the close into a reset.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
    else:
        transport.close()
    await _until_gone(call.receive)


async def _send_half(call: Call, body: bytes) -> None:
    """Promise a whole body, send half of it and hang up."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    await call.send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    call.scope[TRANSPORT_KEY].close()
    await _until_gone(call.receive)


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
