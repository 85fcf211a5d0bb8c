"""An attempt that Airflow takes for dead while it waits for its turn, and that lives on beside the next one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator, WatiSendTemplateOperator
from airflow_provider_wati.sending.job import SendJob
from airflow_provider_wati.sending.journal import Journal
from airflow_provider_wati.state.directory import StateDirectory
from airflow_provider_wati.state.journal_store import DirectoryJournalStore
from tests.support.clock import FakeClock, SkippingClock
from tests.support.sends import people, phone
from tests.support.tasks import Store

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute


class OvertakenClock(SkippingClock):
    """A clock in whose first pause another attempt runs from beginning to end."""

    def __init__(self, other: Callable[[], None]) -> None:
        super().__init__()
        self._other: Callable[[], None] | None = other

    def sleep(self, seconds: float) -> None:
        other, self._other = self._other, None
        if other is not None:
            other()
        super().sleep(seconds)


@pytest.fixture(params=["local", "remote"])
def state_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A directory, and a place in object storage."""
    return str(request.getfixturevalue("bucket")) if request.param == "remote" else str(tmp_path)


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let another attempt run while the next one waits."""

    def arrange(other: Callable[[], None]) -> None:
        clock = OvertakenClock(other)
        monkeypatch.setattr(WatiHook, "clock", clock)
        monkeypatch.setattr(WatiOperator, "clock", clock)

    return arrange


def operator(state_path: str | None, batch_size: int = 1_000) -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id="send",
        template_name="order_update",
        recipients=people(4),
        check_consent=False,
        batch_size=batch_size,
        state_path=state_path,
        retries=1,
    )


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_an_attempt_that_wakes_up_too_late_sends_nothing(
    answered: int,
    execute: Execute,
    sandbox: Sandbox,
    state_path: str,
    overtake: Callable[[Callable[[], None]], None],
) -> None:
    """While the first attempt waits out a 429, the next one sends everything; the first one then stops."""
    sandbox.fault("status", status=429, retry_after=5, method="POST", skip=answered, count=1)
    summaries: list[Any] = []
    overtake(lambda: summaries.append(execute(operator(state_path, 1), try_number=2)))
    with pytest.raises(WatiError, match="A later attempt.*has taken over this send"):
        execute(operator(state_path, 1))
    [summary] = summaries
    assert (summary["accepted"], summary["calls"]) == (4, 4 - answered)
    assert [len(sandbox.texts_to(phone(n))) for n in range(4)] == [1] * 4


def test_what_the_first_attempt_knows_is_not_lost(
    execute: Execute, sandbox: Sandbox, state_path: str, overtake: Callable[[Callable[[], None]], None]
) -> None:
    """After both are over, a third attempt finds everybody and sends nothing."""
    sandbox.fault("status", status=429, retry_after=5, method="POST", skip=2, count=1)
    overtake(lambda: execute(operator(state_path, 1), try_number=2))
    with pytest.raises(WatiError, match="has taken over"):
        execute(operator(state_path, 1))
    third = execute(operator(state_path, 1), try_number=3)
    assert (third["accepted"], third["calls"]) == (4, 0)


def statuses_in(path: Path) -> list[str]:
    return [row["status"] for row in csv.DictReader(path.open())]


class EndingStore(Store):
    """Airflow's store of one attempt, which takes nothing once the attempt is over."""

    is_over = False

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self.is_over:
            raise RuntimeError("the attempt is over")
        super().set(key, value)


@pytest.mark.parametrize("remembers", ["state_path", "Airflow"])
@pytest.mark.parametrize("while_it", ["sends", "looks up who opted out"])
def test_the_outcomes_are_those_of_the_later_attempt(
    while_it: str,
    remembers: str,
    execute: Execute,
    sandbox: Sandbox,
    tmp_path: Path,
    overtake: Callable[[Callable[[], None]], None],
) -> None:
    """An attempt that was overtaken writes neither outcomes nor XCom: people may be chosen by them for another send."""
    store, results = EndingStore(), []
    waits_in_send = while_it == "sends"

    def send() -> WatiSendTemplateOperator:
        send = operator(str(tmp_path / "state") if remembers == "state_path" else None, 1)
        send.outcomes_path = str(tmp_path / "outcomes.csv")
        send.check_consent = not waits_in_send
        return send

    def later_attempt() -> None:
        store.is_over = True
        results.append(execute(send(), store=Store(store), try_number=2))
        if not waits_in_send:
            sandbox.fault("status", status=401, method="GET", count=1)

    sandbox.fault("status", status=429, retry_after=5, method="POST" if waits_in_send else "GET", count=1)
    overtake(later_attempt)
    with pytest.raises((WatiError, RuntimeError)):
        execute(send(), store=store)
    assert results[0]["accepted"] == 4
    assert execute.pushed == []  # type: ignore[attr-defined] # the fixture notes what was pushed
    assert statuses_in(tmp_path / "outcomes.csv") == ["accepted"] * 4


