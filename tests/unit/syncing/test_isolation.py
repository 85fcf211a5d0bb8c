"""What follows a failed write: the decision table."""

from __future__ import annotations

import pytest

from airflow_provider_wati import exceptions
from airflow_provider_wati.syncing.isolation import (
    MOST_IN_A_ROW,
    MOST_WITHOUT_WRITE,
    PROBE_AFTER,
    Cause,
    Health,
    Step,
    cause_of,
    may_have_worked,
    next_step,
)

OPEN = Cause.ROW_OR_OUTAGE


@pytest.mark.parametrize(
    ("error", "cause", "worked"),
    [
        (exceptions.WatiBadRequestError, Cause.CONTENT, False),
        (exceptions.WatiConflictError, Cause.CONTENT, False),
        (exceptions.WatiNotFoundError, Cause.CONTENT, False),
        (exceptions.WatiRejectedError, Cause.CONTENT, False),
        (exceptions.WatiValidationError, Cause.CONTENT, False),
        (exceptions.WatiPermissionError, OPEN, False),
        (exceptions.WatiServerError, OPEN, True),
        (exceptions.WatiUnknownOutcomeError, OPEN, True),
        (exceptions.WatiResponseError, OPEN, True),
        (exceptions.WatiAuthenticationError, Cause.EVERYBODY, False),
        (exceptions.WatiRateLimitError, Cause.EVERYBODY, False),
        (exceptions.WatiConnectionError, Cause.EVERYBODY, False),
        (exceptions.WatiConfigurationError, Cause.EVERYBODY, False),
    ],
)
def test_the_cause_of_each_error(error: type[exceptions.WatiError], cause: Cause, worked: bool) -> None:
    """Each error of the client has one cause, and says whether the write may have taken effect."""
    assert cause_of(error("x")) is cause
    assert may_have_worked(error("x")) is worked


@pytest.mark.parametrize(
    ("cause", "health", "step"),
    [
        (Cause.EVERYBODY, Health(), Step.STOP),
        (Cause.CONTENT, Health(failures=10_000, unproven=10_000), Step.ISOLATE),
        (OPEN, Health(1, 1), Step.ISOLATE),
        (OPEN, Health(PROBE_AFTER, PROBE_AFTER), Step.PROBE),
        (OPEN, Health(MOST_WITHOUT_WRITE - 1, 1), Step.ISOLATE),
        (OPEN, Health(MOST_WITHOUT_WRITE, 1), Step.STOP),
        (OPEN, Health(MOST_WITHOUT_WRITE, 1, writes_work=True), Step.ISOLATE),
        (OPEN, Health(MOST_IN_A_ROW, 1, writes_work=True), Step.STOP),
    ],
)
def test_the_decision_table(cause: Cause, health: Health, step: Step) -> None:
    """Each line of the table: cause, and how the writes have fared, to the next step."""
    assert next_step(cause, health) is step


def test_the_first_failure_is_probed_at_once_and_later_ones_in_threes() -> None:
    """Before anything has worked, one failure raises the question; after a success, three in a row do."""
    health = Health().after_failure(asks_to_wait=False)
    assert next_step(OPEN, health) is Step.PROBE
    health = health.after_success()
    for expected in (Step.ISOLATE, Step.ISOLATE, Step.PROBE):
        health = health.after_failure(asks_to_wait=False)
        assert next_step(OPEN, health) is expected
    assert next_step(OPEN, health.after_probe(writes_work=False)) is Step.ISOLATE


def test_an_answer_that_asks_to_wait_is_probed_at_once() -> None:
    """The probe waits as long as the answer asks."""
    health = Health().after_success().after_failure(asks_to_wait=True)
    assert next_step(OPEN, health) is Step.PROBE


def test_only_the_first_failure_is_repeated_after_its_probe() -> None:
    """A single row is written once more where its failure was probed, and not in the midst of others."""
    first = Health().after_failure(asks_to_wait=False)
    assert not first.is_first_and_probed
    assert first.after_probe(writes_work=False).is_first_and_probed
    assert not first.after_success().after_failure(asks_to_wait=False).is_first_and_probed
    second = first.after_failure(asks_to_wait=False)
    assert not second.after_probe(writes_work=True).is_first_and_probed
