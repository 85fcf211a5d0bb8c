"""Things that fall due by the sandbox's clock, at the speed that it has."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Item]):
    """
    One thing with its time.

    :param start: when the waiting began, as the clock shows it.
    :param wait: how long it waits, in seconds at speed 1.
    """

    start: float
    wait: float
    item: Item

    def due(self, speed: float) -> float:
        """Return when it is due; never, while the speed is 0 and there is something to wait for."""
        if self.wait <= 0:
            return self.start
        return self.start + self.wait / speed if speed > 0 else math.inf


class Agenda(Generic[Item]):
    """
    A heap of entries by the moment that they are due.

    A message is as old as its real age times the speed, so another speed moves what is due: ``set_speed`` sorts again.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._order = count()
        self._heap: list[tuple[float, int, Entry[Item]]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Item]:
        return (entry.item for _, _, entry in self._heap)

    def add(self, start: float, wait: float, item: Item) -> None:
        entry = Entry(start, wait, item)
        heapq.heappush(self._heap, (entry.due(self._speed), next(self._order), entry))

    def next_due(self) -> float:
        """Return when the next entry is due; infinity when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def pop_due(self, now: float) -> tuple[float, Item] | None:
        """Take the first entry that is due, with the moment it was due; None when nothing is."""
        if self.next_due() > now:
            return None
        due, _, entry = heapq.heappop(self._heap)
        return due, entry.item

    def set_speed(self, speed: float) -> None:
        if speed == self._speed:
            return
        self._speed = speed
        self._heap = [(entry.due(speed), order, entry) for _, order, entry in self._heap]
        heapq.heapify(self._heap)
