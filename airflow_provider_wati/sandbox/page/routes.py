"""The routes of the page: its files, and under ``/_sandbox/page`` what its scripts ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from airflow_provider_wati.sandbox.api.validation import object_of, required
from airflow_provider_wati.sandbox.control.requests import LOCAL_ONLY, query_number, read_body
from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.model.lookups import broadcast_with_id, conversation_with_id
from airflow_provider_wati.sandbox.page import campaign_views, files, views
from airflow_provider_wati.sandbox.page.changes import changes, wait_for_change
from airflow_provider_wati.sandbox.page.media import media_of, media_response
from airflow_provider_wati.sandbox.page.parity import parity
from airflow_provider_wati.sandbox.page.read_marks import ReadMarks
from airflow_provider_wati.sandbox.page.responses import answer

if TYPE_CHECKING:
    from typing import Any

    from starlette.responses import Response

    from airflow_provider_wati.sandbox.model.records import Broadcast, Conversation
    from airflow_provider_wati.sandbox.workspace import Workspace

PREFIX = "/_sandbox/page"
_MAX_ROWS = 200
_DEFAULT_ROWS = 50
_LAST = 10**9


def _count(value: Any, where: str) -> None:
    if type(value) is not int or not 0 <= value <= _LAST:
        raise ApiError(400, f"{where} must be a whole number.")


_read_request = object_of(messages=required(_count))


def routes(workspace: Workspace) -> APIRouter:
    """Return the page at ``/`` and its endpoints; these answer callers on this machine only."""
    marks = ReadMarks(workspace)
    data = APIRouter(prefix=PREFIX, dependencies=[LOCAL_ONLY])
    _add_changes(data, workspace, marks)
    _add_conversations(data, workspace, marks)
    _add_campaigns(data, workspace)
    _add_people_and_calls(data, workspace)
    router = APIRouter()
    router.include_router(files.routes(PREFIX))
    router.include_router(data)
    return router


def _slice_of(request: Request) -> dict[str, int]:
    return {
        "skip": query_number(request, "skip", 0, _LAST),
        "limit": query_number(request, "limit", _DEFAULT_ROWS, _MAX_ROWS),
    }


def _query(request: Request, name: str = "query") -> str:
    return request.query_params.get(name, "").strip()


def _add_changes(router: APIRouter, workspace: Workspace, marks: ReadMarks) -> None:
    @router.get("/changes")
    async def get_changes(request: Request) -> Response:
        """Answer once something is new since the version ``known``, or after a second; at once without it."""
        if "known" in request.query_params:
            await wait_for_change(workspace, marks, request.query_params["known"])
        return answer(changes(workspace, marks))

    @router.get("/parity")
    async def get_parity() -> Response:
        return answer(parity())


def _add_conversations(router: APIRouter, workspace: Workspace, marks: ReadMarks) -> None:
    @router.get("/conversations")
    async def get_conversations(request: Request) -> Response:
        only_unread = _query(request, "unread") == "true"
        return answer(
            views.conversations(
                workspace, marks, query=_query(request), only_unread=only_unread, **_slice_of(request)
            )
        )

    @router.get("/conversations/{conversation_id}")
    async def get_thread(conversation_id: str, request: Request) -> Response:
        """Return messages from ``first`` on; without it the latest."""
        talk = _conversation(workspace, conversation_id)
        limit = query_number(request, "limit", _DEFAULT_ROWS, _MAX_ROWS)
        first = query_number(request, "first", max(len(talk.messages) - limit, 0), _LAST)
        return answer(views.thread(workspace, marks, talk, first=first, limit=limit))

    @router.post("/conversations/{conversation_id}/read")
    async def mark_read(conversation_id: str, request: Request) -> Response:
        body = await read_body(request, _read_request)
        return answer({"changed": marks.mark(_conversation(workspace, conversation_id), body["messages"])})

    @router.get("/media/{message_id}")
    async def get_media(message_id: str) -> Response:
        return media_response(media_of(workspace.state, message_id))


def _add_campaigns(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/campaigns")
    async def get_campaigns(request: Request) -> Response:
        return answer(campaign_views.campaigns(workspace, query=_query(request), **_slice_of(request)))

    @router.get("/campaigns/{campaign_id}")
    async def get_campaign(campaign_id: str) -> Response:
        return answer(campaign_views.campaign_row(workspace.state, _campaign(workspace, campaign_id)))

    @router.get("/campaigns/{campaign_id}/recipients")
    async def get_recipients(campaign_id: str, request: Request) -> Response:
        rows = campaign_views.recipients(
            workspace.state,
            _campaign(workspace, campaign_id),
            status=_query(request, "status"),
            query=_query(request),
            **_slice_of(request),
        )
        return answer(rows)


def _add_people_and_calls(router: APIRouter, workspace: Workspace) -> None:
    @router.get("/contacts")
    async def get_contacts(request: Request) -> Response:
        consent = _query(request, "consent")
        return answer(views.contacts(workspace, query=_query(request), consent=consent, **_slice_of(request)))

    @router.get("/calls")
    async def get_calls(request: Request) -> Response:
        return answer(views.calls(workspace, query=_query(request), **_slice_of(request)))


def _conversation(workspace: Workspace, conversation_id: str) -> Conversation:
    talk = conversation_with_id(workspace.state, conversation_id)
    if talk is None:
        raise ApiError(404, "There is no such conversation.")
    return talk


def _campaign(workspace: Workspace, campaign_id: str) -> Broadcast:
    broadcast = broadcast_with_id(workspace.state, campaign_id)
    if broadcast is None:
        raise ApiError(404, "There is no such campaign.")
    return broadcast
