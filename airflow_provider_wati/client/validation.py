"""What can be seen to be wrong before a call: parameters, texts, times and interactive messages, in WATI's limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import NameValue

#: A dict, or WATI's list of ``{"name": ..., "value": ...}``.
CustomParams = Mapping[str, str] | Sequence[Mapping[str, str]]

#: Documented for the text of V1's sendSessionMessage; V3 names no figure.
MAX_TEXT = 4096
#: Documented for V3 templates/send and /schedule.
MAX_RECIPIENTS = 10_000
#: The status values of V3.
CONVERSATION_STATUSES = ("open", "solved", "pending", "block")

# From WATI's OpenAPI, except the numbers of buttons and rows, which are WhatsApp's.
_MAX_BODY = 1024
_MAX_HEADER = _MAX_FOOTER = 60
_MAX_BUTTONS, _MAX_BUTTON_TEXT = 3, 20
_MAX_ROWS, _MAX_TITLE, _MAX_DESCRIPTION = 10, 24, 72
# WATI-wide, from support article 11463010; whether its API holds callers to them is not documented.
_MEGABYTE = 1024 * 1024
_DOCUMENTS = "vnd.openxmlformats-officedocument"
_FILES: dict[str, tuple[int, frozenset[str]]] = {
    "audio": (16 * _MEGABYTE, frozenset({"audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg"})),
    "document": (
        100 * _MEGABYTE,
        frozenset(
            {
                "text/plain",
                "application/pdf",
                "application/msword",
                "application/vnd.ms-excel",
                "application/vnd.ms-powerpoint",
                f"application/{_DOCUMENTS}.wordprocessingml.document",
                f"application/{_DOCUMENTS}.spreadsheetml.sheet",
                f"application/{_DOCUMENTS}.presentationml.presentation",
            }
        ),
    ),
    "image": (5 * _MEGABYTE, frozenset({"image/jpeg", "image/png"})),
    "video": (16 * _MEGABYTE, frozenset({"video/mp4", "video/3gp", "video/3gpp"})),
    "sticker": (500 * 1024, frozenset({"image/webp"})),
}
# Whatever the spelling: consent is the customer's, and no table may overrule it.
_CONSENT = frozenset(
    {"allowbroadcast", "allowbroadcasts", "allowsms", "optedin", "optin", "optedout", "optout"}
)
_HEADER_TYPES = ("text", "image", "video", "document")
# RFC 9110: a type, a subtype, and parameters; anything else could end the header that it is written into.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MIME_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?: *; *{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def name_values(params: CustomParams | None, where: str) -> list[NameValue]:
    """
    Bring parameters or attributes into WATI's form.

    :param params: a dict of texts, or WATI's own list.
    :param where: what an error calls the place, such as ``recipient 3``.
    :raises WatiValidationError: for a name or value that is not text: WATI takes nothing else.
    """
    pairs: Iterable[tuple[Any, Any]]
    if params is None:
        return []
    if isinstance(params, Mapping):
        pairs = params.items()
    elif isinstance(params, Sequence) and not isinstance(params, str):
        if not all(isinstance(param, Mapping) and param.keys() == {"name", "value"} for param in params):
            raise WatiValidationError(
                f"{where}: custom_params as a list holds {{'name': ..., 'value': ...}} only."
            )
        pairs = ((param["name"], param["value"]) for param in params)
    else:
        raise WatiValidationError(f"{where}: custom_params is a dict or a list, not {type(params).__name__}.")
    checked: list[NameValue] = [{"name": name, "value": value} for name, value in pairs]
    for param in checked:
        name, value = param["name"], param["value"]
        if not isinstance(name, str) or not name:
            raise WatiValidationError(f"{where}: a parameter's name is text, not {shown(name)}.")
        if not isinstance(value, str):
            raise WatiValidationError(
                f"{where}: parameter {name!r} is {type(value).__name__}, and WATI takes text only: convert it first."
            )
        whole_text(name, f"{where}: the name of a parameter")
        whole_text(value, f"{where}: parameter {name!r}")
    return checked


def shown(value: object) -> str:
    """
    Write a value as an error shows it: up to 100 characters, and for a number beyond Python's limit its type.

    :param value: anything.
    """
    try:
        return repr(value)[:100]
    except ValueError:
        return type(value).__name__


def is_consent(attribute: str) -> bool:
    """
    Say if an attribute is consent, which is for the customer to give and is never written.

    :param attribute: the name, in any spelling: ``allow_broadcast``, ``AllowBroadcast``, ``opted in``.
    """
    return re.sub(r"[^a-z]", "", attribute.lower()) in _CONSENT


def contact_attributes(params: CustomParams | None, where: str) -> list[NameValue]:
    """
    Bring the attributes of a contact into WATI's form.

    :param params: a dict of texts, or WATI's own list.
    :param where: what an error calls the place.
    :raises WatiValidationError: for a name or value that is not text, and for consent.
    """
    attributes = name_values(params, where)
    for attribute in attributes:
        if is_consent(attribute["name"]):
            raise WatiValidationError(
                f"{where}: attribute {attribute['name']!r} is consent, which is never written: leave it out. "
                "Whether somebody may be messaged is for them to say, in WATI."
            )
    return attributes


def whole_text(value: str, what: str) -> str:
    """
    Let a text through that can be sent.

    :param value: the text.
    :param what: what an error calls it.
    :raises WatiValidationError: for half a character (a lone surrogate), which has no place in UTF-8.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise WatiValidationError(
                f"{what} holds half a character (a lone surrogate, at {error.start}): repair it at its source."
            ) from None
    return value


