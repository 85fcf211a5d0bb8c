"""The page's endpoints over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import requests

from airflow_provider_wati.sandbox.app import create_app
from tests.unit.sandbox.conftest import ADA, BEN, DANA_NEVER_WROTE, GRACE_BSUID, Caller

ENDPOINTS = ("changes", "conversations", "campaigns", "contacts", "calls", "parity")


def page(wati: Caller, path: str, **query: Any) -> Any:
    """What an endpoint of the page answers."""
    answer = requests.get(f"{wati.server.url}/_sandbox/page/{path}", params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def talk_of(wati: Caller, phone: str) -> Any:
    return page(wati, "conversations", query=phone)["rows"][0]


@pytest.mark.parametrize("path", [f"/_sandbox/page/{each}" for each in ENDPOINTS] + ["/"])
def test_foreign_pages_are_refused(path: str, wati: Caller) -> None:
    """A foreign Host or Origin gets nothing of the page or its data."""
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = requests.get(f"{wati.server.url}{path}", headers=headers, timeout=60)
        assert answer.status_code == 403


def status_for(app: Any, path: str, address: str) -> int:
    """The status of an answer to a caller at this address."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": (address, 5000),
    }
    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_other_machines_are_refused() -> None:
    """A caller whose address is not loopback gets none of the data."""
    app = create_app()
    for each in ENDPOINTS:
        path = f"/_sandbox/page/{each}"
        assert [status_for(app, path, address) for address in ("127.0.0.1", "192.0.2.7")] == [200, 403], each


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_change_needs_json(content_type: str, wati: Caller) -> None:
    """A post of another content type, which any website may send, changes nothing."""
    wati.send_text(ADA, "Hello")
    talk = talk_of(wati, ADA)
    answer = requests.post(
        f"{wati.server.url}/_sandbox/page/conversations/{talk['id']}/read",
        data='{"messages": 9}',
        headers={"Content-Type": content_type},
        timeout=60,
    )
    assert answer.status_code == 415
    assert talk_of(wati, ADA)["unread"] == 1


@pytest.mark.parametrize(
    "name", ["../__init__.py", "..%2froutes.py", "js/", "js/none.js", "js/../../routes.py"]
)
def test_only_the_pages_own_files_are_served(name: str, wati: Caller) -> None:
    """A path outside the static files is a 404, however it is written."""
    session = requests.Session()
    request = requests.Request("GET", wati.server.url).prepare()
    request.url = f"{wati.server.url}/_sandbox/page/static/{name}"
    assert session.send(request, timeout=60).status_code == 404


def test_unread_messages_are_those_of_the_business(wati: Caller) -> None:
    """Messages of the business count as unread until they are read; the customer's own never do."""
    wati.send_text(ADA, "one")
    wati.send_text(ADA, "two")
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "three"})
    talk = talk_of(wati, ADA)
    assert (talk["unread"], talk["preview"]) == (2, "three")
    wati.control("POST", f"/page/conversations/{talk['id']}/read", json={"messages": talk["messages"]})
    assert talk_of(wati, ADA)["unread"] == 0
    wati.send_text(ADA, "four")
    assert talk_of(wati, ADA)["unread"] == 1
    assert [row["id"] for row in page(wati, "conversations", unread="true")["rows"]] == [talk["id"]]
    wati.control("POST", "/reset")
    assert page(wati, "conversations", unread="true")["rows"] == []


def test_conversations_are_found_by_name_and_number(wati: Caller) -> None:
    """A part of a name, of a number in any spelling, or of a BSUID finds a person."""
    for query, name in (("ada", "Ada Wong"), ("+1 (202) 555-0144", "Ben Okafor"), (GRACE_BSUID, "Grace")):
        assert [row["name"] for row in page(wati, "conversations", query=query)["rows"]] == [name]
    assert page(wati, "conversations", query="nobody")["total"] == 0


