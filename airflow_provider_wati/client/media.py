"""A media file on its way from WATI."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value

import requests

from airflow_provider_wati.client.bounds import MAX_MEDIA_BYTES, MEGABYTE, PIECE
from airflow_provider_wati.exceptions import WatiConnectionError, WatiResponseError

# A length with more digits than this is garbage, and Python refuses to read some thousands of them.
_LONGEST_LENGTH = 15


class Media:
    """
    A file that a customer or the business sent, read piece by piece.

    :ivar content_type: what WATI says it is, which may be no more than ``application/octet-stream``.
    :ivar file_name: what WATI calls it, exactly as it came: never use it as a path unchecked. None if unnamed.
    :ivar size: bytes, if WATI says so beforehand.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        headers = Headers()
        headers["Content-Type"] = response.headers.get("Content-Type", "application/octet-stream")
        headers["Content-Disposition"] = response.headers.get("Content-Disposition", "attachment")
        self.content_type: str = headers.get_content_type()
        self.file_name: str | None = _file_name(headers)
        length = response.headers.get("Content-Length", "")
        is_plain = length.isdecimal() and "Content-Encoding" not in response.headers
        self.size: int | None = int(length) if is_plain and len(length) <= _LONGEST_LENGTH else None

    def iter_bytes(self, chunk_size: int = PIECE) -> Iterator[bytes]:
        """
        Yield the file in pieces.

        :param chunk_size: bytes to hold in memory at a time.
        :raises WatiConnectionError: when the connection breaks before the end, or the file takes longer than the
            ``max_seconds`` of the client and one read timeout; what came so far is incomplete.
        :raises WatiResponseError: when the file is larger than the 100 MB that WhatsApp allows.
        """
        if (self.size or 0) > MAX_MEDIA_BYTES:
            raise _too_large()
        size = 0
        try:
            for piece in self._response.iter_content(chunk_size):
                size += len(piece)
                if size > MAX_MEDIA_BYTES:
                    raise _too_large()
                yield piece
        except requests.RequestException as error:
            raise WatiConnectionError(
                f"The media file broke off before its end: {type(error).__name__}. Fetch it again."
            ) from None


def _too_large() -> WatiResponseError:
    return WatiResponseError(
        f"The media file is larger than {MAX_MEDIA_BYTES // MEGABYTE} MB, the most that WhatsApp allows; it was not "
        "read to its end."
    )


def _file_name(headers: Headers) -> str | None:
    """Return the name; of two spellings the one that can hold every letter, which the parser puts last."""
    params = headers.get_params([], "content-disposition")
    names = [collapse_rfc2231_value(value) for name, value in params if name == "filename"]
    return names[-1] if names else None
