"""Template sends as tasks of real Airflow: what Clear, a new key, a backfill and a mapped task send."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.operators.templates import (
    WatiBroadcastTemplateOperator,
    WatiScheduleTemplateOperator,
    WatiSendTemplateOperator,
)
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from tests.conftest import needs_task_state_store, write_to_database

if TYPE_CHECKING:
    from tests.conftest import Sandbox

RunDag = Callable[[DAG], dict[str, Any]]
Clear = Callable[[DAG, Any], Any]

FIRST = 919_800_000_001
PHONES = [str(FIRST + n) for n in range(5)]
NOT_A_NUMBER = "12"


@pytest.fixture(params=[pytest.param("task_state_store", marks=needs_task_state_store), "state_path"])
def state_path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the journal is: both places have to do the same."""
    return str(tmp_path / "state") if request.param == "state_path" else None


@pytest.fixture(autouse=True)
def quick(at_once: None) -> None:
    pass


def row(phone: str) -> dict[str, str]:
    return {"phone": phone, "name": "Ada", "id": "1001"}


def broadcast(**arguments: Any) -> dict[str, Any]:
    """The arguments of a broadcast in batches of two."""
    return {
        "task_id": "send",
        "template_name": "order_update",
        "target_column": "phone",
        "param_columns": {"name": "name", "order_id": "id"},
        "template_params": {"status": "on its way"},
        "batch_size": 2,
        "check_consent": False,
        **arguments,
    }


def sends_of(sandbox: Sandbox) -> dict[str, int]:
    return sandbox.state.sent_per_phone()


def calls_of(sandbox: Sandbox) -> list[str]:
    """The calls since the last look."""
    calls = sandbox.requests()
    sandbox.control("DELETE", "/requests")
    return calls


def result_of(ti: Any) -> dict[str, Any]:
    return dict(ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index))


def test_clear_sends_nothing_and_reads_no_list_of_people(
    run_dag: RunDag, sandbox: Sandbox, clear: Clear, state_path: str | None
) -> None:
    """A cleared send that was finished costs the look-up of its template and nothing else."""
    with DAG("cleared") as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(rows=[row(phone) for phone in PHONES], state_path=state_path)
        )
    first = run_dag(dag)["send"]
    before = result_of(first)
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1)
    calls_of(sandbox)
    again = clear(dag, first)
    assert (again.state, again.try_number) == ("success", 2)
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1)
    assert calls_of(sandbox) == ["GET /api/ext/v3/messageTemplates"]
    after = result_of(again)
    assert (before["accepted"], before["calls"]) == (5, 3)
    assert (after["accepted"], after["calls"], after["earlier"]) == (5, 0, 0)
    assert {each["id"] for each in after["campaigns"]} == {each["id"] for each in before["campaigns"]}


def test_a_new_key_sends_again(run_dag: RunDag, sandbox: Sandbox, clear: Clear, tmp_path: Path) -> None:
    """Each key of the user's is a send of its own, and is found again."""

    def dag_of(send_key: str) -> DAG:
        with DAG("new_key") as dag:
            WatiBroadcastTemplateOperator(
                **broadcast(
                    rows=[row(phone) for phone in PHONES], send_key=send_key, state_path=str(tmp_path)
                )
            )
        return dag

    ti = run_dag(dag_of("a"))["send"]
    for sends, send_key in ((1, "a"), (2, "b"), (2, "a"), (2, "b")):
        assert clear(dag_of(send_key), ti).state == "success"
        assert sends_of(sandbox) == dict.fromkeys(PHONES, sends), send_key


