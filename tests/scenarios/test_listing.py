"""WATI shows things late, bit by bit or not at all: absence is evidence only where the list can be trusted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.sandbox.model import render as sandbox_page
from airflow_provider_wati.sandbox.model.campaigns import listed_recipients
from airflow_provider_wati.sending.schedule import SendWindow
from tests.support.sends import GRACE, PARAMS, SandboxSends, model_sends, people, person
from tests.support.wati_model import Fault, Habits, Lag


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


# A control: what WATI has answered must be in its list


@pytest.mark.parametrize("effect", ["after", "before"])
def test_a_list_that_hides_answered_campaigns_proves_nothing(effect: str, sends: SandboxSends) -> None:
    """Finding 3: nine calls are answered and one answer is lost; a list without any of them is no evidence."""
    sends.sandbox.fault("drop", method="POST", when=effect, skip=4, count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=10_000)
    done = sends.attempt(people(10), batch_size=1)
    assert done.statuses == ["accepted"] * 4 + ["unknown"] + ["accepted"] * 5
    assert "does not show an answered campaign of this send either" in done.reasons[4]
    assert sends.posts() == 10
    sends.clock.advance(10_000)
    done = sends.attempt(people(10), batch_size=1)
    assert done.statuses == ["accepted"] * 10
    assert sends.messages(10) == [1] * 10


def test_a_control_that_is_deleted_keeps_people_unknown(sends: SandboxSends) -> None:
    """A dashboard that was tidied proves nothing about the lost call; nobody is messaged twice for it."""
    sends.sandbox.fault("drop", method="POST", when="after", skip=1, count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=10_000, skip=1, count=1)
    sends.attempt(people(4), batch_size=2, dies=True)
    for channel in sends.sandbox.state.channels:
        channel.broadcasts.clear()
    done = sends.attempt(people(5), batch_size=2)
    assert done.statuses == ["accepted", "accepted", "unknown", "unknown", "accepted"]
    assert sends.messages(5) == [1] * 5


def test_one_ambiguous_batch_stops_nobody_else(sends: SandboxSends) -> None:
    """An entry concerns its own people only: new rows go out beside it."""
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=10_000)
    done = sends.attempt(people(6), batch_size=2)
    assert done.statuses == ["unknown"] * 2 + ["accepted"] * 4
    assert sends.attempt(people(8), batch_size=2).statuses == ["unknown"] * 2 + ["accepted"] * 6
    assert sends.messages(8) == [1] * 8


# Growing lists

GROWTH: dict[str, Lag] = {
    "0, 0, all": Lag(first=60, last=60),
    "one by one": Lag(first=0, last=100),
    "one by one with its total": Lag(first=0, last=100, total_grows=True),
    "late and slow": Lag(listed=50, first=60, last=200, total_grows=True),
    "hidden for nearly the grace": Lag(listed=115, first=115, last=115),
    "slow to the last": Lag(first=0, last=119),
}


@pytest.mark.parametrize("growth", GROWTH)
@pytest.mark.parametrize("state", ["in the attempt", "in the next one", "without a journal"])
def test_a_list_that_grows_is_not_taken_for_complete(state: str, growth: str) -> None:
    """Finding 3: a list that grows between two looks is watched until it has stopped."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [GROWTH[growth], Lag()]
    done = sends.attempt(people(27), dies=state != "in the attempt")
    if state == "without a journal":
        sends.lose_state()
    if state != "in the attempt":
        done = sends.attempt(people(27))
    assert sends.messages(27) == [1] * 27
    assert done.statuses == ["accepted"] * 27


