"""Stands before all of Airflow's pages: keeps the secret out of logs, and starts and stops the receiver."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

URL_PREFIX = "/wati"
#: Where the gate leaves the secret for the receiver.
SECRET = "wati.webhook_secret"
STATUSES_PAGE = "statuses"
#: Of characters that servers log as they are.
_HIDDEN = "HIDDEN"
#: Whatever follows the id of the connection, in any spelling of the path, and behind any ``[api] base_url``.
_WEBHOOK = re.compile(
    rf"^(?P<shown>.*?{URL_PREFIX}/+[a-z]*hooks?/+[^/]*/+)(?P<secret>.+)$", re.DOTALL | re.IGNORECASE
)

_receiver: Receiver | None = None


def receiver() -> Receiver:
    """Return the receiver of this process, made on first use."""
    global _receiver
    if _receiver is None:
        from airflow_provider_wati.plugins._receiver import Receiver

        _receiver = Receiver()
    return _receiver


class LazyApp:
    """The pages of the receiver, built on the first request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receiver().app(scope, receive, send)


class WebhookGate:
    """
    An ASGI middleware.

    The servers log ``scope["path"]`` when a request is answered, so the secret is taken out of it as the request comes
    in. Mounted apps get no ``lifespan`` scope in all versions of Airflow; a middleware does.
    """

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        hide_secret(scope)
        await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def started(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                receiver().start()
            await send(message)

        try:
            await self._app(scope, receive, started)
        finally:
            if _receiver is not None:
                _receiver.stop()


def hide_secret(scope: Scope) -> None:
    """
    Move the secret of a webhook's address from the path to ``scope["wati.webhook_secret"]``.

    :param scope: of a request; the same object that the server logs from.
    """
    found = _WEBHOOK.match(scope.get("path", ""))
    if found is None or found["secret"] == STATUSES_PAGE:
        return
    scope[SECRET] = found["secret"]
    scope["path"] = found["shown"] + _HIDDEN
    if "raw_path" in scope:
        scope["raw_path"] = scope["path"].encode("utf-8", "replace")
