"""The door to the API: reads every request to its end, notes it, and makes faults happen."""

from __future__ import annotations

import logging
import re
import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.sandbox.callers import refusal_of
from airflow_provider_wati.sandbox.errors import error_body
from airflow_provider_wati.sandbox.faults.effects import FAULT_KEY, TAMPERING_KEY, Call, act
from airflow_provider_wati.sandbox.workspace import SeenRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_wati.sandbox.faults.rules import Fault
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

log: logging.Logger = logging.getLogger(__name__)

_API_PATH = re.compile(r"/api/|/[^/]+/api/")


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
        state = self._workspace.state
        note = partial(self._note, scope, fault or tampering, state, time.perf_counter())

        async def noting_send(message: Message) -> None:
            # Before the client can go on, or a test would look before the note is there.
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        if fault is None:
            await self._app(scope, _replay(body), noting_send)
            return

        async def handle(send: Send) -> None:
            if self._workspace.state is state:
                await self._app(scope, _replay(body), send)
            else:
                # A fault has delayed it until after a reset. The data that it was made for is gone.
                await Response(status_code=503)(scope, receive, send)

        await act(
            fault, Call(scope, receive, noting_send, handle, partial(note, None)), self._workspace.clock.now
        )

    def _note(
        self, scope: Scope, fault: Fault | None, state: State, began: float, status: int | None
    ) -> None:
        if self._workspace.state is not state:
            return
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
