"""Who may use the control API, and with what."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_wati.sandbox.gate import Gate
from tests.unit.sandbox.conftest import ADA, Caller

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def wati(start_sandbox: Any) -> Caller:
    """A sandbox without the check against the contract, which forbids what is sent here."""
    caller: Caller = start_sandbox()
    return caller


async def _never(*_: Any) -> dict[str, Any]:
    raise AssertionError("not to be called")


def test_the_control_api_answers_only_this_machine(wati: Caller) -> None:
    """The control API refuses other machines."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    def call(host: str) -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/_sandbox/state",
            "raw_path": b"/_sandbox/state",
            "query_string": b"",
            "headers": [(b"host", b"10.0.0.1")],
            "client": (host, 5),
            "server": ("10.0.0.1", 80),
            "scheme": "http",
            "root_path": "",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
        }
        app = wati.server.app
        assert isinstance(app, Gate)
        sent.clear()
        asyncio.run(app(scope, _never, send))  # type: ignore[arg-type]  # a hand-made scope
        status: int = sent[0]["status"]
        return status

    assert call("127.0.0.1") == 200
    assert call("10.0.0.7") == 403


CONTROLS = [
    ("POST", "/inbound"),
    ("POST", "/contacts"),
    ("POST", "/clock"),
    ("POST", "/reset"),
    ("PATCH", "/settings"),
    ("POST", "/tokens"),
    ("POST", "/faults"),
    ("PUT", "/templates/x"),
]
GARBAGE: list[Any] = [
    {"unknown": 1},
    {"phone": None, "count": None, "advance": None, "seed": None, "token": None, "kind": None},
    {"phone": ADA, "media": {"file_name": "a", "mime_type": "b", "data": "é"}},
    {"phone": ADA, "media": {"file_name": "a", "mime_type": "b", "data": "A"}},
    {"phone": ADA, "channel": "Nowhere"},
    {"count": -1},
    {"count": 10**30},
    {"first_phone": "9" * 5_000},
    {"advance": 10**400},
    {"advance": 1e300},
    {"speed": -1},
    {"speed": 1e300},
    {"speed": 10**400},
    {"speed": True},
    {"failed_share": 2},
    {"missing_status": 404.0},
    {"missing_status": [404]},
    {"plan": {}},
    {"token": "t", "scopes": [1]},
    {"params": {"a": 1}},
    {"kind": "status", "status": 0},
    {"kind": "status", "status": 10**30},
    {"kind": "status", "status": 101},
    {"kind": "status", "seconds": -1},
    {"kind": "status", "seconds": 1e300},
    {"kind": "status", "retry_after": 1e300, "retry_after_date": True},
    {"kind": "redirect", "location": "/a\r\nX: 1"},
    {"kind": "redirect", "location": "/é"},
    {"kind": "omit_recipients", "numbers": [[1]]},
    {"kind": "recipient_errors", "errors": [{}]},
    {"kind": "answer", "answer": json.loads('{"a":' * 200 + "1" + "}" * 200)},
    {"kind": []},
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_controls_refuse_garbage(body: Any, wati: Caller) -> None:
    """Every control answers garbage with a 4xx and JSON, or does what the part that it knows says."""
    refusals = 0
    for method, path in CONTROLS:
        response = wati.session.request(method, f"{wati.server.url}/_sandbox{path}", json=body, timeout=20)
        assert response.status_code == 200 or 400 <= response.status_code < 500, (path, response.text)
        assert response.json()
        refusals += response.status_code != 200
    assert refusals == len(CONTROLS)
    wati.assert_works()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/messages?limit=-1", 400),
        ("GET", "/messages?skip=" + "9" * 5_000, 400),
        ("GET", "/people?limit=x", 400),
        ("GET", "/requests?limit=\u0661", 400),
        ("GET", "/nowhere", 404),
        ("PUT", "/state", 405),
        ("DELETE", "/faults/7", 404),
        ("DELETE", "/faults/x", 422),
        ("DELETE", "/faults/" + "9" * 5_000, 422),
    ],
)
def test_controls_refuse_unknown_paths_and_queries(method: str, path: str, status: int, wati: Caller) -> None:
    """A control that does not exist, or a query that makes no sense, is a 4xx with JSON."""
    response = wati.session.request(method, f"{wati.server.url}/_sandbox{path}", timeout=60)
    assert (response.status_code, bool(response.json())) == (status, True)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize(("method", "path"), CONTROLS)
def test_controls_take_json_only(method: str, path: str, content_type: str, wati: Caller) -> None:
    """A body of another content type, which any website can post, is a 415 with JSON and changes nothing."""
    for data in (b'{"kind": "drop"}', b"") if content_type else (b'{"kind": "drop"}',):
        headers = {"Content-Type": content_type} if content_type else {}
        response = wati.session.request(
            method, f"{wati.server.url}/_sandbox{path}", data=data, headers=headers, timeout=60
        )
        assert (response.status_code, response.json()["code"]) == (415, 415)
    assert wati.control("GET", "/faults")["faults"] == []
