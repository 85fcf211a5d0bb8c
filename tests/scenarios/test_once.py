"""What a later try knows of the earlier ones, with and without Airflow's store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.exceptions import WatiBadRequestError, WatiError, WatiUnknownOutcomeError
from airflow_provider_wati.operators import _once as module
from airflow_provider_wati.operators._once import once
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

RUN_AFTER = datetime(2026, 11, 22, tzinfo=UTC)
ADA, BOT = "12025550143", "65b7a1c2c4a7b07000000001"


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Client:
    """Stands in for the client as far as it writes down what is about to be sent."""

    @contextmanager
    def before_sends(self, write_down: Callable[[], None]) -> Iterator[None]:
        self.write_down = write_down
        yield


class Task:
    """One task instance over its tries, against a world that counts what was done to it."""

    def __init__(self, store: Store | None, task_id: str = "t") -> None:
        self.store = store
        self.task_id = task_id
        self.try_number = 0
        self.done: list[str] = []
        self.looked: list[datetime] = []

    def run(
        self, *, error: Exception | None = None, acts: bool = True, send_key: str | None = None
    ) -> dict[str, Any]:
        self.try_number += 1
        ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id=self.task_id, map_index=-1, try_number=self.try_number
        )
        context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_after=RUN_AFTER)}
        if self.store is not None:
            context["task_state_store"] = self.store

        client: Any = Client()

        def act() -> dict[str, Any]:
            client.write_down()
            if acts:
                self.done.append("done")
            if error is not None:
                raise error
            return {"id": len(self.done)}

        def look(since: datetime) -> dict[str, Any] | None:
            self.looked.append(since)
            return {"id": len(self.done)} if self.done else None

        return once(context, client, act, look, send_key)


@pytest.fixture
def state_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of the option ``[wati] state_path``."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture(params=["store", "state_path", "no store"])
def any_task(request: pytest.FixtureRequest) -> Task:
    if request.param == "state_path":
        request.getfixturevalue("state_path")
    return Task(Store() if request.param == "store" else None)


@pytest.fixture(params=["store", "state_path"])
def task(request: pytest.FixtureRequest) -> Task:
    """Return a task that remembers: on Airflow 3.3, or with a ``state_path`` where Airflow has no store."""
    if request.param == "state_path":
        request.getfixturevalue("state_path")
    return Task(Store() if request.param == "store" else None)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


def test_the_first_try_acts_without_looking(any_task: Task) -> None:
    assert any_task.run() == {"id": 1}
    assert not any_task.looked


def test_a_clear_after_success_does_nothing_again(any_task: Task) -> None:
    first = any_task.run()
    assert any_task.run() == first
    assert any_task.done == ["done"]


@pytest.mark.parametrize("acts", [True, False])
def test_a_lost_answer_is_looked_for(acts: bool, any_task: Task) -> None:
    with pytest.raises(WatiUnknownOutcomeError):
        any_task.run(error=WatiUnknownOutcomeError("lost"), acts=acts)
    assert any_task.run() == {"id": 1}
    assert any_task.done == ["done"]
    assert any_task.looked


@pytest.mark.parametrize("death", [KeyboardInterrupt(), SystemExit(), RuntimeError("killed")])
def test_a_try_that_died_is_looked_for(death: Exception, any_task: Task) -> None:
    with pytest.raises(type(death)):
        any_task.run(error=death)
    any_task.run()
    assert any_task.done == ["done"]


def test_a_plain_refusal_costs_no_look_where_there_is_a_store(task: Task) -> None:
    with pytest.raises(WatiBadRequestError):
        task.run(error=WatiBadRequestError("closed"), acts=False)
    task.run()
    assert task.done == ["done"]
    assert not task.looked


def test_a_store_that_was_cleared_is_not_taken_for_a_first_try() -> None:
    task = Task(Store())
    task.run()
    assert task.store is not None
    task.store.clear()
    task.run()
    assert task.done == ["done"]
    assert task.looked == [RUN_AFTER]


def test_another_send_key_acts_anew_and_the_same_does_not(task: Task) -> None:
    task.run(send_key="a")
    task.run(send_key="b")
    task.run(send_key="a")
    task.run(send_key="b")
    assert task.done == ["done", "done"]


def test_what_may_not_have_appeared_yet_is_looked_for_twice(task: Task, slept: list[float]) -> None:
    with pytest.raises(WatiUnknownOutcomeError):
        task.run(error=WatiUnknownOutcomeError("lost"), acts=False)
    task.run()
    [pause] = slept
    assert 25 < pause <= 30
    assert len(task.looked) == 2


def test_what_must_have_appeared_is_looked_for_once(
    task: Task, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APPEARS_WITHIN", timedelta(0))
    with pytest.raises(WatiUnknownOutcomeError):
        task.run(error=WatiUnknownOutcomeError("lost"), acts=False)
    task.run()
    assert not slept
    assert len(task.looked) == 1


def test_a_third_try_looks_as_far_back_as_the_first(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APPEARS_WITHIN", timedelta(0))
    for _ in range(2):
        with pytest.raises(WatiUnknownOutcomeError):
            task.run(error=WatiUnknownOutcomeError("lost"), acts=False)
    task.run()
    assert len(set(task.looked)) == 1


def test_tasks_that_share_a_directory_do_not_take_each_other_s_entry(state_path: Path) -> None:
    first, second = Task(None, "a"), Task(None, "b")
    for task in (first, second, first, second):
        task.run(send_key="the same")
    assert (first.done, second.done) == (["done"], ["done"])


def test_the_directory_comes_before_airflow_s_store(state_path: Path) -> None:
    task = Task(Store())
    task.run()
    assert task.store == {}
    assert list(state_path.iterdir())


def test_a_try_that_lives_on_does_not_act_once_the_next_has_begun(state_path: Path) -> None:
    """Its supervisor was killed and it was not: between its intent and its call the next try looks."""
    orphan, successor = Task(None), Task(None)
    successor.try_number = 1
    begin = module._Intent.begin

    def overtaken(intent: Any) -> None:
        orphan_is_here = not successor.done
        if orphan_is_here:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module._Intent, "begin", begin)
                successor.run()
        begin(intent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Intent, "begin", overtaken)
        with pytest.raises(WatiError, match="Another try or task with the same send_key has begun"):
            orphan.run()
    assert (orphan.done, successor.done) == ([], ["done"])


class NoStore(Store):
    """Airflow's store, as it must not be touched where there is a directory."""

    def get(self, *_: Any) -> Any:
        raise AssertionError("Airflow's store was read")