def test_an_attempt_that_ends_after_it_was_overtaken_fails(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an attempt that has sent all it had leaves the outcomes to the later one, and does not end as success."""
    state, outcomes = str(tmp_path / "state"), tmp_path / "outcomes.csv"

    def send() -> WatiSendTemplateOperator:
        send = operator(state)
        send.outcomes_path = str(outcomes)
        return send

    run = SendJob.run

    def run_and_be_overtaken(job: SendJob, rows: Any) -> None:
        run(job, rows)
        monkeypatch.setattr(SendJob, "run", run)
        execute(send(), try_number=2)
        outcomes.write_text("those of the later attempt")

    # Only here can the later attempt begin between the last call and the outcomes.
    monkeypatch.setattr(SendJob, "run", run_and_be_overtaken)
    with pytest.raises(WatiError, match="A later attempt of this task has begun"):
        execute(send())
    assert outcomes.read_text() == "those of the later attempt"


def test_a_task_that_is_overtaken_by_another_one_writes_its_outcomes(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, overtake: Callable[[Callable[[], None]], None]
) -> None:
    """The outcomes of two tasks that share a send key are apart, so that each of them writes its own."""

    def shared(task_id: str) -> WatiSendTemplateOperator:
        send = operator(str(tmp_path / "state"), 2)
        send.task_id, send.send_key, send.outcomes_path = task_id, "promo", str(tmp_path / f"{task_id}.csv")
        return send

    sandbox.fault("status", status=429, retry_after=5, method="POST", skip=1, count=1)
    overtake(lambda: execute(shared("b")))
    with pytest.raises(WatiError, match="another task with the same send_key"):
        execute(shared("a"))
    assert statuses_in(tmp_path / "a.csv") == ["accepted"] * 2 + ["unsent"] * 2
    assert statuses_in(tmp_path / "b.csv") == ["accepted"] * 4


def test_of_two_simultaneous_runs_under_one_key_one_stops(
    execute: Execute, sandbox: Sandbox, state_path: str, overtake: Callable[[Callable[[], None]], None]
) -> None:
    """Two tasks that share a key at the same time message nobody twice."""

    def shared(task_id: str) -> WatiSendTemplateOperator:
        send = operator(state_path, 2)
        send.task_id, send.send_key = task_id, "promo"
        return send

    sandbox.fault("status", status=429, retry_after=5, method="POST", skip=1, count=1)
    overtake(lambda: execute(shared("b")))
    with pytest.raises(WatiError, match="another task with the same send_key"):
        execute(shared("a"))
    assert [len(sandbox.texts_to(phone(n))) for n in range(4)] == [1] * 4


@pytest.mark.parametrize("shard", [[2, 3], None])
def test_of_two_simultaneous_runs_that_divide_one_key_differently_one_stops(
    shard: list[int] | None,
    execute: Execute,
    sandbox: Sandbox,
    state_path: str,
    overtake: Callable[[Callable[[], None]], None],
) -> None:
    """People of a mapped task may be in one with another index in another run, and get one message all the same."""

    def shared(part: list[int] | None) -> WatiBroadcastTemplateOperator:
        return WatiBroadcastTemplateOperator(
            task_id="send",
            template_name="order_update",
            rows=[{"phone": phone(n), "name": "Ada"} for n in range(40)],
            target_column="phone",
            param_columns={"name": "name"},
            template_params={"order_id": "1001", "status": "packed"},
            check_consent=False,
            batch_size=5,
            shard=part,
            send_key="promo",
            state_path=state_path,
            retries=1,
        )

    def messages() -> list[int]:
        return [len(sandbox.texts_to(phone(n))) for n in range(40)]

    sandbox.fault("status", status=429, retry_after=5, method="POST", skip=1, count=1)
    overtake(lambda: execute(shared(shard), map_index=2 if shard else -1, run_id="r2"))
    with pytest.raises(WatiError, match="another task with the same send_key"):
        execute(shared([0, 2]), map_index=0, run_id="r1")
    assert max(messages()) == 1
    for n in range(2):
        execute(shared([n, 2]), map_index=n, run_id="r1", try_number=2)
    assert messages() == [1] * 40


def test_a_run_that_has_lost_its_turn_does_not_get_it_back_by_another_task(state_path: str) -> None:
    """Tasks of one run go on beside each other; after another run, those that began before it stop."""
    root = StateDirectory(state_path)

    def begin(run: str, member: str) -> DirectoryJournalStore:
        return DirectoryJournalStore(root, "send", member, f"{run}{member}", run=run)

    first, second = begin("a", "0"), begin("a", "1")
    for store in (first, second):
        store.append('"x"', fenced=True)
    begin("b", "2")
    third = begin("a", "3")
    third.append('"x"', fenced=True)
    for store in (first, second):
        with pytest.raises(WatiError, match="has taken over"):
            store.append('"x"', fenced=True)


def test_every_order_of_two_attempts_has_one_that_sees_the_other(tmp_path: Path) -> None:
    """For each moment at which the later attempt begins: it reads the intent, or the older attempt's call is refused."""
    for moment in range(6):
        root, clock = StateDirectory(str(tmp_path / str(moment))), FakeClock()
        seen: list[int] = []
        older = DirectoryJournalStore(root, "send", "-", "a1b2c3")
        steps = iter(range(100))

        def begin(
            moment: int = moment,
            steps: Any = steps,
            root: StateDirectory = root,
            seen: list[int] = seen,
            clock: FakeClock = clock,
        ) -> None:
            if next(steps) == moment:
                newer = DirectoryJournalStore(root, "send", "-", "d4e5f6")
                seen.append(len(Journal(newer, clock).entries))

        class Stepping(StateDirectory):
            """Lets the later attempt begin before or after each access of the older one."""

            def get(self, key: str, begin: Callable[[], None] = begin) -> Any:
                begin()
                return super().get(key)

            def write(self, key: str, text: str, begin: Callable[[], None] = begin) -> None:
                begin()
                super().write(key, text)
                begin()

        journal = Journal(older, clock)
        older._directory = Stepping(older._directory.root)
        try:
            journal.record_intent([1], content="t")
            has_left = True
        except WatiError:
            has_left = False
        assert not (has_left and seen == [0]), f"both send when the later one begins at step {moment}"
