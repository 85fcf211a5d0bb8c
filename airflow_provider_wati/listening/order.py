"""Where the rest of one of WATI's lists is older than a limit."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: WATI documents ids as ObjectIds, which begin with the second in which they were made.
_OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.IGNORECASE)
_DIGITS_OF_SECONDS = 8
#: Servers make ids by clocks that may differ by so many seconds.
_CLOCKS_DIFFER_BY = 60


@dataclass(slots=True)
class LatestActivityFirst:
    """
    Tells when the rest of the list of conversations has had no message since a limit.

    WATI documents that it lists the newest conversations first, and not whether it means their beginning or their latest
    message. Ids of WATI say when a conversation began: where one began more than a minute after the one before it in the
    list, it is not ordered by the beginning. Where the time of the latest message goes up, it is not ordered by that. Until
    the order is proven, the list is read to its end.

    :param old_needed: how many conversations in a row have to be older than the limit.
    :param began: when the run began. What is said later moves a conversation, which the list may not show yet.
    :param is_proven: whether an earlier run has proven the order.
    """

    old_needed: int
    began: str
    is_proven: bool = False
    rises: bool = False
    old: int = 0
    previous: tuple[str, str] | None = None

    @property
    def holds(self) -> bool:
        """Whether the latest activity comes first, as far as the list shows."""
        return self.is_proven and not self.rises

    def is_past(self, id: str, time: str | None, limit: str) -> bool:
        """
        Take one conversation in, and return whether those after it need not be read.

        :param id: its id.
        :param time: the time of its latest message; None if it is not known, which proves nothing.
        :param limit: what is younger is wanted.
        """
        if time is None:
            return False
        if time > self.began:
            self.old = 0
            return False
        if self.previous is not None:
            previous_id, previous_time = self.previous
            self.is_proven = self.is_proven or _began_later(id, previous_id)
            self.rises = self.rises or time > previous_time
        self.previous = (id, time)
        self.old = self.old + 1 if time < limit else 0
        return self.holds and self.old >= self.old_needed


def _began_later(id: str, previous_id: str) -> bool:
    """
    Return whether a conversation certainly began after another one.

    The rest of an ObjectId is of the server that made it, so that of one second it tells nothing; an id of another form never
    does.
    """
    if not (_OBJECT_ID.fullmatch(id) and _OBJECT_ID.fullmatch(previous_id)):
        return False
    began, previous_began = (int(each[:_DIGITS_OF_SECONDS], 16) for each in (id, previous_id))
    return began > previous_began + _CLOCKS_DIFFER_BY


class Recent:
    """
    Knows the last entries of a list, which come again when something new moves them to the next page.

    An entry that comes again proves nothing about the order of the list.
    """

    #: Three pages.
    _MOST = 300

    def __init__(self) -> None:
        self._now: set[object] = set()
        self._before: set[object] = set()

    def is_repeated(self, id: object) -> bool:
        """
        Take one entry in, and return whether it was there a few pages ago at the most.

        :param id: its id; without one, nothing is known.
        """
        if not id:
            return False
        if id in self._now or id in self._before:
            return True
        self._now.add(id)
        if len(self._now) >= self._MOST:
            self._before, self._now = self._now, set()
        return False
