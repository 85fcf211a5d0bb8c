"""A call takes effect and stays hidden for longer than the grace, and nothing is sent after it: the row stays unknown."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from tests.support.sends import ModelSends, model_sends, people, person, phone
from tests.support.wati_model import Fault, Lag

HOWS: dict[str, tuple[list[Fault], dict[str, Any], str]] = {
    "401": ([Fault("status", status=401, count=9)], {}, "not attempted: .*401"),
    "consent fails": (
        [Fault("status", call="contact", status=400, count=9)],
        {"check_consent": True},
        "could not be looked up",
    ),
    "refused by itself": ([Fault("errors", targets=[phone(0)], count=9)], {}, "not on WhatsApp"),
    "400": ([Fault("bad_row", targets=[phone(0)], count=9)], {}, "400"),
    "suppressed": ([], {"suppress": [phone(0)]}, "suppressed"),
    "opted out": ([], {"check_consent": True}, "opted out"),
    "invalid": ([], {}, "parameter 'name' is missing"),
}


def hidden() -> ModelSends:
    """A send to one person whose call WATI has taken and does not show yet; its worker is dead."""
    sends = model_sends()
    sends.model.lags = [Lag(listed=5_000), Lag()]
    sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(1), dies=True)
    sends.clock.advance(600)
    return sends


@pytest.mark.parametrize("how", HOWS)
def test_a_row_that_is_not_sent_again_stays_unknown_until_wati_shows_it(how: str) -> None:
    """Neither a refusal nor a reason to skip says that the person has nothing, and the reason tells both."""
    sends = hidden()
    sends.model.faults, more, why = HOWS[how]
    if how == "opted out":
        sends.model.contacts["c"] = {"id": "c", "wa_id": phone(0), "allow_broadcast": False}
    rows = [person(0) | {"params": {}}] if how == "invalid" else people(1)
    for _ in range(2):
        done = sends.attempt(rows, **more)
        assert done.statuses == ["unknown"]
        assert done.summary["total"] == done.summary["unknown"] == 1
        assert done.reasons[0].startswith("an earlier call may have sent it, WATI does not show it")
        assert re.search(why, done.reasons[0]), done.reasons
    sends.clock.advance(6_000)
    assert sends.attempt(rows, **more).statuses == ["accepted"]
    assert sends.messages(1) == [1]


def pause_the_template(sends: ModelSends) -> dict[str, Any]:
    for template in sends.model.templates:
        template["status"] = "PAUSED"
    return {}


def let_the_time_pass(sends: ModelSends) -> dict[str, Any]:
    return {"scheduled_at": sends.clock.now() - timedelta(minutes=10)}


@pytest.mark.parametrize("prevent", [pause_the_template, let_the_time_pass])
def test_an_open_call_is_reconciled_where_nothing_more_can_be_sent(
    prevent: Callable[[ModelSends], dict[str, Any]],
) -> None:
    """What earlier calls have sent does not depend on what may be sent now."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True), Fault("status", status=401)]
    assert sends.attempt(people(4), batch_size=2).statuses == ["unknown"] * 2 + ["unsent"] * 2
    sends.clock.advance(3_600)
    done = sends.attempt(people(4), batch_size=2, **prevent(sends))
    assert done.statuses == ["accepted"] * 2 + ["unsent"] * 2
    assert isinstance(done.error, WatiValidationError)
