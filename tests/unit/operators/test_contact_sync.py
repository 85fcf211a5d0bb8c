"""The contact sync as a task: its rows, its lock, its snapshot and its result."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiRejectedError, WatiValidationError
from airflow_provider_wati.operators.contacts import WatiSyncContactsOperator
from airflow_provider_wati.state import lock
from airflow_provider_wati.state.directory import StateDirectory
from airflow_provider_wati.state.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

RunDag = Callable[[DAG], dict[str, Any]]
ROWS = [{"phone": str(919_700_000_000 + n), "name": "Ada", "tier": "gold"} for n in range(4)]
COLUMNS: dict[str, Any] = {
    "phone_column": "phone",
    "name_column": "name",
    "attribute_columns": {"loyalty": "tier"},
}


def sync(rows: Any = None, **options: Any) -> WatiSyncContactsOperator:
    return WatiSyncContactsOperator(task_id="sync", rows=ROWS if rows is None else rows, **COLUMNS | options)


def rendered_fields_of(ti: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return dict(RenderedTaskInstanceFields.get_templated_fields(ti) or {})


def tier(sandbox: Sandbox, n: int) -> str | None:
    person = sandbox.state.by_phone.get(ROWS[n]["phone"])
    return None if person is None else (person.custom_params or {}).get("loyalty")


def writes(sandbox: Sandbox) -> int:
    return len(sandbox.requests("PUT")) + len(sandbox.requests("POST"))


def test_rows_of_an_upstream_task_are_synced_once(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """Rows of an upstream task are written, and cost no call in the second run."""
    outcomes = tmp_path / "{{ run_id | replace(':', '') }}.csv"

    with DAG("sync_customers", schedule=None) as dag:

        @task
        def customers() -> list[dict[str, Any]]:
            return ROWS

        WatiSyncContactsOperator(
            task_id="sync", rows=customers(), state_path=str(tmp_path), outcomes_path=str(outcomes), **COLUMNS
        )

    ti = run_dag(dag)["sync"]
    assert ti.state == "success"
    summary = ti.xcom_pull(task_ids="sync")
    assert (summary["total"], summary["created"], summary["writes"]) == (4, 4, 4)
    assert summary["sync_key"] == "sync_customers/sync"
    with open(summary["outcomes"]) as file:
        written = list(csv.DictReader(file))
    assert [(each["row"], each["target"], each["status"]) for each in written] == [
        (str(n), each["phone"], "created") for n, each in enumerate(ROWS, 1)
    ]
    assert rendered_fields_of(ti)["rows"] == "<4 rows, not shown>"
    assert tier(sandbox, 3) == "gold"

    # The default key is the same for each run, so the next one knows what this one wrote.
    ti = run_dag(dag)["sync"]
    summary = ti.xcom_pull(task_ids="sync")
    assert (summary["unchanged"], summary["calls"]) == (4, 0)


def test_a_failing_sync_has_pushed_its_summary(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """The summary is in XCom also when the task fails."""
    rejected, stopped = tmp_path / "rejected", tmp_path / "stopped"
    sandbox.fault("status", method="POST", status=400, contains=ROWS[1]["phone"])
    sandbox.fault("status", method="POST", status=401, contains=ROWS[3]["phone"])
    with DAG("failing", schedule=None) as dag:
        for rows, path in ((ROWS[:3], rejected), (ROWS[3:], stopped)):
            WatiSyncContactsOperator(task_id=path.name, rows=rows, state_path=str(path), **COLUMNS)
    tis = run_dag(dag)
    summaries = {name: ti.xcom_pull(task_ids=name) for name, ti in tis.items()}
    assert {ti.state for ti in tis.values()} == {"failed"}
    assert (summaries["rejected"]["created"], summaries["rejected"]["rejected"]) == (2, 1)
    assert summaries["stopped"]["unsent"] == 1
    assert ROWS[1]["phone"] not in json.dumps(summaries)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "json"])
def test_rows_come_from_files_and_json(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, suffix: str
) -> None:
    """Rows may be JSON or a CSV, JSONL or Parquet file."""
    path = tmp_path / f"customers.{suffix}"
    rows: Any = str(path)
    if suffix == "csv":
        path.write_text("phone,name,tier\n" + "".join(",".join(each.values()) + "\n" for each in ROWS))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    elif suffix == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        rows = json.dumps(ROWS)
    summary = execute(sync(rows, state_path=str(tmp_path)))
    assert (summary["total"], summary["created"]) == (4, 4)
    assert tier(sandbox, 2) == "gold"


def test_a_subclass_brings_its_rows_and_closes_them_first(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The rows of a subclass are closed before the first call to WATI."""
    events = []

    class FromElsewhere(WatiSyncContactsOperator):
        @contextlib.contextmanager
        def _rows(self, context: Any) -> Iterator[Any]:
            yield iter(ROWS)
            events.append(("closed", len(sandbox.requests())))

    operator = FromElsewhere(task_id="sync", rows=None, state_path=str(tmp_path), **COLUMNS)
    assert execute(operator)["created"] == 4
    assert events == [("closed", 0)]


