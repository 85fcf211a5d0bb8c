"""What a later try knows of the earlier ones, with and without Airflow's store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiBadRequestError, WatiUnknownOutcomeError
from airflow_provider_wati.operators import once as module
from airflow_provider_wati.operators.once import once

RUN_AFTER = datetime(2026, 11, 22, tzinfo=UTC)


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Task:
    """One task instance over its tries, against a world that counts what was done to it."""

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.try_number = 0
        self.done: list[str] = []
        self.looked: list[datetime] = []

    def run(
        self, *, error: Exception | None = None, acts: bool = True, send_key: str | None = None
    ) -> dict[str, Any]:
        self.try_number += 1
        ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=self.try_number)
        context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_after=RUN_AFTER)}
        if self.store is not None:
            context["task_state_store"] = self.store

        def act() -> dict[str, Any]:
            if acts:
                self.done.append("done")
            if error is not None:
                raise error
            return {"id": len(self.done)}

        def look(since: datetime) -> dict[str, Any] | None:
            self.looked.append(since)
            return {"id": len(self.done)} if self.done else None

        return once(context, act, look, send_key)


@pytest.fixture(params=["store", "no store"])
def any_task(request: pytest.FixtureRequest) -> Task:
    return Task(Store() if request.param == "store" else None)


@pytest.fixture
def task() -> Task:
    return Task(Store())


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


def test_a_store_that_was_cleared_is_not_taken_for_a_first_try(task: Task) -> None:
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
