"""Where journal records are kept: what is read back, who may write, and how much fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.sending.journal import Journal
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.state import journal_store
from airflow_provider_wati.state.directory import StateDirectory
from airflow_provider_wati.state.journal_store import DirectoryJournalStore, NoJournalStore, TaskJournalStore
from tests.support.clock import FakeClock
from tests.support.tasks import Store

SEND = "wati_send_0123"


@pytest.fixture(params=["local", "remote"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> StateDirectory:
    """A directory, and a place in object storage."""
    if request.param == "remote":
        return StateDirectory(request.getfixturevalue("bucket"))
    return StateDirectory(str(tmp_path / "state"))


def directory(
    root: StateDirectory, token: str = "a1b2c3", member: str = "-", **more: Any
) -> DirectoryJournalStore:
    return DirectoryJournalStore(root, SEND, member, token, **more)


def texts(store: Any) -> list[str]:
    return [text for _, text in store.read()]


# A directory or object storage


def test_records_come_back_in_order(root: StateDirectory) -> None:
    """More than ten records, of several attempts, are read in the order in which they were appended."""
    written: list[str] = []
    for attempt in range(3):
        store = directory(root, f"a1b2c{attempt}")
        assert texts(store) == written
        for n in range(7):
            store.append(f'"{attempt}-{n}"', fenced=n % 2 == 0)
            written.append(f'"{attempt}-{n}"')
    assert texts(directory(root, "ffffff")) == written


def test_a_record_is_a_file_of_its_own_and_its_place_is_named(root: StateDirectory) -> None:
    """Nothing is written twice, and an error can name the file."""
    store = directory(root)
    for n in range(3):
        store.append(f"{n}", fenced=True)
    places = [place for place, _ in directory(root, "d4e5f6").read()]
    assert [place.rpartition("/")[2] for place in places] == [f"00000{n}-a1b2c3.json" for n in range(3)]
    assert all(f"/{SEND}/-/" in place for place in places)


def test_a_directory_that_does_not_exist_yet_is_empty(root: StateDirectory) -> None:
    """The first attempt finds nothing, and makes the directory."""
    store = directory(root)
    assert texts(store) == []
    assert list(store.read_siblings()) == []


def test_of_two_attempts_the_older_one_is_stopped(root: StateDirectory) -> None:
    """Once a later attempt has begun, an intent of the older one is refused before its call leaves."""
    older = directory(root, "a1b2c3")
    assert texts(older) == []
    older.append('"first"', fenced=True)
    newer = directory(root, "d4e5f6")
    assert texts(newer) == ['"first"']
    with pytest.raises(WatiError, match="A later attempt.*has taken over this send"):
        older.append('"second"', fenced=True)
    newer.append('"third"', fenced=True)
    assert texts(directory(root, "777777")) == ['"first"', '"third"']


def test_an_intent_written_while_another_attempt_begins_is_refused_afterwards(
    root: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the later attempt begins between check and write, the older one stops and its record may be read."""
    older = directory(root, "a1b2c3")
    list(older.read())
    write = StateDirectory.write

    def slow_write(self: StateDirectory, key: str, text: str) -> None:
        write(self, key, text)
        if key.endswith("a1b2c3"):
            directory(root, "d4e5f6")

    with monkeypatch.context() as patch:
        patch.setattr(StateDirectory, "write", slow_write)
        with pytest.raises(WatiError, match="has taken over"):
            older.append('"first"', fenced=True)
    assert texts(directory(root, "777777")) == ['"first"']


def test_a_result_of_an_overtaken_attempt_is_still_taken(root: StateDirectory) -> None:
    """What an attempt knows is worth writing down, whoever has the say."""
    older = directory(root, "a1b2c3")
    list(older.read())
    newer = directory(root, "d4e5f6")
    list(newer.read())
    newer.append('"newer"', fenced=True)
    older.append('"older"', fenced=False)
    assert sorted(texts(directory(root, "777777"))) == ['"newer"', '"older"']


def test_records_of_two_attempts_never_overwrite_each_other(root: StateDirectory) -> None:
    """Two attempts that read the same state number alike, and their files have different names."""
    first, second = directory(root, "a1b2c3"), directory(root, "d4e5f6")
    for store in (first, second):
        list(store.read())
    first.append("1", fenced=False)
    second.append("2", fenced=False)
    assert sorted(texts(directory(root, "777777"))) == ["1", "2"]


