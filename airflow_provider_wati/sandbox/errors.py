"""How WATI says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from airflow_provider_wati.sandbox.model.clock import to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Statuses documented with the JSON envelope; all others are documented without any body.
ENVELOPE_STATUSES = (400, 403, 500)


class ApiError(Exception):
    """
    An answer other than 200.

    :param status: HTTP status.
    :param message: goes into the envelope where WATI documents one, and nowhere otherwise.
    """

    def __init__(self, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def error_body(status: int, message: str, now: float) -> dict[str, object]:
    """Return WATI's envelope. That ``code`` equals the HTTP status is our choice."""
    return {"code": status, "message": message, "timestamp": to_iso(now)}


def error_response(error: ApiError, now: float) -> Response:
    if error.status in ENVELOPE_STATUSES:
        return JSONResponse(error_body(error.status, error.message, now), error.status, error.headers)
    if error.status == 401 and error.message:
        return Response(error.message, 401, error.headers, media_type="text/plain")
    return Response(status_code=error.status, headers=error.headers)
