"""Which run has which message."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.listening import claims
from airflow_provider_wati.listening.claims import Claims
from airflow_provider_wati.listening.store_lock import StoreLock
from tests.unit.listening.test_store_lock import FastClock, SlowStore, TickingClock


class MemoryStore:
    """A store whose values are JSON, as Airflow's are; another run may write before each of ours."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.before_set: Callable[[], object] | None = None
        self.clock = TickingClock()

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        if self.before_set is not None:
            other, self.before_set = self.before_set, None
            other()
        self.values[key] = json.dumps(value)


def take(store: MemoryStore, run: str, *ids: str, dag: str = "dag") -> set[str]:
    lock = StoreLock(store, f"lock of {dag}", store.clock)
    return Claims(store, dag, run, lock.hold).take(ids)


def test_a_message_belongs_to_the_run_that_took_it_first() -> None:
    """A run gets what no other run has, and the same again when it asks again."""
    store = MemoryStore()
    assert take(store, "one", "a", "b") == {"a", "b"}
    assert take(store, "two", "b", "c") == {"c"}
    assert take(store, "one", "a", "b") == {"a", "b"}
    assert take(store, "three", "a", "b", "c") == set()


def test_each_dag_has_its_own() -> None:
    """What a run of one DAG has says nothing about another DAG."""
    store = MemoryStore()
    assert take(store, "one", "a") == {"a"}
    assert take(store, "one", "a", dag="other") == {"a"}


def test_nothing_to_take_writes_nothing() -> None:
    """A run without messages leaves the store alone."""
    store = MemoryStore()
    assert take(store, "one") == set()
    assert store.values == {}


def test_two_runs_that_write_at_the_same_time_share_nothing() -> None:
    """Where another run writes between our look and our write, each message still has one run, and none is lost."""
    store = MemoryStore()
    other: set[str] = set()
    store.before_set = lambda: other.update(take(store, "two", "b", "c"))
    mine = take(store, "one", "a", "b")
    assert mine | take(store, "two", "b", "c") == {"a", "b", "c"}
    assert not mine & take(store, "two", "b", "c")
    assert take(store, "three", "a", "b", "c") == set()


def test_what_a_run_was_given_goes_to_no_run_that_writes_at_the_same_time() -> None:
    """What one run is given while another is between its look and its write is not given to that one too."""
    store = MemoryStore()
    given_to_two: set[str] = set()
    store.before_set = lambda: given_to_two.update(take(store, "two", "b", "c"))
    given_to_one = take(store, "one", "a", "b")
    assert (given_to_one, given_to_two) == ({"a"}, {"b", "c"})


def test_what_a_run_was_given_goes_to_no_later_run() -> None:
    """What one run is given while another is between its look and its write is still its own when a third one asks."""
    store = MemoryStore()
    given_to_two: set[str] = set()
    store.before_set = lambda: given_to_two.update(take(store, "two", "c"))
    assert take(store, "one", "a") == {"a"}
    assert given_to_two == {"c"}
    assert take(store, "three", "a", "c") == set()


def test_each_message_has_one_run_of_many_that_ask_at_the_same_time() -> None:
    """Of eight runs in threads that share messages through a store without locks, each message has one, then and later."""
    store, clock = SlowStore(0.01), FastClock()
    wanted = {f"run {n}": [f"{n + more}" for more in range(5)] for n in range(8)}

    def ask(run: str) -> set[str]:
        lock = StoreLock(store, "lock", clock)
        return Claims(store, "dag", run, lock.hold).take(wanted[run])

    with ThreadPoolExecutor(len(wanted)) as pool:
        given = dict(zip(wanted, pool.map(ask, wanted), strict=True))
        again = dict(zip(wanted, pool.map(ask, wanted), strict=True))
    assert sorted(id for ids in given.values() for id in ids) == sorted(map(str, range(12)))
    assert again == given


def test_tasks_of_one_run_that_ask_at_the_same_time_get_the_same() -> None:
    """Mapped tasks of a run all get its messages."""
    store, clock = SlowStore(0.01), FastClock()

    def ask(_: int) -> set[str]:
        return Claims(store, "dag", "run", StoreLock(store, "lock", clock).hold).take(["a", "b"])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [{"a", "b"}] * 4


def test_a_store_that_forgets_each_write_is_an_error() -> None:
    """A claim that does not stay is never taken for one."""

    class Forgetful(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            pass

    with pytest.raises(WatiError, match="max_active_runs=1"):
        take(Forgetful(), "one", "a")


def test_many_messages_are_known_and_the_oldest_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are promised are known, in values of a limited size; memory is bounded."""
    monkeypatch.setattr(claims, "PART", 10)
    store = MemoryStore()
    for run in range(100):
        ids = [f"{run}/{n}" for n in range(7)]
        assert take(store, f"run {run}", *ids) == set(ids)
    latest = [f"{run}/{n}" for run in range(100 - claims.PARTS + 1, 100) for n in range(7)]
    assert take(store, "last", *latest) == set()
    # With the number of the latest one, and the lock.
    assert len(store.values) == claims.PARTS + 2


def test_a_full_part_fits_into_airflows_store() -> None:
    """The longest value is under the size that Airflow warns about, however many runs it is of."""
    store = MemoryStore()
    for run in range(150):
        take(store, f"run {run}", *[f"{run}/{n}" for n in range(25)])
    assert max(map(len, store.values.values())) < 65_535
    # Two full ones at most, the number of the latest one, and the lock.
    assert len(store.values) == 4


def test_a_run_with_more_messages_than_are_kept_still_gets_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that push out earlier ones of the same run do not change what the run gets."""
    monkeypatch.setattr(claims, "PART", 10)
    store = MemoryStore()
    assert take(store, "one", "a") == {"a"}
    ids = [str(n) for n in range(500)]
    assert take(store, "two", "a", *ids) == set(ids)
