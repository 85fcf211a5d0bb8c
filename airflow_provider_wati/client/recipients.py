"""
The recipients of a template send: to the wire, and back out of WATI's answer.

This is where a send to a million people spends its time, so a recipient is checked and encoded once, and the answer
is compared entry by entry as long as nothing is odd in it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring as _quote
from typing import Any

from airflow_provider_wati.client.responses import has_failed, raise_if_refused, says_no, says_yes, text_in
from airflow_provider_wati.client.target import RECIPIENTS, Target, TargetKind, is_phone
from airflow_provider_wati.client.types import (
    Accepted,
    EncodedRecipient,
    RecipientResult,
    TemplateSendResult,
)
from airflow_provider_wati.client.validation import MAX_RECIPIENTS, id_text, name_values, text, whole_text
from airflow_provider_wati.exceptions import WatiRejectedError, WatiResponseError, WatiValidationError
from airflow_provider_wati.masking import mask_numbers

_KEYS = frozenset({"target", "phone_number", "params", "custom_params", "local_message_id"})
_ANSWER_KEYS = frozenset({"local_message_id", "phone_number", "target", "errors"})
_OMITTED = "WATI left this recipient out of its answer, or does not say in it what became of it"
_WRITTEN_NUMBER = re.compile(r"\+?[\d\s().\u00a0\u2011/-]+")


def encode_recipient(
    target: str | Target, params: Mapping[str, str], local_message_id: str | None = None
) -> EncodedRecipient:
    """
    Check one recipient and write it as it goes over the wire.

    :param target: phone number in digits, contact id or BSUID, without a channel.
    :param params: the template's parameters by name; texts only.
    :param local_message_id: the id that WATI echoes; 10 to 64 characters, or WATI cannot look it up. None to let
        WATI make one.
    :return: the recipient, to be given to :meth:`.WatiClient.dispatch_template`.
    :raises WatiValidationError: for a target or parameter that cannot be right.
    """
    # phone_number is in every version of WATI's reference, target only in those since 2.2.
    key, value = "phone_number", target
    if not is_phone(target):
        checked = RECIPIENTS.check(target)
        key, value = "phone_number" if checked.kind is TargetKind.PHONE else "target", checked.value
    local_id = "" if local_message_id is None else f'"local_message_id":{_quote(local_message_id)},'
    try:
        # _quote raises TypeError for everything but text.
        pairs = ",".join([f"{_name_head(name)}{_quote(param)}}}" for name, param in params.items()])
    except TypeError:
        name_values(params, "params")
        raise
    # A checked target needs no escapes.
    body = f'{{"{key}":"{value}",{local_id}"custom_params":[{pairs}]}}'
    if "" in params:
        name_values(params, "params")
    if not body.isascii():
        whole_text(body, "The recipient")
    return EncodedRecipient(str(value), local_message_id, body)


@lru_cache(maxsize=1024)
def _name_head(name: str) -> str:
    """Write the beginning of a parameter; all recipients of a send have the same few names."""
    return f'{{"name":{_quote(name)},"value":'


def encode_recipients(recipients: Sequence[Mapping[str, Any]]) -> list[EncodedRecipient]:
    """
    Check recipients in the form that users write, and encode them.

    :param recipients: 1 to 10,000 dicts with ``target`` or ``phone_number``, and ``params`` (a dict) or
        ``custom_params`` (a dict or WATI's list), and maybe ``local_message_id``.
    :raises WatiValidationError: naming the recipient by its number, 1 for the first.
    """
    if isinstance(recipients, str) or not isinstance(recipients, Sequence):
        raise WatiValidationError(f"recipients is a list of dicts, not {type(recipients).__name__}.")
    check_count(recipients)
    return [_encode(recipient, f"Recipient {n}") for n, recipient in enumerate(recipients, 1)]


def check_count(recipients: Sequence[object]) -> None:
    """
    Check that one call can take a number of recipients.

    :param recipients: 1 to 10,000 of them.
    :raises WatiValidationError: for none, or too many, or what is not a list.
    """
    if isinstance(recipients, (str, bytes)) or not isinstance(recipients, Sequence):
        raise WatiValidationError(f"recipients is a list, not {type(recipients).__name__}.")
    if not recipients:
        raise WatiValidationError("recipients is empty: there is nobody to send to.")
    if len(recipients) > MAX_RECIPIENTS:
        raise WatiValidationError(
            f"{len(recipients)} recipients are too many for one call: WATI allows {MAX_RECIPIENTS}, split them."
        )


def _encode(recipient: Mapping[str, Any], where: str) -> EncodedRecipient:
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
    params = recipient.get("params")
    pairs = name_values(recipient.get("custom_params") if params is None else params, where)
    local_id = recipient.get("local_message_id")
    try:
        return encode_recipient(
            targets[0],
            {pair["name"]: pair["value"] for pair in pairs},
            None if local_id is None else id_text(local_id, "local_message_id"),
        )
    except WatiValidationError as error:
        raise WatiValidationError(f"{where}: {error}") from None


def template_body(
    template_name: str,
    campaign_name: str,
    recipients: Sequence[EncodedRecipient],
    channel: str | None,
    scheduled_at: str | None,
) -> bytes:
    """
    Join the body of a template call; no recipient is encoded a second time.

    :param template_name: the exact name of the template.
    :param campaign_name: what the campaign is called; WATI's field is ``broadcast_name``.
    :param recipients: 1 to 10,000 of them.
    :param channel: name or number to send from; None for WATI's default.
    :param scheduled_at: when, as :func:`.utc_time` writes it; None for now.
    :raises WatiValidationError: for a text that cannot be right, or too many recipients.
    """
    check_count(recipients)
    fields = {
        "template_name": text(template_name, "template_name"),
        "broadcast_name": text(campaign_name, "campaign_name"),
    }
    if scheduled_at is not None:
        fields["scheduled_at"] = scheduled_at
    # WATI takes an empty channel for another thing than none.
    if channel:
        fields["channel"] = text(channel, "channel")
    head = ",".join(f'"{name}":{_quote(value)}' for name, value in fields.items())
    try:
        bodies = ",".join([recipient.body for recipient in recipients])
    except AttributeError:
        raise WatiValidationError("recipients holds what encode_recipient makes, and nothing else.") from None
    return f'{{{head},"recipients":[{bodies}]}}'.encode()


def read_template_answer(template_name: str, recipients: Sequence[EncodedRecipient], answer: Any) -> Accepted:
    """
    Read WATI's answer to a template call.

    WATI does not promise the order of its answer, so a recipient is found by its local message id, or else by its
    number. One that is not found, or whose entries contradict each other, is open.

    :param template_name: what an error calls the call.
    :param recipients: who was asked for.
    :param answer: the decoded JSON.
    :raises WatiRejectedError: when WATI refuses the whole call.
    :raises WatiResponseError: when the answer is not what WATI documents, or names others in place of some who were
        asked for: they may be the same people, in another spelling.
    """
    answered = answer.get("recipients") if isinstance(answer, Mapping) else None
    try:
        raise_if_refused(answer, f"the template {template_name!r}")
    except WatiRejectedError:
        if not _names_accepted(answer, answered):
            raise
        # Nobody is sent to again on the word of an answer that contradicts itself.
        raise WatiResponseError(
            "it refuses the call and names a campaign, or recipients that it has accepted"
        ) from None
    answered = answer["recipients"]
    if not says_yes(answer["success"]) or not isinstance(answered, list):
        raise WatiResponseError("it does not say for whom it succeeded")
    campaign_id = text_in(answer.get("broadcast_id")) or None
    if _is_plain(recipients, answered):
        return Accepted(campaign_id)
    refused: dict[int, str] = {}
    omitted: set[int] = set()
    other_ids: dict[int, str] = {}
    for position, found in enumerate(_match(recipients, answered)):
        if found is None:
            omitted.add(position)
            continue
        entry = answered[found]
        if (reason := _refusal_of(entry)) is not None:
            refused[position] = reason
        echoed = entry.get("local_message_id")
        if echoed and str(echoed) != recipients[position].local_message_id:
            other_ids[position] = str(echoed)
    return Accepted(campaign_id, refused, frozenset(omitted), other_ids)


def _names_accepted(answer: Mapping[str, Any], answered: Any) -> bool:
    """Return whether an answer has a campaign, or recipients without an error."""
    entries = answered if isinstance(answered, list) else []
    return bool(answer.get("broadcast_id")) or any(
        isinstance(entry, Mapping) and _refusal_of(entry) is None for entry in entries
    )


def to_result(recipients: Sequence[EncodedRecipient], accepted: Accepted) -> TemplateSendResult:
    """
    Say for each recipient what became of it.

    :param recipients: who was asked for.
    :param accepted: what WATI answered.
    """

    def error_of(position: int) -> str | None:
        return _OMITTED if position in accepted.omitted else accepted.refused.get(position)

    return TemplateSendResult(
        accepted.campaign_id,
        tuple(
            RecipientResult(
                recipient.target,
                accepted.other_ids.get(position, recipient.local_message_id),
                error_of(position),
            )
            for position, recipient in enumerate(recipients)
        ),
    )


def _is_plain(recipients: Sequence[EncodedRecipient], answered: Sequence[Any]) -> bool:
    """Say if the answer has all recipients in their order, by their own ids, and nothing against any of them."""
    if len(recipients) != len(answered):
        return False
    for recipient, entry in zip(recipients, answered, strict=True):
        if (
            type(entry) is not dict
            or entry.get("local_message_id") != recipient[1]
            or recipient[1] is None
            or entry.get("errors")
            or not entry.keys() <= _ANSWER_KEYS
        ):
            return False
    return True


def _match(recipients: Sequence[EncodedRecipient], answered: Sequence[Any]) -> list[int | None]:
    """
    Return for each recipient the position of its entry in the answer, by id, else by number.

    None for a recipient that the answer leaves out, and for one that may have any of several entries.
    """
    by_id, by_name, same = _index(answered)
    ids: dict[str, list[int]] = defaultdict(list)
    names: dict[str, list[int]] = defaultdict(list)
    for position, recipient in enumerate(recipients):
        if recipient.local_message_id is not None:
            ids[recipient.local_message_id].append(position)
        name = normal_target(recipient.target)
        names[same.get(name, name)].append(position)
    found: dict[int, int | None] = {}
    taken: set[int] = set()
    _assign(ids, by_id, answered, found, taken)
    _assign(names, by_name, answered, found, taken)
    if len(taken) < min(len(answered), len(recipients)):
        raise WatiResponseError("it names other recipients than those it was asked for")
    return [found.get(position) for position in range(len(recipients))]


def _index(answered: Sequence[Any]) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, str]]:
    """
    Return the positions of entries by id, and by the name of the person, and the one name of people with two.

    Each entry is under one name, so that it decides about one message.
    """
    by_id: dict[str, list[int]] = defaultdict(list)
    named: dict[int, str] = {}
    same: dict[str, str] = {}
    for n, entry in enumerate(answered):
        if not isinstance(entry, dict):
            continue
        by_id[str(entry.get("local_message_id"))].append(n)
        names = [normal_target(entry[key]) for key in ("phone_number", "target") if entry.get(key)]
        if names:
            named[n] = names[0]
            if names[0] != names[-1]:
                same[names[-1]] = names[0]
    by_name: dict[str, list[int]] = defaultdict(list)
    for n, name in named.items():
        by_name[same.get(name, name)].append(n)
    return by_id, by_name, same


def _assign(
    wanted: Mapping[str, list[int]],
    named: Mapping[str, list[int]],
    answered: Sequence[Any],
    found: dict[int, int | None],
    taken: set[int],
) -> None:
    """
    Give the recipients of each name its entries, in order; nobody one where it makes a difference whose they are.

    An entry that is left over may be a second one of somebody who has one: they lose it if the two contradict each other.
    """
    for name, positions in wanted.items():
        entries = [n for n in named.get(name, ()) if n not in taken]
        if not entries:
            continue
        taken.update(entries)
        without = [position for position in positions if position not in found]
        verdicts = {_refusal_of(answered[n]) is None for n in entries}
        if len(verdicts) == 1 and len(entries) >= len(without):
            found.update(zip(without, entries, strict=False))
        else:
            found.update(dict.fromkeys(without))
        if len(entries) > len(without):
            for position in positions:
                own = found[position]
                if own is not None and verdicts != {_refusal_of(answered[own]) is None}:
                    found[position] = None


def normal_target(value: object) -> str:
    """
    Bring a target into the form in which two are compared.

    :param value: a target as it was asked for, or as WATI answers it.
    :return: the digits of a phone number without ``+`` or ``00`` before them; an id or BSUID as it is.
    """
    written = str(value).strip()
    if not _WRITTEN_NUMBER.fullmatch(written):
        return written
    return re.sub(r"\D", "", written).removeprefix("00")


def _refusal_of(entry: Mapping[str, Any]) -> str | None:
    """Return why WATI refused a recipient, phone numbers masked; None if it did not."""
    errors = entry.get("errors") or entry.get("error")
    if errors:
        reasons = errors if isinstance(errors, (list, tuple)) else [errors]
        return mask_numbers("; ".join(map(str, reasons)))
    if has_failed(entry.get("status")) or any(
        says_no(entry.get(flag)) for flag in ("success", "result", "ok")
    ):
        return "WATI refused this recipient without a reason"
    return None