def test_a_dry_run_does_not_take_over(root: StateDirectory) -> None:
    """An attempt that sends goes on beside a dry run."""
    sender = directory(root, "a1b2c3")
    list(sender.read())
    rehearsal = directory(root, "d4e5f6", reads_only=True)
    list(rehearsal.read())
    sender.append('"first"', fenced=True)
    assert texts(directory(root, "777777")) == ['"first"']


def test_other_mapped_tasks_are_siblings_and_other_sends_are_not(root: StateDirectory) -> None:
    """Only tasks of the same send are within reach, and the task itself is not its own sibling."""
    for member in ("0", "1", "2", "10"):
        directory(root, member=member).append(f'"{member}"', fenced=True)
    DirectoryJournalStore(root, "wati_send_4567", "0", "a1b2c3").append('"other send"', fenced=True)
    store = directory(root, member="1")
    assert texts(store) == ['"1"']
    assert sorted(text for _, text in store.read_siblings()) == ['"0"', '"10"', '"2"']


def test_files_of_others_are_passed_over(root: StateDirectory) -> None:
    """A temporary file or a note beside the records is not a record."""
    directory(root).append("1", fenced=True)
    beside = StateDirectory(f"{root.root}/{SEND}/-")
    for name in ("notes", "000001-a1b2c3.tmp", "1-a1b2c3", "000001"):
        beside.write(name, "not ours")
    assert texts(directory(root, "d4e5f6")) == ["1"]


def test_a_damaged_record_is_named_with_its_path(root: StateDirectory) -> None:
    """A journal with a file that cannot be read is refused with the path of the file."""
    directory(root).append("not JSON", fenced=True)
    with pytest.raises(WatiConfigurationError, match=rf"entry .*{SEND}/-/000000-a1b2c3.json cannot be read"):
        Journal(directory(root, "d4e5f6"), FakeClock())


def test_a_record_that_is_no_text_is_damaged(root: StateDirectory) -> None:
    """Bytes that are not UTF-8 are refused like any other damage, in siblings too."""
    directory(root, member="1").append("1", fenced=True)
    path = StateDirectory(f"{root.root}/{SEND}/1").path_of("000000-a1b2c3")
    path.write_bytes(b"\xff\x00")
    with pytest.raises(WatiConfigurationError, match=r"/1/000000-a1b2c3.json cannot be read"):
        Journal(directory(root, "d4e5f6", member="1"), FakeClock())
    sibling = Journal(directory(root, member="0"), FakeClock())
    with pytest.raises(WatiConfigurationError, match=r"/1/000000-a1b2c3.json cannot be read"):
        sibling.siblings()


def test_an_entry_that_is_missing_is_noticed_by_its_number(root: StateDirectory) -> None:
    """A gap in the numbers shows that an entry is gone, which may name people with a message."""
    store = directory(root)
    for n in range(3):
        store.append(f"{n}", fenced=True)
    StateDirectory(f"{root.root}/{SEND}/-").path_of("000001-a1b2c3").unlink()
    with pytest.raises(
        WatiConfigurationError, match="no entry number 1, and has later ones. Nothing is sent"
    ):
        texts(directory(root, "d4e5f6"))


@pytest.mark.parametrize("gone", [0, 1])
def test_a_gap_in_another_task_s_journal_is_noticed(root: StateDirectory, gone: int) -> None:
    """The missing entry of a sibling may name people who have moved here."""
    sibling = directory(root, member="1")
    for n in range(3):
        sibling.append(f"{n}", fenced=True)
    StateDirectory(f"{root.root}/{SEND}/1").path_of(f"{gone:06d}-a1b2c3").unlink()
    with pytest.raises(WatiConfigurationError, match=f"/1 has no entry number {gone}, and has later ones"):
        list(directory(root, "d4e5f6", member="0").read_siblings())


