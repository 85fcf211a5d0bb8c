"""A file upload that is read while it is sent, so that its size does not matter."""

from __future__ import annotations

import secrets
from typing import BinaryIO

from urllib3.fields import RequestField

from airflow_provider_wati.client import validation as checks


class MultipartUpload:
    """
    A ``multipart/form-data`` body with text fields and one file, for :mod:`requests` to stream.

    ``requests`` itself would read the file into memory first.

    :param fields: the text fields.
    :param file: the open file; read from where it stands, and from there again by each new body. What is added to it
        after the body was made is not sent.
    :param file_name: what the receiver is told.
    :param content_type: the media type of the file.
    :raises WatiValidationError: for a name or a media type that would end its header.
    """

    def __init__(self, fields: dict[str, str], file: BinaryIO, file_name: str, content_type: str) -> None:
        file_name, content_type = checks.file_name(file_name), checks.mime_type(content_type)
        boundary = secrets.token_hex(16)
        head = b""
        for name, value in fields.items():
            field = RequestField(name, value)
            field.make_multipart()
            head += f"--{boundary}\r\n{field.render_headers()}{value}\r\n".encode()
        part = RequestField("file", b"", filename=file_name)
        part.make_multipart(content_type=content_type)
        head += f"--{boundary}\r\n{part.render_headers()}".encode()
        self.content_type: str = f"multipart/form-data; boundary={boundary}"
        self._file = file
        self._pending = head
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        start = file.tell()
        self._unread = file.seek(0, 2) - start
        file.seek(start)
        self._length = len(self._pending) + self._unread + len(self._tail)

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = 65536) -> bytes:
        """
        Return the next piece, empty at the end.

        :param size: the most bytes to return.
        :raises OSError: when the file has become shorter meanwhile, so that the body cannot be completed.
        """
        if not self._pending and self._unread:
            # A byte beyond the announced length would be taken for the beginning of the next request.
            self._pending = self._file.read(min(size, self._unread))
            self._unread -= len(self._pending)
            if not self._pending:
                raise OSError("the file became shorter while it was sent")
        elif not self._pending:
            self._pending, self._tail = self._tail, b""
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece
