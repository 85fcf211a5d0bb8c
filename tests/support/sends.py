"""Attempts of a template send without Airflow: a journal in memory, people by number, one time for all."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.sending.job import SendJob
from airflow_provider_wati.sending.journal import Journal, Start, StoreLimits, start_of
from airflow_provider_wati.sending.row_mapping import map_recipient
from airflow_provider_wati.sending.task_facts import TaskFacts
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from tests.support.clock import FakeClock, MovableClock
from tests.support.wati_model import Habits, WatiModel

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.queue import SendQueue
    from tests.conftest import Sandbox

PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}
GRACE = timedelta(seconds=120)


def phone(n: int) -> str:
    """The phone number of the n-th person."""
    return f"9198{n:08d}"


def person(n: int, **more: Any) -> dict[str, Any]:
    """The n-th person as a recipient."""
    return {"target": phone(n), "params": PARAMS, **more}


def people(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Persons in a row."""
    return [person(n) for n in range(first, first + count)]


def outcomes_of(source: SendJob | SendQueue) -> Iterator[dict[str, Any]]:
    """What became of each row, in order, by column."""
    return (dict(zip(SEND_COLUMNS, row, strict=True)) for row in source.outcome_rows())


@dataclass
class MemoryStore:
    """An :class:`EntryStore` that outlives attempts, and fails where a test wants it to."""

    limits: StoreLimits = field(default_factory=StoreLimits)
    records: list[str] = field(default_factory=list)
    siblings: list[str] = field(default_factory=list)
    #: How many appends succeed before each one fails; None for all.
    fails_after: int | None = None
    #: Whether each append that is fenced was.
    fenced: list[bool] = field(default_factory=list)

    def read(self) -> Iterator[tuple[str, str]]:
        return ((f"record {n}", text) for n, text in enumerate(list(self.records)))

    def read_siblings(self) -> Iterator[tuple[str, str]]:
        return ((f"sibling record {n}", text) for n, text in enumerate(list(self.siblings)))

    def append(self, text: str, *, fenced: bool) -> None:
        if self.fails_after is not None and len(self.records) >= self.fails_after:
            raise OSError("the store is full")
        self.fenced.append(fenced)
        self.records.append(text)


class SandboxClock:
    """One time for the sandbox and everything that talks to it; it stands still but for pauses."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        sandbox.workspace.clock.freeze()
        #: Every pause, in order, in seconds.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._sandbox.workspace.clock.now(), UTC)

    def monotonic(self) -> float:
        return self._sandbox.workspace.clock.now()

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(max(seconds, 0.0))

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass."""
        passed = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        self._sandbox.workspace.clock.advance(passed)


