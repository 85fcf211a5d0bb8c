"""The send journal: records are appended, and what they say of a person stays said."""

from __future__ import annotations

import itertools
from array import array
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal import Journal, Start, StoreLimits, start_of
from airflow_provider_wati.sending.journal_codec import Intent, Opening, Result, Verdict, decode, encode
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

A, R, C = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.CLOSED_UNRESOLVED
OPEN = Verdict.OPEN


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def journal_of(store: MemoryStore, clock: FakeClock, session: str = "a1b2c3", **settings: Any) -> Journal:
    return Journal(store, clock, session=session, **settings)


def people_of(journal: Journal) -> dict[int, list[Verdict]]:
    """What the journal knows of each person, call by call."""
    known: dict[int, list[Verdict]] = {}
    for entry in journal.entries:
        for person, verdict in zip(entry.intent.people, entry.verdicts, strict=True):
            known.setdefault(person, []).append(Verdict(verdict))
    return known


START = {
    # has_journal, is_lost, may_have_run, never_executed, is_shared, is_uncertain
    (False, False, False, False, False): Start.NEW,
    (False, False, False, False, True): Start.UNCERTAIN,
    (False, False, False, True, False): Start.NEW,
    (False, False, False, True, True): Start.UNCERTAIN,
    (False, False, True, False, False): Start.LOST,
    (False, False, True, False, True): Start.LOST,
    (False, False, True, True, False): Start.NEW,
    (False, False, True, True, True): Start.UNCERTAIN,
    (True, False, False, False, False): Start.KNOWN,
    (True, False, True, False, True): Start.KNOWN,
    (True, False, True, True, False): Start.KNOWN,
    (True, True, True, False, False): Start.LOST,
    (True, True, False, False, False): Start.LOST,
    (True, True, True, True, True): Start.LOST,
    (True, False, True, False, True, True): Start.UNCERTAIN,
    (True, False, False, False, False, True): Start.UNCERTAIN,
    (True, True, False, False, True, True): Start.LOST,
}
FACTS = ("has_journal", "is_lost", "may_have_run", "never_executed", "is_shared", "is_uncertain")


@pytest.mark.parametrize(("facts", "start"), START.items(), ids=str)
def test_what_an_attempt_knows_when_it_starts(facts: tuple[bool, ...], start: Start) -> None:
    """Journal, try number, execution and sharing decide together what is known of earlier attempts."""
    assert start_of(**dict(zip(FACTS, facts, strict=False))) is start


def test_each_combination_of_facts_has_a_start() -> None:
    """No combination of facts raises, and a journal is never ignored."""
    for facts in itertools.product((False, True), repeat=6):
        start = start_of(**dict(zip(FACTS, facts, strict=True)))
        assert start is not Start.NEW or not facts[0]
        assert start is Start.LOST or not (facts[0] and facts[1])


def test_an_empty_store_holds_no_journal(store: MemoryStore, clock: FakeClock) -> None:
    """Reading writes nothing, and an attempt before the first finds nothing."""
    journal = journal_of(store, clock)
    assert (journal.exists, journal.entries, journal.openings, journal.is_lost) == (False, [], [], False)
    assert store.records == []


def test_an_opening_tells_the_next_attempt_that_there_was_one(store: MemoryStore, clock: FakeClock) -> None:
    """After an attempt that sent nothing, the next one knows that nothing was sent."""
    journal_of(store, clock).open(person=7)
    later = journal_of(store, clock, "d4e5f6")
    assert later.exists
    assert not later.entries
    assert later.openings == [Opening(session="a1b2c3", at=clock.now(), person=7)]


def test_a_journal_that_was_lost_stays_lost(store: MemoryStore, clock: FakeClock) -> None:
    """Rows that an attempt did not have may have been sent to before it, so that each later attempt looks."""
    journal_of(store, clock).open(start=Start.LOST)
    second = journal_of(store, clock, "d4e5f6")
    assert second.is_lost
    second.open()
    third = journal_of(store, clock, "777777")
    assert third.is_lost


def test_what_others_may_have_sent_stays_uncertain(store: MemoryStore, clock: FakeClock) -> None:
    """Each later attempt under a shared key looks for people whom the journal does not name."""
    journal_of(store, clock).open(start=Start.UNCERTAIN)
    second = journal_of(store, clock, "d4e5f6")
    assert (second.is_uncertain, second.is_lost) == (True, False)
    second.open()
    assert journal_of(store, clock, "777777").is_uncertain


