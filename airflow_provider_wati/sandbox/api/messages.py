"""Messages inside the 24-hour window: text, files, buttons and lists; and the media of a message."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_conversation
from airflow_provider_wati.sandbox.api.validation import (
    boolean,
    filled_text,
    json_body,
    list_of,
    nullable,
    object_of,
    one_of,
    optional,
    required,
    text,
    text_up_to,
    whole_characters,
)
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.records import Media, Note

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from airflow_provider_wati.sandbox.model.records import Conversation
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs("conversationsv3:read")
_WRITE = needs("wati_integration:write", "conversationsv3:write")

_MAX_BUTTONS = 3
_MAX_ROWS = 10
_MAX_SECTIONS = 10
_MEGABYTE = 1024 * 1024
#: Documented for WATI as a whole; that this endpoint enforces it is our choice.
_MAX_SIZE = {"image": 5 * _MEGABYTE, "audio": 16 * _MEGABYTE, "video": 16 * _MEGABYTE}
_MAX_DOCUMENT_SIZE = 100 * _MEGABYTE

_text_request = object_of(
    target=required(filled_text),
    # V1 documents this length, V3 none.
    text=required(text_up_to(4096)),
    is_bot=optional(boolean),
)
_file_url_request = object_of(
    target=required(filled_text),
    file_url=required(filled_text),
    caption=optional(nullable(text)),
    is_bot=optional(boolean),
)
_header_media = object_of(
    **{name: optional(nullable(text)) for name in ("url", "file_name", "data", "mime_type", "file_path")}
)
_button_message = object_of(
    header=optional(
        object_of(
            type=optional(nullable(text)),
            text=optional(nullable(text_up_to(60))),
            media=optional(_header_media),
        )
    ),
    body=optional(nullable(text_up_to(1024))),
    footer=optional(nullable(text_up_to(60))),
    buttons=optional(nullable(list_of(object_of(text=optional(nullable(text_up_to(20))))))),
)
_list_message = object_of(
    header=optional(nullable(text_up_to(60))),
    body=optional(nullable(text_up_to(1024))),
    footer=optional(nullable(text_up_to(60))),
    button_text=optional(nullable(text_up_to(20))),
    sections=optional(
        nullable(
            list_of(
                object_of(
                    title=optional(nullable(text_up_to(24))),
                    rows=optional(
                        nullable(
                            list_of(
                                object_of(
                                    title=optional(nullable(text_up_to(24))),
                                    description=optional(nullable(text_up_to(72))),
                                )
                            )
                        )
                    ),
                )
            )
        )
    ),
)
_interactive_request = object_of(
    target=required(filled_text),
    type=required(one_of("buttons", "list")),
    button_message=optional(_button_message),
    list_message=optional(_list_message),
)


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/conversations/messages")

    @router.post("/text", dependencies=[_WRITE])
    async def send_text(request: Request) -> JSONResponse:
        body = await json_body(request, _text_request)
        if not body["text"].strip():
            raise bad_request("text is required.")
        return _say(workspace, Note(_conversation_in_window(workspace, body["target"]), "text", body["text"]))

    @router.post("/fileViaUrl", dependencies=[_WRITE])
    async def send_file_via_url(request: Request) -> JSONResponse:
        body = await json_body(request, _file_url_request)
        parts = urlsplit(body["file_url"])
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise bad_request("file_url must be an http or https URL.")
        talk = _conversation_in_window(workspace, body["target"])
        name = PurePosixPath(parts.path).name or "file"
        mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        # The sandbox fetches nothing: a stand-in replaces the file behind the URL.
        media = Media(name, mime_type, f"sandbox stand-in for {body['file_url']}".encode())
        return _say(workspace, Note(talk, _kind(mime_type), body.get("caption") or "", media=media))

    @router.post("/file", dependencies=[_WRITE])
    async def send_file(request: Request) -> JSONResponse:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise ApiError(415)
        target, caption, media = await _file_in(request)
        return _say(
            workspace,
            Note(_conversation_in_window(workspace, target), _kind(media.mime_type), caption, media=media),
        )

    @router.post("/interactive", dependencies=[_WRITE])
    async def send_interactive(request: Request) -> JSONResponse:
        body = await json_body(request, _interactive_request)
        shown = _buttons_text(body) if body["type"] == "buttons" else _list_text(body)
        talk = _conversation_in_window(workspace, body["target"])
        return _say(workspace, Note(talk, "interactive", shown, interactive=body))

    _add_media(router, workspace)
    return router


def _conversation_in_window(workspace: Workspace, target: str) -> Conversation:
    """
    Resolve the target of a free-form message.

    That a closed window is a 400 is inferred; its text was observed at V1.
    """
    talk = find_conversation(workspace, target)
    if talk is None or not workspace.state.window_is_open(talk):
        raise bad_request("Ticket has been expired.")
    return talk


def _say(workspace: Workspace, note: Note) -> JSONResponse:
    number = workspace.state.say(note)
    return JSONResponse({"message": render.message(workspace.state, number)})


def _add_media(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/file/{message_id}", dependencies=[_READ])
    async def get_media(message_id: str) -> Response:
        store = workspace.state.messages
        number = ids.read_id(ids.MESSAGE, message_id)
        content = store.content[number] if number is not None and number < len(store) else None
        if not isinstance(content, Note) or content.media is None:
            raise workspace.missing("Media not found")
        name = quote(content.media.file_name)
        return Response(
            content.media.data,
            media_type="application/octet-stream",
            headers={"Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"},
        )


async def _file_in(request: Request) -> tuple[str, str, Media]:
    """
    Return the target, the caption and the file of an upload.

    :raises ApiError: 400 for a body that is not ``multipart/form-data``, and for parts that do not fit.
    """
    try:
        form = await request.form()
    except (HTTPException, ValueError, LookupError):
        # Of a missing boundary, a header cut short, a charset that Python does not have.
        raise bad_request("The body is not valid multipart/form-data.") from None
    try:
        target, upload, caption = _read_form(form)
        data = await upload.read()
    finally:
        await form.close()
    mime_type = upload.content_type or "application/octet-stream"
    if len(data) > _MAX_SIZE.get(_kind(mime_type), _MAX_DOCUMENT_SIZE):
        raise bad_request("The file is too large.")
    file_name = upload.filename or "file"
    for value in (target, caption, file_name, mime_type):
        whole_characters(value)
    return target, caption, Media(file_name, mime_type, data)


def _read_form(form: FormData) -> tuple[str, UploadFile, str]:
    for name in form:
        if name not in ("target", "file", "caption"):
            raise bad_request(f"{name} is not a known member.")
    target, upload, caption = form.get("target"), form.get("file"), form.get("caption", "")
    if not isinstance(target, str) or not target:
        raise bad_request("target is required.")
    if not isinstance(upload, UploadFile):
        raise bad_request("file is required.")
    if not isinstance(caption, str):
        raise bad_request("caption must be a string.")
    return target, upload, caption


def _kind(mime_type: str) -> str:
    family = mime_type.split("/")[0]
    return family if family in _MAX_SIZE else "document"


def _buttons_text(body: dict[str, Any]) -> str:
    """Check what WhatsApp needs and the schema leaves open, and return the message as text."""
    message = _inner(body, "button_message")
    labels = [button.get("text") for button in message.get("buttons") or ()]
    if not labels or not all(labels):
        raise bad_request("button_message.buttons needs at least one button, each with a text.")
    if len(labels) > _MAX_BUTTONS:
        raise bad_request(f"button_message.buttons must not have more than {_MAX_BUTTONS} items.")
    header = (message.get("header") or {}).get("text")
    return _lines(header, message["body"], message.get("footer"), *(f"[{label}]" for label in labels))


def _list_text(body: dict[str, Any]) -> str:
    """Check what WhatsApp needs and the schema leaves open, and return the message as text."""
    message = _inner(body, "list_message")
    if not message.get("button_text"):
        raise bad_request("list_message.button_text is required.")
    sections = message.get("sections") or []
    rows = [row.get("title") for section in sections for row in section.get("rows") or ()]
    if not rows or not all(rows):
        raise bad_request("list_message.sections needs at least one row, each with a title.")
    if len(rows) > _MAX_ROWS or len(sections) > _MAX_SECTIONS:
        raise bad_request(f"list_message.sections must not have more than {_MAX_ROWS} rows in total.")
    return _lines(
        message.get("header"),
        message["body"],
        message.get("footer"),
        f"[{message['button_text']}]",
        *(f"- {row}" for row in rows),
    )


def _inner(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the message inside an interactive request; that the other kind may not come along is our choice."""
    other = "list_message" if name == "button_message" else "button_message"
    if other in body:
        raise bad_request(f"{other} does not belong to type {body['type']}.")
    message: dict[str, Any] | None = body.get(name)
    if message is None:
        raise bad_request(f"{name} is required.")
    if not message.get("body"):
        raise bad_request(f"{name}.body is required.")
    return message


def _lines(*parts: str | None) -> str:
    return "\n".join(part for part in parts if part)
