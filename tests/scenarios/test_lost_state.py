"""The journal is gone: WATI's lists alone show who has the message."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.sending.journal import Start
from tests.support.sends import GRACE, SandboxSends, model_sends, people, person, phone
from tests.support.wati_model import Fault, Habits, Lag


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


@pytest.mark.parametrize("seconds", [0, 1, 100])
def test_wati_is_asked_and_given_the_grace(seconds: float, sends: SandboxSends) -> None:
    """However late the campaigns appear within the grace, nobody is messaged twice."""
    sends.sandbox.fault("slow_listing", seconds=seconds)
    sends.attempt(people(5), batch_size=2)
    for _ in range(2):
        sends.lose_state()
        done = sends.attempt(people(5), batch_size=2)
        assert done.start is Start.LOST
        assert done.statuses == ["accepted"] * 5
        assert done.calls == 0
    assert sends.messages(5) == [1] * 5


def test_who_is_not_shown_is_sent_to_after_the_grace(sends: SandboxSends) -> None:
    """New rows go out once WATI has had its time, and old ones do not."""
    sends.attempt(people(4))
    sends.lose_state()
    done = sends.attempt([person(9), *people(4)[::-1]])
    assert done.statuses == ["accepted"] * 5
    assert sends.messages(10) == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1]
    assert sum(sends.clock.sleeps) >= GRACE.total_seconds()
    assert done.calls == 1


def test_what_was_found_is_known_to_the_next_attempt(sends: SandboxSends) -> None:
    """The search is made once: what it found is in the new journal."""
    sends.attempt(people(4))
    sends.lose_state()
    sends.attempt(people(4))
    again = sends.attempt(people(4))
    assert again.requests == ["GET /api/ext/v3/messageTemplates"]


def test_a_search_that_dies_is_made_again(sends: SandboxSends) -> None:
    """The attempt after one that died while it looked is as careful."""
    sends.sandbox.fault("slow_listing", seconds=20)
    sends.attempt(people(3))
    sends.lose_state()
    died = sends.attempt(people(3), dies=True)
    assert isinstance(died.error, KeyboardInterrupt)
    assert died.statuses == ["unknown"] * 3
    done = sends.attempt(people(3))
    assert done.start is Start.LOST
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


def test_an_attempt_that_sent_nothing_costs_the_next_one_no_waiting(sends: SandboxSends) -> None:
    """A source that breaks off leaves an opening, which proves that nothing was sent."""

    def rows() -> Iterator[dict[str, Any]]:
        yield person(0)
        raise ValueError("the file broke off")

    assert isinstance(sends.attempt(rows()).error, ValueError)
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3
    assert sends.clock.sleeps == []


def test_a_dry_run_after_the_loss_promises_nothing(sends: SandboxSends) -> None:
    """Whoever may have the message is unknown, and a dry run waits for nothing."""
    sends.attempt(people(2))
    sends.lose_state()
    done = sends.attempt(people(3), dry_run=True)
    assert done.statuses == ["accepted", "accepted", "unknown"]
    assert done.summary["estimate"]["messages"] == 0
    assert sends.clock.sleeps == []


def test_a_list_that_cannot_be_read_sends_nothing(sends: SandboxSends) -> None:
    """Without journal and list everybody is unknown."""
    sends.attempt(people(3))
    sends.lose_state()
    sends.sandbox.fault("status", status=500, path="*/broadcasts*")
    done = sends.attempt(people(3))
    assert done.statuses == ["unknown"] * 3
    assert "campaigns cannot be read" in done.reasons[0]
    sends.sandbox.workspace.faults.clear()
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1] * 3


@pytest.mark.parametrize(
    "habits",
    [
        Habits(name_length=60),
        Habits(name_length=40),
        Habits(name_form=lambda name: f"{name} (1)"),
        Habits(name_form=lambda name: f"{name} "),
        Habits(name_form=lambda name: name.replace("&", "&amp;")),
        Habits(name_form=lambda name: name.replace(" ", "_")),
    ],
    ids=["cut at 60", "cut at 40", "suffix", "trailing space", "escaped", "no spaces"],
)
def test_campaigns_are_found_whatever_wati_makes_of_their_names(habits: Habits) -> None:
    """Finding 3: the mark stands first, so that a cut, a suffix or escaping leaves it."""
    sends = model_sends(habits, campaign_name="Spring sale & more " * 5)
    sends.attempt(people(6), batch_size=2)
    sends.lose_state()
    done = sends.attempt(people(7), batch_size=2)
    assert done.statuses == ["accepted"] * 7
    assert sends.messages(7) == [1] * 7


def test_a_list_that_fills_slowly_is_watched_to_its_end() -> None:
    """Recipients that appear one by one over more than the grace are all found."""
    sends = model_sends()
    sends.model.lags = [Lag(listed=10, first=20, last=300, total_grows=True)]
    sends.attempt(people(20))
    sends.lose_state()
    done = sends.attempt(people(20))
    assert sends.messages(20) == [1] * 20
    assert set(done.statuses) <= {"accepted", "unknown"}
    sends.clock.sleep(600)
    assert sends.attempt(people(20)).statuses == ["accepted"] * 20
    assert sends.messages(20) == [1] * 20


@pytest.mark.parametrize("key", [False, True])
def test_another_order_of_a_customer_is_another_message(key: bool, sends: SandboxSends) -> None:
    """With keys, what WATI lists of a person's other orders proves nothing about this one."""
    orders = ["1001", "1002"] if key else [None, None]
    sends.attempt([person(0, key=orders[0]), person(1, key=orders[1])])
    sends.lose_state()
    rows = [person(0, key="1003" if key else None), person(2, key="1004" if key else None)]
    done = sends.attempt(rows)
    assert done.statuses == ["accepted", "accepted"]
    assert sends.messages(3) == [2 if key else 1, 1, 1]


