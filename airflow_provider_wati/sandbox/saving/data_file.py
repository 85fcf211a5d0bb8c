"""
The file of ``--data``: one JSON record a line, the first names the format, the last has the checksum of those before.

A file that is not complete and of this format is refused, and what is refused is never written to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

FORMAT, VERSION = "wati-sandbox-data", 1
_MODE = 0o600
_START = b'{"format":"wati-sandbox-data"'


class DataFileError(Exception):
    """The file of ``--data`` cannot be used. The message names the file and what to do."""


class DataFile:
    """
    A file with the data of one sandbox.

    Use it as a context manager: meanwhile no other sandbox can use the file.

    :param path: of the file, which need not be there yet; a link is followed.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path.resolve()
        self._lock: int | None = None

    def __enter__(self) -> DataFile:
        self.lock()
        return self

    def lock(self) -> None:
        """
        Keep other sandboxes from the file.

        :raises DataFileError: when its directory cannot be written to, or another sandbox has it.
        """
        try:
            lock = os.open(
                self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE
            )
        except OSError as error:
            raise DataFileError(
                f"{self.path.parent} cannot be written to: {error.strerror}. Give a file elsewhere."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataFileError(f"Another sandbox uses {self.path}. Stop it, or give another file.") from None
        self._lock = lock

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unlock()

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> list[dict[str, Any]] | None:
        """
        Return the records; None when there is no file yet.

        :raises DataFileError: when it cannot be read, is of another kind or version, or is damaged.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataFileError(f"{self.path} cannot be read: {error.strerror}.") from None
        if not raw.startswith(_START):
            raise DataFileError(
                f"{self.path} is not a file of the sandbox, and stays as it is. Give another file to --data."
            )
        first, *lines = raw.splitlines(keepends=True)
        try:
            version = json.loads(first)["version"]
        except (ValueError, KeyError):
            raise self.damaged() from None
        if version != VERSION:
            raise DataFileError(
                f"{self.path} has version {version!r} of the format, this sandbox reads {VERSION}. "
                "Use the sandbox that wrote it, or give another file to --data."
            )
        if not lines or lines[-1] != _end_of(hashlib.sha256(raw[: -len(lines[-1])])):
            raise self.damaged()
        try:
            return [json.loads(line) for line in lines[:-1]]
        except ValueError:
            raise self.damaged() from None

    def damaged(self) -> DataFileError:
        """Return the refusal of a file that is of this format and cannot be understood."""
        return DataFileError(
            f"{self.path} is damaged, and stays as it is. Restore it from a copy, "
            "or move it away: the sandbox then begins again."
        )

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """
        Put records in the place of those in the file, all or none of them.

        :raises OSError: when they cannot be written; the file is as before.
        """
        new = self._beside(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            digest = hashlib.sha256()
            for record in chain(({"format": FORMAT, "version": VERSION},), records):
                line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                digest.update(line)
                file.write(line)
            file.write(_end_of(digest))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        with contextlib.suppress(OSError):  # not every file system can do this
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f".{self.path.name}{ending}")


def _end_of(digest: Any) -> bytes:
    return f'{{"sha256":"{digest.hexdigest()}"}}\n'.encode()
