"""Clear: a finished send is looked up in its journal, whatever has become of rows, batches and campaigns."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from tests.support.sends import SandboxSends, model_sends, people, person
from tests.support.wati_model import Habits

COUNT = 100_000


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


def test_a_finished_send_with_moved_rows_costs_three_calls_at_most(sends: SandboxSends) -> None:
    """Finding 1: 100,000 people cleared, shuffled, one added and one removed: one message, at most 3 calls."""
    assert sends.attempt(people(COUNT), batch_size=10_000).calls == 10
    for campaign in sends.sandbox.state.channels:
        campaign.broadcasts.clear()
    rows = [person(n) for n in range(COUNT + 1) if n != 17]
    random.Random(1).shuffle(rows)
    done = sends.attempt(rows, batch_size=7)
    assert done.statuses == ["accepted"] * COUNT
    assert (done.calls, done.summary["earlier"]) == (1, 1)
    assert len(done.requests) <= 3
    assert sends.messages(COUNT + 1) == [1] * (COUNT + 1)


CHANGES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "nothing": (list(range(20)), {}),
    "another order": (list(range(20))[::-1], {}),
    "one row more": (list(range(21)), {}),
    "one row fewer": ([n for n in range(20) if n != 3], {}),
    "other batches": (list(range(20)), {"batch_size": 3}),
    "another campaign name": (list(range(20)), {"campaign_name": "renamed"}),
    "nearly all gone": ([19], {}),
    "all others": (list(range(20, 40)), {}),
}


@pytest.mark.parametrize("tidied", [False, True], ids=["campaigns listed", "campaigns deleted"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_known_stays_known_however_rows_and_dashboard_change(
    change: str, tidied: bool, sends: SandboxSends
) -> None:
    """Finding 1: order, rows, batch size and a tidied dashboard message nobody twice, and cost no look."""
    sends.attempt(people(20), batch_size=7)
    if tidied:
        for channel in sends.sandbox.state.channels:
            channel.broadcasts.clear()
    numbers, settings = CHANGES[change]
    done = sends.attempt([person(n) for n in numbers], **{"batch_size": 7, **settings})
    assert done.statuses == ["accepted"] * len(numbers)
    assert sends.messages(40) == [int(n < 20 or n in numbers) for n in range(40)]
    assert not [request for request in done.requests if "/broadcasts" in request]
    assert done.summary["earlier"] == len(set(range(20)) - set(numbers))
    assert sends.clock.sleeps == []


def test_a_list_that_shows_nothing_of_the_channel_matters_to_nobody() -> None:
    """Finding 1: where the list's channel filter does not match, the journal is enough."""
    sends = model_sends(Habits(hides_channel=True), channel="Support")
    sends.attempt(people(10), batch_size=3)
    done = sends.attempt(people(11)[::-1], batch_size=4)
    assert done.statuses == ["accepted"] * 11
    assert sends.messages(11) == [1] * 11


def test_runs_that_share_a_key_message_old_customers_once(sends: SandboxSends) -> None:
    """Finding 1: send_key="welcome" over many runs, each with more customers than before."""
    for run in range(1, 6):
        done = sends.attempt(people(run * 4)[::-1], may_have_run=False, is_shared=True)
        assert done.statuses == ["accepted"] * (run * 4)
        assert done.calls == 1
    assert sends.messages(20) == [1] * 20


def test_a_clear_of_a_finished_send_reports_the_campaigns_of_before(sends: SandboxSends) -> None:
    """The summary after a Clear has the campaigns and counts of the send."""
    before = sends.attempt(people(5), batch_size=2).summary
    after = sends.attempt(people(5), batch_size=2).summary
    assert after["campaigns"] == before["campaigns"]
    assert (after["accepted"], after["calls"], after["earlier"]) == (5, 0, 0)


def test_a_row_that_is_corrected_is_sent(sends: SandboxSends) -> None:
    """A row that was invalid goes out when it is right."""
    wrong = {**person(1), "params": {"name": None}}
    assert sends.attempt([person(0), wrong]).statuses == ["accepted", "invalid"]
    assert sends.attempt(people(2)).statuses == ["accepted", "accepted"]
    assert sends.messages(2) == [1, 1]


def test_a_row_that_turned_wrong_after_its_message_stays_accepted(sends: SandboxSends) -> None:
    """Finding 11: what is in the journal does not end as invalid, also when WATI's list cannot be read."""
    sends.attempt(people(2))
    sends.sandbox.fault("status", status=403, path="*/broadcasts*")
    done = sends.attempt([{**person(0), "params": {}}, person(1)])
    assert done.statuses == ["accepted", "accepted"]


def test_a_key_that_is_filled_in_later_is_refused(sends: SandboxSends) -> None:
    """Keys that come later would message people again, so the send stops and names the change."""
    sends.attempt(people(2))
    done = sends.attempt([person(0, key="1001"), person(0, key="1002")])
    assert isinstance(done.error, WatiConfigurationError)
    assert "use of keys" in str(done.error)
    assert sends.messages(2) == [1, 1]


@pytest.mark.parametrize("key", [None, "7"])
def test_two_spellings_are_one_person_in_all_attempts(key: str | None, sends: SandboxSends) -> None:
    """Mexico's two spellings of a number are one person, whichever row comes first."""
    rows = [{**person(0, key=key), "target": target} for target in ("5215512345678", "525512345678")]
    for again in (rows, rows[::-1], rows):
        assert sends.attempt(again).statuses == ["accepted", "skipped"]
    assert sends.posts() == 1


def test_a_schedule_keeps_its_time_and_a_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A Clear with another ``scheduled_at`` makes no second schedule, and names the time that WATI has."""
    sends = model_sends()
    at = sends.clock.now() + timedelta(hours=2)
    sends.attempt(people(2), scheduled_at=at)
    for scheduled_at, warns in ((at, False), (at + timedelta(hours=3), True)):
        caplog.clear()
        done = sends.attempt(people(2), scheduled_at=scheduled_at)
        assert done.statuses == ["accepted"] * 2
        assert (f"scheduled messages for {at}" in caplog.text) is warns
    assert [campaign.due for campaign in sends.model.campaigns] == [at]
