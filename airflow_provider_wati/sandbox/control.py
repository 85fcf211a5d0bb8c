"""
The control API under ``/_sandbox``: what a test may do to the sandbox and ask of it.

It needs no token and answers only callers on the same machine.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox import render
from airflow_provider_wati.sandbox.campaigns import count_by_status
from airflow_provider_wati.sandbox.clock import to_iso
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.faults import KINDS, fault_from_json
from airflow_provider_wati.sandbox.ids import PHONE
from airflow_provider_wati.sandbox.models import Media, Note, Template
from airflow_provider_wati.sandbox.targets import find_channel
from airflow_provider_wati.sandbox.validation import (
    Check,
    boolean,
    filled_text,
    is_json,
    list_of,
    nullable,
    object_in,
    object_of,
    optional,
    required,
    text,
)

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace

PREFIX = "/_sandbox"
DEFAULT_LIMIT = 100
#: Ten thousand years: dates go no further.
_MAX_SECONDS = 315_576_000_000
MAX_LIMIT = 100_000
_MAX_DIGITS = 20
_MAX_SEEDED = 1_000_000
#: A range of Indian mobile numbers: long enough for a million, and valid for every check of phone numbers.
_FIRST_SEEDED_PHONE = 919800000001


def _number(value: Any, where: str) -> None:
    if type(value) not in (int, float) or not -_MAX_SECONDS <= value <= _MAX_SECONDS:
        raise bad_request(f"{where} must be a number of at most {_MAX_SECONDS}.")


def _whole_number(value: Any, where: str) -> None:
    if type(value) is not int:
        raise bad_request(f"{where} must be a whole number.")


def _phone(value: Any, where: str) -> None:
    text(value, where)
    if not PHONE.fullmatch(value):
        raise bad_request(f"{where} must be digits with the country code.")


def _text_values(value: Any, where: str) -> None:
    if type(value) is not dict or not all(type(each) is str for each in value.values()):
        raise bad_request(f"{where} must be an object whose values are strings.")


_clock_request = object_of(advance=optional(_number), frozen=optional(boolean), speed=optional(_number))
_reset_request = object_of(seed=optional(boolean))
_inbound_request = object_of(
    phone=required(_phone),
    text=optional(text),
    name=optional(filled_text),
    channel=optional(nullable(text)),
    type=optional(filled_text),
    media=optional(
        object_of(file_name=required(filled_text), mime_type=required(filled_text), data=required(text))
    ),
)
_contact = object_of(
    phone=required(_phone),
    name=optional(filled_text),
    custom_params=optional(_text_values),
    allow_broadcast=optional(boolean),
)
_contacts_request = object_of(
    contacts=optional(list_of(_contact)), count=optional(_whole_number), first_phone=optional(_phone)
)
_token_request = object_of(token=required(filled_text), scopes=required(list_of(filled_text)))
_template_request = object_of(
    status=optional(filled_text),
    body=optional(filled_text),
    params=optional(_text_values),
    channel=optional(nullable(text)),
)


async def only_from_this_machine(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ApiError(403, "The control API answers only on the machine that runs the sandbox.")


async def read_body(request: Request, check: Check) -> dict[str, Any]:
    """
    Read a control request; no body is ``{}``.

    :raises ApiError: 415 for a content type that is not JSON: a page of any website may post other ones.
    """
    raw = await request.body()
    if not is_json(request) and (raw or "content-type" in request.headers):
        raise ApiError(415, "The content type must be application/json.")
    body = object_in(raw or b"{}")
    check(body, "")
    return body


def _any_object(value: Any, where: str) -> None:
    """Return the members without checking them."""


def query_number(request: Request, name: str, default: int, most: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < _MAX_DIGITS and int(given) <= most):
        raise bad_request(f"{name} must be a whole number up to {most}.")
    return int(given)


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(only_from_this_machine)])
    _add_state(router, workspace)
    _add_sent(router, workspace)
    _add_requests(router, workspace)
    _add_settings(router, workspace)
    _add_faults(router, workspace)
    _add_time(router, workspace)
    _add_people(router, workspace)
    _add_templates(router, workspace)
    return router


def _add_state(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/state")
    async def get_state() -> JSONResponse:
        state = workspace.state
        return JSONResponse(
            {
                "contacts": len(state.contacts),
                "conversations": state.conversation_count(),
                "messages": len(state.messages),
                "broadcasts": len(state.broadcasts),
                "requests": len(workspace.requests),
                "clock": _clock(workspace),
                "settings": workspace.settings.as_dict(),
                "teams": state.teams,
                "tags": state.tags,
                "operators": state.operators,
                "channels": [{"name": each.name, "phone": each.phone} for each in state.channels],
                "chatbots": [{"id": each.id, "name": each.name} for each in state.chatbots],
                "templates": [
                    {"id": each.id, "name": each.name, "status": each.status} for each in state.templates
                ],
            }
        )


def _add_sent(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/messages")
    async def get_messages(request: Request) -> JSONResponse:
        """Return messages that were sent to people, oldest first, filtered by ``phone`` and ``broadcast_name``."""
        limit = query_number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        skip = query_number(request, "skip", 0, 2**31)
        numbers = workspace.state.sent(
            phone=request.query_params.get("phone"),
            broadcast_name=request.query_params.get("broadcast_name"),
            skip=skip,
        )
        rows = [sent_message(workspace, number) for number in islice(numbers, limit)]
        return JSONResponse({"messages": rows, "skip": skip, "limit": limit})

    @router.get("/people")
    async def get_people(request: Request) -> JSONResponse:
        """Count the messages that each number was sent, those with the most first."""
        limit = query_number(request, "limit", MAX_LIMIT, MAX_LIMIT)
        skip = query_number(request, "skip", 0, 2**31)
        counts = workspace.state.sent_per_phone(request.query_params.get("broadcast_name"))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return JSONResponse(
            {
                "people": len(counts),
                "messages": sum(counts.values()),
                "most": ranked[0][1] if ranked else 0,
                "counts": dict(ranked[skip : skip + limit]),
            }
        )

    @router.get("/broadcasts")
    async def get_broadcasts(request: Request) -> JSONResponse:
        """Return the broadcasts, newest first, hidden ones too."""
        limit = query_number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        rows = [
            render.broadcast(workspace.state, each)
            | {"recipients": each.count, "statuses": +count_by_status(workspace.state, each)}
            for each in islice(reversed(workspace.state.broadcasts), limit)
        ]
        return JSONResponse({"broadcasts": rows, "total": len(workspace.state.broadcasts)})


def _add_requests(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/requests")
    async def get_requests(request: Request) -> JSONResponse:
        """Return the latest API requests, oldest first, filtered by ``method`` and by a part of ``path``."""
        limit = query_number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        method = request.query_params.get("method")
        path = request.query_params.get("path", "")
        wanted = [seen for seen in workspace.requests if method in (None, seen.method) and path in seen.path]
        rows = [asdict(seen) | {"time": to_iso(seen.time)} for seen in wanted[max(len(wanted) - limit, 0) :]]
        return JSONResponse({"requests": rows, "total": len(wanted)})

    @router.delete("/requests")
    async def clear_requests() -> JSONResponse:
        workspace.requests.clear()
        return JSONResponse({"ok": True})


def _add_settings(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/reset")
    async def reset(request: Request) -> JSONResponse:
        body = await read_body(request, _reset_request)
        workspace.reset(seed=body.get("seed", True))
        return JSONResponse({"ok": True})

    @router.patch("/settings")
    async def change_settings(request: Request) -> JSONResponse:
        try:
            workspace.change_settings(workspace.settings.changed(await read_body(request, _any_object)))
        except ValueError as error:
            raise bad_request(str(error)) from None
        return JSONResponse(workspace.settings.as_dict())

    @router.post("/tokens")
    async def add_token(request: Request) -> JSONResponse:
        body = await read_body(request, _token_request)
        workspace.add_token(body["token"], body["scopes"])
        return JSONResponse({"ok": True, "scopes": sorted(set(body["scopes"]))})


def _add_faults(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/faults")
    async def list_faults() -> JSONResponse:
        return JSONResponse({"faults": [fault.as_dict() for fault in workspace.faults], "kinds": KINDS})

    @router.post("/faults")
    async def add_fault(request: Request) -> JSONResponse:
        try:
            fault = fault_from_json(await read_body(request, _any_object))
        except ValueError as error:
            raise bad_request(str(error)) from None
        return JSONResponse(workspace.faults.add(fault).as_dict())

    @router.delete("/faults")
    async def clear_faults() -> JSONResponse:
        workspace.faults.clear()
        return JSONResponse({"ok": True})

    @router.delete("/faults/{fault_id}")
    async def remove_fault(fault_id: int) -> JSONResponse:
        if not workspace.faults.remove(fault_id):
            raise ApiError(404)
        return JSONResponse({"ok": True})


def _add_time(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/clock")
    async def get_clock() -> JSONResponse:
        return JSONResponse(_clock(workspace))

    @router.post("/clock")
    async def set_clock(request: Request) -> JSONResponse:
        body = await read_body(request, _clock_request)
        if "speed" in body:
            try:
                workspace.change_settings(workspace.settings.changed({"speed": body["speed"]}))
            except ValueError as error:
                raise bad_request(str(error)) from None
        if body.get("frozen") is True:
            workspace.clock.freeze()
        elif body.get("frozen") is False:
            workspace.clock.unfreeze()
        workspace.clock.advance(body.get("advance", 0))
        workspace.advance()
        workspace.look_for_webhooks()
        return JSONResponse(_clock(workspace))


def _add_people(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/inbound")
    async def customer_writes(request: Request) -> JSONResponse:
        body = await read_body(request, _inbound_request)
        state = workspace.state
        channel = find_channel(workspace, body.get("channel"))
        person = state.by_phone.get(body["phone"])
        if person is None:
            name = body.get("name", body["phone"])
            person = state.create_contact(body["phone"], name, source="whatsapp")
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
            person = state.by_phone.get(item["phone"]) or state.create_contact(item["phone"], item["phone"])
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


def _add_templates(router: APIRouter, workspace: Workspace) -> None:
    @router.put("/templates/{name}")
    async def put_template(name: str, request: Request) -> JSONResponse:
        """Change a template, for example approve it, or add one."""
        body = await read_body(request, _template_request)
        state = workspace.state
        template = next((each for each in state.templates if each.name == name), None)
        if template is None:
            channels = (
                (find_channel(workspace, body["channel"]),) if body.get("channel") else tuple(state.channels)
            )
            template = Template(
                len(state.templates) + 1, name, "", {}, channels, last_modified=workspace.clock.now()
            )
            state.templates.append(template)
        old_status = template.status
        template.status = body.get("status", template.status)
        template.body = body.get("body", template.body)
        template.params = body.get("params", template.params)
        template.last_modified = workspace.clock.now()
        workspace.recorder.template_changed(template, old_status)
        return JSONResponse(render.template(template))


def sent_message(workspace: Workspace, number: int) -> dict[str, Any]:
    """Return one message as a test wants to see it: who got what, from which broadcast, how it stands."""
    state = workspace.state
    broadcast = state.broadcast_of(number)
    message = render.message(state, number)
    return {
        "phone": state.contact_of_message(number).phone,
        "text": message["text"],
        "type": message["type"],
        "status": message["status"],
        "local_message_id": message["local_message_id"],
        "message_id": message["id"],
        "broadcast_id": broadcast.id if broadcast else None,
        "broadcast_name": broadcast.name if broadcast else None,
        "created": message["created"],
    }


def _clock(workspace: Workspace) -> dict[str, Any]:
    return {
        "now": to_iso(workspace.clock.now()),
        "frozen": workspace.clock.frozen,
        "speed": workspace.settings.speed,
    }


def _media(given: dict[str, str] | None) -> Media | None:
    if given is None:
        return None
    try:
        data = base64.b64decode(given["data"], validate=True)
    except ValueError:  # not ASCII, or not Base64
        raise bad_request("media.data must be Base64.") from None
    return Media(given["file_name"], given["mime_type"], data)
