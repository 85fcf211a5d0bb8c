"""The decision table, row by row: what WATI shows about a call, and what is done about its people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from airflow_provider_wati.client.responses import has_failed
from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.reconciler import (
    DEFAULT_GRACE,
    PRECEDENCE,
    Control,
    Decision,
    Evidence,
    GrowthWatch,
    Listed,
    Policy,
    combine,
    decide,
    has_params,
    is_cancelled,
    policy_of,
    reason_of,
)

DEADLINE = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
BEFORE, AT, AFTER = (DEADLINE + timedelta(seconds=seconds) for seconds in (-1, 0, 1))
GRACE = timedelta(seconds=120)
RESEND = Policy(grace=GRACE, timeout=timedelta(seconds=35))
HOLD = Policy(grace=GRACE, timeout=timedelta(seconds=35), hold=True)
D = Decision

#: Nothing of the call is listed.
ABSENT: dict[str, Any] = {}
SHOWN: dict[str, Any] = {"control": Control.SHOWN}
MISSING: dict[str, Any] = {"control": Control.MISSING}
UNREADABLE: dict[str, Any] = {"readable": False}
#: The call's campaign is listed, and the person is not in it.
FULL: dict[str, Any] = {"found": True, "complete": True}
GROWING: dict[str, Any] = {"found": True, "growing_until": AFTER + timedelta(seconds=30)}
GROWN: dict[str, Any] = {"found": True, "growing_until": AFTER}
AGAIN: dict[str, Any] = {"resend": True}
UNRECORDED: dict[str, Any] = {"is_unrecorded": True}

#: listed, evidence, now, -> decision with resend_after_grace, decision with hold
TABLE: list[tuple[Listed, dict[str, Any], datetime, Decision, Decision]] = [
    # What is listed decides, at any time, whatever else is known.
    (Listed.YES, ABSENT, BEFORE, D.ACCEPTED, D.ACCEPTED),
    (Listed.YES, GROWING, AFTER, D.ACCEPTED, D.ACCEPTED),
    (Listed.YES, FULL | AGAIN, AFTER, D.ACCEPTED, D.ACCEPTED),
    (Listed.YES, MISSING, AFTER, D.ACCEPTED, D.ACCEPTED),
    (Listed.YES, UNREADABLE, BEFORE, D.ACCEPTED, D.ACCEPTED),
    (Listed.FAILED, ABSENT, BEFORE, D.REFUSED, D.REFUSED),
    (Listed.FAILED, FULL, AFTER, D.REFUSED, D.REFUSED),
    # Of calls that no journal has, another one may have succeeded.
    (Listed.FAILED, UNRECORDED, BEFORE, D.WAIT, D.WAIT),
    (Listed.FAILED, UNRECORDED, AFTER, D.SEND, D.HOLD),
    (Listed.YES, UNRECORDED, BEFORE, D.ACCEPTED, D.ACCEPTED),
    (Listed.FAILED, FULL | AGAIN, AFTER, D.REFUSED, D.REFUSED),
    (Listed.CANCELLED, ABSENT, BEFORE, D.CANCELLED, D.CANCELLED),
    (Listed.CANCELLED, FULL, AFTER, D.CANCELLED, D.CANCELLED),
    # Before the grace is over nothing follows from absence.
    (Listed.NO, ABSENT, BEFORE, D.WAIT, D.WAIT),
    (Listed.NO, SHOWN, BEFORE, D.WAIT, D.WAIT),
    (Listed.NO, MISSING, BEFORE, D.WAIT, D.WAIT),
    (Listed.NO, UNREADABLE, BEFORE, D.WAIT, D.WAIT),
    (Listed.NO, FULL, BEFORE, D.WAIT, D.WAIT),
    (Listed.NO, GROWING, BEFORE, D.WAIT, D.WAIT),
    (Listed.UNCLEAR, FULL, BEFORE, D.WAIT, D.WAIT),
    # After it, absence without a control is enough; hold keeps who is absent.
    (Listed.NO, ABSENT, AT, D.SEND, D.HOLD),
    (Listed.NO, ABSENT, AFTER, D.SEND, D.HOLD),
    (Listed.NO, SHOWN, AFTER, D.SEND, D.HOLD),
    # Absence is no evidence where the list hides what WATI has answered.
    (Listed.NO, MISSING, AFTER, D.UNKNOWN, D.UNKNOWN),
    # Nobody is sent to a third time.
    (Listed.NO, ABSENT | AGAIN, AFTER, D.UNKNOWN, D.UNKNOWN),
    (Listed.NO, SHOWN | AGAIN, AFTER, D.UNKNOWN, D.UNKNOWN),
    (Listed.NO, FULL | AGAIN, AFTER, D.UNKNOWN, D.UNKNOWN),
    # A list that cannot be read says nothing.
    (Listed.NO, UNREADABLE, AFTER, D.UNKNOWN, D.UNKNOWN),
    # Whom a complete campaign leaves out got nothing; hold keeps them, because list and total may be filled later.
    (Listed.NO, FULL, AFTER, D.SEND, D.HOLD),
    (Listed.NO, FULL | SHOWN, AFTER, D.SEND, D.HOLD),
    (Listed.NO, FULL | MISSING, AFTER, D.SEND, D.HOLD),
    # A campaign that may still grow is waited for, and not for ever.
    (Listed.NO, GROWING, AFTER, D.WAIT, D.WAIT),
    (Listed.NO, GROWN, AFTER, D.UNKNOWN, D.UNKNOWN),
    (Listed.NO, GROWN | AGAIN, AFTER, D.UNKNOWN, D.UNKNOWN),
    # One listed message, two rows: which of them has it, nobody can say.
    (Listed.UNCLEAR, FULL, AFTER, D.UNKNOWN, D.UNKNOWN),
    (Listed.UNCLEAR, GROWING, AFTER, D.UNKNOWN, D.UNKNOWN),
    # A message with other parameters may be another mapped task's, or this one's from before.
    (Listed.OTHER_PARAMS, ABSENT, BEFORE, D.WAIT, D.WAIT),
    (Listed.OTHER_PARAMS, FULL, AFTER, D.UNKNOWN, D.UNKNOWN),
]


@pytest.mark.parametrize(("listed", "shown", "now", "resends", "holds"), TABLE)
def test_the_decision_table(
    listed: Listed, shown: dict[str, Any], now: datetime, resends: Decision, holds: Decision
) -> None:
    """Each row of the table gives its decision, with and without hold."""
    evidence = Evidence(deadline=DEADLINE, **shown)
    assert decide(listed, evidence, now, RESEND) is resends
    assert decide(listed, evidence, now, HOLD) is holds


def every_case() -> list[tuple[Listed, Evidence, datetime, Policy]]:
    """All combinations of what can be known."""
    evidence = [
        Evidence(
            deadline=DEADLINE,
            readable=readable,
            found=found,
            complete=complete,
            growing_until=growing_until,
            control=control,
            resend=resend,
        )
        for readable, found, complete, growing_until, control, resend in product(
            (True, False), (True, False), (True, False), (None, BEFORE, AFTER), Control, (True, False)
        )
    ]
    return list(product(Listed, evidence, (BEFORE, AT, AFTER), (RESEND, HOLD)))


def test_no_combination_breaks_a_rule() -> None:
    """Over all combinations: sending needs the end of the grace, a readable list, and no resend before it."""
    seen = set()
    for listed, evidence, now, policy in every_case():
        decision = decide(listed, evidence, now, policy)
        seen.add(decision)
        if decision is D.SEND:
            assert listed is Listed.NO
            assert now >= evidence.deadline
            assert evidence.readable
            assert not evidence.resend
            assert evidence.complete if evidence.found else evidence.control is not Control.MISSING
            assert not policy.hold
        if decision is D.WAIT:
            assert now < max(evidence.deadline, evidence.growing_until or evidence.deadline)
        if decision in (D.UNKNOWN, D.HOLD):
            assert reason_of(decision, evidence, listed)
    assert seen == set(Decision)


REASONS = [
    (
        D.HOLD,
        FULL,
        Listed.NO,
        "does not show it.*on_unknown is 'hold'.*on_unknown='resend_after_grace'",
    ),
    (D.UNKNOWN, UNREADABLE, Listed.NO, "campaigns cannot be read: give the token"),
    (D.WAIT, ABSENT, Listed.NO, "WATI may still show it: retry later"),
    (D.UNKNOWN, GROWN, Listed.NO, "lists fewer people than it holds"),
    (D.UNKNOWN, MISSING, Listed.NO, "does not show an answered campaign.*another send_key"),
    (D.UNKNOWN, SHOWN | AGAIN, Listed.NO, "not sent a third time.*another send_key"),
    (D.UNKNOWN, FULL, Listed.UNCLEAR, "does not say which"),
    (D.UNKNOWN, FULL, Listed.OTHER_PARAMS, "with other parameters.*another send_key"),
]


@pytest.mark.parametrize(("decision", "shown", "listed", "says"), REASONS)
def test_each_open_end_says_why_and_what_to_do(
    decision: Decision, shown: dict[str, Any], listed: Listed, says: str
) -> None:
    """A row that ends unknown has the reason of its own case."""
    found = reason_of(decision, Evidence(deadline=DEADLINE, **shown), listed)
    assert re.search(says, found), found


def test_a_person_in_several_calls_is_sent_to_only_if_all_allow_it() -> None:
    """An acceptance in one call beats all others, and each doubt beats sending."""
    assert combine([D.SEND, D.SEND]) is D.SEND
    assert combine([D.SEND, D.ACCEPTED, D.UNKNOWN]) is D.ACCEPTED
    assert combine([D.REFUSED, D.SEND]) is D.SEND
    for doubt in (D.WAIT, D.UNKNOWN, D.HOLD, D.CANCELLED):
        assert combine([D.SEND, doubt, D.REFUSED]) is doubt
    assert set(PRECEDENCE) == set(Decision)
    for first, second in product(Decision, repeat=2):
        assert combine([first, second]) is combine([second, first])


@pytest.mark.parametrize(
    ("listed", "row", "may_be"),
    [
        ({"name": "Ada", "order": "1"}, {"name": "Ada", "order": "1"}, True),
        ({"name": "Ada", "order": "1"}, {"name": "Ada"}, True),
        ({"name": "Ada"}, {"name": "Ada", "order": "1"}, False),
        ({"name": "Ada", "order": "2"}, {"name": "Ada", "order": "1"}, False),
        ({"name": "Ada"}, {}, True),
        ({}, {"name": "Ada"}, False),
    ],
)
def test_a_listed_message_is_a_rows_if_it_has_all_of_its_parameters(
    listed: dict[str, str], row: dict[str, str], may_be: bool
) -> None:
    """WATI may list more parameters than were sent; each of the row's has to be among them."""
    assert has_params(listed, row) is may_be


