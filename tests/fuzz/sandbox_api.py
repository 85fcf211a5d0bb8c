"""Requests to the sandbox: every route that it has, with paths, queries and bodies that are nearly right."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, unquote

from hypothesis import strategies as st

from airflow_provider_wati.sandbox.app import create_app
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies, damaged_bytes, texts
from tests.support.contract import ContractCheck, contract_file, load_contract

_TOKEN = "sandbox-token"
_TENANT = Settings().tenant
_V3 = "/api/ext/v3"
#: One of the people of the sandbox, who wrote an hour ago.
_PHONE = "12025550143"
_PARAMS = [{"name": "name", "value": "Ada"}]
_SEND = {
    "template_name": "order_update", "broadcast_name": "c",
    "recipients": [{"phone_number": _PHONE, "local_message_id": "a-b-c-d-e-f", "custom_params": _PARAMS}],
}  # fmt: skip
#: A body that is right for each route that takes one.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/contacts"): {"whatsapp_number": "85264318799", "name": "Ada", "custom_params": _PARAMS},
    ("PUT", "/contacts"): {"contacts": [{"target": _PHONE, "customParams": _PARAMS}]},
    ("PUT", "/contacts/teams"): {"target": _PHONE, "teams": ["Sales"]},
    ("POST", "/conversations/messages/text"): {"target": _PHONE, "text": "Hi"},
    ("POST", "/conversations/messages/fileViaUrl"): {"target": _PHONE, "file_url": "https://example.com/a.png", "caption": "Hi"},
    ("POST", "/conversations/messages/interactive"): {
        "target": _PHONE, "type": "buttons",
        "button_message": {"header": {"type": "text", "text": "Hi"}, "body": "Hi", "footer": "Hi", "buttons": [{"text": "Yes"}]},
        "list_message": {"body": "Hi", "button_text": "Show", "sections": [{"title": "A", "rows": [{"title": "B", "description": "C"}]}]},
    },
    ("PUT", "/conversations/{target}/operator"): {"assignee_email": None},
    ("PUT", "/conversations/{target}/status"): {"new_status": "solved"},
    ("POST", "/conversations/{target}/tags"): {"tag_name": "vip"},
    ("POST", "/messageTemplates/send"): _SEND,
    ("POST", "/messageTemplates/schedule"): {**_SEND, "scheduled_at": "2026-11-03T06:20:12Z"},
    ("POST", "/broadcasts/estimate-cost"): {"template_id": "6929b2c3de3b1a7000000001", "contact_ids": ["66b1fb04c0ac700000000001"]},
    ("POST", "/chatbots/start"): {"target": _PHONE, "chatbot_id": "65b7a1c2c4a7b07000000001"},
    ("PUT", "/webhooks/{webhook_id}"): {"url": "https://example.com", "eventTypes": ["message"], "status": "Enabled"},
    ("POST", f"/{_TENANT}/api/v2/webhookEndpoints"): [
        {"url": "http://127.0.0.1:9/a", "eventTypes": ["message"], "status": 1, "phoneNumber": "14155550101"},
    ],
    ("POST", "/_sandbox/webhooks/events"): {
        "event_type": "sentMessageREAD_v2", "message_id": "66b1fb043e55a6e000000000", "channel": None, "payload": {"text": "Hi"},
    },
    ("POST", "/_sandbox/page/conversations/{conversation_id}/read"): {"messages": 1},
    ("POST", "/_sandbox/webhooks/deliveries/{number}/redeliver"): {},
    ("POST", "/_sandbox/reset"): {"seed": True},
    ("PATCH", "/_sandbox/settings"): {"speed": 2.0, "failed_share": 0.5, "missing_status": 400, "plan": "growth", "unauthorized_text": "no"},
    ("POST", "/_sandbox/tokens"): {"token": "t", "scopes": ["contactsv3:read"]},
    ("POST", "/_sandbox/faults"): {
        "kind": "omit_recipients", "method": "GET", "path": "*", "contains": "a", "skip": 1, "count": 1, "probability": 0.5, "when": "after",
        "retry_after": 1, "numbers": [_PHONE], "errors": ["x"], "answer": {"result": False}, "location": "/", "body": "html",
    },
    ("POST", "/_sandbox/clock"): {"advance": 3600, "frozen": True, "speed": 2.0},
    ("POST", "/_sandbox/inbound"): {
        "phone": _PHONE, "text": "Hi", "name": "Ada", "channel": None,
        "media": {"file_name": "a.png", "mime_type": "image/png", "data": "aGk="},
    },
    ("POST", "/_sandbox/contacts"): {
        "contacts": [{"phone": _PHONE, "name": "Ada", "custom_params": {"city": "Pune"}, "allow_broadcast": False}],
        "count": 2, "first_phone": "919800000001",
    },
    ("PUT", "/_sandbox/templates/{name}"): {"status": "PENDING", "body": "Hi {{name}}", "params": {"name": "Ada"}, "channel": None},
}  # fmt: skip
_UPLOAD = "/conversations/messages/file"
_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="target"\r\n\r\n' + _PHONE.encode() + b'\r\n--b\r\nContent-Disposition: form-data; '
    b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nhi\r\n--b--\r\n'
)  # fmt: skip
#: Values of a path and of a query that mean something to some route.
_KNOWN = (
    _PHONE, "12025550148", "14155550101", "Support", f"Support:{_PHONE}", "US.13491208655302741918", "66b1fb04c0ac700000000001", "66b1fb68c0de700000000001",
    "66b1fb043e55a6e000000000", "66b1fb04b40adca000000001", "6929b2c3de3b1a7000000001", "order_update", "vip", "1", "0", "100",
    "2147483648", "2026-11-03", "0001-01-01T00:00:00Z", "whatsapp", "a-b-c-d-e-f",
)  # fmt: skip
_values = st.one_of(st.sampled_from(_KNOWN), st.sampled_from(_KNOWN), texts)
_QUERY = (
    "page_number", "page_size", "channel", "channel_type", "channel_id", "date_from", "date_to", "limit", "skip", "phone", "method", "path",
    "broadcast_name",
)  # fmt: skip
_SLOW = re.compile(rb'"(seconds|count)"\s*:\s*"?-?[0-9.]*[1-9][0-9.eE+]{2,}')


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the sandbox; ``path`` is without the prefix of V3."""

    method: str
    path: str

    @property
    def address(self) -> str:
        """The path from the root."""
        is_v3 = self.path != "/" and not self.path.startswith(("/_sandbox/", f"/{_TENANT}/"))
        return f"{_V3}{self.path}" if is_v3 else self.path


