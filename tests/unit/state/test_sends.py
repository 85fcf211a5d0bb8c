"""How a send is named in a task, where its journal is, and what its attempt knows about earlier ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal import Start
from airflow_provider_wati.sending.journal_codec import Opening, Verdict
from airflow_provider_wati.state.sends import (
    OpenedJournal,
    grace_of,
    identity_of,
    open_journal,
)
from airflow_provider_wati.state.task_context import is_mapped
from tests.support.clock import FakeClock
from tests.support.task_context import context
from tests.support.tasks import Store

ACCOUNT = "https://wati.example/1001"


def opened(task: Any, send_key: Any = None, *, account: str = ACCOUNT, **more: Any) -> OpenedJournal:
    return open_journal(task, send_key=send_key, account=account, clock=FakeClock(), **more)


def send(journal: OpenedJournal, person: int = 7) -> None:
    """Record a message that was accepted."""
    entry = journal.journal.record_intent([person], content="t")
    journal.journal.record_result(entry, {Verdict.ACCEPTED: None}, campaign_id="c1")


def accepted(journal: OpenedJournal) -> list[int]:
    return [person for entry in journal.journal.entries for person in entry.people(Verdict.ACCEPTED)]


# Identity

IDENTITIES: list[tuple[dict[str, Any], Any, str, str]] = [
    ({}, None, "d/r/t", "d/r/t"),
    ({}, "", "d/r/t", "d/r/t"),
    ({"map_index": None}, None, "d/r/t", "d/r/t"),
    ({"map_index": 0}, None, "d/r/t", "d/r/t/0"),
    ({"map_index": 12}, None, "d/r/t", "d/r/t/12"),
    ({"loop": 0}, None, "d/r/t/loop 0", "d/r/t/loop 0"),
    ({"loop": 3}, None, "d/r/t/loop 3", "d/r/t/loop 3"),
    ({}, "promo", "promo", "promo"),
    ({}, 2026, "2026", "2026"),
    ({}, 0, "0", "0"),
    ({"map_index": 2}, "promo", "promo", "promo/2"),
    ({"loop": 2}, "promo", "promo/loop 2", "promo/loop 2"),
]


@pytest.mark.parametrize(("facts", "send_key", "family", "whole"), IDENTITIES, ids=str)
def test_how_a_send_is_named(facts: dict[str, Any], send_key: Any, family: str, whole: str) -> None:
    """DAG, run, task, map index and loop index make the default; a key of the user's replaces the first three."""
    identity = identity_of(context(**facts), send_key)
    assert (identity.family, identity.send_key) == (family, whole)
    assert identity.is_own is (send_key not in (None, ""))


def test_iterations_of_a_loop_are_sends_of_their_own() -> None:
    """In a loop the map index is always -1, and the loop index tells the iterations apart."""
    names = {identity_of(context(loop=n), None).send_key for n in range(5)}
    assert len(names) == 5
    assert not is_mapped(context(loop=1))


def test_each_attempt_has_the_same_name_and_each_run_another() -> None:
    """Try numbers and reschedules change nothing, the run does."""
    first = identity_of(context(), None)
    assert identity_of(context(try_number=4, reschedules=2, clear_number=1), None) == first
    assert identity_of(context(run_id="s"), None) != first


# Where the journal is


@pytest.mark.parametrize("where", ["store", "argument", "option"])
def test_the_next_attempt_knows_what_the_first_one_sent(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's store, the argument and the option keep the journal alike."""
    store, more = Store(), {}
    if where == "argument":
        more["state_path"] = str(tmp_path / "a")
    if where == "option":
        monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "b"))
    first = opened(context(store=store), **more)
    assert first.start is Start.NEW
    send(first)
    second = opened(context(store=store, try_number=2), **more)
    assert (second.start, accepted(second)) == (Start.KNOWN, [7])
    assert any(tmp_path.iterdir()) is (where != "store")


def test_an_opening_is_written_before_anything_else(tmp_path: Path) -> None:
    """The next attempt knows that this one has begun, whatever it does then."""
    opened(context(), state_path=str(tmp_path), person=9)
    later = opened(context(try_number=2), state_path=str(tmp_path))
    [opening] = later.journal.openings
    assert isinstance(opening, Opening)
    assert (opening.person, opening.is_lost) == (9, False)
    assert later.start is Start.KNOWN


