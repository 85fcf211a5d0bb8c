"""
What a failed write means: the fault of one row, or of WATI for everybody. Pure: no calls.

One row can draw any failure that an outage draws too: a firewall refuses its text with a 403 or a reset, WATI fails at
it with a 500, or does not answer in time. The two are told apart by a probe, which is a call known to be good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRejectedError,
    WatiResponseError,
    WatiServerError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)

#: Failures without a call that worked in between, after which a probe has to work.
PROBE_AFTER = 3
#: Failures in a row that end a run where only reads are known to work.
MOST_WITHOUT_WRITE = 20
#: Failures in a row that end a run although the write of a probe works.
MOST_IN_A_ROW = 100


class Cause(Enum):
    """What a failed call says about the rows in it."""

    #: WATI refused what is in the call, and would refuse it again.
    CONTENT = "content"
    #: One of the rows, or an outage: 403, 5xx, a reset, no answer in time, an answer that cannot be read.
    ROW_OR_OUTAGE = "row or outage"
    #: No other call would fare better: 401, 429, no connection.
    EVERYBODY = "everybody"


class Step(Enum):
    """What follows a failed write."""

    #: Find the row at fault, and record the failure as its outcome.
    ISOLATE = "isolate"
    #: Make a call that is known to be good, and decide again.
    PROBE = "probe"
    #: End the run.
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Health:
    """
    How the writes of one kind have fared.

    :param failures: how many failed in a row, for a cause that may be an outage.
    :param unproven: how many of them since a write or a probe has worked.
    :param writes_work: whether the last probe has shown that such writes work, and not only that reads do.
    """

    failures: int = 0
    # The first failure of all is probed at once: nothing has worked yet.
    unproven: int = PROBE_AFTER - 1
    writes_work: bool = False

    @property
    def is_first_and_probed(self) -> bool:
        """Whether one write has failed and a probe has worked since, so that the write may work now."""
        return self.failures == 1 and self.unproven == 0

    def after_success(self) -> Health:
        """Return the health after a write of this kind that worked."""
        return Health(unproven=0)

    def after_failure(self, *, asks_to_wait: bool) -> Health:
        """
        Return the health after a write that failed, for a cause that may be an outage.

        :param asks_to_wait: whether the answer had a ``Retry-After``, which a probe waits for.
        """
        unproven = PROBE_AFTER if asks_to_wait else self.unproven + 1
        return replace(self, failures=self.failures + 1, unproven=unproven)

    def after_probe(self, *, writes_work: bool) -> Health:
        """Return the health after a probe that worked."""
        return replace(self, unproven=0, writes_work=writes_work)


def cause_of(error: WatiError) -> Cause:
    """
    Classify the failure of a write that is made once.

    :param error: what the client raised. A :class:`WatiConnectionError` of such a call means that it never left.
    """
    refusals = (
        WatiBadRequestError,
        WatiConflictError,
        WatiNotFoundError,
        WatiRejectedError,
        WatiValidationError,
    )
    if isinstance(error, refusals):
        return Cause.CONTENT
    vague = (WatiPermissionError, WatiServerError, WatiUnknownOutcomeError, WatiResponseError)
    return Cause.ROW_OR_OUTAGE if isinstance(error, vague) else Cause.EVERYBODY


def may_have_worked(error: WatiError) -> bool:
    """
    Say if a write that failed may have taken effect.

    :param error: what the client raised.
    """
    return isinstance(error, (WatiServerError, WatiUnknownOutcomeError, WatiResponseError))


def next_step(cause: Cause, health: Health) -> Step:
    """
    Decide what follows a failed write.

    :param cause: what the failure says.
    :param health: with this failure counted.
    """
    if cause is Cause.EVERYBODY:
        return Step.STOP
    if cause is Cause.ROW_OR_OUTAGE:
        most = MOST_IN_A_ROW if health.writes_work else MOST_WITHOUT_WRITE
        if health.failures >= most:
            return Step.STOP
        if health.unproven >= PROBE_AFTER:
            return Step.PROBE
    return Step.ISOLATE