def text(value: str, what: str, limit: int | None = None) -> str:
    """
    Let a text through that is one, is not blank, holds no half character and is within its limit.

    :param value: the text.
    :param what: what an error calls it.
    :param limit: characters; None for any number.
    :raises WatiValidationError: naming ``what``, and the length and limit.
    """
    if not isinstance(value, str):
        raise WatiValidationError(f"{what} is text, not {type(value).__name__}.")
    if not value.strip():
        raise WatiValidationError(f"{what} is empty.")
    if limit is not None and len(value) > limit:
        raise WatiValidationError(f"{what} has {len(value)} characters; WATI allows {limit}.")
    return whole_text(value, what)


def texts(values: Sequence[str], what: str, each: str) -> list[str]:
    """
    Let a list of texts through; each is checked as by :func:`text`.

    :param values: the list, which may be empty.
    :param what: what an error calls the list.
    :param each: what an error calls one of its texts, such as ``team name``.
    :raises WatiValidationError: for what is not a list, and for a text that cannot be right.
    """
    if not _is_list(values):
        raise WatiValidationError(f"{what} is a list of {each}s, not {type(values).__name__}.")
    return [text(value, each) for value in values]


def optional_text(value: str | None, what: str) -> str | None:
    """
    Let a text through that may be left out.

    :param value: the text; None or an empty text for none.
    :param what: what an error calls it.
    :return: the text; None for none.
    :raises WatiValidationError: as by :func:`text`.
    """
    return None if value is None or value == "" else text(value, what)


