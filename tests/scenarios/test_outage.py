"""An outage: WATI takes every call and answers none, or shows nothing. Nobody gets more than two messages."""

from __future__ import annotations

import pytest

from tests.support.sends import GRACE, ModelSends, SandboxSends, model_sends, people
from tests.support.wati_model import Fault, Lag

EVER = 1_000_000


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


@pytest.mark.parametrize("batch_size", [1, 3, 1_000])
def test_answers_that_are_all_lost_send_two_messages_at_most(batch_size: int, sends: SandboxSends) -> None:
    """Finding 2: each POST takes effect and answers 500, and the list stays stale: two messages in a lifetime."""
    sends.sandbox.fault("status", status=500, when="after", method="POST")
    sends.sandbox.fault("slow_listing", method="POST", seconds=10**7)
    for _ in range(5):
        done = sends.attempt(people(6), batch_size=batch_size)
        assert max(sends.messages(6)) <= 2
        assert set(done.statuses) <= {"unknown", "unsent"}
        sends.clock.advance(3600)
    assert sum(sends.messages(6)) <= 12


def test_after_two_lost_answers_in_a_row_posting_stops(sends: SandboxSends) -> None:
    """Finding 2: the rest of the batches is not posted into an outage, and says so."""
    sends.sandbox.fault("drop", method="POST", when="after")
    sends.sandbox.fault("slow_listing", method="POST", seconds=10**7)
    done = sends.attempt(people(40), batch_size=1, hold=True)
    assert done.calls <= 4
    assert done.statuses.count("unsent") >= 36
    [reason] = {done.reasons[n] for n in range(40) if done.statuses[n] == "unsent"}
    assert "the answers to several calls in a row were lost" in reason


def test_the_rest_goes_out_when_the_outage_is_over(sends: SandboxSends) -> None:
    """After the outage the next attempt sends what was not attempted, and finds what was."""
    outage = sends.sandbox.fault("drop", method="POST", when="after")
    sends.attempt(people(20), batch_size=2)
    sends.sandbox.control("DELETE", f"/faults/{outage}")
    done = sends.attempt(people(20), batch_size=2)
    assert done.statuses == ["accepted"] * 20
    assert sends.messages(20) == [1] * 20


def test_an_outage_that_ends_within_the_attempt_costs_nobody_anything(sends: SandboxSends) -> None:
    """As soon as a lost call is found, posting goes on."""
    sends.sandbox.fault("drop", method="POST", when="after", count=3)
    done = sends.attempt(people(20), batch_size=2)
    assert done.error is None
    assert done.statuses == ["accepted"] * 20
    assert sends.messages(20) == [1] * 20


def test_single_lost_answers_do_not_stop_a_send(sends: SandboxSends) -> None:
    """Every other answer is lost, and everybody still has one message at the end."""
    for n in range(10):
        sends.sandbox.fault("drop", method="POST", when="after", skip=1 + n, count=1)
    done = sends.attempt(people(20), batch_size=1)
    assert done.statuses == ["accepted"] * 20
    assert sends.messages(20) == [1] * 20


def test_calls_that_never_arrive_are_made_once_more(sends: SandboxSends) -> None:
    """Two lost calls without effect: after the grace each goes out once more, and is answered."""
    sends.sandbox.fault("drop", method="POST", when="before", count=2)
    done = sends.attempt(people(6), batch_size=2)
    assert done.statuses == ["accepted"] * 6
    assert sends.messages(6) == [1] * 6


@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize("listed", [1.0, 200.0, 10_000_000.0])
def test_a_person_who_was_sent_to_twice_ends_unknown_and_stays_so(effect: bool, listed: float) -> None:
    """Finding 2: no attempt sends a third time, and the reason names the way out."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=effect, count=EVER)]
    sends.model.lags = [Lag(listed=listed)]
    for _ in range(6):
        done = sends.attempt(people(1))
        sends.clock.sleep(10)
    assert sends.posts() <= 2
    assert sends.messages(1)[0] <= 2
    if effect and listed < 10:
        assert done.statuses == ["accepted"]
    if not effect or listed > 10**6:
        assert done.statuses == ["unknown"]
        assert "not sent a third time" in done.reasons[0]
        assert "another send_key" in done.reasons[0]


def all_answers_lost(sends: ModelSends) -> None:
    sends.model.faults = [Fault("status", status=500, after=True, count=EVER)]
    sends.model.lags = [Lag(listed=10_000_000)]


@pytest.mark.parametrize("change", ["rows", "batch size", "both"])
def test_the_limit_of_two_holds_for_people_and_not_for_batches(change: str) -> None:
    """Finding 2: other rows or batches between the attempts open no way to a third message."""
    sends = model_sends()
    all_answers_lost(sends)
    for n in range(6):
        rows = people(9)[n % 3 :] if change != "batch size" else people(9)
        sends.attempt(rows[::-1] if n % 2 else rows, batch_size=1 + n % 4 if change != "rows" else 2)
        sends.clock.sleep(GRACE.total_seconds())
    assert max(sends.messages(9)) <= 2


def test_a_lost_journal_counts_no_resend_as_the_first(sends: SandboxSends) -> None:
    """After the loss of the journal, a person may be sent to once by WATI's absence, and not again after that."""
    sends.sandbox.fault("status", status=500, when="after", method="POST")
    sends.sandbox.fault("slow_listing", method="POST", seconds=10**7)
    sends.attempt(people(1), dies=True)
    sends.lose_state()
    for _ in range(4):
        sends.attempt(people(1))
    assert sends.messages(1) == [2]


def test_a_list_that_cannot_be_read_stops_the_resend(sends: SandboxSends) -> None:
    """An outage of reading as well: nothing is sent again without a look."""
    sends.sandbox.fault("status", status=500, when="after", method="POST", count=1)
    sends.sandbox.fault("status", status=500, method="GET", path="*/broadcasts*")
    for _ in range(3):
        done = sends.attempt(people(4))
        assert done.statuses == ["unknown"] * 4
        assert "campaigns cannot be read" in done.reasons[0]
    assert sends.posts() == 1


def test_a_trial_call_that_is_found_lets_the_others_leave() -> None:
    """The answer to the trial call is lost too, but WATI shows the call: the attempt goes on."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", count=2), Fault("drop", after=True)]
    done = sends.attempt(people(5), batch_size=1)
    assert done.statuses == ["accepted"] * 5, done.reasons
    assert sends.messages(5) == [1] * 5