def test_a_person_who_is_named_otherwise_now_is_found_by_their_number(sends: SandboxSends) -> None:
    """A message to a contact id is listed with the number too."""
    contact = sends.client().create_contact(phone(0), "Ada")["id"]
    sends.attempt([{**person(0), "target": contact}])
    sends.lose_state()
    assert sends.attempt(people(2)).statuses == ["accepted", "accepted"]
    assert sends.messages(2) == [1, 1]


def test_a_run_that_shares_the_key_is_looked_for_where_the_directory_is_new(sends: SandboxSends) -> None:
    """A key of the user's may have been used without this directory; that look costs no waiting."""
    sends.attempt(people(3), is_shared=True)
    sends.begin_another()
    sends.clock.advance(GRACE)
    done = sends.attempt(people(4), is_shared=True)
    assert done.start is Start.UNCERTAIN
    assert done.statuses == ["accepted"] * 4
    assert sends.messages(4) == [1] * 4
    assert sum(sends.clock.sleeps) <= 10


MAPPED: dict[str, Any] = {"is_mapped": True, "family": "key"}
OTHER_PARAMS = {"name": "Ada", "order_id": "1001", "status": "delayed"}


def test_a_message_of_another_mapped_task_is_not_taken_for_this_one(sends: SandboxSends) -> None:
    """Two mapped tasks have a message each to the same person; the one that did not send is not green after a Clear."""
    assert sends.attempt([person(0)], send_key="key 0", **MAPPED).statuses == ["accepted"]
    sends.lose_state()
    mine = sends.attempt([person(0, params=OTHER_PARAMS)], send_key="key 1", **MAPPED)
    assert (mine.start, mine.statuses, mine.calls) == (Start.LOST, ["unknown"], 0)
    assert "other parameters" in mine.reasons[0]


def test_who_has_moved_between_mapped_tasks_keeps_the_message(sends: SandboxSends) -> None:
    """The same parameters in the campaign of another mapped task are the same message."""
    sends.attempt([person(0)], send_key="key 0", **MAPPED)
    sends.lose_state()
    moved = sends.attempt([person(0)], send_key="key 1", **MAPPED)
    assert (moved.statuses, moved.calls) == (["accepted"], 0)


def test_parameters_that_change_make_no_second_message(sends: SandboxSends) -> None:
    """A task that is not mapped has one message to a person, whatever its parameters are now."""
    sends.attempt([person(0)])
    sends.lose_state()
    assert sends.attempt([person(0, params=OTHER_PARAMS)]).statuses == ["accepted"]


def test_a_failed_message_does_not_hide_a_later_one() -> None:
    """Without a journal, a campaign that lists a person as failed may not be the only one with that person in it."""
    model = model_sends(Habits(lists_refused=True))
    model.model.faults = [Fault("errors", targets=[phone(0)])]
    model.attempt(people(1))
    model.model.lags = [Lag(listed=100), Lag()]
    assert model.attempt(people(1)).statuses == ["accepted"]
    model.lose_state()
    assert model.attempt(people(1)).statuses == ["accepted"]
    assert model.messages(1) == [1]


def test_a_message_that_failed_before_the_state_was_lost_is_sent_again() -> None:
    """A failure of an earlier attempt is no refusal of this one, whoever has made the call."""
    hows: tuple[dict[str, Any], ...] = ({}, {"is_shared": True, "may_have_run": False})
    for how in hows:
        model = model_sends(Habits(lists_refused=True))
        model.model.faults = [Fault("errors", targets=[phone(0)])]
        assert model.attempt(people(1), **how).statuses == ["rejected"]
        model.lose_state()
        assert model.attempt(people(1), **how).statuses == ["accepted"]
        assert model.messages(1) == [1]


@pytest.mark.parametrize("hold", [False, True])
def test_who_was_given_up_and_not_sent_to_is_looked_for_again(hold: bool) -> None:
    """The attempt that waited for the grace has sent nothing; until the next one, WATI may show the message."""
    sends = model_sends()
    sends.model.lags = [Lag(listed=300)]
    sends.attempt(people(2))
    sends.lose_state()
    sends.model.faults = [Fault("status", status=401)]
    failed = sends.attempt(people(2))
    assert failed.statuses == ["unknown"] * 2
    sends.clock.advance(3600)
    done = sends.attempt(people(2), hold=hold)
    assert done.statuses == ["accepted"] * 2
    assert sends.messages(2) == [1, 1]


@pytest.mark.parametrize("cancelled", [0, 1])
def test_of_two_schedules_the_one_that_was_not_cancelled_decides(cancelled: int) -> None:
    """The journal is gone, and WATI shows both calls for the row."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(listed=200), Lag()]
    sends.attempt(people(1), scheduled_at=sends.clock.now() + timedelta(hours=5))
    sends.clock.advance(600)
    sends.model.cancel(sends.model.campaigns[cancelled])
    sends.clock.advance(6 * 3600)
    sends.lose_state()
    assert sends.attempt(people(1)).statuses == ["accepted"]


def test_a_cancelled_schedule_stays_cancelled(sends: SandboxSends) -> None:
    """WATI alone shows a schedule that was cancelled: each later attempt says the same about its people."""
    due = sends.clock.now() + timedelta(hours=2)
    scheduled = sends.attempt(people(2), scheduled_at=due)
    sends.client().cancel_scheduled_campaign(scheduled.summary["campaigns"][0]["id"])
    sends.lose_state()
    for _ in range(3):
        assert sends.attempt(people(2), scheduled_at=due).statuses == ["skipped"] * 2
