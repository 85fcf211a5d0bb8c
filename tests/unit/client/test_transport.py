"""What goes over the wire besides retries: the token, redirects, connections."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConfigurationError,
    WatiConnectionError,
    WatiError,
    WatiResponseError,
    WatiUnknownOutcomeError,
)
from tests.support.clients import NUMBER, TOKEN, client_of
from tests.support.clock import FakeClock
from tests.support.scripted_server import (
    Step,
    answer,
    closed_port,
    cut_short,
    hang_up,
    raw,
    reset,
    serving,
    stay_silent,
)


def test_v3_never_gets_the_tenant_and_v1_always_does() -> None:
    """V3 paths hold no tenant, V1 paths do, and both carry the token."""
    with serving(answer(200, {"credit": 1})) as server:
        wati = client_of(server)
        wati.get_credits()
        wati.cancel_scheduled_campaign("abc")
        wati.get_message_by_local_id("0123456789", "14155552671")
    assert [request.path for request in server.requests] == [
        "/api/ext/v3/account/credits",
        "/100001/api/v1/broadcast/deleteScheduledBroadcast/abc",
        "/100001/api/v1/whatsApp/messages/14155552671/0123456789",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
    assert all(
        request.headers["user-agent"].startswith("airflow-provider-wati/") for request in server.requests
    )


def test_path_segments_are_escaped() -> None:
    """What stands in a path cannot break out of its segment."""
    with serving(answer(200, {"id": "1"})) as server:
        wati = client_of(server)
        wati.get_contact(f"My shop/1:{NUMBER}")
        wati.get_template("a/b?c")
    assert [request.path for request in server.requests] == [
        f"/api/ext/v3/contacts/My%20shop%2F1:{NUMBER}",
        "/api/ext/v3/messageTemplates/a%2Fb%3Fc",
    ]


@pytest.mark.parametrize(
    "step",
    [
        answer(200, {"credit": 1}),
        answer(200, raw=b"<html>"),
        answer(400, {"code": 1, "message": f"token {TOKEN} of +{NUMBER}"}),
        answer(401, raw=f"bad token {TOKEN}".encode(), headers={"Content-Type": "text/plain"}),
        answer(403),
        answer(404),
        answer(429, headers={"Retry-After": "0"}),
        answer(500),
        answer(302, headers={"Location": f"https://elsewhere.example/{NUMBER}"}),
        reset,
        stay_silent,
        cut_short,
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda wati: wati.get_contact(NUMBER),
        lambda wati: wati.send_text(NUMBER, "a private text"),
        lambda wati: wati.create_contact(NUMBER, "a private text"),
        lambda wati: list(wati.iter_messages(f"14155552671:{NUMBER}")),
    ],
)
def test_neither_token_nor_number_nor_text_is_logged_or_raised(
    step: Step, call: Callable[[WatiClient], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """No answer brings a token, number or text into a log or an error."""
    caplog.set_level(logging.DEBUG)
    with serving(step) as server:
        wati = client_of(server, max_tries=2)
        with pytest.raises(WatiError) as raised:
            call(wati)
    everything = caplog.text + repr(wati) + repr(wati.__dict__) + repr(wati._transport.__dict__)
    error: BaseException | None = raised.value
    while error is not None:
        everything += repr(error) + repr(vars(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "urllib3" in everything
    for secret in (TOKEN, NUMBER, "14155552671", "a private text"):
        assert secret not in everything


def test_a_closed_port_is_told_without_the_number(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection names the host and not the number."""
    caplog.set_level(logging.DEBUG)
    with closed_port() as port:
        wati = WatiClient(f"http://127.0.0.1:{port}", TOKEN, max_tries=1, rate_limits={"*": None})
        with pytest.raises(
            WatiConnectionError, match=rf"Could not connect to 127.0.0.1:{port}: .*refused"
        ) as raised:
            wati.get_contact(NUMBER)
    assert NUMBER not in caplog.text + repr(raised.value)


def test_a_host_that_does_not_exist_is_told() -> None:
    """A host that does not resolve is a connection error."""
    wati = WatiClient("https://wati.invalid", TOKEN, max_tries=1, rate_limits={"*": None})
    with pytest.raises(WatiConnectionError, match="Could not connect to wati.invalid"):
        wati.get_credits()


def test_a_server_that_says_nothing_ends_the_call() -> None:
    """A call without an answer ends after the read timeout of the client, and the error names its seconds."""
    with serving(stay_silent) as server:
        with pytest.raises(WatiConnectionError, match=r"did not answer GET .* within 0\.2 s"):
            client_of(server, timeout=(30.0, 0.2)).get_credits()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["read", "send"])
