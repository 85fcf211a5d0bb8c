"""Where state is kept that outlives a try: a directory of the user's, or Airflow's store of the task."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.operators._files import replacing, storage_path

if TYPE_CHECKING:
    from typing import BinaryIO

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_wati.sending.ledger import Store


#: How long a lease in object storage holds without being renewed.
LEASE_SECONDS = 600.0


class StateDirectory:
    """
    Keeps each entry as a JSON file under a path that all workers reach.

    :param root: a local directory, or any URI that Airflow's object storage knows.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def path_of(self, key: str, suffix: str = ".json") -> ObjectStoragePath:
        """Return where an entry is."""
        return storage_path(f"{self.root.rstrip('/')}/{key}{suffix}")

    def get(self, key: str) -> Any:
        """
        Return what is stored, or None.

        :raises WatiConfigurationError: when the file is there and is not ours; to take it for empty might
            message people twice.
        """
        path = self.path_of(key)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise WatiConfigurationError(
                f"{path} is not the state that was written there: restore it, or remove it once you know that "
                "nothing it stands for is still to be told apart."
            ) from None

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value; whoever reads finds the old one or the new one, and never half of it."""
        with replacing(self.path_of(key)) as file:
            file.write(json.dumps(value).encode())


class SendState(StateDirectory):
    """
    The state of sends, in which the latest try has the say.

    A try that Airflow takes for dead may live on: its supervisor was killed and it was not, or the network parted.
    It would send along with the try that follows it. So each try signs before it reads, and looks for its
    signature after it has written down what it is about to send. Of the two, one sees the other: the older the
    new signature, and stops; or the newer the intent, and looks for what came of it.

    :param root: as for :class:`StateDirectory`.
    :param signs: whether it has a say; a dry run has none.
    """

    def __init__(self, root: str, *, signs: bool = True) -> None:
        super().__init__(root)
        self._signs = signs
        self._signature = secrets.token_hex(8)

    def get(self, key: str) -> Any:
        if self._signs:
            super().set(f"{key}_try", self._signature)
        return super().get(key)

    def set(self, key: str, value: Any) -> None:
        """
        Store a JSON value, if no later try has begun.

        :raises WatiError: when one has; nothing may be sent from here any more.
        """
        # Once before, so that nothing of the later try's is written over.
        self._check(key)
        super().set(key, value)
        self._check(key)

    def _check(self, key: str) -> None:
        if self._signs and super().get(f"{key}_try") != self._signature:
            raise WatiError(
                "Another try or task with the same send_key has begun since and goes on with this send; this one "
                "stops, so that nobody is messaged twice."
            )


class StateFile:
    """
    One file of a state directory, read and written from end to end.

    :param path: where it is.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path

    @contextlib.contextmanager
    def read(self) -> Iterator[BinaryIO | None]:
        """Open the file to be read; None if there is none yet."""
        try:
            file = self.path.open("rb")  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        except FileNotFoundError:
            yield None
            return
        with file:
            yield file

    def write(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open the file to be written anew."""
        return replacing(self.path)


@contextlib.contextmanager
def alone(directory: StateDirectory, key: str, what: str, owner: str) -> Iterator[None]:
    """
    Hold off whoever else would do the same at the same time.

    Under a local path it is a lock of the operating system, which ends with the process, whatever ends that. In
    object storage, which has no locks, it is a file that says until when it holds and is renewed while the work
    goes on; after a crash it holds for :data:`LEASE_SECONDS` more, except for the same task's next try. Two that
    begin in the same second may both find no file there: ``max_active_runs=1`` is what keeps them apart.

    :param key: the entry that is worked on.
    :param what: what an error calls it.
    :param owner: who works on it; the same for all tries of a task, of which one runs at a time.
    :raises WatiConfigurationError: when somebody else works on it.
    """
    path = directory.path_of(key, ".lock")
    if path.protocol in ("file", "local"):
        import filelock

        os.makedirs(os.path.dirname(path.path), exist_ok=True)
        try:
            with filelock.FileLock(path.path, timeout=0):
                yield
        except filelock.Timeout:
            raise _not_alone(what) from None
        return
    with _lease(directory, key, what, owner):
        yield


@contextlib.contextmanager
def _lease(directory: StateDirectory, key: str, what: str, owner: str) -> Iterator[None]:
    entry = f"{key}_lease"

    def renew() -> None:
        directory.set(entry, {"owner": owner, "until": time.time() + LEASE_SECONDS})

    held = directory.get(entry)
    if held is not None and held["owner"] != owner and held["until"] > time.time():
        raise _not_alone(what)
    renew()
    over = threading.Event()

    def keep() -> None:
        while not over.wait(LEASE_SECONDS / 3):
            # A renewal that fails is made up for by the next one; two may fail before the lease ends.
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


def _not_alone(what: str) -> WatiConfigurationError:
    return WatiConfigurationError(
        f"{what} is running elsewhere, and two at once would undo each other's work. Nothing was written. Set "
        "max_active_runs=1 on the DAG, or give its tasks a pool with one slot."
    )


def setting(name: str) -> str | None:
    """Return an option of the section ``[wati]`` of Airflow's configuration, if it is set."""
    from airflow_provider_wati._compat import conf

    value: str | None = conf.get("wati", name, fallback=None)
    return value or None


def state_directory(state_path: str | None) -> StateDirectory | None:
    """
    Return the user's directory for state.

    :param state_path: the operator's own argument; else ``[wati] state_path`` counts, and None if that is not set.
    """
    root = state_path or setting("state_path")
    return StateDirectory(root) if root else None


def store_of(context: Context, state_path: str | None = None, *, signs: bool = True) -> Store | None:
    """
    Return where a send's state is kept: the user's directory, else Airflow's store, else nowhere.

    Airflow's store needs no signatures: it takes nothing from a try that is over, and fails it instead.

    :param context: the task's context; it has a store from Airflow 3.3 on.
    :param state_path: as for :func:`state_directory`.
    :param signs: whether something may be sent; what a dry run has found out must not stop a send.
    """
    directory = state_directory(state_path)
    if directory is not None:
        return SendState(directory.root, signs=signs)
    store: Store | None = context.get("task_state_store")
    return store


def key_of(what: str, name: str) -> str:
    """Make the name of an entry, short and safe in any storage."""
    return f"{what}_{hashlib.sha256(name.encode()).hexdigest()[:32]}"