def test_two_runs_under_one_key_share_a_journal(tmp_path: Path) -> None:
    """A key of the user's with a directory is found by the next run."""
    path = str(tmp_path)
    first = opened(context(run_id="a"), "promo", state_path=path)
    assert first.start is Start.UNCERTAIN
    assert opened(context(run_id="b"), "promo", state_path=path).start is Start.UNCERTAIN
    first = opened(context(run_id="a"), "promo", state_path=path)
    send(first)
    second = opened(context(run_id="b"), "promo", state_path=path)
    assert (second.start, accepted(second)) == (Start.UNCERTAIN, [7])
    assert accepted(opened(context(run_id="b"), "promo-2", state_path=path)) == []


@pytest.mark.parametrize("store", [None, Store()], ids=["without a store", "with a store"])
def test_an_own_key_without_a_directory_is_refused(store: Store | None) -> None:
    """Other runs could not find its journal, so the error names the option before anything is sent."""
    with pytest.raises(
        WatiConfigurationError, match=r"send_key 'promo' is your own.*\[wati\] state_path"
    ) as error:
        opened(context(store=store, retries=0), "promo")
    assert "Nothing was sent" in str(error.value)
    assert not store


def test_retries_without_any_state_are_refused() -> None:
    """Airflow before 3.3 keeps nothing, so a task that may be retried needs a state_path."""
    with pytest.raises(
        WatiConfigurationError, match=r"state_path or .*\[wati\] state_path .*retries=0\. Nothing was sent"
    ):
        opened(context(retries=1))
    assert opened(context(retries=0, max_tries=0)).start is Start.NEW


def test_without_state_a_clear_is_known_to_have_lost_its_journal() -> None:
    """A task without retries that is cleared looks into WATI's lists."""
    assert opened(context(retries=0, max_tries=1, try_number=2)).start is Start.LOST


@pytest.mark.parametrize("send_key", [None, "promo"])
def test_a_dry_run_needs_no_state(send_key: str | None) -> None:
    """Nothing is sent, so nothing has to be remembered."""
    assert opened(context(retries=3), send_key, reads_only=True).journal.entries == []


def test_two_accounts_are_apart(tmp_path: Path) -> None:
    """What was sent from staging proves nothing about production."""
    path = str(tmp_path)
    send(opened(context(), "promo", state_path=path, account="https://wati.example/1001"))
    assert accepted(opened(context(), "promo", state_path=path, account="https://wati.example/1002")) == []
    store = Store()
    send(opened(context(store=store)))
    other = opened(context(store=store, try_number=2), account="https://other.example/1")
    assert accepted(other) == []


def test_mapped_tasks_are_apart_and_within_reach(tmp_path: Path) -> None:
    """Each mapped task has a journal of its own, and reads those of the others in a directory."""
    path = str(tmp_path)
    send(opened(context(map_index=0), state_path=path), person=1)
    second = opened(context(map_index=1), state_path=path)
    assert accepted(second) == []
    assert [list(entry.intent.people) for entry in second.journal.siblings()] == [[1]]


# What an attempt knows

HAS_STORE, HAS_NONE = True, False
LOST: list[tuple[bool, dict[str, Any], Start]] = [
    # Whether Airflow has a store; the task; what it knows, when no journal is found in the directory.
    (HAS_STORE, {}, Start.NEW),
    (HAS_NONE, {}, Start.NEW),
    # No attempt has come as far as execute: the marker in Airflow's store would tell.
    (HAS_STORE, {"try_number": 2}, Start.NEW),
    (HAS_STORE, {"try_number": 3, "reschedules": 1}, Start.NEW),
    # Without a store nothing tells.
    (HAS_NONE, {"try_number": 2}, Start.LOST),
    (HAS_NONE, {"reschedules": 1}, Start.LOST),
    # A Clear may have discarded the store.
    (HAS_STORE, {"try_number": 2, "max_tries": 3}, Start.LOST),
    (HAS_STORE, {"loop": 1, "clear_number": 1}, Start.LOST),
]


