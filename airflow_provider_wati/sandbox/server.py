"""The sandbox as a server: in a thread for tests, or in the foreground."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_wati.sandbox.app import create_app
from airflow_provider_wati.sandbox.faults.effects import TRANSPORT_KEY
from airflow_provider_wati.sandbox.saving.data_file import DataFile
from airflow_provider_wati.sandbox.saving.saver import Saver, load
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.webhooks.sender import Sender
from airflow_provider_wati.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from starlette.types import ASGIApp, Receive, Scope, Send

    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.scenarios import Scenario

log: logging.Logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
#: Longer than any client keeps an idle connection, so that the sandbox is never the one to close first.
_KEEP_ALIVE_SECONDS = 120
_START_SECONDS = 10.0


class _BreakableProtocol(H11Protocol):
    """Hands the transport to the application, so that a fault can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        app: Any = self.app

        async def app_with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT_KEY] = transport
            await app(scope, receive, send)

        self.app = app_with_transport


class _Server(uvicorn.Server):
    """Sends webhooks and saves for as long as it serves."""

    def __init__(self, config: uvicorn.Config, workspace: Workspace, data: DataFile | None) -> None:
        super().__init__(config)
        self._workspace = workspace
        self._saver = None if data is None else Saver(workspace, data)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with Sender(self._workspace):
            if self._saver is not None:
                self._saver.start()
            await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Here, because the signal that ends the server is raised again after this, and may end the process at once.
        if self._saver is not None:
            await self._saver.stop()


def build_server(app: ASGIApp, workspace: Workspace, data: DataFile | None = None) -> uvicorn.Server:
    """
    Return a quiet uvicorn server for the sandbox.

    :param workspace: whose webhooks it sends.
    :param data: where it saves the workspace.
    """
    config = uvicorn.Config(
        app,
        http=_BreakableProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    return _Server(config, workspace, data)


def listen(host: str, port: int) -> socket.socket:
    """
    Open the listening socket.

    :param port: 0 takes any free port.
    :raises OSError: when the port is taken or the host is not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches off Nagle's delay only where it sees TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # From here on callers wait in the queue instead of being turned away while the server starts.
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    return listening


class SandboxServer:
    """
    A sandbox in a thread of this process, on a free loopback port.

    Use it as a context manager::

        with SandboxServer() as sandbox:
            client = connect(sandbox.endpoint, sandbox.token)

    :param token: the access token that may do everything.
    :param settings: the choices; ``Settings(speed=10, plan="growth")`` and so on.
    :param scenario: what it contains, from ``load_scenario``; by default a small shop.
    :param data: where it keeps its data; locked for as long as it runs, and what it has is loaded first.
    :param workspace: what it serves, in place of a fresh one made of ``token``, ``settings`` and ``scenario``.
    :param wrap: puts something around the application, for example a check of every request and answer.
    :param verbose: log one line for each API request.
    :param allowed_hosts: names under which it may be called, besides loopback names and addresses.
    """

    def __init__(
        self,
        *,
        token: str = "sandbox-token",
        settings: Settings | None = None,
        scenario: Scenario | None = None,
        data: Path | None = None,
        workspace: Workspace | None = None,
        wrap: Callable[[ASGIApp], ASGIApp] | None = None,
        port: int = 0,
        verbose: bool = False,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self.token = token
        self.workspace: Workspace = workspace or Workspace(token, settings or Settings(), scenario)
        self.app: ASGIApp = create_app(self.workspace, verbose=verbose, allowed_hosts=allowed_hosts)
        self._data = None if data is None else DataFile(data)
        if self._data is not None:
            self._data.lock()
            load(self.workspace, self._data)
        self._server = build_server(wrap(self.app) if wrap else self.app, self.workspace, self._data)
        self._socket = listen(LOOPBACK, port)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="wati-sandbox", daemon=True)

    @property
    def url(self) -> str:
        """Address of the page, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The API endpoint as WATI's dashboard shows it: with the tenant."""
        return f"{self.url}/{self.workspace.settings.tenant}"

    @property
    def state(self) -> State:
        """What the workspace holds at this moment; a reset replaces it."""
        return self.workspace.state

    def reset(self, *, seed: bool = True) -> None:
        """Go back to the beginning; only between requests."""
        self.workspace.reset(seed=seed)

    def start(self) -> Self:
        """Start serving and return once connections are accepted."""
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop serving and close every connection."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=_START_SECONDS)
        if self._data is not None:
            self._data.unlock()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
