"""One extraction: read from WATI, store, and remember how far it came only after that."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.extracting.rows import EXTRACTED_AT, Row, State
from airflow_provider_wati.listening.values import written_time

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.extracting.rows import Extract

log: logging.Logger = logging.getLogger(__name__)

#: Rows that are stored together.
CHUNK = 5_000


class Target(Protocol):
    """Where rows go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows for good; each of them may have been stored before."""
        ...

    def remember(self, state: State) -> None:
        """Keep a state for the next run; all rows written so far belong to it."""
        ...


def extract(source: Extract, state: Mapping[str, str], target: Target, clock: Clock) -> int:
    """
    Read what is new, and store it.

    A crash at any moment loses nothing: a state is kept only after the rows that it stands for, so the next run reads again
    what was not stored, and rows that were stored already are merged by id.

    :param source: reads from WATI.
    :param state: what the run before remembered; empty to read everything.
    :param target: where rows go.
    :param clock: the time.
    :return: how many rows WATI has listed.
    """
    buffer = _Buffer(target)
    listed = 0
    try:
        for batch in source.batches(state):
            now = written_time(clock.now())
            buffer.add([{**row, EXTRACTED_AT: now} for row in batch.rows])
            listed += len(batch.rows)
            if batch.state is not None:
                buffer.flush()
                target.remember(batch.state)
    except WatiError:
        # What could be read is stored; the state says that the rest is still to be read.
        buffer.flush()
        raise
    buffer.flush()
    log.info("WATI has listed %s rows of %s.", f"{listed:,}", source.entity.name)
    return listed


class _Buffer:
    """Collects rows until there are enough to be stored together."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rows: list[Row] = []
        self._written = 0

    def add(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._target.write(rows)
            self._written += len(rows)
            log.info("%s rows are stored.", f"{self._written:,}")
