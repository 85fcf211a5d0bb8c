from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.plugins import _gate
from airflow_provider_wati.plugins._gate import SECRET, WebhookGate, hide_secret

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver

SECRET_TEXT = "s3cret-of-the-receiver-0123456789"


@pytest.mark.parametrize(
    "path",
    [
        "/wati/webhooks/wati_default/{}",
        "/airflow/wati/webhooks/wati_default/{}",
        "//wati/webhooks/wati_default/{}",
        "/wati//webhooks//wati_default//{}",
        "/wati/webhook/wati_default/{}",
        "/WATI/Webhooks/wati_default/{}",
        "/wati/webhooks/wati_default/{}/",
        "/wati/webhooks/wati_default/{}/more",
        "/wati/webhooks/wati_default/x/{}",
        "/wati/webhooks/wati_default/{}\n",
        # A part of the address is missing or another.
        "/wati/webhooks/{}",
        "/airflow/wati/webhooks/{}",
        "/wati/{}",
        "/wati/wati_default/{}",
        "/wati/web-hooks/wati_default/{}",
        "/wati/receiver/wati_default/{}",
        "/wati/deliveries/{}",
        "/wati/webhooks/wati_default/statuses/{}",
    ],
)
def test_no_spelling_of_the_address_shows_the_secret(path: str) -> None:
    """The secret is taken out of the path however the address is written, also when it is misspelt."""
    scope: dict[str, Any] = {"type": "http", "path": path.format(SECRET_TEXT), "raw_path": b"x"}
    hide_secret(scope)
    assert SECRET_TEXT not in scope["path"]
    assert SECRET_TEXT.encode() not in scope["raw_path"]
    assert SECRET_TEXT in scope[SECRET]


@pytest.mark.parametrize(
    "path",
    [
        "/wati/webhooks/wati_default/statuses",
        "/wati/webhooks/wati_default/news",
        "/airflow/wati/webhooks/wati_default/news",
        "/wati/deliveries",
        "/wati/",
        "/api/v2/dags/x/y",
        "/api/v2/dags/wati/dagRuns/x",
        "/webhooks/of/another-plugin-with-a-long-name",
    ],
)
def test_other_addresses_stay(path: str) -> None:
    """Addresses without a secret are not touched."""
    scope: dict[str, Any] = {"type": "http", "path": path}
    hide_secret(scope)
    assert scope == {"type": "http", "path": path}


def test_a_second_gate_keeps_the_secret() -> None:
    """A request that passes two gates still has its secret for the receiver."""
    scope: dict[str, Any] = {"type": "http", "path": f"/wati/webhooks/c/{SECRET_TEXT}"}
    for _ in range(2):
        hide_secret(scope)
    assert (scope["path"], scope[SECRET]) == ("/wati/webhooks/c/HIDDEN", SECRET_TEXT)


def test_below_a_base_url_with_a_path() -> None:
    """The server tells the path of ``[api] base_url``, below which a misspelt address is hidden too."""
    scope: dict[str, Any] = {"type": "http", "path": f"/flow/wati/{SECRET_TEXT}", "root_path": "/flow"}
    hide_secret(scope)
    assert scope["path"] == "/flow/wati/HIDDEN"


@pytest.mark.parametrize(
    ("status", "shown"), [(404, "/webhooks/HIDDEN"), (200, f"/webhooks/receiving/{SECRET_TEXT}")]
)
def test_an_address_without_the_prefix_is_hidden_when_it_is_refused(status: int, shown: str) -> None:
    """Who forgets ``/wati`` does not find the secret in the log; the page of another plugin is left as it is."""
    logged = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})

    async def send(message: Any) -> None:
        logged.append(scope["path"])

    scope: dict[str, Any] = {"type": "http", "path": f"/webhooks/receiving/{SECRET_TEXT}"}
    asyncio.run(WebhookGate(app)(scope, None, send))  # type: ignore[arg-type] # it is not used
    assert logged == [shown]


def test_the_server_sees_the_changed_scope() -> None:
    """The gate changes the scope itself, which the server logs from, and not a copy."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope: dict[str, Any] = {"type": "websocket", "path": f"/wati/webhooks/c/{SECRET_TEXT}"}
    asyncio.run(WebhookGate(app)(scope, None, None))  # type: ignore[arg-type] # neither is used
    assert seen[0] is scope
    assert scope["path"] == "/wati/webhooks/c/HIDDEN"


class Root:
    """As Airflow's application: it calls its middlewares, which are made at the first call."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.middleware_stack: Any = WebhookGate(self._page)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    async def _page(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            self.started.set()
            await self.ended.wait()
            return
        self.passed.append(scope["path"])


@pytest.mark.parametrize(
    ("method", "path", "goes_on"),
    [
        ("POST", "/wati/webhooks/receiving/{}", False),
        ("GET", "/wati/webhooks/receiving/{}", True),
        ("POST", "/wati/webhook/receiving/{}", True),
        ("GET", "/wati/webhooks/receiving/news", True),
        ("POST", "/api/v2/dags", True),
    ],
)
def test_webhooks_pass_by_the_middlewares(
    method: str, path: str, goes_on: bool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the start, exactly the webhooks are answered before Airflow's own middlewares."""
    monkeypatch.setattr(_gate, "_receiver", receiver)
    passed: list[str] = []
    answers: list[int | None] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"eventType": "message", "id": "gate-1"}'}

    async def send(message: Any) -> None:
        answers.append(message.get("status"))

    async def run() -> None:
        root = Root()
        living = asyncio.create_task(root({"type": "lifespan"}, receive, send))
        await root.started.wait()
        scope = {"type": "http", "method": method, "path": path.format(SECRET_TEXT), "headers": []}
        await root(scope, receive, send)
        root.ended.set()
        await living
        passed.extend(root.passed)

    asyncio.run(run())
    assert bool(passed) is goes_on
    assert not any(SECRET_TEXT in each for each in passed)
    assert (200 in answers) is not goes_on