# Growth


def looks(*shown: tuple[int, int, int]) -> GrowthWatch:
    """A campaign that was looked at: seconds, listed, total each."""
    watch = GrowthWatch(DEADLINE)
    for seconds, listed, total in shown:
        watch.look(listed, total, DEADLINE + timedelta(seconds=seconds))
    return watch


GROWTH: list[tuple[list[tuple[int, int, int]], bool]] = [
    # looks (seconds, listed, total) -> is it complete
    ([], False),
    ([(0, 3, 3)], False),
    ([(0, 3, 3), (5, 3, 3)], True),
    ([(0, 0, 3), (5, 3, 3)], False),
    ([(0, 0, 3), (5, 3, 3), (10, 3, 3)], True),
    # list and total grow together
    ([(0, 1, 1), (5, 2, 2)], False),
    ([(0, 1, 1), (5, 2, 2), (10, 2, 2)], True),
    # shorter than the total: refused people count, so a whole grace without change is enough
    ([(0, 2, 3), (5, 2, 3)], False),
    ([(0, 2, 3), (119, 2, 3)], False),
    ([(0, 2, 3), (120, 2, 3)], True),
    ([(0, 0, 0), (5, 0, 0)], False),
    ([(0, 0, 0), (5, 0, 0), (10, 18, 27)], False),
    ([(0, 0, 0), (5, 0, 0), (10, 18, 27), (129, 18, 27)], False),
    ([(0, 0, 0), (5, 0, 0), (10, 18, 27), (130, 18, 27)], True),
    ([(0, 0, 0), (60, 0, 0), (120, 0, 0)], True),
    # longer than the total
    ([(0, 5, 3), (5, 5, 3)], True),
]


