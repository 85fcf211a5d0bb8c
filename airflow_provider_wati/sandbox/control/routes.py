"""Every route of the control API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from airflow_provider_wati.sandbox.control import account, faults, people, sent, templates, webhooks
from airflow_provider_wati.sandbox.control.requests import LOCAL_ONLY, PREFIX

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[LOCAL_ONLY])
    for part in (account, sent, faults, people, templates, webhooks):
        router.include_router(part.routes(workspace))
    return router
