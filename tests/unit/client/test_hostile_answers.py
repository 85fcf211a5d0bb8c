"""Whatever WATI answers, each method of the client gives a result or raises a typed error."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from tests.support.client_calls import CALLS, public_methods
from tests.support.clients import client_of
from tests.support.scripted_server import ScriptedServer, answer, serving

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

_HALF = "Ada \ud83d"
#: Stand for JSON that no encoder writes.
_DEEP, _DEEPER, _DIGITS = "<nested 300 deep>", "<nested 5000 deep>", "<5000 digits>"
HOSTILE: list[Any] = [
    None,
    [],
    {},
    "",
    "no such text",
    _HALF,
    {_HALF: _HALF},
    0,
    -1,
    7,
    10**300,
    1.5,
    float("nan"),
    float("inf"),
    True,
    False,
    [None, None],
    [[]],
    [7, "x", {}],
    {"id": {"id": []}},
    _DEEP,
    _DEEPER,
    _DIGITS,
]
#: Bodies that are not JSON in UTF-8.
RAW = [
    b"",
    b" ",
    b"{",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b'{"id": "\xed\xa0\xbd", "contact_list": [{"id": "\xe9"}]}',
    "{}".encode("utf-16"),
    b"<html>Bad gateway</html>",
]


def body_of(value: Any) -> bytes:
    text = json.dumps(value)
    for stand_in, depth in ((_DEEP, 300), (_DEEPER, 5000)):
        text = text.replace(f'"{stand_in}"', '{"a":[' * (depth // 2) + "]}" * (depth // 2))
    return text.replace(f'"{_DIGITS}"', "9" * 5000).encode()


def variants(good: Any) -> Iterator[Any]:
    """Yield a good answer with each of its values in turn replaced by each hostile one, at each level."""
    yield from HOSTILE
    if isinstance(good, (dict, list)):
        for key in good if isinstance(good, dict) else range(len(good)):
            for part in variants(good[key]):
                changed = copy.copy(good)
                changed[key] = part
                yield changed
        if isinstance(good, dict):
            for key in good:
                yield {name: value for name, value in good.items() if name != key}


def result_of(name: str, wati: WatiClient, server: ScriptedServer) -> Any:
    """Call a method; an iterator is read to its end, which comes within a few pages."""
    before = len(server.requests)
    found = CALLS[name][0](wati)
    if name.startswith("iter_"):
        found = list(islice(found, 1000))
        assert len(found) < 1000
    assert len(server.requests) <= before + 3
    return found


def assert_usable(result: Any) -> None:
    """Check that a result has no half of a character and is not nested so deeply that it cannot be written."""
    if isinstance(result, bytes):
        return
    plain = json.loads(json.dumps(result, default=_plain, ensure_ascii=False).encode())
    assert "\ud83d" not in str(plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    assert isinstance(value, WatiError)
    return str(value)


def test_each_method_has_a_call() -> None:
    """The table calls every public method, and each succeeds with its good answer."""
    assert set(CALLS) == public_methods()
    with serving(answer(200, {})) as server:
        wati = client_of(server)
        for name, (_, good) in CALLS.items():
            server.script[:] = [answer(200, good)]
            assert_usable(result_of(name, wati, server))


@pytest.mark.parametrize("name", CALLS)
def test_each_answer_is_a_result_or_a_typed_error(name: str) -> None:
    """No value at any level of an answer raises another error than a WatiError, and no list goes on for ever."""
    bodies = [*map(body_of, variants(CALLS[name][1])), *RAW]
    with serving(answer(200, {})) as server:
        wati = client_of(server)
        for body in bodies:
            server.script[:] = [answer(200, raw=body)]
            try:
                assert_usable(result_of(name, wati, server))
            except WatiError as error:
                str(error).encode()
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} for {body[:200]!r}") from error


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_each_error_body_is_a_typed_error(status: int, name: str) -> None:
    """The body of an error answer may be anything: the error stays typed."""
    with serving(answer(200, {})) as server:
        wati = client_of(server)
        for body in (*map(body_of, [*HOSTILE, *({"message": each} for each in HOSTILE)]), *RAW):
            server.script[:] = [answer(status, raw=body)]
            try:
                result_of(name, wati, server)
            except WatiError as error:
                str(error).encode()
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} for {body[:200]!r}") from error
            else:
                assert name == "dispatch_template"
