from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scripted_server import ScriptedServer, Step, answer, serving

if TYPE_CHECKING:
    from tests.unit.sandbox.conftest import Caller

SECRET = "a-secret-of-the-receiver-0123"
SOON = 60.0


def until(condition: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait for something to be true; a loaded machine may take its time."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.005)
    return result


def subscribe(
    wati: Caller, url: str, *event_types: str, channel: str | None = None, **more: Any
) -> dict[str, Any]:
    """Create a webhook and return WATI's record of it."""
    item = {"url": url, "eventTypes": list(event_types), "status": 1} | more
    if channel:
        item["phoneNumber"] = channel
    response = wati.session.post(f"{wati.server.endpoint}/api/v2/webhookEndpoints", json=[item], timeout=60)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["ok"] is True, body
    record: dict[str, Any] = body["result"][0]
    return record


def deliveries(wati: Caller, **query: Any) -> list[dict[str, Any]]:
    """The deliveries that the sandbox keeps, oldest first."""
    answer = wati.control("GET", "/webhooks/deliveries", params={"limit": 100_000} | query)
    listed: list[dict[str, Any]] = answer["deliveries"]
    return listed[::-1]


def settled(wati: Caller) -> list[dict[str, Any]]:
    """Wait until nothing is left to be sent by now, and return the deliveries."""
    until(lambda: wati.control("GET", "/webhooks/deliveries?limit=0")["quiet"])
    return deliveries(wati)


def events(receiver: ScriptedServer) -> list[dict[str, Any]]:
    """The bodies that a receiver was sent, in the order of their arrival."""
    return [json.loads(request.body) for request in list(receiver.requests)]


def names(receiver: ScriptedServer) -> list[str]:
    return [each["eventType"] for each in events(receiver)]


@pytest.fixture
def receive() -> Iterator[Callable[..., ScriptedServer]]:
    """Start receivers that answer as a script says; 200 without one."""
    started = []

    def start(*script: Step) -> ScriptedServer:
        manager = serving(*(script or (answer(200),)))
        started.append(manager)
        return manager.__enter__()

    yield start
    for manager in started:
        manager.__exit__(None, None, None)