def test_a_dry_run_is_green_and_writes_nothing(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A dry run has a plan and makes no write."""
    summary = execute(sync(dry_run=True, state_path=str(tmp_path)))
    assert (summary["unsent"], summary["dry_run"], summary["plan"]["to_create"]) == (4, True, 4)
    assert writes(sandbox) == 0
    # What is wrong with the rows is told all the same.
    with pytest.raises(WatiValidationError, match="1 of 5 rows failed"):
        execute(sync([*ROWS, {**ROWS[0], "phone": "?"}], dry_run=True))


def test_the_threshold_decides(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """The task fails when more rows failed than failure_threshold allows."""
    sandbox.fault("status", method="POST", status=400, contains=ROWS[1]["phone"])
    with pytest.raises(WatiRejectedError, match="1 of 4 rows failed"):
        execute(sync())
    summary = execute(sync(failure_threshold=0.25))
    assert (summary["unchanged"], summary["rejected"]) == (3, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "replace"}, "mode is 'replace'"),
        ({"on_removed": "delete"}, "on_removed is 'delete'"),
        ({"max_removed": 20}, "max_removed is 20"),
        ({"failure_threshold": 5}, "failure_threshold is 5"),
        ({"attribute_columns": {"opted_in": "tier"}}, "is consent"),
        ({"attribute_columns": ["tier"]}, "attribute_columns is a dict"),
        ({"outcomes_path": "out.txt"}, "out.txt"),
        ({"rows": 5}, "rows is a dict, a list"),
        ({"on_removed": "clear"}, "state_path"),
    ],
)
def test_a_mistake_is_named_before_any_call(
    execute: Execute, sandbox: Sandbox, options: dict[str, Any], words: str
) -> None:
    """An argument with an error fails the task before the first call."""
    with pytest.raises((WatiValidationError, WatiConfigurationError), match=words):
        execute(sync(**options))
    assert sandbox.requests() == []


def test_the_snapshot_is_kept_in_object_storage(execute: Execute, sandbox: Sandbox, bucket: str) -> None:
    """With a URI as state_path, the snapshot is an object."""
    assert execute(sync(state_path=bucket))["created"] == 4
    done = writes(sandbox)
    assert execute(sync(state_path=bucket))["unchanged"] == 4
    assert execute(sync(ROWS[:2], state_path=bucket, on_removed="clear", max_removed=1))["cleared"] == 2
    assert writes(sandbox) == done + 1


def test_another_account_has_another_snapshot(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """The snapshot of one account is not used for another."""
    execute(sync(state_path=str(tmp_path)))
    sandbox.reset()
    connection = {"conn_type": "wati", "host": f"{sandbox.url}/200002", "password": sandbox.token}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection | {"extra": {"rate_limits": {"*": None}}}))
        assert execute(sync(state_path=str(tmp_path), wati_conn_id="other"))["created"] == 4


# One at a time

HOLDER = """
import sys, time
from airflow_provider_wati.state.directory import StateDirectory
from airflow_provider_wati.state.lock import locked

with locked(StateDirectory(sys.argv[1]), sys.argv[2], "it", "another"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_at_once_are_refused_and_a_killed_one_is_not_waited_for(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A second run fails while the first is running, and a killed run leaves no local lock."""
    execute(sync(state_path=str(tmp_path)))
    [lock] = tmp_path.glob("*.lock")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), lock.stem], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = len(sandbox.requests())
        with pytest.raises(WatiConfigurationError, match="max_active_runs=1"):
            execute(sync(state_path=str(tmp_path)))
        assert len(sandbox.requests()) == before
        # Another sync is none of its business.
        assert execute(sync(state_path=str(tmp_path), sync_key="other"))["unchanged"] == 4
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert execute(sync(state_path=str(tmp_path)))["unchanged"] == 4


def test_a_lease_holds_while_it_is_renewed_and_ends_after_a_crash(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In object storage, the lock is renewed by a living run and expires after a crash."""
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.6)
    directory = StateDirectory(bucket)
    with locked(directory, "sync", "it", "first"):
        time.sleep(1)
        with pytest.raises(WatiConfigurationError, match="pool"), locked(directory, "sync", "it", "second"):
            pass
        left_behind = directory.get("sync_lease")
    with locked(directory, "sync", "it", "second"):
        pass
    directory.set("sync_lease", left_behind | {"until": time.time() + 0.3})
    # Another try of the same task: the one that left it behind is dead.
    with locked(directory, "sync", "it", "first"):
        pass
    directory.set("sync_lease", left_behind | {"until": time.time() + 0.3})
    with pytest.raises(WatiConfigurationError), locked(directory, "sync", "it", "second"):
        pass
    time.sleep(0.35)
    with locked(directory, "sync", "it", "second"):
        pass


def test_two_accounts_without_a_tenant_do_not_share_a_snapshot(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens tell the accounts apart; the sandbox, emptied in between, is one after the other."""
    connection = {"conn_type": "wati", "host": sandbox.url, "password": sandbox.token}
    for name in ("A", "B"):
        monkeypatch.setenv(f"AIRFLOW_CONN_WATI_{name}", json.dumps(connection))
    first = execute(sync(state_path=str(tmp_path), wati_conn_id="wati_a"))
    sandbox.reset(seed=False)
    second = execute(sync(state_path=str(tmp_path), wati_conn_id="wati_b"))
    assert first["total"] == second["created"] == 4


class Rude:
    def __str__(self) -> str:
        raise RuntimeError(ROWS[0]["phone"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": "85264318723\ud800"},
        {"phone": 10**5000},
        {"phone": Rude()},
        {"tier": Rude()},
        {"tier": 10**5000},
        {"name": "Ad\ud800"},
    ],
    ids=["half a character", "long", "rude", "rude value", "long value", "half a name"],
)
def test_a_row_with_an_error_is_the_only_one_that_is_not_synced(
    wrong: dict[str, Any], execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A row with an error is invalid and stops nobody else."""
    rows = [ROWS[0], {**ROWS[1], **wrong}, ROWS[2]]
    outcomes = tmp_path / "outcomes.csv"
    with pytest.raises(WatiValidationError, match="1 of 3 rows failed \\(1 invalid\\)") as raised:
        execute(sync(rows, outcomes_path=str(outcomes)))
    with outcomes.open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["created", "invalid", "created"]
    assert ROWS[0]["phone"] not in str(raised.value)


@pytest.mark.parametrize("key", [None, "None", ""])
def test_a_key_that_renders_to_nothing_is_not_another_sync(
    key: str | None, execute: Execute, sandbox: Sandbox
) -> None:
    """A sync_key whose template renders to nothing fails the task."""
    operator = sync(sync_key="{{ given }}")
    operator.sync_key = key
    with pytest.raises(WatiValidationError, match=f"sync_key was given, and is {key!r} now"):
        execute(operator)
    assert writes(sandbox) == 0
