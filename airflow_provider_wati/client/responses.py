"""
Answers of WATI, read to the end.

A 200 may still carry a refusal, so a reader of a call that acts looks for it first. A reader raises
:class:`WatiRejectedError` for a refusal, and :class:`WatiResponseError` for what WATI does not document.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from airflow_provider_wati.client.retry import FailureKind, failure_kind_of
from airflow_provider_wati.client.types import Contact, CostEstimate, DeletedContact, Message, Webhook
from airflow_provider_wati.exceptions import WatiRejectedError, WatiResponseError
from airflow_provider_wati.masking import mask_numbers

log: logging.Logger = logging.getLogger(__name__)

Shape = TypeVar("Shape", bound=Mapping[str, Any])

# An escape of JSON: a pair that makes one character, half of such a pair, or any other.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
#: Levels of objects and lists; WATI's answers have five.
_DEEPEST = 50
#: Members that WATI documents as text or null.
_TEXTS = frozenset(
    """
    id wa_id name display_name phone bsuid username parentBsuid created last_updated contact_status source channel_id
    channel_type conversation_id ticket_id event_type text type timestamp status failed_code failed_detail assigned_id
    operator_name bot_type local_message_id message_id contact_id contact_name contact_phone channel template_id
    scheduled_at body body_original footer category sub_category quality buttons_type last_modified
    """.split()
)

_FLAGS = ("success", "result", "ok")
_REASONS = ("error", "message", "info", "result", "failed_detail")
_NO = frozenset({"false", "no", "0", "n", "f"})
_YES = frozenset({"true", "1"})
_LOWEST_ERROR = 400

#: WATI documents no statuses but ``processing``; these words are in use elsewhere in its product.
#: Objects, lists and members of an answer. Each takes some hundred bytes of memory, whatever it takes on the wire.
_MOST_VALUES = 1_000_000
_LEFT = frozenset({"sent", "delivered", "read", "replied"})
_FAILED = frozenset({"failed", "failure", "rejected", "undelivered", "undeliverable"})


def decode_json(body: bytes | bytearray, shown: str) -> Any:
    """
    Decode an answer. Half a character (a lone surrogate) or a byte that is not UTF-8 becomes U+FFFD, and is reported.

    :param body: the bytes of the answer; none stand for null.
    :param shown: what the report calls the answer.
    :return: what the JSON says; the numbers that JSON does not have (NaN, Infinity) become null.
    :raises ValueError: for what is not JSON.
    :raises WatiResponseError: for more than a million objects, lists and members.
    :raises RecursionError: for JSON that is nested too deeply for the parser.
    """
    if sum(map(body.count, (b"{", b"[", b","))) > _MOST_VALUES:
        raise WatiResponseError(f"it holds more than {_MOST_VALUES:,} values")
    try:
        text = whole = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, whole = "", body.decode("utf-8-sig", "replace")
    if r"\ud" in whole or r"\uD" in whole:
        whole = _ESCAPE.sub(lambda escape: r"\ufffd" if escape["half"] else escape[0], whole)
    if whole != text:
        log.warning("WATI's answer to %s holds half a character: it is replaced by U+FFFD.", shown)
    # A function of Python's for each object lets other threads run in between, such as the event loop of a triggerer.
    return json.loads(whole or "null", parse_constant=lambda _: None, object_hook=lambda found: found)


def is_too_deep(value: object) -> bool:
    """
    Say if a value is nested so deeply that functions which follow it down may fail.

    :param value: decoded JSON.
    """
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def text_in(value: object) -> str | None:
    """
    Return what an answer has where WATI documents text.

    :param value: the value of the member.
    :return: a text as it is, and a number as its text; None for null and any other type.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def normalise(record: dict[str, Any]) -> dict[str, Any]:
    """
    Give the members of a record that are texts by WATI's documents this type; see :func:`text_in`.

    :param record: an object of an answer, which is changed.
    """
    for name in _TEXTS & record.keys():
        if not isinstance(record[name], str):
            record[name] = text_in(record[name])
    return record


def says_no(value: object) -> bool:
    """
    Say if a value is false in one of its spellings: ``false``, 0, ``"False"``, ``"no"``.

    :param value: any value of a JSON answer; null and missing are not false.
    """
    return _is_one_of(value, number=0, words=_NO)


