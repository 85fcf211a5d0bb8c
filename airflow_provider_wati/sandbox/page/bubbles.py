"""One message as the phone shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.records import Note
from airflow_provider_wati.sandbox.page.media import image_type

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Broadcast, Media, Params
    from airflow_provider_wati.sandbox.model.state import State

Json = dict[str, Any]


def bubble(state: State, number: int, index: int) -> Json:
    """
    Return a message with its parts.

    :param number: of the message in the workspace.
    :param index: of the message in its conversation.
    """
    content = state.messages.content[number]
    broadcast = state.broadcast_of(number)
    standing = state.standing(number)
    shown: Json = {
        "id": ids.make_id(ids.MESSAGE, number),
        "index": index,
        "from_business": not isinstance(content, Note) or content.from_business,
        "status": standing.status,
        "reason": None
        if standing.failure is None
        else {"code": standing.failure.code, "detail": standing.failure.detail},
        "time": broadcast.starts_at if broadcast else state.messages.created[number],
        "header": None,
        "body": "",
        "footer": None,
        "buttons": [],
        "list": None,
        "media": None,
        "campaign": None,
        "sender": None,
    }
    if isinstance(content, Note):
        return shown | _note(content, shown["id"])
    return shown | (_template(broadcast, content) if broadcast else {})


def preview(state: State, number: int, length: int = 160) -> str:
    """Return the beginning of a message on one line."""
    content = state.messages.content[number]
    words = render.message_text(state, number)
    if isinstance(content, Note):
        if content.interactive:
            words = _interactive(content.interactive)["body"]
        elif content.media is not None and not words:
            words = content.media.file_name
    return " ".join(words[: length * 2].split())[:length]


def _note(note: Note, message_id: str) -> Json:
    shown: Json = {"kind": note.kind, "body": note.text, "sender": note.operator_name}
    if note.media is not None:
        shown["media"] = _media(note.media, message_id)
    if note.interactive:
        shown |= _interactive(note.interactive)
    return shown


def _media(media: Media, message_id: str) -> Json:
    return {
        "name": media.file_name,
        "type": media.mime_type,
        "size": len(media.data),
        "is_image": image_type(media) is not None,
        "message": message_id,
    }


def _interactive(request: Json) -> Json:
    """Split the body of an interactive request, which was checked when it came in."""
    if request["type"] == "buttons":
        message = request["button_message"]
        header = (message.get("header") or {}).get("text")
        return {
            "header": header,
            "body": message["body"],
            "footer": message.get("footer"),
            "buttons": [button["text"] for button in message["buttons"]],
        }
    message = request["list_message"]
    sections = [
        {
            "title": section.get("title") or "",
            "rows": [
                {"title": row["title"], "description": row.get("description") or ""}
                for row in section.get("rows") or ()
            ],
        }
        for section in message["sections"]
    ]
    return {
        "header": message.get("header"),
        "body": message["body"],
        "footer": message.get("footer"),
        "list": {"button": message["button_text"], "sections": sections},
    }


def _template(broadcast: Broadcast, params: Params) -> Json:
    template = broadcast.template
    return {
        "kind": "template",
        "header": template.header and render.filled_in(template.header, params),
        "body": render.filled_in(template.body, params),
        "footer": template.footer,
        "buttons": list(template.buttons),
        "campaign": {"id": broadcast.id, "name": broadcast.name, "template": template.name},
    }
