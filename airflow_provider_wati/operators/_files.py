"""Files at local paths and at any URI that Airflow's object storage knows."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import mimetypes
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.state.storage import is_local, replacing, storage_path
from airflow_provider_wati.tables.csv_cells import safe_rows

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wati.client.media import Media

T = TypeVar("T")

#: Bytes of UTF-8: file systems allow 255.
_LONGEST_NAME = 150
_LONGEST_SUFFIX = 10
#: An id that is itself part of a file name; WATI's have 24 hexadecimal characters. A hyphen marks any other.
_PLAIN_ID = re.compile(r"[0-9a-z]{8,64}")
_TABLES = (".csv", ".jsonl", ".parquet")
_ROWS_A_PART = 10_000
_PIECE = 1024 * 1024


def address(text: str, what: str) -> str:
    """
    Return the path or URI of a file, if a text can be one.

    :param what: the name of the argument, for errors.
    :raises WatiValidationError: for a text that is rather the content of a file; it is not repeated.
    """
    from airflow_provider_wati.tables.readers import is_address

    if not is_address(text):
        raise WatiValidationError(
            f"{what} is a text that is neither JSON nor the address of a file: give a list, or a path or URI."
        )
    return text


@contextlib.contextmanager
def new_file(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """Write a file of the user, completely or not at all, and report it to Airflow's lineage."""
    with replacing(path) as file:
        yield file
    if is_local(path):  # Airflow reports other files itself
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        get_hook_lineage_collector().add_output_asset(context=path, uri=str(path))  # type: ignore[no-untyped-call] # likewise


@contextlib.contextmanager
def open_table(
    uri: str, columns: Sequence[str], flags: Collection[str] = ()
) -> Iterator[Callable[[Iterable[Sequence[Any]]], None]]:
    """
    Open a file of rows; what is yielded writes rows, each with a value for each column.

    In a CSV file, a text that a spreadsheet would run gets a quote before it, as
    :func:`~airflow_provider_wati.tables.csv_cells.safe_cell` says.

    :param uri: a path or URI; the suffix ``.csv``, ``.jsonl`` or ``.parquet`` gives the format.
    :param columns: the columns, in order.
    :param flags: the columns with True, False or None; a CSV file has ``true`` and ``false`` in them.
    :raises WatiValidationError: for another suffix.
    :raises WatiConfigurationError: for a Parquet file without pyarrow.
    """
    suffix = table_suffix(uri)
    if suffix == ".parquet":
        with new_file(storage_path(uri)) as binary, _parquet_table(binary, columns, flags) as write:
            yield write
        return
    with (
        new_file(storage_path(uri)) as binary,
        io.TextIOWrapper(io.BufferedWriter(_InPieces(binary), _PIECE), "utf-8", newline="") as text,
    ):
        if suffix == ".csv":
            table = csv.writer(text)
            table.writerow(columns)
            places = [n for n, column in enumerate(columns) if column in flags]
            yield lambda rows: table.writerows(safe_rows(_with_flags_as_text(rows, places)))
        else:
            yield partial(_write_json_lines, text, columns)


def _with_flags_as_text(rows: Iterable[Sequence[Any]], places: Sequence[int]) -> Iterable[Sequence[Any]]:
    if not places:
        return rows
    words = {True: "true", False: "false", None: None}
    return ([words[value] if n in places else value for n, value in enumerate(row)] for row in rows)


def _write_json_lines(text: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        print(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False), file=text)


