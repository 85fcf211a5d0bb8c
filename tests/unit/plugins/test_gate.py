from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_wati.plugins._gate import SECRET, WebhookGate, hide_secret

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
    "path", ["/wati/webhooks/wati_default/statuses", "/wati/deliveries", "/api/v2/dags/x/y"]
)
def test_other_addresses_stay(path: str) -> None:
    """Addresses without a secret are not touched."""
    scope: dict[str, Any] = {"type": "http", "path": path}
    hide_secret(scope)
    assert scope == {"type": "http", "path": path}


def test_the_server_sees_the_changed_scope() -> None:
    """The gate changes the scope itself, which the server logs from, and not a copy."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope: dict[str, Any] = {"type": "websocket", "path": f"/wati/webhooks/c/{SECRET_TEXT}"}
    asyncio.run(WebhookGate(app)(scope, None, None))  # type: ignore[arg-type] # neither is used
    assert seen[0] is scope
    assert scope["path"] == "/wati/webhooks/c/HIDDEN"
