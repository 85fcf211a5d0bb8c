"""The rows of one attempt: duplicates, look-ups in the journal, evidence, and how each row ends."""

from __future__ import annotations

import random
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_provider_wati.sending.evidence_rows import ListedRecipient
from airflow_provider_wati.sending.journal import Entry
from airflow_provider_wati.sending.journal_codec import Intent, Verdict
from airflow_provider_wati.sending.queue import SendQueue
from airflow_provider_wati.sending.reconciler import PRECEDENCE, Decision, Listed
from airflow_provider_wati.sending.row_mapping import RowReader, hash_of, map_recipient
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS, SendStatus
from airflow_provider_wati.tables.phone_numbers import TargetReader, dedupe_key_of
from tests.support.sends import outcomes_of, people, person, phone

AT = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
ACCEPTED, OPEN, REFUSED = Verdict.ACCEPTED, Verdict.OPEN, Verdict.REFUSED
CLOSED = Verdict.CLOSED_UNRESOLVED


@pytest.fixture
def queue() -> Iterator[SendQueue]:
    queue = SendQueue()
    yield queue
    queue.close()


def load(queue: SendQueue, rows: list[dict[str, Any]]) -> None:
    queue.load(rows, RowReader(map_recipient, TargetReader("HK"), "key", ["name"]))


def statuses(queue: SendQueue) -> list[str]:
    return [outcome["status"] for outcome in outcomes_of(queue)]


def reasons(queue: SendQueue) -> list[str]:
    return [str(outcome["reason"]) for outcome in outcomes_of(queue)]


def hash_n(n: int, key: str | None = None) -> int:
    return hash_of(dedupe_key_of(phone(n)), key)


def entry(verdicts: dict[int, Verdict], *, resend: bool = False, id: str = "a1b2c3-1") -> Entry:
    """A call of the journal: verdicts by hash."""
    intent = Intent(id=id, at=AT, content="t", people=array("q", list(verdicts)), resend=resend)
    return Entry(intent, bytearray(verdicts.values()), campaign_id="c1")


def look_up(queue: SendQueue, *entries: Entry) -> None:
    queue.look_up(
        dict(enumerate(entries)), {n: queue.add_campaign(f"c{n}", f"n{n}") for n in range(len(entries))}
    )


def batches(queue: SendQueue, size: int = 100, *, resend: bool = False) -> list[list[int]]:
    """The rows of each batch."""
    found, after = [], 0
    while batch := queue.next_batch(size, after, resend=resend):
        found.append(list(batch.rows))
        after = found[-1][-1]
    return found


def listed(id: str, n: int | None, state: Listed = Listed.YES, local_id: str = "") -> ListedRecipient:
    """A recipient in WATI's list; ``n`` is None where WATI does not name the person."""
    return ListedRecipient(id, {} if n is None else {"phone": dedupe_key_of(phone(n))}, local_id, state)


def local_ids(queue: SendQueue) -> list[str]:
    return [outcome["local_message_id"] for outcome in outcomes_of(queue)]


# Loading


def test_rows_that_are_right_are_to_be_sent(queue: SendQueue) -> None:
    """Right rows are unsent, wrong ones invalid, and the counts add up."""
    load(queue, [person(0), {"target": "12"}, person(1), {"target": phone(2), "params": {}}])
    assert statuses(queue) == ["unsent", "invalid", "unsent", "invalid"]
    assert queue.counts() == {
        "total": 4, "accepted": 0, "rejected": 0, "invalid": 2, "skipped": 0, "unknown": 0, "unsent": 2,
    }  # fmt: skip
    assert list(next(outcomes_of(queue))) == list(SEND_COLUMNS)
    assert batches(queue, 1) == [[1], [3]]


