"""Names and types of media files, which the sender of a file chooses."""

from __future__ import annotations

import requests
from hypothesis import strategies as st

from airflow_provider_wati.client.media import Media
from airflow_provider_wati.operators._files import name_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import in_pieces, texts

_LONGEST_NAME = 255
_latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)
_names = st.tuples(
    st.one_of(
        st.none(),
        _latin,
        in_pieces(
            "attachment inline ; ; filename= filename= filename*= filename*0= filename*1*= utf-8'' idna'' utf-16'' x-none'' '' %ED%A0%BD %00 "
            "%2e%2e%2f %F0%9F%98%80 a.pdf .pdf .. . / \\ \" \" CON $(id) =?utf-8?b?4pyT?= \u00e9 \u0085 "
            + "x" * 300
            + " "
            + "%C3%A9" * 100,
            " ",
        ),
    ),
    st.one_of(st.none(), _latin, in_pieces("image/png text/plain ; / charset= x \"", " ")),
    st.one_of(texts.filter(bool), st.just("66b1fb043e55a6e000000001")),
)  # fmt: skip


def _feed(given: tuple[str | None, str | None, str]) -> None:
    """Read the headers of a file, and make the name that it is stored under."""
    disposition, content_type, message_id = given
    response = requests.Response()
    for header, value in (("Content-Disposition", disposition), ("Content-Type", content_type)):
        if value is not None:
            response.headers[header] = value
    name = name_of(Media(response), message_id)
    assert name not in ("", ".", ".."), "no name of a file"
    assert not set(name) & set("/\\\0\r\n"), "a path, or more than one line"
    assert len(name.encode()) <= _LONGEST_NAME, "too long for a file system"


SURFACE = Surface(name="media names", inputs=_names, feed=_feed, batch=40)
