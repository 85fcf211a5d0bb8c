"""Rows and their columns: what each kind of object of WATI becomes in a table or a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from airflow_provider_wati.client.responses import says_no, says_yes, text_in
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.listening.values import text_of

#: A row by column.
Row = dict[str, Any]
#: What a run remembers for the next one, as short texts by name.
State = dict[str, str]

#: The column that tells rows apart.
ID = "id"
#: The column with the time at which a row was written last.
EXTRACTED_AT = "extracted_at"
#: Characters of an id; databases cannot index a text of any length.
LONGEST_ID = 255


class ColumnKind(Enum):
    """What a column holds."""

    #: A text of up to 255 characters.
    ID = "id"
    #: A text, or JSON as text.
    TEXT = "text"
    #: True, False or NULL.
    FLAG = "flag"
    #: A time in UTC, as ``2026-11-26T09:30:00.000000Z``, which sorts in the order of time.
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table or a file.

    :param name: its name.
    :param kind: what it holds.
    """

    name: str
    kind: ColumnKind = ColumnKind.TEXT


@dataclass(frozen=True, slots=True)
class Entity:
    """
    A kind of object that is extracted.

    :param name: how errors and docs call it.
    :param columns: all its columns, ``id`` first and ``extracted_at`` last.
    :param merge: what a stored row becomes when the object is listed again.
    :param lookups: the columns by which rows are looked up beside ``id``.
    """

    name: str
    columns: tuple[Column, ...]
    merge: Callable[[Row, Row], Row]
    lookups: tuple[str, ...] = ()

    def choose(self, names: Sequence[str] | None) -> tuple[Column, ...]:
        """
        Return the columns that are wanted, in the order of the entity.

        :param names: the wanted columns; None for all. ``id`` and ``extracted_at`` always belong to them.
        :raises WatiValidationError: for a name that is not one of a column.
        """
        if names is None:
            return self.columns
        known = [column.name for column in self.columns]
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise WatiValidationError(
                f"columns is {names!r}: give a list of names, out of {', '.join(known)}."
            )
        if missing := sorted(set(names) - set(known)):
            raise WatiValidationError(
                f"columns names {', '.join(map(repr, missing))}: {self.name} have the columns {', '.join(known)}."
            )
        wanted = {ID, EXTRACTED_AT, *names}
        return tuple(column for column in self.columns if column.name in wanted)


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Some rows, and what is known once they are stored.

    :param rows: may be empty.
    :param state: what to remember once these rows and all before them are stored; None to remember nothing new yet.
    """

    rows: Sequence[Row] = ()
    state: State | None = None


class Extract(Protocol):
    """Reads one kind of object from WATI."""

    entity: Entity
    #: Objects without a usable id, which were left out.
    skipped: int

    def forget(self, state: Mapping[str, str]) -> State:
        """Return a state without what this extract goes by, so that it reads everything again."""
        ...

    def batches(self, state: Mapping[str, str]) -> Iterator[Batch]:
        """
        Read what is new, or everything.

        :param state: what the run before remembered; empty to read everything.
        """
        ...


def columns_of(
    texts: Iterable[str], flags: Iterable[str] = (), times: Iterable[str] = ()
) -> tuple[Column, ...]:
    """Return the columns of an entity: ``id``, texts, flags, times, ``extracted_at``."""
    return (
        Column(ID, ColumnKind.ID),
        *(Column(name) for name in texts),
        *(Column(name, ColumnKind.FLAG) for name in flags),
        *(Column(name, ColumnKind.TIME) for name in times),
        Column(EXTRACTED_AT, ColumnKind.TIME),
    )


def id_of(record: Mapping[str, Any]) -> str | None:
    """Return the id of an object; None if it has none, or one that is too long for a key."""
    found = text_of(record.get(ID))
    return found if found and len(found) <= LONGEST_ID else None


def flag_of(value: object) -> bool | None:
    """Return True or False in any of WATI's spellings, and None for anything else."""
    return True if says_yes(value) else False if says_no(value) else None


def json_of(value: object) -> str | None:
    """Return a list or an object as JSON text that databases take, None for null."""
    return None if value is None else json.dumps(_storable(value), ensure_ascii=False, sort_keys=True)


def _storable(value: object) -> object:
    """
    Leave out what a column of the type JSON refuses: NUL in texts, even as an escape, and numbers that are not finite.

    Python reads 1e400 as infinity.
    """
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {str(_storable(name)): _storable(each) for name, each in value.items()}
    return value


def params_of(listed: object) -> str | None:
    """Return attributes or parameters, which WATI lists as ``[{"name": ..., "value": ...}]``, as a JSON object."""
    if not isinstance(listed, list):
        return None
    pairs = [pair for pair in listed if isinstance(pair, dict)]
    return json_of(
        {name: text_in(pair.get("value")) for pair in pairs if (name := text_of(pair.get("name")))}
    )
