"""Which run has which message: a message that comes twice belongs to the run that got it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.listening.messages import hash_of
from airflow_provider_wati.listening.store_lock import Held, Store, StoreLock

#: Ids in one stored value, of 16 characters each: Airflow warns about values over 65,535 bytes.
PART = 3_000
#: Stored values; the oldest is replaced by the next one.
PARTS = 20


class Claims:
    """
    The messages of the runs of one DAG: at least the latest 57,000, as hashes.

    One run at a time writes, because all write the same values; any number may read.

    :param store: the same one for all runs of the DAG.
    :param dag_id: the DAG.
    :param run_id: the run that takes messages.
    :param lock: what keeps runs that take messages apart; None for one in the store.
    """

    def __init__(
        self,
        store: Store,
        dag_id: str,
        run_id: str,
        lock: Callable[[], AbstractContextManager[Held]] | None = None,
    ) -> None:
        self._store = store
        self._name = f"wati_claims_{hash_of(dag_id)}"
        self._run = hash_of(run_id)
        self._lock = lock or StoreLock(store, f"{self._name}_lock", SYSTEM_CLOCK).hold

    def take(self, ids: Sequence[str]) -> set[str]:
        """
        Take messages for the run, so that no other run of the DAG gets them.

        :param ids: of the messages that the run has.
        :return: those that belong to this run: the ones it took in an earlier attempt too.
        :raises WatiError: when other runs hold the store, or it is too slow; nothing is lost, and a retry takes them.
        """
        hashes = {id: hash_of(id) for id in ids}
        owners = self._owners() if ids else {}
        if not owners.keys() >= set(hashes.values()):
            with self._lock() as held:
                owners = self._owners()
                self._add(sorted(set(hashes.values()) - owners.keys()), held)
                owners = {**dict.fromkeys(hashes.values(), self._run), **owners}
        return {id for id, hash in hashes.items() if owners[hash] == self._run}

    def _add(self, new: Sequence[str], held: Held) -> None:
        """
        Write down what nobody has.

        :raises WatiError: when the store does not keep it.
        """
        number, runs = self._part()
        while new:
            room = PART - sum(map(len, runs.values())) // 16
            if room <= 0:
                number, runs, room = number + 1, {}, PART
            now, new = new[:room], new[room:]
            runs[self._run] = runs.get(self._run, "") + "".join(now)
            for key, value in ((self._key(number), {"number": number, "runs": runs}), (self._name, number)):
                held.check()
                self._store.set(key, value)
                held.check()
            if not dict(_owners_in([self._part()[1]])).keys() >= set(now):
                raise WatiError(
                    "The store has not kept which messages the run has: set max_active_runs=1, or let the task be retried."
                )

    def _owners(self) -> dict[str, str]:
        """Return the run of each message; the earlier one where two have it."""
        return dict(_owners_in(self._parts()))

    def _parts(self) -> Iterator[dict[str, str]]:
        """Yield the parts, the latest first."""
        latest, runs = self._part()
        yield runs
        for number in range(latest - 1, max(latest - PARTS, -1), -1):
            yield self._runs_in(number)

    def _part(self) -> tuple[int, dict[str, str]]:
        stored = self._store.get(self._name)
        number = stored if isinstance(stored, int) else 0
        return number, self._runs_in(number)

    def _runs_in(self, number: int) -> dict[str, str]:
        stored = self._store.get(self._key(number))
        if not isinstance(stored, dict) or stored.get("number") != number:
            return {}
        return dict(stored["runs"])

    def _key(self, number: int) -> str:
        return f"{self._name}_{number % PARTS}"


def _owners_in(parts: Iterable[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for runs in parts:
        for run, hashes in runs.items():
            for n in range(0, len(hashes), 16):
                yield hashes[n : n + 16], run
