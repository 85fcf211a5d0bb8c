"""The recipients of a template send: to the wire, and back out of WATI's answer."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_wati.client.target import RECIPIENTS, TargetKind, is_phone
from airflow_provider_wati.client.types import RecipientResult
from airflow_provider_wati.client.validation import MAX_RECIPIENTS, name_values
from airflow_provider_wati.exceptions import WatiResponseError, WatiValidationError
from airflow_provider_wati.masking import mask_numbers

_KEYS = frozenset({"target", "phone_number", "params", "custom_params", "local_message_id"})
_NOT_IN_THE_ANSWER = "WATI left this recipient out of its answer, so it was not accepted"


def to_wire(recipients: Sequence[Mapping[str, Any]], first: int = 1) -> list[dict[str, Any]]:
    """
    Check recipients and write them as WATI wants them.

    :param recipients: 1 to 10,000 dicts with ``target`` or ``phone_number``, and ``params`` (a dict) or
        ``custom_params`` (a dict or WATI's list), and maybe ``local_message_id``.
    :param first: the number of the first one in the caller's count.
    :raises WatiValidationError: naming the recipient by its number.
    """
    if isinstance(recipients, (str, Mapping)):
        raise WatiValidationError(f"recipients is a list of dicts, not {type(recipients).__name__}.")
    if not recipients:
        raise WatiValidationError("recipients is empty: there is nobody to send to.")
    if len(recipients) > MAX_RECIPIENTS:
        raise WatiValidationError(
            f"{len(recipients)} recipients are too many for one call: WATI allows {MAX_RECIPIENTS}, split them."
        )
    return [_one_to_wire(recipient, f"Recipient {n}") for n, recipient in enumerate(recipients, first)]


def _one_to_wire(recipient: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(recipient, Mapping):
        raise WatiValidationError(f"{where} is a dict, not {type(recipient).__name__}.")
    if not recipient.keys() <= _KEYS:
        unknown = ", ".join(sorted(str(key) for key in recipient.keys() - _KEYS))
        raise WatiValidationError(f"{where} has {unknown}, and WATI knows only {', '.join(sorted(_KEYS))}.")
    targets = [recipient[key] for key in ("target", "phone_number") if recipient.get(key) is not None]
    if len(targets) != 1:
        raise WatiValidationError(
            f"{where} has {'both' if targets else 'neither'} target {'and' if targets else 'nor'} phone_number: "
            "give one of them."
        )
    # phone_number is in every version of WATI's reference, target only in those since 2.2.
    wire: dict[str, Any]
    if is_phone(targets[0]):
        wire = {"phone_number": targets[0]}
    else:
        try:
            target = RECIPIENTS.check(targets[0])
        except WatiValidationError as error:
            raise WatiValidationError(f"{where}: {error}") from None
        wire = {"phone_number" if target.kind is TargetKind.PHONE else "target": target.value}
    if recipient.get("local_message_id") is not None:
        wire["local_message_id"] = str(recipient["local_message_id"])
    params = recipient.get("params")
    wire["custom_params"] = name_values(recipient.get("custom_params") if params is None else params, where)
    return wire


def from_answer(
    asked: Sequence[Mapping[str, Any]], answered: Sequence[Mapping[str, Any]]
) -> list[RecipientResult]:
    """
    Find out what WATI said about each recipient.

    WATI does not promise the order of its answer, so a recipient is found by its local message id, or else by
    its number; one that is not found was not accepted.

    :param asked: what :func:`to_wire` gave.
    :param answered: the ``recipients`` of WATI's answer.
    :raises WatiResponseError: when it names others in place of some who were asked for: they may be the same people,
        in another spelling.
    """
    if [_id_of(entry) for entry in asked] == [_id_of(entry) for entry in answered]:
        return [_result(entry, answer) for entry, answer in zip(asked, answered, strict=True)]
    by_id: dict[str, deque[int]] = defaultdict(deque)
    by_target: dict[str, deque[int]] = defaultdict(deque)
    for n, entry in enumerate(answered):
        by_id[str(entry.get("local_message_id"))].append(n)
        for key in ("phone_number", "target"):
            if entry.get(key):
                by_target[str(entry[key]).lstrip("+")].append(n)
    taken: set[int] = set()
    found: list[int | None] = [
        _take(by_id.get(str(entry.get("local_message_id", "-"))), taken) for entry in asked
    ]
    for n, entry in enumerate(asked):
        if found[n] is None:
            found[n] = _take(by_target.get(_target_of(entry)), taken)
    if len(taken) < min(len(answered), len(asked)):
        raise WatiResponseError("it names other recipients than those it was asked for")
    return [
        _result(entry, answered[n] if n is not None else None) for entry, n in zip(asked, found, strict=True)
    ]


def _take(candidates: deque[int] | None, taken: set[int]) -> int | None:
    while candidates:
        n = candidates.popleft()
        if n not in taken:
            taken.add(n)
            return n
    return None


def _id_of(entry: Mapping[str, Any]) -> Any:
    # An entry without an id equals none, not even another one without.
    return entry.get("local_message_id") or object()


def _target_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("phone_number") or entry["target"])


def _result(asked: Mapping[str, Any], answered: Mapping[str, Any] | None) -> RecipientResult:
    if answered is None:
        return RecipientResult(_target_of(asked), asked.get("local_message_id"), _NOT_IN_THE_ANSWER)
    errors = answered.get("errors")
    return RecipientResult(
        _target_of(asked),
        answered.get("local_message_id") or asked.get("local_message_id"),
        mask_numbers("; ".join(map(str, errors))) if errors else None,
    )
