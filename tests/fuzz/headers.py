"""Headers of answers: times to wait, dates, redirects, types, lengths, encodings."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from airflow_provider_wati.exceptions import WatiError
from tests.fuzz.answers import CannedAnswer, CannedAnswers, client_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import in_pieces, texts

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

_PHONE = "85264318722"
_ZIPPED = gzip.compress(b'{"id": "a"}', mtime=0)

_adapter = CannedAnswers()
_client = client_of(_adapter)

#: What HTTP's parser lets through: Latin-1, no end of line.
_latin = texts.map(lambda text: "".join(c for c in text if c not in "\r\n\0" and ord(c) < 256))
_dates = in_pieces(
    "Tue, Tue 03 31 Feb Nov 2026 0000 9999 99999 06:20:12 25:61:61 GMT +9999 -0000 EST , (", " "
)
_values: dict[str, Any] = {
    "Retry-After": st.one_of(in_pieces("1 0 30 . 5 e9 - 99999999999999999999 1e309 \u00b2"), _dates, _latin),
    "Date": st.one_of(_dates, _latin),
    "Location": st.one_of(
        in_pieces("https:// http:// // / localhost:9 evil.example [ ] ::1 :99999 @ ? # \u00ff %zz ..", " "), _latin
    ),
    "Content-Type": st.one_of(in_pieces("application/json text/plain image/png ; charset= utf-8 idna x \" = '' *", " "), _latin),
    "Content-Disposition": st.one_of(
        in_pieces("attachment inline ; filename= filename*= filename*0*= utf-8'' idna'' x'y' %ED%A0%BD a.pdf \" .. / =?utf-8?q?a?=", " "),
        _latin,
    ),
    "Content-Length": st.one_of(in_pieces("0 1 11 - + 9999999999 , \u00b2 x", " "), st.just("9" * 5_000), _latin),
    "Content-Encoding": st.one_of(in_pieces("gzip deflate br zstd identity x ,", " "), _latin),
    "Transfer-Encoding": st.one_of(in_pieces("chunked gzip ,", " "), _latin),
    "Set-Cookie": st.one_of(in_pieces("a= b ; Domain= localhost Expires= Max-Age= 9999999999 Path= / , \"", " "), _latin),
    "Link": _latin,
}  # fmt: skip
_headers = st.lists(
    st.one_of(*(st.tuples(st.just(name), values) for name, values in _values.items())), max_size=4
).map(tuple)
_answers = st.builds(
    CannedAnswer,
    st.sampled_from((200, 200, 206, 301, 302, 307, 308, 400, 401, 429, 500, 503, 103)),
    _headers,
    st.sampled_from((b'{"id": "a", "message": {"id": "b"}}', b"", b"x", _ZIPPED, _ZIPPED[:12])),
)


def _get_media(wati: WatiClient) -> None:
    with wati.get_media("66b1fb043e55a6e000000001") as media:
        assert media.size is None or media.size >= 0
        assert media.file_name is None or media.file_name.encode("utf-8", "surrogatepass")
        for _ in media.iter_bytes(16):
            pass


_CALLS: tuple[Callable[[WatiClient], object], ...] = (
    lambda wati: wati.get_contact(_PHONE),
    lambda wati: wati.send_text(_PHONE, "Hi"),
    _get_media,
)


def _feed(answers: list[CannedAnswer]) -> None:
    """Make a read, a send and a download, each with these answers."""
    for make in _CALLS:
        _adapter.start(answers)
        with contextlib.suppress(WatiError):
            make(_client)


SURFACE = Surface(
    name="headers",
    inputs=st.lists(_answers, min_size=1, max_size=2),
    feed=_feed,
    batch=10,
    size=lambda answers: len(_CALLS),
    share=2.0,
)
