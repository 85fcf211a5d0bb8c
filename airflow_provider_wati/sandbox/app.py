"""The sandbox as an ASGI application."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from airflow_provider_wati.sandbox.api import (
    account,
    broadcasts,
    contacts,
    conversations,
    legacy,
    messages,
    templates,
    webhooks,
)
from airflow_provider_wati.sandbox.control import routes as control
from airflow_provider_wati.sandbox.control.requests import PREFIX
from airflow_provider_wati.sandbox.errors import ApiError, error_body, error_response
from airflow_provider_wati.sandbox.gate import Gate
from airflow_provider_wati.sandbox.page import routes as page
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp

log: logging.Logger = logging.getLogger(__name__)

_V3 = "/api/ext/v3"


def create_app(
    workspace: Workspace | None = None, *, verbose: bool = False, allowed_hosts: Iterable[str] = ()
) -> ASGIApp:
    """
    Build the application.

    :param workspace: what it serves; by default a fresh one with the token ``sandbox-token``.
    :param verbose: log one line for each API request.
    :param allowed_hosts: names in ``Host`` and ``Origin`` that are served besides loopback names and the address
        that a call came to.
    """
    workspace = workspace or Workspace("sandbox-token", Settings())
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.workspace = workspace
    # Messages come first: `/conversations/messages/...` must not be taken for a target called "messages".
    for resource in (messages, conversations, contacts, templates, broadcasts, account, webhooks):
        app.include_router(resource.routes(workspace), prefix=_V3)
    app.include_router(legacy.routes(workspace))
    app.include_router(webhooks.v2_routes(workspace))
    app.include_router(control.routes(workspace))
    app.include_router(page.routes(workspace))
    _answer_errors_like_wati(app, workspace)
    return Gate(app, workspace, verbose=verbose, allowed_hosts=allowed_hosts)


def _answer_errors_like_wati(app: FastAPI, workspace: Workspace) -> None:
    @app.exception_handler(ApiError)
    async def refuse(request: Request, error: ApiError) -> Response:
        if _is_control(request):
            return JSONResponse(error_body(error.status, error.message, workspace.clock.now()), error.status)
        return error_response(error, workspace.clock.now())

    @app.exception_handler(HTTPException)
    async def refuse_unknown_route(request: Request, error: HTTPException) -> Response:
        if _is_control(request):
            body = error_body(error.status_code, error.detail, workspace.clock.now())
            return JSONResponse(body, error.status_code, error.headers)
        return Response(status_code=error.status_code, headers=error.headers)


def _is_control(request: Request) -> bool:
    """Return whether a request is for the control API, whose errors always have a body."""
    return request.url.path.startswith(f"{PREFIX}/")
