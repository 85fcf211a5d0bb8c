"""When lost answers hold further calls back, and when they may leave again."""

from __future__ import annotations

import pytest

from airflow_provider_wati.sending.circuit_breaker import CircuitBreaker


def breaker_after(*answers: bool) -> CircuitBreaker:
    """Return a circuit breaker after calls, given for each whether its answer arrived."""
    breaker = CircuitBreaker()
    for arrived in answers:
        breaker.record(is_lost=not arrived)
    return breaker


@pytest.mark.parametrize(
    ("answers", "is_open"),
    [
        ((), False),
        ((False,), False),
        ((False, False), True),
        ((False, True, False), False),
        ((True, False, False), True),
    ],
)
def test_two_lost_answers_in_a_row_open_the_circuit(answers: tuple[bool, ...], is_open: bool) -> None:
    """An answer between two lost ones keeps the circuit closed, and the first two in a row do not end the attempt."""
    breaker = breaker_after(*answers)
    assert breaker.is_open is is_open
    assert not breaker.has_failed


def test_evidence_closes_the_circuit() -> None:
    """After a lost call is found, it takes two lost answers again to open the circuit, and the attempt goes on."""
    breaker = breaker_after(False, False)
    breaker.retry(has_evidence=True)
    assert not breaker.is_open
    breaker.record(is_lost=True)
    assert not breaker.is_open
    breaker.record(is_lost=True)
    assert breaker.is_open
    assert not breaker.has_failed


def test_a_trial_call_whose_answer_is_lost_ends_the_attempt() -> None:
    """Without evidence, one call may leave; a lost answer to it opens the circuit for good."""
    breaker = breaker_after(False, False)
    breaker.retry(has_evidence=False)
    assert not breaker.is_open
    breaker.record(is_lost=True)
    assert breaker.is_open
    assert breaker.has_failed


def test_a_trial_call_that_is_answered_closes_the_circuit() -> None:
    """After an answer, the circuit needs two lost answers to open, and another trial call may leave then."""
    breaker = breaker_after(False, False)
    breaker.retry(has_evidence=False)
    for is_lost in (False, True, True):
        breaker.record(is_lost=is_lost)
    assert breaker.is_open
    assert not breaker.has_failed
