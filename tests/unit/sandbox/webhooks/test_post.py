"""One POST to a receiver that answers, fails, hangs, drips, redirects, or is on another machine."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from airflow_provider_wati.sandbox.webhooks.deliveries import Outcome
from airflow_provider_wati.sandbox.webhooks.post import Destination, Line
from tests.support.scripted_server import (
    Step,
    answer,
    closed_port,
    cut_short,
    drip,
    flood,
    hang_up,
    raw,
    reset,
    serving,
    stay_silent,
)

PUBLIC = "93.184.216.34"


def post(*urls: str, timeout: float = 5.0, any_host: bool = False) -> list[Outcome]:
    """Post to each URL over one line, one after another."""

    async def run() -> list[Outcome]:
        async with Line(any_host=any_host) as line:
            return [await line.post(url, b'{"eventType": "message"}', timeout) for url in urls]

    return asyncio.run(run())


def test_a_post_is_json_without_a_signature() -> None:
    """The request has the path and query of the URL, JSON in UTF-8, and no signature (documented)."""
    with serving(answer(200)) as receiver:
        assert post(f"{receiver.url}/hook/a?key=secret%20") == [Outcome(status=200)]
    [request] = receiver.requests
    assert (request.method, request.path) == ("POST", "/hook/a?key=secret%20")
    assert request.body == b'{"eventType": "message"}'
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/json; charset=utf-8",
        "content-length": "24",
    }


@pytest.mark.parametrize("status", [201, 204, 302, 307, 404, 429, 500])
def test_an_answer_is_told_as_it_is(status: int) -> None:
    """Every status is told, and a redirect is not followed."""
    with (
        serving(answer(200)) as elsewhere,
        serving(answer(status, headers={"Location": elsewhere.url})) as here,
    ):
        assert post(here.url) == [Outcome(status=status)]
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(stay_silent, id="silent"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-A: "), id="head drips"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), id="body drips"),
    ],
)
def test_a_receiver_that_takes_its_time_is_given_up(step: Step) -> None:
    """An answer that is not whole within the timeout is none."""
    with serving(step) as receiver:
        began = time.monotonic()
        [outcome] = post(receiver.url, timeout=0.5)
        assert time.monotonic() - began < 60
    assert outcome == Outcome(error="no whole answer within 0.5 seconds")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param(reset, "reset", id="reset"),
        pytest.param(hang_up, "closed", id="hangs up"),
        pytest.param(cut_short, "not HTTP", id="cut short"),
        pytest.param(raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "not HTTP", id="another protocol"),
        pytest.param(
            flood(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"3e8\r\n" + b"x" * 1000 + b"\r\n",
                5000,
            ),
            "longer than",
            id="no end",
        ),
    ],
)
def test_a_broken_answer_is_an_error(step: Step, words: str) -> None:
    """What is no whole HTTP answer is an error with the reason, and not an exception."""
    with serving(step) as receiver:
        [outcome] = post(receiver.url)
    assert (outcome.status, outcome.refused) == (None, False)
    assert words in (outcome.error or "")


def test_nobody_listens() -> None:
    """A closed port is an error."""
    with closed_port() as port:
        [outcome] = post(f"http://127.0.0.1:{port}/")
    assert outcome.status is None
    assert "refused" in (outcome.error or "").lower()
    assert not outcome.refused


def test_a_connection_is_used_again() -> None:
    """One connection carries several deliveries, while the receiver keeps it open."""
    with serving(answer(200, raw=b"ok")) as receiver:
        assert post(*[receiver.url] * 5) == [Outcome(status=200)] * 5
    assert {request.connection for request in receiver.requests} == {1}


def test_a_connection_closed_in_between_is_no_failure() -> None:
    """A receiver that closes after each answer without saying so still gets every delivery, once."""

    def answer_and_close(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return False

    with serving(answer_and_close) as receiver:
        assert post(*[receiver.url] * 5) == [Outcome(status=200)] * 5
    assert len(receiver.requests) == 5


def test_a_line_changes_between_receivers() -> None:
    """A subscription whose URL is changed is posted to at its new place."""
    with serving(answer(200)) as one, serving(answer(202)) as other:
        assert post(one.url, other.url, one.url) == [Outcome(200), Outcome(202), Outcome(200)]


@pytest.mark.parametrize(
    "url",
    ["", "hook", "ftp://a/", "http://", "http://[::1", "http://a:0x1/", "http://a/ b", "https://.localhost/"],
)
def test_what_is_no_url_is_an_error(url: str) -> None:
    """A URL that cannot be called is an error and not an exception."""
    [outcome] = post(url)
    assert outcome.status is None
    assert outcome.error


# Only this machine


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses by name, in place of a name server; no address of another machine is connected to."""
    table: dict[str, list[str]] = {}

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in table[host]]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *args, **options: (
            real(host, port, *args, **options) if _is_number(host) else look_up(host, port)
        ),
    )
    return table