def test_two_runs_of_a_backfill_do_not_collide(
    run_dag: RunDag, sandbox: Sandbox, clear: Clear, state_path: str | None
) -> None:
    """Each run sends its own messages, once, also when it is cleared."""
    with DAG("backfilled", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(rows=[row(phone) for phone in PHONES], state_path=state_path)
        )
    write_to_database(dag)
    tis = [
        dag.test(logical_date=datetime(2026, 1, day, tzinfo=UTC)).get_task_instances()[0] for day in (1, 2)
    ]
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 2)
    keys = {result_of(ti)["send_key"] for ti in tis}
    assert len(keys) == 2
    for ti in tis:
        assert clear(dag, ti).state == "success"
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 2)


def test_a_key_that_runs_share_sends_once(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """A second run with the key of the first one sends nothing."""
    with DAG("shared_key") as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(
                rows=[row(phone) for phone in PHONES], send_key="promo-{{ 'a' }}", state_path=str(tmp_path)
            )
        )
    results = [result_of(run_dag(dag)["send"]) for _ in range(2)]
    assert [(result["accepted"], result["calls"]) for result in results] == [(5, 3), (5, 0)]
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_call_is_looked_for_by_the_next_run_with_its_key(
    when: str, run_dag: RunDag, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is killed in its second call, and the next run finds the call or makes it."""
    from requests import Session

    send = Session.request

    def dies(session: Session, method: str, url: str, **options: Any) -> Any:
        if method == "POST" and len(sandbox.state.broadcasts) == 1:
            if when == "after":
                send(session, method, url, **options)
            raise SystemExit("killed")
        return send(session, method, url, **options)

    with DAG("shared_and_killed") as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(
                rows=[row(phone) for phone in PHONES], send_key="promo", state_path=str(tmp_path / "state")
            )
        )
    with monkeypatch.context() as patch:
        patch.setattr(Session, "request", dies)
        assert run_dag(dag)["send"].state == "failed"
    assert set(sends_of(sandbox)) == set(PHONES[: 2 if when == "before" else 4])
    ti = run_dag(dag)["send"]
    assert ti.state == "success"
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1)
    assert result_of(ti)["accepted"] == 5


def test_each_chunk_of_a_mapped_task_is_a_send_of_its_own(
    run_dag: RunDag, sandbox: Sandbox, clear: Clear, state_path: str | None
) -> None:
    """A person in two chunks is messaged by both, and a Clear of one sends nothing."""
    with DAG("mapped_sends") as dag:

        @task
        def chunks() -> list[list[dict[str, str]]]:
            return [[row(phone) for phone in PHONES[:3]], [row(phone) for phone in PHONES[2:]]]

        arguments = broadcast(state_path=state_path)
        WatiBroadcastTemplateOperator.partial(**arguments).expand(rows=chunks())
    tis = run_dag(dag)
    results = [result_of(tis[f"send[{n}]"]) for n in (0, 1)]
    assert [(result["accepted"], result["calls"]) for result in results] == [(3, 2), (3, 2)]
    in_both = {PHONES[2]: 2}
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1) | in_both
    assert clear(dag, tis["send[1]"]).state == "success"
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1) | in_both


def test_what_airflow_stores_shows_no_people(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """Rendered fields and XComs show how many rows there are, and no phone number."""
    rows = [row(phone) for phone in PHONES]
    recipients = [{"target": phone} for phone in PHONES]
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    uri = f"{tmp_path}/rows.csv"
    write_rows(Path(uri))
    with DAG("stored") as dag:

        @task
        def read() -> list[dict[str, str]]:
            return rows

        WatiBroadcastTemplateOperator(
            **broadcast(
                task_id="rows",
                rows=read(),
                suppress=PHONES[:1],
                send_key="{{ 'a' }}",
                state_path=f"{tmp_path}/state",
            )
        )
        WatiBroadcastTemplateOperator(**broadcast(task_id="text", rows=json.dumps(rows)))
        WatiBroadcastTemplateOperator(**broadcast(task_id="file", rows=uri, failure_threshold=0.5))
        WatiSendTemplateOperator(
            task_id="recipients", template_name="welcome", recipients=recipients, check_consent=False
        )
        WatiScheduleTemplateOperator(
            task_id="schedule",
            template_name="welcome",
            recipients=json.dumps(recipients),
            scheduled_at=f"{{{{ '{later}' }}}}",
            check_consent=False,
        )
    tis = run_dag(dag)
    assert {ti.state for ti in tis.values()} == {"success"}
    stored = {name: rendered_fields_of(ti) for name, ti in tis.items()}
    assert stored["rows"]["rows"] == "<5 rows, not shown>"
    assert stored["rows"]["suppress"] == "<1 rows, not shown>"
    assert stored["rows"]["send_key"] == "a"
    assert stored["file"]["rows"] == uri
    assert stored["recipients"]["recipients"] == "<5 rows, not shown>"
    assert stored["schedule"]["scheduled_at"] == later
    for phone in PHONES:
        assert phone not in json.dumps(
            [stored, [result_of(ti) for name, ti in tis.items() if name != "read"]]
        )


def rendered_fields_of(ti: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return dict(RenderedTaskInstanceFields.get_templated_fields(ti) or {})


def write_rows(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["phone", "name", "id"])
        writer.writeheader()
        writer.writerows(map(row, [*PHONES, NOT_A_NUMBER]))


def read_outcomes(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
        return
    with path.open(newline="") as file:
        yield from csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_task_that_fails_leaves_its_counts_and_every_row(
    suffix: str, run_dag: RunDag, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Summary and outcomes of a failed task are there and add up."""
    rows, outcomes = tmp_path / "rows.csv", tmp_path / f"{{{{ 'out' }}}}.{suffix}"
    write_rows(rows)
    sandbox.fault("recipient_errors", numbers=PHONES[:1], errors=["Blocked"])
    with DAG("failed_send") as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(rows=str(rows), outcomes_path=str(outcomes), suppress=PHONES[1:2])
        )
    ti = run_dag(dag)["send"]
    assert ti.state == "failed"
    result = result_of(ti)
    counts = {
        name: result[name] for name in ("accepted", "rejected", "invalid", "skipped", "unknown", "unsent")
    }
    assert counts == {"accepted": 3, "rejected": 1, "invalid": 1, "skipped": 1, "unknown": 0, "unsent": 0}
    assert result["total"] == sum(counts.values())
    assert result["outcomes"] == f"{tmp_path}/out.{suffix}"
    assert [problem["status"] for problem in result["problems"]] == ["rejected", "invalid"]
    written = list(read_outcomes(tmp_path / f"out.{suffix}"))
    assert list(written[0]) == list(SEND_COLUMNS)
    assert Counter(each["status"] for each in written) == +Counter(counts)
    by_target = {each["target"]: each for each in written}
    assert by_target[PHONES[0]]["status"] == "rejected"
    assert "Blocked" in by_target[PHONES[0]]["reason"]
    assert by_target[PHONES[1]]["status"] == "skipped"
    assert by_target[PHONES[2]]["campaign_id"] in {broadcast.id for broadcast in sandbox.state.broadcasts}


def test_a_retry_sends_to_those_that_are_missing(
    run_dag: RunDag, sandbox: Sandbox, state_path: str | None
) -> None:
    """A retry sends to the person who was refused, and to nobody else."""
    sandbox.fault(
        "recipient_errors", path="*messageTemplates/send", numbers=PHONES[:1], errors=["Blocked"], count=1
    )
    with DAG("tried_again") as dag:
        WatiBroadcastTemplateOperator(
            **broadcast(rows=[row(phone) for phone in PHONES], state_path=state_path),
            retries=1,
            retry_delay=timedelta(0),
        )
    ti = run_dag(dag)["send"]
    assert (ti.state, ti.try_number) == ("success", 2)
    assert sends_of(sandbox) == dict.fromkeys(PHONES, 1)
    assert (result_of(ti)["accepted"], result_of(ti)["calls"]) == (5, 1)