def id_text(value: str | int, what: str) -> str:
    """
    Let an id through that is text, or a whole number of up to 64 digits.

    :param value: the id.
    :param what: what an error calls it.
    :raises WatiValidationError: for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**64:
        return str(value)
    if not isinstance(value, str):
        raise WatiValidationError(f"{what} is text, not {type(value).__name__}.")
    return whole_text(value, what)


def path_segment(value: str, what: str) -> str:
    """
    Write a text as one segment of a path, so that it cannot lead to another endpoint.

    :param value: the text; what has a meaning in an address is percent-encoded, but for a colon.
    :param what: what an error calls it.
    :raises WatiValidationError: for ``.`` and ``..``, which no encoding keeps from changing the path.
    """
    if text(value, what) in (".", ".."):
        raise WatiValidationError(f"{what} is {value!r}, which would change the address of the call.")
    return quote(value, safe=":")


def file_name(value: str) -> str:
    """
    Let the name of a file through.

    :param value: the name that the receiver sees.
    :raises WatiValidationError: for a name that is empty or holds a line break or another control character.
    """
    if _CONTROL.search(text(value, "file_name")):
        raise WatiValidationError("file_name holds a line break or another control character.")
    return value


def mime_type(value: str) -> str:
    """
    Let a media type through.

    :param value: such as ``image/png``, with or without parameters.
    :raises WatiValidationError: for a text of another form.
    """
    if not _MIME_TYPE.fullmatch(text(value, "mime_type")):
        raise WatiValidationError(f"mime_type is {value!r}: give a media type such as image/png.")
    return value


def media_kind(mime_type: str) -> str | None:
    """
    Return what WATI takes a media type for.

    :param mime_type: such as ``image/png``, with or without parameters.
    :return: ``audio``, ``document``, ``image``, ``video`` or ``sticker``; None for what WATI does not take.
    """
    bare = mime_type.partition(";")[0].strip().lower()
    return next((kind for kind, (_, types) in _FILES.items() if bare in types), None)


def file_size(size: int, mime_type: str, file_name: str) -> None:
    """
    Let a file through that WATI takes.

    :param size: bytes.
    :raises WatiValidationError: naming the file, with phone numbers masked, its kind and WATI's limit.
    """
    kind, shown_name = media_kind(mime_type), repr(mask_numbers(file_name))
    if kind is None:
        taken = ", ".join(
            sorted(
                name.partition("/")[2].rpartition(".")[2] for _, types in _FILES.values() for name in types
            )
        )
        raise WatiValidationError(
            f"WATI does not take {shown_name} of type {mime_type!r}; it takes: {taken}."
        )
    limit, _ = _FILES[kind]
    if size > limit:
        in_words = f"{limit // _MEGABYTE} MB" if limit >= _MEGABYTE else f"{limit // 1024} kB"
        raise WatiValidationError(
            f"{shown_name} has {size:,} bytes; WATI takes {in_words} ({limit:,}) as {kind}."
        )
    if size == 0:
        raise WatiValidationError(f"{shown_name} is empty.")


def utc_time(value: datetime, what: str) -> str:
    """
    Write a time the way WATI reads it.

    :param value: a time with its time zone.
    :raises WatiValidationError: for a time without one, which could mean any hour of the day.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise WatiValidationError(f"{what} needs a datetime with a time zone, not {shown(value)}.")
    try:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise WatiValidationError(f"{what} is {value!r}, a time that UTC does not have.") from None


def buttons_message(
    body: str,
    buttons: Sequence[str | Mapping[str, str]],
    header: str | Mapping[str, Any] | None,
    footer: str | None,
) -> dict[str, Any]:
    """
    Build the ``button_message`` of an interactive message, within WATI's limits.

    :param body: up to 1,024 characters.
    :param buttons: 1 to 3 texts of up to 20 characters, each bare or as WATI's ``{"text": ...}``.
    :param header: text of up to 60 characters, or WATI's dict.
    :param footer: up to 60 characters.
    :raises WatiValidationError: naming the part that cannot be right.
    """
    if not _is_list(buttons) or not 1 <= len(buttons) <= _MAX_BUTTONS:
        raise WatiValidationError(f"buttons is a list of 1 to {_MAX_BUTTONS} texts.")
    texts = [_button_text(button, f"button {n}") for n, button in enumerate(buttons, 1)]
    if len(set(texts)) < len(texts):
        raise WatiValidationError(
            "Two buttons have the same text; the answer would not tell which was pressed."
        )
    message: dict[str, Any] = {
        "body": text(body, "body", _MAX_BODY),
        "buttons": [{"text": button} for button in texts],
    }
    if header is not None:
        message["header"] = _header(header)
    if footer:
        message["footer"] = text(footer, "footer", _MAX_FOOTER)
    return message


