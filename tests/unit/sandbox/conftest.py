from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_wati.sandbox.server import SandboxServer
from tests.support.contract import ContractCheck, contract_file, load_contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wati.sandbox.settings import Settings

ADA = "12025550143"
BEN = "12025550144"
CHITRA_WINDOW_CLOSED = "12025550145"
DANA_NEVER_WROTE = "12025550146"
EVAN_OPTED_OUT = "12025550147"
FARAH_ON_TWO_CHANNELS = "12025550148"
GRACE_BSUID = "US.13491208655302741918"
NOBODY = "12025550199"
DEFAULT_CHANNEL = "14155550100"
SUPPORT_CHANNEL = "14155550101"
PAGE = {"page_number": 1, "page_size": 100}


class Caller:
    """Plain HTTP against a running sandbox: nothing of our client is used here."""

    def __init__(self, server: SandboxServer, check: ContractCheck | None = None) -> None:
        self.server = server
        self.check = check
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {server.token}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call V3."""
        return self.session.request(
            method, f"{self.server.url}/api/ext/v3{path}", timeout=30, allow_redirects=False, **options
        )

    def v1(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.server.endpoint}/api/v1{path}", timeout=30, **options)

    def control(self, method: str, path: str, **options: Any) -> Any:
        response = requests.request(method, f"{self.server.url}/_sandbox{path}", timeout=30, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def fault(self, kind: str, **options: Any) -> None:
        self.control("POST", "/faults", json={"kind": kind, **options})

    def advance(self, seconds: float) -> None:
        self.control("POST", "/clock", json={"advance": seconds})

    def settings(self, **changes: Any) -> None:
        self.control("PATCH", "/settings", json=changes)

    def send_template(self, *recipients: Any, **changes: Any) -> requests.Response:
        """Send ``order_update``; a recipient given as a phone number gets the usual parameters."""
        body = {
            "template_name": "order_update",
            "broadcast_name": "orders",
            "recipients": [order_recipient(each) if isinstance(each, str) else each for each in recipients],
        }
        path = "/messageTemplates/schedule" if "scheduled_at" in changes else "/messageTemplates/send"
        return self("POST", path, json=body | changes)

    def send_text(self, target: str, text: str = "Hello") -> requests.Response:
        return self("POST", "/conversations/messages/text", json={"target": target, "text": text})

    def texts_to(self, phone: str) -> list[str]:
        return [message["text"] for message in self.control("GET", f"/messages?phone={phone}")["messages"]]

    def assert_works(self) -> None:
        """The page, the controls and the API answer."""
        for path in (
            "/",
            "/_sandbox/state",
            "/_sandbox/messages",
            "/_sandbox/broadcasts",
            "/_sandbox/requests",
        ):
            response = self.session.get(f"{self.server.url}{path}", timeout=30)
            assert response.status_code == 200, path
            assert path == "/" or response.json()
        for path in ("/contacts", f"/conversations/{ADA}/messages", "/broadcasts", "/messageTemplates"):
            assert self("GET", path, params=PAGE).status_code == 200, path


def order_recipient(phone: str, **more: Any) -> dict[str, Any]:
    values = {"name": "Ada", "order_id": "1001", "status": "shipped"}
    params = [{"name": name, "value": value} for name, value in values.items()]
    return {"phone_number": phone, "custom_params": params} | more


@pytest.fixture(scope="session")
def running() -> Iterator[Caller]:
    """One server for all tests: over real sockets, every call held against the contract where there is one."""
    checks: list[ContractCheck] = []

    def wrap(app: Any) -> Any:
        checks.append(ContractCheck(app, load_contract()))
        return checks[0]

    with SandboxServer(wrap=wrap if contract_file().is_file() else None) as server:
        yield Caller(server, checks[0] if checks else None)


@pytest.fixture
def wati(running: Caller) -> Iterator[Caller]:
    """A fresh sandbox with a stopped clock, and a look at the contract afterwards."""
    running.server.reset()
    running.control("POST", "/clock", json={"frozen": True})
    if running.check:
        running.check.violations.clear()
    yield running
    if running.check:
        running.check.assert_clean()


@pytest.fixture
def start_sandbox() -> Iterator[Any]:
    """Start more sandboxes, with settings of their own; they stop after the test."""
    servers: list[SandboxServer] = []

    def start(settings: Settings | None = None, **options: Any) -> Caller:
        servers.append(SandboxServer(settings=settings, **options).start())
        return Caller(servers[-1])

    yield start
    for server in servers:
        server.stop()
