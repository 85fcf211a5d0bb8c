"""The workspace as a whole: what is in it, its settings, its tokens, its clock, and the way back to the beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.validation import (
    boolean,
    filled_text,
    list_of,
    object_of,
    optional,
    required,
)
from airflow_provider_wati.sandbox.control.requests import (
    any_object,
    number,
    read_body,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model.clock import to_iso

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace

_clock_request = object_of(advance=optional(number), frozen=optional(boolean), speed=optional(number))
_reset_request = object_of(seed=optional(boolean))
_token_request = object_of(token=required(filled_text), scopes=required(list_of(filled_text)))


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()
    _add_state(router, workspace)
    _add_settings(router, workspace)
    _add_time(router, workspace)
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


def _add_settings(router: APIRouter, workspace: Workspace) -> None:
    @router.post("/reset")
    async def reset(request: Request) -> JSONResponse:
        body = await read_body(request, _reset_request)
        workspace.reset(seed=body.get("seed", True))
        return JSONResponse({"ok": True})

    @router.patch("/settings")
    async def change_settings(request: Request) -> JSONResponse:
        try:
            workspace.change_settings(workspace.settings.changed(await read_body(request, any_object)))
        except ValueError as error:
            raise bad_request(str(error)) from None
        return JSONResponse(workspace.settings.as_dict())

    @router.post("/tokens")
    async def add_token(request: Request) -> JSONResponse:
        body = await read_body(request, _token_request)
        workspace.add_token(body["token"], body["scopes"])
        return JSONResponse({"ok": True, "scopes": sorted(set(body["scopes"]))})


def _add_time(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/clock")
    async def get_clock() -> JSONResponse:
        return JSONResponse(_clock(workspace))

    @router.post("/clock")
    async def set_clock(request: Request) -> JSONResponse:
        body = await read_body(request, _clock_request)
        if not workspace.clock.reaches(body.get("advance", 0)):
            raise bad_request("advance leads out of the years 1 to 9999.")
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


def _clock(workspace: Workspace) -> dict[str, Any]:
    return {
        "now": to_iso(workspace.clock.now()),
        "frozen": workspace.clock.frozen,
        "speed": workspace.settings.speed,
    }
