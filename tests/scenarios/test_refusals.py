"""WATI refuses people, rows or calls: each refusal is one person's, and blocks nobody."""

from __future__ import annotations

import pytest

from tests.support.sends import GRACE, SandboxSends, model_sends, people, person, phone
from tests.support.wati_model import Fault, Habits

EVER = 1_000_000
HABITS = [
    Habits(total_counts_refused=total, lists_refused=listed, failed_word=word, echoes_ids=echoes)
    for total in (True, False)
    for listed in (True, False)
    for word in ("FAILED", "Undelivered")
    for echoes in (True, False)
]


@pytest.mark.parametrize("habits", HABITS, ids=range(len(HABITS)))
@pytest.mark.parametrize("state", ["kept", "lost"])
def test_a_refused_number_blocks_nobody_and_is_never_called_accepted(state: str, habits: Habits) -> None:
    """Finding 6: whether totals count refused people or lists show them as failed, the retry is true."""
    sends = model_sends(habits)
    sends.model.faults = [Fault("errors", targets=[phone(1)], count=EVER)]
    for _ in range(3):
        done = sends.attempt(people(4))
        assert done.statuses == ["accepted", "rejected", "accepted", "accepted"]
        if state == "lost":
            sends.lose_state()
            sends.clock.sleep(3600)
    done = sends.attempt(people(5))
    assert done.statuses == ["accepted", "rejected", "accepted", "accepted", "accepted"]
    assert sends.messages(5) == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("habits", HABITS, ids=range(len(HABITS)))
def test_a_lost_answer_with_a_refused_number_in_it(habits: Habits) -> None:
    """Finding 6: a person who is listed as failed has no message, and a person not listed is sent to once more."""
    sends = model_sends(habits)
    sends.attempt(people(1))
    sends.model.faults = [Fault("errors", targets=[phone(2)]), Fault("drop", after=True, skip=10)]
    campaign_of = sends.model._send_template

    def refuse_and_drop(how: str, body: dict[str, object], fault: Fault | None) -> dict[str, object]:
        return campaign_of(how, body, Fault("errors", targets=[phone(2)]))

    sends.model._send_template = refuse_and_drop  # type: ignore[method-assign] # refused, and the answer is lost
    sends.model.faults = [Fault("drop", after=True)]
    done = sends.attempt(people(4), batch_size=1_000)
    assert done.statuses[:2] + done.statuses[3:] == ["accepted"] * 3
    assert done.statuses[2] in ("rejected", "unknown")
    assert sends.messages(4) == [1, 1, 0, 1]


def test_the_next_run_under_a_shared_key_is_not_blocked_by_a_refusal() -> None:
    """Finding 6: a number that WATI refuses for ever stays rejected, run for run, and the others go out."""
    sends = model_sends(Habits(total_counts_refused=True))
    sends.model.faults = [Fault("errors", targets=[phone(1)], count=EVER)]
    for run in range(4):
        done = sends.attempt(people(4 + run), may_have_run=False, is_shared=True)
        assert done.statuses == ["accepted", "rejected"] + ["accepted"] * (2 + run)
    assert sends.messages(7) == [1, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("bad", [[0], [7], [19], [3, 11]], ids=str)
def test_a_row_that_draws_a_400_stands_alone(bad: list[int]) -> None:
    """Finding 10b: the batch is split, in each attempt, and everybody else has the message once."""
    sends = model_sends()
    sends.model.faults = [Fault("bad_row", targets=[phone(n) for n in bad], count=EVER)]
    for attempt in range(3):
        done = sends.attempt(people(20))
        assert done.statuses == ["rejected" if n in bad else "accepted" for n in range(20)]
        assert sends.messages(20) == [int(n not in bad) for n in range(20)]
        if attempt:
            assert done.calls <= 2 * len(bad)


def test_a_refusal_of_everything_is_not_asked_about_row_by_row(sends: SandboxSends) -> None:
    """A call that is refused for all costs a bounded number of calls, and the next attempt tries again."""
    refusal = sends.sandbox.fault("status", status=400, method="POST")
    done = sends.attempt(people(1_000))
    assert set(done.statuses) == {"rejected", "unsent"}
    assert all(reason.startswith(("WATI answered", "not attempted: WATI refused")) for reason in done.reasons)
    assert done.calls <= 22
    sends.sandbox.control("DELETE", f"/faults/{refusal}")
    assert sends.attempt(people(1_000)).statuses == ["accepted"] * 1_000
    assert sends.messages(1_000) == [1] * 1_000


def test_a_400_is_no_lost_answer(sends: SandboxSends) -> None:
    """Refusals do not stop the posting as lost answers do, and nothing is waited for."""
    sends.sandbox.fault("status", status=400, method="POST", count=3)
    done = sends.attempt(people(8), batch_size=1)
    assert done.statuses == ["rejected"] * 3 + ["accepted"] * 5
    assert sum(sends.clock.sleeps) < GRACE.total_seconds()


def test_a_refused_person_is_tried_again_in_the_next_attempt(sends: SandboxSends) -> None:
    """A refusal may pass; only who was refused goes out again."""
    sends.sandbox.fault("recipient_errors", numbers=[phone(1)], method="POST", count=1)
    assert sends.attempt(people(3)).statuses == ["accepted", "rejected", "accepted"]
    done = sends.attempt([person(2), person(1), person(0)])
    assert done.statuses == ["accepted"] * 3
    assert done.calls == 1
    assert sends.messages(3) == [1, 1, 1]


def test_a_429_to_the_end_leaves_the_rest_for_the_next_attempt(sends: SandboxSends) -> None:
    """A quota that is used up is nobody's refusal."""
    quota = sends.sandbox.fault("status", status=429, method="POST", skip=1)
    done = sends.attempt(people(6), batch_size=2)
    assert done.statuses == ["accepted"] * 2 + ["unsent"] * 4
    assert "429" in done.reasons[3]
    sends.sandbox.control("DELETE", f"/faults/{quota}")
    assert sends.attempt(people(6), batch_size=2).statuses == ["accepted"] * 6
    assert sends.messages(6) == [1] * 6


def test_a_batch_of_bad_rows_condemns_no_other_batch() -> None:
    """Rows are rejected for their own refusal only, and a good row behind bad ones is sent in the same attempt."""
    sends = model_sends()
    bad = {*range(6), 8}
    sends.model.faults = [Fault("bad_row", targets=[phone(n) for n in bad], count=EVER)]
    done = sends.attempt(people(12), batch_size=6)
    assert done.statuses == ["rejected" if n in bad else "accepted" for n in range(12)]
    assert sends.messages(12) == [int(n not in bad) for n in range(12)]


def test_rows_that_were_not_tried_are_unsent() -> None:
    """Where WATI refuses one row after the other, the rest of the batch is left for the next attempt, and others go on."""
    sends = model_sends()
    bad = set(range(150))
    sends.model.faults = [Fault("bad_row", targets=[phone(n) for n in bad], count=EVER)]
    done = sends.attempt(people(200), batch_size=150)
    assert set(done.statuses[:150]) == {"rejected", "unsent"}
    assert done.statuses[150:] == ["accepted"] * 50
    assert done.calls <= 25


def test_nothing_is_posted_after_three_batches_of_refusals() -> None:
    """A template that WATI refuses for everybody costs a bounded number of calls, whatever the number of rows."""
    sends = model_sends()
    sends.model.faults = [Fault("status", status=400, count=EVER)]
    done = sends.attempt(people(2_000), batch_size=100)
    assert done.calls <= 66
    assert done.statuses[-1] == "unsent"
    assert "WATI refuses" in done.reasons[-1]
