"""Saves a workspace every few seconds while it is served, and once more at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.saving.collector import no_collection
from airflow_provider_wati.sandbox.saving.restoring import restore
from airflow_provider_wati.sandbox.saving.snapshot import take

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.saving.data_file import DataFile
    from airflow_provider_wati.sandbox.workspace import Workspace

log: logging.Logger = logging.getLogger(__name__)

#: Seconds between two saves; what came since the last one is lost when the process is killed.
PAUSE = 2.0
#: A save that took long is followed by a pause that is this many times as long.
_REST = 10


def load(workspace: Workspace, data: DataFile) -> None:
    """
    Go on with what a file has; a new file is written at once, with what the workspace has.

    :raises DataFileError: when the file cannot be used.
    :raises OSError: when a new file cannot be written.
    """
    records = data.read()
    if records is None:
        data.write(take(workspace).records())
        return
    try:
        with no_collection():
            restore(workspace, records)
    except Exception:
        # The checksum fits, so somebody has written it who is not this sandbox.
        log.debug("The records cannot be understood.", exc_info=True)
        raise data.damaged() from None


class Saver:
    """
    Saves from ``start`` to ``stop``.

    :param workspace: what is saved, when it has changed.
    :param data: where.
    """

    def __init__(self, workspace: Workspace, data: DataFile) -> None:
        self._workspace = workspace
        self._data = data
        self._saved = self._mark()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to save every few seconds; from within the server's event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Save for the last time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._save()

    async def _run(self) -> None:
        pause = PAUSE
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            # A save that has begun is not left half-way: two at once would write to the same file.
            saving = asyncio.create_task(self._save())
            try:
                await asyncio.shield(saving)
            except asyncio.CancelledError:
                await saving
                raise
            pause = max(PAUSE, _REST * (time.monotonic() - began))

    async def _save(self) -> None:
        mark = self._mark()
        if mark == self._saved:
            return
        snapshot = take(self._workspace)
        try:
            await asyncio.to_thread(self._data.write, snapshot.records())
        except OSError as error:
            log.error(
                "The data could not be saved to %s: %s. It is tried again.", self._data.path, error.strerror
            )
        else:
            self._saved = mark

    def _mark(self) -> tuple[object, ...]:
        """Return what is different once something has changed."""
        workspace, state = self._workspace, self._workspace.state
        return (
            id(state),
            workspace.revision,
            len(state.messages),
            len(state.waiting),
            workspace.clock.position(),
        )
