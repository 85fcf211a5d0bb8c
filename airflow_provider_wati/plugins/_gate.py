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
#: Of characters that servers log as they are.
_HIDDEN = "HIDDEN"
#: What workers read of a connection; shorter than any secret.
_WORKERS_PAGES = frozenset({"statuses", "news"})
_HOOKS = r"[a-z_-]*hooks?/+"
#: Whatever follows the id of the connection, in any spelling of the path, and behind any ``[api] base_url``.
_WEBHOOK = re.compile(
    rf"(?P<shown>.*?{URL_PREFIX}/+{_HOOKS}[^/]*/+)(?P<secret>.+)", re.DOTALL | re.IGNORECASE
)
#: Whatever else stands below the receiver's prefix, where an address may have been misspelt.
_BELOW = re.compile(
    rf"(?P<shown>/*{URL_PREFIX}/+(?:{_HOOKS})?|.*?{URL_PREFIX}/+{_HOOKS})(?P<secret>.+)",
    re.DOTALL | re.IGNORECASE,
)
_OPEN_PAGES = frozenset({"deliveries"})
#: An address without the prefix: another plugin may have a page there, so it is hidden only when it is refused.
_WITHOUT_PREFIX = re.compile(rf"(?P<shown>/*{_HOOKS})(?P<secret>.+)", re.DOTALL | re.IGNORECASE)

#: The address of a webhook, once its secret is hidden.
_ADDRESS = re.compile(rf"{URL_PREFIX}/webhooks/(?P<conn_id>[^/]+)/{_HIDDEN}")

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
        await self._app(scope, receive, _hiding_refused(scope, send))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def started(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                receiver().start()
                _put_in_front(scope.get("app"))
            await send(message)

        try:
            await self._app(scope, receive, started)
        finally:
            if _receiver is not None:
                _receiver.stop()


class WebhooksFirst:
    """
    Takes webhooks before Airflow's middlewares, which cost several times what storing an event does.

    Sessions of the UI, compression and the access log are of no use to WATI. All other requests go on.

    :param app: Airflow's middlewares, and the pages behind them.
    """

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            hide_secret(scope)
            if SECRET in scope and (found := _ADDRESS.fullmatch(_below_root(scope)[1])):
                await receiver().take(found["conn_id"], scope, receive, send)
                return
        await self._app(scope, receive, send)


def _put_in_front(root: Any) -> None:
    """Put :class:`WebhooksFirst` before the middlewares; where there are none to be found, webhooks pass through them."""
    stack: Asgi | None = getattr(root, "middleware_stack", None)
    if stack is not None and not isinstance(stack, WebhooksFirst):
        root.middleware_stack = WebhooksFirst(stack)


def _hiding_refused(scope: Scope, send: Send) -> Send:
    """Return ``send`` that hides the rest of a refused address which lacks the prefix, before the server logs it."""
    found = _WITHOUT_PREFIX.fullmatch(_below_root(scope)[1])
    if found is None:
        return send

    async def hiding(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            _show(scope, _below_root(scope)[0] + found["shown"] + _HIDDEN)
        await send(message)

    return hiding


def hide_secret(scope: Scope) -> None:
    """
    Move the secret of a webhook's address from the path to ``scope["wati.webhook_secret"]``.

    Of what else stands below the prefix, all is hidden but the pages. A second call leaves the request as it is.

    :param scope: of a request; the same object that the server logs from.
    """
    if SECRET in scope:
        return
    root, path = _below_root(scope)
    found = _WEBHOOK.fullmatch(path)
    if found is not None and found["secret"] in _WORKERS_PAGES:
        return
    found = found or _BELOW.fullmatch(path)
    if found is None or found["secret"] in _OPEN_PAGES:
        return
    scope[SECRET] = found["secret"]
    _show(scope, root + found["shown"] + _HIDDEN)


def _below_root(scope: Scope) -> tuple[str, str]:
    """Return the path of ``[api] base_url``, where a request has it, and what follows."""
    path, root = scope.get("path", ""), scope.get("root_path", "")
    return (root, path[len(root) :]) if path.startswith(f"{root}/") else ("", path)


def _show(scope: Scope, path: str) -> None:
    scope["path"] = path
    if "raw_path" in scope:
        scope["raw_path"] = path.encode("utf-8", "replace")
