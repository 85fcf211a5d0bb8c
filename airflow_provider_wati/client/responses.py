"""
Answers of WATI, read to the end.

A 200 may still carry a refusal, so a reader of a call that acts looks for it first. A reader raises
:class:`WatiRejectedError` for a refusal, and :class:`WatiResponseError` for what WATI does not document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from airflow_provider_wati.client.retry import FailureKind, failure_kind_of
from airflow_provider_wati.client.types import Contact, CostEstimate, DeletedContact, Message
from airflow_provider_wati.exceptions import WatiRejectedError, WatiResponseError
from airflow_provider_wati.masking import mask_numbers

Shape = TypeVar("Shape", bound=Mapping[str, Any])

_FLAGS = ("success", "result", "ok")
_REASONS = ("error", "message", "info", "result", "failed_detail")
_NO = frozenset({"false", "no", "0", "n", "f"})
_YES = frozenset({"true", "1"})
_LOWEST_ERROR = 400

#: WATI documents no statuses but ``processing``; these words are in use elsewhere in its product.
_FAILED = frozenset({"failed", "failure", "rejected", "undelivered", "undeliverable"})


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
    """Read an answer whose shape WATI does not document."""
    return answer


def read_object(shape: type[Shape]) -> Callable[[Any], Shape]:
    """
    Make a reader of an object.

    :param shape: what is read, for the type checker.
    """

    def read(answer: Any) -> Shape:
        if not isinstance(answer, dict):
            raise WatiResponseError("it is not an object")
        return cast("Shape", answer)

    return read


def read_with_id(shape: type[Shape]) -> Callable[[Any], Shape]:
    """
    Make a reader of an object that has an ``id``.

    :param shape: what is read, for the type checker.
    """

    def read(answer: Any) -> Shape:
        if not isinstance(answer, dict) or not answer.get("id"):
            raise WatiResponseError("it has no id")
        return cast("Shape", answer)

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
    rows = read_page("contact_list")(answer)["contact_list"] or []
    return cast("list[Contact]", [row for row in rows if isinstance(row, dict)])


def read_deleted_contact(answer: Any) -> DeletedContact:
    """Read the answer to the deletion of a contact."""
    raise_if_refused(answer, "the deletion")
    deleted = read_object(DeletedContact)(answer)
    if says_no(deleted.get("deleted")):
        raise rejected("the deletion", _reason_in(answer))
    return deleted


def read_count(answer: Any) -> int:
    """Read a count of contacts."""
    try:
        return int(answer["contact_count"])
    except (ValueError, OverflowError):
        raise WatiResponseError("its contact_count is not a number") from None


def read_done(answer: Any) -> None:
    """Read ``{"result": true}``, which is the whole answer to calls that do something."""
    raise_if_refused(answer)
    if not says_yes(answer["result"]):
        raise WatiResponseError("it does not say whether it was done")


def read_not_refused(answer: Any) -> Any:
    """Read the answer to a call that acts, where WATI documents no shape."""
    raise_if_refused(answer)
    return answer


def read_if_done(answer: Any) -> bool:
    """Read the answer to a call that acts, of no documented shape: True if it says that it was done, False if it does not say."""
    raise_if_refused(answer)
    return isinstance(answer, dict) and any(says_yes(answer.get(flag)) for flag in _FLAGS)


def has_failed(status: object) -> bool:
    """Return whether the status of a message or a recipient says that the person got nothing."""
    return str(status or "").strip().casefold() in _FAILED


def read_message(answer: Any) -> Message:
    """Read the message that a send made."""
    raise_if_refused(answer, "the message")
    message = answer["message"]
    if not isinstance(message, dict):
        raise WatiResponseError("its message is not an object")
    if has_failed(message.get("status")):
        raise rejected("the message", message.get("failed_detail"))
    if not message.get("id"):
        raise WatiResponseError("its message has no id")
    return cast("Message", message)


def read_estimate(answer: Any) -> CostEstimate:
    """Read what a campaign would cost."""
    if says_no(answer["is_request_succeeded"]):
        raise rejected("the estimate", answer.get("failed_detail"))
    return cast("CostEstimate", answer)


def attributes_of(contact: Contact) -> dict[str, str]:
    """
    Return the attributes of a contact by name, whatever form WATI gives them in.

    :param contact: a contact as WATI answers it. Values that are numbers become their text; an attribute without a
        name is left out.
    """
    params: Any = contact.get("custom_params")
    if isinstance(params, dict):
        pairs = list(params.items())
    elif isinstance(params, list):
        pairs = [(param.get("name"), param.get("value")) for param in params if isinstance(param, dict)]
    else:
        pairs = []
    return {name: "" if value is None else str(value) for name, value in pairs if isinstance(name, str)}