def test_people_of_a_lost_journal_are_closed_without_a_call(store: MemoryStore, clock: FakeClock) -> None:
    """People whom WATI did not show are named, so that a later attempt does not send to them a third time."""
    journal_of(store, clock).record_absent([1, 2], content="t", channel=None, keyed=False)
    [entry] = journal_of(store, clock, "d4e5f6").entries
    assert list(entry.people(Verdict.CLOSED_UNRESOLVED)) == [1, 2]
    assert not entry.is_open


def test_an_intent_is_open_until_a_result_says_otherwise(store: MemoryStore, clock: FakeClock) -> None:
    """What was about to leave is open for the next attempt, with all that identifies the call."""
    due = clock.now() + timedelta(hours=1)
    facts: dict[str, Any] = {
        "content": "order_update",
        "channel": "Support",
        "campaign_name": "mark-a1b2c3-1 orders",
        "due": due,
        "resend": True,
        "keyed": True,
    }
    entry = journal_of(store, clock).record_intent([3, 1, 2], **facts)
    assert entry.is_open
    [found] = journal_of(store, clock, "d4e5f6").entries
    assert found.intent == Intent(id="a1b2c3-1", at=clock.now(), people=array("q", [3, 1, 2]), **facts)
    assert (found.is_open, found.answered, found.ended_at) == (True, False, None)
    assert list(found.people(Verdict.OPEN)) == [3, 1, 2]


def test_a_result_names_people_by_their_place(store: MemoryStore, clock: FakeClock) -> None:
    """Accepted, refused and open people of one call are told apart in later attempts."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([10, 11, 12, 13], content="t")
    clock.advance(5)
    journal.record_result(entry, {A: [0, 3], R: [1], OPEN: [2]}, campaign_id="c1")
    [found] = journal_of(store, clock, "d4e5f6").entries
    assert list(found.verdicts) == list(entry.verdicts) == [A, R, OPEN, A]
    assert (found.campaign_id, found.answered, found.is_open) == ("c1", True, True)
    assert found.ended_at == clock.now()


def test_the_end_of_a_call_is_the_first_result(store: MemoryStore, clock: FakeClock) -> None:
    """The grace counts from the end of the call, not from a later look."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([1], content="t")
    journal.record_result(entry, {OPEN: None}, reason="ambiguous")
    ended = clock.now()
    clock.advance(60)
    journal.record_result(entry, {A: None}, campaign_id="c1")
    assert entry.ended_at == journal_of(store, clock).entries[0].ended_at == ended


ORDERS = [
    # results one after the other -> what is known at the end
    ((A, R), A),
    ((A, OPEN), A),
    ((A, C), A),
    ((R, A), A),
    ((OPEN, A), A),
    ((C, A), A),
    ((OPEN, C), C),
    ((OPEN, Verdict.CANCELLED), Verdict.CANCELLED),
    ((Verdict.CANCELLED, A), Verdict.CANCELLED),
    ((A, Verdict.CANCELLED), A),
    ((Verdict.CANCELLED, R), Verdict.CANCELLED),
    ((OPEN, R), R),
    ((R, OPEN), OPEN),
]


@pytest.mark.parametrize(("results", "end"), ORDERS, ids=str)
def test_an_acceptance_or_a_cancellation_is_final(
    results: tuple[Verdict, ...], end: Verdict, store: MemoryStore, clock: FakeClock
) -> None:
    """No later result takes either back; all others may be corrected."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([1], content="t")
    for verdict in results:
        journal.record_result(entry, {verdict: [0]})
    assert list(entry.verdicts) == list(journal_of(store, clock).entries[0].verdicts) == [end]


def test_an_unresolved_call_is_closed_for_the_people_named(store: MemoryStore, clock: FakeClock) -> None:
    """People given up without evidence are known as such, so that they are sent to once more only."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([1, 2], content="t")
    journal.close_unresolved(entry, [1])
    assert people_of(journal_of(store, clock)) == {1: [OPEN], 2: [C]}


def test_intents_are_fenced_and_results_are_not(store: MemoryStore, clock: FakeClock) -> None:
    """An attempt that was overtaken sends nothing more, and may still say what it knows."""
    journal = journal_of(store, clock)
    journal.open()
    entry = journal.record_intent([1], content="t")
    journal.record_result(entry, {A: None})
    assert store.fenced == [True, True, False]


