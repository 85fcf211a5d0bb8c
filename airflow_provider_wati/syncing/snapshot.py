"""What a contact sync knows of WATI: a file that outlives its runs, so that what is unchanged costs no call."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from airflow_provider_wati.exceptions import WatiConfigurationError

_VERSION = 1


class SnapshotFile(Protocol):
    """Where a snapshot is kept: a local file, an object, anything that is read and written from end to end."""

    def read(self) -> AbstractContextManager[BinaryIO | None]:
        """Open the file to be read; None if there is none yet."""

    def write(self) -> AbstractContextManager[BinaryIO]:
        """Open the file to be written anew; whoever reads finds the old one or the new one."""


class Known(NamedTuple):
    """
    What is known of one contact.

    :param number: digits only, country code first.
    :param ours: whether this sync has written to it, or may have.
    :param sure: whether it exists; False while nobody can tell whether it was created.
    :param name: its name in WATI.
    :param vals: the mapped attributes, as a JSON list of texts in the order of the mapping, empty where there is
        none; None while nobody can tell what WATI has, so that they are written again.
    """

    number: str
    ours: int
    sure: int
    name: str | None
    vals: str | None


@dataclass(slots=True)
class Snapshot:
    """
    A snapshot as it is read.

    :param complete: whether it knows all attributes that are mapped now; it does not know one that was mapped
        since it was written.
    :param contacts: how many contacts WATI had when they were listed last.
    :param known: what it holds, to be read once.
    """

    complete: bool
    contacts: int
    known: Iterator[Known]


def vals_of(values: Sequence[str]) -> str:
    """Write the values of the mapped attributes in the one way in which they are compared."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


@contextmanager
def read_snapshot(file: SnapshotFile, attributes: Sequence[str]) -> Iterator[Snapshot | None]:
    """
    Open a snapshot; None if there is none yet.

    :param attributes: the attributes that are mapped now. What is known of others is forgotten.
    :raises WatiConfigurationError: when it is not what was written.
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
                there: list[str] = header["attributes"]
                places = [there.index(name) if name in there else None for name in attributes]
                yield Snapshot(
                    None not in places, header["contacts"], _known(cast("BinaryIO", lines), places)
                )
        except (ValueError, LookupError, TypeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise WatiConfigurationError(
                f"The snapshot of this sync is not the one that was written ({type(error).__name__}). Nothing was "
                "written to WATI. Restore the file, or remove it: the next run then lists WATI's contacts anew."
            ) from None


def _known(lines: BinaryIO, places: Sequence[int | None]) -> Iterator[Known]:
    for line in lines:
        number, ours, sure, name, values = json.loads(line)
        if values is not None:
            values = vals_of(["" if place is None else values[place] for place in places])
        elif not places:
            values = "[]"
        yield Known(number, ours, sure, name, values)


def write_snapshot(
    file: SnapshotFile, attributes: Sequence[str], contacts: int, known: Iterable[Sequence[Any]]
) -> None:
    """
    Write a snapshot in place of the old one.

    It is complete in a temporary file before the first byte goes out: an object store keeps what it was given
    when something fails in between, and half a snapshot must not become the snapshot.
    """
    with tempfile.TemporaryFile() as whole:
        with gzip.GzipFile(fileobj=whole, mode="wb", compresslevel=1, mtime=0) as lines:
            header = {"version": _VERSION, "attributes": list(attributes), "contacts": contacts}
            lines.write(json.dumps(header).encode() + b"\n")
            for number, ours, sure, name, vals in known:
                # The values are JSON already.
                line = f"[{json.dumps(number)},{ours},{sure},{json.dumps(name)},{vals or 'null'}]\n"
                lines.write(line.encode())
        whole.seek(0)
        with file.write() as out:
            shutil.copyfileobj(whole, out, 1 << 20)
