"""
The matrix: what Airflow may do to a task, by where its journal is, by what it sends.

``python -m tests.airflow.matrix`` runs it on the installed Airflow and prints it as a table.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.airflow.conftest import Deployment, connection_to, postgres, wait_for
from tests.conftest import Sandbox

AIRFLOW = Version(version("apache-airflow"))
HAS_STORE = Version("3.3") <= AIRFLOW
IS_3_4 = Version("3.4.dev0") <= AIRFLOW

#: What happens to a task. Those of 3.4 come with a reason to leave them out elsewhere.
ROWS = {
    "retry": None,
    "reschedule": "RetryPolicy reschedules without a new try number from Airflow 3.4 on",
    "clear": None,
    "clear_discarding": "Clear discards Airflow's store from 3.4 on",
    "run_clear": None,
    "loop": "task loops come with Airflow 3.4",
    "loop_clear": "task loops come with Airflow 3.4",
    "backfill": None,
    "expand": None,
    "grow": None,
}
STORES = ("airflow", "state_path")
KINDS = ("bulk", "text", "file", "contact", "chatbot")
#: What becomes of somebody's first call: it takes effect and its answer is lost; it is lost before it takes effect; it
#: is answered.
FATES = ("arrived", "absent", "answered")
#: A bulk send has them in batches of two; not both lost ones in a row, or it would stop.
BULK_FATES = ("arrived", "arrived", "answered", "answered", "absent", "absent")
#: Whom single sends go to where time is short.
FEW: dict[str, tuple[str, ...]] = {
    "retry": ("arrived", "absent"),
    "clear": ("arrived", "answered"),
    "run_clear": ("answered",),
    "backfill": ("arrived",),
    "grow": ("arrived", "answered", "answered"),
}
LOOPS = ("loop", "loop_clear")
ITERATIONS = 3
DATE = "2024-05-01"
FINAL = ("success", "failed")
#: Longer than a call may take.
GRACE = 8.0
READ_TIMEOUT = 6.0
#: Seconds that all runs together may take where several suites share the machine.
PATIENCE = 1_200.0

Person = list[str]


def missing_here(row: str, store: str) -> str | None:
    """Return why the installed Airflow has no such cells; None if it has."""
    if store == "airflow" and not HAS_STORE:
        return "Airflow keeps state for tasks from 3.3 on"
    if store == "airflow" and row == "grow":
        return "a Clear that Airflow does not count needs a state_path where it makes more mapped tasks"
    return None if IS_3_4 else ROWS[row]


@dataclass
class Dag:
    """One DAG of the matrix: a row and a store, with people of every kind."""

    row: str
    store: str
    number: int
    is_full: bool
    people: dict[str, list[Person]] = field(default_factory=dict)
    run: str = ""

    @property
    def dag_id(self) -> str:
        return f"{self.row}-{self.store}"

    def __post_init__(self) -> None:
        for n, kind in enumerate(KINDS):
            fates = fates_of(self.row, kind, is_full=self.is_full)
            first = 919_800_000_000 + self.number * 100_000 + n * 1_000
            self.people[kind] = [[str(first + i), fate] for i, fate in enumerate(fates)]

    def as_json(self) -> dict[str, Any]:
        return {
            "dag_id": self.dag_id,
            "row": self.row,
            "store": self.store,
            "people": self.people,
            "iterations": dict.fromkeys(KINDS, ITERATIONS),
        }


def fates_of(row: str, kind: str, *, is_full: bool) -> tuple[str, ...]:
    """Return what becomes of the first call to each person of a cell."""
    if kind == "bulk":
        return BULK_FATES * (ITERATIONS if row in LOOPS else 1)
    if row in LOOPS:
        # A lost start of a chatbot fails for good, and would end the loop.
        return ("answered",) * ITERATIONS if kind == "chatbot" else FATES
    fates = FATES if is_full else FEW.get(row, FATES)
    # Of a start that was answered there is more to see than of a lost one.
    return fates if kind != "chatbot" or is_full else ("answered", *fates[1:])


def refusals_of(row: str, store: str, kind: str, *, is_full: bool) -> int:
    """Return how many tasks of a cell fail by design: WATI does not show whether a chatbot was started."""
    if kind != "chatbot":
        return 0
    fates = fates_of(row, kind, is_full=is_full)
    if store == "airflow":
        if row in ("clear_discarding", "expand"):
            # Nothing within reach of the task remembers a start that was answered.
            return len(fates)
        if row == "loop_clear":
            # All iterations but the first are made without state, and the second one ends the loop.
            return len(fates) - 1
    return sum(fate != "answered" for fate in fates)


@dataclass
class Count:
    """What a cell of the matrix says."""

    twice: int = 0
    lost: int = 0
    stuck: int = 0
    refused: int = 0
    reached: int = 0
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = f" ({self.refused} refused)" if self.refused else ""
        return f"{self.twice} / {self.lost} / {self.stuck}{refused}"


class Matrix:
    """
    Runs all cells at once in one deployment.

    :param sandbox: stands for WATI.
    :param home: an empty directory.
    :param options: further environment of Airflow.
    :param is_full: whether every single send is made for each fate of its first call, not for the most telling ones.
    """

    def __init__(
        self, sandbox: Sandbox, home: Path, options: dict[str, str], *, is_full: bool = True
    ) -> None:
        self.sandbox = sandbox
        self.shared = home / "shared"
        self.home = home / "airflow"
        cells = [
            (row, store)
            for row in ROWS
            for store in STORES
            # What the first of them says without a store is worth seeing too.
            if row == "retry" or (row != "loop_clear" and not missing_here(row, store))
        ]
        self.dags = [Dag(row, store, n, is_full) for n, (row, store) in enumerate(cells)]
        self.counts: dict[tuple[str, str, str], Count] = {}
        #: The people whose first call was to be lost, and was not.
        self.unharmed: list[str] = []
        self._is_struck = False
        #: The try numbers that the tasks of a cell have in the end.
        self.try_numbers: dict[tuple[str, str], set[int]] = {}
        self._losses: dict[int, str] = {}
        self._creates: dict[str, int] = {}
        self._prepare()
        self.airflow = Deployment(self.home, self._connection(), self._options() | options)

    def _prepare(self) -> None:
        for folder in (self.home, self.shared / "marks", self.shared / "errors", self.shared / "state"):
            folder.mkdir(parents=True)
        (self.shared / "invoice.pdf").write_bytes(b"%PDF-1.4 an invoice")
        (self.shared / "cells.json").write_text(json.dumps([dag.as_json() for dag in self.dags]))
        self.sandbox.control(
            "POST",
            "/tokens",
            {"token": "blind", "scopes": ["messagetemplatev3:read", "messagetemplatev3:write"]},
        )
        for dag in self.dags:
            for kind, people in dag.people.items():
                self._prepare_people(kind, people)

    def _prepare_people(self, kind: str, people: list[Person]) -> None:
        if kind in ("text", "file", "chatbot"):
            for phone, _ in people:
                self.sandbox.control("POST", "/inbound", {"phone": phone, "text": "Hello"})
        for n, (phone, fate) in enumerate(people):
            if fate != "answered" and not (kind == "bulk" and n % 2):
                when = "after" if fate == "arrived" else "before"
                loss = self.sandbox.fault("drop", method="POST", contains=phone, count=1, when=when)
                self._losses[loss] = phone
            if kind == "contact":
                # Never acts; it counts the calls.
                counter = self.sandbox.fault("delay", method="POST", contains=phone, probability=0.0)
                self._creates[phone] = counter

    def _connection(self) -> dict[str, Any]:
        return connection_to(self.sandbox, timeouts=(1.0, READ_TIMEOUT))

    def _options(self) -> dict[str, str]:
        blind = connection_to(self.sandbox, token="blind", timeouts=(1.0, READ_TIMEOUT))
        return {
            "TEST_SHARED": str(self.shared),
            "AIRFLOW_CONN_WATI_BLIND": json.dumps(blind),
            "AIRFLOW__WATI__UNKNOWN_GRACE": f"{GRACE:g}",
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
            # 3.4.0b2's scheduler ends when a restarting task misses a heartbeat.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        }

    # The story

    def run(self) -> None:
        """Let everything happen, and count."""
        try:
            self.airflow.start()
            self._start_all()
            self._wait("the first runs")
            fired = self._rules("fired")
            self.unharmed = [phone for rule, phone in self._losses.items() if not fired[rule]]
            self._count(lambda dag: dag.row in ("retry", "reschedule", "loop"), {})
            for dag in self.dags:
                self._strike(dag)
            self._is_struck = True
            self._wait("the runs after what happened to them")
            self._count(lambda dag: dag.row not in ("retry", "reschedule"), {"loop": "loop_clear"})
        finally:
            self.airflow.stop()

    def _start_all(self) -> None:
        for dag in self.dags:
            if dag.row == "backfill":
                self.airflow.backfill(dag.dag_id, DATE)
            else:
                dag.run = self.airflow.trigger(dag.dag_id)

    def _strike(self, dag: Dag) -> None:
        airflow, keep = self.airflow, {"keep_task_state": True} if IS_3_4 else {}
        if dag.row in ("clear", "expand"):
            airflow.clear(dag.dag_id, dag.run, None, **keep)
        elif dag.row == "grow":
            # Airflow counts no such Clear in the run. What it makes within seconds counts as made together.
            time.sleep(15)
            airflow.clear(dag.dag_id, dag.run, None, task_ids=["order", *KINDS], reset_dag_runs=False, **keep)
            (self.shared / "marks" / f"released.{dag.dag_id}").touch()
        elif dag.row == "clear_discarding":
            airflow.clear(dag.dag_id, dag.run, None, keep_task_state=False)
        elif dag.row in ("run_clear", "loop"):
            airflow.clear_run(dag.dag_id, dag.run)
        elif dag.row == "backfill":
            airflow.backfill(dag.dag_id, DATE, reprocess="completed")

    def _wait(self, what: str) -> None:
        for dag in self.dags:
            if dag.row == "backfill":
                wait_for(
                    partial(self.airflow.backfills_are_over, dag.dag_id),
                    f"{what} of {dag.dag_id}",
                    every=1,
                    patience=PATIENCE,
                )
            wait_for(partial(self._is_over, dag), f"{what} of {dag.dag_id}", every=1, patience=PATIENCE)

    def _is_over(self, dag: Dag) -> bool:
        runs = self.airflow.runs(dag.dag_id)
        if len(runs) == 1:
            dag.run = next(iter(runs))
        if dag.row == "grow" and not self._is_struck:
            tasks = [task for task in self.airflow.tasks(dag.dag_id, dag.run) if task["task_id"] != "hold"]
            return bool(tasks) and all(task["state"] in FINAL for task in tasks)
        return bool(runs) and all(state in FINAL for state in runs.values())

    # Counting

    def _count(self, is_counted: Callable[[Dag], bool], names: dict[str, str]) -> None:
        reached = self._reached()
        for dag in filter(is_counted, self.dags):
            row = names.get(dag.row, dag.row)
            tasks = self.airflow.tasks(dag.dag_id, dag.run)
            self.try_numbers[row, dag.store] = {task["try_number"] for task in tasks}
            for kind in KINDS:
                self.counts[row, dag.store, kind] = self._count_cell(dag, kind, tasks, reached)

    def _reached(self) -> Counter[str]:
        """Count what each person has got: messages, or creates of their contact."""
        reached = Counter(self.sandbox.state.sent_per_phone())
        seen = self._rules("seen")
        for dag in self.dags:
            for phone, fate in dag.people["contact"]:
                reached[phone] = seen[self._creates[phone]] - (fate == "absent")
        return reached

    def _rules(self, what: str) -> dict[int, int]:
        """Return how often each rule of the sandbox was seen or fired."""
        return {rule["id"]: rule[what] for rule in self.sandbox.control("GET", "/faults")["faults"]}

    def _count_cell(self, dag: Dag, kind: str, tasks: list[dict[str, Any]], reached: Counter[str]) -> Count:
        mine = [task for task in tasks if task["task_id"].split("_")[0].split(".")[0] == kind]
        mine = [task for task in mine if "__loop_gate" not in task["task_id"]]
        people = dag.people[kind]
        expected = {"loop": ITERATIONS, "expand": 3, "grow": 3}.get(
            dag.row, 1 if kind == "bulk" else len(people)
        )
        unfinished = [task for task in mine if task["state"] != "success"]
        red = len(unfinished) + expected - len(mine)
        count = Count()
        count.reached = sum(reached[phone] > 0 for phone, _ in people)
        count.twice = sum(reached[phone] > 1 for phone, _ in people)
        green = {task["task_id"] for task in mine if task["state"] == "success"}
        count.lost = sum(
            reached[phone] < 1 and (not red or f"{kind}_{n}" in green) for n, (phone, _) in enumerate(people)
        )
        count.errors = self._errors(dag, kind)
        if kind == "chatbot":
            count.refused = red
        else:
            count.stuck = red
        return count

    def _errors(self, dag: Dag, kind: str) -> list[str]:
        path = self.shared / "errors" / f"{dag.dag_id}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(kind)]

    def table(self) -> str:
        """Return the counts as a table in markdown."""
        lines = [
            f"Airflow {AIRFLOW}. Each cell: twice / lost / stuck.",
            "",
            "| what happens | store | " + " | ".join(KINDS) + " |",
            "|" + "---|" * (len(KINDS) + 2),
        ]
        for row, store in ((row, store) for row in ROWS for store in STORES):
            cells = [self.counts.get((row, store, kind)) for kind in KINDS]
            shown = ["-" if cell is None else str(cell) for cell in cells]
            lines.append(f"| {row} | {store} | " + " | ".join(shown) + " |")
        return "\n".join(lines)


def run_matrix(home: Path, *, is_full: bool = True) -> Matrix:
    with Sandbox() as sandbox, postgres() as options:
        assert isinstance(sandbox, Sandbox)
        matrix = Matrix(sandbox, home, options, is_full=is_full)
        matrix.run()
        return matrix


def _main() -> None:
    home = Path(tempfile.mkdtemp(prefix="wati-matrix-"))
    began = time.monotonic()
    matrix = run_matrix(home, is_full="--few" not in sys.argv)
    print(matrix.table())
    for cell, count in matrix.counts.items():
        if count.twice or count.lost or count.stuck or count.refused:
            print(*cell, *count.errors, sep="\n  ")
    print(f"\n{time.monotonic() - began:.0f} s, in {home}")


if __name__ == "__main__":
    _main()
