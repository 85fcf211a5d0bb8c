"""Which run has which message: a message that comes twice belongs to the run that got it first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.listening.messages import hash_of

#: Ids in one stored value, of 16 characters each: Airflow warns about values over 65,535 bytes.
PART = 3_000
#: Stored values; the oldest is replaced by the next one.
PARTS = 20
_ATTEMPTS = 10


class Store(Protocol):
    """Keeps JSON values by name."""

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        ...


class Claims:
    """
    The messages of the runs of one DAG: at least the latest 57,000, as hashes.

    :param store: the same one for all runs of the DAG.
    :param dag_id: the DAG.
    :param run_id: the run that takes messages.
    """

    def __init__(self, store: Store, dag_id: str, run_id: str) -> None:
        self._store = store
        self._name = f"wati_claims_{hash_of(dag_id)}"
        self._run = hash_of(run_id)

    def take(self, ids: Sequence[str]) -> set[str]:
        """
        Take messages for the run, so that no other run of the DAG gets them.

        :param ids: of the messages that the run has.
        :return: those that belong to this run: the ones it took in an earlier attempt too.
        :raises WatiError: when other runs write at the same time again and again; nothing is lost, and a retry takes them.
        """
        taken: set[str] = set()
        for start in range(0, len(ids), PART):
            taken |= self._take(ids[start : start + PART])
        return taken

    def _take(self, ids: Sequence[str]) -> set[str]:
        """Write down what nobody has. Airflow's store has no locks, so what was written is read again."""
        for _ in range(_ATTEMPTS):
            owners = self._owners()
            new = sorted({hash for id in ids if (hash := hash_of(id)) not in owners})
            if not new:
                return {id for id in ids if owners[hash_of(id)] == self._run}
            number, runs = self._part()
            if sum(map(len, runs.values())) // 16 + len(new) > PART:
                number, runs = number + 1, {}
            runs[self._run] = runs.get(self._run, "") + "".join(new)
            self._store.set(self._key(number), {"number": number, "runs": runs})
            self._store.set(self._name, number)
        raise WatiError(
            "Other runs of the DAG take messages at the same moment, again and again: set max_active_runs=1, or let the task "
            "be retried."
        )

    def _owners(self) -> dict[str, str]:
        """Return the run of each message; the earlier one where two have it."""
        owners: dict[str, str] = {}
        for runs in self._parts():
            for run, hashes in runs.items():
                owners.update((hashes[n : n + 16], run) for n in range(0, len(hashes), 16))
        return owners

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