def _button_text(button: object, where: str) -> str:
    if isinstance(button, Mapping):
        if button.keys() != {"text"}:
            raise WatiValidationError(f"{where} is a text, or {{'text': ...}} and nothing else.")
        button = button["text"]
    return text(button, where, _MAX_BUTTON_TEXT)  # type: ignore[arg-type] # which is what it checks


def _header(header: object) -> dict[str, Any]:
    if isinstance(header, str):
        return {"type": "text", "text": text(header, "header", _MAX_HEADER)}
    if not isinstance(header, Mapping):
        raise WatiValidationError(f"header is text or a dict, not {type(header).__name__}.")
    given = header.get("type", "")
    kind = given.lower() if isinstance(given, str) else shown(given)
    if kind not in _HEADER_TYPES:
        raise WatiValidationError(f"header['type'] is one of {', '.join(_HEADER_TYPES)}, not {kind!r}.")
    media = header.get("media") or {}
    if not isinstance(media, Mapping) or (kind != "text" and not media.get("url")):
        raise WatiValidationError(f"header of type {kind} needs {{'media': {{'url': ...}}}}.")
    if header.get("text"):
        text(header["text"], "header text", _MAX_HEADER)
    checked = {**_optional_texts(header, "header"), "media": _optional_texts(media, "header media")}
    return {name: value for name, value in checked.items() if name != "media" or media}


def _optional_texts(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the members of a part of a header; ``media`` has a check of its own."""
    for name, value in values.items():
        text(name, f"{where}: a name")
        if name != "media" and value is not None:
            id_text(value, f"{where} {name}")
    return dict(values)


def list_message(
    body: str, button_text: str, sections: Sequence[Mapping[str, Any]], header: str | None, footer: str | None
) -> dict[str, Any]:
    """Build the ``list_message`` of an interactive message, within WATI's limits."""
    if not _is_list(sections) or not sections:
        raise WatiValidationError(
            "sections is a list of {'title': ..., 'rows': [...]}, and one is needed at least."
        )
    message: dict[str, Any] = {
        "body": text(body, "body", _MAX_BODY),
        "button_text": text(button_text, "button_text", _MAX_BUTTON_TEXT),
        "sections": [_section(section, f"section {n}") for n, section in enumerate(sections, 1)],
    }
    rows = sum(len(section["rows"]) for section in message["sections"])
    if rows > _MAX_ROWS:
        raise WatiValidationError(f"The sections have {rows} rows together; WhatsApp allows {_MAX_ROWS}.")
    if len(sections) > 1 and not all(section.get("title") for section in message["sections"]):
        raise WatiValidationError("With more than one section, each needs a title.")
    if header:
        message["header"] = text(header, "header", _MAX_HEADER)
    if footer:
        message["footer"] = text(footer, "footer", _MAX_FOOTER)
    return message


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _section(section: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(section, Mapping) or not section.keys() <= {"title", "rows"}:
        raise WatiValidationError(f"{where} is {{'title': ..., 'rows': [...]}} and nothing else.")
    if not _is_list(section.get("rows")) or not section["rows"]:
        raise WatiValidationError(f"{where} is {{'title': ..., 'rows': [...]}} with one row at least.")
    checked: dict[str, Any] = {}
    if section.get("title"):
        checked["title"] = text(section["title"], f"{where} title", _MAX_TITLE)
    checked["rows"] = [_row(row, f"{where} row {n}") for n, row in enumerate(section["rows"], 1)]
    return checked


def _row(row: Mapping[str, Any], where: str) -> dict[str, str]:
    if not isinstance(row, Mapping) or not row.keys() <= {"title", "description"}:
        raise WatiValidationError(
            f"{where} is {{'title': ..., 'description': ...}}; WATI's rows have no ids."
        )
    checked = {"title": text(row.get("title", ""), f"{where} title", _MAX_TITLE)}
    if row.get("description"):
        checked["description"] = text(row["description"], f"{where} description", _MAX_DESCRIPTION)
    return checked
