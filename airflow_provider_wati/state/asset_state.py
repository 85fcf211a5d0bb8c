"""State of an asset, which outlives runs and triggerers: in the user's directory, or in Airflow's store (3.3 and later)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wati._compat import AssetStateStoreAccessor
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.state.directory import StateDirectory, key_of, state_directory
from airflow_provider_wati.state.lock import file_lock
from airflow_provider_wati.state.storage import is_local

if TYPE_CHECKING:
    from pydantic import JsonValue

#: Seconds to wait for others who change the same state, at most.
_MOST_WAIT = 600.0


class AssetState(Protocol):
    """Keeps JSON values by name, from a task (:meth:`get`, :meth:`set`) or an event loop (:meth:`aget`, :meth:`aset`)."""

    def get(self, key: str) -> JsonValue:
        """Return a value, or None."""
        ...

    def set(self, key: str, value: JsonValue) -> None:
        """Keep a value."""
        ...

    async def aget(self, key: str) -> JsonValue:
        """Return a value, or None."""
        ...

    async def aset(self, key: str, value: JsonValue) -> None:
        """Keep a value."""
        ...


class _DirectoryState:
    """
    The state of an asset in the user's directory.

    :param directory: the directory.
    :param asset: the name of the asset.
    """

    def __init__(self, directory: StateDirectory, asset: str) -> None:
        self._directory = directory
        self._asset = asset

    def get(self, key: str) -> Any:
        return self._directory.get(self._key(key))

    def set(self, key: str, value: Any) -> None:
        self._directory.set(self._key(key), value)

    async def aget(self, key: str) -> Any:
        return await asyncio.to_thread(self.get, key)

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.to_thread(self.set, key, value)

    def _key(self, key: str) -> str:
        return key_of("wati_asset", f"{self._asset}\n{key}")


def asset_state(asset: str, state_path: str | None) -> AssetState | None:
    """
    Return where the state of an asset is kept.

    :param asset: the name of the asset; Airflow's store knows it once a DAG with it is parsed.
    :param state_path: the user's directory; else the option ``[wati] state_path`` counts, else Airflow's own store.
    :return: None without a directory where Airflow has no such store: 3.1 and 3.2.
    """
    directory = state_directory(state_path)
    if directory is not None:
        return _DirectoryState(directory, asset)
    if AssetStateStoreAccessor is None:
        return None
    store: AssetState = AssetStateStoreAccessor(name=asset)
    return store


class FileLock:
    """A lock of the operating system that is held; it ends with its process, and at no other time."""

    def check(self) -> None:
        """Do nothing: the operating system takes the lock from no process that lives."""


def asset_lock(
    asset: str, key: str, state_path: str | None
) -> Callable[[], AbstractContextManager[FileLock]] | None:
    """
    Return what lets one task at a time change a value of the state of an asset, where there is a lock for it.

    :param asset: the name of the asset.
    :param key: the name of the value.
    :param state_path: as for :func:`asset_state`.
    :return: waits for others; None where the state is not in a local directory.
    """
    directory = state_directory(state_path)
    if directory is None:
        return None
    path = directory.path_of(key_of("wati_asset", f"{asset}\n{key}"), ".lock")
    if not is_local(path):
        return None

    @contextmanager
    def lock() -> Iterator[FileLock]:
        error = WatiError(
            f"Other tasks have held {path} for {_MOST_WAIT:g} s. Nothing is lost: let the task be retried."
        )
        with file_lock(path, _MOST_WAIT, error):
            yield FileLock()

    return lock
