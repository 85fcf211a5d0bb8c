"""What was meant to be sent and is not known to be: survives the try that meant it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Protocol


class Store(Protocol):
    """Where a ledger is kept; Airflow's ``task_state_store`` is one."""

    def get(self, key: str) -> Any:
        """Return what is stored, or None."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class Ledger:
    """
    The batches of one send whose POST went out, or was about to, without an answer.

    :param store: where it is kept; None where there is no place that survives a try, and nothing is known.
    :param send_key: the send.
    """

    def __init__(self, store: Store | None, send_key: str) -> None:
        self._store = store
        self._key = "wati_send_" + hashlib.sha256(send_key.encode()).hexdigest()[:32]
        stored = store.get(self._key) if store is not None else None
        #: Whether an earlier try of this send may have sent something.
        self.known_before = stored is not None
        self._open: dict[str, str] = dict(stored or {})

    @property
    def remembers(self) -> bool:
        """Whether what is not in the ledger did not happen."""
        return self._store is not None

    def intend(self, batch: str) -> None:
        """Write down that a batch is about to be sent."""
        self._open[batch] = datetime.now(UTC).isoformat()
        self._save()

    def settle(self, batch: str) -> None:
        """Write down that WATI's answer to a batch is known."""
        self._open.pop(batch, None)
        self._save()

    @property
    def last_in_doubt(self) -> datetime | None:
        """When the last batch was about to be sent whose answer never came; None if all answers came."""
        return max(map(datetime.fromisoformat, self._open.values()), default=None)

    def _save(self) -> None:
        if self._store is not None:
            self._store.set(self._key, self._open)
