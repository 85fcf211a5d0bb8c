"""What a message says, as JSON and back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.records import Media, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wati.sandbox.model.records import Conversation, Params

Names = tuple[str | None, ...]


def record_of_content(content: Note | Params) -> Any:
    """Return parameters as a list, and a note as an object."""
    if not isinstance(content, Note):
        return content
    return {
        "talk": content.conversation.number,
        "kind": content.kind,
        "text": content.text,
        "from_business": content.from_business,
        "operator_name": content.operator_name,
        "media": None if content.media is None else _record_of_media(content.media),
        "interactive": content.interactive,
    }


def content_of_record(
    record: Any, talks: Sequence[Conversation], names_seen: dict[Names, Names]
) -> Note | Params:
    """
    Return what a record was made of.

    :param names_seen: names of parameters, which messages share.
    """
    if isinstance(record, list):
        names, *values = record
        if isinstance(names, list):
            own: Names = tuple(names)
            return (names_seen.setdefault(own, own), *values)
        return tuple(record)
    media = record["media"]
    return Note(
        talks[record["talk"]],
        record["kind"],
        record["text"],
        from_business=record["from_business"],
        operator_name=record["operator_name"],
        media=None if media is None else _media_of_record(media),
        interactive=record["interactive"],
    )


def _record_of_media(media: Media) -> list[str]:
    return [media.file_name, media.mime_type, base64.b64encode(media.data).decode()]


def _media_of_record(record: list[str]) -> Media:
    file_name, mime_type, data = record
    return Media(file_name, mime_type, base64.b64decode(data))