@cache
def routes() -> list[Route]:
    """Return every route of the sandbox, so that none can be forgotten here."""
    gate: Any = create_app()
    return sorted(
        (
            Route(method, route.path.removeprefix(_V3))
            for route in gate._app.routes
            for method in route.methods
        ),
        key=lambda route: (route.path, route.method),
    )


@cache
def _with_bodies() -> list[Route]:
    return [route for route in routes() if (route.method, route.path) in BODIES or route.path == _UPLOAD]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request."""

    method: str
    path: str
    query: str
    content_type: str
    body: bytes


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@st.composite
def _requests(draw: st.DrawFn) -> ApiRequest:
    route = draw(st.one_of(st.sampled_from(routes()), st.sampled_from(_with_bodies())))
    path = re.sub(r"{[^}]+}", lambda _: _escaped(draw(_values)), route.address)
    names = draw(st.lists(st.sampled_from(_QUERY), max_size=2, unique=True))
    # A list is read only with both of these.
    query = {"page_number": "1", "page_size": "100"} if draw(st.booleans()) else {}
    query |= {name: draw(_values) for name in names}
    content_type, body = "application/json", b""
    if route.path == _UPLOAD:
        content_type = draw(
            st.sampled_from(
                ("multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=")
            )
        )
        body = draw(damaged_bytes(_FORM))
    elif (route.method, route.path) in BODIES:
        body = draw(bodies(BODIES[route.method, route.path]))
    # A delay in real time, or hundreds of thousands of contacts, would hold up all others.
    if _SLOW.search(body):
        body = b"{}"
    return ApiRequest(
        route.method, path, "&".join(f"{name}={_escaped(value)}" for name, value in query.items()), content_type, body
    )  # fmt: skip


class _Sandbox:
    """The sandbox without a socket; its answers are held against WATI's OpenAPI where that is at hand."""

    def __init__(self) -> None:
        self.workspace = Workspace(_TOKEN, Settings())
        self._app: Any = create_app(self.workspace)
        self.check = ContractCheck(self._app, load_contract()) if contract_file().is_file() else None
        self._loop = asyncio.new_event_loop()

    def status_of(self, request: ApiRequest) -> int:
        """Return the status of the answer to a request."""
        return self._loop.run_until_complete(self._status_of(request))

    async def _status_of(self, request: ApiRequest) -> int:
        headers = {
            "host": "localhost", "authorization": f"Bearer {_TOKEN}", "content-type": request.content_type,
            "content-length": str(len(request.body)),
        }  # fmt: skip
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": request.method,
            "path": unquote(request.path), "raw_path": request.path.encode(), "root_path": "",
            "query_string": request.query.encode(), "client": ("127.0.0.1", 50_000), "server": ("localhost", 80),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        statuses: list[int] = []
        received = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Any:
            return received.pop() if received else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await (self.check or self._app)(scope, receive, send)
        assert len(statuses) == 1, f"{len(statuses)} answers"
        return statuses[0]


_sandbox = cache(_Sandbox)


def _feed(requests: list[ApiRequest]) -> None:
    """Make requests to a fresh workspace, one after another."""
    sandbox = _sandbox()
    sandbox.workspace.reset()
    for request in requests:
        if not request.path.startswith("/_sandbox"):
            # What a fault does to an answer was asked for; here it is enough that its rule can be made and listed.
            sandbox.workspace.faults.clear()
        status = sandbox.status_of(request)
        assert status < 500, f"{request.method} {request.path} is answered with {status}"
    if sandbox.check is not None:
        wrong = [violation for violation in sandbox.check.violations if ": answer " in violation]
        sandbox.check.violations.clear()
        assert not wrong, wrong


SURFACE = Surface(
    name="sandbox's API",
    inputs=st.lists(_requests(), min_size=1, max_size=16),
    feed=_feed,
    typed=(),
    size=len,
    share=3.0,
)
