"""The token shows in no copy, pickle or traceback."""

from __future__ import annotations

import copy
import io
import pickle
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest

from airflow_provider_wati.client import SendHooks, WatiClient
from airflow_provider_wati.client.token import AccessToken
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from tests.support.clients import NUMBER, TOKEN, client_of
from tests.support.clock import FakeClock
from tests.support.scripted_server import answer, reset, serving

COPIES: list[Callable[[Any], Any]] = [pickle.dumps, copy.copy, copy.deepcopy]


def test_a_token_is_hidden_in_every_text_about_it() -> None:
    """Neither the token nor its header shows in a repr, also not in part."""
    token = AccessToken(f" Bearer {TOKEN}\n")
    header = token.header()
    assert token.reveal() == TOKEN
    assert header == f"Bearer {TOKEN}"
    for shown in (
        f"{token}",
        repr(token),
        repr([token]),
        repr({"a": header}),
        repr(header[:12]),
        f"{header[5:]!r}",
    ):
        assert not any(TOKEN[n : n + 5] in shown for n in range(len(TOKEN) - 4))


def test_equal_tokens_are_equal() -> None:
    """Two objects of one token are equal, so that settings can be compared."""
    assert AccessToken(TOKEN) == AccessToken(f"Bearer {TOKEN}")
    assert len({AccessToken(TOKEN), AccessToken(TOKEN)}) == 1
    assert AccessToken(TOKEN) != AccessToken("other")
    assert AccessToken(TOKEN) != TOKEN
    assert AccessToken.of(AccessToken(TOKEN)) == AccessToken.of(TOKEN)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(
    "make", [lambda: AccessToken(TOKEN), lambda: client_of(1), lambda: client_of(1)._transport]
)
def test_a_client_is_neither_pickled_nor_copied(
    copies: Callable[[Any], Any], make: Callable[[], Any]
) -> None:
    """A pickle or a copy of what holds the token is refused with the remedy."""
    with pytest.raises(TypeError, match="neither pickled nor copied.*connection"):
        copies(make())


@pytest.mark.parametrize("text", ["", "Bearer ", f"{TOKEN} {TOKEN}", f"{TOKEN}\n{TOKEN}", f"{TOKEN}é"])
def test_a_text_that_cannot_be_a_token_is_refused_without_showing_it(text: str) -> None:
    """The error about a token shows it neither in its text nor in the variables of our frames."""
    with pytest.raises(WatiConfigurationError) as raised:
        AccessToken(text)
    assert TOKEN not in str(raised.value)
    assert TOKEN not in locals_of(raised.value, below=__file__)


def frames_of(traceback: TracebackType | None, below: str) -> list[Any]:
    """Return the frames of a traceback but for those of one file, which may know the token."""
    frames = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename != below:
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def locals_of(error: BaseException, below: str) -> str:
    """Return the variables of all frames as cgitb shows them, of the errors before this one too."""
    shown = ""
    current: BaseException | None = error
    while current is not None:
        for frame in frames_of(current.__traceback__, below):
            shown += "".join(f"{name}={value!r}\n" for name, value in frame.f_locals.items())
        current = current.__cause__ or current.__context__
    return shown


def rich_locals_of(error: BaseException, max_string: int | None) -> str:
    """Return the traceback with its variables as rich shows it."""
    from rich.console import Console
    from rich.traceback import Traceback

    text = io.StringIO()
    traceback = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_string=max_string,  # type: ignore[arg-type] # None shows all of it
        locals_max_length=1000,
    )
    Console(file=text, width=500).print(traceback)
    return text.getvalue()


def structlog_locals_of(error: BaseException, *, use_rich: bool) -> str:
    """Return the traceback with its variables as structlog shows it in JSON."""
    from structlog.tracebacks import ExceptionDictTransformer

    transform = ExceptionDictTransformer(
        show_locals=True, locals_max_string=40, max_frames=1000, use_rich=use_rich
    )
    return repr(transform((type(error), error, error.__traceback__)))


class _InterruptError(BaseException):
    """Stands for the timeout of a task, which Airflow raises wherever the task is."""


def interrupted(where: str) -> BaseException:
    """Return the error of a call that is interrupted in one of its layers."""

    def interrupt(*_: object, **__: object) -> Any:
        raise _InterruptError

    class Clock(FakeClock):
        armed = False

        def monotonic(self) -> float:
            if self.armed and where in {frame.f_code.co_name for frame in callers()}:
                raise _InterruptError
            return super().monotonic()

    clock = Clock()
    with serving(answer(200, {"message": {"id": "1", "text": "x" * 100_000}})) as server:
        wati = client_of(server, clock=clock)
        clock.armed = True
        hooks = SendHooks(before_send=interrupt if where == "hook" else lambda: True, not_sent=lambda: None)
        try:
            wati.send_text(NUMBER, "Hello", hooks=hooks)
        except _InterruptError as error:
            return without_the_test(error)
    raise AssertionError("nothing was interrupted")


def without_the_test(error: BaseException) -> BaseException:
    """Leave out the frame of the test, whose server has seen the token."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def callers() -> list[Any]:
    frames, frame = [], sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        frames.append(frame)
    return frames


# Not while the headers are on their way: http.client keeps the bytes of the request in a variable for that moment.
@pytest.mark.slow
@pytest.mark.parametrize("where", ["hook", "readinto", "read_body"])
def test_a_traceback_with_variables_shows_no_token(where: str) -> None:
    """Tools that print the variables of a traceback find no token in any layer, those of requests included."""
    error = interrupted(where)
    names = {frame.f_code.co_name for frame in frames_of(error.__traceback__, "")}
    assert where in names | {"hook"}
    assert where != "readinto" or {"urlopen", "_make_request"} <= names
    shown = [rich_locals_of(error, length) for length in (None, 80, 10)]
    shown += [structlog_locals_of(error, use_rich=use_rich) for use_rich in (True, False)]
    shown.append(locals_of(error, below=__file__))
    assert where != "readinto" or "Authorization" in shown[-1]
    for text in shown:
        assert not any(TOKEN[n : n + 8] in text for n in range(len(TOKEN) - 7))


@pytest.mark.parametrize("step", [answer(401), answer(500), reset, answer(200, raw=b"<html>")])
def test_the_errors_of_a_call_show_no_token_in_their_variables(step: Any) -> None:
    """The traceback of an error that a call raises holds no frame with the token."""
    with serving(step) as server:
        wati: WatiClient = client_of(server)
        with pytest.raises(WatiError) as raised:
            wati.send_text(NUMBER, "Hello")
    error = without_the_test(raised.value)
    for text in (locals_of(error, below=__file__), structlog_locals_of(error, use_rich=True)):
        assert TOKEN not in text