def test_an_attempt_of_a_call_replaces_the_one_before(store: MemoryStore, clock: FakeClock) -> None:
    """A call that goes out again after a 429 is one entry, and its intent has the latest time."""
    journal = journal_of(store, clock)
    call = journal.new_call()
    first = journal.record_intent([1, 2], content="t", id=call)
    journal.record_result(first, {R: None}, reason="not_sent")
    clock.advance(30)
    journal.record_intent([1, 2], content="t", id=call)
    for known in (journal, journal_of(store, clock)):
        [entry] = known.entries
        assert (entry.intent.at, list(entry.verdicts)) == (clock.now(), [OPEN, OPEN])


def test_calls_of_two_attempts_have_two_names(store: MemoryStore, clock: FakeClock) -> None:
    """Attempts at the same time write under names of their own."""
    first, second = journal_of(store, clock), Journal(store, clock)
    names = [first.new_call(), first.new_call(), second.new_call()]
    assert len(set(names)) == 3
    assert len({Journal(store, clock).session for _ in range(50)}) > 45


def test_a_dry_run_writes_its_opening_only(store: MemoryStore, clock: FakeClock) -> None:
    """The attempt after a dry run knows that nothing was sent, and a dry run never claims a call."""
    journal = journal_of(store, clock, reads_only=True)
    journal.open()
    entry = journal.record_intent([1], content="t")
    journal.record_result(entry, {A: None})
    [record] = store.records
    assert isinstance(decode(record, "here"), Opening)
    assert store.fenced == [False]


def test_what_is_known_stays_known_when_the_store_fails(store: MemoryStore, clock: FakeClock) -> None:
    """The result of a call counts for the rest of the attempt, also if it cannot be written."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([1], content="t")
    store.fails_after = 1
    with pytest.raises(OSError, match="full"):
        journal.record_result(entry, {A: None}, campaign_id="c1")
    assert entry.answered


def test_an_intent_that_cannot_be_written_is_no_entry(store: MemoryStore, clock: FakeClock) -> None:
    """A call whose intent failed must not leave, and is not taken for one that did."""
    journal = journal_of(store, clock)
    store.fails_after = 0
    with pytest.raises(OSError, match="full"):
        journal.record_intent([1], content="t")
    assert journal.entries == []


def test_a_result_without_its_intent_stops_the_send(store: MemoryStore, clock: FakeClock) -> None:
    """A missing entry is noticed by its result, because its people may have their message."""
    store.records.append(encode(Result(id="a1b2c3-1", at=clock.now(), verdicts={A: None})))
    with pytest.raises(
        WatiConfigurationError, match="an entry is missing. Nothing is sent.*Restore the entry"
    ):
        journal_of(store, clock)


def test_a_result_for_more_people_than_the_call_had_stops_the_send(
    store: MemoryStore, clock: FakeClock
) -> None:
    """A result that does not fit its intent belongs to another entry, so nothing is concluded from it."""
    journal = journal_of(store, clock)
    entry = journal.record_intent([1], content="t")
    store.records.append(encode(Result(id=entry.intent.id, at=clock.now(), verdicts={A: [1]})))
    with pytest.raises(WatiConfigurationError, match="does not fit its intent"):
        journal_of(store, clock)


def test_an_entry_that_cannot_be_read_stops_the_send_and_is_named(
    store: MemoryStore, clock: FakeClock
) -> None:
    """A damaged entry is not taken for a missing one."""
    journal_of(store, clock).open()
    store.records.append("\x00")
    with pytest.raises(WatiConfigurationError, match="The journal entry record 1 cannot be read"):
        journal_of(store, clock)


def test_a_found_campaign_is_written_down_in_parts_that_the_store_holds(clock: FakeClock) -> None:
    """People found in WATI's lists count as accepted, however few a single entry can hold."""
    store = MemoryStore(StoreLimits(people_per_entry=4))
    journal = journal_of(store, clock)
    journal.record_found(
        range(10),
        content="t",
        channel=None,
        campaign_name="mark-ffffff-1 orders",
        campaign_id="c1",
        keyed=False,
    )
    later = journal_of(store, clock)
    assert people_of(later) == {person: [A] for person in range(10)}
    assert [len(entry.intent.people) for entry in later.entries] == [4, 4, 2]
    assert {entry.campaign_id for entry in later.entries} == {"c1"}
    assert len(store.records) == 3


def test_other_mapped_tasks_are_read_apart(store: MemoryStore, clock: FakeClock) -> None:
    """Calls of siblings are within reach and are not this task's own."""
    sibling = MemoryStore()
    journal_of(sibling, clock, "d4e5f6").record_intent([5], content="t")
    store.siblings = sibling.records
    journal = journal_of(store, clock)
    assert journal.entries == []
    assert [list(entry.intent.people) for entry in journal.siblings()] == [[5]]
    assert store.records == []