def says_yes(value: object) -> bool:
    """
    Say if a value is true in one of its spellings: ``true``, 1, ``"True"``. Other words prove nothing.

    :param value: any value of a JSON answer.
    """
    return _is_one_of(value, number=1, words=_YES)


def _is_one_of(value: object, *, number: int, words: frozenset[str]) -> bool:
    if isinstance(value, str):
        return value.strip().casefold() in words
    return isinstance(value, (bool, int, float)) and value == number


def rejected(what: str, why: object) -> WatiRejectedError:
    """
    Make the error of a refusal inside a 200.

    :param what: what was refused, as the error calls it.
    :param why: WATI's words; phone numbers in them are masked.
    """
    said = mask_numbers(str(why)) if why else None
    return WatiRejectedError(
        f"WATI refused {what} inside a 200 answer: {said or 'without a reason'}.",
        status_code=200,
        wati_message=said,
    )


def raise_if_refused(answer: Any, what: str = "the call") -> None:
    """
    Look for a refusal in an answer of any shape.

    :param answer: the decoded JSON.
    :param what: what was asked for, as the error calls it.
    :raises WatiRejectedError: when ``success``, ``result`` or ``ok`` is false, or the answer is an error envelope.
    :raises WatiResponseError: when it is the envelope of an error that leaves the outcome open, such as a 500.
    """
    if not isinstance(answer, dict):
        return
    code = _error_code(answer)
    if code is not None:
        if failure_kind_of(code) is FailureKind.AMBIGUOUS:
            raise WatiResponseError(
                f"it is an error inside a 200 ({code}): {_reason_in(answer) or 'no reason'}"
            )
        raise rejected(what, _reason_in(answer))
    if any(says_no(answer.get(flag)) for flag in _FLAGS):
        raise rejected(what, _reason_in(answer))


def _error_code(answer: Mapping[str, Any]) -> int | None:
    """Return the code of an error envelope, ``{"code": 400, "message": ...}``; None for any other answer."""
    code = answer.get("code")
    if isinstance(code, str) and code.strip().isdecimal() and len(code) < 10:
        code = int(code)
    if not isinstance(code, int) or isinstance(code, bool) or code < _LOWEST_ERROR:
        return None
    return code if isinstance(answer.get("message", 0), (str, type(None))) else None


def _reason_in(answer: Mapping[str, Any]) -> str | None:
    texts = (answer.get(name) for name in _REASONS)
    return next(
        (text for text in texts if isinstance(text, str) and text.strip() and not says_no(text)), None
    )


def read_anything(answer: Any) -> Any:
    """
    Read an answer whose shape WATI does not document.

    :raises WatiResponseError: for an answer that is nested too deeply to be used.
    """
    if is_too_deep(answer):
        raise WatiResponseError("it is nested too deeply")
    return answer


def read_object(shape: type[Shape]) -> Callable[[Any], Shape]:
    """
    Make a reader of an object.

    :param shape: what is read, for the type checker.
    """

    def read(answer: Any) -> Shape:
        if not isinstance(read_anything(answer), dict):
            raise WatiResponseError("it is not an object")
        return cast("Shape", normalise(answer))

    return read


def read_with_id(shape: type[Shape]) -> Callable[[Any], Shape]:
    """
    Make a reader of an object that has an ``id``.

    :param shape: what is read, for the type checker.
    """

    def read(answer: Any) -> Shape:
        record = read_object(dict[str, Any])(answer)
        if not record.get("id"):
            raise WatiResponseError("it has no id")
        return cast("Shape", record)

    return read


def read_page(key: str) -> Callable[[Any], dict[str, Any]]:
    """
    Make a reader of one page of a list.

    :param key: where its rows are.
    """

    def read(answer: Any) -> dict[str, Any]:
        if not isinstance(answer[key], (list, type(None))):
            raise WatiResponseError(f"its {key} is not a list")
        return cast("dict[str, Any]", answer)

    return read


def read_created_contact(answer: Any) -> Contact:
    """Read the contact that a create made."""
    raise_if_refused(answer, "the contact")
    return read_with_id(Contact)(answer)


