"""The snapshot: what a sync knows of WATI's contacts, kept from run to run so that unchanged rows cost no call."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.syncing.values import Value, shown_text, vals_of

_VERSION = 1
_DIGITS = re.compile(r"[0-9]{1,40}")
#: What reading a file raises that is cut, changed, or not one of ours.
_DAMAGES = (ValueError, LookupError, TypeError, EOFError, RecursionError, zlib.error, gzip.BadGzipFile)


class SnapshotFile(Protocol):
    """The file of a snapshot: a local file or an object, read and written as a whole."""

    @property
    def path(self) -> object:
        """Where it is, as errors name it."""

    def read(self) -> AbstractContextManager[BinaryIO | None]:
        """Open the file for reading; None if it does not exist yet."""

    def write(self) -> AbstractContextManager[BinaryIO]:
        """Open the file for replacing; a reader sees the old content or the new one, never a part."""


class Known(NamedTuple):
    """
    What is known of one contact.

    :param phone_number: digits only, country code first.
    :param written: whether this sync has written to it.
    :param certain: whether it is known to exist; False while the outcome of its creation is unknown.
    :param name: its name in WATI.
    :param vals: the mapped attributes, as a JSON list of texts in the order of the mapping, empty where there is
        none; None while it is not known what WATI has, so that they are written again.
    :param intended: such lists, separated by commas: what was to be written to it for the first time, by calls whose
        outcome is not known.
    """

    phone_number: str
    written: int
    certain: int
    name: str | None
    vals: str | None
    intended: str


@dataclass(slots=True)
class Snapshot:
    """
    A snapshot as it is read.

    :param complete: whether it has all attributes that are mapped now; one that was mapped later is not in it.
    :param known: its content, to be read once.
    """

    complete: bool
    known: Iterator[Known]


@contextmanager
def read_snapshot(file: SnapshotFile, attributes: Sequence[str]) -> Iterator[Snapshot | None]:
    """
    Open a snapshot; None if there is none yet.

    :param attributes: the attributes that are mapped now; others are dropped.
    :raises WatiConfigurationError: for a file that is damaged, also while its content is read.
    """
    with file.read() as packed:
        if packed is None:
            yield None
            return
        try:
            with gzip.open(packed, "rb") as lines:
                header = json.loads(lines.readline())
                if header["version"] != _VERSION:
                    raise ValueError(f"version {header['version']}")
                stored = header["attributes"]
                if not isinstance(stored, list):
                    raise ValueError("header")
                places = [stored.index(name) if name in stored else None for name in attributes]
                known = _known(cast("BinaryIO", lines), places, len(stored))
                yield Snapshot(None not in places, known)
        except _DAMAGES as error:
            raise WatiConfigurationError(
                f"The snapshot of this sync, {file.path}, is damaged ({type(error).__name__}). Nothing was written to "
                "WATI. Restore the file, or remove it: the next run then lists WATI's contacts, and does not clear "
                "contacts that earlier runs have written."
            ) from None


def _known(lines: BinaryIO, places: Sequence[int | None], stored: int) -> Iterator[Known]:
    for line in lines:
        phone_number, written, certain, name, values, intended = json.loads(line)
        if not (
            isinstance(phone_number, str)
            and _DIGITS.fullmatch(phone_number)
            and written in (0, 1)
            and certain in (0, 1)
            and (name is None or _is_whole(name))
            and (values is None or _are_values(values, stored))
            and isinstance(intended, list)
            and all(_are_values(each, stored) for each in intended)
        ):
            raise ValueError("line")
        vals = None if places else "[]"
        if values is not None:
            vals = _mapped(values, places)
        of_calls = ",".join(_mapped(each, places) for each in intended)
        yield Known(phone_number, int(written), int(certain), name, vals, of_calls)


def _mapped(values: Sequence[Value], places: Sequence[int | None]) -> str:
    return vals_of(["" if place is None else values[place] for place in places])


def _is_whole(text: object) -> bool:
    """Return whether a value is a text without half characters, which a database would refuse."""
    return isinstance(text, str) and shown_text(text) == text


def _are_values(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(_is_whole(value) or isinstance(value, (int, float)) for value in values)
    )


def write_snapshot(file: SnapshotFile, attributes: Sequence[str], known: Iterable[Sequence[Any]]) -> None:
    """Replace the snapshot; without a name and a time in it, the same content makes the same file."""
    with file.write() as packed, gzip.GzipFile("", "wb", compresslevel=1, fileobj=packed, mtime=0) as lines:
        header = {"version": _VERSION, "attributes": list(attributes)}
        lines.write(json.dumps(header).encode() + b"\n")
        for phone_number, written, certain, name, vals, intended in known:
            # The values are JSON already.
            values = f"{vals or 'null'},[{intended}]"
            line = f"[{json.dumps(phone_number)},{written},{certain},{json.dumps(name)},{values}]\n"
            lines.write(line.encode())
