"""Stores of the send journal: a directory of the user's, or Airflow's store of the task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError
from airflow_provider_wati.sending.journal import StoreLimits
from airflow_provider_wati.state.directory import StateDirectory

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


_RECORD = re.compile(r"(\d{6,})-[0-9a-f]+\.json")
_FENCE = "fence"


class DirectoryJournalStore:
    """
    Keeps each record as a file of its own, ``<send>/<member>/<number>-<token>.json``, written once.

    Only the latest attempt may send. An attempt that Airflow takes for dead may still run, so each attempt writes its
    fencing token into one file before it reads, and compares that file with its token before and after it writes an
    intent. Of two attempts, at least one notices the other: the older one finds the newer token and stops, or the newer one
    reads the older one's intent and reconciles it.

    Runs that share a send may divide the people differently, so the latest run takes over all mapped tasks: a file beside
    their directories names that run and counts the changes.

    :param root: the user's directory.
    :param send: names the send.
    :param member: names the mapped task in it.
    :param token: names this attempt.
    :param run: names the task and its run where other runs may send under the same key; None where they cannot.
    :param reads_only: whether this attempt takes over nothing, as in a dry run.
    """

    limits: StoreLimits = StoreLimits(has_siblings=True)

    def __init__(
        self,
        root: StateDirectory,
        send: str,
        member: str,
        token: str,
        *,
        run: str | None = None,
        reads_only: bool = False,
    ) -> None:
        self._member = member
        self._family = StateDirectory(f"{root.root.rstrip('/')}/{send}")
        self._directory = StateDirectory(f"{self._family.root}/{member}")
        self._token = token
        #: The fence of the run, if runs share the send.
        self._run_fence: dict[str, Any] | None = None
        #: The number of the next record.
        self._next = 0
        if not reads_only:
            if run is not None:
                self._run_fence = self._take_over(run)
            self._directory.set(_FENCE, token)

    def _take_over(self, run: str) -> dict[str, Any]:
        """Write the fence of a run, unless it is there, and return it. It holds until a task of another run begins."""
        turn: dict[str, Any] = self._family.get(_FENCE) or {"run": None, "turn": 0}
        if turn["run"] != run:
            # Tasks of one run that begin at the same time write the same value.
            turn = {"run": run, "turn": turn["turn"] + 1}
            self._family.set(_FENCE, turn)
        return turn

    def read(self) -> Iterator[tuple[str, str]]:
        """Return each record's path and text, in the order of their numbers."""
        for path in _records_in(self._directory.path_of(_FENCE).parent):
            self._next = _number_of(path) + 1
            yield str(path), _text_of(path)

    def read_siblings(self) -> Iterator[tuple[str, str]]:
        """Return the records of the other mapped tasks of the send."""
        for member in sorted(_children_of(self._family.path_of(_FENCE).parent), key=str):
            if member.name != self._member and member.is_dir():
                for path in _records_in(member):
                    yield str(path), _text_of(path)

    def append(self, text: str, *, fenced: bool) -> None:
        """
        Write a record.

        :param fenced: whether to refuse it when a later attempt has begun.
        :raises WatiError: when one has; nothing may be sent from here.
        """
        if fenced:
            self._check_fence()
        self._directory.write(f"{self._next:06d}-{self._token}", text)
        self._next += 1
        if fenced:
            self._check_fence()

    def _check_fence(self) -> None:
        is_latest_run = self._run_fence is None or self._family.get(_FENCE) == self._run_fence
        if not is_latest_run or self._directory.get(_FENCE) != self._token:
            raise WatiError(
                "A later attempt, or another task with the same send_key, has taken over this send. This attempt stops, so "
                "that nobody is messaged twice."
            )


def _text_of(path: ObjectStoragePath) -> str:
    # Bytes that are not UTF-8 become text that `decode` refuses, with an error that names the entry.
    return path.read_bytes().decode("utf-8", "replace")


def _records_in(directory: ObjectStoragePath) -> list[ObjectStoragePath]:
    """
    Return the records of a directory in the order of their numbers.

    :raises WatiConfigurationError: when a number is missing.
    """
    records = _listed_in(directory)
    if _missing_in(records) is not None:
        # Another task may have written while the directory was listed.
        records = _listed_in(directory)
    missing = _missing_in(records)
    if missing is not None:
        raise WatiConfigurationError(
            f"The journal in {directory} has no entry number {missing}, and has later ones. Nothing is sent, because the "
            "missing entry may name people who have their message. Restore it, or send to the remaining people under "
            "another send_key."
        )
    return records


def _listed_in(directory: ObjectStoragePath) -> list[ObjectStoragePath]:
    return sorted(
        (path for path in _children_of(directory) if _RECORD.fullmatch(path.name)),
        key=lambda path: (_number_of(path), path.name),
    )


def _missing_in(records: list[ObjectStoragePath]) -> int | None:
    """Return the first number that is missing before a later one. Two attempts may have written the same number."""
    numbers = set(map(_number_of, records))
    return next((n for n in range(len(numbers)) if n not in numbers), None)


def _children_of(directory: ObjectStoragePath) -> list[ObjectStoragePath]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _number_of(path: ObjectStoragePath) -> int:
    return int(path.name.partition("-")[0])


class TaskJournalStore:
    """
    Keeps records in Airflow's ``task_state_store`` (3.3 and later), under the keys ``<send>_0``, ``<send>_1`` and so on.

    Airflow's store cannot be listed, so the numbers have no gaps. It refuses writes of an attempt that is over, so no
    fencing token is needed. The state of other mapped tasks cannot be read.

    :param store: the task's.
    :param send: names the send.
    """

    # Airflow warns about values over 65,535 bytes; a person takes 11.
    limits: StoreLimits = StoreLimits(
        people_per_entry=5_000,
        people=50_000,
        remedy=(
            "Set state_path, or the option [wati] state_path, to a directory or object-storage URI that all workers "
            "reach, or send in parts."
        ),
    )

    def __init__(self, store: Any, send: str) -> None:
        self._store = store
        self._send = send
        self._next = 0

    def read(self) -> Iterator[tuple[str, str]]:
        """Return each record's key and text, in order."""
        while (text := self._store.get(self._key)) is not None:
            key = self._key
            self._next += 1
            yield f"{key} of the task's state in Airflow", text if isinstance(text, str) else json.dumps(text)

    def read_siblings(self) -> Iterator[tuple[str, str]]:
        """Return nothing: the state of other mapped tasks is out of reach."""
        return iter(())

    def append(self, text: str, *, fenced: bool) -> None:
        """Write a record; Airflow refuses it when the attempt is over, whatever ``fenced`` says."""
        self._store.set(self._key, text)
        self._next += 1

    @property
    def _key(self) -> str:
        return f"{self._send}_{self._next}"


class NoJournalStore:
    """Keeps nothing, so that the journal ends with the attempt: Airflow 3.1 and 3.2 without a ``state_path``."""

    limits: StoreLimits = StoreLimits()

    def read(self) -> Iterator[tuple[str, str]]:
        """Return nothing."""
        return iter(())

    def read_siblings(self) -> Iterator[tuple[str, str]]:
        """Return nothing."""
        return iter(())

    def append(self, text: str, *, fenced: bool) -> None:
        """Keep nothing."""
