"""The ledger by itself: what a later try reads out of it, and how little room it takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.ledger import FINGERPRINT_LENGTH, Ledger

PEOPLE = "a" * FINGERPRINT_LENGTH
OTHERS = "b" * FINGERPRINT_LENGTH
BATCHES = 1_000


class Store:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)

    @property
    def size(self) -> int:
        return max(len(text.encode()) for text in self.values.values())


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize("not_accepted", [[], [0], [1, 2, 3, 7], range(10_000), [0, 2, 4, 5]], ids=str)
def test_a_later_try_knows_who_was_not_accepted(store: Store, not_accepted: Any) -> None:
    ledger = Ledger(store, "key")
    ledger.intend("1", PEOPLE)
    ledger.settle("1", PEOPLE, not_accepted)
    later = Ledger(store, "key")
    assert later.not_accepted("1", PEOPLE) == list(not_accepted)
    assert later.not_accepted("1", OTHERS) is later.not_accepted("2", PEOPLE) is None
    assert later.intended_at("1") is None
    assert later.tells_all
    assert later.doubts == []
    assert Ledger(store, "another key").known_before is False


def test_an_intent_without_an_answer_is_in_doubt_for_the_next_try(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    Ledger(store, "key").intend("1", PEOPLE)
    later = Ledger(store, "key")
    at = later.intended_at("1")
    assert at is not None
    assert before <= at <= datetime.now(UTC)
    assert later.doubts == ["1"]
    assert later.not_accepted("1", PEOPLE) is None
    later.resolve(nothing_sent=False)
    resolved = Ledger(store, "key")
    assert resolved.doubts == []
    assert resolved.last_intended == at


def test_what_was_sent_again_is_in_doubt_again(store: Store) -> None:
    ledger = Ledger(store, "key")
    ledger.settle("1", PEOPLE, [1, 3, 4])
    ledger.intend("1", PEOPLE, 1)
    later = Ledger(store, "key")
    assert later.doubts == ["1"]
    # Who was accepted the first time is not.
    assert later.not_accepted("1", PEOPLE) == [1, 3, 4]
    assert later.not_accepted("1", OTHERS) is None
    later.settle("1", PEOPLE, [3])
    assert Ledger(store, "key").not_accepted("1", PEOPLE) == [3]


@pytest.mark.parametrize("not_accepted", [[], [2]], ids=str)
def test_how_often_a_batch_was_sent_is_kept(store: Store, not_accepted: list[int]) -> None:
    assert Ledger(store, "key").sent_before("1") is None
    for n in range(3):
        ledger = Ledger(store, "key")
        ledger.intend("1", PEOPLE, n)
        assert Ledger(store, "key").sent_before("1") == n
        ledger.settle("1", PEOPLE, not_accepted)
        later = Ledger(store, "key")
        assert later.sent_before("1") == n
        assert later.not_accepted("1", PEOPLE) == not_accepted
    later.intend("1", OTHERS, 3)
    later.resolve(nothing_sent=False)
    assert Ledger(store, "key").sent_before("1") == 3
    assert Ledger(store, "key").not_accepted("1", OTHERS) is None


def test_an_entry_is_there_from_the_first_try_on(store: Store) -> None:
    Ledger(store, "key").open(tried_before=False)
    second = Ledger(store, "key")
    assert second.known_before
    second.open(tried_before=True)
    assert not second.lost
    assert second.tells_all
    assert second.last_intended is None


def test_an_entry_that_is_gone_is_lost_until_wati_has_been_asked(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    Ledger(store, "key").open(tried_before=True)
    for _ in range(2):
        later = Ledger(store, "key")
        later.open(tried_before=True)
        assert later.lost
        assert later.may_have_sent
        assert not later.tells_all
        assert later.last_intended is not None
        assert before <= later.last_intended <= datetime.now(UTC)
    later.agree(channel="a")
    later.resolve(nothing_sent=True)
    found = Ledger(store, "key")
    assert not found.lost
    assert found.tells_all
    # On another channel it was not looked for.
    with pytest.raises(WatiConfigurationError):
        Ledger(store, "key").agree(channel="b")
    Ledger(store, "another").open(tried_before=True)
    sent = Ledger(store, "another")
    sent.resolve(nothing_sent=False)
    assert not Ledger(store, "another").tells_all


def test_a_rehearsal_writes_nothing_but_that_it_was_there(store: Store) -> None:
    rehearsal = Ledger(store, "key", reads_only=True)
    rehearsal.open(tried_before=False)
    rehearsal.mix()
    rehearsal.intend("1", PEOPLE)
    assert not Ledger(store, "key").known_before
    later = Ledger(store, "key")
    later.open(tried_before=True)
    assert not later.lost
    assert Ledger(store, "key").tells_all
    del store.values[later._key]
    lost = Ledger(store, "key")
    lost.open(tried_before=True)
    assert lost.lost
    Ledger(None, "key").open(tried_before=True)  # nowhere


def test_a_rehearsal_that_finds_no_entry_leaves_the_next_try_careful(store: Store) -> None:
    Ledger(store, "key", reads_only=True).open(tried_before=True)
    later = Ledger(store, "key")
    later.open(tried_before=True)
    assert later.lost


def test_a_rehearsal_writes_nothing_over_what_a_send_has_written_meanwhile(store: Store) -> None:
    rehearsal = Ledger(store, "key", reads_only=True)
    send = Ledger(store, "key")
    send.open(tried_before=False)
    send.intend("1", PEOPLE)
    rehearsal.open(tried_before=False)
    assert Ledger(store, "key").doubts == ["1"]


def test_what_others_sent_before_there_was_an_entry_does_not_stand_in_it(store: Store) -> None:
    Ledger(store, "key", others=True, shared=True).open(tried_before=False)
    later = Ledger(store, "key", others=True, shared=True)
    assert not later.tells_all
    later.resolve(nothing_sent=True)
    assert Ledger(store, "key", others=True, shared=True).tells_all


def test_which_campaigns_reached_nobody_is_kept(store: Store) -> None:
    ledger = Ledger(store, "key")
    for n, not_accepted, reached_nobody in ((0, [0, 1], True), (1, [1], False), (2, [1], True)):
        ledger.intend("7", PEOPLE, n)
        ledger.settle("7", PEOPLE, not_accepted, reached_nobody=reached_nobody)
    later = Ledger(store, "key")
    assert [later.reached_nobody("7", n) for n in range(4)] == [True, False, True, False]
    assert later.sent_before("7") == 2
    assert later.not_accepted("7", PEOPLE) == [1]
    later.compare({"7": PEOPLE})
    assert later.tells_all
    assert not later.reached_nobody("8", 0)


def test_what_has_to_stay_the_same_is_held_against_what_was_sent(store: Store) -> None:
    ledger = Ledger(store, "key")
    ledger.agree(account="a", channel="c", tenant=None)
    ledger.agree(account="b", channel="c", tenant=None)  # nothing was sent there
    ledger.intend("1", PEOPLE)
    Ledger(store, "key").agree(account="b", channel="c", tenant="1")
    with pytest.raises(
        WatiConfigurationError, match="began with the channel 'c', and now it is 'd'.*send_key"
    ):
        Ledger(store, "key").agree(account="b", channel="d")


def test_an_intent_that_cannot_be_written_down_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(store, "key")
    ledger.settle("1", PEOPLE, [0])

    def refuse(*_: object) -> None:
        raise OSError("full")

    with monkeypatch.context() as full:
        full.setattr(store, "set", refuse)
        for batch in ("1", "2"):
            with pytest.raises(OSError, match="full"):
                ledger.intend(batch, PEOPLE, 1)
    assert ledger.doubts == []
    assert ledger.intended_at("1") is ledger.intended_at("2") is ledger.last_intended is None
    assert ledger.not_accepted("1", PEOPLE) == [0]


@pytest.mark.parametrize(
    ("now", "mixed"),
    [
        ({"1": PEOPLE, "2": OTHERS}, False),
        ({"1": PEOPLE, "2": OTHERS, "3": PEOPLE}, False),
        ({"1": OTHERS, "2": PEOPLE}, True),
        ({"1": PEOPLE}, True),
        ({}, True),
    ],
    ids=str,
)
def test_batches_of_other_people_are_noticed_for_good(store: Store, now: dict[str, str], mixed: bool) -> None:
    ledger = Ledger(store, "key")
    ledger.settle("1", PEOPLE, [])
    ledger.intend("2", OTHERS)
    later = Ledger(store, "key")
    later.compare(now)
    assert later.mixed is Ledger(store, "key").mixed is mixed
    assert later.tells_all is not mixed


def test_a_key_of_several_runs_and_no_store_do_not_tell_all(store: Store) -> None:
    Ledger(store, "key", others=True).settle("1", PEOPLE, [])
    several = Ledger(store, "key", others=True)
    assert several.may_have_sent
    assert not several.tells_all
    assert not several.remembers
    in_a_directory = Ledger(store, "new key", others=True, shared=True)
    assert in_a_directory.remembers
    assert in_a_directory.may_have_sent  # before there was a directory
    nowhere = Ledger(None, "key")
    nowhere.settle("1", PEOPLE, [])
    assert not Ledger(None, "key").may_have_sent
    assert not nowhere.remembers


@pytest.mark.parametrize("not_accepted", [[], range(1_000), [3, 33, 333, 999], range(0, 1_000, 2)], ids=str)
@pytest.mark.parametrize("answered", [True, False])
def test_a_thousand_batches_stay_under_32_kb(store: Store, not_accepted: Any, answered: bool) -> None:
    ledger = Ledger(store, "key")
    for n in range(1, BATCHES + 1):
        ledger.intend(str(n), PEOPLE, n % 2)
        if answered:
            ledger.settle(str(n), PEOPLE, not_accepted)
        if n % 50 == 0:
            assert store.size < 32_000
    ledger.mix()
    assert store.size < 32_000


def test_where_there_was_no_room_wati_is_asked_and_given_time_to_show_it(store: Store) -> None:
    """A batch that was answered a moment ago may not be listed yet."""
    ledger = Ledger(store, "key")
    ledger.intend("1", PEOPLE)
    ledger.settle("1", PEOPLE, range(0, 10_000, 2))
    later = Ledger(store, "key")
    assert later.not_accepted("1", PEOPLE) is None
    assert later.intended_at("1") is not None
    assert later.doubts == []
    later.settle("1", PEOPLE, [])
    assert Ledger(store, "key").not_accepted("1", PEOPLE) == []