@pytest.mark.parametrize(
    "again", ["+852 6431 8721", "85264318721", "0085264318721", "64318721", "+852-6431-8721"]
)
def test_two_spellings_are_one_person(again: str, queue: SendQueue) -> None:
    """However a number is written, the person is messaged once and the second row says why."""
    load(queue, [{**person(0), "target": "85264318721"}, {**person(0), "target": again}])
    assert statuses(queue) == ["unsent", "skipped"]
    assert reasons(queue)[1] == "the same person as in row 1, and no `key` tells two messages apart"


def test_a_key_tells_two_messages_apart(queue: SendQueue) -> None:
    """Two orders of one customer are two messages, the same order twice is one."""
    load(queue, [person(0, key="1"), person(0, key="2"), person(0, key="1"), person(1, key="1")])
    assert statuses(queue) == ["unsent", "unsent", "skipped", "unsent"]


def test_a_row_without_a_key_among_rows_that_have_one_is_wrong(queue: SendQueue) -> None:
    """Filled in the next time, it would be another message."""
    load(queue, [person(0, key="1"), person(1), person(2, key=None), person(3, key="")])
    assert statuses(queue) == ["unsent", "invalid", "invalid", "invalid"]
    assert "it has no key, and other rows have one" in reasons(queue)[1]


def test_two_people_under_one_local_id_are_not_one_message(queue: SendQueue) -> None:
    """WATI could not tell them apart, so the second row is wrong."""
    load(
        queue, [person(0, local_message_id="order-1001"), person(1, local_message_id="order-1001"), person(2)]
    )
    assert statuses(queue) == ["unsent", "invalid", "unsent"]
    assert "its local_message_id is that of row 1" in reasons(queue)[1]


def test_one_person_under_two_local_ids_is_messaged_once(queue: SendQueue) -> None:
    """An own id is no key."""
    load(queue, [person(0, local_message_id="order-1001"), person(0, local_message_id="order-1002")])
    assert statuses(queue) == ["unsent", "skipped"]


def test_suppressed_people_are_skipped_in_any_spelling(queue: SendQueue) -> None:
    """The suppression list and the rows are compared in one form."""
    load(queue, [{**person(0), "target": "5215512345678"}, person(1)])
    queue.add_suppressed(["525512345678", phone(7)])
    queue.skip_suppressed()
    assert statuses(queue) == ["skipped", "unsent"]


def test_an_opt_out_holds_for_all_spellings_and_channels(queue: SendQueue) -> None:
    """A person with two contacts is skipped if one of them opted out."""
    load(queue, people(3))
    contacts = [(phone(0), "c1", False), (phone(0), "c2", True), (phone(1), "c3", False)]
    queue.skip_opted_out([*contacts, *((id, id, out) for _, id, out in contacts)])
    assert statuses(queue) == ["skipped", "unsent", "unsent"]
    assert "opted out" in reasons(queue)[0]
    assert queue.count_contacts() == 3


# The journal


def test_the_journal_is_a_set_look_up() -> None:
    """Order, additions and removals of rows change nothing for the others."""
    chance = random.Random(1)
    for _ in range(20):
        count = chance.randrange(1, 60)
        verdicts = {hash_n(n): chance.choice(list(Verdict)) for n in range(count)}
        numbers = chance.sample(range(count + 10), chance.randrange(1, count + 10))
        queue = SendQueue()
        load(queue, [person(n) for n in numbers])
        look_up(queue, entry(verdicts))
        expected = {
            ACCEPTED: "accepted",
            REFUSED: "unsent",
            OPEN: "unknown",
            CLOSED: "unsent",
            Verdict.CANCELLED: "skipped",
            None: "unsent",
        }
        assert statuses(queue) == [expected[verdicts.get(hash_n(n))] for n in numbers]
        accepted = {n for n in range(count) if verdicts[hash_n(n)] is ACCEPTED}
        assert queue.count_earlier() == len(accepted - set(numbers))
        queue.close()


