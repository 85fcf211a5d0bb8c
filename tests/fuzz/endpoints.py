"""API endpoints, tenants and tokens as they are pasted into a connection."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st

from airflow_provider_wati.client.endpoint import Endpoint
from airflow_provider_wati.client.token import AccessToken
from airflow_provider_wati.exceptions import WatiError
from tests.fuzz.harness import Surface
from tests.fuzz.odd import in_pieces, texts

_HOSTS = (
    "live-mt-server.wati.io", "localhost", "127.0.0.1", "[::1]", "[::1", "::1", "xn--", "a..b", "a b", "\u2100", "\uff0f", "user:secret@localhost",
    "%6c", "",
)  # fmt: skip
_PATHS = (
    "/123456",
    "/123456",
    "123456",
    "/",
    "//",
    "/..",
    "/api",
    "/api/v1",
    "/api/ext/v3",
    "/\u0661",
    "/%2f",
    "/eyJhbGciOi",
    "?a",
    "#a",
    ";a",
    "\n",
)
#: Three parts of an address, each mostly right.
_addresses = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(
        ("https://", "https://", "http://", "", "//", "ftp://", "HTTPS://", "https:", " https://")
    ),
    st.one_of(st.sampled_from(_HOSTS[:4]), st.sampled_from(_HOSTS), texts),
    st.sampled_from(("", "", "", ":443", ":99999", ":x", ":-1", ":\u0661", ":")),
    st.lists(st.sampled_from(_PATHS), max_size=3).map("".join),
)
_endpoints = st.tuples(
    st.one_of(_addresses, _addresses, texts),
    st.one_of(st.none(), st.just("123456"), in_pieces("1 23 0 - . e5 \u0661 \u00b2 /", " "), texts),
)


def _feed(pasted: tuple[str, str | None]) -> None:
    """Read an endpoint, and build the addresses of calls."""
    text, tenant = pasted
    with contextlib.suppress(WatiError):
        assert AccessToken(text).reveal().isascii()
    endpoint = Endpoint.parse(text, tenant)
    for address in (endpoint.v3("contacts"), endpoint.v1("contacts") if endpoint.tenant_id else ""):
        parts: Any = urlsplit(address)
        assert parts.username is None, "the token would go to the host after the @"
        parts.port  # it raises where there is no such port
        assert address.isascii(), "no address of HTTP"


SURFACE = Surface(name="endpoints", inputs=_endpoints, feed=_feed, batch=40)
