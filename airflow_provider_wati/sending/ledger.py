"""What was meant to be sent and what is known to have been: survives the try that meant it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from airflow_provider_wati.exceptions import WatiConfigurationError

# Airflow's store takes small values: a thousand batches take 24 kB, and this much more for positions.
_MAX_POSITIONS = 6_000
# Instead of positions: no answer came; the positions would take too much room.
_NO_ANSWER = "?"
_NO_ROOM = "*"
# Instead of a fingerprint: WATI has told all it will of this batch, and only how often it was sent still matters.
_RESOLVED = "-"
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

    For each batch it keeps a fingerprint of its people, how often it was sent, and after the answer the positions
    of those who were not accepted. So a try with the same rows knows who was accepted without asking WATI, which
    would take a call for each hundred of them.

    :param store: where it is kept; None where there is no place that survives a try, and nothing is known.
    :param send_key: the send.
    :param others: whether others may send under this key, as they may if the user gave it.
    :param shared: whether they, if there are any, write here what they send.
    :param reads_only: whether nothing is written but that there was a try, as in a dry run.
    """

    def __init__(
        self,
        store: Store | None,
        send_key: str,
        *,
        others: bool = False,
        shared: bool = False,
        reads_only: bool = False,
    ) -> None:
        self._store = store
        self._reads_only = reads_only
        self._others = others
        self._key = "wati_send_" + hashlib.sha256(send_key.encode()).hexdigest()[:32]
        stored = (store.get(self._key) if store is not None else None) or {}
        #: Whether there is an entry, which the first try makes before it does anything else.
        self.known_before = bool(stored)
        #: Whether what is not in the ledger did not happen.
        self.remembers = store is not None and (shared or not others)
        # Batch: fingerprint, how often it was sent before and in which campaigns nobody was accepted, as in "a1b2/1!1";
        # then the positions of those not accepted, as in "0-3 7", or a mark for not knowing.
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
        #: Whether a campaign may hold other people than the batch of its number has now.
        self.mixed: bool = stored.get("mixed", False)
        #: Whether an earlier try wrote down what it sent, and that is gone.
        self.lost: bool = stored.get("lost", False)
        # Whether something may have been sent under these terms.
        self._is_bound: bool = stored.get("bound", False)
        # What must stay the same for this send to be found again: account, channel, whether rows have keys.
        self._terms: dict[str, Any] = stored.get("terms", {})

    def open(self, *, tried_before: bool) -> None:
        """
        Make the entry, if there is none yet, before anything else is done.

        With it a later try can tell that nothing was sent from not knowing. An earlier try that left no entry
        had one and lost it (Airflow may empty its store, a directory may be moved), as far as can be told.

        :param tried_before: whether this is not the task's first try.
        """
        if self.known_before or self._store is None:
            return
        # A rehearsal leaves a note of its own, because the entry is for those who send.
        note = f"{self._key}_rehearsed"
        was_rehearsed = tried_before and bool(self._store.get(note))
        tried_before = tried_before and not was_rehearsed
        # What others sent under this key before there was an entry does not stand in it.
        self.mixed = self._others or tried_before
        if tried_before:
            self.lost = self._is_bound = True
            self.last_intended = datetime.now(UTC)
        elif self._reads_only:
            self._store.set(note, True)
        self._save()
        if was_rehearsed and not self._reads_only:
            # From here on the entry is there; without it, the note must not make a send look like a rehearsal.
            self._store.set(note, False)

    @property
    def may_have_sent(self) -> bool:
        """Whether somebody may have sent under this key before."""
        return self.known_before or self.lost or self._others

    @property
    def tells_all(self) -> bool:
        """Whether every campaign of this send is a batch that stands here, with the people it has now."""
        return self.known_before and self.remembers and not self.mixed

    def agree(self, **terms: Any) -> None:
        """
        Hold against earlier tries what has to be the same in all of them.

        :param terms: by name, in words; None for what is not known.
        :raises WatiConfigurationError: when something differs under which people were messaged: they could not be
            found from here, and would be messaged again or not at all.
        """
        if self._batches or self._is_bound:
            for name, value in terms.items():
                before = self._terms.get(name)
                if value is not None and before is not None and value != before:
                    raise WatiConfigurationError(
                        f"This send began with the {name} {before!r}, and now it is {value!r}: whom it has reached "
                        "cannot be seen from here. Nothing was sent. Change it back, or give another send_key, "
                        "under which all rows are sent anew."
                    )
        self._terms = {**self._terms, **{name: value for name, value in terms.items() if value is not None}}

    def mix(self) -> None:
        """Write down that there are campaigns whose people this ledger does not know."""
        self.mixed = True
        self._save()

    def compare(self, fingerprints: dict[str, str]) -> None:
        """
        Find out whether the batches are still those of the earlier tries.

        :param fingerprints: the people of each batch as it is planned now.
        """
        if any(fingerprints.get(batch) != _people(known) for batch, known in self._batches.items()):
            self.mix()

    def not_accepted(self, batch: str, fingerprint: str) -> list[int] | None:
        """
        Return the positions in a batch of those who were not accepted; None if that is not known.

        Where they were sent again and no answer came, these are the ones in doubt.
        """
        known = self._batches.get(batch, "")
        _, *runs = known.split() or [""]
        if _people(known) != fingerprint or runs[:1] in ([_NO_ANSWER], [_NO_ROOM]):
            return None
        return [position for run in runs if run != _NO_ANSWER for position in _positions(run)]

    def sent_before(self, batch: str) -> int | None:
        """Return how often a batch was sent before its last time; None if it never was."""
        known = self._batches.get(batch)
        return None if known is None else _times(known)

    def reached_nobody(self, batch: str, n: int) -> bool:
        """Tell whether WATI's answer to a campaign was that it accepted nobody: 0 for a batch's first one."""
        return n in _empty(self._batches.get(batch, ""))

    def intended_at(self, batch: str) -> datetime | None:
        """Return when a batch was about to be sent, at the latest, if WATI alone can tell who was accepted."""
        return self._unclear.get(batch)

    @property
    def doubts(self) -> list[str]:
        """The batches that were about to be sent and had no answer."""
        return [batch for batch, known in self._batches.items() if known.endswith(_NO_ANSWER)]

    def intend(self, batch: str, fingerprint: str, sent_before: int = 0) -> None:
        """
        Write down that a batch, or what is left of it, is about to be sent, or that no answer came.

        :param sent_before: how often it was sent before.
        """
        before = self._batches, self._unclear, self.last_intended
        # Who was accepted before is not in doubt.
        others = self._runs_of(batch, fingerprint)
        label = _label(fingerprint, sent_before, _empty(self._batches.get(batch, "")))
        entry = " ".join([label, *others, _NO_ANSWER])
        self.last_intended = datetime.now(UTC)
        self._batches = {**self._batches, batch: entry}
        self._unclear = {**self._unclear, batch: self.last_intended}
        try:
            self._save()
        except BaseException:
            self._batches, self._unclear, self.last_intended = before
            raise

    def _runs_of(self, batch: str, fingerprint: str) -> list[str]:
        known = self._batches.get(batch, "")
        if _people(known) != fingerprint:
            return []
        return [run for run in known.split()[1:] if run not in (_NO_ANSWER, _NO_ROOM)]

    def settle(
        self, batch: str, fingerprint: str, not_accepted: Collection[int], *, reached_nobody: bool = False
    ) -> None:
        """
        Write down that WATI's answer to a batch is known.

        :param not_accepted: the positions of those whom WATI has not accepted in any try.
        :param reached_nobody: whether it accepted nobody this time, so that its campaign, if there is one, is empty.
        """
        known = self._batches.get(batch, "")
        times = _times(known) if known else 0
        label = _label(fingerprint, times, _empty(known) | ({times} if reached_nobody else set()))
        self._unclear.pop(batch, None)
        self._batches[batch] = " ".join([label, *_runs(not_accepted)])
        if sum(map(len, self._batches.values())) - FINGERPRINT_LENGTH * len(self._batches) > _MAX_POSITIONS:
            self._batches[batch] = f"{label} {_NO_ROOM}" if not_accepted else label
        self._save()

    def resolve(self, *, nothing_sent: bool) -> None:
        """
        Write down that WATI has shown all that it will of what only it can tell about.

        :param nothing_sent: whether that was nothing at all.
        """
        self.mixed = self.mixed and not (nothing_sent and not self._batches)
        for batch in self._unclear:
            known = self._batches[batch]
            self._batches[batch] = _label(_RESOLVED, _times(known), _empty(known))
        self._unclear = {}
        self.lost = False
        self._save()

    def _save(self) -> None:
        if self._store is None or self._reads_only:
            return
        last = self.last_intended and self.last_intended.isoformat(timespec="milliseconds")
        entry = {"batches": self._batches, "last": last, "mixed": self.mixed, "terms": self._terms}
        flags = {name: True for name, value in (("lost", self.lost), ("bound", self._is_bound)) if value}
        self._store.set(self._key, {**entry, **flags})


def _label(fingerprint: str, times: int, empty: set[int]) -> str:
    label = f"{fingerprint}/{times}" if times else fingerprint
    return f"{label}!{','.join(map(str, sorted(empty)))}" if empty else label


def _people(known: str) -> str:
    return re.split("[ /!]", known, maxsplit=1)[0]


def _times(known: str) -> int:
    return int(known.split()[0].partition("!")[0].partition("/")[2] or 0)


def _empty(known: str) -> set[int]:
    campaigns = known.partition(" ")[0].partition("!")[2]
    return set(map(int, campaigns.split(","))) if campaigns else set()


def _runs(positions: Collection[int]) -> Iterator[str]:
    """Write positions shortly: a batch that was refused as a whole is one run."""
    for _, run in groupby(enumerate(sorted(positions)), lambda pair: pair[1] - pair[0]):
        first, *others = (position for _, position in run)
        yield f"{first}-{others[-1]}" if others else str(first)


def _positions(run: str) -> range:
    first, _, last = run.partition("-")
    return range(int(first), int(last or first) + 1)
