"""Files come from WATI whole, by whatever way."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.transport import is_within, redirect_target
from airflow_provider_wati.exceptions import (
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiResponseError,
)
from tests.support.clients import TOKEN, client_of
from tests.support.scripted_server import (
    Step,
    answer,
    cut_short,
    raw,
    serving,
)
from tests.unit.client.test_tls import self_signed_certificate


def test_media_follows_a_redirect_and_leaves_the_token_behind() -> None:
    """A file is fetched from another host without the token."""
    with serving(answer(200, raw=b"picture")) as elsewhere:
        with serving(answer(302, headers={"Location": f"{elsewhere.url}/signed"})) as server:
            with client_of(server).get_media("abc") as media:
                assert b"".join(media.iter_bytes()) == b"picture"
    assert "authorization" in server.requests[0].headers
    assert elsewhere.requests[0].path == "/signed"
    assert "authorization" not in elsewhere.requests[0].headers


def test_media_within_the_host_keeps_the_token() -> None:
    """A redirect within the host keeps the token."""
    with serving(answer(307, headers={"Location": "/other"}), answer(200, raw=b"picture")) as server:
        with client_of(server).get_media("abc") as media:
            assert b"".join(media.iter_bytes()) == b"picture"
    assert [request.headers.get("authorization") for request in server.requests] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([answer(302, headers={"Location": "http://elsewhere.example/x"})], WatiResponseError),
        ([answer(302, headers={"Location": "/again"})], WatiResponseError),
        ([answer(404)], WatiNotFoundError),
    ],
)
def test_media_that_cannot_be_had(steps: list[Step], error: type[WatiError]) -> None:
    """A file that cannot be fetched is a typed error after at most five requests."""
    with serving(*steps) as server, pytest.raises(error):
        with client_of(server).get_media("abc"):
            pytest.fail("there is nothing to read")
    assert len(server.requests) <= 5


def test_media_cut_short_is_an_error_not_a_short_file() -> None:
    """A file that breaks off raises."""
    with serving(cut_short) as server, client_of(server).get_media("abc") as media:
        with pytest.raises(WatiConnectionError, match="broke off"):
            list(media.iter_bytes())


@pytest.mark.parametrize(
    ("headers", "name", "kind"),
    [
        ({"Content-Disposition": 'attachment; filename="a photo.jpg"', "Content-Type": "image/jpeg"}, "a photo.jpg", "image/jpeg"),
        ({"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.png"}, "café.png", "application/octet-stream"),
        ({"Content-Disposition": 'attachment; filename="../../etc/passwd"'}, "../../etc/passwd", "application/octet-stream"),
        (
            {"Content-Disposition": "attachment; filename=\"_.pdf\"; filename*=UTF-8''%E7%99%BC.pdf"},
            "發.pdf",
            "application/octet-stream",
        ),
        ({}, None, "application/octet-stream"),
    ],
)  # fmt: skip
def test_media_tells_name_type_and_size(headers: dict[str, str], name: str | None, kind: str) -> None:
    """Name, type and size come from the headers as they are."""
    with serving(answer(200, raw=b"12345", headers=headers)) as server:
        with client_of(server).get_media("abc") as media:
            assert (media.file_name, media.content_type, media.size) == (name, kind, 5)


ENDPOINT, LOCAL = "https://wati.example", "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("base_url", "location", "target"),
    [
        (ENDPOINT, "https://cdn.example/x", "https://cdn.example/x"),
        (ENDPOINT, "/x", "https://wati.example/x"),
        (ENDPOINT, "//cdn.example/x", "https://cdn.example/x"),
        (ENDPOINT, "http://cdn.example/x", None),
        (ENDPOINT, "http://127.0.0.1:8080/admin", None),
        (ENDPOINT, "http://localhost/admin", None),
        (ENDPOINT, "http://[::1]/admin", None),
        (ENDPOINT, "http://wati.example/x", None),
        (ENDPOINT, "file:///etc/passwd", None),
        (ENDPOINT, "ftp://cdn.example/x", None),
        (ENDPOINT, "http://[::1", None),
        (ENDPOINT, "https://cdn.example:port/x", None),
        (ENDPOINT, "https://cdn.example/\x85", None),
        (LOCAL, "/x", f"{LOCAL}/x"),
        (LOCAL, "http://localhost:9000/x", "http://localhost:9000/x"),
        (LOCAL, "https://cdn.example/x", "https://cdn.example/x"),
        (LOCAL, "http://cdn.example/x", None),
    ],
)
def test_where_a_redirect_may_lead(base_url: str, location: str, target: str | None) -> None:
    """A file is fetched over https only; a plain http endpoint, which is this machine, may lead to itself."""
    assert redirect_target(f"{base_url}/file", location, base_url) == target


def test_the_token_stays_within_the_endpoint() -> None:
    """Another scheme, port, user or host is another place."""
    assert is_within("https://wati.example/x", ENDPOINT)
    for other in (
        "http://wati.example/x",
        "https://wati.example:444/x",
        "https://u@wati.example/x",
        "https://a.example",
    ):
        assert not is_within(other, ENDPOINT)


def test_a_redirect_that_is_not_followed_is_one_request() -> None:
    """A redirect into plain http is refused without another attempt, and the error names its host."""
    with serving(answer(302, headers={"Location": "http://elsewhere.example/x"})) as server:
        with pytest.raises(WatiResponseError, match="redirect to elsewhere.example, which is not followed"):
            with client_of(server, max_tries=3).get_media("abc"):
                pytest.fail("there is nothing to read")
    assert len(server.requests) == 1


def test_an_https_endpoint_never_leads_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect from https to plain http on loopback reaches no server of this machine."""
    certificate, key = self_signed_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(answer(200, raw=b"secret")) as inside:
        with serving(answer(302, headers={"Location": f"{inside.url}/admin"}), tls=context) as server:
            wati = WatiClient(
                f"https://localhost:{server.port}", TOKEN, rate_limits={"*": None}, verify=str(certificate)
            )
            with pytest.raises(WatiResponseError, match="not followed"):
                with wati.get_media("abc"):
                    pytest.fail("there is nothing to read")
    assert not inside.requests


def test_a_file_that_says_it_is_too_large_is_not_begun() -> None:
    """A file of more than 100 MB by its length is refused before its first byte."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 104857601\r\n\r\n"
    with serving(raw(head + b"x")) as server, client_of(server).get_media("abc") as media:
        with pytest.raises(WatiResponseError, match="larger than 100 MB"):
            next(media.iter_bytes())


@pytest.mark.parametrize("length", ["9" * 5_000, "9" * 16, "five", "-5"])
def test_a_length_that_is_none_is_not_known(length: str) -> None:
    """A Content-Length that cannot be one gives no size and no error by itself."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with serving(raw(head + b"12345")) as server, client_of(server).get_media("abc") as media:
        assert media.size is None
