"""The sandbox as an ASGI application."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response

from airflow_provider_wati.sandbox import control, page
from airflow_provider_wati.sandbox.api import (
    account,
    broadcasts,
    contacts,
    conversations,
    legacy,
    messages,
    templates,
)
from airflow_provider_wati.sandbox.errors import ApiError, error_response
from airflow_provider_wati.sandbox.gate import Gate
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

_V3 = "/api/ext/v3"


def create_app(workspace: Workspace | None = None, *, verbose: bool = False) -> ASGIApp:
    """
    Build the application.

    :param workspace: what it serves; by default a fresh one with the token ``sandbox-token``.
    :param verbose: log one line for each API request.
    """
    workspace = workspace or Workspace("sandbox-token", Settings())
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.workspace = workspace
    # Messages come first: `/conversations/messages/...` must not be taken for a target called "messages".
    for resource in (messages, conversations, contacts, templates, broadcasts, account):
        app.include_router(resource.routes(workspace), prefix=_V3)
    app.include_router(legacy.routes(workspace))
    app.include_router(control.routes(workspace))
    app.include_router(page.routes(workspace))
    _answer_errors_like_wati(app, workspace)
    return Gate(app, workspace, verbose=verbose)


def _answer_errors_like_wati(app: FastAPI, workspace: Workspace) -> None:
    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> Response:
        return error_response(error, workspace.clock.now())

    @app.exception_handler(HTTPException)
    async def refuse_unknown_route(_: Request, error: HTTPException) -> Response:
        return Response(status_code=error.status_code, headers=error.headers)
