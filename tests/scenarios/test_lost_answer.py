"""An answer is lost: nobody is messaged twice, and nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.sending.journal_codec import Verdict
from tests.support.sends import GRACE, SandboxSends, die_in_next_call, model_sends, people, person, phone
from tests.support.wati_model import Fault, Habits, Lag

LOST: dict[str, dict[str, Any]] = {
    "dropped after the effect": {"kind": "drop", "when": "after"},
    "dropped before the effect": {"kind": "drop", "when": "before"},
    "500 after the effect": {"kind": "status", "status": 500, "when": "after"},
    "503 with Retry-After after the effect": {
        "kind": "status", "status": 503, "when": "after", "retry_after": 3,
    },
    "408 before the effect": {"kind": "status", "status": 408, "when": "before"},
    "garbage after the effect": {"kind": "garbage", "when": "after"},
    "cut short after the effect": {"kind": "garbage", "body": "cut", "when": "after"},
}  # fmt: skip


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


def has_effect(lost: str) -> bool:
    return "after the" in lost


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_answer_is_cleared_up_within_the_attempt(lost: str, sends: SandboxSends) -> None:
    """The campaign is found in WATI's list, or the batch goes out once more after the grace."""
    sends.sandbox.fault(**LOST[lost], method="POST", count=1)
    done = sends.attempt(people(5), batch_size=3)
    assert done.error is None
    assert done.statuses == ["accepted"] * 5
    assert done.calls == (2 if has_effect(lost) else 3)
    assert sends.messages(5) == [1] * 5
    waited = sum(sends.clock.sleeps)
    assert (waited < 30) if has_effect(lost) else (GRACE.total_seconds() <= waited < 130)


def test_the_campaign_of_a_lost_answer_is_known_to_later_attempts(sends: SandboxSends) -> None:
    """The id that reconciliation found is in the outcomes of a Clear too, and no list is read for it again."""
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    done = sends.attempt(people(3))
    assert done.campaign_ids == [sends.sandbox.state.broadcasts[0].id] * 3
    cleared = sends.attempt(people(3))
    assert cleared.campaign_ids == done.campaign_ids
    assert not any("campaigns" in request for request in cleared.requests)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_503_with_retry_after_is_not_repeated_blindly(count: int, sends: SandboxSends) -> None:
    """Finding 7: WATI documents a 5xx on a write as unknown, so each call goes out once and is looked for."""
    sends.sandbox.fault("status", status=503, retry_after=1, when="after", method="POST", count=count)
    done = sends.attempt(people(3))
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]
    assert sends.posts() == 1


@pytest.mark.parametrize("rows", ["same", "shuffled", "other batches", "one more", "one fewer"])
@pytest.mark.parametrize("lost", ["dropped after the effect", "dropped before the effect"])
def test_the_next_attempt_looks_for_what_one_that_died_has_lost(
    lost: str, rows: str, sends: SandboxSends
) -> None:
    """Whatever batch a person is in now, their open call decides."""
    sends.sandbox.fault(**LOST[lost], method="POST", skip=1, count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=60, skip=1, count=1)
    first = sends.attempt(people(6), batch_size=2, dies=True)
    assert first.statuses == ["accepted"] * 2 + ["unknown"] * 2 + ["accepted"] * 2
    again = {
        "same": people(6),
        "shuffled": [person(n) for n in (3, 0, 5, 2, 4, 1)],
        "other batches": people(6),
        "one more": people(7),
        "one fewer": [person(n) for n in range(6) if n != 2],
    }[rows]
    done = sends.attempt(again, batch_size=4 if rows == "other batches" else 2)
    assert done.statuses == ["accepted"] * len(again)
    expected = [1] * 6 + [int(rows == "one more")]
    if rows == "one fewer" and not has_effect(lost):
        expected[2] = 0
    assert sends.messages(7) == expected


def test_a_batch_is_sent_again_only_after_the_grace(sends: SandboxSends) -> None:
    """A campaign that appears in the last second of the grace is found."""
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=GRACE.total_seconds() - 1, count=1)
    done = sends.attempt(people(3))
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]
    assert sends.posts() == 1


def test_the_grace_counts_from_the_end_of_the_call() -> None:
    """WATI may take as long as we wait for it, and begin only then."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True, takes=30)]
    sends.model.lags = [Lag(listed=145), Lag()]
    done = sends.attempt(people(2))
    assert done.statuses == ["accepted", "accepted"]
    assert sends.messages(2) == [1, 1]
    [entry] = done.job.journal.entries
    assert entry.ended_at is not None
    assert (entry.ended_at - entry.intent.at).total_seconds() >= 30


def test_a_person_whom_the_campaign_leaves_out_is_sent_to(sends: SandboxSends) -> None:
    """Of a batch with a lost answer, whom the full list does not show gets the message, and nobody else."""
    sends.sandbox.fault("omit_recipients", numbers=[phone(1)], method="POST", count=1)
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    done = sends.attempt(people(3))
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]
    assert done.calls == 2


@pytest.mark.parametrize("sent", [True, False])
def test_a_recipient_left_out_of_the_answer_is_looked_for(sent: bool, sends: SandboxSends) -> None:
    """WATI's list outranks what its answer leaves out."""
    sends.sandbox.fault("omit_recipients", numbers=[phone(1)], sent=sent, method="POST", count=1)
    done = sends.attempt(people(3))
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]
    assert done.calls == (1 if sent else 2)
    # A campaign whose people were found in two ways is one campaign.
    assert [campaign["accepted"] for campaign in done.summary["campaigns"]] == ([3] if sent else [2, 1])