def test_a_list_that_grows_with_its_count_in_the_sandbox(
    sends: SandboxSends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List and total grow together, so that they agree at each look."""

    def statistics(state: Any, broadcast: Any, *, cumulative: bool) -> dict[str, int]:
        looks.append(listed_recipients(state, broadcast))
        return {**told(state, broadcast, cumulative=cumulative), "total_recipients": looks[-1]}

    looks: list[int] = []
    told = sandbox_page.statistics  # type: ignore[attr-defined] # where the page looks it up
    monkeypatch.setattr(sandbox_page, "statistics", statistics)
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=100, fill=True, count=1)
    done = sends.attempt(people(9))
    assert min(looks) < 9, "it was never seen half full"
    assert done.statuses == ["accepted"] * 9
    assert sends.messages(9) == [1] * 9


def test_a_list_that_never_ends_growing_ends_unknown() -> None:
    """A campaign that lists fewer people than it holds after five graces leaves the others unknown, and is not resent."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(first=0, last=6_000), Lag()]
    for _ in range(2):
        done = sends.attempt(people(200))
        assert done.statuses.count("unknown") > 100
        assert "lists fewer people than it holds" in done.reasons[-1]
    assert sends.posts() == 1


@pytest.mark.parametrize("first", [130, 190, 195])
def test_a_list_is_read_again_before_it_counts_as_complete(first: float) -> None:
    """A campaign that appears late counts as complete by a look after its grace, not because time has passed."""
    sends = model_sends()
    sends.attempt(people(1, first=9))
    sends.model.lags = [Lag(listed=60, first=first, last=first), Lag()]
    sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(2), dies=True)
    sends.lose_state()
    done = sends.attempt(people(2))
    assert done.statuses == ["accepted"] * 2
    assert sends.messages(2) == [1, 1]


def test_people_who_come_on_two_pages_count_once() -> None:
    """A list that shifts while it is read shows some twice and others not at all."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    read = sends.model._list_recipients
    looks: list[int] = []

    def shifted(campaign: Any, query: dict[str, str]) -> dict[str, Any]:
        page = read(campaign, query)
        looks.append(1)
        if len(looks) == 1:
            shown = page["recipients"]
            page["recipients"] = [*shown[:2], shown[1]]
        return page

    sends.model._list_recipients = shifted  # type: ignore[method-assign] # a list that shifts once
    sends.attempt(people(3), dies=True)
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


# Schedules


@pytest.mark.parametrize("how", ["scheduled_at", "send_window"])
@pytest.mark.parametrize("retry", ["before it is due", "just after it is due", "long after"])
@pytest.mark.parametrize("grows", [False, True], ids=["total at once", "total grows"])
def test_a_schedule_that_fills_at_its_due_time_is_not_made_again(how: str, retry: str, grows: bool) -> None:
    """Finding 4: the answer to a schedule is lost; the grace runs from its due time too."""
    sends = model_sends()
    due = sends.clock.now() + timedelta(hours=2)
    settings: dict[str, Any] = {"scheduled_at": due}
    if how == "send_window":
        end = due + timedelta(hours=4)
        settings = {"send_window": SendWindow.parse((f"{due:%H:%M}", f"{end:%H:%M}", "UTC"))}
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(first=1, last=100, total_grows=grows), Lag()]
    first = sends.attempt(people(20), **settings)
    assert set(first.statuses) <= {"accepted", "unknown"}
    wait = {"before it is due": 3600, "just after it is due": 2 * 3600 + 5, "long after": 4 * 3600}[retry]
    sends.clock.sleep(wait - (sends.clock.now() - due + timedelta(hours=2)).total_seconds())
    if how == "scheduled_at" and retry != "before it is due":
        settings = {}
    sends.attempt(people(20), **settings)
    sends.clock.sleep(5 * 3600)
    settings = {} if how == "scheduled_at" else settings
    done = sends.attempt(people(20), **settings)
    assert done.statuses == ["accepted"] * 20
    assert sends.messages(20) == [1] * 20


def test_a_schedule_with_an_answer_blocks_nobody(sends: SandboxSends) -> None:
    """An answered schedule lists nobody before its time, and new rows are scheduled beside it."""
    at = sends.clock.now() + timedelta(days=30)
    sends.attempt(people(2), scheduled_at=at)
    assert sends.attempt(people(3), scheduled_at=at).statuses == ["accepted"] * 3
    assert sends.clock.sleeps == []
    sends.clock.advance(timedelta(days=31))
    assert sends.messages(3) == [1, 1, 1]


@pytest.mark.parametrize("word", ["cancelled", "CANCELED", "stopped"])
def test_a_lost_schedule_that_was_cancelled_is_skipped(word: str) -> None:
    """Finding 13: whatever word WATI has for it, a schedule that was taken back is not called accepted."""
    sends = model_sends(Habits(cancelled_word=word))
    at = sends.clock.now() + timedelta(hours=5)
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(listed=1), Lag()]
    sends.attempt(people(2), scheduled_at=at, dies=True)
    sends.clock.sleep(2)
    sends.model.cancel(sends.model.campaigns[0])
    for _ in range(2):
        done = sends.attempt(people(3), scheduled_at=at)
        assert done.statuses == ["skipped", "skipped", "accepted"]
        assert "cancelled in WATI: give another send_key" in done.reasons[0]
    assert sends.messages(3) == [0, 0, 1]


def test_a_campaign_that_is_stopped_after_its_messages_went_out_is_accepted() -> None:
    """A cancelled status takes no message back that WATI lists as sent."""
    sends = model_sends()
    at = sends.clock.now() + timedelta(hours=1)
    sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(2), scheduled_at=at, dies=True)
    sends.clock.sleep(2 * 3_600)
    sends.model.cancel(sends.model.campaigns[0])
    done = sends.attempt(people(2), scheduled_at=sends.clock.now() + timedelta(hours=1))
    assert done.statuses == ["accepted", "accepted"]
    assert sends.messages(2) == [1, 1]


def test_another_order_is_not_held_back_by_a_growing_list() -> None:
    """People who are not in the ambiguous call go out at once, while its list is watched."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(first=0, last=1_500), Lag()]
    sends.attempt(people(50), dies=True)
    done = sends.attempt([person(n) for n in range(55)])
    assert done.statuses[50:] == ["accepted"] * 5
    assert sends.messages(55) == [1] * 55
    assert GRACE.total_seconds() <= sum(sends.clock.sleeps)


