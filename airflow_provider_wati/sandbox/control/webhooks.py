"""The control API's part for webhooks: what was delivered, sending it again, and sending an event by hand."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    filled_text,
    nullable,
    object_of,
    optional,
    required,
    text,
)
from airflow_provider_wati.sandbox.control.requests import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    query_number,
    read_body,
)
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.clock import to_iso
from airflow_provider_wati.sandbox.webhooks.event_types import EVENT_TYPES
from airflow_provider_wati.sandbox.webhooks.payloads import message_payload, sample_payload

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Webhook
    from airflow_provider_wati.sandbox.webhooks.deliveries import Delivery
    from airflow_provider_wati.sandbox.workspace import Workspace


def _any_object(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise bad_request(f"{where} must be an object.")


_event_request = object_of(
    event_type=required(filled_text),
    message_id=optional(text),
    channel=optional(nullable(text)),
    payload=optional(_any_object),
)
_nothing = object_of()


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/webhooks")
    _add_subscriptions(router, workspace)
    _add_deliveries(router, workspace)
    _add_events(router, workspace)
    return router


def _add_subscriptions(router: APIRouter, workspace: Workspace) -> None:
    @router.get("")
    async def get_webhooks() -> JSONResponse:
        """Return the subscriptions with their failures in a row, and every event type with how it is known."""
        return JSONResponse(
            {
                "webhooks": [_webhook(each) for each in workspace.state.webhooks],
                "event_types": [asdict(each) for each in EVENT_TYPES.values()],
            }
        )


def _add_deliveries(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/deliveries")
    async def get_deliveries(request: Request) -> JSONResponse:
        """Return the latest deliveries, newest first, filtered by ``state`` and ``event_type``."""
        limit = query_number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        wanted = {name: request.query_params.get(name) for name in ("state", "event_type")}
        deliveries = workspace.deliveries
        found = (
            each
            for each in deliveries.latest()
            if wanted["state"] in (None, each.state) and wanted["event_type"] in (None, each.event.type)
        )
        return JSONResponse(
            {
                "deliveries": [_delivery(each) for each in islice(found, limit)],
                "states": deliveries.count_by_state(),
                "waiting": deliveries.waiting,
                "quiet": deliveries.is_quiet(workspace.clock.now()),
                "dropped": deliveries.dropped,
            }
        )

    @router.get("/deliveries/{number}")
    async def get_delivery(number: int) -> JSONResponse:
        """Return one delivery with its payload."""
        delivery = _find(workspace, number)
        return JSONResponse(_delivery(delivery) | {"payload": delivery.event.payload()})

    @router.post("/deliveries/{number}/redeliver")
    async def redeliver(number: int, request: Request) -> JSONResponse:
        await read_body(request, _nothing)
        delivery = _find(workspace, number)
        return JSONResponse(_delivery(workspace.deliveries.redeliver(delivery, workspace.clock.now())))


def _add_events(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/events")
    async def send_event(request: Request) -> JSONResponse:
        """Send an event to those who are subscribed to it: of a message, or a sample; ``payload`` changes members."""
        body = await read_body(request, _event_request)
        channel = find_channel(workspace, body.get("channel"))
        event_type = body["event_type"]
        if "message_id" in body:
            payload = message_payload(
                workspace.state, event_type, _number_of(workspace, body["message_id"]), workspace.clock.now()
            )
        else:
            payload = sample_payload(workspace.state, event_type, channel)
        payload |= body.get("payload", {})
        count = workspace.recorder.send_by_hand(event_type, channel, payload)
        return JSONResponse({"deliveries": count, "payload": payload})


def _number_of(workspace: Workspace, message_id: str) -> int:
    number = ids.read_id(ids.MESSAGE, message_id)
    if number is None or number >= len(workspace.state.messages):
        raise ApiError(404, "There is no message with this id.")
    return number


def _find(workspace: Workspace, number: int) -> Delivery:
    delivery = workspace.deliveries.find(number)
    if delivery is None:
        raise ApiError(404, "There is no delivery with this number, or it is no longer kept.")
    return delivery


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "status": webhook.status,
        "event_types": webhook.event_types,
        "channel": webhook.channel.phone,
        "failures": webhook.failures,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "number": delivery.number,
        "webhook_id": delivery.webhook.id,
        "event_type": delivery.event.type,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "error": delivery.error,
        "repeat": delivery.is_repeat,
        "created": to_iso(delivery.created),
    }
