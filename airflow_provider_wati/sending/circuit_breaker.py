"""A circuit breaker for sends: while answers get lost, few people may be left in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Answers lost in a row that open the circuit.
_MOST_LOST = 2


@dataclass(slots=True)
class CircuitBreaker:
    """
    Stops calls after lost answers in a row, until evidence is found or a trial call is answered.

    The circuit is open after the second lost answer. It closes when one of the lost calls is found in WATI. If none is
    found, one trial call may leave; when its answer is lost as well, the circuit stays open.
    """

    #: Answers lost since the last one that arrived.
    lost_in_a_row: int = 0
    _is_on_trial: bool = field(default=False, init=False)

    @property
    def is_open(self) -> bool:
        """Whether no call may leave now."""
        return self.lost_in_a_row >= _MOST_LOST

    @property
    def has_failed(self) -> bool:
        """Whether the circuit is open for the rest of the attempt, because the answer to the trial call was lost."""
        return self.is_open and self._is_on_trial

    def record(self, *, is_lost: bool) -> None:
        """
        Take the end of a call into account.

        :param is_lost: whether its answer was lost.
        """
        if is_lost:
            self.lost_in_a_row += 1
        else:
            self.lost_in_a_row, self._is_on_trial = 0, False

    def retry(self, *, has_evidence: bool) -> None:
        """
        Let calls leave again after reconciliation.

        :param has_evidence: whether a lost call was found in WATI. If not, one trial call may leave.
        """
        self.lost_in_a_row = 0 if has_evidence else _MOST_LOST - 1
        self._is_on_trial = not has_evidence
