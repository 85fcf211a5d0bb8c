"""One row of a send: whom it is for, what the message says, and the id by which it is found again."""

from __future__ import annotations

import hashlib
import marshal
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.bulk.checks import parameter_complaint
from airflow_provider_wati.bulk.rows import Column, Row, cell, text_of
from airflow_provider_wati.exceptions import WatiValidationError

if TYPE_CHECKING:
    from airflow_provider_wati.bulk.numbers import TargetReader

# WATI looks up 10 to 64 characters only, and they become a segment of a path.
_LOCAL_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{10,64}")
_RECIPIENT = frozenset({"target", "phone_number", "params", "custom_params", "local_message_id", "key"})
_SHOWN_TARGET = 200


@dataclass(frozen=True, slots=True)
class Parts:
    """What a row says, before anything of it is checked."""

    target: Any
    params: Mapping[str, Any]
    key: Any = None
    local_message_id: Any = None


#: Takes a row apart; raises WatiValidationError when it has not what is needed.
TakeApart = Callable[[Row], Parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientColumns:
    """
    Take rows of a table apart.

    :param to: the column with the phone number, contact id or BSUID.
    :param template_params: ``{parameter of the template: column}``.
    :param template_constants: ``{parameter of the template: value}``, the same for everybody.
    :param key: the column that makes two messages to one person distinct.
    """

    to: Column
    template_params: Mapping[str, Column] = field(default_factory=dict)
    template_constants: Mapping[str, Any] = field(default_factory=dict)
    key: Column | None = None

    def __call__(self, row: Row) -> Parts:
        return Parts(
            target=cell(row, self.to),
            params={
                **self.template_constants,
                **{name: cell(row, column) for name, column in self.template_params.items()},
            },
            key=None if self.key is None else cell(row, self.key),
        )


@dataclass(frozen=True, slots=True)
class RecipientDicts:
    """
    Take recipients apart as a DAG's author writes them.

    :param key: the parameter (or other entry) that makes two messages to one person distinct, where a recipient
        has no ``key`` of its own.
    """

    key: str | None = None

    def __call__(self, row: Row) -> Parts:
        if not isinstance(row, Mapping):
            raise WatiValidationError(f"a recipient is a dict, not {type(row).__name__}")
        unknown = sorted(str(name) for name in row.keys() - _RECIPIENT)
        if unknown:
            raise WatiValidationError(
                f"a recipient has no {', '.join(unknown)}; it has {', '.join(sorted(_RECIPIENT))}"
            )
        targets = [row[name] for name in ("target", "phone_number") if row.get(name) is not None]
        if len(targets) > 1:
            raise WatiValidationError("it has both target and phone_number: give one of them")
        params = _params(row.get("custom_params") if row.get("params") is None else row["params"])
        key = row.get("key")
        if key is None and self.key is not None:
            key = cell(params, self.key)
        return Parts(targets[0] if targets else None, params, key, row.get("local_message_id"))


def _params(params: Any) -> Mapping[str, Any]:
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return params
    if isinstance(params, Sequence) and all(
        isinstance(param, Mapping) and param.keys() == {"name", "value"} for param in params
    ):
        return {param["name"]: param["value"] for param in params}
    raise WatiValidationError(
        "params is a dict, and custom_params that or a list of {'name': ..., 'value': ...}"
    )


@dataclass(slots=True)
class Recipients:
    """
    Turn rows into recipients, each with all that can be said about it before anything is sent.

    :param take_apart: finds target, parameters and key in a row.
    :param targets: reads phone numbers.
    :param send_key: the send, which the ids of its messages hang on.
    :param needed: the parameters that the template has.
    """

    take_apart: TakeApart
    targets: TargetReader
    send_key: str
    needed: Sequence[str]

    def read(self, row: Row) -> tuple[str | None, str, bytes | None, str | None, str | None]:
        """Return key, target, parameters, local message id, and what is wrong; None for what is not there."""
        key: str | None = None
        target: str = ""
        local_message_id: str | None = None
        try:
            parts = self.take_apart(row)
            target = str("" if parts.target is None else parts.target)[:_SHOWN_TARGET]
            key = None if parts.key is None else _text_of(parts.key, "key")
            target = self.targets.read(parts.target)
            local_message_id = self._local_message_id(parts, target, key)
            params = {
                str(name): value if type(value) is str else _text_of(value, name)
                for name, value in parts.params.items()
            }
            complaint = parameter_complaint(params, self.needed)
            if complaint:
                return key, target, None, local_message_id, complaint
        except WatiValidationError as error:
            return key, target, None, local_message_id, str(error)
        # The fastest way into a file that this process alone reads, and which it does not outlive.
        return key, target, marshal.dumps(params), local_message_id, None

    def _local_message_id(self, parts: Parts, target: str, key: str | None) -> str:
        given = parts.local_message_id
        if given is None:
            identity = f"{self.send_key}\n{target}\n{key or ''}"
            return hashlib.sha256(identity.encode()).hexdigest()[:32]
        if not isinstance(given, str) or not _LOCAL_MESSAGE_ID.fullmatch(given):
            raise WatiValidationError(
                "local_message_id is 10 to 64 letters, digits, - and _: WATI looks up no others"
            )
        return given


def _text_of(value: Any, name: object) -> str | None:
    try:
        return text_of(value)
    except WatiValidationError as error:
        raise WatiValidationError(f"{name}: {error}") from None
