"""The pages of the receiver."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.core_api.security import requires_access_asset
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from airflow_provider_wati.client.responses import is_too_deep
from airflow_provider_wati.listening.webhook_events import Kind, event_of
from airflow_provider_wati.plugins import _page, _store
from airflow_provider_wati.plugins._connections import TooManyLookupsError
from airflow_provider_wati.plugins._gate import SECRET
from airflow_provider_wati.plugins._receiver import now_in_milliseconds, retention_days
from airflow_provider_wati.plugins._store import Place, Received
from airflow_provider_wati.plugins._writer import NotStoredError, WriterIsBusyError

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._connections import Account
    from airflow_provider_wati.plugins._receiver import Receiver

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
#: Seconds for a body to come in, and for an event to be stored.
_PATIENCE = 20.0
_MOST_STATUSES = 1000
_DELIVERIES_SHOWN = 200
#: Of earlier versions, without the first part.
_CURSOR = re.compile(r"(?:(?P<epoch>[0-9a-f]{1,16})\.)?(?P<batch>[0-9]{1,18})\.(?P<number>[0-9]{1,18})")


class _RefusedError(Exception):
    """The answer to a request that is not carried out."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


#: The same for whatever is not there, so that nobody learns what is.
_NOT_FOUND = _RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
_BUSY = _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "Busy: send it again later.")
_TOO_LARGE = _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {MOST_BYTES} bytes.")
_NO_JSON = _RefusedError(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
_NOT_JSON_TYPE = _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
_OTHER_TENANT = _RefusedError(HTTPStatus.FORBIDDEN, "The event is of another tenant than the connection.")
_BAD_CURSOR = _RefusedError(HTTPStatus.BAD_REQUEST, "after or limit is not one of this page's.")


def build_app(receiver: Receiver) -> FastAPI:
    """Return the pages, to be mounted at ``/wati``."""
    app = FastAPI(
        title="WATI webhooks", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    async def receive(request: Request) -> Response:
        return await _answer(lambda: _receive(receiver, request.path_params["conn_id"], request))

    async def statuses(request: Request) -> Response:
        return await _answer(lambda: _statuses(receiver, request))

    async def news(request: Request) -> Response:
        return await _answer(lambda: _news(receiver, request))

    app.router.add_route("/webhooks/{conn_id}/statuses", statuses, methods=["GET"])
    app.router.add_route("/webhooks/{conn_id}/news", news, methods=["GET"])
    app.router.add_route("/webhooks/{conn_id}/{secret}", receive, methods=["POST"])

    @app.get("/deliveries", dependencies=[Depends(requires_access_asset("GET"))])
    def deliveries() -> HTMLResponse:
        found = _store.deliveries(receiver.engine, _DELIVERIES_SHOWN) if receiver.has_tables() else []
        return HTMLResponse(_page.render(found, retention_days()), headers=_page.HEADERS)

    return app


async def take(receiver: Receiver, conn_id: str, scope: Any, receive: Any, send: Any) -> None:
    """
    Answer a webhook without the pages and their middlewares; no access log has it, so a refusal is logged here.

    :param conn_id: the connection that its address names.
    """
    response = await _answer(lambda: _receive(receiver, conn_id, Request(scope, receive)))
    if response.status_code != HTTPStatus.OK:
        log.info("A webhook was refused with status %d.", response.status_code)
    await response(scope, receive, send)


async def _answer(handle: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await handle()
    except _RefusedError as refused:
        return JSONResponse({"detail": refused.text}, int(refused.status))
    except (TooManyLookupsError, WriterIsBusyError, NotStoredError, TimeoutError):
        return JSONResponse({"detail": _BUSY.text}, int(_BUSY.status), headers={"Retry-After": "60"})
    except ClientDisconnect:
        return Response(status_code=int(HTTPStatus.BAD_REQUEST))
    except Exception as error:
        # Not raised, because a server logs the text of what is raised.
        log.error("A request to the WATI receiver failed (%s)", type(error).__name__)
        return JSONResponse({"detail": "Internal Server Error"}, 500)


async def _receive(receiver: Receiver, conn_id: str, request: Request) -> Response:
    account = await _known(receiver.accounts.with_secret(conn_id, request.scope.get(SECRET, "")))
    await _active(receiver)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type and content_type != "application/json" and not content_type.endswith("+json"):
        raise _NOT_JSON_TYPE
    event = event_of(_object_in(await asyncio.wait_for(_body(request), _PATIENCE)))
    if account.tenant_id and event.tenant_id and event.tenant_id != account.tenant_id:
        raise _OTHER_TENANT
    received = Received(conn_id, event, now_in_milliseconds())
    await asyncio.wait_for(receiver.writer.write(received), _PATIENCE)
    return JSONResponse({"detail": "Stored"})


async def _active(receiver: Receiver) -> None:
    if not receiver.is_active:
        await asyncio.to_thread(receiver.activate)


async def _known(look_up: Awaitable[Account | None]) -> Account:
    try:
        account = await look_up
    except Exception as error:
        # The connection may be there. The error was logged without its text.
        raise TooManyLookupsError from error
    if account is None:
        raise _NOT_FOUND
    return account


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MOST_BYTES:
        raise _TOO_LARGE
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise _TOO_LARGE
        parts.append(part)
    return b"".join(parts)


def _object_in(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
        # How deep json itself goes differs between versions of Python. Written as well, for an event without ids is known
        # by its text.
        if isinstance(value, dict) and not is_too_deep(value) and json.dumps(value):
            return value
    except (ValueError, RecursionError):
        pass
    raise _NO_JSON


async def _reader(receiver: Receiver, request: Request) -> str:
    """Return the connection that a worker reads, if it has its read key."""
    conn_id: str = request.path_params["conn_id"]
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    await _known(receiver.accounts.with_read_key(conn_id, key.strip() if scheme.lower() == "bearer" else ""))
    return conn_id


async def _news(receiver: Receiver, request: Request) -> Response:
    conn_id = await _reader(receiver, request)
    marks = await asyncio.to_thread(_store.latest, receiver.engine, conn_id)
    return JSONResponse({"messages": marks[Kind.MESSAGE], "statuses": marks[Kind.STATUS]})


async def _statuses(receiver: Receiver, request: Request) -> Response:
    conn_id = await _reader(receiver, request)
    after = _cursor(request.query_params.get("after") or "0.0.0")
    limit = request.query_params.get("limit") or str(_MOST_STATUSES)
    if not limit.isdecimal() or not int(limit[:9]) >= 1:
        raise _BAD_CURSOR
    page = await asyncio.to_thread(
        _store.statuses, receiver.engine, conn_id, after, min(int(limit[:9]), _MOST_STATUSES)
    )
    found = [{**status, "received": _iso(received)} for status, received in page.statuses]
    return JSONResponse({"statuses": found, "cursor": _text_of(page.after), "more": page.more})


def _cursor(text: str) -> Place:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise _BAD_CURSOR
    return Place(found["epoch"] or "", int(found["batch"]), int(found["number"]))


def _text_of(place: Place) -> str:
    return f"{place.epoch}.{place.batch}.{place.number}"


def _iso(received: int) -> str:
    when = datetime.fromtimestamp(received / 1000, tz=UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