def test_an_acceptance_in_any_call_counts(queue: SendQueue) -> None:
    """A person who was refused, then accepted, then in an open call, has the message."""
    load(queue, people(1))
    look_up(queue, entry({hash_n(0): REFUSED}), entry({hash_n(0): ACCEPTED}), entry({hash_n(0): OPEN}))
    assert statuses(queue) == ["accepted"]
    assert queue.pending_calls() == set()
    assert queue.campaigns(50) == (1, [{"id": "c1", "name": "n1", "accepted": 1}])


def test_another_key_is_another_message(queue: SendQueue) -> None:
    """An entry about one order of a customer says nothing about another."""
    load(queue, [person(0, key="1"), person(0, key="2")])
    look_up(queue, entry({hash_n(0, "1"): ACCEPTED}))
    assert statuses(queue) == ["accepted", "unsent"]


def test_an_accepted_row_that_is_wrong_now_stays_accepted(queue: SendQueue) -> None:
    """A row that turned invalid after its message went out is not reported as invalid."""
    load(queue, [{**person(0), "params": {}}, {"target": "12"}])
    look_up(queue, entry({hash_n(0): ACCEPTED}))
    assert statuses(queue) == ["accepted", "invalid"]


def test_a_wrong_row_stays_wrong_when_another_row_reaches_the_person(queue: SendQueue) -> None:
    """One message is counted once, at the row that stands for it."""
    wrong = {**person(0), "params": {}}
    load(queue, [wrong, person(0), wrong])
    look_up(queue, entry({hash_n(0): ACCEPTED}))
    assert statuses(queue) == ["invalid", "accepted", "invalid"]


def test_skipped_rows_stay_skipped(queue: SendQueue) -> None:
    """A duplicate of an accepted row is still a duplicate."""
    load(queue, [person(0), person(0)])
    look_up(queue, entry({hash_n(0): ACCEPTED}))
    assert statuses(queue) == ["accepted", "skipped"]


def test_people_who_were_given_up_come_last_and_alone(queue: SendQueue) -> None:
    """Those who may have been sent before go in calls of their own, marked as resends."""
    load(queue, people(5))
    look_up(queue, entry({hash_n(1): CLOSED, hash_n(3): CLOSED}))
    assert batches(queue) == [[1, 3, 5]]
    assert batches(queue, resend=True) == [[2, 4]]
    batch = queue.next_batch(9, 0, resend=True)
    assert batch is not None
    assert batch.resend
    assert list(batch.people) == [hash_n(1), hash_n(3)]


def test_marking_a_batch_leaves_the_other_rows_between_alone(queue: SendQueue) -> None:
    """First sends and resends lie between each other in the rows."""
    load(queue, people(5))
    look_up(queue, entry({hash_n(1): CLOSED, hash_n(3): CLOSED}))
    first = queue.next_batch(9, 0, resend=False)
    assert first is not None
    queue.mark(first, SendStatus.ACCEPTED)
    assert statuses(queue) == ["accepted", "unsent", "accepted", "unsent", "accepted"]


# Batches


@pytest.mark.parametrize("position", [1, 2, 4])
def test_a_batch_splits_in_two(position: int, queue: SendQueue) -> None:
    """Both parts keep order, content and kind."""
    load(queue, people(5))
    batch = queue.next_batch(5, 0, resend=False)
    assert batch is not None
    first, second = batch.split(position)
    assert (len(first), len(second)) == (position, 5 - position)
    for part in (first, second):
        assert part.resend is batch.resend
    assert [*first.rows, *second.rows] == list(batch.rows) == [1, 2, 3, 4, 5]
    assert first.people + second.people == batch.people
    assert [*first.recipients, *second.recipients] == list(batch.recipients)


# Evidence


def waiting(queue: SendQueue, rows: list[dict[str, Any]], *others: Entry) -> None:
    """Rows that all are in one open call."""
    load(queue, rows)
    hashes = {
        hash_of(dedupe_key_of(outcome["target"]), outcome["key"]): OPEN for outcome in outcomes_of(queue)
    }
    look_up(queue, entry(hashes), *others)


