"""
Webhook subscriptions: V3 lists and changes them, V2 creates them.

The body and the answer of the creation are documented; the shapes of the V3 answers are not and are our choice. So are: a
webhook without a ``phoneNumber`` belongs to the default channel, an array of which one item is refused creates nothing,
and a URL that another webhook has is refused in the same way, with ``ok`` false (documented as possible).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    json_body,
    json_list_body,
    list_of,
    nullable,
    object_of,
    one_of,
    optional,
    required,
    text,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.records import Webhook
from airflow_provider_wati.sandbox.webhooks.event_types import EVENT_TYPES
from airflow_provider_wati.sandbox.webhooks.post import Destination

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs(any_scope=True, paid=True)
_WRITE = needs("webhooks:write", paid=True)
_CREATE = needs("webhooks:create", paid=True)

#: The statuses as V2 numbers them (documented).
STATUS_CODES = {"Disabled": 0, "Enabled": 1, "Defective": 2}
_NAMES_OF_CODES = {code: name for name, code in STATUS_CODES.items()}


def _url(value: Any, where: str) -> None:
    text(value, where)
    try:
        Destination.of(value)
    except ValueError as error:
        raise bad_request(f"{where}: {error}.") from None


def _status_code(value: Any, where: str) -> None:
    if type(value) is not int or value not in _NAMES_OF_CODES:
        raise bad_request(f"{where} must be one of {', '.join(map(str, _NAMES_OF_CODES))}.")


_event_types = list_of(one_of(*EVENT_TYPES))
_change_request = object_of(
    url=required(_url),
    eventTypes=required(_event_types),
    status=optional(one_of("Enabled", "Disabled")),
)
_create_request = list_of(
    object_of(
        phoneNumber=optional(nullable(text)),
        status=optional(_status_code),
        url=required(_url),
        eventTypes=required(_event_types),
    )
)


def routes(workspace: Workspace) -> APIRouter:
    """Return the V3 routes."""
    router = APIRouter(prefix="/webhooks")

    @router.get("/event-types", dependencies=[_READ])
    async def list_event_types() -> JSONResponse:
        return JSONResponse({"event_types": list(EVENT_TYPES)})

    @router.get("", dependencies=[_READ])
    async def list_webhooks() -> JSONResponse:
        return JSONResponse({"webhooks": [render.webhook(each) for each in workspace.state.webhooks]})

    @router.put("/{webhook_id}", dependencies=[_WRITE])
    async def update_webhook(webhook_id: str, request: Request) -> JSONResponse:
        body = await json_body(request, _change_request)
        webhook = _find(workspace, webhook_id)
        if any(each.url == body["url"] and each is not webhook for each in workspace.state.webhooks):
            raise bad_request("The webhook URL already exists.")
        _change(webhook, body, workspace.clock.now())
        workspace.look_for_webhooks()
        return JSONResponse(render.webhook(webhook))

    return router


def v2_routes(workspace: Workspace) -> APIRouter:
    """Return the route that V3 does not have."""
    router = APIRouter(prefix=f"/{workspace.settings.tenant}/api/v2")

    @router.post("/webhookEndpoints", dependencies=[_CREATE])
    async def create_webhooks(request: Request) -> JSONResponse:
        items = await json_list_body(request, _create_request)
        refusal = _why_not(workspace.state, [item["url"] for item in items])
        if refusal:
            # That the reason stands in `result` is inferred from V1, which does so.
            return JSONResponse({"ok": False, "result": refusal})
        webhooks = [
            _new(workspace, len(workspace.state.webhooks) + 1 + index, item)
            for index, item in enumerate(items)
        ]
        workspace.state.webhooks.extend(webhooks)
        workspace.look_for_webhooks()
        return JSONResponse({"ok": True, "result": [_record(workspace, each) for each in webhooks]})

    return router


def _why_not(state: State, urls: list[str]) -> str | None:
    known = {webhook.url for webhook in state.webhooks}
    if len(set(urls)) < len(urls) or known.intersection(urls):
        return "The webhook URL already exists."
    return None


def _new(workspace: Workspace, number: int, item: dict[str, Any]) -> Webhook:
    now = workspace.clock.now()
    return Webhook(
        number,
        item["url"],
        item["eventTypes"],
        find_channel(workspace, item.get("phoneNumber")),
        status=_NAMES_OF_CODES[item.get("status", STATUS_CODES["Enabled"])],
        created=now,
        last_updated=now,
    )


def _find(workspace: Workspace, webhook_id: str) -> Webhook:
    number = ids.read_id(ids.WEBHOOK, webhook_id)
    for webhook in workspace.state.webhooks:
        if webhook.number == number:
            return webhook
    raise workspace.missing("Webhook not found")


def _change(webhook: Webhook, body: dict[str, Any], now: float) -> None:
    webhook.url, webhook.event_types = body["url"], body["eventTypes"]
    webhook.last_updated = now
    if "status" in body:
        webhook.status = body["status"]
    if webhook.status == "Enabled":
        webhook.failures = 0
        webhook.is_owner_told = False


def _record(workspace: Workspace, webhook: Webhook) -> dict[str, Any]:
    return render.webhook_record(webhook, workspace.settings.tenant)
