"""Conversations: list, history, operator, status, tags."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import existing_conversation
from airflow_provider_wati.sandbox.api.validation import (
    filled_text,
    json_body,
    nullable,
    object_of,
    one_of,
    page_of,
    required,
    text,
)
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model import render

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs("conversationsv3:read")
_HISTORY = needs("conversationsv3:read", family="messages")
_WRITE = needs("wati_integration:write", "conversationsv3:write")
_STATUS = needs("conversationsv3:write")

_CHANNEL_TYPES = ("whatsapp", "whatsapp_group", "instagram", "messenger", "tiktok", "webchat", "rcs")

# Required and yet nullable: null hands the conversation to the bot.
_operator_request = object_of(assignee_email=required(nullable(text)))
_status_request = object_of(new_status=required(one_of("open", "solved", "pending", "block")))
_tag_request = object_of(tag_name=required(filled_text))


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/conversations")
    _add_lists(router, workspace)
    _add_changes(router, workspace)
    return router


def _add_lists(router: APIRouter, workspace: Workspace) -> None:
    @router.get("", dependencies=[_READ])
    async def list_conversations(request: Request) -> JSONResponse:
        page = page_of(request)
        channel_type = request.query_params.get("channel_type", "whatsapp").lower()
        if channel_type not in _CHANNEL_TYPES:
            raise bad_request(f"channel_type must be one of {', '.join(_CHANNEL_TYPES)}.")
        channel_id = request.query_params.get("channel_id")
        talks = (
            talk
            for talk in workspace.state.latest_conversations()
            if channel_type == "whatsapp" and channel_id in (None, talk.channel.id)
        )
        rows = [render.conversation(talk) for talk in islice(talks, page.first, page.first + page.size)]
        return JSONResponse({"conversation_list": rows, **page.echo})

    @router.get("/{target}/messages", dependencies=[_HISTORY])
    async def list_messages(target: str, request: Request) -> JSONResponse:
        page = page_of(request)
        numbers = existing_conversation(workspace, target).messages
        end = max(len(numbers) - page.first, 0)
        # Newest first, as clients of V1 found it; V3 does not say.
        newest_first = reversed(numbers[max(end - page.size, 0) : end])
        rows = [render.message(workspace.state, number) for number in newest_first]
        return JSONResponse({"message_list": rows, **page.echo})


def _add_changes(router: APIRouter, workspace: Workspace) -> None:
    @router.put("/{target}/operator", dependencies=[_WRITE])
    async def assign_operator(target: str, request: Request) -> JSONResponse:
        body = await json_body(request, _operator_request)
        talk = existing_conversation(workspace, target)
        email = body["assignee_email"] or None
        if email is not None and email not in workspace.state.operators:
            raise bad_request("Operator not found")
        talk.operator = email
        return JSONResponse({"result": True})

    @router.put("/{target}/status", dependencies=[_STATUS])
    async def update_status(target: str, request: Request) -> JSONResponse:
        body = await json_body(request, _status_request)
        existing_conversation(workspace, target).status = body["new_status"]
        return JSONResponse({"result": True})

    @router.post("/{target}/tags", dependencies=[_WRITE])
    async def add_tag(target: str, request: Request) -> JSONResponse:
        body = await json_body(request, _tag_request)
        talk = existing_conversation(workspace, target)
        if body["tag_name"] not in workspace.state.tags:
            raise ApiError(404)
        talk.tags = tuple(dict.fromkeys((*talk.tags, body["tag_name"])))
        return JSONResponse({"result": True})

    @router.delete("/{target}/tags/{tag}", dependencies=[_WRITE])
    async def remove_tag(target: str, tag: str) -> JSONResponse:
        talk = existing_conversation(workspace, target)
        if tag not in workspace.state.tags:
            raise ApiError(404)
        talk.tags = tuple(other for other in talk.tags if other != tag)
        return JSONResponse({"result": True})