def decisions_of(queue: SendQueue, call: int = 0, people: int | None = None) -> list[str]:
    """What WATI's list says about each waiting row."""
    queue.match_listed(call, people)
    each = {state: list(Decision)[n] for n, state in enumerate(Listed)}
    queue.decide_about(call, each, {})
    queue.combine_decisions()
    back = {decision: state.value for state, decision in each.items()}
    found = {position: back[decision] for decision, ps in queue.resolved(call).items() for position in ps}
    return [found[position] for position in sorted(found)]


def test_people_are_found_by_phone_number(queue: SendQueue) -> None:
    """Where WATI does not echo ids, the normal form of the number names the person."""
    waiting(queue, people(3))
    queue.add_listed(0, 1, [listed("r1", 1), listed("r2", 2, Listed.FAILED), listed("r9", 9)])
    assert decisions_of(queue) == ["no", "yes", "failed"]


def test_people_are_found_by_local_id_where_wati_does_not_name_them(queue: SendQueue) -> None:
    """The id of a message is enough without a number."""
    waiting(queue, people(2))
    queue.add_listed(0, 1, [listed("r1", None, local_id=local_ids(queue)[1])])
    assert decisions_of(queue) == ["no", "yes"]


def test_an_own_id_counts_for_nothing_where_wati_names_somebody_else(queue: SendQueue) -> None:
    """promo-1 was another person's the last time."""
    waiting(queue, [person(0, local_message_id="promo-000001"), person(1, local_message_id="promo-000002")])
    queue.add_listed(0, 1, [listed("r1", 1, local_id="promo-000001")])
    assert decisions_of(queue) == ["no", "yes"]


@pytest.mark.parametrize("written", ["+91 98000 00000", "0091 98000-00000"])
def test_an_own_id_and_a_formatted_number_are_one_person(written: str, queue: SendQueue) -> None:
    """The same person under their own id is found, however the row writes the number."""
    waiting(queue, [{**person(0, local_message_id="promo-000001"), "target": written}])
    queue.add_listed(0, 1, [listed("r1", 0, local_id="promo-000001")])
    assert decisions_of(queue) == ["yes"]


def test_with_keys_a_person_without_ids_is_found_only_if_the_whole_call_is_listed(queue: SendQueue) -> None:
    """Two orders, one listed message without an id: which of them it is, is unclear."""
    rows = [person(0, key="1"), person(0, key="2"), person(1, key="1")]
    waiting(queue, rows)
    queue.add_listed(0, 1, [listed("r1", 0), listed("r2", 1)])
    assert decisions_of(queue, people=3) == ["unclear", "unclear", "unclear"]
    queue.add_listed(0, 1, [listed("r3", 0)])
    assert decisions_of(queue, people=3) == ["yes", "yes", "yes"]


def test_with_keys_a_listed_message_may_be_one_whose_row_is_gone(queue: SendQueue) -> None:
    """Where nothing is known of the call, a person in the list is not taken for this message."""
    waiting(queue, [person(0, key="1")])
    queue.add_listed(0, 1, [listed("r1", 0)])
    assert decisions_of(queue, people=None) == ["unclear"]
    assert decisions_of(queue, people=2) == ["unclear"]
    assert decisions_of(queue, people=1) == ["yes"]


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ([Listed.YES, Listed.FAILED], "unclear"),
        ([Listed.CANCELLED, Listed.FAILED], "unclear"),
        ([Listed.YES, Listed.YES], "yes"),
        ([Listed.FAILED, Listed.FAILED], "failed"),
        ([Listed.YES, Listed.YES, Listed.FAILED], "unclear"),
        ([Listed.FAILED], "unclear"),
        ([Listed.YES], "unclear"),
    ],
)
def test_messages_of_one_person_without_ids_decide_only_together(
    states: list[Listed], says: str, queue: SendQueue
) -> None:
    """Two rows of one person are found if their messages are alike and not too few, whatever else is listed."""
    waiting(queue, [person(0, key="1"), person(0, key="2"), person(1, key="1")])
    queue.add_listed(0, 1, [listed(f"r{n}", 0, state) for n, state in enumerate(states)])
    queue.add_listed(0, 1, [listed("r8", 1), listed("r9", 9)])
    assert decisions_of(queue, people=3) == [says, says, "yes"]