class _InPieces(io.RawIOBase):
    """
    A file of Airflow, read and written in large pieces.

    Airflow intercepts each use of the file for its lineage, also when Python asks whether it is still open, which
    happens for every row: that took as long as reading the rows.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, piece: Any) -> int:
        self._file.write(bytes(piece))
        return len(piece)


def check_table(uri: str) -> None:
    """
    Check that a file of rows can be written, before there is anything to write.

    :raises WatiValidationError: for an unknown suffix, or a scheme that Airflow does not know.
    :raises WatiConfigurationError: for a Parquet file without pyarrow.
    """
    from airflow_provider_wati.tables.readers import pyarrow_parquet

    if table_suffix(uri) == ".parquet":
        pyarrow_parquet()
    try:
        storage_path(uri).fs  # Airflow looks the file system up on access
    except (ImportError, ValueError) as error:
        raise WatiValidationError(f"{uri!r} cannot be written: {error}.") from None


def is_table_file(text: str) -> bool:
    """Return whether a text is the address of a file of rows by its suffix, and not the name of a table in a database."""
    return text.endswith(_TABLES)


def table_suffix(uri: str) -> str:
    """
    Return the suffix of a file of rows, which gives its format.

    :raises WatiValidationError: for another suffix.
    """
    suffix = next((suffix for suffix in _TABLES if uri.endswith(suffix)), None)
    if suffix is None:
        raise WatiValidationError(
            f"{mask_numbers(uri)!r} does not end in {', '.join(_TABLES)}, which gives its format."
        )
    return suffix


@contextlib.contextmanager
def _parquet_table(
    binary: BinaryIO, columns: Sequence[str], flags: Collection[str]
) -> Iterator[Callable[[Iterable[Sequence[Any]]], None]]:
    from airflow_provider_wati.tables.readers import pyarrow_parquet

    parquet = pyarrow_parquet()
    import pyarrow

    # Fixed types, so that a part without any value has the same schema as the others.
    kinds = {"row": pyarrow.int64(), **dict.fromkeys(flags, pyarrow.bool_())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])
    with parquet.ParquetWriter(binary, schema) as writer:

        def write(rows: Iterable[Sequence[Any]]) -> None:
            source = iter(rows)
            while part := [dict(zip(columns, row, strict=True)) for row in islice(source, _ROWS_A_PART)]:
                writer.write_table(pyarrow.Table.from_pylist(part, schema))

        yield write


@contextlib.contextmanager
def open_rows(uri: str) -> Iterator[Iterator[dict[str, Any]]]:
    """
    Read rows from a file one by one.

    :param uri: a local path, or any URI that Airflow's object storage knows, ending in ``.csv``, ``.jsonl`` or
        ``.parquet``.
    :raises WatiValidationError: for another suffix; while rows are read, for content in another format.
    """
    from airflow_provider_wati.tables.readers import READERS

    read = READERS[table_suffix(uri)]
    with storage_path(uri).open("rb") as binary:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        pieces = binary if uri.endswith(".parquet") else io.BufferedReader(_InPieces(binary), _PIECE)
        yield _naming(uri, read(pieces))


def _naming(uri: str, content: Iterator[T]) -> Iterator[T]:
    """Add the name of the file to errors in its content, and remove personal data from them."""
    try:
        yield from content
    except (WatiValidationError, csv.Error) as error:
        raise WatiValidationError(f"{uri}: {error}.") from None
    except UnicodeDecodeError:
        raise WatiValidationError(f"{uri} is not UTF-8: save it as UTF-8.") from None
    except ValueError as error:
        # pyarrow raises it, and its text may repeat values.
        raise WatiValidationError(
            f"{uri} does not have the format of its suffix, or is damaged ({type(error).__name__})."
        ) from None


def read_lines(uri: str) -> Iterator[str]:
    """Yield the lines of a text file that are not empty."""
    with storage_path(uri).open("rb") as binary, io.TextIOWrapper(binary, "utf-8-sig") as text:  # type: ignore[no-untyped-call] # likewise
        yield from _naming(uri, (line.strip() for line in text if line.strip()))


def guess_type(file_name: str) -> str:
    """
    Return the media type of a file by its name.

    :raises WatiValidationError: for a name without a known suffix.
    """
    kind, encoding = mimetypes.guess_type(file_name)
    if kind is None or encoding is not None:
        raise WatiValidationError(f"The name {file_name!r} has no known suffix: give a mime_type.")
    return kind


def name_of(media: Media, message_id: str) -> str:
    """
    Return the name under which the file of a message is stored: ``<message id>_<sender's name>``.

    The sender chooses the second half, so it neither leads out of the directory nor decides which file is meant: names
    of different messages differ, also where capitals do not count, whatever their senders wrote. The suffix stays.

    :param media: the file; without a name, the message id and the suffix of its media type are the name.
    :param message_id: WATI's id of the message.
    :return: at most 150 bytes of UTF-8; never a name that Windows keeps for devices, such as ``con``.
    """
    given = re.split(r"[/\\]", media.file_name or "")[-1]
    safe = re.sub(r"[^\w .()+,=@-]", "_", given).strip(" .")
    key = _file_key(message_id)
    if not safe:
        return key + (mimetypes.guess_extension(media.content_type) or "")
    stem, dot, suffix = safe.rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = safe, "", ""
    room = _LONGEST_NAME - len(f"{key}_{dot}{suffix}".encode())
    return f"{key}_{stem.encode()[:room].decode(errors='ignore')}{dot}{suffix}"


def _file_key(message_id: str) -> str:
    """
    Return a message id as a part of a file name, different for different ids.

    It has no ``_``, so that the first one in the name ends it, and at least 8 characters, which no device has.
    """
    if _PLAIN_ID.fullmatch(message_id):
        return message_id
    digest = hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = re.sub("[^0-9A-Za-z]+", "-", message_id)[:32].strip("-")
    return f"{readable or 'id'}-{digest}"