@pytest.mark.parametrize(
    ("where", "has_store", "facts", "start"),
    [(where, *case) for where in ("directory", "store") for case in LOST if where == "directory" or case[0]],
    ids=str,
)
def test_an_attempt_that_never_reached_execute_left_nothing(
    where: str, has_store: bool, facts: dict[str, Any], start: Start, tmp_path: Path
) -> None:
    """A second try after an eviction or a Jinja error is new where Airflow's store can prove it."""
    store = Store() if has_store else None
    more = {"state_path": str(tmp_path)} if where == "directory" else {}
    assert opened(context(store=store, **facts), **more).start is start


def test_a_directory_that_was_emptied_is_lost_and_not_new(tmp_path: Path) -> None:
    """Airflow's store remembers that an attempt came as far as execute."""
    store = Store()
    send(opened(context(store=store), state_path=str(tmp_path / "a")))
    again = opened(context(store=store, try_number=2), state_path=str(tmp_path / "b"))
    assert again.start is Start.LOST
    later = opened(context(store=store, try_number=3), state_path=str(tmp_path / "b"))
    assert later.start is Start.LOST


def test_a_discarded_store_is_lost_after_a_clear() -> None:
    """Airflow 3.4 discards the store of a task that is cleared."""
    store = Store()
    send(opened(context(store=store)))
    store.clear()
    assert opened(context(store=store, try_number=2, max_tries=3)).start is Start.LOST


def test_a_dry_run_leaves_the_send_after_it_new_or_known(tmp_path: Path) -> None:
    """A dry run is no attempt to send, so nothing is lost after it."""
    store, path = Store(), str(tmp_path)
    opened(context(store=store), state_path=path, reads_only=True)
    assert opened(context(store=store, try_number=2), state_path=path).start in (Start.NEW, Start.KNOWN)


# The grace