def test_a_redirect_is_not_followed(status: int, kind: str) -> None:
    """The API is never followed to another address, where the token would go."""
    with serving(answer(200, {"credit": 1, "message": {}})) as elsewhere:
        with serving(answer(status, headers={"Location": f"{elsewhere.url}/x"})) as server:
            wati = client_of(server)
            with pytest.raises(WatiResponseError, match="redirect to 127.0.0.1, which is not followed"):
                wati.get_credits() if kind == "read" else wati.send_text(NUMBER, "Hello")
    assert len(server.requests) == 1
    assert not elsewhere.requests


def test_one_session_keeps_its_connection() -> None:
    """Calls in a row use one connection."""
    with serving(answer(200, {"credit": 1})) as server:
        wati = client_of(server)
        for _ in range(5):
            wati.get_credits()
    assert {request.connection for request in server.requests} == {1}


@pytest.mark.parametrize(("idle", "connection"), [(19.0, 1), (21.0, 2)])
def test_a_send_takes_a_new_connection_after_idling(idle: float, connection: int) -> None:
    """A send does not risk a connection that the server may have dropped."""
    with serving(answer(200, {"credit": 1, "message": {"id": "1"}})) as server:
        clock = FakeClock()
        wati = client_of(server, clock=clock)
        wati.get_credits()
        clock.advance(idle)
        wati.send_text(NUMBER, "Hello")
    assert [request.connection for request in server.requests] == [1, connection]


def test_the_clients_channel_is_used_where_none_is_named() -> None:
    """The client's channel is the default of every call that takes one."""
    body = {"message": {"id": "1"}, "success": True, "recipients": [{"phone_number": NUMBER}], "result": True}
    with serving(answer(200, body)) as server:
        wati = client_of(server, channel="14155552671")
        wati.send_text(NUMBER, "Hello")
        wati.start_chatbot(NUMBER, "abc")
        wati.send_template_messages("t", "b", [{"target": NUMBER}])
        wati.send_template_messages("t", "b", [{"target": NUMBER}], channel="other")
        wati.get_message_by_local_id("0123456789")
    bodies = [json.loads(request.body) for request in server.requests[:4]]
    assert bodies[0]["target"] == bodies[1]["target"] == f"14155552671:{NUMBER}"
    assert [body["channel"] for body in bodies[2:]] == ["14155552671", "other"]
    assert "/14155552671/0123456789" in server.requests[4].path


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Tue, 03 Nov 2026 06:22:12 GMT", timedelta(minutes=2)),
        ("Tue, 03 Nov 2026 06:19:42 GMT", timedelta(seconds=-30)),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_clocks_are_compared_by_each_answer(date: str | None, offset: timedelta | None) -> None:
    """The client knows how far WATI's clock is ahead of ours once an answer told the time."""
    headers = {} if date is None else {"Date": date}
    with serving(answer(200, {"credit": 1}, headers=headers)) as server:
        wati = client_of(server)
        assert wati.server_clock_offset is None
        wati.get_credits()
    assert wati.server_clock_offset == offset


def test_an_adapter_stands_in_for_the_network() -> None:
    """An adapter that is given carries all requests, and no socket is opened."""

    class Adapter(HTTPAdapter):
        seen: list[str]

        def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
            self.seen.append(str(request.url))
            response = Response()
            response.status_code, response.raw = 200, io.BytesIO(b'{"credit": 5}')
            response.url, response.request = str(request.url), request
            return response

    adapter = Adapter()
    adapter.seen = []
    for endpoint in ("https://wati.invalid", "http://127.0.0.1:1"):
        wati = WatiClient(endpoint, TOKEN, rate_limits={"*": None}, adapter=adapter, clock=FakeClock())
        assert wati.get_credits() == {"credit": 5}
    assert adapter.seen == [
        f"{endpoint}/api/ext/v3/account/credits"
        for endpoint in ("https://wati.invalid", "http://127.0.0.1:1")
    ]