def test_a_schedule_that_is_stopped_after_its_time_may_list_people_late() -> None:
    """WATI lists the people 60 s after the schedule is due, and the campaign is stopped in between: they have the message."""
    sends = model_sends()
    due = sends.clock.now() + timedelta(minutes=20)
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(first=60, last=60)]
    sends.attempt(people(2), scheduled_at=due, dies=True)
    sends.clock.advance(due - sends.clock.now() + timedelta(seconds=10))
    sends.model.cancel(sends.model.campaigns[0])
    assert sends.attempt(people(2), scheduled_at=due).statuses == ["accepted"] * 2
    assert sends.messages(2) == [1, 1]


@pytest.mark.parametrize(
    "targets",
    [["IN.100000000001", "IN.100000000002", "IN.100000000003"], [f"{n:024x}" for n in (1, 2, 3)]],
    ids=["bsuid", "contact"],
)
def test_people_who_are_listed_without_id_and_number_are_told_apart(targets: list[str]) -> None:
    """WATI may leave out all but the contact id or the BSUID, and each of them is evidence."""
    sends = model_sends(Habits(echoes_ids=False))
    listed = sends.model._listed
    sends.model._listed = lambda *what: {**listed(*what), "id": None}  # type: ignore[method-assign] # for this model only
    sends.model.faults = [Fault("drop", after=True)]
    done = sends.attempt([{"target": target, "params": PARAMS} for target in targets])
    assert done.statuses == ["accepted"] * 3
    assert list(sends.model.effects().values()) == [1, 1, 1]


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00"]
)
def test_a_campaign_with_the_first_or_last_time_of_net_has_none(time: str) -> None:
    """It stands for no time, and to add the grace to it would be an error in each attempt."""
    sends = model_sends()
    shown = sends.model._shown
    sends.model._shown = lambda *what, **more: {**shown(*what, **more), "scheduled_at": time}  # type: ignore[method-assign] # for this model only
    sends.model.faults = [Fault("drop", after=True)]
    done = sends.attempt(people(4), batch_size=2)
    assert done.statuses == ["accepted"] * 4
    assert sends.messages(4) == [1] * 4
