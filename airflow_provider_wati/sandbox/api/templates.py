"""Templates: list, look up, send, schedule."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    filled_text,
    json_body,
    nullable,
    object_of,
    optional,
    page_of,
    required,
    text,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.faults.effects import TAMPERING_KEY
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.campaigns import Order, Recipient, Tampering, place
from airflow_provider_wati.sandbox.model.clock import from_iso
from airflow_provider_wati.sandbox.model.lookups import find_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wati.sandbox.model.records import Channel, Params, Template
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs("wati_integration:read", "messagetemplatev3:read")
_WRITE = needs("wati_integration:write", "messagetemplatev3:write", family="templates")

_MAX_RECIPIENTS = 10_000
_RECIPIENT_MEMBERS = {"phone_number", "target", "local_message_id", "custom_params"}
_PARAM_MEMBERS = {"name", "value"}
_TEXT_OR_NULL = (str, type(None))
_NO_PARAMS: Params = ((),)


def _recipients(value: Any, where: str) -> None:
    if type(value) is not list or not 1 <= len(value) <= _MAX_RECIPIENTS:
        raise bad_request(f"{where} must be an array of 1 to {_MAX_RECIPIENTS} items.")


_send_members = {
    "channel": optional(nullable(text)),
    "template_name": required(filled_text),
    "broadcast_name": required(filled_text),
    "recipients": required(_recipients),
}
_send_request = object_of(**_send_members)
_schedule_request = object_of(**_send_members, scheduled_at=required(filled_text))


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/messageTemplates")
    _add_lists(router, workspace)
    _add_sends(router, workspace)
    return router


def _add_lists(router: APIRouter, workspace: Workspace) -> None:
    @router.get("", dependencies=[_READ])
    async def list_templates(request: Request) -> JSONResponse:
        page = page_of(request)
        channel = find_channel(workspace, request.query_params.get("channel"))
        templates = [each for each in workspace.state.templates if channel in each.channels]
        rows = [render.template(each) for each in templates[page.first : page.first + page.size]]
        return JSONResponse({"templates": rows, **page.echo, "total": len(templates)})

    @router.get("/{template_id}", dependencies=[_READ])
    async def get_template(template_id: str) -> JSONResponse:
        number = ids.read_id(ids.TEMPLATE, template_id)
        for template in workspace.state.templates:
            if template.number == number:
                return JSONResponse(render.template(template))
        raise workspace.missing("Template not found")


def _add_sends(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/send", dependencies=[_WRITE])
    async def send(request: Request) -> JSONResponse:
        with _garbage_collection_paused():
            return accept(request, await json_body(request, _send_request), starts_at=None)

    @router.post("/schedule", dependencies=[_WRITE])
    async def schedule(request: Request) -> JSONResponse:
        with _garbage_collection_paused():
            body = await json_body(request, _schedule_request)
            return accept(request, body, starts_at=_start(body["scheduled_at"]))

    def accept(request: Request, body: dict[str, Any], *, starts_at: float | None) -> JSONResponse:
        channel = find_channel(workspace, body.get("channel"))
        recipients = read_recipients(body["recipients"])
        fault = request.scope.get(TAMPERING_KEY)
        order = Order(
            channel=channel,
            template=_sendable_template(workspace, body["template_name"], channel),
            name=body["broadcast_name"],
            recipients=recipients,
            starts_at=starts_at,
            tampering=fault.tampering() if fault else Tampering(),
        )
        broadcast, answers = place(workspace.state, order)
        return JSONResponse(
            {"success": True, "broadcast_id": broadcast.id, "error": None, "recipients": answers}
        )


def _sendable_template(workspace: Workspace, name: str, channel: Channel) -> Template:
    template = find_template(workspace.state, name, channel)
    if template is None:
        raise bad_request("Template not found")
    if template.status != "APPROVED":
        raise bad_request("Template is not approved")
    return template


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Halve the time of a large send: its many short-lived dicts would have the whole store searched often."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _start(text_: str) -> float:
    """Read ``scheduled_at``; a moment in the past is sent at once (our choice)."""
    try:
        return from_iso(text_)
    except ValueError:
        raise bad_request("scheduled_at must be a date-time.") from None


def read_recipients(items: list[Any]) -> list[Recipient]:
    """
    Check and read all recipients before anybody is sent anything.

    Written out by hand and flat: this runs for up to 10,000 recipients in one request.

    :raises ApiError: 400 naming the first recipient that does not fit the schema.
    """
    recipients = []
    shapes: dict[tuple[str | None, ...], tuple[str | None, ...]] = {}
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise bad_request(f"recipients[{index}] must be an object.")
        if not item.keys() <= _RECIPIENT_MEMBERS:
            unknown = min(item.keys() - _RECIPIENT_MEMBERS)
            raise bad_request(f"recipients[{index}].{unknown} is not a known member.")
        phone_number = item.get("phone_number")
        target = item.get("target")
        local_message_id = item.get("local_message_id")
        if not (
            type(phone_number) in _TEXT_OR_NULL
            and type(target) in _TEXT_OR_NULL
            and type(local_message_id) in _TEXT_OR_NULL
        ):
            raise bad_request(f"recipients[{index}] must hold strings.")
        if not phone_number and not target:
            raise bad_request(f"recipients[{index}] needs a phone_number or a target.")
        params = item.get("custom_params")
        read = _NO_PARAMS if params is None else _read_params(params, index, shapes)
        recipients.append(Recipient(phone_number, target, local_message_id, read))
    return recipients


def _read_params(
    params: Any, index: int, shapes: dict[tuple[str | None, ...], tuple[str | None, ...]]
) -> Params:
    """
    Read the parameters of one recipient.

    :param shapes: names seen so far; recipients with the same names share them.
    """
    if type(params) is not list:
        raise bad_request(f"recipients[{index}].custom_params must be an array.")
    names: list[str | None] = []
    values: list[str | None] = []
    for param in params:
        if type(param) is not dict or not param.keys() <= _PARAM_MEMBERS:
            raise bad_request(f"recipients[{index}].custom_params must hold objects with name and value.")
        name, value = param.get("name"), param.get("value")
        if type(name) not in _TEXT_OR_NULL or type(value) not in _TEXT_OR_NULL:
            raise bad_request(f"recipients[{index}].custom_params: name and value must be strings.")
        names.append(name)
        values.append(value)
    shape = tuple(names)
    return (shapes.setdefault(shape, shape), *values)