@pytest.mark.parametrize("status", [100, 102, 103, 199])
@pytest.mark.parametrize("count", [1, 3])
def test_interim_answers_are_followed_by_the_answer(status: int, count: int) -> None:
    """The answer after interim ones is the call's, whatever their status, and each call gets its own."""
    interim = (
        f"HTTP/1.1 {status} Wait\r\nLink: </x>; rel=preload\r\nContent-Length: 5\r\n\r\n".encode() * count
    )

    def one(connection: socket.socket) -> bool:
        connection.sendall(interim)
        return answer(200, {"id": "one"})(connection)

    with serving(one, answer(200, {"id": "two"}), one) as server:
        wati = client_of(server)
        got = [wati.get_contact("507f1f77bcf86cd799439011")["id"] for _ in range(3)]
    assert got == ["one", "two", "one"]
    assert {request.connection for request in server.requests} == {1}


def test_a_refusal_after_an_interim_answer_counts() -> None:
    """A 103 before a 400 does not make a cancel succeed."""
    refusal = b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}"
    with serving(raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + refusal)) as server:
        with pytest.raises(WatiBadRequestError):
            client_of(server).cancel_scheduled_campaign("abc")


def test_a_change_of_protocol_is_a_failure() -> None:
    """A 101 is not an answer, and what follows it reaches no other call."""
    switch = raw(b'HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"id":"one"}')
    with serving(switch, answer(200, {"id": "two"})) as server:
        wati = client_of(server)
        with pytest.raises(WatiError):
            wati.get_contact("507f1f77bcf86cd799439011")
        assert wati.get_contact("507f1f77bcf86cd799439012")["id"] == "two"


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_an_answer_too_many_is_nobodys(pause: float) -> None:
    """A second answer to one request, at once or before the next request, is not taken for the answer to that one."""
    one, stray = (
        b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{"id": "%s"}' % (10 + len(id), id)
        for id in (b"one", b"stray")
    )

    def twice(connection: socket.socket) -> bool:
        # At once means in one piece: of two pieces, the second may arrive after the next request has left.
        connection.sendall(one if pause else one + stray)
        if pause:
            time.sleep(pause)
            connection.sendall(stray)
        return True

    with serving(twice, answer(200, {"id": "two"})) as server:
        wati = client_of(server)
        assert wati.get_contact("507f1f77bcf86cd799439011")["id"] == "one"
        time.sleep(5 * pause)
        assert wati.get_contact("507f1f77bcf86cd799439012")["id"] == "two"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 80\r\n\r\n",
        b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_body_that_comes_after_an_answer_without_one_is_nobodys(head: bytes) -> None:
    """Bytes that arrive late, once the next request has left, are not taken for the answer to it."""
    second = threading.Event()

    def without_body(connection: socket.socket) -> bool:
        connection.sendall(head)
        # The next request is on its way before the body comes, so that no look at an idle connection finds it.
        if connection.recv(1, socket.MSG_PEEK):
            second.set()
        return answer(200, {"id": "stray"})(connection)

    with serving(without_body, answer(200, {"id": "two"})) as server:
        wati = client_of(server)
        with pytest.raises(WatiError):
            wati.get_contact("507f1f77bcf86cd799439011")
        assert wati.get_contact("507f1f77bcf86cd799439012")["id"] == "two"
    assert not second.is_set()
    assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize("use", [lambda wati: wati.close(), lambda wati: wati.__exit__()])
def test_a_client_that_is_closed_leaves_no_connection_open(use: Callable[[WatiClient], None]) -> None:
    """The server sees the end of the connection once the client is closed."""
    ended = threading.Event()

    def answer_and_wait(connection: socket.socket) -> bool:
        answer(200, {"credit": 1})(connection)
        if connection.recv(1) == b"":
            ended.set()
        return False

    with serving(answer_and_wait) as server:
        wati = client_of(server)
        wati.get_credits()
        assert not ended.wait(0.2)
        use(wati)
        assert ended.wait(10)


def test_after_a_fork_parent_and_child_have_connections_of_their_own() -> None:
    """A child never reads the answer to a call of its parent."""
    with serving(answer(200, {"credit": 1})) as server:
        wati = client_of(server)
        wati.get_credits()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if wati.get_credits() == {"credit": 1} else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        wati.get_credits()
    assert [request.connection for request in server.requests] == [1, 2, 1]