@pytest.mark.parametrize(("shown", "complete"), GROWTH, ids=str)
def test_complete_is_what_has_stopped_growing(shown: list[tuple[int, int, int]], complete: bool) -> None:
    """One look is never enough, a change starts the watch again, and time without a look proves nothing."""
    assert looks(*shown).is_complete(GRACE) is complete


def test_a_watch_ends_a_grace_after_the_last_change_and_after_five_graces_at_most() -> None:
    """A list that grows for ever does not keep an attempt for ever."""
    assert looks().growing_until(GRACE) == DEADLINE + GRACE
    assert looks((0, 1, 5), (50, 2, 5)).growing_until(GRACE) == DEADLINE + timedelta(seconds=170)
    assert looks((0, 1, 5), (590, 99, 500)).growing_until(GRACE) == DEADLINE + 5 * GRACE


def test_a_list_is_full_when_it_is_as_long_as_its_count_and_not_empty() -> None:
    """Nobody of nobody is no full list."""
    assert looks((0, 3, 3)).is_full
    assert looks((0, 1, 1)).is_full
    assert looks((0, 4, 3)).is_full
    assert looks((0, 1, 0)).is_full
    assert not looks((0, 2, 3)).is_full
    assert not looks((0, 0, 0)).is_full


# Words


@pytest.mark.parametrize(
    "word", ["cancelled", "canceled", "Cancelled", " CANCELED ", "stopped", "Stopped", "deleted"]
)
def test_words_for_a_campaign_that_was_taken_back(word: str) -> None:
    """WATI documents no word, so each that is in use counts, in any spelling."""
    assert is_cancelled(word)
    assert not has_failed(word)