@pytest.mark.parametrize(
    ("given", "option", "grace"),
    [(None, None, None), (60, None, 60), ("60", "90", 60), (None, "90.5", 90.5), (0, "90", 0)],
)
def test_the_grace_is_the_argument_s_or_the_option_s(
    given: Any, option: str | None, grace: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own argument counts before the option."""
    if option is not None:
        monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", option)
    assert grace_of(given) == (None if grace is None else timedelta(seconds=grace))


@pytest.mark.parametrize("given", ["soon", float("inf"), float("nan"), [1], "1e400"])
def test_a_grace_that_is_no_number_of_seconds_is_refused(given: Any) -> None:
    """The error shows what was given."""
    with pytest.raises(WatiConfigurationError, match="unknown_grace is .*: give seconds"):
        grace_of(given)


def test_another_key_of_the_user_s_is_another_send(tmp_path: Path) -> None:
    """After a Clear with another key nothing is lost: the directory knows that the task has sent under other names only."""
    facts: dict[str, Any] = {"try_number": 3, "max_tries": 4}

    def start_under(send_key: str | None, account: str = ACCOUNT) -> Start:
        found = context(**facts)
        return opened(found, send_key, account=account, state_path=str(tmp_path)).start

    opened(context(), state_path=str(tmp_path))
    assert start_under("on purpose") is Start.UNCERTAIN
    assert start_under("once more") is Start.UNCERTAIN
    assert start_under("once more") is Start.UNCERTAIN
    assert start_under(None) is Start.KNOWN
    # A tenant id that is added to the connection names the same account in another way.
    assert start_under(None, "another account") is Start.LOST


def test_a_directory_that_is_set_between_two_attempts_is_no_first_start(tmp_path: Path) -> None:
    """An attempt with Airflow's store and one with a state_path, in either order: the second one looks in WATI."""
    for first, second in ((None, str(tmp_path / "a")), (str(tmp_path / "b"), None)):
        store = Store()
        opened(context(store=store), state_path=first)
        found = context(store=store, try_number=2)
        assert opened(found, state_path=second).start is Start.LOST


def test_a_key_whose_directory_was_emptied_is_lost(tmp_path: Path) -> None:
    """Without any trace of the task in the directory, earlier attempts may have sent under this very key."""
    found = context(try_number=3, max_tries=4)
    assert opened(found, "promo", state_path=str(tmp_path)).start is Start.LOST


# Mapped tasks that are made late


def opened_at(directory: Path, clock: FakeClock, member: int, made: datetime, **facts: Any) -> OpenedJournal:
    task = context(map_index=member, made=made, **facts)
    send_key = facts.pop("send_key", None)
    return open_journal(
        task, send_key=send_key, account=ACCOUNT, clock=clock, state_path=str(directory), reads_only=False
    )


def test_a_mapped_task_that_is_made_after_another_has_begun_is_not_new(tmp_path: Path) -> None:
    """Airflow makes all of them before the first begins, so there was a Clear, and another may have had its people."""
    clock = FakeClock()
    made = clock.now()
    clock.advance(20)
    assert opened_at(tmp_path, clock, 0, made).start is Start.NEW
    clock.advance(20)
    assert opened_at(tmp_path, clock, 1, made).start is Start.NEW
    late = opened_at(tmp_path, clock, 2, clock.now())
    assert late.start is Start.LOST
    assert (late.task.is_cleared, late.task.is_new_member) == (True, True)
    # Another run is another send.
    assert opened_at(tmp_path, clock, 2, clock.now(), run_id="s").start is Start.NEW


def test_the_store_of_a_late_mapped_task_says_nothing_about_the_others(tmp_path: Path) -> None:
    """That it never began itself does not make it new."""
    clock = FakeClock()
    opened_at(tmp_path, clock, 0, clock.now())
    clock.advance(20)
    assert opened_at(tmp_path, clock, 1, clock.now(), store=Store()).start is Start.LOST


def test_the_retry_of_a_late_mapped_task_knows_that_it_was_late(tmp_path: Path) -> None:
    """Its first attempt may have ended before it looked at the others."""
    clock = FakeClock()
    opened_at(tmp_path, clock, 0, clock.now())
    for attempt in (1, 2):
        clock.advance(20)
        late = opened_at(tmp_path, clock, 1, clock.now(), try_number=attempt)
        assert (late.start, late.task.is_cleared, late.task.is_new_member) == (Start.LOST, True, True)


def test_the_retry_of_the_first_mapped_task_makes_no_other_late(tmp_path: Path) -> None:
    """What counts is when the first of them began."""
    clock = FakeClock()
    made = clock.now()
    for attempt in (1, 2):
        clock.advance(20)
        opened_at(tmp_path, clock, 0, clock.now() if attempt == 2 else made, try_number=attempt)
    assert opened_at(tmp_path, clock, 1, made).start is Start.NEW


def test_a_dry_run_makes_no_mapped_task_late(tmp_path: Path) -> None:
    """It sends to nobody, but may be late itself."""
    clock = FakeClock()
    for is_dry, expected in ((True, Start.NEW), (False, Start.NEW), (True, Start.LOST)):
        task = context(map_index=0 if expected is Start.NEW else 1, made=clock.now())
        found = opened(task, state_path=str(tmp_path / "state"), reads_only=is_dry)
        assert (found.start is Start.LOST) is (expected is Start.LOST)
        clock.advance(20)


def test_the_retry_of_a_mapped_task_that_never_executed_is_new(tmp_path: Path) -> None:
    """The id of its second attempt is younger than the beginning of the others, and says nothing about when it was made."""
    clock = FakeClock()
    opened_at(tmp_path, clock, 0, clock.now())
    clock.advance(20)
    assert opened_at(tmp_path, clock, 1, clock.now(), store=Store(), try_number=2).start is Start.NEW


def test_a_scheduler_whose_clock_is_seconds_ahead_makes_no_mapped_task_late(tmp_path: Path) -> None:
    """Nor do the ids of a thousand mapped tasks, which are a millisecond apart."""
    clock = FakeClock()
    made = clock.now() + timedelta(seconds=3)
    assert [opened_at(tmp_path, clock, n, made).start for n in (0, 1)] == [Start.NEW, Start.NEW]


def test_a_retry_with_a_journal_is_not_late(tmp_path: Path) -> None:
    """The id of the second attempt is younger than the beginning of the send, and the journal says all."""
    clock = FakeClock()
    made = clock.now()
    for attempt, expected in ((1, Start.NEW), (2, Start.KNOWN)):
        again = opened_at(tmp_path, clock, 1, made if attempt == 1 else clock.now(), try_number=attempt)
        assert (again.start, again.task.is_new_member) == (expected, False)
        clock.advance(20)
