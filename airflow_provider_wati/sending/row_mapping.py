"""One row of a send: whom it is for, what the message says, and the id by which it is found again."""

from __future__ import annotations

import hashlib
import marshal
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.prechecks import parameter_complaint
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from airflow_provider_wati.tables.readers import Column, Row, as_written, cell, complaint_of, text_of

if TYPE_CHECKING:
    from airflow_provider_wati.tables.phone_numbers import TargetReader

# WATI looks up 10 to 64 characters only, and they become a segment of a path.
_LOCAL_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{10,64}")
_RECIPIENT = frozenset({"target", "phone_number", "params", "custom_params", "local_message_id", "key"})


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

    :param target_column: the column with the phone number, contact id or BSUID.
    :param param_columns: ``{parameter of the template: column}``.
    :param template_params: ``{parameter of the template: value}``, the same for everybody.
    :param key_column: the column that makes two messages to one person distinct.
    """

    target_column: Column
    param_columns: Mapping[str, Column] = field(default_factory=dict)
    template_params: Mapping[str, Any] = field(default_factory=dict)
    key_column: Column | None = None

    def __post_init__(self) -> None:
        for name in ("param_columns", "template_params"):
            if not isinstance(getattr(self, name), Mapping):
                raise WatiValidationError(f"{name} is a dict, not {type(getattr(self, name)).__name__}.")
        twice = self.param_columns.keys() & self.template_params.keys()
        if twice:
            raise WatiValidationError(
                f"param_columns and template_params both have {', '.join(sorted(map(repr, twice)))}: "
                "leave one of them out."
            )

    def __call__(self, row: Row) -> Parts:
        return Parts(
            target=cell(row, self.target_column),
            params={
                **self.template_params,
                **{name: cell(row, column) for name, column in self.param_columns.items()},
            },
            key=None if self.key_column is None else cell(row, self.key_column),
        )


@dataclass(frozen=True, slots=True)
class RecipientDicts:
    """
    Take recipients apart as a DAG's author writes them.

    :param key: the parameter that makes two messages to one person distinct, where a recipient has no ``key`` of
        its own.
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
        given = [row[name] for name in ("params", "custom_params") if row.get(name) is not None]
        if len(given) > 1:
            raise WatiValidationError("it has both params and custom_params: give one of them")
        params = _params(given[0] if given else None)
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
        named = {param["name"]: param["value"] for param in params}
        if len(named) < len(params):
            raise WatiValidationError("its custom_params have a name twice")
        return named
    raise WatiValidationError(
        "params is a dict, and custom_params that or a list of {'name': ..., 'value': ...}"
    )


class CheckedRow(NamedTuple):
    """What is known of a row before anything is sent."""

    #: What is wrong with it; None if nothing is.
    complaint: str | None
    key: str | None
    #: As WATI wants it; if that cannot be said, as it was given.
    target: str
    #: The same for all spellings of one line; None if there is no target.
    line: str | None
    #: Names the message; None if it is not known whom the row is about.
    local_message_id: str | None
    #: Whether that is the row's own, and not made of send, target and key.
    names_itself: bool
    #: The parameters, as `marshal` writes them; None if they are wrong.
    params: bytes | None


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

    def read(self, row: Row) -> CheckedRow:
        """Say all that can be said about a row; whatever is wrong with it concerns no other row."""
        parts: Parts | None = None
        key = target = given = None
        try:
            parts = self.take_apart(row)
            key = None if parts.key is None else _text_of(parts.key, "key") or None
            target = self.targets.read(parts.target)
            given = _local_message_id(parts.local_message_id)
            params = {
                name if type(name) is str and name.isascii() else _text_of(name, "a parameter's name"): (
                    value if type(value) is str and value.isascii() else _text_of(value, name)
                )
                for name, value in parts.params.items()
            }
            complaint = parameter_complaint(params, self.needed)
        except Exception as error:
            complaint = complaint_of(error)
        if target is None:
            return CheckedRow(complaint, key, as_written(parts and parts.target), None, None, False, None)
        # The fastest way into a file that this process alone reads, and which it does not outlive.
        packed = marshal.dumps(params) if complaint is None else None
        line = dedupe_key_of(target)
        local_message_id = given or self._id_of(line, key)
        return CheckedRow(complaint, key, target, line, local_message_id, given is not None, packed)

    def _id_of(self, line: str, key: str | None) -> str:
        return hashlib.sha256(f"{self.send_key}\n{line}\n{key or ''}".encode()).hexdigest()[:32]


def _local_message_id(given: Any) -> str | None:
    if given is not None and not (isinstance(given, str) and _LOCAL_MESSAGE_ID.fullmatch(given)):
        raise WatiValidationError(
            "local_message_id is 10 to 64 letters, digits, - and _: WATI looks up no others"
        )
    return given


def _text_of(value: Any, name: object) -> str | None:
    try:
        return text_of(value)
    except WatiValidationError as error:
        raise WatiValidationError(f"{name}: {error}") from None
