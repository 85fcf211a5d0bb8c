"""Files come from WATI whole, by whatever way."""

from __future__ import annotations

import pytest

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
    serving,
)


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
