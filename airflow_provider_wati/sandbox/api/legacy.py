"""The two things that only V1 can do: find a message by its local id, and cancel a scheduled broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.clock import to_iso
from airflow_provider_wati.sandbox.model.lookups import broadcast_with_id
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Channel
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

_SHORTEST_ID, _LONGEST_ID = 10, 64


def routes(workspace: Workspace) -> APIRouter:
    # V1 starts with the tenant; any other first segment is an unknown path, a 404.
    router = APIRouter(prefix=f"/{workspace.settings.tenant}/api/v1")

    @router.get(
        "/whatsApp/messages/{phone_number}/{local_message_id}", dependencies=[needs("conversations:read")]
    )
    async def get_message(phone_number: str, local_message_id: str) -> JSONResponse:
        if not _SHORTEST_ID <= len(local_message_id) <= _LONGEST_ID:
            raise bad_request(
                f"Local message ID length must be between {_SHORTEST_ID} and {_LONGEST_ID} characters"
            )
        number = workspace.state.messages.find(local_message_id)
        # The number in the path is documented as the channel's.
        if number is None or _channel_of(workspace.state, number).phone != phone_number:
            raise workspace.missing("Message not found")
        return JSONResponse(_record(workspace.state, number))

    # Documented without a scope of its own: any valid token may do it.
    @router.delete("/broadcast/deleteScheduledBroadcast/{broadcast_id}", dependencies=[needs(any_scope=True)])
    async def cancel_scheduled_broadcast(broadcast_id: str) -> JSONResponse:
        broadcast = broadcast_with_id(workspace.state, broadcast_id)
        if broadcast is None or not broadcast.scheduled:
            raise workspace.missing("Broadcast not found")
        # Cancelling twice, and cancelling what has begun, are undocumented; refusing both is our choice.
        if broadcast.cancelled_at is not None:
            raise bad_request("The broadcast is already cancelled.")
        if workspace.clock.now() >= broadcast.starts_at:
            raise bad_request("The broadcast has already started.")
        broadcast.cancelled_at = workspace.clock.now()
        return JSONResponse({"result": True})

    return router


def _channel_of(state: State, number: int) -> Channel:
    content = state.messages.content[number]
    if isinstance(content, Note):
        return content.conversation.channel
    broadcast = state.broadcast_of(number)
    return broadcast.channel if broadcast else state.default_channel


def _record(state: State, number: int) -> dict[str, object]:
    standing = state.standing(number)
    broadcast = state.broadcast_of(number)
    record: dict[str, object] = {
        "id": ids.make_id(ids.MESSAGE, number),
        "localMessageId": state.messages.local_id[number],
        "statusString": standing.status.upper(),
        "eventType": "broadcastMessage" if broadcast else "message",
        "finalText": render.message_text(state, number),
        "created": to_iso(state.messages.created[number]),
        "failedCode": standing.failure.code if standing.failure else None,
        "failedDetail": standing.failure.detail if standing.failure else None,
    }
    if broadcast is not None:
        record["template"] = {"name": broadcast.template.name, "header": {"text": broadcast.template.header}}
    return record
