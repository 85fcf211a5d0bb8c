"""A directory of the user's, where state outlives an attempt."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.state.storage import replacing, storage_path

if TYPE_CHECKING:
    from typing import BinaryIO

    from airflow.sdk import ObjectStoragePath


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

        :raises WatiConfigurationError: when the file is not JSON. Taking it for empty could message people twice.
        """
        path = self.path_of(key)
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise WatiConfigurationError(
                f"{path} is not the state that was written there: restore it from a backup. If there is none, check in WATI "
                "what was sent, and remove the file: the next task starts without it."
            ) from None

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value. A reader finds the old value or the new one, never a part."""
        self.write(key, json.dumps(value))

    def write(self, key: str, text: str) -> None:
        """Store a text that is JSON, in one piece."""
        with replacing(self.path_of(key)) as file:
            file.write(text.encode())


class StateFile:
    """
    One file of a state directory, which is read and replaced as a whole.

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
        """Open the file to be replaced."""
        return replacing(self.path)


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


def key_of(what: str, name: str) -> str:
    """Make the name of an entry, short and safe in any storage."""
    return f"{what}_{hashlib.sha256(name.encode()).hexdigest()[:32]}"
