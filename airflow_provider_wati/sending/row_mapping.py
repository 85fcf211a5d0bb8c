"""Rows to recipients: which column means what, and every error of a row that can be found before anything is sent."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wati.client.recipients import encode_recipient
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.journal_codec import PARAMS_DIGEST
from airflow_provider_wati.sending.prechecks import parameter_problem
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, is_plain
from airflow_provider_wati.tables.values import (
    Column,
    Row,
    as_written,
    cell,
    complaint_of,
    key_text_of,
    text_of,
)

if TYPE_CHECKING:
    from airflow_provider_wati.tables.phone_numbers import TargetReader
    from airflow_provider_wati.tables.sharding import Shard

# WATI looks up 10 to 64 characters only, and they become a segment of a path.
_LOCAL_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{10,64}")
#: Characters with which all ids of a send begin.
ID_PREFIX = 8
_REST_OF_ID = 32 - ID_PREFIX
_INT64 = struct.Struct(">q")
# Stands for the phone number while the pattern of a recipient is made.
_ANY_PHONE = "12025550143"

_RECIPIENT = frozenset({"target", "phone_number", "params", "custom_params", "local_message_id", "key"})


@dataclass(frozen=True, slots=True)
class RowParts:
    """The parts of a row, unchecked."""

    target: Any
    params: Mapping[str, Any]
    key: Any = None
    local_message_id: Any = None


#: Finds the parts of a row; raises WatiValidationError when it lacks what is needed.
RowMapping = Callable[[Row], RowParts]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """
    Map rows of a table.

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

    def __call__(self, row: Row) -> RowParts:
        return RowParts(
            target=cell(row, self.target_column),
            params={
                **self.template_params,
                **{name: cell(row, column) for name, column in self.param_columns.items()},
            },
            key=None if self.key_column is None else cell(row, self.key_column),
        )


def map_recipient(row: Row) -> RowParts:
    """
    Map a recipient as a DAG's author writes it: a dict with ``target`` or ``phone_number``, and ``params``.

    :raises WatiValidationError: for another shape.
    """
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
    return RowParts(targets[0] if targets else None, params, row.get("key"), row.get("local_message_id"))


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


class MappedRow(NamedTuple):
    """What is known of a row before anything is sent."""

    #: What is wrong with it; None if nothing is.
    problem: str | None
    #: The hash of person and key; None if there is no target.
    person: int | None
    #: The same for all spellings of a person; None if there is no target.
    dedupe_key: str | None
    key: str | None
    #: In WATI's form; in its given form if it cannot be read.
    target: str
    #: Names the message; None if there is no target.
    local_message_id: str | None
    #: Whether the row gives the local message id. Otherwise it is made of send, person and key.
    has_own_id: bool
    #: The recipient's JSON; None if the row is wrong.
    body: str | None


class RowReader:
    """
    Turn rows into encoded recipients, or into the errors that can be found before anything is sent.

    :param mapping: finds target, parameters and key in a row.
    :param targets: reads phone numbers.
    :param family: the send, which the hashes and ids of its messages depend on; mapped tasks share it.
    :param required: the parameters that the template's text uses.
    :param shard: the part of the people that is meant; all if left out.
    """

    def __init__(
        self,
        mapping: RowMapping,
        targets: TargetReader,
        family: str,
        required: Sequence[str],
        shard: Shard | None = None,
    ) -> None:
        self._shard = shard
        self._mapping = mapping
        self._targets = targets
        self._identity = MessageIdentity(family)
        self._required = required
        self._plain = PlainRows.of(mapping, targets, self._identity, required)
        #: Whether rows of other shards have keys: if some rows have one, all need one.
        self.has_keys_elsewhere: bool = False

    def read_all(self, rows: Iterable[Row]) -> Sequence[MappedRow | None]:
        """Read some rows. None takes the place of a row of another shard, so that row numbers count all rows."""
        mapped = [self.read(row) for row in rows]
        if self._shard is None:
            return mapped
        own: list[MappedRow | None] = []
        for row in mapped:
            is_own = self._shard.has(row.dedupe_key or row.target)
            own.append(row if is_own else None)
            if row.key is not None and not is_own:
                self.has_keys_elsewhere = True
        return own

    def read(self, row: Row) -> MappedRow:
        """Read one row. An error in it becomes its problem, and does not stop other rows."""
        if self._plain is not None:
            mapped = self._plain.read(row)
            if mapped is not None:
                return mapped
        parts: RowParts | None = None
        key = target = own_id = None
        try:
            parts = self._mapping(row)
            key = None if parts.key is None else _text_of(parts.key, "key", key_text_of) or None
            target = self._targets.read(parts.target)
            own_id = _local_message_id(parts.local_message_id)
            params = {
                name if type(name) is str and name.isascii() else _text_of(name, "a parameter's name"): (
                    value if type(value) is str and value.isascii() else _text_of(value, name)
                )
                for name, value in parts.params.items()
            }
            problem = parameter_problem(params, self._required)
        except Exception as error:
            problem, params = complaint_of(error), {}
        if target is None:
            return MappedRow(problem, None, None, key, as_written(parts and parts.target), None, False, None)
        dedupe_key = dedupe_key_of(target)
        person, local_id = self._identity.of(dedupe_key, key)
        local_id = own_id or local_id
        body = None
        if problem is None:
            try:
                body = encode_recipient(target, cast("dict[str, str]", params), local_id).body
            except WatiValidationError as error:
                problem = complaint_of(error)
        return MappedRow(problem, person, dedupe_key, key, target, local_id, own_id is not None, body)