def test_a_message_without_an_id_belongs_to_the_row_that_has_none_by_id(queue: SendQueue) -> None:
    """One of two rows of a person is found by id, so that the other message is the other row's."""
    waiting(queue, [person(0, key="1"), person(0, key="2")])
    queue.add_listed(0, 1, [listed("r1", 0, local_id=local_ids(queue)[0]), listed("r2", 0, Listed.FAILED)])
    assert decisions_of(queue, people=2) == ["yes", "failed"]


def test_an_accepted_row_of_another_call_has_no_part_in_the_messages_of_this_one(queue: SendQueue) -> None:
    """A person's first order is accepted by its own call, and the second one is the only one in the list."""
    load(queue, [person(0, key="1"), person(0, key="2")])
    first, second = (hash_of(dedupe_key_of(phone(0)), key) for key in ("1", "2"))
    look_up(queue, entry({first: ACCEPTED}), entry({second: OPEN}))
    queue.add_listed(1, 1, [listed("r1", 0)])
    assert decisions_of(queue, 1, people=1) == ["yes"]


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ([], "unclear"),
        ([Listed.YES], "yes"),
        ([Listed.FAILED], "unclear"),
    ],
)
def test_an_accepted_row_of_the_same_call_may_have_the_listed_message(
    states: list[Listed], says: str, queue: SendQueue
) -> None:
    """One order is accepted and the other one is open: what is listed tells only if it is all, and alike."""
    load(queue, [person(0, key="1"), person(0, key="2")])
    first, second = (hash_of(dedupe_key_of(phone(0)), key) for key in ("1", "2"))
    look_up(queue, entry({first: ACCEPTED, second: OPEN}))
    queue.add_listed(0, 1, [listed(f"r{n}", 0, state) for n, state in enumerate([Listed.YES, *states])])
    assert decisions_of(queue, people=2) == [says]


@pytest.mark.parametrize(("sent", "says"), [(True, "unclear"), (False, "cancelled")])
def test_a_cancelled_campaign_leaves_open_who_of_a_person_has_the_message(
    sent: bool, says: str, queue: SendQueue
) -> None:
    """The campaign was stopped between two messages to one person: neither row is cancelled on its word."""
    waiting(queue, [person(0, key="1"), person(0, key="2")])
    states = [Listed.YES if sent else Listed.FAILED, Listed.CANCELLED]
    queue.add_listed(0, 1, [listed(f"r{n}", 0, state) for n, state in enumerate(states)])
    queue.match_listed(0, 2)
    queue.cancel(0, 1)
    queue.decide_about(0, {Listed(says): Decision.UNKNOWN}, {})
    assert queue.combine_decisions() == {Decision.UNKNOWN: 2}


def test_another_id_of_this_send_is_another_message(queue: SendQueue) -> None:
    """A message of the same send with another id is the person's other order."""
    waiting(queue, [person(0, key="1")])
    other = RowReader(map_recipient, TargetReader(), "key", []).read(person(0, key="2"))
    queue.add_listed(0, 1, [listed("r1", 0, local_id=str(other.local_message_id))])
    assert decisions_of(queue, people=1) == ["no"]


def test_a_message_that_did_not_fail_outranks_one_that_did(queue: SendQueue) -> None:
    """A person who is listed twice has the message if one of them was taken."""
    waiting(queue, people(1))
    queue.add_listed(0, 1, [listed("r1", 0, Listed.FAILED), listed("r2", 0)])
    assert decisions_of(queue) == ["yes"]