def _is_number(host: Any) -> bool:
    return not any(character.isalpha() for character in str(host).partition("%")[0].replace("::", ""))


@pytest.mark.parametrize(
    "host",
    [
        PUBLIC,
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "[2001:db8::1]",
        f"[::ffff:{PUBLIC}]",
        "[::]",
    ],
)
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """Nothing is sent to an address that is not loopback, and the error names the option that would."""
    [outcome] = post(f"http://{host}/hook?key=secret")
    assert outcome.refused
    assert outcome.status is None
    assert "--webhooks-to-any-host" in (outcome.error or "")
    assert "secret" not in (outcome.error or "")


def test_a_name_counts_by_what_it_resolves_to(names: dict[str, list[str]]) -> None:
    """A name of this machine is called; one that resolves to another, also among others, is refused."""
    names.update(
        {
            "receiver.example": ["127.0.0.1"],
            "elsewhere.example": [PUBLIC],
            "both.example": ["127.0.0.1", PUBLIC],
        }
    )
    with serving(answer(200)) as receiver:
        port = receiver.port
        outcomes = post(*(f"http://{name}:{port}/" for name in names))
        assert [(each.status, each.refused) for each in outcomes] == [
            (200, False),
            (None, True),
            (None, True),
        ]
        assert [request.headers["host"] for request in receiver.requests] == [f"receiver.example:{port}"]


def test_a_name_is_resolved_once_for_check_and_connection(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to another address the second time (DNS rebinding) gets no second look-up."""
    asked = []
    answers = iter([["127.0.0.1"], [PUBLIC], [PUBLIC]])

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with serving(answer(200)) as receiver:
        assert post(f"http://rebinding.example:{receiver.port}/") == [Outcome(status=200)]
    assert asked == ["rebinding.example"]


def test_a_name_that_does_not_resolve_is_an_error(names: dict[str, list[str]]) -> None:
    """An unknown name is a failed attempt, which may work later."""
    [outcome] = post("http://nobody.example/")
    assert outcome == Outcome(error="the name does not resolve")


def test_a_name_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving counts into the timeout, and the end of the loop does not wait for it."""

    def hang(*_: Any, **__: Any) -> list[Any]:
        time.sleep(120)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    [outcome] = post("http://slow.example/", timeout=0.3)
    assert outcome.error == "no whole answer within 0.3 seconds"
    assert time.monotonic() - began < 60


def test_localhost_is_this_machine_without_a_name_server(names: dict[str, list[str]]) -> None:
    """Names under localhost are loopback by definition."""
    with serving(answer(200)) as receiver:
        urls = [f"http://{name}:{receiver.port}/" for name in ("localhost", "airflow.localhost")]
        assert post(*urls) == [Outcome(status=200)] * 2


def test_other_machines_are_called_when_told_to() -> None:
    """With any_host an address that is not loopback is connected to (0.0.0.0 leads to this machine in the end)."""
    with serving(answer(200)) as receiver:
        assert post(f"http://0.0.0.0:{receiver.port}/", any_host=True) == [Outcome(status=200)]


def test_an_origin_holds_no_path() -> None:
    """What is logged of a URL has neither path nor query nor user."""
    destination = Destination.of("https://me:pass@hooks.example:8443/hook/secret?key=secret")
    assert destination.origin == "https://hooks.example:8443"
    assert Destination.of("http://[::1]/a").origin == "http://[::1]"
