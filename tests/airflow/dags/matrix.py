"""
The DAGs of ``test_matrix``: one for each accident and store, as ``cells.json`` says.

Each first execution meets what its people are there for: a lost answer is a fault of the sandbox; a bulk send may not
list campaigns in its first execution, so that it cannot reconcile by itself; what was answered fails afterwards where
only a failure brings the task back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, XComArg, task, task_group

from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import WatiCreateContactOperator
from airflow_provider_wati.operators.messages import WatiSendFileOperator, WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator

SHARED = Path(os.environ["TEST_SHARED"])
CELLS = SHARED / "cells.json"

Cell = dict[str, Any]
Context = Any


def is_first(context: Context, what: str) -> bool:
    """Return whether this is asked for the first time about a task, whatever Airflow knows about it."""
    ti, loop = context["ti"], context.get("loop")
    mark = f"{what}.{ti.dag_id}.{ti.task_id}.{ti.map_index}.{loop.index if loop else ''}"
    try:
        (SHARED / "marks" / mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def before(context: Context, *, cell: Cell, is_bulk: bool) -> None:
    """Choose the store, and take the list of campaigns from the first execution of a bulk send."""
    if cell["store"] == "state_path":
        os.environ["AIRFLOW__WATI__STATE_PATH"] = f"{SHARED}/state"
    if is_bulk and is_first(context, "blind"):
        context["task"].wati_conn_id = "wati_blind"


def after(context: Context, result: Any) -> None:
    """Fail once after the work is done."""
    if is_first(context, "failed"):
        raise RuntimeError("The work is done, and the task fails once all the same.")


def note_error(context: Context) -> None:
    """Write down why an attempt failed."""
    ti = context["ti"]
    with (SHARED / "errors" / f"{ti.dag_id}.txt").open("a") as file:
        error = context.get("exception")
        file.write(f"{ti.task_id} [{ti.map_index}] {ti.try_number}: {type(error).__name__}: {error}\n")


def retries_of(cell: Cell) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "retries": 1 if cell["row"] in ("retry", "reschedule", "loop") else 0,
        "retry_delay": timedelta(0),
        "on_failure_callback": note_error,
        "on_retry_callback": note_error,
    }
    if cell["row"] == "reschedule":
        from airflow.sdk import RetryDecision, RetryPolicy

        class Reschedule(RetryPolicy):
            def evaluate(self, *arguments: Any, **more: Any) -> RetryDecision:
                # 3.4.0b2's scheduler ends when a task is queued again before it has heard of its end.
                decision: Any = RetryDecision  # `reschedule` comes with 3.4
                return decision.reschedule(timedelta(seconds=15), max_reschedules=3, reason="a test")

        arguments["retry_policy"] = Reschedule()
    return arguments


def arguments_of(cell: Cell, kind: str, people: list[list[str]]) -> dict[str, Any]:
    """Return what all tasks of a kind have in common."""
    arguments: dict[str, Any] = {"pre_execute": partial(before, cell=cell, is_bulk=kind == "bulk")}
    comes_back = cell["row"] in ("retry", "reschedule", "loop")
    if comes_back and kind != "bulk" and all(fate == "answered" for _, fate in people):
        arguments["post_execute"] = after
    return arguments


def texts(kind: str) -> dict[str, Any]:
    """Return what a single send says."""
    return {
        "text": {"text": "Your parcel is on its way"},
        "file": {"path": f"{SHARED}/invoice.pdf", "caption": "Your invoice"},
        "contact": {"name": "Ada"},
        "chatbot": {"chatbot_name": "Welcome bot"},
    }[kind]


SINGLE: dict[str, tuple[Any, str]] = {
    "text": (WatiSendTextOperator, "target"),
    "file": (WatiSendFileOperator, "target"),
    "contact": (WatiCreateContactOperator, "phone_number"),
    "chatbot": (WatiStartChatbotOperator, "target"),
}


def bulk(cell: Cell, **arguments: Any) -> dict[str, Any]:
    return {
        "template_name": "order_update",
        "campaign_name": cell["dag_id"],
        "target_column": "phone",
        "param_columns": {"name": "phone"},
        "template_params": {"order_id": "1001", "status": "on its way"},
        "batch_size": 2,
        "check_consent": False,
        **arguments,
    }


def rows(people: list[list[str]]) -> list[dict[str, str]]:
    return [{"phone": phone} for phone, _ in people]


def plain(cell: Cell) -> None:
    """One task for a bulk send, and one for each person of the others."""
    for kind, people in cell["people"].items():
        if kind == "bulk":
            arguments = bulk(cell, rows=rows(people), **arguments_of(cell, kind, people))
            WatiBroadcastTemplateOperator(task_id=kind, **arguments)
            continue
        operator, who = SINGLE[kind]
        for n, person in enumerate(people):
            operator(
                task_id=f"{kind}_{n}",
                **{who: person[0]},
                **texts(kind),
                **arguments_of(cell, kind, [person]),
            )


def looped(cell: Cell) -> None:
    """One loop for each kind, with an iteration for each person, or for a part of a bulk send."""
    for kind, people in cell["people"].items():
        _loop(cell, kind, people)


def _loop(cell: Cell, kind: str, people: list[list[str]]) -> None:
    iterations = cell["iterations"][kind]
    arguments = arguments_of(cell, kind, people)

    @task_group(group_id=kind)
    def body() -> None:
        if kind == "bulk":
            size = len(people) // iterations
            parts = [people[n * size : (n + 1) * size] for n in range(iterations)]
            choice = json.dumps([json.dumps(rows(part)) for part in parts])
            template = "{{ " + choice + "[loop.index] }}"
            WatiBroadcastTemplateOperator(task_id="send", **bulk(cell, rows=template, **arguments))
            return
        operator, who = SINGLE[kind]
        phones = json.dumps([phone for phone, _ in people])
        operator(task_id="send", **{who: "{{ " + phones + "[loop.index] }}"}, **texts(kind), **arguments)

    loop: Callable[..., Any] = body.loop  # type: ignore[attr-defined] # Airflow 3.4
    loop(max_iterations=iterations)


def expanded(cell: Cell) -> None:
    """Mapped tasks, whose people come in another order in the second attempt."""

    first, second = [[0, 1], [2, 3], [4, 5]], [[5, 0], [1, 2], [3, 4]]
    if cell["row"] == "grow":
        # The last one is new, and has people of both.
        first, second = [[0, 1, 2], [3, 4, 5]], [[4, 0], [1, 3], [2, 5]]

    @task
    def order(ti: Any = None) -> list[list[int]]:
        return first if ti.try_number == 1 else second

    chosen: Any = order()
    for kind, people in cell["people"].items():
        arguments = arguments_of(cell, kind, people)
        if kind == "bulk":
            chunks: XComArg = chosen.map(chunk_of(people))
            WatiBroadcastTemplateOperator.partial(task_id=kind, **bulk(cell, **arguments)).expand(rows=chunks)
            continue
        operator, who = SINGLE[kind]
        phones: XComArg = chosen.map(phone_of(people))
        operator.partial(task_id=kind, **texts(kind), **arguments).expand(**{who: phones})


def growing(cell: Cell) -> None:
    """Mapped tasks in a run that goes on, with one more of them after a Clear."""

    @task.sensor(mode="reschedule", poke_interval=2, timeout=3_600)
    def hold() -> bool:
        return (SHARED / "marks" / f"released.{cell['dag_id']}").exists()

    hold()
    expanded(cell)


# Airflow stores the source of what maps, so these are plain functions.
def chunk_of(people: list[list[str]]) -> Callable[[list[int]], list[dict[str, str]]]:
    def choose(numbers: list[int]) -> list[dict[str, str]]:
        return rows([people[n] for n in numbers])

    return choose


def phone_of(people: list[list[str]]) -> Callable[[list[int]], str]:
    def choose(numbers: list[int]) -> str:
        return people[numbers[0] // 2][0]

    return choose


BODIES = {"loop": looped, "expand": expanded, "grow": growing}

for cell in json.loads(CELLS.read_text()) if CELLS.exists() else []:
    days: dict[str, Any] = {"schedule": None}
    if cell["row"] == "backfill":
        days = {
            "schedule": "@daily",
            "start_date": datetime(2024, 5, 1, tzinfo=UTC),
            "end_date": datetime(2024, 5, 2, tzinfo=UTC),
            "catchup": False,
        }
    with DAG(cell["dag_id"], default_args=retries_of(cell), **days) as dag:
        BODIES.get(cell["row"], plain)(cell)
    globals()[cell["dag_id"]] = dag
