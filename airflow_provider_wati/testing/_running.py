"""A sandbox that runs in the process of a test: its life, its connection and its clock."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_wati.testing._decorator import F, decorated
from airflow_provider_wati.testing._loopback import only_loopback
from airflow_provider_wati.testing._time import Ahead, LocalAhead, pauses_skipped

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.testing._server import KitServer

_SECONDS = 30.0


class RunningSandbox:
    """
    A sandbox on a free port while it is entered; the Airflow connection leads to it.

    Meanwhile the provider refuses connections to other machines with a :class:`.WatiConfigurationError`.

    :param conn_id: the Airflow connection that leads here while it runs.
    :param people: whether the customers of the shop are there.
    :param skip_pauses: whether pauses of the provider take no time. Its clock and the sandbox's then go ahead by them.
    :param extra: fields of the connection's extra, beside the ones that switch off the pacing of calls.
    :param settings: settings of the sandbox, such as ``plan="growth"`` or ``failed_share=0.1``.
    """

    def __init__(
        self,
        *,
        conn_id: str = "wati_default",
        people: bool = True,
        skip_pauses: bool = True,
        extra: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.conn_id = conn_id
        self._people = people
        self._skip_pauses = skip_pauses
        self._extra = dict(extra or {})
        self._settings = settings
        self._server: KitServer | None = None
        self._exits = ExitStack()
        self.ahead: Ahead = LocalAhead()

    def __enter__(self) -> Self:
        """
        Start it, and set the connection.

        :raises RuntimeError: when it runs already, or when the extra ``sandbox`` is not installed.
        """
        if self._server is not None:
            raise RuntimeError("This WatiSandbox runs already: make another one.")
        parts = kit()
        self.ahead = LocalAhead()
        server: KitServer = parts.KitServer(self.ahead, settings=parts.Settings(**self._settings))
        server.reset(seed=self._people)
        self._serve(server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server = None
        self._exits.close()

    def _serve(self, server: KitServer) -> None:
        self._exits = ExitStack()
        self._exits.enter_context(server)
        self._server = server
        self._exits.enter_context(only_loopback())
        self._exits.enter_context(_environment(self._variable, json.dumps(self.connection)))
        if self._skip_pauses:
            self._exits.enter_context(pauses_skipped(self.ahead))

    def fork(self, ahead: Ahead, around: Any) -> Self:
        """
        Serve the same workspace again; only in a process that was forked for it, which has a copy.

        :param ahead: the clock from now on.
        :param around: stands around each API call.
        """
        server = self.server
        ahead.seconds = self.ahead.seconds
        forked = self._fresh()
        forked.ahead = ahead
        forked._serve(
            kit().KitServer(ahead, workspace=server.workspace, answers=server.answers, around=around)
        )
        return forked

    def __call__(self, function: F) -> F:
        """
        Decorate a function, a coroutine function or a generator function, which runs with a fresh sandbox each time.

        :raises TypeError: for a class or an asynchronous generator function.
        """
        return decorated(function, self._fresh)

    def _fresh(self) -> Self:
        return type(self)(
            conn_id=self.conn_id,
            people=self._people,
            skip_pauses=self._skip_pauses,
            extra=self._extra,
            **self._settings,
        )

    @property
    def server(self) -> KitServer:
        """
        The running server, for what this object has no method for.

        :raises RuntimeError: when it does not run.
        """
        if self._server is None:
            raise RuntimeError(
                "This WatiSandbox does not run: use it as `with WatiSandbox() as wati:` or as @WatiSandbox()."
            )
        return self._server

    @property
    def url(self) -> str:
        """Address of its page, which shows all conversations: for a breakpoint in a test."""
        return self.server.url

    @property
    def endpoint(self) -> str:
        """The API endpoint, as the connection has it."""
        return self.server.endpoint

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection as a dict."""
        return {
            "conn_type": "wati",
            "host": self.endpoint,
            "password": self.server.token,
            "extra": {"rate_limits": {"*": None}, **self._extra},
        }

    def client(self, **arguments: Any) -> WatiClient:
        """
        Make a client of this WATI.

        :param arguments: of :class:`.WatiClient`.
        """
        from airflow_provider_wati.client import WatiClient

        return WatiClient(self.endpoint, self.server.token, **{"rate_limits": {"*": None}, **arguments})

    @property
    def now(self) -> datetime:
        """The time in this WATI, aware and in UTC."""
        self.sync()
        return datetime.fromtimestamp(self.server.workspace.clock.now(), UTC)

    def move_clock(self, by: timedelta) -> None:
        """
        Let time pass: for the sandbox, and for the provider while its pauses are skipped.

        Scheduled campaigns start, messages are delivered, the 24 hours after a customer's message end.

        :param by: how long; back if it is negative.
        :raises ValueError: for a time before the year 1 or after the year 9999.
        """
        try:
            _ = self.now + by
        except OverflowError:
            raise ValueError(f"move_clock() leads out of the years 1 to 9999: {by}.") from None
        self.ahead.seconds += by.total_seconds()
        self.sync()

    def sync(self) -> None:
        """Let everything happen that is due by now; the methods of this object do so themselves."""
        # In the thread of the server, which is the only one that changes anything.
        self.control("POST", "/clock", {})

    @property
    def _variable(self) -> str:
        return f"AIRFLOW_CONN_{self.conn_id.upper()}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """
        Call the sandbox's own API.

        :param path: below ``/_sandbox``.
        :raises ValueError: with what it says is wrong.
        """
        return call_control(self.url, method, path, body)


def call_control(url: str, method: str, path: str, body: Any = None) -> Any:
    """
    Call a sandbox's own API.

    :param url: of the sandbox.
    :param path: below ``/_sandbox``.
    :raises ValueError: with what it says is wrong.
    """
    from urllib.error import HTTPError
    from urllib.parse import quote
    from urllib.request import ProxyHandler, Request, build_opener

    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/_sandbox{quote(path)}", content, headers, method=method)
    try:
        # A proxy of the environment leads elsewhere.
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as response:
            return json.load(response)
    except HTTPError as error:
        with error:
            raise ValueError(_message_of(error.read()) or str(error)) from None


def _message_of(answer: bytes) -> str:
    """Return what the sandbox says is wrong; nothing if the answer is not in its form."""
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def kit() -> Any:
    """
    Return the part that needs the sandbox's libraries.

    :raises RuntimeError: naming the extra, when they are missing.
    """
    try:
        from airflow_provider_wati.testing import _server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("airflow_provider_wati"):
            raise
        raise RuntimeError(
            f"The sandbox needs {error.name}, which is not installed: "
            "pip install 'airflow-provider-wati[sandbox]', or [testing], which brings pytest too."
        ) from None
    return _server
