"""
Which failures of a WATI task are worth another attempt; for Airflow 3.3 and later.

Importing it on Airflow 3.1 and 3.2, which have no retry policies, raises ``ImportError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConfigurationError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiIncompleteError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiResponseError,
    WatiServerError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)

try:
    from airflow_provider_wati._compat import RetryDecision, RetryPolicy
except ImportError:
    raise ImportError(
        "WatiRetryPolicy needs Airflow 3.3 or later, where tasks have a retry_policy. On this version leave "
        "retry_policy out: retries and retry_delay decide alone."
    ) from None

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Another attempt ends alike until somebody changes something.
_PERMANENT = (
    WatiConfigurationError,
    WatiValidationError,
    WatiBadRequestError,
    WatiAuthenticationError,
    WatiPermissionError,
    WatiNotFoundError,
    WatiConflictError,
    WatiRejectedError,
)
#: Another attempt may end otherwise.
_TEMPORARY = (WatiServerError, WatiConnectionError, WatiResponseError, WatiIncompleteError)

# A `Retry-After: 0` would run the task again and again without a pause.
_SHORTEST_WAIT = timedelta(seconds=30)


class Action(Enum):
    """What to do about a failed attempt."""

    #: Run the task again when WATI takes calls again; that costs no retry where Airflow can do so.
    RESCHEDULE = "reschedule"
    RETRY = "retry"
    FAIL = "fail"
    #: Not an error of WATI's: the task's own ``retries`` decide.
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The decision about a failed attempt.

    :param action: what to do.
    :param delay: how long to wait before the next attempt; None for the task's own ``retry_delay``.
    :param reason: one sentence for the log and the UI, without WATI's words.
    """

    action: Action
    delay: timedelta | None = None
    reason: str | None = None


def verdict_of(error: BaseException, *, reconciles: bool, longest_wait: timedelta) -> Verdict:
    """
    Decide about a failed attempt: the whole policy, without Airflow and without a clock.

    :param error: what ended the attempt.
    :param reconciles: whether the next attempt finds out what became of an ambiguous call before it sends again, as all
        operators of this provider do.
    :param longest_wait: the most that a ``Retry-After`` may ask for.
    """
    kind = type(error).__name__
    if isinstance(error, WatiRateLimitError):
        delay = _delay_of(error, longest_wait)
        return Verdict(Action.RESCHEDULE, delay, f"{kind}: WATI takes no more calls for now.")
    if isinstance(error, WatiUnknownOutcomeError):
        if reconciles:
            delay = _delay_of(error, longest_wait)
            return Verdict(
                Action.RETRY, delay, f"{kind}: the next attempt finds out what became of the call."
            )
        return Verdict(
            Action.FAIL,
            None,
            f"{kind}: this task does not look in WATI first, so another attempt may message twice.",
        )
    is_redirect = isinstance(error, WatiResponseError) and 300 <= (error.status_code or 0) < 400
    if isinstance(error, _PERMANENT) or is_redirect:
        return Verdict(Action.FAIL, None, f"{kind}: another attempt would end alike.")
    if isinstance(error, _TEMPORARY):
        return Verdict(
            Action.RETRY, _delay_of(error, longest_wait), f"{kind}: another attempt may end otherwise."
        )
    return Verdict(Action.DEFAULT)


def _delay_of(error: WatiError, longest_wait: timedelta) -> timedelta | None:
    if error.retry_after is None:
        return None
    seconds = min(error.retry_after, longest_wait.total_seconds())
    return max(timedelta(seconds=seconds), _SHORTEST_WAIT)


class WatiRetryPolicy(RetryPolicy):
    """
    Retry what another attempt can change, and fail at once otherwise. Needs Airflow 3.3 or later.

    ``retries`` of the task is the limit, and there is no retry without it.

    .. code-block:: python

        WatiBroadcastTemplateOperator(..., retries=3, retry_policy=WatiRetryPolicy())

    :param longest_wait: the most that WATI may ask to wait, one day by default. On Airflow 3.4 it also
        limits how long a task is rescheduled; after that each attempt costs a retry.
    :raises WatiValidationError: when it is not a positive ``timedelta``.
    """

    def __init__(self, longest_wait: timedelta = timedelta(days=1)) -> None:
        if not isinstance(longest_wait, timedelta) or longest_wait <= timedelta():
            raise WatiValidationError(f"longest_wait is {longest_wait!r}: give a timedelta above 0.")
        self.longest_wait = longest_wait

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """
        Decide about a failed attempt.

        :param exception: what ended it.
        :param try_number: not used; Airflow holds the attempts to the task's ``retries``.
        :param max_tries: not used.
        :param context: Airflow's context, for the operator.
        """
        verdict = verdict_of(exception, reconciles=_is_wati_operator(context), longest_wait=self.longest_wait)
        match verdict.action:
            case Action.RESCHEDULE:
                return self._reschedule(verdict)
            case Action.RETRY:
                return RetryDecision.retry(verdict.delay, verdict.reason)
            case Action.FAIL:
                return RetryDecision.fail(verdict.reason)
            case Action.DEFAULT:
                return RetryDecision.default()

    def _reschedule(self, verdict: Verdict) -> RetryDecision:
        reschedule: Any = getattr(RetryDecision, "reschedule", None)
        if reschedule is None:  # Airflow 3.3
            return RetryDecision.retry(verdict.delay, verdict.reason)
        decision: RetryDecision = reschedule(
            verdict.delay, reschedule_timeout=self.longest_wait, reason=verdict.reason
        )
        return decision

    def serialize(self) -> dict[str, Any]:
        """Return the argument, as JSON."""
        return {"longest_wait": self.longest_wait.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """
        Return the policy that :meth:`serialize` described.

        :param data: what it returned.
        """
        return cls(timedelta(seconds=data["longest_wait"]))


def _is_wati_operator(context: Context | None) -> bool:
    from airflow_provider_wati.operators._base import WatiOperator

    return context is not None and isinstance(context.get("task"), WatiOperator)