def test_lists_come_in_slices_without_gaps(wati: Caller) -> None:
    """The slices of every list give each row once, in one order."""
    wati.control("POST", "/contacts", json={"count": 120})
    for path in ("contacts", "conversations"):
        whole = page(wati, path, limit=200)
        parts: list[Any] = []
        while len(parts) < whole["total"]:
            rows = page(wati, path, skip=len(parts), limit=7)["rows"]
            assert rows
            parts += rows
        assert parts == whole["rows"]


@pytest.mark.parametrize("query", [{"limit": "201"}, {"limit": "-1"}, {"skip": "x"}, {"skip": "9" * 30}])
def test_odd_slices_are_refused(query: dict[str, str], wati: Caller) -> None:
    """A slice that is too large or no number is a 400 that names it."""
    answer = requests.get(f"{wati.server.url}/_sandbox/page/contacts", params=query, timeout=60)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["message"]


def test_recipients_are_narrowed_down_by_status(wati: Caller) -> None:
    """The recipients of every status add up to the campaign, and those that failed have their reason."""
    wati.send_template(ADA, BEN, DANA_NEVER_WROTE, "12025131026")
    wati.advance(100)
    wati.control("POST", "/inbound", json={"phone": BEN, "text": "thanks"})
    campaign = page(wati, "campaigns")["rows"][0]
    path = f"campaigns/{campaign['id']}/recipients"
    found = {status: page(wati, path, status=status)["total"] for status in campaign["now"]}
    assert found == campaign["now"]
    assert sum(found.values()) == campaign["recipients"] == 4
    assert found["replied"] == 1
    failed = page(wati, path, status="failed")["rows"]
    assert [(row["phone"], row["reason"]["code"]) for row in failed] == [("12025131026", "131026")]
    assert [row["phone"] for row in page(wati, path, query="Dana")["rows"]] == [DANA_NEVER_WROTE]


def test_the_log_has_no_token(wati: Caller) -> None:
    """The log of calls has method, path, status and what the status means, and never a token."""
    wati("GET", "/contacts?page_number=1&page_size=1")
    requests.get(
        f"{wati.server.url}/api/ext/v3/contacts?page_number=1&page_size=1",
        headers={"Authorization": "Bearer wrong"},
        timeout=60,
    )
    answer = requests.get(f"{wati.server.url}/_sandbox/page/calls", timeout=60)
    first, second = answer.json()["rows"]
    assert (first["status"], second["status"]) == (401, 200)
    assert "token is missing or not known" in first["answer"]
    assert wati.server.token not in answer.text
    assert "wrong" not in answer.text
    assert page(wati, "calls", query="get 401")["total"] == 1


def test_an_image_is_known_by_its_bytes(wati: Caller) -> None:
    """A file is an image if it begins like one; whatever else a customer calls an image is a file to save."""
    for mime_type, data, shown in (
        ("image/png", "iVBORw0KGgo=", "image/png"),
        ("text/html", "iVBORw0KGgo=", "image/png"),
        ("image/png", "PHNjcmlwdD4=", "application/octet-stream"),
        ("image/svg+xml", "PHN2Zz4=", "application/octet-stream"),
    ):
        media = {"file_name": 'a"b\r\n.png', "mime_type": mime_type, "data": data}
        message = wati.control("POST", "/inbound", json={"phone": ADA, "media": media})["message"]
        answer = requests.get(f"{wati.server.url}/_sandbox/page/media/{message['id']}", timeout=60)
        assert answer.headers["Content-Type"] == shown
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        disposition = "inline" if shown.startswith("image/") else "attachment"
        assert answer.headers["Content-Disposition"] == f"{disposition}; filename*=UTF-8''a%22b%0D%0A.png"


@pytest.mark.parametrize("path", ["conversations/x", "campaigns/x", "campaigns/x/recipients", "media/x"])
def test_an_unknown_thing_is_a_404_in_json(path: str, wati: Caller) -> None:
    """What there is not is a 404 that says so."""
    answer = requests.get(f"{wati.server.url}/_sandbox/page/{path}", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (404, 404)
