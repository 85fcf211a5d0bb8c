"""Files at local paths and at any URI that Airflow's object storage knows."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import mimetypes
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wati.client.media import Media

T = TypeVar("T")

#: Bytes of UTF-8: file systems allow 255.
_LONGEST_NAME = 150
_TABLES = (".csv", ".jsonl", ".parquet")
_ROWS_A_PART = 10_000
_PIECE = 1024 * 1024


def storage_path(uri: str) -> ObjectStoragePath:
    """Return the path of a file; what has no scheme is on this machine."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri if "://" in uri else f"file://{uri}")


def address(text: str, what: str) -> str:
    """
    Return the address of a file, if a text can be one.

    :param what: what an error calls it.
    :raises WatiValidationError: when it rather is what should stand in the file; it is not repeated.
    """
    from airflow_provider_wati.tables.readers import is_address

    if not is_address(text):
        raise WatiValidationError(
            f"{what} is a text that is neither JSON nor the address of a file: give a list, or a path or URI."
        )
    return text


@contextlib.contextmanager
def replacing(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """
    Write a file anew, so that the old one is there until the new one is complete.

    Object storage shows a file once it is closed, but closes it also after an error, so it gets what has been
    written elsewhere to the end. A local file is written beside the old one, brought to the disk and put in its place.
    """
    if not _is_local(path):
        with tempfile.TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            with path.open("wb") as file:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
                shutil.copyfileobj(whole, file)
        return
    target = os.path.realpath(path.path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


@contextlib.contextmanager
def new_file(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """Write a file of the user's, which is there whole or not at all, and tell Airflow's lineage of it."""
    with replacing(path) as file:
        yield file
    if _is_local(path):  # where Airflow itself does not see it
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        get_hook_lineage_collector().add_output_asset(context=path, uri=str(path))  # type: ignore[no-untyped-call] # likewise


def _is_local(path: ObjectStoragePath) -> bool:
    return path.protocol in ("file", "local")


@contextlib.contextmanager
def open_table(uri: str, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """
    Write rows to a file as they come.

    :param uri: where; the suffix ``.csv``, ``.jsonl`` or ``.parquet`` says how.
    :param columns: the columns, in order.
    :raises WatiValidationError: for another suffix.
    :raises WatiConfigurationError: for a Parquet file without pyarrow.
    """
    suffix = table_suffix(uri)
    if suffix == ".parquet":
        with new_file(storage_path(uri)) as binary, _parquet_table(binary, columns) as write:
            yield write
        return
    with (
        new_file(storage_path(uri)) as binary,
        io.TextIOWrapper(io.BufferedWriter(_InPieces(binary), _PIECE), "utf-8", newline="") as text,
    ):
        if suffix == ".csv":
            table = csv.writer(text)
            table.writerow(columns)
            yield lambda row: table.writerow(map(row.get, columns))
        else:
            yield lambda row: print(json.dumps(dict(row), ensure_ascii=False), file=text)


class _InPieces(io.RawIOBase):
    """
    A file of Airflow's, read and written in large pieces.

    Airflow looks at each use of the file for its lineage, also when Python asks whether it is still open, which
    it does for every row: that took as long as reading the rows.
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
    Find out whether a file of rows can be written somewhere, before there is anything to write.

    :raises WatiValidationError: for a suffix that does not say how, or a place that Airflow does not know.
    :raises WatiConfigurationError: for a Parquet file without pyarrow.
    """
    from airflow_provider_wati.tables.readers import pyarrow_parquet

    if table_suffix(uri) == ".parquet":
        pyarrow_parquet()
    try:
        storage_path(uri).fs  # it is looked up when it is asked for
    except (ImportError, ValueError) as error:
        raise WatiValidationError(f"{uri!r} cannot be written: {error}.") from None


def table_suffix(uri: str) -> str:
    """
    Return how a file of rows is written, by its suffix.

    :raises WatiValidationError: for another suffix.
    """
    suffix = next((suffix for suffix in _TABLES if uri.endswith(suffix)), None)
    if suffix is None:
        raise WatiValidationError(
            f"{mask_numbers(uri)!r} does not end in {', '.join(_TABLES)}, which says how its rows are written."
        )
    return suffix


@contextlib.contextmanager
def _parquet_table(binary: BinaryIO, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    from airflow_provider_wati.tables.readers import pyarrow_parquet

    parquet = pyarrow_parquet()
    import pyarrow

    # Every column is text but the one that counts, so that a part without a value has the same type.
    schema = pyarrow.schema(
        [(name, pyarrow.int64() if name == "row" else pyarrow.string()) for name in columns]
    )
    part: list[Mapping[str, Any]] = []
    with parquet.ParquetWriter(binary, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(part, schema))
            part.clear()

        def write(row: Mapping[str, Any]) -> None:
            part.append(dict(row))
            if len(part) == _ROWS_A_PART:
                flush()

        yield write
        flush()


@contextlib.contextmanager
def open_rows(uri: str) -> Iterator[Iterator[dict[str, Any]]]:
    """
    Read rows from a file as they are needed.

    :param uri: a local path, or any URI that Airflow's object storage knows, ending in ``.csv``, ``.jsonl`` or
        ``.parquet``.
    :raises WatiValidationError: for another suffix; while rows are read, for what is not in the file's format.
    """
    from airflow_provider_wati.tables.readers import READERS

    read = READERS[table_suffix(uri)]
    with storage_path(uri).open("rb") as binary:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        pieces = binary if uri.endswith(".parquet") else io.BufferedReader(_InPieces(binary), _PIECE)
        yield _naming(uri, read(pieces))


def _naming(uri: str, content: Iterator[T]) -> Iterator[T]:
    """Let errors in what is read from a file say which file it is, and nothing of the people in it."""
    try:
        yield from content
    except (WatiValidationError, csv.Error) as error:
        raise WatiValidationError(f"{uri}: {error}.") from None
    except UnicodeDecodeError:
        raise WatiValidationError(f"{uri} is not UTF-8: save it as UTF-8.") from None
    except ValueError as error:
        # pyarrow's errors are such, and may repeat values.
        raise WatiValidationError(
            f"{uri} is not what its suffix says, or damaged ({type(error).__name__})."
        ) from None


def read_lines(uri: str) -> Iterator[str]:
    """Read the lines of a text file that have something in them."""
    with storage_path(uri).open("rb") as binary, io.TextIOWrapper(binary, "utf-8-sig") as text:  # type: ignore[no-untyped-call] # likewise
        yield from _naming(uri, (line.strip() for line in text if line.strip()))


def guess_type(file_name: str) -> str:
    """
    Tell the media type of a file by its name.

    :raises WatiValidationError: when the name does not tell.
    """
    kind, encoding = mimetypes.guess_type(file_name)
    if kind is None or encoding is not None:
        raise WatiValidationError(
            f"The name {file_name!r} does not tell what kind of file it is: give a mime_type."
        )
    return kind


def name_of(media: Media, message_id: str) -> str:
    """
    Make a file name of what WATI calls a file.

    The name comes from whoever sent the file, so nothing of it can lead out of the directory it is put into.
    """
    given = re.split(r"[/\\]", media.file_name or "")[-1]
    safe = re.sub(r"[^\w .()+,=@-]", "_", given).strip(" .")
    if not safe:
        safe = re.sub(r"\W", "_", message_id) + (mimetypes.guess_extension(media.content_type) or "")
    stem, dot, suffix = safe.rpartition(".")
    if not stem or len(suffix) > 10:
        stem, dot, suffix = safe, "", ""
    room = _LONGEST_NAME - len(f"{dot}{suffix}".encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + suffix