def read_updated_contacts(answer: Any) -> list[Contact]:
    """Read the contacts that an update changed; entries that are not objects are left out."""
    raise_if_refused(answer, "the update")
    rows = read_page("contact_list")(read_anything(answer))["contact_list"] or []
    return cast("list[Contact]", [normalise(row) for row in rows if isinstance(row, dict)])


def read_deleted_contact(answer: Any) -> DeletedContact:
    """Read the answer to the deletion of a contact."""
    raise_if_refused(answer, "the deletion")
    deleted = read_object(DeletedContact)(answer)
    if says_no(deleted.get("deleted")):
        raise rejected("the deletion", _reason_in(answer))
    return deleted


def read_count(answer: Any) -> int:
    """Read a count of contacts, which may be text."""
    written = text_in(answer["contact_count"]) or ""
    if not written.isascii() or not written.strip().isdigit():
        raise WatiResponseError("its contact_count is not a number")
    return int(written)


def read_done(answer: Any) -> None:
    """Read ``{"result": true}``, which is the whole answer to calls that do something."""
    raise_if_refused(answer)
    if not says_yes(answer["result"]):
        raise WatiResponseError("it does not say whether it was done")


def read_not_refused(answer: Any) -> Any:
    """Read the answer to a call that acts, where WATI documents no shape."""
    raise_if_refused(answer)
    return read_anything(answer)


def read_if_done(answer: Any) -> bool:
    """Read the answer to a call that acts, of no documented shape: True if it says that it was done, False if it does not say."""
    raise_if_refused(answer)
    return isinstance(answer, dict) and any(says_yes(answer.get(flag)) for flag in _FLAGS)


def has_failed(status: object) -> bool:
    """Return whether the status of a message or a recipient says that the person got nothing."""
    return str(status or "").strip().casefold() in _FAILED


def has_left(status: object) -> bool:
    """Return whether the status of a recipient says that the message went out."""
    return str(status or "").strip().casefold() in _LEFT


def read_message(answer: Any) -> Message:
    """Read the message that a send made."""
    raise_if_refused(answer, "the message")
    message = read_object(dict[str, Any])(answer["message"])
    if has_failed(message.get("status")):
        raise rejected("the message", message.get("failed_detail"))
    if not message.get("id"):
        raise WatiResponseError("its message has no id")
    return cast("Message", message)


def read_estimate(answer: Any) -> CostEstimate:
    """Read what a campaign would cost."""
    estimate = read_object(CostEstimate)(answer)
    if says_no(estimate["is_request_succeeded"]):
        raise rejected("the estimate", estimate.get("failed_detail"))
    return estimate


#: The statuses of a webhook as V2 numbers them.
_WEBHOOK_STATUSES = {0: "Disabled", 1: "Enabled", 2: "Defective"}


def read_webhooks(answer: Any) -> list[Webhook]:
    """
    Read a list of webhooks; WATI documents neither its wrapper nor, in V3, its members.

    An item without an id or a URL is left out.

    :raises WatiResponseError: when there is no list in the answer.
    """
    raise_if_refused(answer)
    wrapped = read_anything(answer)
    rows = wrapped
    if isinstance(wrapped, dict):
        rows = next((value for value in wrapped.values() if isinstance(value, list)), None)
    if not isinstance(rows, list):
        raise WatiResponseError("it has no list of webhooks")
    return [webhook for row in rows if (webhook := _webhook(row)) is not None]


def read_created_webhook(answer: Any) -> Webhook:
    """
    Read the answer to the creation of one webhook.

    :raises WatiRejectedError: when ``ok`` is false.
    :raises WatiResponseError: when the new webhook is not in it.
    """
    webhooks = read_webhooks(answer)
    if not webhooks:
        raise WatiResponseError("the new webhook is not in it")
    return webhooks[0]


def _webhook(row: Any) -> Webhook | None:
    if not isinstance(row, dict):
        return None
    found, url = row.get("id"), row.get("url")
    if not isinstance(found, str | int) or not found or not isinstance(url, str) or not url:
        return None
    status = row.get("status")
    if isinstance(status, int):
        status = _WEBHOOK_STATUSES.get(status)
    types = row.get("eventTypes", row.get("event_types"))
    return {
        "id": str(found),
        "url": url,
        "event_types": [each for each in types if isinstance(each, str)] if isinstance(types, list) else [],
        "status": status.strip().capitalize() if isinstance(status, str) else None,
    }
