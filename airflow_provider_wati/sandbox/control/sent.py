"""What was sent to people, and the calls that were made."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.control.requests import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    query_number,
)
from airflow_provider_wati.sandbox.model import render
from airflow_provider_wati.sandbox.model.campaigns import count_by_status
from airflow_provider_wati.sandbox.model.clock import to_iso

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()
    _add_sent(router, workspace)
    _add_requests(router, workspace)
    return router


def _add_sent(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/messages")
    async def get_messages(request: Request) -> JSONResponse:
        """Return messages that were sent to people, oldest first, filtered by ``phone`` (or BSUID) and ``broadcast_name``."""
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
        """Count the messages that each person was sent, those with the most first."""
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


def sent_message(workspace: Workspace, number: int) -> dict[str, Any]:
    """Return one message as a test wants to see it: who got what, from which broadcast, how it stands."""
    state = workspace.state
    broadcast, contact = state.broadcast_of(number), state.contact_of_message(number)
    message = render.message(state, number)
    return {
        "phone": contact.phone,
        "bsuid": contact.bsuid,
        "text": message["text"],
        "type": message["type"],
        "status": message["status"],
        "local_message_id": message["local_message_id"],
        "message_id": message["id"],
        "broadcast_id": broadcast.id if broadcast else None,
        "broadcast_name": broadcast.name if broadcast else None,
        "created": message["created"],
    }
