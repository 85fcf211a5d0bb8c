"""The templates: approving, changing and adding them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.targets import find_channel
from airflow_provider_wati.sandbox.api.validation import (
    filled_text,
    nullable,
    object_of,
    one_of,
    optional,
    text,
)
from airflow_provider_wati.sandbox.control.requests import (
    read_body,
    text_values,
)
from airflow_provider_wati.sandbox.model import render
from airflow_provider_wati.sandbox.model.records import TEMPLATE_STATUSES, Template

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace

_template_request = object_of(
    status=optional(one_of(*TEMPLATE_STATUSES)),
    body=optional(filled_text),
    params=optional(text_values),
    channel=optional(nullable(text)),
)


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()

    @router.put("/templates/{name}")
    async def put_template(name: str, request: Request) -> JSONResponse:
        """Change a template, for example approve it, or add one."""
        body = await read_body(request, _template_request)
        state = workspace.state
        template = next((each for each in state.templates if each.name == name), None)
        if template is None:
            channels = (
                (find_channel(workspace, body["channel"]),) if body.get("channel") else tuple(state.channels)
            )
            template = Template(
                len(state.templates) + 1, name, "", {}, channels, last_modified=workspace.clock.now()
            )
            state.templates.append(template)
        old_status = template.status
        template.status = body.get("status", template.status)
        template.body = body.get("body", template.body)
        template.params = body.get("params", template.params)
        template.last_modified = workspace.clock.now()
        workspace.recorder.template_changed(template, old_status)
        return JSONResponse(render.template(template))

    return router