class MessageIdentity:
    """
    Names the messages of a send: by an 8-byte hash in the journal, by a local message id in WATI.

    Both come from one digest of person and key. All local ids of a send have the same beginning, so that an id in WATI's lists
    shows whether the message belongs to the send.

    :param family: the send; mapped tasks share it.
    """

    def __init__(self, family: str) -> None:
        self._prefix = hashlib.sha256(family.encode()).hexdigest()[:ID_PREFIX]

    def of(self, dedupe_key: str, key: str | None) -> tuple[int, str]:
        """
        Return the hash and the local message id, 32 hexadecimal characters, of a message.

        :param key: what tells two messages to the person apart, if anything does.
        """
        digest = _digest_of(dedupe_key, key)
        return _INT64.unpack_from(digest)[0], self._prefix + digest.hex()[:_REST_OF_ID]


def is_made_id(local_message_id: str, dedupe_key: str, key: str | None) -> bool:
    """Return whether a local message id is made of person and key, and not given by the row."""
    return local_message_id[ID_PREFIX:] == _digest_of(dedupe_key, key).hex()[:_REST_OF_ID]


def is_keyed_id(local_message_id: str, names: Mapping[str, str], family_digest: str) -> bool | None:
    """
    Return whether a message that WATI lists was sent with a key; None where its id does not tell.

    An id without a key is that of one of the person's names. An id that is none of theirs has a key only if WATI shows all
    the names that it may have been made of.

    :param local_message_id: as WATI lists it.
    :param names: the dedupe keys of its person by kind.
    :param family_digest: the beginning of the send's SHA-256, at least as long as the beginning of its ids.
    """
    if not local_message_id.startswith(family_digest[:ID_PREFIX]) or len(local_message_id) != 32:
        return None
    if any(is_made_id(local_message_id, name, None) for name in names.values()):
        return False
    return True if {"phone", "contact"} <= names.keys() else None


def params_of(body: str) -> dict[str, str]:
    """
    Return the parameters of an encoded recipient by name.

    :param body: the recipient's JSON; empty for a row that cannot be sent.
    """
    return {param["name"]: param["value"] for param in json.loads(body)["custom_params"]} if body else {}


def digest_of_params(body: str) -> bytes:
    """
    Return what tells two messages of one template to one person apart, whatever the order of their parameters.

    :param body: the recipient's JSON.
    """
    params = json.dumps(sorted(params_of(body).items()))
    return hashlib.sha256(params.encode()).digest()[:PARAMS_DIGEST]


def hash_of(dedupe_key: str, key: str | None) -> int:
    """Return the hash by which the journal knows a message: 8 bytes of person and key."""
    found: int = _INT64.unpack_from(_digest_of(dedupe_key, key))[0]
    return found