@pytest.mark.parametrize("word", ["failed", "Failed", " FAILED", "undelivered", "rejected"])
def test_words_for_a_message_that_failed(word: str) -> None:
    """A recipient that is listed with such a word has no message."""
    assert has_failed(word)


@pytest.mark.parametrize(
    "word", ["processing", "scheduled", "sent", "read", "", None, 7, "pending", "completed"]
)
def test_other_words_say_neither(word: object) -> None:
    """An unknown word takes nothing back."""
    assert not is_cancelled(word)
    assert not has_failed(word)


# The policy


@pytest.mark.parametrize(
    ("timeout", "grace"), [((5, 30), 120), ((5, 114), 120), ((5, 115), 240), ((10, 600), 730)]
)
def test_the_default_grace_is_longer_than_any_call(timeout: tuple[float, float], grace: float) -> None:
    """Where a call may take as long as the grace, the grace is longer by that."""
    assert policy_of(None, timeout).grace == timedelta(seconds=grace)
    assert policy_of(None, (5, 30)).grace == DEFAULT_GRACE


@pytest.mark.parametrize("given", [0, 34, 35, -1])
def test_a_grace_that_a_call_may_outlast_is_refused(given: float) -> None:
    """A call that is under way must not be taken for lost."""
    with pytest.raises(WatiConfigurationError, match="a call may take 35 s.*give a longer grace"):
        policy_of(timedelta(seconds=given), (5, 30))


def test_the_policy_has_what_was_given() -> None:
    """Grace, hold and waiting are those of the user."""
    policy = policy_of(timedelta(seconds=36), (5, 30), hold=True, waits=False)
    assert policy == Policy(
        grace=timedelta(seconds=36), timeout=timedelta(seconds=35), hold=True, waits=False
    )


def test_the_grace_counts_from_the_end_of_the_call_and_the_due_time() -> None:
    """A schedule may fill at its due time."""
    ended, due = DEADLINE + timedelta(seconds=10), DEADLINE + timedelta(hours=3)
    assert RESEND.deadline(ended, None, AFTER) == ended + GRACE
    assert RESEND.deadline(ended, due, due) == due + GRACE
    assert RESEND.deadline(ended, due, due + GRACE) == due + GRACE
    assert RESEND.deadline(ended, due, AFTER) == ended + GRACE
    assert RESEND.deadline(ended, DEADLINE, AFTER) == ended + GRACE


def test_a_call_whose_end_nobody_saw_was_over_with_its_attempt() -> None:
    """An answer in pieces takes longer than the timeouts, and a worker that is taken for dead may go on for their time."""
    at, timeouts = DEADLINE, timedelta(seconds=35)
    assert RESEND.latest_end(at, at + timedelta(seconds=90)) == at + timedelta(seconds=90)
    assert RESEND.latest_end(at, at + timedelta(seconds=1)) == at + timeouts