BROKEN_ANSWERS: dict[str, Step] = {
    "a Location that is not UTF-8": raw(
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\xe9\r\nContent-Length: 0\r\n\r\n"
    ),
    "a Location that is no address": answer(302, headers={"Location": "http://[::1"}),
    "a Location with half a port": answer(302, headers={"Location": "https://a.example:port/x"}),
    "an empty Location": answer(302, headers={"Location": ""}),
    "a Retry-After of the year 99999": answer(
        503, headers={"Retry-After": "Wed, 21 Oct 99999 07:28:00 GMT", "Date": "Wed, 99 Foo 99999 0:0:0 GMT"}
    ),
    "deeply nested JSON": answer(200, raw=b"[" * 1_000_000),
    "deeply nested JSON in an error": answer(400, raw=b'{"message":' * 5_000),
    "a Content-Length of 5,000 digits": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n[]"
    ),
    "a Content-Length of 300 digits": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 300 + b"\r\n\r\n[]"
    ),
    "a negative Content-Length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n[]"),
    "two Content-Lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]"),
    "a status line without a status": raw(b"HTTP/1.1 \r\n\r\n"),
    "a status of 5,000 digits": raw(b"HTTP/1.1 " + b"2" * 5_000 + b" OK\r\n\r\n"),
    "a header of 100 kB": answer(200, [], headers={"X-Large": "x" * 100_000}),
    "1,000 headers": answer(200, [], headers={f"X-{n}": "x" for n in range(1_000)}),
    "a chunk of another size": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n"
    ),
    "a chunk of size -1": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n[]\r\n0\r\n\r\n"),
    "gzip that is none": answer(200, raw=b"not gzip", headers={"Content-Encoding": "gzip"}),
    "twenty encodings": answer(200, raw=b"x", headers={"Content-Encoding": ", ".join(["gzip"] * 20)}),
}


def read_media(wati: WatiClient) -> bytes:
    with wati.get_media("abc") as media:
        return b"".join(media.iter_bytes())


@pytest.mark.parametrize("name", BROKEN_ANSWERS)
@pytest.mark.parametrize(
    "call",
    [
        lambda wati: wati.get_credits(),
        lambda wati: wati.send_text(NUMBER, "Hello"),
        read_media,
    ],
    ids=["read", "send", "media"],
)
def test_a_broken_answer_is_a_typed_error(name: str, call: Callable[[WatiClient], Any]) -> None:
    """Whatever an answer holds, the caller of a JSON call gets a WatiError, and of a file no other error."""
    with serving(BROKEN_ANSWERS[name], hang_up) as server:
        # What a busy machine brings too late is an error, too.
        wati = client_of(server, timeout=(30.0, 0.3))
        try:
            got = call(wati)
        except WatiError:
            return
    # These are no errors of a file, whose content and length may be anything.
    assert isinstance(got, bytes)


def test_a_send_that_draws_a_408_is_ambiguous() -> None:
    """A 408 does not tell whether the request was carried out."""
    with serving(answer(408)) as server, pytest.raises(WatiUnknownOutcomeError):
        client_of(server, max_tries=3).send_text(NUMBER, "Hello")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "sent",
    [
        f"Bearer {TOKEN}\r\n\r\n".encode(),
        b'{"name":"Ada Lovelace"}' * 3_000,
        f"HTTP/1.1 {TOKEN} OK\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}\r\n".encode(),
    ],
    ids=["token", "body", "status", "chunk"],
)
def test_what_is_no_http_is_not_repeated(sent: bytes) -> None:
    """An error holds neither the token nor the words of a server that speaks another protocol."""
    with serving(raw(sent)) as server:
        with pytest.raises(WatiError) as raised:
            client_of(server).count_contacts()
    assert TOKEN not in str(raised.value)
    assert "Ada" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_header_that_cannot_be_read_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 logs the address and all that follows such a header, with a traceback."""
    body = b'{"contact_count": 1}'
    head = (
        b"HTTP/1.1 200 OK\r\nno colon here: Ada\r\nbad header Ada 85264318722\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    caplog.set_level("DEBUG")
    with serving(raw(head + body)) as server:
        with contextlib.suppress(WatiError):
            client_of(server).count_contacts()
    assert "Ada" not in caplog.text
    assert "85264318722" not in caplog.text


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "garbage://127.0.0.1:1", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaves through it, so a send is not ambiguous; the error repeats no password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    client = WatiClient("https://live-mt-server.example.invalid/1", TOKEN, max_tries=1)
    with pytest.raises(WatiConfigurationError, match="proxy") as raised:
        client.send_text(NUMBER, "x")
    assert proxy not in str(raised.value)


def test_cookies_of_a_server_are_not_kept() -> None:
    """A server cannot make each request larger than the one before."""
    steps = [answer(200, {"contact_count": 1}, headers={"Set-Cookie": f"a{n}=b; Path=/"}) for n in range(3)]
    with serving(*steps) as server:
        client = client_of(server)
        for _ in range(3):
            client.count_contacts()
    assert not any("cookie" in request.headers for request in server.requests)