@pytest.fixture
def start(execute: Execute, state_path: Path, at_once: None) -> Callable[..., Any]:
    """Run a try of a task that starts a chatbot, as before Airflow 3.3: all it has is the directory."""
    operator = WatiStartChatbotOperator(task_id="start", target=ADA, chatbot_id=BOT)

    def run(try_number: int, send_key: str | None = None) -> Any:
        operator.send_key = send_key
        return execute(operator, store=NoStore(), try_number=try_number)

    return run


def test_a_chatbot_that_was_refused_is_started_by_the_next_try_and_once(
    start: Callable[..., Any], sandbox: Sandbox
) -> None:
    sandbox.fault("status", status=400, path="*/chatbots/start", count=1)
    with pytest.raises(WatiBadRequestError):
        start(1)
    for try_number in (2, 3):
        assert start(try_number) == {"chatbot_id": BOT}
    assert len(sandbox.texts_to(ADA)) == 1


def test_a_chatbot_in_doubt_is_not_started_again(start: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.fault("drop", path="*/chatbots/start", when="after", count=1)
    for try_number in (1, 2):
        with pytest.raises(AirflowFailException):
            start(try_number)
    assert len(sandbox.texts_to(ADA)) == 1
    start(3, send_key="on purpose")
    assert len(sandbox.texts_to(ADA)) == 2
