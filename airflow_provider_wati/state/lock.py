"""One writer at a time: a lock of the operating system, or a lease in object storage."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.state.storage import is_local, make_private_directory

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wati.state.directory import StateDirectory

#: How long a lease in object storage holds without being renewed.
LEASE_SECONDS = 600.0


def locked(
    directory: StateDirectory, key: str, what: str, owner: str
) -> contextlib.AbstractContextManager[None]:
    """
    Hold a lock, so that one task at a time works on an entry.

    Under a local path it is a lock of the operating system, which ends with the process. Object storage has no locks, so
    there it is a lease: a file that says until when it holds, and is renewed while the work goes on. After a crash the lease
    holds for up to :data:`LEASE_SECONDS` more, except for the next attempt of the same task. Two tasks that begin in the same
    second may both find no lease; ``max_active_runs=1`` prevents that.

    :param key: the entry that is worked on.
    :param what: what an error calls the work.
    :param owner: names the task; the same for all its attempts, of which one runs at a time.
    :raises WatiConfigurationError: when another task holds the lock.
    """
    path = directory.path_of(key, ".lock")
    if is_local(path):
        return file_lock(path, 0.0, _held_error(what))
    return _lease(directory, key, what, owner)


@contextlib.contextmanager
def file_lock(path: ObjectStoragePath, timeout: float, error: WatiError) -> Iterator[None]:
    """
    Hold a lock of the operating system.

    :param path: a local file, for nothing else.
    :param timeout: seconds to wait for others who hold it.
    :param error: raised when they hold it longer.
    """
    import filelock

    make_private_directory(os.path.dirname(path.path))
    try:
        with filelock.FileLock(path.path, timeout=timeout, mode=0o600):
            yield
    except filelock.Timeout:
        raise error from None


@contextlib.contextmanager
def _lease(directory: StateDirectory, key: str, what: str, owner: str) -> Iterator[None]:
    entry = f"{key}_lease"

    def renew() -> None:
        directory.set(entry, {"owner": owner, "until": time.time() + LEASE_SECONDS})

    held = directory.get(entry)
    if held is not None and held["owner"] != owner and held["until"] > time.time():
        raise _held_error(what)
    renew()
    over = threading.Event()

    def keep() -> None:
        while not over.wait(LEASE_SECONDS / 3):
            # Two renewals in a row may fail before the lease ends.
            with contextlib.suppress(Exception):
                renew()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        with contextlib.suppress(FileNotFoundError):
            directory.path_of(entry).unlink()


def _held_error(what: str) -> WatiConfigurationError:
    return WatiConfigurationError(
        f"{what} is running elsewhere, and two at once would undo each other's work. Nothing was written. Set "
        "max_active_runs=1 on the DAG, or give its tasks a pool with one slot."
    )
