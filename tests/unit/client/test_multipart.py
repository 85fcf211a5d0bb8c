"""Uploads arrive whole."""

from __future__ import annotations

import io

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
