"""What the caller of a send does around each attempt, and when."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_wati.client import SendHooks, WatiClient
from airflow_provider_wati.client.rate_limit import EndpointGroup
from airflow_provider_wati.client.recipients import encode_recipient
from airflow_provider_wati.client.retry import Safety
from airflow_provider_wati.client.transport import Answered, Call
from airflow_provider_wati.client.types import Ambiguous, NotSent
from airflow_provider_wati.exceptions import (
    WatiCallWithdrawnError,
    WatiError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
)
from tests.support.clients import NUMBER, client_of
from tests.support.clock import FakeClock
from tests.support.scripted_server import ScriptedServer, Step, answer, closed_port, reset, serving

GOOD = answer(
    200,
    {
        "id": "1",
        "result": True,
        "success": True,
        "message": {"id": "1"},
        "recipients": [{"phone_number": NUMBER}],
    },
)
LATER = FakeClock().now()

SENDS: dict[str, Callable[..., Any]] = {
    "text": lambda wati, **hooks: wati.send_text(NUMBER, "x", **hooks),
    "file by URL": lambda wati, **hooks: wati.send_file_url(NUMBER, "https://a.example/b.png", **hooks),
    "file": lambda wati, **hooks: wati.send_file(
        NUMBER, io.BytesIO(b"x"), file_name="a.pdf", mime_type="application/pdf", **hooks
    ),
    "buttons": lambda wati, **hooks: wati.send_buttons(NUMBER, "x", ["Yes"], **hooks),
    "list": lambda wati, **hooks: wati.send_list(NUMBER, "x", "c", [{"rows": [{"title": "r"}]}], **hooks),
    "template": lambda wati, **hooks: wati.send_template_messages("t", "c", [{"target": NUMBER}], **hooks),
    "schedule": lambda wati, **hooks: wati.schedule_template_messages(
        "t", "c", [{"target": NUMBER}], LATER, **hooks
    ),
    "chatbot": lambda wati, **hooks: wati.start_chatbot(NUMBER, "abc", **hooks),
    "create": lambda wati, **hooks: wati.create_contact(NUMBER, "Ada", **hooks),
}


class Noted:
    """Hooks that note when they are called, by a clock and by the requests that a server has seen."""

    def __init__(self, clock: FakeClock, server: ScriptedServer, *answers: bool) -> None:
        self.calls: list[tuple[str, float, int]] = []
        self._clock, self._server = clock, server
        self._answers = list(answers)
        self.hooks = SendHooks(before_send=self._before, not_sent=self._not_sent)

    def _note(self, what: str) -> None:
        self.calls.append((what, self._clock.monotonic() - 1000, len(self._server.requests)))

    def _before(self) -> bool:
        self._note("before")
        return self._answers.pop(0) if self._answers else True

    def _not_sent(self) -> None:
        self._note("not sent")


@pytest.mark.parametrize("send", SENDS)
def test_each_attempt_is_announced_after_all_waiting(send: str) -> None:
    """Every method that sends calls its hooks for each attempt, right before it leaves and after each refusal."""
    clock = FakeClock()
    with serving(answer(429, headers={"Retry-After": "7"}), GOOD) as server:
        noted = Noted(clock, server)
        SENDS[send](client_of(server, clock=clock, max_tries=3), hooks=noted.hooks)
    assert noted.calls == [("before", 0, 0), ("not sent", 0, 1), ("before", 7, 1)]


@pytest.mark.parametrize("send", SENDS)
def test_a_call_that_is_withdrawn_never_leaves(send: str) -> None:
    """False before the first attempt means that no request is made, and the error says so."""
    with serving(GOOD) as server:
        noted = Noted(FakeClock(), server, False)
        with pytest.raises(WatiCallWithdrawnError, match="nothing was sent"):
            SENDS[send](client_of(server), hooks=noted.hooks)
    assert not server.requests
    assert [what for what, _, _ in noted.calls] == ["before"]


@pytest.mark.parametrize("send", SENDS)
@pytest.mark.parametrize("error", [RuntimeError("fenced"), WatiRejectedError("ours"), KeyboardInterrupt()])
def test_an_error_before_an_attempt_comes_out_unchanged(send: str, error: BaseException) -> None:
    """What the hook raises is what the caller gets, the very same object, and nothing is sent."""

    def refuse() -> bool:
        raise error

    with serving(GOOD) as server, pytest.raises(type(error)) as raised:
        SENDS[send](
            client_of(server, max_tries=3), hooks=SendHooks(before_send=refuse, not_sent=lambda: None)
        )
    assert raised.value is error
    assert not server.requests


def test_a_call_may_be_withdrawn_between_attempts() -> None:
    """A later attempt can be withdrawn after an earlier one was refused."""
    with serving(answer(429), GOOD) as server:
        noted = Noted(FakeClock(), server, True, False)
        result = client_of(server, max_tries=3).dispatch_template(
            "t", "c", [encode_recipient(NUMBER, {})], hooks=noted.hooks
        )
    assert result == NotSent(None)
    assert len(server.requests) == 1
    assert [what for what, _, _ in noted.calls] == ["before", "not sent", "before"]


@pytest.mark.parametrize(
    ("step", "is_told"),
    [
        (answer(400), True),
        (answer(401), True),
        (answer(429), True),
        (answer(304), True),
        (answer(200, {"result": False, "message": {"id": "1"}}), True),
        (answer(200, {"code": 400, "message": "no"}), True),
        (answer(408), False),
        (answer(500), False),
        (answer(503, headers={"Retry-After": "0"}), False),
        (answer(200, raw=b"<html>"), False),
        (reset, False),
        (GOOD, False),
    ],
)
def test_only_a_certain_failure_is_told(step: Step, is_told: bool) -> None:
    """An attempt is called not sent when it certainly had no effect, never when it is ambiguous or succeeded."""
    with serving(step) as server:
        noted = Noted(FakeClock(), server)
        with contextlib.suppress(WatiError):
            client_of(server).send_text(NUMBER, "x", hooks=noted.hooks)
    assert [what for what, _, _ in noted.calls] == ["before", *(["not sent"] if is_told else [])]


def test_no_connection_is_told_for_each_attempt() -> None:
    """An attempt that never left is called not sent."""
    calls: list[str] = []

    def before() -> bool:
        calls.append("before")
        return True

    hooks = SendHooks(before_send=before, not_sent=lambda: calls.append("not"))
    with closed_port() as port:
        client_of(port, max_tries=2).dispatch_template("t", "c", [encode_recipient(NUMBER, {})], hooks=hooks)
    assert calls == ["before", "not"] * 2


@pytest.mark.parametrize("safety", [Safety.READ, Safety.IDEMPOTENT])
def test_reads_and_idempotent_calls_have_no_hooks(safety: Safety) -> None:
    """Only a call that is not idempotent is announced, even where hooks are handed down with another."""
    with serving(answer(429), answer(200, {"id": "1"})) as server:
        noted = Noted(FakeClock(), server, False)
        wati = client_of(server, max_tries=2)
        call = Call(
            method="GET", url=wati.endpoint.v3("x"), shown="/x", group=EndpointGroup.OTHER, safety=safety
        )
        outcome = wati._transport.outcome(call, lambda answer: answer, noted.hooks)
    assert outcome == Answered({"id": "1"})
    assert noted.calls == []


def test_an_ambiguous_send_is_one_attempt() -> None:
    """A send whose answer is lost is neither repeated nor called not sent."""
    with serving(reset) as server:
        noted = Noted(FakeClock(), server)
        result = client_of(server, max_tries=5).dispatch_template(
            "t", "c", [encode_recipient(NUMBER, {})], hooks=noted.hooks
        )
    assert isinstance(result, Ambiguous)
    assert [what for what, _, _ in noted.calls] == ["before"]


def test_the_pacer_is_waited_for_before_the_hook() -> None:
    """A send that has to wait for WATI's limits is announced only when the wait is over."""
    clock = FakeClock()
    with serving(GOOD) as server:
        noted = Noted(clock, server)
        wati: WatiClient = client_of(
            server, clock=clock, rate_limits={"conversations": [1, 30]}, tenant_id="7"
        )
        wati.send_text(NUMBER, "x", hooks=noted.hooks)
        wati.send_text(NUMBER, "x", hooks=noted.hooks)
    assert [what for what, _, _ in noted.calls] == ["before", "before"]
    assert noted.calls[0][1] == 0
    assert noted.calls[1][1] >= 30


@pytest.mark.parametrize(
    ("error", "said", "not_sent"),
    [
        (TimeoutError("a signal"), "answered .* in a broken way", False),
        (OSError("Input/output error"), "answered .* in a broken way", False),
        (
            OSError("Could not find a suitable TLS CA certificate bundle, invalid path: x"),
            "did not leave",
            True,
        ),
    ],
)
def test_an_error_that_is_not_of_requests_leaves_a_send_ambiguous(
    error: OSError, said: str, not_sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a certificate that is missing is known to be looked for before the call leaves."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with serving(GOOD) as server, client_of(server) as wati:
        noted = Noted(FakeClock(), server)
        monkeypatch.setattr("requests.Session.request", fail)
        with pytest.raises(WatiError, match=said) as raised:
            wati.send_text(NUMBER, "x", hooks=noted.hooks)
    assert isinstance(raised.value, WatiUnknownOutcomeError) is not not_sent
    assert [what for what, *_ in noted.calls] == (["before", "not sent"] if not_sent else ["before"])
