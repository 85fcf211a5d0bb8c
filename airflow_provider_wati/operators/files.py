"""Files at local paths and at any URI that Airflow's object storage knows."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_wati.exceptions import WatiValidationError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wati.client.media import Media

#: Bytes of UTF-8: file systems allow 255.
_LONGEST_NAME = 150
_TABLES = (".csv", ".jsonl")


def storage_path(uri: str) -> ObjectStoragePath:
    """Return the path of a file; what has no scheme is on this machine."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri if "://" in uri else f"file://{uri}")


@contextlib.contextmanager
def new_file(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """
    Write a file that is there whole or not at all.

    Object storage shows a file once it is closed, and closes it also after an error; so what was begun is
    taken away again.
    """
    if path.protocol in ("file", "local"):
        path.parent.mkdir(parents=True, exist_ok=True)
    opened = path.open("wb")  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    try:
        with opened as file:
            yield file
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_table(uri: str, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """
    Write rows to a file as they come.

    :param uri: where; the suffix ``.csv`` or ``.jsonl`` says how.
    :param columns: the columns, in order.
    :raises WatiValidationError: for another suffix.
    """
    suffix = next((suffix for suffix in _TABLES if uri.endswith(suffix)), None)
    if suffix is None:
        raise WatiValidationError(
            f"{uri!r} does not end in {' or '.join(_TABLES)}, which says how rows are written."
        )
    with new_file(storage_path(uri)) as binary, io.TextIOWrapper(binary, "utf-8", newline="") as text:
        if suffix == ".csv":
            table = csv.DictWriter(text, columns)
            table.writeheader()
            yield table.writerow
        else:
            yield lambda row: print(json.dumps(dict(row), ensure_ascii=False), file=text)


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
