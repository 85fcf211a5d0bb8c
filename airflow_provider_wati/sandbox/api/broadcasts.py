"""Campaigns: list, details, recipients, overview, cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.account import CREDIT, WELCOME_CREDIT
from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    json_body,
    list_of,
    nullable,
    object_of,
    optional,
    page_of,
    text,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.campaigns import (
    is_visible,
    listed_recipients,
    page_of_broadcasts,
    statistics,
)
from airflow_provider_wati.sandbox.model.clock import from_iso
from airflow_provider_wati.sandbox.model.lookups import broadcast_with_id

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Broadcast
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs("wati_integration:read", "campaignsv3:read")

_COST_OF_A_MESSAGE = 0.05
#: Counter of the overview -> counter of a single campaign.
_OVERVIEW = {
    "total_queued": "total_queued",
    "total_sending": "total_sending",
    "total_sent": "total_sent",
    "total_delivered": "total_delivered",
    "total_open": "total_read",
    "total_replied": "total_replied",
    "total_failed": "total_failed",
    "total_stopped": "total_stopped",
}

_estimate_request = object_of(
    template_id=optional(nullable(text)), contact_ids=optional(nullable(list_of(text)))
)


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/broadcasts")
    _add_lists(router, workspace)
    _add_estimate(router, workspace)
    _add_single(router, workspace)
    return router


def _is_cumulative(workspace: Workspace) -> bool:
    return workspace.settings.statistics == "cumulative"


def _find_broadcast(workspace: Workspace, broadcast_id: str) -> Broadcast:
    broadcast = broadcast_with_id(workspace.state, broadcast_id)
    if broadcast is None or not is_visible(workspace.state, broadcast):
        raise workspace.missing("Broadcast not found")
    return broadcast


def _add_lists(router: APIRouter, workspace: Workspace) -> None:
    @router.get("", dependencies=[_READ])
    async def list_broadcasts(request: Request) -> JSONResponse:
        page = page_of(request)
        channel = find_channel(workspace, request.query_params.get("channel"))
        broadcasts, total = page_of_broadcasts(workspace.state, channel, page.first, page.size)
        rows = [render.broadcast(workspace.state, each) for each in broadcasts]
        return JSONResponse({"broadcasts": rows, **page.echo, "total": total})

    @router.get("/overview", dependencies=[_READ])
    async def overview(request: Request) -> JSONResponse:
        channel = find_channel(workspace, request.query_params.get("channel"))
        earliest, latest = _moment(request, "date_from"), _moment(request, "date_to")
        wanted = request.query_params.get("search_string", "")
        totals: Counter[str] = Counter()
        for broadcast in channel.broadcasts:
            if earliest <= broadcast.starts_at <= latest and wanted in broadcast.name:
                counts = statistics(workspace.state, broadcast, cumulative=_is_cumulative(workspace))
                totals.update(counts)
        answer = {name: totals[source] for name, source in _OVERVIEW.items()}
        answer["total_links"] = 0
        answer["total_processing"] = totals["total_queued"] + totals["total_sending"]
        return JSONResponse(answer)


def _add_estimate(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/estimate-cost", dependencies=[_READ])
    async def estimate_cost(request: Request) -> JSONResponse:
        body = await json_body(request, _estimate_request)
        contact_ids = body.get("contact_ids") or []
        if not contact_ids:
            raise bad_request("contact_ids needs at least one contact.")
        number = ids.read_id(ids.TEMPLATE, body.get("template_id") or "")
        known = any(template.number == number for template in workspace.state.templates)
        cost = round(_COST_OF_A_MESSAGE * len(contact_ids), 2) if known else 0.0
        return JSONResponse(
            {
                "estimated_cost": cost,
                "current_credit": CREDIT,
                "current_welcome_credit": WELCOME_CREDIT,
                "result": known and cost <= CREDIT,
                "is_request_succeeded": known,
                "failed_detail": None if known else "Template not found",
            }
        )


def _add_single(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/{broadcast_id}", dependencies=[_READ])
    async def get_broadcast(broadcast_id: str) -> JSONResponse:
        broadcast = _find_broadcast(workspace, broadcast_id)
        return JSONResponse(
            render.broadcast_details(workspace.state, broadcast, cumulative=_is_cumulative(workspace))
        )

    @router.get("/{broadcast_id}/recipients", dependencies=[_READ])
    async def list_recipients(broadcast_id: str, request: Request) -> JSONResponse:
        page = page_of(request)
        broadcast = _find_broadcast(workspace, broadcast_id)
        total = listed_recipients(workspace.state, broadcast)
        indices = range(total)[page.first : page.first + page.size]
        rows = [render.recipient(workspace.state, broadcast.first + index) for index in indices]
        return JSONResponse({"recipients": rows, **page.echo, "total_count": total})


def _moment(request: Request, name: str) -> float:
    given = request.query_params.get(name)
    if given is None:
        raise bad_request(f"{name} is required.")
    try:
        return from_iso(given)
    except ValueError:
        raise bad_request(f"{name} must be a date-time.") from None