@pytest.mark.parametrize(
    "habits",
    [
        Habits(echoes_ids=False),
        Habits(phone_form="+{}".format),
        Habits(phone_form="00{}".format, echoes_ids=False),
        Habits(page_size=2),
        Habits(newest_first=False),
        Habits(echoes_ids=False, phone_form=lambda each: f"+{each[:2]} {each[2:7]} {each[7:]}"),
    ],
    ids=["no ids", "plus", "00 and no ids", "small pages", "oldest first", "spaced and no ids"],
)
def test_a_lost_call_is_found_whatever_wati_s_lists_look_like(habits: Habits) -> None:
    """Without ids, with formatted numbers, in small pages, in either order."""
    sends = model_sends(habits)
    sends.model.faults = [Fault("drop", after=True, skip=1)]
    done = sends.attempt(people(6), batch_size=3)
    assert done.statuses == ["accepted"] * 6
    assert sends.messages(6) == [1] * 6
    assert sends.posts() == 2


def test_each_message_keeps_its_own_campaign(sends: SandboxSends) -> None:
    """Refused, tried again, cleared: each row is reported with the campaign that has its message."""
    sends.sandbox.fault("recipient_errors", numbers=[phone(1)], method="POST", count=1)
    sends.attempt(people(3))
    names = [sends.attempt(people(3)).campaign_names for _ in range(2)]
    assert names[0] == names[1]
    assert names[0][0] == names[0][2] != names[0][1]
    assert sends.posts() == 2


def test_ids_that_are_made_new_in_each_attempt_message_nobody_twice(sends: SandboxSends) -> None:
    """As with uuid4() in a DAG file, which is read again for each attempt: the person counts."""
    for n, lost in enumerate((True, False, False)):
        if lost:
            sends.sandbox.fault("drop", method="POST", when="after", count=1)
            sends.sandbox.fault("slow_listing", method="POST", seconds=30, count=1)
        done = sends.attempt([person(0, local_message_id=f"own-id-{n:08}"), person(1)], dies=lost)
        assert done.statuses == ["unknown" if lost else "accepted"] * 2
    assert sends.messages(2) == [1, 1]


def test_an_id_that_is_another_person_s_next_time_says_nothing_of_them(sends: SandboxSends) -> None:
    """As with promo-1, promo-2, ... by the place of the row."""
    sends.sandbox.fault("recipient_errors", numbers=[phone(1)], method="POST", count=1)
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    rows = [person(n, local_message_id=f"promo-{n:06}") for n in range(2)]
    sends.attempt(rows, dies=True)
    rows = [person(1, local_message_id="promo-000000"), person(0, local_message_id="promo-000001")]
    assert sends.attempt(rows).statuses == ["accepted", "accepted"]
    assert sends.messages(2) == [1, 1]


def test_a_wrong_row_of_a_person_stays_wrong_when_another_row_reaches_them(sends: SandboxSends) -> None:
    """One message is reported at one row."""
    wrong = {**person(0), "params": {}}
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    for _ in range(2):
        assert sends.attempt([wrong, person(0), wrong]).statuses == ["invalid", "accepted", "invalid"]
    assert sends.messages(1) == [1]


def test_what_reconciliation_finds_is_in_the_journal(sends: SandboxSends) -> None:
    """The next attempt looks nothing up again, and costs no call but for the template."""
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.attempt(people(3))
    [entry] = sends.attempt(people(3)).job.journal.entries
    assert list(entry.verdicts) == [Verdict.ACCEPTED] * 3
    again = sends.attempt(people(3))
    assert again.requests == ["GET /api/ext/v3/messageTemplates"]


def test_the_first_of_two_calls_is_still_looked_for() -> None:
    """The answers to both are lost and WATI shows the first one late: the row is accepted, and not unknown for good."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True), Fault("drop")]
    sends.model.lags = [Lag(listed=200)]
    assert sends.attempt(people(1)).statuses == ["unknown"]
    sends.clock.advance(3600)
    assert sends.attempt(people(1)).statuses == ["accepted"]
    assert sends.messages(1) == [1]


@pytest.mark.parametrize("one_is_sent", [False, True])
def test_two_messages_of_one_person_are_only_decided_if_they_agree(one_is_sent: bool) -> None:
    """Without ids of ours, a list of one sent and one failed message does not say which row failed."""
    sends = model_sends(Habits(echoes_ids=False, lists_refused=True))
    rows = [person(0, key="o1"), person(0, key="o2"), person(1, key="o3")]
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(listed=300)]
    sends.attempt(rows, dies=True)
    first, second, _ = sends.model.campaigns[0].recipients
    first.refused, second.refused = True, not one_is_sent
    sends.clock.advance(600)
    done = sends.attempt(rows)
    assert done.statuses == [*["unknown" if one_is_sent else "rejected"] * 2, "accepted"]
    sends.attempt(rows)
    assert sends.messages(1) == [1 if one_is_sent else 2]


def test_the_last_two_calls_are_both_cleared_up() -> None:
    """Their answers are lost and WATI shows the first at once: the other one is waited for too, and made again."""
    sends = model_sends()
    sends.model.faults = [Fault("drop", after=True), Fault("drop")]
    assert sends.attempt(people(4), batch_size=2).statuses == ["accepted"] * 4
    assert sends.messages(4) == [1] * 4


def test_a_dry_run_beside_a_call_says_nothing_of_its_end() -> None:
    """The grace of a long call counts from the attempt that took over, and a dry run takes nothing over."""
    sends = model_sends(is_shared=True)
    sends.model.faults = [Fault("drop", after=True, takes=90, late=True)]
    sends.model.lags = [Lag(listed=100)]
    die_in_next_call(sends, lambda: sends.attempt(people(1), dry_run=True))
    sends.attempt(people(1))
    assert sends.attempt(people(1)).statuses == ["accepted"]
    assert sends.messages(1) == [1]
