"""Contacts: create, list, look up, update, delete, count, teams."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_contact
from airflow_provider_wati.sandbox.api.validation import (
    contact_param,
    filled_text,
    json_body,
    list_of,
    nullable,
    object_of,
    optional,
    page_of,
    required,
)
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model import render
from airflow_provider_wati.sandbox.model.clock import from_iso
from airflow_provider_wati.sandbox.model.ids import PHONE

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Contact
    from airflow_provider_wati.sandbox.workspace import Workspace

_READ = needs("contactsv3:read", family="contacts")
_WRITE = needs("contactsv3:write", family="contacts")
_UPDATE = needs("wati_integration:write", "contactsv3:write", family="contacts")

_create_request = object_of(
    whatsapp_number=required(filled_text),
    name=required(filled_text),
    custom_params=optional(nullable(list_of(contact_param))),
)
# The one place where WATI spells it in camel case.
_update_request = object_of(
    contacts=required(
        list_of(
            object_of(target=required(filled_text), customParams=optional(nullable(list_of(contact_param))))
        )
    )
)
_teams_request = object_of(target=required(filled_text), teams=required(list_of(filled_text)))


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter(prefix="/contacts")
    _add_lists(router, workspace)
    _add_changes(router, workspace)
    _add_single(router, workspace)
    return router


def _add_changes(router: APIRouter, workspace: Workspace) -> None:
    @router.post("", dependencies=[_WRITE])
    async def create_contact(request: Request) -> JSONResponse:
        body = await json_body(request, _create_request)
        phone = body["whatsapp_number"]
        if not PHONE.fullmatch(phone):
            raise bad_request("whatsapp_number must be digits with the country code.")
        params = _as_dict(body.get("custom_params"))
        person = workspace.state.by_phone.get(phone)
        if person is None:
            person = workspace.state.create_contact(phone, body["name"], custom_params=params)
        else:
            _meet_again(workspace, person, body["name"], params)
        return JSONResponse(render.contact(person, workspace.state))

    @router.put("", dependencies=[_UPDATE])
    async def update_contacts(request: Request) -> JSONResponse:
        body = await json_body(request, _update_request)
        changes = []
        # Everybody is looked up before anybody is changed: a refusal leaves no half-done update.
        for item in body["contacts"]:
            try:
                person = find_contact(workspace, item["target"])
            except ApiError:
                if workspace.settings.unknown_contact_in_update == "refuse":
                    raise bad_request(f"Contact not found: {item['target']}") from None
                continue
            changes.append((person, _as_dict(item.get("customParams"))))
        for person, params in changes:
            _set_params(workspace, person, params)
        contact_list = [render.contact(person, workspace.state) for person, _ in changes]
        return JSONResponse({"contact_list": contact_list})


def _meet_again(workspace: Workspace, person: Contact, name: str, params: dict[str, str]) -> None:
    choice = workspace.settings.duplicate_contact
    if choice == "refuse":
        raise bad_request("The contact already exists.")
    if choice == "overwrite":
        person.name = name
        _set_params(workspace, person, params)


def _set_params(workspace: Workspace, person: Contact, params: dict[str, str]) -> None:
    """Set the named attributes and leave the others as they are (our choice)."""
    person.custom_params = (person.custom_params or {}) | params
    person.last_updated = workspace.clock.now()


def _add_lists(router: APIRouter, workspace: Workspace) -> None:
    @router.get("", dependencies=[_READ])
    async def list_contacts(request: Request) -> JSONResponse:
        page = page_of(request)
        people = islice(workspace.state.contacts.values(), page.first, page.first + page.size)
        contact_list = [render.contact(person, workspace.state) for person in people]
        return JSONResponse({"contact_list": contact_list, **page.echo})

    @router.get("/count", dependencies=[_READ])
    async def count_contacts(request: Request) -> JSONResponse:
        count = len(workspace.state.contacts)
        limits = [_moment(request, name) for name in ("date_from", "date_to")]
        if limits != [None, None]:
            earliest, latest = limits[0] or float("-inf"), limits[1] or float("inf")
            people = workspace.state.contacts.values()
            count = sum(earliest <= person.created <= latest for person in people)
        return JSONResponse({"contact_count": count})


def _add_single(router: APIRouter, workspace: Workspace) -> None:
    @router.put("/teams", dependencies=[_WRITE])
    async def assign_teams(request: Request) -> JSONResponse:
        body = await json_body(request, _teams_request)
        person = find_contact(workspace, body["target"])
        for team in body["teams"]:
            if team not in workspace.state.teams:
                raise bad_request(f"Team not found: {team}")
        person.teams = tuple(dict.fromkeys(body["teams"]))
        return JSONResponse({"result": True})

    @router.get("/{target}", dependencies=[_READ])
    async def get_contact(target: str) -> JSONResponse:
        return JSONResponse(render.contact(find_contact(workspace, target), workspace.state))

    @router.delete("/{target}", dependencies=[_WRITE])
    async def delete_contact(target: str) -> JSONResponse:
        person = find_contact(workspace, target)
        workspace.state.delete_contact(person)
        return JSONResponse({"contact_id": person.id, "deleted": True, "cleanup_completed": True})


def _as_dict(params: list[dict[str, Any]] | None) -> dict[str, str]:
    return {param["name"]: param["value"] for param in params or ()}


def _moment(request: Request, name: str) -> float | None:
    """Read a date of the count; WATI does not document their format, ISO 8601 is our choice."""
    given = request.query_params.get(name)
    if not given:
        return None
    try:
        return from_iso(given)
    except ValueError:
        raise bad_request(f"{name} must be an ISO 8601 date.") from None
