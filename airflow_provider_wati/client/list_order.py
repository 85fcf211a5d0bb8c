"""Where the rest of one of WATI's lists is older than a limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

#: A time: ISO 8601 in one form, or as Python has it.
T = TypeVar("T", str, datetime)


@dataclass(slots=True)
class NewestFirst(Generic[T]):
    """
    Tells when the rest of a list is older than a limit, as long as its times go down.

    WATI does not document the order of its lists well, and one time that goes up disproves that it is newest first; then
    lists are read to their end. Equal times prove nothing. What one list proves counts for the next one of its kind.

    :param falls_needed: how often the time has to have gone down before the order is taken for proven.
    :param old_needed: how many entries in a row have to be older than the limit.
    """

    falls_needed: int = 2
    old_needed: int = 100
    falls: int = 0
    rises: bool = False
    old: int = 0
    previous: T | None = None

    def begin(self) -> None:
        """Begin with another list of the same kind."""
        self.previous, self.old = None, 0

    def is_past(self, time: T | None, limit: T) -> bool:
        """
        Take one entry in, and return whether those after it need not be read.

        :param time: its time; None if it has none, which proves nothing.
        :param limit: what is younger is wanted.
        """
        if time is None:
            return False
        if self.previous is not None:
            self.falls += time < self.previous
            self.rises = self.rises or time > self.previous
        self.previous = time
        self.old = self.old + 1 if time < limit else 0
        return not self.rises and self.falls >= self.falls_needed and self.old >= self.old_needed
