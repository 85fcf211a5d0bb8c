"""
Request bodies, checked as strictly as WATI's own schemas are written.

Those schemas allow no member that they do not name, and type nearly everything as text: a number where a
text belongs is refused. Checks are plain functions because a send has up to 10,000 recipients.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_wati.sandbox.errors import ApiError, bad_request

if TYPE_CHECKING:
    from fastapi import Request

Check = Callable[[Any, str], None]

_MAX_PAGE_SIZE = 100
#: What the documentation does not say: it calls both numbers required, and clients that omit them get data.
_DEFAULT_PAGE = {"page_number": 1, "page_size": 10}
#: An escape that stands for half of a character, unless the other half follows.
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_JSON_MEDIA_TYPES = ("application/json", "application/json-patch+json", "text/json")


@dataclass(frozen=True)
class Member:
    """One member of a JSON object: how its value is checked, and whether it has to be there."""

    check: Check
    required: bool = False


def required(check: Check) -> Member:
    return Member(check, required=True)


def optional(check: Check) -> Member:
    return Member(check)


def text(value: Any, where: str) -> None:
    if type(value) is not str:
        raise bad_request(f"{where} must be a string.")


def filled_text(value: Any, where: str) -> None:
    """Refuse an empty text too; that WATI does is our choice."""
    text(value, where)
    if not value.strip():
        raise bad_request(f"{where} is required.")


def boolean(value: Any, where: str) -> None:
    if type(value) is not bool:
        raise bad_request(f"{where} must be a boolean.")


def text_up_to(length: int) -> Check:
    def check(value: Any, where: str) -> None:
        text(value, where)
        if len(value) > length:
            raise bad_request(f"{where} must not be longer than {length} characters.")

    return check


def one_of(*choices: str) -> Check:
    def check(value: Any, where: str) -> None:
        text(value, where)
        if value not in choices:
            raise bad_request(f"{where} must be one of {', '.join(choices)}.")

    return check


def nullable(check: Check) -> Check:
    def check_unless_null(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return check_unless_null


def list_of(check_item: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not list:
            raise bad_request(f"{where} must be an array.")
        for index, item in enumerate(value):
            check_item(item, f"{where}[{index}]")

    return check


def object_of(**members: Member) -> Check:
    """Return a check for an object with these members and no others."""
    needed = {name for name, member in members.items() if member.required}

    def check(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise bad_request(f"{where} must be an object.")
        for name in needed - value.keys():
            raise bad_request(f"{_join(where, name)} is required.")
        for name, content in value.items():
            if name not in members:
                raise bad_request(f"{_join(where, name)} is not a known member.")
            members[name].check(content, _join(where, name))

    return check


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


#: A custom attribute of a contact: both texts are required.
contact_param: Check = object_of(name=required(filled_text), value=required(text))


async def json_body(request: Request, check: Check) -> dict[str, Any]:
    """
    Read the JSON body of a request and check it.

    :raises ApiError: 415 for another content type (our choice), else 400.
    """
    if not is_json(request):
        raise ApiError(415)
    body = object_in(await request.body())
    check(body, "")
    return body


async def json_list_body(request: Request, check: Check) -> list[Any]:
    """
    Read the body of a request that is a JSON array, and check it.

    :raises ApiError: 415 for another content type (our choice), else 400.
    """
    if not is_json(request):
        raise ApiError(415)
    body: list[Any] = _json_in(await request.body())
    check(body, "body")
    return body


def is_json(request: Request) -> bool:
    """Return whether the content type of a request is JSON."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return media_type in _JSON_MEDIA_TYPES or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def object_in(raw: bytes) -> dict[str, Any]:
    """
    Read a JSON object.

    :raises ApiError: 400 for anything else: nesting that is too deep, numbers without a finite value, and half of a
        character, which no answer could hold.
    """
    body = _json_in(raw)
    if type(body) is not dict:
        raise bad_request("The body must be an object.")
    return body


def _json_in(raw: bytes) -> Any:
    try:
        text = raw.decode()
        body = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if _HALF_CHARACTER.search(text):
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise bad_request("The body is not valid JSON.") from None
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def whole_characters(value: str) -> None:
    """
    Refuse a text with half of a character.

    :raises ApiError: 400.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad_request("A text has half of a character in it.") from None


@dataclass(frozen=True)
class Page:
    """A page as asked for; ``first`` is the index of its first row."""

    number: int
    size: int

    @property
    def first(self) -> int:
        return (self.number - 1) * self.size

    @property
    def echo(self) -> dict[str, int]:
        return {"page_number": self.number, "page_size": self.size}


def page_of(request: Request) -> Page:
    """
    Read the page from the query.

    Both numbers are documented as required, yet clients that omit one are answered; which page they get is our choice.
    The size is documented as at most 100; refusing anything else is our choice.
    """
    number = _whole_number(request, "page_number")
    size = _whole_number(request, "page_size")
    if size > _MAX_PAGE_SIZE:
        raise bad_request(f"page_size must be between 1 and {_MAX_PAGE_SIZE}.")
    return Page(number, size)


def _whole_number(request: Request, name: str) -> int:
    given = request.query_params.get(name)
    if given is None:
        return _DEFAULT_PAGE[name]
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and int(given) > 0):
        raise bad_request(f"{name} must be a whole number of at least 1.")
    return int(given)
