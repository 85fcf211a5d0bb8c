"""Bodies that no answer could be made of: refused, and the sandbox goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.sandbox.conftest import Caller

from tests.unit.sandbox.conftest import ADA, BEN, PAGE

JSON = {"Content-Type": "application/json"}
TEXT = "/conversations/messages/text"


@pytest.fixture
def wati(start_sandbox: Any) -> Caller:
    """A sandbox without the check against the contract, which forbids what is sent here."""
    caller: Caller = start_sandbox()
    return caller


def half(value: str) -> bytes:
    """Return JSON in which X is half of an emoji."""
    return value.replace("X", "\\ud83d").encode()


HALVES = [
    ("POST", TEXT, f'{{"target": "{ADA}", "text": "X"}}'),
    ("POST", TEXT, f'{{"target": "{ADA}", "text": "a", "X": 1}}'),
    ("POST", TEXT, '{"target": "X", "text": "a"}'),
    ("POST", "/contacts", '{"whatsapp_number": "12025550190", "name": "X"}'),
    (
        "POST",
        "/messageTemplates/send",
        f'{{"template_name": "order_update", "broadcast_name": "X", "recipients": [{{"phone_number": "{ADA}"}}]}}',
    ),
    ("POST", "/conversations/messages/fileViaUrl", f'{{"target": "{ADA}", "file_url": "https://x/X"}}'),
]


@pytest.mark.parametrize(("method", "path", "body"), HALVES)
def test_half_a_character_is_refused(method: str, path: str, body: str, wati: Caller) -> None:
    """Half of an emoji is a 400 with JSON, and everything else goes on."""
    response = wati(method, path, data=half(body), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, 400)
    wati.assert_works()


def test_a_whole_emoji_is_taken(wati: Caller) -> None:
    """Both halves of an emoji are a character, also when they are written as escapes."""
    body = b'{"target": "%s", "text": "\\ud83d\\ude00 \\\\ud83d"}' % ADA.encode()
    assert wati("POST", TEXT, data=body, headers=JSON).status_code == 200
    assert wati.texts_to(ADA) == ["\U0001f600 \\ud83d"]
    wati.assert_works()


NOT_JSON = {
    "nested": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested arrays": b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "surrogate in UTF-8": b'{"target": "1", "text": "\xed\xa0\xbd"}',
    "not UTF-8": b'{"target": "1", "text": "\xff"}',
    "infinite": b'{"target": 1e999}',
    "NaN": b'{"target": NaN}',
    "long number": b'{"target": ' + b"9" * 10_000 + b"}",
    "cut": b'{"target": ',
    "empty": b"",
    "array": b"[]",
    "NUL": b"\x00",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("path", ["/api/ext/v3" + TEXT, "/_sandbox/inbound", "/_sandbox/faults"])
def test_what_is_no_json_object_is_refused(path: str, body: bytes, wati: Caller) -> None:
    """Deep nesting, infinite numbers and torn JSON are a 400 with JSON, of the API and of the controls."""
    response = wati.session.post(f"{wati.server.url}{path}", data=body, headers=JSON, timeout=20)
    assert (response.status_code, response.json()["code"]) == (400, 400)
    wati.assert_works()


PART = b'--b\r\nContent-Disposition: form-data; name="target"\r\n\r\n%s\r\n' % ADA.encode()
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ndata\r\n'
MULTIPART = {
    "no boundary": ("multipart/form-data", PART + FILE + b"--b--\r\n"),
    "empty boundary": ("multipart/form-data; boundary=", PART + FILE + b"--b--\r\n"),
    "another boundary": ("multipart/form-data; boundary=c", PART + FILE + b"--b--\r\n"),
    "cut in a header": ("multipart/form-data; boundary=b", PART + FILE[:40]),
    "no name": (
        "multipart/form-data; boundary=b",
        b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n",
    ),
    "no disposition": ("multipart/form-data; boundary=b", b"--b\r\n\r\n1\r\n--b--\r\n"),
    "garbage": ("multipart/form-data; boundary=b", b"\x00\xff" * 100),
    "empty": ("multipart/form-data; boundary=b", b""),
    "charset idna": (
        "multipart/form-data; boundary=b; charset=idna",
        PART.replace(b"1", b".\xff") + b"--b--\r\n",
    ),
    "charset of half characters": (
        "multipart/form-data; boundary=b; charset=unicode_escape",
        PART + FILE + b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\n\\ud83d\r\n--b--\r\n',
    ),
}


@pytest.mark.parametrize(("content_type", "body"), MULTIPART.values(), ids=MULTIPART)
def test_a_damaged_upload_is_refused_with_json(content_type: str, body: bytes, wati: Caller) -> None:
    """Multipart that cannot be read is a 400 with JSON."""
    path = "/conversations/messages/file"
    response = wati("POST", path, data=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"]) == (400, 400)
    wati.assert_works()


@pytest.mark.parametrize("page", [{}, {"page_number": 1}, {"page_size": 10}, {"pageSize": 3}])
@pytest.mark.parametrize(
    "path", ["/contacts", "/messageTemplates", "/broadcasts", "/channels", f"/conversations/{ADA}/messages"]
)
def test_a_page_that_is_not_named_is_the_first(path: str, page: dict[str, int], wati: Caller) -> None:
    """A page number or size that is missing takes its default, as WATI answers clients that omit them."""
    response = wati("GET", path, params=page)
    assert response.status_code == 200
    assert response.json() == wati("GET", path, params={"page_number": 1, "page_size": 10}).json()


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_the_ends_of_the_calendar_break_nothing(moment: str, wati: Caller) -> None:
    """A schedule at the first or last moment that a date can name is answered, listed and shown."""
    response = wati.send_template(ADA, scheduled_at=moment)
    assert response.status_code in (200, 400)
    if response.status_code == 200:
        [row] = wati("GET", "/broadcasts", params=PAGE).json()["broadcasts"]
        assert row["scheduled_at"][:4] == moment[:4]
    assert (
        wati("GET", "/broadcasts", params=PAGE | {"date_from": moment, "date_to": moment}).status_code < 500
    )
    wati.assert_works()


@pytest.mark.parametrize("year", [1, 9999])
def test_the_clock_may_be_at_the_end_of_the_calendar(year: int, wati: Caller) -> None:
    """A clock in the first or the last year breaks neither the page nor the API, and goes no further."""
    wati.advance((datetime(year, 7, 1, tzinfo=UTC) - datetime.now(UTC)).total_seconds())
    assert wati.send_template(BEN).status_code == 200
    further = wati.session.post(
        f"{wati.server.url}/_sandbox/clock", json={"advance": -1e8 if year == 1 else 1e8}, timeout=60
    )
    assert (further.status_code, "years 1 to 9999" in further.text) == (400, True)
    assert wati.control("GET", "/clock")["now"][:4] == f"{year:04}"
    wati.assert_works()
