"""What was meant to be sent and what is known to have been: survives the try that meant it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

# Airflow's store takes small values: a thousand batches take 24 kB, and this much more for positions.
_MAX_POSITIONS = 6_000
# Instead of positions: no answer came; the positions would take too much room.
_NO_ANSWER = "?"
_NO_ROOM = "*"
#: Characters that stand for the people of a batch; it is compared with the batch of the same number only.
FINGERPRINT_LENGTH = 10


class Store(Protocol):
    """Where state is kept that outlives a try; Airflow's ``task_state_store`` is one."""

    def get(self, key: str) -> Any:
        """Return what is stored, or None."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class Ledger:
    """
    The batches of one send: who was in them, which of them WATI answered, which are in doubt.

    For each batch it keeps a fingerprint of its people, and after the answer the positions of those who were
    not accepted. So a try with the same rows knows who was accepted without asking WATI, which would take a
    call for each hundred of them.

    :param store: where it is kept; None where there is no place that survives a try, and nothing is known.
    :param send_key: the send.
    :param shared: whether no one else can have sent under this key without writing here.
    :param reads_only: whether nothing is written, as in a dry run.
    """

    def __init__(
        self, store: Store | None, send_key: str, *, shared: bool = True, reads_only: bool = False
    ) -> None:
        self._store = store
        self._reads_only = reads_only
        self._shared = shared
        self._key = "wati_send_" + hashlib.sha256(send_key.encode()).hexdigest()[:32]
        stored = (store.get(self._key) if store is not None else None) or {}
        #: Whether an earlier try of this send may have sent something.
        self.known_before = bool(stored)
        # Batch: fingerprint, then the positions of those not accepted, as in "0-3 7", or a mark for not knowing.
        self._batches: dict[str, str] = dict(stored.get("batches", {}))
        #: When the last batch of all tries was about to be sent; what WATI hides longest is that.
        self.last_intended: datetime | None = (
            datetime.fromisoformat(stored["last"]) if stored.get("last") else None
        )
        # The last time stands for those of all earlier tries: a thousand times would take too much room.
        self._unclear: dict[str, datetime] = {
            batch: self.last_intended
            for batch, known in self._batches.items()
            if self.last_intended and known.endswith((_NO_ANSWER, _NO_ROOM))
        }
        #: Whether batches of several compositions went out, so that a batch's number says nothing of its people.
        self._mixed: bool = stored.get("mixed", False)

    @property
    def remembers(self) -> bool:
        """Whether what is not in the ledger did not happen."""
        return self._store is not None and self._shared

    @property
    def may_have_sent(self) -> bool:
        """Whether somebody may have sent under this key before."""
        return self.known_before or not self._shared

    @property
    def mixed(self) -> bool:
        """Whether a campaign may hold other people than the batch of its number has now."""
        return self._mixed

    @property
    def tells_all(self) -> bool:
        """Whether every campaign of this send is a batch that stands here, with the people it has now."""
        return self.known_before and self._shared and not self._mixed

    def mix(self) -> None:
        """Write down that there are campaigns whose people this ledger does not know."""
        self._mixed = True
        self._save()

    def compare(self, fingerprints: dict[str, str]) -> None:
        """
        Find out whether the batches are still those of the earlier tries.

        :param fingerprints: the people of each batch as it is planned now.
        """
        if any(fingerprints.get(batch) != known.split()[0] for batch, known in self._batches.items()):
            self.mix()

    def not_accepted(self, batch: str, fingerprint: str) -> list[int] | None:
        """Return the positions in a batch of those who were not accepted; None if that is not known."""
        known, *runs = self._batches.get(batch, "").split() or [""]
        if known != fingerprint or _NO_ANSWER in runs or _NO_ROOM in runs:
            return None
        return [position for run in runs for position in _positions(run)]

    def intended_at(self, batch: str) -> datetime | None:
        """Return when a batch was about to be sent, at the latest, if WATI alone can tell who was accepted."""
        return self._unclear.get(batch)

    def in_doubt(self, batch: str) -> bool:
        """Tell whether a batch was about to be sent and no answer came."""
        return self._batches.get(batch, "").endswith(_NO_ANSWER)

    @property
    def has_doubts(self) -> bool:
        """Whether anything may have gone out without an answer."""
        return self._store is None or any(map(self.in_doubt, self._batches))

    def intend(self, batch: str, fingerprint: str) -> None:
        """Write down that a batch, or what is left of it, is about to be sent."""
        self._batches[batch] = f"{fingerprint} {_NO_ANSWER}"
        self.last_intended = self._unclear[batch] = datetime.now(UTC)
        self._save()

    def settle(self, batch: str, fingerprint: str, not_accepted: Collection[int]) -> None:
        """
        Write down that WATI's answer to a batch is known.

        :param not_accepted: the positions of those whom WATI has not accepted in any try.
        """
        self._unclear.pop(batch, None)
        self._batches[batch] = " ".join([fingerprint, *_runs(not_accepted)])
        if sum(map(len, self._batches.values())) - FINGERPRINT_LENGTH * len(self._batches) > _MAX_POSITIONS:
            self._batches[batch] = f"{fingerprint} {_NO_ROOM}" if not_accepted else fingerprint
        self._save()

    def resolve(self) -> None:
        """Write down that WATI has shown all that it will of the batches that only it can tell about."""
        if self._unclear:
            for batch in self._unclear:
                del self._batches[batch]
            self._unclear.clear()
            self._save()

    def _save(self) -> None:
        if self._store is not None and not self._reads_only:
            last = self.last_intended and self.last_intended.isoformat(timespec="milliseconds")
            self._store.set(self._key, {"batches": self._batches, "last": last, "mixed": self._mixed})


def _runs(positions: Collection[int]) -> Iterator[str]:
    """Write positions shortly: a batch that was refused as a whole is one run."""
    for _, run in groupby(enumerate(sorted(positions)), lambda pair: pair[1] - pair[0]):
        first, *others = (position for _, position in run)
        yield f"{first}-{others[-1]}" if others else str(first)


def _positions(run: str) -> range:
    first, _, last = run.partition("-")
    return range(int(first), int(last or first) + 1)