def test_an_entry_that_appears_while_the_journal_is_listed_is_no_gap(
    root: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that another task writes to may be listed with a later entry and without the one before it."""
    sibling = directory(root, member="1")
    for n in range(3):
        sibling.append(f"{n}", fenced=True)
    lists = iter([["000000-a1b2c3.json", "000002-a1b2c3.json"]])
    listed = journal_store._listed_in

    def first_incomplete(path: Any) -> list[Any]:
        shown = next(lists, None)
        return [each for each in listed(path) if shown is None or each.name in shown]

    monkeypatch.setattr(journal_store, "_listed_in", first_incomplete)
    siblings = directory(root, "d4e5f6", member="0").read_siblings()
    assert [text for _, text in siblings] == ["0", "1", "2"]


def test_a_write_that_fails_leaves_no_gap(root: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that failed, the attempt's later records take its number, so that nothing seems missing."""

    def fail(*_: object) -> None:
        raise OSError("the store is full")

    store = directory(root)
    store.append("0", fenced=True)
    with monkeypatch.context() as patch:
        patch.setattr(StateDirectory, "write", fail)
        with pytest.raises(OSError, match="full"):
            store.append("1", fenced=False)
    store.append("2", fenced=False)
    assert texts(directory(root, "d4e5f6")) == ["0", "2"]


def test_a_damaged_fence_stops_the_send(root: StateDirectory) -> None:
    """A fence that is not ours is not taken for a missing one."""
    store = directory(root)
    list(store.read())
    StateDirectory(f"{root.root}/{SEND}/-").write("fence", "\x00")
    with pytest.raises(WatiConfigurationError, match="fence.json"):
        store.append("1", fenced=True)


def test_a_directory_holds_any_number(root: StateDirectory) -> None:
    """There is no limit on people or entries."""
    assert (directory(root).limits.people, directory(root).limits.people_per_entry) == (None, None)


def test_two_journals_of_one_directory_know_each_other_s_people(root: StateDirectory) -> None:
    """A journal over a directory is read back by the next attempt as it was."""
    clock = FakeClock()
    journal = Journal(directory(root), clock)
    journal.open()
    entry = journal.record_intent([1, 2, 3], content="t", campaign_name="n")
    journal.record_result(entry, {Verdict.ACCEPTED: [0, 2], Verdict.REFUSED: [1]}, campaign_id="c1")
    [found] = Journal(directory(root, "d4e5f6"), clock).entries
    assert list(found.verdicts) == [Verdict.ACCEPTED, Verdict.REFUSED, Verdict.ACCEPTED]
    assert found.campaign_id == "c1"


# Airflow's store


def test_records_of_a_task_have_numbers_without_gaps() -> None:
    """Airflow's store cannot be listed, so that each key follows from the one before."""
    airflow = Store()
    first = TaskJournalStore(airflow, SEND)
    assert texts(first) == []
    for n in range(3):
        first.append(f"{n}", fenced=True)
    assert list(airflow) == [f"{SEND}_{n}" for n in range(3)]
    second = TaskJournalStore(airflow, SEND)
    assert [place for place, _ in second.read()][:1] == [f"{SEND}_0 of the task's state in Airflow"]
    second.append("3", fenced=False)
    assert texts(TaskJournalStore(airflow, SEND)) == ["0", "1", "2", "3"]


def test_two_sends_of_one_task_are_apart() -> None:
    """A task that is cleared under another send_key has a journal of its own."""
    airflow = Store()
    TaskJournalStore(airflow, SEND).append("1", fenced=True)
    assert texts(TaskJournalStore(airflow, "wati_send_4567")) == []
    assert list(TaskJournalStore(airflow, SEND).read_siblings()) == []


def test_a_value_that_is_no_text_is_refused_as_a_record() -> None:
    """What another tool has written under the key is named, and not taken for nothing."""
    airflow = Store()
    airflow.set(f"{SEND}_0", {"people": 7})
    with pytest.raises(WatiConfigurationError, match=f"entry {SEND}_0 of the task's state in Airflow cannot"):
        Journal(TaskJournalStore(airflow, SEND), FakeClock())


def test_the_limits_of_airflow_s_store_say_what_to_do() -> None:
    """5,000 people an entry and 50,000 a send; more needs a state_path."""
    limits = TaskJournalStore(Store(), SEND).limits
    assert (limits.people_per_entry, limits.people) == (5_000, 50_000)
    assert "[wati] state_path" in limits.remedy


# Without either


def test_without_a_store_a_journal_lasts_for_the_attempt() -> None:
    """Airflow 3.1 and 3.2 without a state_path: what is written is in the journal until the attempt ends."""
    store = NoJournalStore()
    journal = Journal(store, FakeClock())
    journal.open()
    journal.record_intent([7], content="promo")
    assert [list(entry.intent.people) for entry in journal.entries] == [[7]]
    assert texts(store) == list(store.read_siblings()) == []
