"""Who may call what: tokens, scopes, plans and rate limits, checked in this order."""

from __future__ import annotations

import math
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from fastapi import Depends, Request

from airflow_provider_wati.sandbox.errors import ApiError

if TYPE_CHECKING:
    from fastapi.params import Depends as Dependency

    from airflow_provider_wati.sandbox.workspace import Workspace


def workspace_of(request: Request) -> Workspace:
    workspace: Workspace = request.app.state.workspace
    return workspace


def needs(*scopes: str, any_scope: bool = False, family: str | None = None, paid: bool = False) -> Dependency:
    """
    Let a request through when its token carries ``api`` or any one of these scopes.

    :param any_scope: a valid token is enough.
    :param family: the endpoint family whose rate limit counts this call.
    :param paid: not part of the Growth plan.
    """
    sufficient = {"api", *scopes}

    async def check(request: Request) -> None:
        workspace = workspace_of(request)
        granted = _scopes_of_caller(request, workspace)
        if not any_scope and not granted & sufficient:
            raise ApiError(403, f"The token needs one of these scopes: {', '.join(sorted(sufficient))}.")
        plan = workspace.settings.plan
        if paid and plan == "growth":
            raise ApiError(403, "This endpoint is not available in your plan.")
        if family is not None and plan is not None:
            _count_call(workspace, family, plan)

    dependency: Dependency = Depends(check)
    return dependency


def _scopes_of_caller(request: Request, workspace: Workspace) -> frozenset[str]:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    scopes = workspace.tokens.get(token.strip()) if kind.lower() == "bearer" else None
    if scopes is None:
        raise ApiError(401, workspace.settings.unauthorized_text)
    return scopes


def _count_call(workspace: Workspace, family: str, plan: str) -> None:
    wait = workspace.limiter.wait_for(family, plan)
    if not wait:
        return
    headers = {}
    if workspace.settings.retry_after == "seconds":
        headers["Retry-After"] = str(math.ceil(wait))
    elif workspace.settings.retry_after == "date":
        headers["Retry-After"] = formatdate(math.ceil(time.time() + wait), usegmt=True)
    raise ApiError(429, headers=headers)
