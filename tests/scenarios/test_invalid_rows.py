"""A row that cannot be sent any more may have its message: it waits for the evidence like any other."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.sending.journal import Start
from tests.support.sends import PARAMS, ModelSends, model_sends, people, person
from tests.support.wati_model import Fault, Lag


def invalid(n: int) -> dict[str, Any]:
    """The row of a person whose parameters are not complete any more."""
    return person(n) | {"params": {"name": PARAMS["name"]}}


def test_a_row_that_becomes_invalid_while_its_call_is_open_is_waited_for() -> None:
    """Who takes the invalid rows and sends to them under another key messages nobody twice."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True, skip=1)]
    sends.model.lags = [Lag(), Lag(listed=30), Lag()]
    sends.attempt(people(3), batch_size=2, dies=True)
    done = sends.attempt([*people(2), invalid(2)], batch_size=2)
    assert done.statuses == ["accepted"] * 3
    failed = [n for n, status in enumerate(done.statuses) if status in ("rejected", "invalid")]
    ModelSends(sends.model, send_key="those that failed").attempt([person(n) for n in failed])
    assert sends.messages(3) == [1, 1, 1]


@pytest.mark.parametrize("effect", [True, False])
def test_what_wati_shows_after_a_lost_journal_holds_for_an_invalid_row(effect: bool) -> None:
    """The list shows the message of the row, or else the row is invalid again, for its own reason."""
    sends = model_sends()
    sends.attempt(people(2 if effect else 1))
    sends.lose_state()
    done = sends.attempt([person(0), invalid(1)])
    assert done.start is Start.LOST
    assert done.statuses == ["accepted", "accepted" if effect else "invalid"]
    if not effect:
        assert str(done.reasons[1]).startswith("parameter 'order_id' is missing")
    assert sends.messages(2) == [1, int(effect)]


def test_lists_that_cannot_be_read_leave_it_unknown() -> None:
    """It is not known whether the person has the message, and invalid says that nobody has."""
    sends = model_sends()
    sends.model.faults = [
        Fault("drop", after=True),
        Fault("status", call="campaigns", status=401, count=10**6),
    ]
    sends.attempt(people(1), dies=True)
    done = sends.attempt([invalid(0)])
    assert done.statuses == ["unknown"]


def test_an_invalid_row_beside_a_valid_one_of_the_same_person_stays_invalid() -> None:
    """The person has one message, and the valid row stands for it."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(1), dies=True)
    done = sends.attempt([invalid(0), person(0)])
    assert done.statuses == ["invalid", "accepted"]
    assert sends.messages(1) == [1]
