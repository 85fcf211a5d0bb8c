"""When a wait looks at WATI, where the receiver says whether anything has come in; pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Poll intervals that a wait rests at most without anything coming in: events can be lost.
LONGEST_REST = 6


@dataclass(slots=True)
class Rest:
    """
    Tells whether a look at WATI is due. It never says how a wait ends: a look does.

    :param longest: seconds between two looks at most, whatever comes in.
    """

    longest: float
    _mark: str | None = None
    _looked_at: float | None = None
    _look_again: bool = False

    def is_due(self, mark: str | None, now: float) -> bool:
        """
        Return whether WATI is looked at now.

        A look after news is followed by another one, because WATI's lists may lag behind its events.

        :param mark: what the receiver has said; it differs once something has come in. None where that is not known.
        :param now: monotonic seconds.
        """
        if mark is None or self._looked_at is None or now - self._looked_at >= self.longest:
            return True
        return mark != self._mark or self._look_again

    def looked(self, mark: str | None, now: float) -> None:
        """
        Note that WATI was looked at.

        :param mark: what the receiver had said before that look.
        :param now: monotonic seconds.
        """
        self._look_again = self._mark is not None and mark != self._mark
        self._mark, self._looked_at = mark, now
