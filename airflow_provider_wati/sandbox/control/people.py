"""The customers: those who write, and those whom the workspace knows."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    boolean,
    filled_text,
    list_of,
    nullable,
    object_of,
    optional,
    required,
    text,
)
from airflow_provider_wati.sandbox.control.requests import (
    bsuid,
    phone,
    read_body,
    text_values,
    whole_number,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model import render
from airflow_provider_wati.sandbox.model.records import Media, Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Contact
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

_MAX_SEEDED = 1_000_000
#: A range of Indian mobile numbers: long enough for a million, and valid for every check of phone numbers.
_FIRST_SEEDED_PHONE = 919800000001

_inbound_request = object_of(
    phone=optional(phone),
    bsuid=optional(bsuid),
    text=optional(text),
    name=optional(filled_text),
    channel=optional(nullable(text)),
    type=optional(filled_text),
    media=optional(
        object_of(file_name=required(filled_text), mime_type=required(filled_text), data=required(text))
    ),
)
_contact = object_of(
    phone=optional(phone),
    bsuid=optional(bsuid),
    name=optional(filled_text),
    custom_params=optional(text_values),
    allow_broadcast=optional(boolean),
)
_contacts_request = object_of(
    contacts=optional(list_of(_contact)), count=optional(whole_number), first_phone=optional(phone)
)


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()

    @router.post("/inbound")
    async def customer_writes(request: Request) -> JSONResponse:
        body = await read_body(request, _inbound_request)
        state = workspace.state
        channel = find_channel(workspace, body.get("channel"))
        person = _person(state, body, source="whatsapp")
        talk = state.conversation_between(person, channel)
        media = _media(body.get("media"))
        # A tap on a button is a message with its text (documented), of the type "interactive" (as in webhooks).
        kind = body.get("type") or (media.mime_type.split("/")[0] if media else "text")
        note = Note(talk, kind, body.get("text", ""), from_business=False, media=media)
        return JSONResponse({"message": render.message(state, state.receive(note))})

    @router.post("/contacts")
    async def seed_contacts(request: Request) -> JSONResponse:
        body = await read_body(request, _contacts_request)
        state = workspace.state
        for item in body.get("contacts", ()):
            _check_address(item)
        for item in body.get("contacts", ()):
            person = _person(state, item)
            person.name = item.get("name", person.name)
            person.custom_params = item.get("custom_params", person.custom_params)
            person.allow_broadcast = item.get("allow_broadcast", person.allow_broadcast)
        count = body.get("count", 0)
        if not 0 <= count <= _MAX_SEEDED:
            raise bad_request(f"count must be between 0 and {_MAX_SEEDED}.")
        first = int(body.get("first_phone", _FIRST_SEEDED_PHONE))
        for index in range(count):
            phone = str(first + index)
            if phone not in state.by_phone:
                state.create_contact(phone, f"Customer {index + 1}", source="import")
        return JSONResponse({"contacts": len(state.contacts)})

    return router


def _check_address(given: dict[str, Any]) -> None:
    if ("phone" in given) == ("bsuid" in given):
        raise bad_request("A customer needs either a phone or a bsuid.")


def _person(state: State, given: dict[str, Any], source: str = "manual") -> Contact:
    """
    Return whom a request names, who becomes a contact now if there was none.

    :raises ApiError: 400 when it names nobody, or two.
    """
    _check_address(given)
    address = given.get("phone") or given["bsuid"]
    found = state.person(address)
    if found is not None:
        return found
    name = given.get("name", address)
    return state.create_contact(given.get("phone"), name, source=source, bsuid=given.get("bsuid"))


def _media(given: dict[str, str] | None) -> Media | None:
    if given is None:
        return None
    try:
        data = base64.b64decode(given["data"], validate=True)
    except ValueError:  # not ASCII, or not Base64
        raise bad_request("media.data must be Base64.") from None
    return Media(given["file_name"], given["mime_type"], data)