def test_a_recipient_read_twice_counts_once(queue: SendQueue) -> None:
    """Looks repeat, and a list that shifts shows some twice."""
    waiting(queue, [person(0, key="1"), person(0, key="2")])
    for _ in range(3):
        queue.add_listed(0, 1, [listed("r1", 0)])
    assert decisions_of(queue, people=2) == ["unclear", "unclear"]


def test_the_digest_is_that_of_the_set_of_people() -> None:
    """Another order, a duplicate or other parameters change nothing, another person does."""
    digests = []
    for rows in (
        people(5),
        people(5)[::-1],
        [*people(5), person(2)],
        [{**row, "params": {"name": "Ben"}} for row in people(5)],
        people(6),
        people(5, first=1),
        [{**row, "key": "1"} for row in people(5)],
        [],
    ):
        queue = SendQueue()
        load(queue, rows)
        digests.append(queue.people_digest())
        queue.close()
    assert len(set(digests[:4])) == 1
    assert len(set(digests)) == 5


def test_a_campaign_of_one_call_says_nothing_about_another(queue: SendQueue) -> None:
    """A list is evidence for the call that it belongs to."""
    load(queue, people(2))
    look_up(queue, entry({hash_n(0): OPEN}), entry({hash_n(1): OPEN}))
    queue.add_listed(0, 1, [listed("r0", 0), listed("r1", 1)])
    assert decisions_of(queue, 0) == ["yes"]
    assert decisions_of(queue, 1) == ["no"]


def settle(queue: SendQueue, by_call: dict[int, Decision]) -> None:
    for call, decision in by_call.items():
        queue.match_listed(call, None)
        queue.decide_about(call, dict.fromkeys(Listed, decision), dict.fromkeys(Listed, f"because {call}"))
    queue.combine_decisions()
    queue.settle(first_sends=[])


@pytest.mark.parametrize(
    ("decision", "status", "waits"),
    [
        (Decision.ACCEPTED, "accepted", False),
        (Decision.REFUSED, "rejected", False),
        (Decision.CANCELLED, "skipped", False),
        (Decision.SEND, "unsent", False),
        (Decision.WAIT, "unknown", True),
        (Decision.HOLD, "unknown", True),
        (Decision.UNKNOWN, "unknown", True),
    ],
)
def test_each_decision_has_its_status(decision: Decision, status: str, waits: bool, queue: SendQueue) -> None:
    """What is decided ends the waiting, and what is not goes on with its reason."""
    waiting(queue, people(2))
    settle(queue, {0: decision})
    assert statuses(queue) == [status] * 2
    assert bool(queue.pending_calls()) is waits
    if waits:
        assert reasons(queue) == ["because 0"] * 2
    if decision is Decision.SEND:
        assert batches(queue) == []
        assert batches(queue, resend=True) == [[1, 2]]


def test_a_person_in_two_open_calls_is_sent_to_only_if_both_allow_it(queue: SendQueue) -> None:
    """The decision that comes first in the order of precedence holds for the row."""
    for first in Decision:
        for second in Decision:
            queue = SendQueue()
            load(queue, people(1))
            look_up(queue, entry({hash_n(0): OPEN}), entry({hash_n(0): OPEN}))
            settle(queue, {0: first, 1: second})
            alone = SendQueue()
            waiting(alone, people(1))
            settle(alone, {0: min(first, second, key=PRECEDENCE.index)})
            expected = statuses(alone)
            if {first, second} == {Decision.CANCELLED, Decision.SEND}:
                # The call that WATI does not show may have reached the person all the same.
                expected = ["unknown"]
            assert statuses(queue) == expected, (first, second)
            queue.close()
            alone.close()