def listed_hashes(names: Iterable[str], local_message_id: str, *, keyed: bool) -> Iterator[int]:
    """
    Yield the hashes by which the journal may know a message that WATI lists.

    :param names: the dedupe keys of its person.
    :param local_message_id: its id; one that :class:`MessageIdentity` has made holds the hash.
    :param keyed: whether a person may have several messages, so that the names do not tell which one it is.
    """
    if len(local_message_id) == ID_PREFIX + _REST_OF_ID:
        with suppress(ValueError):
            yield _INT64.unpack_from(bytes.fromhex(local_message_id[ID_PREFIX:]))[0]
    if not keyed:
        yield from (hash_of(name, None) for name in names)


def _digest_of(dedupe_key: str, key: str | None) -> bytes:
    return hashlib.blake2b(f"{dedupe_key}\n{key or ''}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class PlainRows:
    """
    A fast path for the usual row: texts that need no escapes in JSON. It takes a fraction of the time of :meth:`RowReader.read`.

    :param target: the column of the phone number.
    :param key: the column of the key, if there is one.
    :param columns: the columns of the parameters.
    :param body: the recipient's JSON with ``%s`` for phone number, local message id and each parameter.
    :param identity: names messages.
    """

    target: Column
    key: Column | None
    columns: tuple[Column, ...]
    body: str
    identity: MessageIdentity

    @classmethod
    def of(
        cls, mapping: RowMapping, targets: TargetReader, identity: MessageIdentity, required: Sequence[str]
    ) -> PlainRows | None:
        """Return the fast path for a mapping; None if it has none, or its constants have an error."""
        if not isinstance(mapping, ColumnMapping) or not mapping.param_columns or targets.region is not None:
            return None
        constants = mapping.template_params
        texts = (*constants, *constants.values(), *mapping.param_columns)
        if not all(type(text) is str and text.isascii() and "%" not in text for text in texts):
            return None
        params: dict[Any, Any] = {**constants, **dict.fromkeys(mapping.param_columns, "%s")}
        if parameter_problem(params, required) is not None:
            return None
        pattern = encode_recipient(_ANY_PHONE, params, "%s")
        body = pattern.body.replace(_ANY_PHONE, "%s", 1)
        columns = tuple(mapping.param_columns.values())
        return cls(mapping.target_column, mapping.key_column, columns, body, identity)

    def read(self, row: Row) -> MappedRow | None:
        """Return what is known of a row; None if it is not plain."""
        try:
            target: Any = row[self.target]  # type: ignore[index] # a name for a mapping, a number for a sequence
            key: Any = None if self.key is None else row[self.key]  # type: ignore[index] # likewise
            values: list[Any] = [row[column] for column in self.columns]  # type: ignore[index] # likewise
            joined = '"'.join(values)
        except Exception:
            # The objects of a row may raise anything. RowReader.read finds out what is wrong.
            return None
        if type(target) is not str or not is_plain(target) or not _is_plain(joined, len(values)):
            return None
        if key is not None and not (type(key) is str and key and key.isprintable()):
            return None
        person, local_id = self.identity.of(target, key)
        # Split, because a subclass of str may write itself in another way than it joins.
        body = self.body % (target, local_id, *joined.split('"'))
        return MappedRow(None, person, target, key, target, local_id, False, body)


def _is_plain(joined: str, count: int) -> bool:
    """
    Return whether texts, joined by quotation marks, are right as they stand and need no escapes in JSON.

    They are printable, not empty, without quotation marks, backslashes, outer spaces, or more than four spaces in a row.
    """
    return (
        joined.isprintable()
        and "\\" not in joined
        and "     " not in joined
        and joined.count('"') == count - 1
        and '""' not in (framed := f'"{joined}"')
        and '" ' not in framed
        and ' "' not in framed
    )


def _local_message_id(given: Any) -> str | None:
    if given is not None and not (isinstance(given, str) and _LOCAL_MESSAGE_ID.fullmatch(given)):
        raise WatiValidationError(
            "local_message_id is 10 to 64 letters, digits, - and _: WATI looks up no others"
        )
    return given


def _text_of(value: Any, name: object, convert: Callable[[Any], str | None] = text_of) -> str | None:
    try:
        return convert(value)
    except WatiValidationError as error:
        raise WatiValidationError(f"{name}: {error}") from None
