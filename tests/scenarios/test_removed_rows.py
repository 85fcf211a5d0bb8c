"""A message whose answer was lost and whose row is gone is looked for too, and counted in ``earlier``."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.sending.reconciler import POLL_INTERVAL
from tests.support.sends import ModelSends, model_sends, people, person
from tests.support.wati_model import Fault, Lag

#: How the rows name their messages.
SHAPES: dict[str, Any] = {
    "people": lambda n: person(n),
    "people with own ids": lambda n: person(n, local_message_id=f"order-of-{n:04}"),
    "keys": lambda n: person(n // 2, key=f"order {n}"),
}


def lost(shape: str = "people", *, leaves: bool = True, shown: bool = True) -> ModelSends:
    """
    An attempt has died in its first call, to four messages.

    :param leaves: whether the call has reached WATI.
    :param shown: whether enough time has passed for WATI to list the campaign.
    """
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=leaves)]
    sends.model.lags = [Lag(listed=30), Lag()]
    sends.attempt(map(SHAPES[shape], range(4)), dies=True)
    if shown:
        sends.clock.advance(60)
    return sends


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [3, 1, 0])
def test_a_message_without_a_row_is_counted(kept: int, shape: str) -> None:
    """Rows are removed before the next attempt: their messages are found, whether or not another row waits for the call."""
    sends = lost(shape)
    done = sends.attempt(map(SHAPES[shape], range(kept)))
    assert done.statuses == ["accepted"] * kept
    assert (done.summary["total"], done.summary["earlier"], done.calls) == (kept, 4 - kept, 0)


def test_a_message_without_a_row_is_counted_once_wati_shows_it() -> None:
    """While rows wait for a campaign that shows late, the removed rows of its call wait with them."""
    done = lost(shown=False).attempt(people(3))
    assert (done.statuses, done.summary["earlier"]) == (["accepted"] * 3, 1)


def test_a_message_without_a_row_holds_nobody_back() -> None:
    """Nobody waits for a call that concerns removed rows only; a later attempt counts it."""
    sends = lost(shown=False)
    began = sends.clock.now()
    done = sends.attempt(people(2, first=10))
    assert (done.statuses, done.summary["earlier"]) == (["accepted"] * 2, 0)
    assert sends.clock.now() - began < POLL_INTERVAL
    sends.clock.advance(60)
    assert sends.attempt(people(2, first=10)).summary["earlier"] == 4


def test_a_call_that_never_left_is_not_counted() -> None:
    """Removed rows of a call that WATI does not have were not messaged."""
    done = lost(leaves=False).attempt(people(3))
    assert (done.statuses, done.summary["earlier"]) == (["accepted"] * 3, 0)
    assert done.calls == 1


def test_a_row_that_comes_back_is_known() -> None:
    """A removed row whose message was found is accepted when it is there again, without another look."""
    sends = lost()
    sends.attempt(people(3))
    done = sends.attempt(people(4))
    assert (done.statuses, done.summary["earlier"]) == (["accepted"] * 4, 0)
    assert not {"campaigns", "recipients"} & set(done.requests)
    assert sends.messages(4) == [1] * 4


def test_a_row_that_became_invalid_is_accepted() -> None:
    """A row that could not be sent any more has its message all the same."""
    sends = lost()
    done = sends.attempt([*people(3), person(3) | {"params": {"name": "Ada"}}])
    assert done.statuses == ["accepted"] * 4
    assert (done.summary["earlier"], sends.messages(4)) == (0, [1] * 4)
    assert all(done.campaign_ids)


def test_a_call_that_is_found_without_rows_is_a_control_for_the_others_of_the_same_look() -> None:
    """The campaign of the answered call is deleted; one of two lost calls is listed, so the other one was not made."""
    sends = model_sends()
    sends.attempt(people(1))
    sends.model.delete(sends.model.campaigns[0])
    sends.clock.advance(600)
    sends.model.lags = [Lag(listed=300)]
    sends.model.faults = [Fault("drop", after=True), Fault("drop", count=1)]
    sends.attempt(people(3), batch_size=1, dies=True)
    sends.clock.advance(1_000)
    # The first look is later than the least time of a watch.
    sends.model.seconds_a_call = 6
    done = sends.attempt([person(0), person(2)])
    assert done.statuses == ["accepted", "accepted"], done.reasons
