"""Paths on this machine and in any object storage that Airflow knows."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def storage_path(uri: str) -> ObjectStoragePath:
    """Return the path of a file; one without a scheme is local."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri if "://" in uri else f"file://{uri}")


@contextlib.contextmanager
def replacing(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """
    Replace a file; the old one stays until the new one is complete.

    An object appears when it is closed, and an error closes it too, so the content is written to a temporary file
    first. A local file is written under another name, synced to the disk and renamed. It has mode 0600, and directories
    that are created for it have 0700, whatever the umask: it holds data of people.
    """
    if not is_local(path):
        with tempfile.TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            with path.open("wb") as file:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
                shutil.copyfileobj(whole, file)
        return
    target = os.path.realpath(path.path)
    directory, name = os.path.split(target)
    make_private_directory(directory)
    # Hidden, because a kill leaves it there, and what reads all files of a directory leaves hidden ones out.
    beside = os.path.join(directory, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb", opener=_open_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
        _sync_directory(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def make_private_directory(path: str) -> None:
    """
    Create a local directory and the missing ones above it with mode 0700; existing ones keep theirs.

    ``os.makedirs`` gives a mode to the last one only.
    """
    path = os.path.abspath(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another task has created it meanwhile
            os.mkdir(directory, 0o700)
            _sync_directory(os.path.dirname(directory))


def _sync_directory(path: str) -> None:
    """Write the names in a directory to the disk: without that, a power failure may lose a file that was synced itself."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether a path is on this machine."""
    return path.protocol in ("file", "local")