def test_a_call_is_closed_for_people_who_are_sent_to_again_only(queue: SendQueue) -> None:
    """A call stays open in the journal for whom another call holds back."""
    load(queue, people(2))
    look_up(queue, entry({hash_n(0): OPEN, hash_n(1): OPEN}), entry({hash_n(1): OPEN}))
    for call, decision in ((0, Decision.SEND), (1, Decision.WAIT)):
        queue.match_listed(call, None)
        queue.decide_about(call, dict.fromkeys(Listed, decision), {})
    assert queue.combine_decisions() == {Decision.SEND: 1, Decision.WAIT: 1}
    assert queue.resolved(0) == {Decision.SEND: [0]}
    assert queue.resolved(1) == {Decision.WAIT: [0]}


def test_all_rows_wait_for_a_call_that_nobody_wrote_down(queue: SendQueue) -> None:
    """Where the journal is lost, whom it names still is known, and all others wait."""
    load(queue, people(3))
    look_up(queue, entry({hash_n(0): ACCEPTED, hash_n(1): REFUSED}))
    queue.await_all(-1, known_too=False)
    assert statuses(queue) == ["accepted", "unknown", "unknown"]
    assert queue.pending_calls() == {-1}


def test_a_first_send_after_a_look_is_no_resend(queue: SendQueue) -> None:
    """Nothing says that others have sent at all, so the one resend is not used up."""
    load(queue, people(1))
    queue.await_all(-2)
    queue.match_listed(-2, None)
    queue.decide_about(-2, dict.fromkeys(Listed, Decision.SEND), {})
    queue.combine_decisions()
    queue.settle(first_sends=[-2])
    assert batches(queue) == [[1]]


# The end


def test_a_look_back_that_fails_makes_no_row_unsent(queue: SendQueue) -> None:
    """Who may have the message is unknown, so that nobody resends to the unsent rows of a file."""
    load(queue, [person(0), person(1), {"target": "12"}])
    look_up(queue, entry({hash_n(0): ACCEPTED}))
    queue.doubt_unsent("could not find out")
    assert statuses(queue) == ["accepted", "unknown", "invalid"]


def test_campaigns_are_counted_beyond_those_shown(queue: SendQueue) -> None:
    """The summary shows the first campaigns and counts all."""
    load(queue, people(7))
    look_up(queue, *(entry({hash_n(n): ACCEPTED}) for n in range(7)))
    count, first = queue.campaigns(3)
    assert count == 7
    assert [campaign["id"] for campaign in first] == ["c0", "c1", "c2"]


def test_problems_are_masked(queue: SendQueue) -> None:
    """The summary shows no phone number."""
    load(queue, [{**person(0), "params": {"name": None}}])
    [problem] = queue.problems()
    assert phone(0) not in str(problem)
    assert problem["row"] == 1


def test_counts_always_add_up(queue: SendQueue) -> None:
    """Whatever happens to rows, the total is the sum of the statuses and the number of rows."""
    load(queue, [*people(20), {"target": "x"}, person(3)])
    look_up(queue, entry({hash_n(n): list(Verdict)[n % 4] for n in range(12)}))
    settle(queue, {0: Decision.UNKNOWN})
    counts = queue.counts()
    total = counts.pop("total")
    assert total == sum(counts.values()) == 22
    assert counts == {status.value: 0 for status in SendStatus} | Counter(statuses(queue))


def test_looking_for_open_messages_without_rows_is_linear() -> None:
    """Four times the open messages, half of whose rows are gone, cost about four times as much, not sixteen times."""

    def seconds(count: int) -> float:
        call = SimpleNamespace(
            intent=SimpleNamespace(people=list(range(count))), verdicts=[Verdict.OPEN] * count
        )
        with closing(SendQueue()) as queue:
            queue._db.executemany(
                "INSERT INTO rows (row, person, target) VALUES (?, ?, 'x')",
                ((n, n) for n in range(0, count, 2)),
            )
            queue.look_up({0: cast("Entry", call)}, {0: 0})
            began = time.process_time()
            found = queue.open_without_row()
            passed = time.process_time() - began
        assert found == {0: {n: n for n in range(1, count, 2)}}
        return passed

    small, large = (min(seconds(count) for _ in range(3)) for count in (5_000, 20_000))
    assert large < 10 * small
