"""The retry policy: one table of errors and verdicts, and what Airflow's versions make of a verdict."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati import exceptions
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiCallWithdrawnError,
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

pytest.importorskip("airflow_provider_wati.retry_policy", reason="needs Airflow 3.3", exc_type=ImportError)

from airflow.sdk import RetryDecision, task  # after the skip

from airflow_provider_wati.operators.messages import WatiSendTextOperator  # likewise
from airflow_provider_wati.retry_policy import Action, WatiRetryPolicy, verdict_of  # likewise

if TYPE_CHECKING:
    from airflow_provider_wati.retry_policy import Verdict

DAY = timedelta(days=1)
CAN_RESCHEDULE = hasattr(RetryDecision, "reschedule")

#: Each error, and what to do when a task of ours and when another task raises it.
TABLE: dict[str, tuple[BaseException, Action, Action]] = {
    "rate limit": (WatiRateLimitError("a"), Action.RESCHEDULE, Action.RESCHEDULE),
    "unknown": (WatiUnknownOutcomeError("a", status_code=500), Action.RETRY, Action.FAIL),
    "server": (WatiServerError("a"), Action.RETRY, Action.RETRY),
    "connection": (WatiConnectionError("a"), Action.RETRY, Action.RETRY),
    "incomplete": (WatiIncompleteError("a"), Action.RETRY, Action.RETRY),
    "unreadable": (WatiResponseError("a"), Action.RETRY, Action.RETRY),
    "redirect": (WatiResponseError("a", status_code=302), Action.FAIL, Action.FAIL),
    "configuration": (WatiConfigurationError("a"), Action.FAIL, Action.FAIL),
    "validation": (WatiValidationError("a"), Action.FAIL, Action.FAIL),
    "400": (WatiBadRequestError("a", status_code=400), Action.FAIL, Action.FAIL),
    "401": (WatiAuthenticationError("a", status_code=401), Action.FAIL, Action.FAIL),
    "403": (WatiPermissionError("a", status_code=403), Action.FAIL, Action.FAIL),
    "404": (WatiNotFoundError("a", status_code=404), Action.FAIL, Action.FAIL),
    "409": (WatiConflictError("a", status_code=409), Action.FAIL, Action.FAIL),
    "refused in a 200": (WatiRejectedError("a"), Action.FAIL, Action.FAIL),
    "overtaken": (WatiCallWithdrawnError("a"), Action.DEFAULT, Action.DEFAULT),
    "another's": (RuntimeError("a"), Action.DEFAULT, Action.DEFAULT),
    "another's of a base class": (ValueError("a"), Action.DEFAULT, Action.DEFAULT),
}


def verdict(error: BaseException, **arguments: Any) -> Verdict:
    return verdict_of(error, **{"reconciles": True, "longest_wait": DAY, **arguments})


@pytest.mark.parametrize(("error", "ours", "other"), TABLE.values(), ids=TABLE)
def test_the_table(error: BaseException, ours: Action, other: Action) -> None:
    """Each error has the action of the table; an ambiguous send is repeated only where it is reconciled first."""
    assert verdict(error).action is ours
    assert verdict(error, reconciles=False).action is other


def test_the_table_has_every_error() -> None:
    """No error of this package is left out of the table."""
    ours = {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, WatiError)
    }
    assert ours - {WatiError} == {type(error) for error, *_ in TABLE.values() if isinstance(error, WatiError)}


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [(None, None), (0, 30), (29.5, 30), (600, 600), (10**9, 86_400)],
)
@pytest.mark.parametrize("kind", [WatiRateLimitError, WatiServerError, WatiUnknownOutcomeError])
def test_the_delay_is_wati_s_within_bounds(
    kind: type[WatiError], retry_after: float | None, delay: float | None
) -> None:
    """``Retry-After`` is the delay, from 30 seconds up to the longest wait; without one the task's own delay counts."""
    expected = None if delay is None else timedelta(seconds=delay)
    assert verdict(kind("a", retry_after=retry_after)).delay == expected


def test_the_reason_repeats_nothing() -> None:
    """The reason, which Airflow stores, names the kind of error and not its text."""
    for error, *_ in TABLE.values():
        told = verdict(type(error)("to 85264318722"))
        assert "8722" not in (told.reason or "")
        assert told.action is Action.DEFAULT or type(error).__name__ in (told.reason or "")


def decision(error: BaseException, operator: Any, **arguments: Any) -> Any:
    """What Airflow gets."""
    return WatiRetryPolicy(**arguments).evaluate(error, 1, 3, {"task": operator} if operator else None)


def operators() -> tuple[Any, Any]:
    @task
    def other() -> None:
        pass

    return WatiSendTextOperator(task_id="ours", target="85264318722", text="a"), other().operator  # type: ignore[attr-defined] # Airflow types it as XComArg


def test_a_rate_limit_is_rescheduled_where_airflow_can() -> None:
    """Airflow 3.4 runs the task again without using a retry, within a day; Airflow 3.3 retries after the same delay."""
    found = decision(WatiRateLimitError("a", retry_after=600), operators()[0])
    assert found.retry_delay == timedelta(seconds=600)
    assert found.action.value == ("reschedule" if CAN_RESCHEDULE else "retry")
    if CAN_RESCHEDULE:
        assert found.reschedule_timeout == DAY


def test_an_ambiguous_send_is_retried_by_operators_only() -> None:
    """A task that calls the client itself does not look first, so its lost answer is not followed by a second message."""
    ours, other = operators()
    error = WatiUnknownOutcomeError("a")
    found = [decision(error, operator).action.value for operator in (ours, other, None)]
    assert found == ["retry", "fail", "fail"]


def test_the_other_actions_are_airflow_s() -> None:
    """Failures for good fail, temporary ones retry with the task's own delay, and other errors are left to the task."""
    ours, _ = operators()
    assert decision(WatiBadRequestError("a"), ours).action.value == "fail"
    assert decision(WatiServerError("a"), ours) == RetryDecision.retry(
        None, "WatiServerError: another attempt may end otherwise."
    )
    assert decision(RuntimeError("a"), ours) == RetryDecision.default()


def test_its_argument_is_checked_and_goes_through_json() -> None:
    """A wait that is none is refused; another one survives serialization."""
    with pytest.raises(ValueError, match="give a timedelta above 0"):
        WatiRetryPolicy(timedelta())
    with pytest.raises(ValueError, match="give a timedelta above 0"):
        WatiRetryPolicy(60)  # type: ignore[arg-type] # what a user may write
    copy = WatiRetryPolicy.deserialize(WatiRetryPolicy(timedelta(hours=2)).serialize())
    assert copy.longest_wait == timedelta(hours=2)


def test_without_retry_policies_the_error_names_the_version() -> None:
    """On Airflow 3.1 and 3.2 the import says what is needed, and the rest of the package works."""
    program = (
        "import airflow.sdk\n"
        "names = ('RetryDecision', 'RetryPolicy')\n"
        "for name in names: airflow.sdk.__lazy_imports.pop(name, None) if hasattr(airflow.sdk, '__lazy_imports') else None\n"
        "for name in names: vars(airflow.sdk).pop(name, None)\n"
        "import airflow_provider_wati.operators.messages, airflow_provider_wati.notifications.wati\n"
        "import airflow_provider_wati.retry_policy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: WatiRetryPolicy needs Airflow 3.3 or later")
