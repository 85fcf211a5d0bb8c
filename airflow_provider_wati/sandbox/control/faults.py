"""The faults in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.control.requests import (
    any_object,
    read_body,
)
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.faults.rules import KINDS, fault_from_json

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()

    @router.get("/faults")
    async def list_faults() -> JSONResponse:
        return JSONResponse({"faults": [fault.as_dict() for fault in workspace.faults], "kinds": KINDS})

    @router.post("/faults")
    async def add_fault(request: Request) -> JSONResponse:
        try:
            fault = fault_from_json(await read_body(request, any_object))
        except ValueError as error:
            raise bad_request(str(error)) from None
        return JSONResponse(workspace.faults.add(fault).as_dict())

    @router.delete("/faults")
    async def clear_faults() -> JSONResponse:
        workspace.faults.clear()
        return JSONResponse({"ok": True})

    @router.delete("/faults/{fault_id}")
    async def remove_fault(fault_id: int) -> JSONResponse:
        if not workspace.faults.remove(fault_id):
            raise ApiError(404)
        return JSONResponse({"ok": True})

    return router
