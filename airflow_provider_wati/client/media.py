"""A media file on its way from WATI."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value

import requests

from airflow_provider_wati.exceptions import WatiConnectionError
from airflow_provider_wati.masking import mask_numbers

_CHUNK = 64 * 1024


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
        self.content_type = headers.get_content_type()
        self.file_name = _file_name(headers)
        length = response.headers.get("Content-Length", "")
        self.size = int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None

    def iter_bytes(self, chunk_size: int = _CHUNK) -> Iterator[bytes]:
        """
        Yield the file in pieces.

        :param chunk_size: bytes to hold in memory at a time.
        :raises WatiConnectionError: when the connection breaks before the end; what came so far is incomplete.
        """
        try:
            yield from self._response.iter_content(chunk_size)
        except requests.RequestException as error:
            raise WatiConnectionError(
                f"The media file broke off before its end: {mask_numbers(type(error).__name__)}. Fetch it again."
            ) from None


def _file_name(headers: Headers) -> str | None:
    """Return the name; of two spellings the one that can hold every letter, which the parser puts last."""
    params = headers.get_params([], "content-disposition")
    names = [collapse_rfc2231_value(value) for name, value in params if name == "filename"]
    return names[-1] if names else None
