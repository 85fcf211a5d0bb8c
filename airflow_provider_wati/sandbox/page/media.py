"""Media of messages, served so that no file can run as a page of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Media
    from airflow_provider_wati.sandbox.model.state import State

#: How files of the image types that browsers show begin. SVG is not one of them: it can hold scripts.
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}


def image_type(media: Media) -> str | None:
    """Return the type of an image that may be shown: by its first bytes, whatever the sender called it."""
    if media.data[:4] == b"RIFF" and media.data[8:12] == b"WEBP":
        return "image/webp"
    for media_type, beginnings in _BEGINNINGS.items():
        if media.data.startswith(beginnings):
            return media_type
    return None


def media_of(state: State, message_id: str) -> Media:
    """
    Return the media of a message.

    :raises ApiError: 404 for an unknown message, and for one without media.
    """
    number = ids.read_id(ids.MESSAGE, message_id)
    content = state.messages.content[number] if number is not None and number < len(state.messages) else None
    if not isinstance(content, Note) or content.media is None:
        raise ApiError(404, "The message has no media.")
    return content.media


def media_response(media: Media) -> Response:
    """Answer with an image, or with a file to save: never with something that a browser reads as a page."""
    shown = image_type(media)
    # Half of a character has no form in a URL.
    name = quote(media.file_name.encode("utf-8", "replace"), safe="")
    headers = {
        "Content-Type": shown or "application/octet-stream",
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Response(media.data, headers=headers)