class DyingClock:
    """A clock in whose first pause the process dies, as by Airflow's timeout."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        self.monotonic = clock.monotonic

    def sleep(self, seconds: float) -> None:
        raise KeyboardInterrupt


@dataclass
class Attempt:
    """One attempt that is over."""

    job: SendJob
    start: Start
    error: BaseException | None
    statuses: list[str]
    reasons: list[str]
    campaign_names: list[str | None]
    campaign_ids: list[str | None]
    summary: dict[str, Any]
    #: The API calls that it made.
    requests: list[str]

    @property
    def calls(self) -> int:
        """The calls that sent."""
        return int(self.summary["calls"])


class Attempts(ABC):
    """
    Attempts of one send.

    :param clock: their time.
    :param settings: arguments of :class:`SendJob` that all attempts have.
    """

    def __init__(self, clock: MovableClock, **settings: Any) -> None:
        self.clock = clock
        #: The journal; another one stands for state that is lost.
        self.store = MemoryStore()
        self.settings = settings
        self.count = 0

    @abstractmethod
    def client(self, **settings: Any) -> WatiClient:
        """Make a client of the account."""

    @abstractmethod
    def requests(self) -> list[str]:
        """The API calls that have arrived so far."""

    def attempt(
        self,
        rows: Iterable[Any],
        *,
        may_have_run: bool | None = None,
        never_executed: bool = False,
        is_shared: bool = False,
        raises: bool = False,
        dies: bool = False,
        **settings: Any,
    ) -> Attempt:
        """
        Send as one attempt of a task does.

        :param may_have_run: whether Airflow says that there was an attempt before; True from the second one on.
        :param raises: whether an error is raised instead of kept.
        :param dies: whether it dies as soon as it waits for WATI's lists.
        """
        may_have_run = self.count > 0 if may_have_run is None else may_have_run
        self.count += 1
        settings = {**self.settings, **settings}
        is_shared = settings.pop("is_shared", is_shared)
        task = TaskFacts(
            is_mapped=settings.pop("is_mapped", False),
            is_shared=is_shared,
            is_cleared=settings.pop("is_cleared", True),
            clears=settings.pop("clears", ""),
        )
        journal = Journal(self.store, self.clock, reads_only=bool(settings.get("dry_run")))
        start = start_of(
            has_journal=journal.exists,
            is_lost=journal.is_lost,
            is_uncertain=journal.is_uncertain,
            may_have_run=may_have_run,
            never_executed=never_executed,
            is_shared=is_shared,
        )
        journal.open(start=start)
        before = len(self.requests())
        error: BaseException | None = None
        job = SendJob(
            **{
                "client": self.client(),
                "template_name": "order_update",
                "campaign_name": "orders",
                "send_key": "key",
                "journal": journal,
                "start": start,
                "mapping": map_recipient,
                "task": task,
                "check_consent": False,
                "unknown_grace": GRACE,
                "clock": DyingClock(self.clock) if dies else self.clock,
                **settings,
            }
        )
        try:
            job.run(rows)
        except (WatiError, OSError, KeyboardInterrupt, ValueError) as raised:
            if raises:
                raise
            error = raised
        outcomes = list(outcomes_of(job))
        return Attempt(
            job=job,
            start=start,
            error=error,
            statuses=[outcome["status"] for outcome in outcomes],
            reasons=[str(outcome["reason"]) for outcome in outcomes],
            campaign_names=[outcome["campaign_name"] for outcome in outcomes],
            campaign_ids=[outcome["campaign_id"] for outcome in outcomes],
            summary=job.summary(),
            requests=self.requests()[before:],
        )

    def begin_another(self) -> None:
        """Let the next attempt be the first one of another send."""
        self.lose_state()
        self.count = 0

    def lose_state(self) -> None:
        """Throw the journal away."""
        self.store = MemoryStore()


class SandboxSends(Attempts):
    """
    Attempts against the sandbox, over sockets.

    :param sandbox: where they send to; it shares their time.
    """

    def __init__(self, sandbox: Sandbox, **settings: Any) -> None:
        super().__init__(SandboxClock(sandbox), **settings)
        self.sandbox = sandbox

    def client(self, **settings: Any) -> WatiClient:
        return self.sandbox.client(clock=self.clock, **settings)

    def requests(self) -> list[str]:
        return self.sandbox.requests()

    def messages(self, count: int, first: int = 0) -> list[int]:
        """How many messages each of the first persons got."""
        sent = self.sandbox.state.sent_per_phone()
        return [sent.get(phone(n), 0) for n in range(first, first + count)]

    def posts(self) -> int:
        """The template calls that have arrived."""
        return sum("/messageTemplates/" in request for request in self.sandbox.requests("POST"))


class ModelSends(Attempts):
    """
    Attempts against the model, in memory: for habits of WATI's that the sandbox has not.

    :param model: where they send to; it shares their time.
    """

    def __init__(self, model: WatiModel, **settings: Any) -> None:
        super().__init__(model.clock, **settings)
        self.model = model

    def client(self, **settings: Any) -> WatiClient:
        return self.model.client(**settings)

    def requests(self) -> list[str]:
        return self.model.calls

    def messages(self, count: int, first: int = 0) -> list[int]:
        """How many messages each of the first persons got or will get."""
        sent: Counter[str] = Counter()
        for (_, target, _), number in self.model.effects().items():
            sent[target] += number
        return [sent[phone(n)] for n in range(first, first + count)]

    def posts(self) -> int:
        """The template calls that have arrived."""
        return self.model.calls.count("send")


def die_in_next_call(sends: Attempts, meanwhile: Callable[[], object]) -> None:
    """Let something happen a second after the next call of a send has left; its worker dies before the answer comes."""
    store = sends.store
    append = store.append

    def append_until_death(text: str, *, fenced: bool) -> None:
        kind = json.loads(text)["kind"]
        if kind == "result":
            store.append = append  # type: ignore[method-assign] # this store alone
            raise KeyboardInterrupt
        append(text, fenced=fenced)
        if kind == "intent":
            store.append = append  # type: ignore[method-assign] # this store alone
            sends.clock.advance(1)
            meanwhile()
            store.append = append_until_death  # type: ignore[method-assign] # this store alone

    store.append = append_until_death  # type: ignore[method-assign] # this store alone


def model_sends(habits: Habits | None = None, **settings: Any) -> ModelSends:
    """Make an account in memory, and a send to it."""
    return ModelSends(WatiModel(FakeClock(), habits), **settings)


@pytest.fixture
def sends(sandbox: Sandbox) -> SandboxSends:
    """A send of the test's own, which shares one time with the sandbox."""
    return SandboxSends(sandbox)


@pytest.fixture
def quick_sends(quick_sandbox: Sandbox) -> SandboxSends:
    """The same against the sandbox of the module."""
    return SandboxSends(quick_sandbox)
