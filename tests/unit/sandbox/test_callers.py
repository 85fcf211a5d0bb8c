"""Foreign names: a website that a developer visits neither reads the sandbox nor changes it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.sandbox.callers import refusal_of

if TYPE_CHECKING:
    from tests.unit.sandbox.conftest import Caller

FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8765",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1, evil.example",
    "192.0.2.7",
    "[2001:db8::1]:80",
    "[::1",
    "a b",
    "",
]
OWN_HOSTS = [
    "localhost",
    "LOCALHOST:1",
    "wati.localhost",
    "127.0.0.1:9",
    "127.8.8.8",
    "[::1]:8765",
    "localhost.",
]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "https://127.0.0.1.evil.example",
    "null",
    "file://",
    "chrome-extension://localhost",
    "http://localhost@evil.example",
    "http://[::1",
    "",
]


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(host: str) -> None:
    """A name that is neither loopback nor named at the start is foreign."""
    assert "--allow-host" in str(refusal_of([header("host", host)], ()))


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_loopback_names_are_our_own(host: str) -> None:
    """Loopback names and addresses are served with any port."""
    assert refusal_of([header("host", host), header("origin", f"http://{host}")], ()) is None


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    """A page of another website, of a file or of an extension may not call, whatever the host is."""
    assert refusal_of([header("host", "localhost"), header("origin", origin)], ()) is not None


def test_names_that_are_given_are_our_own() -> None:
    """A name that is given at the start is allowed as host and as origin; names that contain it are not."""
    for host, is_refused in (("wati.test:80", False), ("WATI.test.", False), ("x.wati.test", True)):
        refusal = refusal_of([header("host", host), header("origin", f"https://{host}")], {"wati.test"})
        assert (refusal is not None) == is_refused


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["evil.example", "localhost"]])
def test_there_is_one_host(hosts: list[str]) -> None:
    """A request without a host, or with two, is refused."""
    assert refusal_of([header("host", host) for host in hosts], ()) is not None


CALLS = [
    ("GET", "/"),
    ("GET", "/_sandbox/messages"),
    ("POST", "/_sandbox/reset"),
    ("GET", "/api/ext/v3/contacts?page_number=1&page_size=9"),
]


@pytest.mark.parametrize(
    "foreign", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_page_controls_and_api_refuse_foreign_callers(
    method: str, path: str, foreign: dict[str, str], wati: Caller
) -> None:
    """A foreign Host or Origin is a 403 with JSON on the page, the controls and the API, and nothing happens."""
    wati.control("POST", "/contacts", json={"count": 3})
    requests = len(wati.control("GET", "/requests")["requests"])
    response = wati.session.request(method, f"{wati.server.url}{path}", headers=foreign, timeout=60)
    assert (response.status_code, response.json()["code"]) == (403, 403)
    state = wati.control("GET", "/state")
    assert (state["contacts"], state["requests"]) == (10, requests)


def test_a_name_of_the_users_is_served(start_sandbox: Any) -> None:
    """A name that is allowed at the start is served, and no other."""
    wati = start_sandbox(allowed_hosts=["Wati.Test"])
    for host, status in (("wati.test:8765", 200), ("other.test", 403)):
        response = wati.session.get(f"{wati.server.url}/_sandbox/state", headers={"Host": host}, timeout=60)
        assert response.status_code == status


def test_http_without_a_host_is_refused(wati: Caller) -> None:
    """HTTP 1.0 needs no Host header, and is refused without one."""
    with socket.create_connection(("127.0.0.1", wati.server.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(100).split()[1] == b"403"
