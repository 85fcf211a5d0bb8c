"""Uploads arrive whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.client.multipart import MultipartUpload
from airflow_provider_wati.exceptions import WatiUnknownOutcomeError, WatiValidationError
from tests.support.clients import NUMBER, client_of
from tests.support.scripted_server import (
    answer,
    serving,
)


def test_an_upload_arrives_whole_and_again_after_a_refusal() -> None:
    """An upload is read from its start for each attempt and arrives byte by byte."""
    content = bytes(range(256)) * 1000
    file = io.BytesIO(b"skipped" + content)
    file.seek(7)
    with serving(answer(429, headers={"Retry-After": "0"}), answer(200, {"message": {"id": "1"}})) as server:
        client_of(server, max_tries=2).send_file(
            NUMBER, file, file_name='we"ird ü.bin', mime_type="application/pdf", caption="Ünïcode"
        )
    for request in server.requests:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        target, caption, upload, end = request.body.split(b"--" + boundary)[1:]
        assert target.endswith(b'name="target"\r\n\r\n85264318722\r\n')
        assert caption.endswith("Ünïcode\r\n".encode())
        head, _, body = upload.partition(b"\r\n\r\n")
        assert b"Content-Type: application/pdf" in head
        assert b'name="file"; filename="we%22ird' in head
        assert body == content + b"\r\n"
        assert end == b"--\r\n"
    assert len(server.requests) == 2


class ChangingFile(io.BytesIO):
    """A file that gets another size when its first piece is read."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1) -> bytes:
        if size and len(self.getvalue()) != self._size:
            at = self.tell()
            self.seek(0, 2)
            self.write(b"+" * max(self._size - len(self.getvalue()), 0))
            self.truncate(self._size)
            self.seek(at)
        return super().read(size)


def test_a_file_that_grows_is_sent_as_long_as_it_was() -> None:
    """What is added to a file during its upload does not become the beginning of the next request."""
    ok = answer(200, {"message": {"id": "1"}})
    with serving(ok) as server:
        wati = client_of(server)
        for file in (ChangingFile(b"x" * 1000, 200_000), io.BytesIO(b"y")):
            wati.send_file(NUMBER, file, file_name="a.pdf", mime_type="application/pdf")
    assert [request.method for request in server.requests] == ["POST", "POST"]
    assert {request.connection for request in server.requests} == {1}
    assert server.requests[0].body.count(b"x" * 1000 + b"\r\n--") == 1
    assert b"+" not in server.requests[0].body


def test_a_file_that_shrinks_is_a_typed_error_at_once() -> None:
    """A file that becomes shorter during its upload ends the call, and does not wait for an answer."""
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        file = ChangingFile(b"x" * 200_000, 1000)
        with pytest.raises(WatiUnknownOutcomeError, match="became shorter while it was sent"):
            client_of(server, timeout=(5.0, 60.0)).send_file(
                NUMBER, file, file_name="a.pdf", mime_type="application/pdf"
            )


@pytest.mark.parametrize(
    "given",
    [
        {"mime_type": "image/png; x\r\nX-Evil: 1"},
        {"mime_type": "image/png;\r\n\r\nbody"},
        {"mime_type": "image/png; a=b\nX-Evil: 1"},
        {"mime_type": "image/png; x"},
        {"mime_type": 'image/png; a="\r\n"'},
        {"mime_type": "image/png; a=\u00e9"},
        {"mime_type": "image/png\n"},
        {"mime_type": "image"},
        {"mime_type": ""},
        {"mime_type": None},
        {"mime_type": b"image/png"},
        {"file_name": "a.png\r\nX-Evil: 1"},
        {"file_name": "a\n.png"},
        {"file_name": "a\0.png"},
        {"file_name": None},
        {"file_name": 7},
        {"file": io.StringIO("text")},
        {"file": "a.png"},
        {"file": None},
        {"file": b"bytes"},
        {"caption": 7},
    ],
)
def test_what_would_end_a_header_is_refused(given: dict[str, Any]) -> None:
    """A media type or a file name with a line break, and what is no binary file, is refused before the call."""
    good = {"file": io.BytesIO(b"x"), "file_name": "a.png", "mime_type": "image/png"}
    with serving(answer(200, {})) as server, pytest.raises(WatiValidationError):
        client_of(server).send_file(NUMBER, **{**good, **given})
    assert not server.requests


@pytest.mark.parametrize(
    "mime_type",
    ["image/png", "audio/ogg; codecs=opus", "audio/ogg;codecs=opus", 'video/mp4; codecs="avc1.4d002a, mp4a"'],
)
def test_a_media_type_with_parameters_is_sent(mime_type: str) -> None:
    """A media type goes out with its parameters."""
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        client_of(server).send_file(NUMBER, io.BytesIO(b"x"), file_name="a", mime_type=mime_type)
    assert f"Content-Type: {mime_type}\r\n\r\n".encode() in server.requests[0].body


def test_a_body_alone_refuses_them_too() -> None:
    """A body cannot be made with a header that would end early."""
    with pytest.raises(WatiValidationError, match="mime_type"):
        MultipartUpload({}, io.BytesIO(b"x"), "a", "image/png; x\r\nY: 1")
    with pytest.raises(WatiValidationError, match="control character"):
        MultipartUpload({}, io.BytesIO(b"x"), "a\r\nY: 1", "image/png")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read again is refused before the call."""
    with (tmp_path / "a").open("wb") as file, serving(answer(200, {})) as server:
        with pytest.raises(WatiValidationError, match="binary mode, and seekable"):
            client_of(server).send_file(NUMBER, file, file_name="a", mime_type="image/png")
    assert not server.requests
