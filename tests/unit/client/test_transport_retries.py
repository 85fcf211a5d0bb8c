"""What is sent again, cell by cell of the retry table, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

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
from tests.support import clients
from tests.support.clock import FakeClock
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

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

TRIES = 3
START = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
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

THROTTLED: dict[str, tuple[Step, type[WatiError]]] = {
    "429": (answer(429), WatiRateLimitError),
    "429 with Retry-After": (answer(429, headers={"Retry-After": "0"}), WatiRateLimitError),
}
AMBIGUOUS: dict[str, tuple[Step, type[WatiError]]] = {
    "read timeout": (stay_silent, WatiConnectionError),
    "reset": (reset, WatiConnectionError),
    "closed without an answer": (hang_up, WatiConnectionError),
    "500": (answer(500, ENVELOPE), WatiServerError),
    "502": (answer(502), WatiServerError),
    "503 without Retry-After": (answer(503), WatiServerError),
    "503 with Retry-After": (answer(503, headers={"Retry-After": "0"}), WatiServerError),
    "408": (answer(408), WatiConnectionError),
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
    300: WatiResponseError,
    304: WatiResponseError,
    413: WatiBadRequestError,
}


def client_of(server: ScriptedServer | int, **settings: Any) -> WatiClient:
    return clients.client_of(server, **{"max_tries": TRIES, **settings})


@pytest.mark.parametrize("kind", KINDS)
def test_success_takes_one_request(kind: str) -> None:
    """A call that succeeds goes out once."""
    call, success = KINDS[kind]
    with serving(answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_could_not_connect_goes_again_until_the_attempts_are_used_up(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that never left is repeated to the last attempt, sends included."""
    caplog.set_level(logging.WARNING)
    with closed_port() as port, pytest.raises(WatiConnectionError, match="Could not connect") as raised:
        KINDS[kind][0](client_of(port))
    assert type(raised.value) is WatiConnectionError
    assert sum("again" in record.message for record in caplog.records) == TRIES - 1


class OpensLater(FakeClock):
    """Starts the server of a test in the second pause."""

    server: ScriptedServer

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.sleeps) == 2:
            self.server.start()


