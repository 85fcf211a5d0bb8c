"""The table of what may be sent again, cell by cell, over real sockets."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tenacity import wait_none

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.transport import seconds_until
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiResponseError,
    WatiServerError,
    WatiUnknownOutcomeError,
)
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    closed_port,
    cut_short,
    hang_up,
    reset,
    serving,
    stay_silent,
)

TRIES = 3
ENVELOPE = {"code": 1, "message": "Because of 85264318722", "timestamp": "2026-11-03T06:20:12Z"}

#: One call of each kind and an answer that it takes for success.
KINDS: dict[str, tuple[Callable[[WatiClient], Any], object]] = {
    "read": (lambda wati: wati.get_credits(), {"credit": 1.0}),
    "set": (lambda wati: wati.update_conversation_status("85264318722", "solved"), {"result": True}),
    "set contact": (
        lambda wati: wati.update_contacts([{"target": "85264318722", "custom_params": {"tier": "gold"}}]),
        {"contact_list": []},
    ),
    "set teams": (lambda wati: wati.assign_teams("85264318722", ["Billing"]), {"result": True}),
    "set operator": (lambda wati: wati.assign_operator("85264318722", None), {"result": True}),
    "send text": (lambda wati: wati.send_text("85264318722", "Hello"), {"message": {"id": "1"}}),
    "send template": (
        lambda wati: wati.send_template_messages("t", "b", [{"phone_number": "85264318722"}]),
        {"success": True, "broadcast_id": "1", "recipients": [{"phone_number": "85264318722", "errors": []}]},
    ),
    "start chatbot": (lambda wati: wati.start_chatbot("85264318722", "1"), {"result": True}),
    "create contact": (lambda wati: wati.create_contact("85264318722", "Ada"), {"id": "1"}),
}
READS_AND_SETS = [kind for kind in KINDS if not kind.startswith(("send", "start", "create"))]
SENDS = [kind for kind in KINDS if kind not in READS_AND_SETS]

POSTPONED: dict[str, tuple[Step, type[WatiError]]] = {
    "429": (answer(429), WatiRateLimitError),
    "429 with Retry-After": (answer(429, headers={"Retry-After": "0"}), WatiRateLimitError),
    "503 with Retry-After": (answer(503, headers={"Retry-After": "0"}), WatiServerError),
}
IN_DOUBT: dict[str, tuple[Step, type[WatiError]]] = {
    "read timeout": (stay_silent, WatiConnectionError),
    "reset": (reset, WatiConnectionError),
    "closed without an answer": (hang_up, WatiConnectionError),
    "500": (answer(500, ENVELOPE), WatiServerError),
    "502": (answer(502), WatiServerError),
    "503 without Retry-After": (answer(503), WatiServerError),
    "503 with a Retry-After that is neither": (answer(503, headers={"Retry-After": "soon"}), WatiServerError),
    "504": (answer(504), WatiServerError),
    "200 that is not JSON": (answer(200, raw=b"<html>hello</html>"), WatiResponseError),
    "200 that is empty": (answer(200, raw=b""), WatiResponseError),
    "200 of another shape": (answer(200, ["?"]), WatiResponseError),
    "200 cut short": (cut_short, WatiConnectionError),
}
REFUSED: dict[int, type[WatiError]] = {
    400: WatiBadRequestError,
    401: WatiAuthenticationError,
    403: WatiPermissionError,
    404: WatiNotFoundError,
    409: WatiConflictError,
}


@pytest.fixture
def client_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WatiClient]:
    """A client that does not pause between tries; what it does pause for, the tests of Retry-After measure."""

    def make(server: ScriptedServer | int, **settings: Any) -> WatiClient:
        port = server if isinstance(server, int) else server.port
        client = WatiClient(
            f"http://127.0.0.1:{port}/100001",
            "a-token",
            **{"rate_limits": {"*": None}, "timeout": (1.0, 0.2), "max_tries": TRIES, **settings},
        )
        monkeypatch.setattr(client._transport, "_backoff", wait_none())
        return client

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_success_takes_one_request(kind: str, client_of: Callable[..., WatiClient]) -> None:
    call, success = KINDS[kind]
    with serving(answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_could_not_connect_goes_again_until_the_tries_are_used_up(
    kind: str, client_of: Callable[..., WatiClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with closed_port() as port, pytest.raises(WatiConnectionError, match="Could not connect") as raised:
        KINDS[kind][0](client_of(port))
    assert type(raised.value) is WatiConnectionError
    assert sum("again" in record.message for record in caplog.records) == TRIES - 1


@pytest.mark.parametrize("kind", KINDS)
def test_could_not_connect_succeeds_once_the_server_is_up(
    kind: str, client_of: Callable[..., WatiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, success = KINDS[kind]
    server = ScriptedServer([answer(200, success)])
    with closed_port() as port:
        client = client_of(port, max_tries=50)
    server.port = port
    monkeypatch.setattr(client._transport, "_backoff", lambda state: 0.02)
    threading.Timer(0.2, server.start).start()
    call(client)
    server.stop()
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", POSTPONED)
def test_postponed_goes_again(what: str, kind: str, client_of: Callable[..., WatiClient]) -> None:
    (call, success), (step, _) = KINDS[kind], POSTPONED[what]
    with serving(step, answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", POSTPONED)
def test_postponed_for_ever_is_said_after_the_last_try(
    what: str, kind: str, client_of: Callable[..., WatiClient]
) -> None:
    step, error = POSTPONED[what]
    with serving(step) as server, pytest.raises(error) as raised:
        KINDS[kind][0](client_of(server))
    assert len(server.requests) == TRIES
    assert raised.value.retry_after == (0 if "Retry-After" in what else None)


@pytest.mark.parametrize("kind", READS_AND_SETS)
@pytest.mark.parametrize("what", IN_DOUBT)
def test_in_doubt_goes_again_for_what_is_harmless_twice(
    what: str, kind: str, client_of: Callable[..., WatiClient]
) -> None:
    (call, success), (step, error) = KINDS[kind], IN_DOUBT[what]
    with serving(step, answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 2
    with serving(step) as server, pytest.raises(error) as raised:
        call(client_of(server))
    assert type(raised.value) is error
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("kind", SENDS)
@pytest.mark.parametrize("what", IN_DOUBT)
def test_in_doubt_never_goes_again_for_sends(
    what: str, kind: str, client_of: Callable[..., WatiClient]
) -> None:
    (call, success), (step, _) = KINDS[kind], IN_DOUBT[what]
    with (
        serving(step, answer(200, success)) as server,
        pytest.raises(WatiUnknownOutcomeError, match="look before"),
    ):
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", REFUSED)
def test_refused_never_goes_again(status: int, kind: str, client_of: Callable[..., WatiClient]) -> None:
    call, success = KINDS[kind]
    step = answer(status, ENVELOPE if status in (400, 403) else None)
    with serving(step, answer(200, success)) as server, pytest.raises(REFUSED[status]) as raised:
        call(client_of(server))
    assert len(server.requests) == 1
    assert raised.value.status_code == status
    if status in (400, 403):
        assert raised.value.wati_message == "Because of *******8722"
        assert "Because of *******8722" in str(raised.value)


@pytest.mark.parametrize(
    "header",
    [lambda: "1", lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)],
    ids=["seconds", "date"],
)
def test_retry_after_is_waited_for(header: Callable[[], str], client_of: Callable[..., WatiClient]) -> None:
    with serving(answer(429, headers={"Retry-After": header()}), answer(200, {"credit": 1.0})) as server:
        started = time.monotonic()
        client_of(server).get_credits()
        waited = time.monotonic() - started
    assert len(server.requests) == 2
    # A date has no fractions: two seconds ahead is one to two from now.
    assert 0.9 <= waited < 5


@pytest.mark.parametrize("header", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_retry_after_beyond_what_is_left_is_said_at_once(
    header: str, client_of: Callable[..., WatiClient]
) -> None:
    with serving(answer(429, headers={"Retry-After": header})) as server:
        started = time.monotonic()
        with pytest.raises(WatiRateLimitError) as raised:
            client_of(server).send_text("85264318722", "Hello")
        assert time.monotonic() - started < 1
    assert len(server.requests) == 1
    assert raised.value.retry_after is not None
    assert raised.value.retry_after >= 3600


def test_total_wait_is_bounded(client_of: Callable[..., WatiClient]) -> None:
    with serving(answer(429, headers={"Retry-After": "1"})) as server:
        started = time.monotonic()
        with pytest.raises(WatiRateLimitError):
            client_of(server, max_tries=50, max_seconds=2.5).get_credits()
        waited = time.monotonic() - started
    assert len(server.requests) == 3
    assert waited < 2.5


def test_backoff_grows_and_is_random() -> None:
    client = WatiClient("http://127.0.0.1:1", "a-token")

    class State:
        attempt_number = 1

    def pauses(attempt: int) -> set[float]:
        State.attempt_number = attempt
        return {client._transport._backoff(State()) for _ in range(20)}  # type: ignore[arg-type] # all it reads

    first, fourth = pauses(1), pauses(4)
    assert len(first) > 10
    assert max(first) < min(fourth)
    assert max(pauses(20)) <= 31


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("3", None, 3.0),
        (" 3 ", None, 3.0),
        ("0", None, 0.0),
        ("1.5", None, 1.5),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("-3", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, date: str | None, seconds: float | None) -> None:
    assert seconds_until(header, date) == seconds
