"""From the body of a webhook of WATI to a typed record; pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.listening.values import written_time
from airflow_provider_wati.masking import clean

if TYPE_CHECKING:
    from airflow_provider_wati.listening.types import InboundMessage, MessageStatus

#: What stands at the end of the name of an event that WATI sends in two shapes.
_TWINS = ("_v2", "_bsuid")
#: ``newContactMessageReceived`` comes beside ``message`` for the first message of a contact.
_INBOUND = frozenset({"message", "newcontactmessagereceived"})
_STATUSES = {
    "sessionmessagesent": "sent",
    "templatemessagesent": "sent",
    "sentmessagedelivered": "delivered",
    "sentmessageread": "read",
    "sentmessagereplied": "replied",
    "sessionmessagefailed": "failed",
    "templatemessagefailed": "failed",
}
_LONGEST_TYPE = 100
#: 2001 to 2286; later numbers are milliseconds.
_SECONDS = range(10**9, 10**10)


class Kind(StrEnum):
    """What an event is about."""

    MESSAGE = "message"
    STATUS = "status"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """
    An event of WATI.

    :param kind: what it is about.
    :param event_type: WATI's name for it, at most 100 characters; empty where the body has none.
    :param key: 64 hexadecimal characters, the same for each delivery of the event and for its twins.
    :param record: what an asset event carries; None for an event of kind other.
    :param tenant_id: the tenant that the body names, if it names one.
    """

    kind: Kind
    event_type: str
    key: str
    record: InboundMessage | MessageStatus | None = field(default=None, repr=False)
    tenant_id: str | None = None


def event_of(body: Mapping[str, Any]) -> WebhookEvent:
    """
    Read the body of a webhook.

    WATI gives no id to an event. The key is made of what stays the same when WATI repeats it: for a message of a
    customer its id; for a status the status and the id of the message; else the name, the ids, the status and the time.
    ``..._v2``, ``..._bsuid`` and the plain name are the same event, and so are ``message`` and ``newContactMessageReceived``
    with one id. Shapes that do not share the id that counts cannot be known for one event. A message of the account itself
    (``owner`` is true or 1) is of kind other.

    :param body: the JSON object that WATI sent; any of its values may be of any type.
    :return: the event. Texts hold neither half characters nor NULs.
    """
    event_type = (_text(body.get("eventType")) or "")[:_LONGEST_TYPE]
    name = _without_twin(event_type)
    tenant_id = _text(body.get("tenantId"))
    if name in _INBOUND and not _is_true(body.get("owner")):
        message = _message(body)
        key = _key("message", message["id"])
        return WebhookEvent(
            kind=Kind.MESSAGE, event_type=event_type, key=key, record=message, tenant_id=tenant_id
        )
    if status := _STATUSES.get(name):
        record = _status(body, status)
        key = _key("status", status, *_identity(body))
        return WebhookEvent(
            kind=Kind.STATUS, event_type=event_type, key=key, record=record, tenant_id=tenant_id
        )
    key = _key("other", name, *_all_ids(body))
    return WebhookEvent(kind=Kind.OTHER, event_type=event_type, key=key, tenant_id=tenant_id)


def _without_twin(event_type: str) -> str:
    name = event_type.lower()
    while twin := next((twin for twin in _TWINS if name.endswith(twin)), None):
        name = name.removesuffix(twin)
    return name


def _message(body: Mapping[str, Any]) -> InboundMessage:
    return {
        "id": _text(body.get("id")) or _text(body.get("whatsappMessageId")) or _digest(body),
        "conversation_id": _text(body.get("conversationId")),
        "ticket_id": _text(body.get("ticketId")),
        "phone_number": _digits(body.get("waId")),
        "sender_name": _text(body.get("senderName")),
        "type": (_text(body.get("type")) or "").lower() or None,
        "text": _tapped(body) or _text(body.get("text")),
        "channel_phone_number": _text(body.get("channelPhoneNumber")),
        "created": _created(body),
    }


def _tapped(body: Mapping[str, Any]) -> str | None:
    """Return the text of the button or list row that the customer has tapped."""
    for name in ("listReply", "interactiveButtonReply", "buttonReply"):
        reply = body.get(name)
        if isinstance(reply, Mapping) and (text := _text(reply.get("title")) or _text(reply.get("text"))):
            return text
    return None


def _status(body: Mapping[str, Any], status: str) -> MessageStatus:
    return {
        "id": _text(body.get("id")),
        "local_message_id": _text(body.get("localMessageId")),
        "whatsapp_message_id": _text(body.get("whatsappMessageId")),
        "conversation_id": _text(body.get("conversationId")),
        "phone_number": _digits(body.get("waId")),
        "template_name": _text(body.get("templateName")),
        "status": status,
        "failed_code": _text(body.get("failedCode")),
        "failed_detail": _text(body.get("failedDetail")),
        "created": _created(body),
    }


def _identity(body: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Return what names the message of a status.

    One id is enough, and twins may differ in the others. An id of the user's own may be used again, so it counts with its time.
    """
    for name in ("id", "whatsappMessageId"):
        if text := _text(body.get(name)):
            return name, text
    if local := _text(body.get("localMessageId")):
        return "localMessageId", local, _created(body) or ""
    return ("body", _digest(body))


def _all_ids(body: Mapping[str, Any]) -> tuple[str, ...]:
    ids = tuple(_text(body.get(name)) or "" for name in ("id", "whatsappMessageId", "localMessageId"))
    if not any(ids):
        return (_digest(body),)
    return (*ids, (_text(body.get("statusString")) or "").lower(), _created(body) or "")


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(body: Mapping[str, Any]) -> str:
    """Return a name for a body without any id; the names of twins and attempts do not count."""
    rest: Iterable[tuple[str, Any]] = ((name, value) for name, value in body.items() if name != "eventType")
    return hashlib.sha256(json.dumps(dict(rest), sort_keys=True).encode()).hexdigest()


def _text(value: object) -> str | None:
    """Return a text that a database and an asset event take; WATI writes ids as texts or as numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Longer numbers are no ids, and Python refuses to write very long ones.
        return str(value) if abs(value) < 10**30 else None
    if not isinstance(value, str):
        return None
    return clean(value).replace("\0", "") or None


def _digits(value: object) -> str | None:
    text = _text(value) or ""
    return "".join(character for character in text if character in "0123456789") or None


def _is_true(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1")
    return value == 1


def _created(body: Mapping[str, Any]) -> str | None:
    """Return the time of the event; ``timestamp`` and ``created`` hold seconds or a date, as numbers or as texts."""
    for name in ("timestamp", "created"):
        if when := _time(body.get(name)):
            return when
    return None


def _time(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return _date(str(value))
    if not math.isfinite(number):
        return None
    if number >= _SECONDS.stop:
        number /= 1000
    if not _SECONDS.start <= number < _SECONDS.stop:
        return None
    return written_time(datetime.fromtimestamp(number, tz=UTC))


def _date(text: str) -> str | None:
    try:
        when = datetime.fromisoformat(text.strip())
        return written_time(when)
    except (ValueError, OverflowError):
        return None