@pytest.mark.parametrize("kind", KINDS)
def test_could_not_connect_succeeds_once_the_server_is_up(kind: str) -> None:
    """A call that never left goes out once there is a server."""
    call, success = KINDS[kind]
    clock = OpensLater()
    clock.server = ScriptedServer([answer(200, success)])
    with closed_port() as port:
        client = client_of(port, clock=clock)
    clock.server.port = port
    call(client)
    clock.server.stop()
    assert len(clock.server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", THROTTLED)
def test_throttled_goes_again(what: str, kind: str) -> None:
    """A 429 is repeated, for sends too."""
    (call, success), (step, _) = KINDS[kind], THROTTLED[what]
    with serving(step, answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", THROTTLED)
def test_throttled_for_ever_is_said_after_the_last_attempt(what: str, kind: str) -> None:
    """A 429 to the end is a rate limit error with the wait that WATI asked for."""
    step, error = THROTTLED[what]
    with serving(step) as server, pytest.raises(error) as raised:
        KINDS[kind][0](client_of(server))
    assert len(server.requests) == TRIES
    assert raised.value.retry_after == (0 if "Retry-After" in what else None)


@pytest.mark.parametrize("kind", READS_AND_SETS)
@pytest.mark.parametrize("what", AMBIGUOUS)
def test_ambiguous_goes_again_for_what_is_harmless_twice(what: str, kind: str) -> None:
    """Reads and idempotent calls are repeated after an ambiguous failure."""
    (call, success), (step, error) = KINDS[kind], AMBIGUOUS[what]
    with serving(step, answer(200, success)) as server:
        call(client_of(server))
    assert len(server.requests) == 2
    with serving(step) as server, pytest.raises(error) as raised:
        call(client_of(server))
    assert type(raised.value) is error
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("kind", SENDS)
@pytest.mark.parametrize("what", AMBIGUOUS)
def test_ambiguous_never_goes_again_for_sends(what: str, kind: str) -> None:
    """A send is never repeated after an ambiguous failure."""
    (call, success), (step, _) = KINDS[kind], AMBIGUOUS[what]
    with (
        serving(step, answer(200, success)) as server,
        pytest.raises(WatiUnknownOutcomeError, match="look before"),
    ):
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", REFUSED)
def test_refused_never_goes_again(status: int, kind: str) -> None:
    """A refusal is final, and its error has WATI's words."""
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
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": format_datetime(START + timedelta(seconds=9), usegmt=True)}, 9.0),
        (
            {
                "Retry-After": format_datetime(START + timedelta(seconds=9), usegmt=True),
                "Date": format_datetime(START + timedelta(seconds=5), usegmt=True),
            },
            4.0,
        ),
    ],
    ids=["seconds", "date", "date by WATI's clock"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(headers: dict[str, str], seconds: float, status: int) -> None:
    """A read waits just as long as WATI asks to, after a 429 and after a 503."""
    clock = FakeClock(START)
    with serving(answer(status, headers=headers), answer(200, {"credit": 1.0})) as server:
        client_of(server, clock=clock).get_credits()
    assert len(server.requests) == 2
    assert clock.sleeps == [seconds]


def test_a_503_with_retry_after_is_never_repeated_for_a_send() -> None:
    """WATI documents a 5xx on a write as unknown, so a time to come back does not make a send safe to repeat."""
    step = answer(503, headers={"Retry-After": "7"})
    with serving(step) as server, pytest.raises(WatiUnknownOutcomeError) as raised:
        client_of(server).send_text("85264318722", "Hello")
    assert len(server.requests) == 1
    assert raised.value.retry_after == 7


@pytest.mark.parametrize("header", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_retry_after_beyond_what_is_left_is_said_at_once(header: str) -> None:
    """A wait that would exceed the time of the call ends it without a pause, and the error names the wait."""
    clock = FakeClock()
    with serving(answer(429, headers={"Retry-After": header})) as server:
        with pytest.raises(WatiRateLimitError) as raised:
            client_of(server, clock=clock).send_text("85264318722", "Hello")
    assert len(server.requests) == 1
    assert clock.sleeps == []
    assert raised.value.retry_after is not None
    assert raised.value.retry_after >= 3600


def test_a_retry_after_that_cannot_be_read_is_none() -> None:
    """A date beyond all years leaves the usual backoff, not a crash."""
    clock = FakeClock()
    header = {"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}
    with serving(answer(429, headers=header), answer(200, {"credit": 1.0})) as server:
        client_of(server, clock=clock).get_credits()
    assert len(clock.sleeps) == 1
    assert 1 <= clock.sleeps[0] <= 2


def test_total_wait_is_bounded() -> None:
    """All attempts of a call together end before its time is over."""
    clock = FakeClock()
    with serving(answer(429, headers={"Retry-After": "1"})) as server:
        with pytest.raises(WatiRateLimitError):
            client_of(server, clock=clock, max_tries=50, max_seconds=2.5).get_credits()
    assert len(server.requests) == 3
    assert clock.sleeps == [1.0, 1.0]


def test_backoff_grows_and_is_random() -> None:
    """Pauses without a Retry-After double up to half a minute, and no two clients pause alike."""

    def pauses() -> list[float]:
        clock = FakeClock()
        with serving(answer(429)) as server, pytest.raises(WatiRateLimitError):
            client_of(server, clock=clock, max_tries=8, max_seconds=1000).get_credits()
        return clock.sleeps

    first, second = pauses(), pauses()
    assert first != second
    for pause, least in zip(first, (1, 2, 4, 8, 16, 30, 30), strict=True):
        assert least <= pause <= min(least + 1, 31)
