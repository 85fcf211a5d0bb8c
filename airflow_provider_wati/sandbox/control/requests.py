"""Requests to the control API: who may make them, and what their bodies and queries hold."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request

from airflow_provider_wati.sandbox.api.validation import Check, is_json, object_in, text
from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model.ids import BSUID, PHONE

if TYPE_CHECKING:
    from fastapi.params import Depends as Dependency

PREFIX = "/_sandbox"
DEFAULT_LIMIT = 100
MAX_LIMIT = 100_000
#: Ten thousand years: dates go no further.
_MAX_SECONDS = 315_576_000_000
_MAX_DIGITS = 20


def number(value: Any, where: str) -> None:
    if type(value) not in (int, float) or not -_MAX_SECONDS <= value <= _MAX_SECONDS:
        raise bad_request(f"{where} must be a number of at most {_MAX_SECONDS}.")


def whole_number(value: Any, where: str) -> None:
    if type(value) is not int:
        raise bad_request(f"{where} must be a whole number.")


def phone(value: Any, where: str) -> None:
    text(value, where)
    if not PHONE.fullmatch(value):
        raise bad_request(f"{where} must be digits with the country code.")


def bsuid(value: Any, where: str) -> None:
    text(value, where)
    if not BSUID.fullmatch(value):
        raise bad_request(
            f"{where} must be a business-scoped user id: two capital letters, a dot and digits."
        )


def text_values(value: Any, where: str) -> None:
    if type(value) is not dict or not all(type(each) is str for each in value.values()):
        raise bad_request(f"{where} must be an object whose values are strings.")


def any_object(value: Any, where: str) -> None:
    """Return the members without checking them."""


async def _only_from_this_machine(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ApiError(403, "The control API answers only on the machine that runs the sandbox.")


#: Refuses callers on other machines.
LOCAL_ONLY: Dependency = Depends(_only_from_this_machine)


async def read_body(request: Request, check: Check) -> dict[str, Any]:
    """
    Read a control request; no body is ``{}``.

    :raises ApiError: 415 for a content type that is not JSON: a page of any website may post other ones.
    """
    raw = await request.body()
    if not is_json(request) and (raw or "content-type" in request.headers):
        raise ApiError(415, "The content type must be application/json.")
    body = object_in(raw or b"{}")
    check(body, "")
    return body


def query_number(request: Request, name: str, default: int, most: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < _MAX_DIGITS and int(given) <= most):
        raise bad_request(f"{name} must be a whole number up to {most}.")
    return int(given)
