"""WatiBroadcastTemplateOperator: rows, options, summary and outcomes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConfigurationError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator as Broadcast
from tests.conftest import Sandbox
from tests.support.tasks import Execute, Store, rendered_fields

if TYPE_CHECKING:
    from tests.support.clock import SkippingClock

RunDag = Callable[[DAG], dict[str, Any]]

ADA, BEN, NEW, OTHER = "12025550143", "12025550144", "85264318721", "85264318722"
COLUMNS = ["phone", "first_name", "id"]
TABLE = [[NEW, "Ada", "1001"], [OTHER, "Ben", "1002"]]
DICTS = [dict(zip(COLUMNS, row, strict=True)) for row in TABLE]
SENT = {NEW: "Hi Ada, your order 1001 is packed.", OTHER: "Hi Ben, your order 1002 is packed."}
MAPPED: dict[str, Any] = {
    "template_name": "order_update",
    "target_column": "phone",
    "param_columns": {"name": "first_name", "order_id": "id"},
    "template_params": {"status": "packed"},
}
OUTCOME = ["row", "key", "target", "status", "reason", "local_message_id", "campaign_id", "campaign_name"]


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Real Airflow has a sandbox of the test's own, what is executed without a DAG that of the module."""
    if "run_dag" in request.fixturenames:
        return request.getfixturevalue("_own_sandbox")
    return request.getfixturevalue("quick_sandbox")


@pytest.fixture
def _own_sandbox() -> Any:
    with Sandbox() as server:
        yield server


def broadcast(**more: Any) -> Broadcast:
    return Broadcast(**{"task_id": "a", "rows": DICTS, **MAPPED, **more})


def sent(sandbox: Sandbox) -> dict[str, str]:
    """The one message that each of two people got."""
    texts = {}
    for phone in (NEW, OTHER):
        [texts[phone]] = sandbox.texts_to(phone)
    return texts


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *TABLE])


def write_jsonl(path: Path) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in DICTS))


def write_parquet(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(DICTS), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


# Where the rows come from


@pytest.mark.parametrize(
    "rows", [DICTS, tuple(DICTS), json.dumps(DICTS), iter(DICTS)], ids=["list", "tuple", "json", "iterator"]
)
def test_rows_of_dicts(rows: Any, execute: Execute, sandbox: Sandbox) -> None:
    """Columns of dicts become the target and the parameters."""
    summary = execute(broadcast(rows=rows))
    assert (summary["total"], summary["accepted"], summary["calls"]) == (2, 2, 1)
    assert sent(sandbox) == SENT


@pytest.mark.parametrize("rows", [DICTS[0], json.dumps(DICTS[0])], ids=["dict", "json dict"])
def test_one_dict_is_one_row(rows: Any, execute: Execute, sandbox: Sandbox) -> None:
    """A single dict is one row."""
    assert execute(broadcast(rows=rows))["accepted"] == 1
    assert sandbox.texts_to(NEW) == [SENT[NEW]]


def test_rows_of_tuples_have_positions_for_columns(execute: Execute, sandbox: Sandbox) -> None:
    """Columns of tuples are given by position."""
    execute(broadcast(rows=TABLE, target_column=0, param_columns={"name": 1, "order_id": 2}, key_column=2))
    assert sent(sandbox) == SENT


@pytest.mark.parametrize("as_uri", [True, False], ids=["uri", "path"])
@pytest.mark.parametrize("kind", WRITERS)
def test_rows_of_a_file(kind: str, as_uri: bool, execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """CSV, JSONL and Parquet files give the same messages."""
    path = tmp_path / f"orders.{kind}"
    WRITERS[kind](path)
    assert execute(broadcast(rows=f"file://{path}" if as_uri else str(path)))["accepted"] == 2
    assert sent(sandbox) == SENT


ROWS = b"phone,first_name,id\n85264318721,Ada,1\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "short.csv",
            ROWS + b"85264318723,Cleo\n",
            ": line 3 of the CSV file has 2 fields, and its header 3",
        ),
        ("latin.csv", ROWS + "85264318723,Zoë,2\n".encode("latin-1"), " is not UTF-8: save it as UTF-8"),
        ("wide.csv", ROWS.decode().encode("utf-16"), " is not UTF-8"),
        ("broken.jsonl", b'{"phone": "85264318721"\n', ": line 1 of the file is not a JSON object"),
        ("zeros.parquet", bytes(1_000), ": the file does not have the format of its suffix, or is damaged"),
    ],
)
def test_a_broken_file_sends_nothing(
    name: str, content: bytes, says: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A damaged file fails the task before the first message, and the error shows nobody."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WatiValidationError, match=f"{path}{says}") as refused:
        execute(broadcast(rows=str(path)))
    assert "8526431872" not in str(refused.value)
    assert sandbox.requests("POST") == []


def test_a_long_field_of_a_file_makes_its_own_row_invalid(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A CSV field over 131,072 characters does not stop the people in the other rows."""
    path = tmp_path / "long.csv"
    path.write_bytes(ROWS + b"8" * 200_000 + b",Ben,2\n")
    summary = execute(broadcast(rows=str(path), failure_threshold=0.5))
    assert (summary["accepted"], summary["invalid"]) == (1, 1)


def test_a_missing_file_is_named(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A missing file fails the task with its path."""
    with pytest.raises(FileNotFoundError, match="none.csv"):
        execute(broadcast(rows=str(tmp_path / "none.csv")))
    assert sandbox.requests("POST") == []


def test_an_unreadable_suppression_list_sends_nothing(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Without the suppression list, nobody is messaged."""
    path = tmp_path / "suppress.txt"
    path.write_bytes("Zoë\n".encode("latin-1"))
    with pytest.raises(WatiValidationError, match=f"{path} is not UTF-8"):
        execute(broadcast(suppress=str(path)))
    assert sandbox.requests("POST") == []


def test_values_of_a_table_become_text(execute: Execute, sandbox: Sandbox) -> None:
    """Each type of value reaches WATI as its text."""
    rows = [
        {"phone": f"+852 6431 87{n}", "name": name, "id": value}
        for n, (name, value) in enumerate([("a", 7), ("b", 7.5), ("c", Decimal("10.50")), ("d", True)], 21)
    ]
    rows.append({"phone": "85264318725", "name": "e", "id": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)})
    execute(broadcast(rows=rows, param_columns={"name": "name", "order_id": "id"}))
    written = [sandbox.texts_to(f"852643187{n}")[0].split()[4] for n in range(21, 26)]
    assert written == ["7", "7.5", "10.50", "true", "2026-01-02T03:04:00+00:00"]


def test_phone_numbers_are_read_by_the_region_of_the_connection(
    execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """National phone numbers get the country code of default_region."""
    rows = [{"phone": "098765 43210", "first_name": "Ada", "id": "1"}]
    with pytest.raises(WatiValidationError, match="no country code: write it, or set default_region"):
        execute(broadcast(rows=rows))
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"]["default_region"] = "IN"
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    assert execute(broadcast(rows=rows))["accepted"] == 1
    assert len(sandbox.texts_to("919876543210")) == 1


def test_a_missing_column_is_named_with_the_existing_ones(execute: Execute, sandbox: Sandbox) -> None:
    """The reason for a missing column names the columns of the row."""
    with pytest.raises(
        WatiValidationError, match="no column 'mobile' in it; there are 'phone', 'first_name'"
    ):
        execute(broadcast(target_column="mobile"))
    assert sandbox.requests("POST") == []


def test_upstream_output_files_and_chunks_in_airflow(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Rows come from upstream tasks, files and mapped chunks in real Airflow."""
    write_csv(tmp_path / "orders.csv")
    with DAG("sources") as dag:

        @task
        def orders() -> list[dict[str, str]]:
            return DICTS

        @task
        def chunks() -> list[list[dict[str, str]]]:
            return [[row] for row in DICTS]

        Broadcast(task_id="xcom", rows=orders(), **MAPPED)
        Broadcast(task_id="file", rows=f"{tmp_path}/{{{{ 'orders' }}}}.csv", **MAPPED)
        Broadcast.partial(task_id="chunk", **MAPPED).expand(rows=chunks())
        Broadcast(
            task_id="constants",
            rows=DICTS,
            **{**MAPPED, "template_params": {"status": "{{ 'on its' }} way"}},
        )
    tis = run_dag(dag)
    assert {ti.state for ti in tis.values()} == {"success"}
    summaries = {
        name: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for name, ti in tis.items()
    }
    assert {name: summary["accepted"] for name, summary in summaries.items() if "accepted" in summary} == {
        "xcom": 2,
        "file": 2,
        "chunk[0]": 1,
        "chunk[1]": 1,
        "constants": 2,
    }
    texts = sorted(sandbox.texts_to(NEW))
    assert texts == [*["Hi Ada, your order 1001 is on its way."], *[SENT[NEW]] * 3]


def test_airflow_stores_neither_rows_nor_suppressed_people(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Rendered fields have the size of the rows, not their content."""
    with DAG("unshown") as dag:
        Broadcast(task_id="rows", rows=DICTS, suppress=[BEN], **MAPPED)
        Broadcast(task_id="text", rows=json.dumps(DICTS), **MAPPED)
    assert {ti.state for ti in run_dag(dag).values()} == {"success"}
    stored = rendered_fields("unshown")
    assert (stored["rows"]["rows"], stored["rows"]["suppress"]) == (
        "<2 rows, not shown>",
        "<1 rows, not shown>",
    )
    assert stored["text"]["rows"].startswith("<text of ")
    for phone in (NEW, OTHER, BEN):
        assert phone not in str(stored)


# People who are left out


def test_a_key_column_makes_two_messages_to_one_person_distinct(execute: Execute, sandbox: Sandbox) -> None:
    """A person in two rows is messaged once without a key column, and twice with two keys."""
    rows = [*DICTS, {**DICTS[0], "id": "1003"}]
    summary = execute(broadcast(rows=rows))
    assert (summary["total"], summary["accepted"], summary["skipped"]) == (3, 2, 1)
    assert sent(sandbox) == SENT
    summary = execute(broadcast(task_id="b", rows=rows, key_column="id"))
    assert (summary["total"], summary["accepted"], summary["skipped"]) == (3, 3, 0)


@pytest.mark.parametrize("how", ["list", "tuple", "file"])
def test_suppressed_people_get_nothing(how: str, execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """People in the suppression list are skipped."""
    (tmp_path / "stop.txt").write_text(f"+852 6431 8722\n\n{BEN}\n")
    given: Any = {"list": [OTHER, BEN], "tuple": (f"+{OTHER}",), "file": f"file://{tmp_path}/stop.txt"}[how]
    summary = execute(broadcast(suppress=given))
    assert (summary["accepted"], summary["skipped"]) == (1, 1)
    assert (len(sandbox.texts_to(NEW)), sandbox.texts_to(OTHER)) == (1, [])


def test_a_suppression_list_that_is_missing_or_misspelt_sends_nothing(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An unreadable entry of the suppression list stops the send."""
    (tmp_path / "stop.txt").write_text(f"{OTHER}\nnobody\n")
    with pytest.raises(WatiValidationError, match="Entry 2 of suppress cannot be read"):
        execute(broadcast(suppress=f"{tmp_path}/stop.txt"))
    with pytest.raises(FileNotFoundError):
        execute(broadcast(suppress=f"{tmp_path}/gone.txt"))
    assert sandbox.requests("POST") == []


@pytest.mark.parametrize("people", [1, 2, 40])
def test_who_opted_out_gets_nothing(people: int, execute: Execute, sandbox: Sandbox) -> None:
    """One person is looked up, many are found in a listing; either way the same one is left out."""
    [out] = [c.phone for c in sandbox.state.contacts.values() if c.allow_broadcast is False]
    rows = [{"phone": out, "first_name": "Eva", "id": "1"}]
    rows += [{"phone": f"852643187{n:02}", "first_name": "A", "id": "1"} for n in range(people - 1)]
    summary = execute(broadcast(rows=rows))
    assert (summary["accepted"], summary["skipped"]) == (people - 1, 1)
    assert sandbox.texts_to(str(out)) == []
    reads = len(sandbox.requests("GET"))
    assert execute(broadcast(task_id="b", rows=rows, check_consent=False))["accepted"] == people
    assert len(sandbox.requests("GET")) - reads == 1


def test_a_consent_look_up_over_its_limit_sends_nothing(execute: Execute, sandbox: Sandbox) -> None:
    """A look-up of consent over consent_max_calls stops the send before it."""
    with pytest.raises(WatiValidationError, match=r"takes 1 calls, and consent_max_calls is 0"):
        execute(broadcast(consent_max_calls=0))
    sandbox.fault("status", status=403, method="GET", path="*/contacts*")
    with pytest.raises(WatiPermissionError, match="set check_consent=False"):
        execute(broadcast())
    assert sandbox.requests("POST") == []


# What it tells


@pytest.mark.parametrize("kind", WRITERS)
def test_outcomes_hold_every_row(kind: str, execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """The outcomes file has every row, with campaign and local message id."""
    sandbox.fault("recipient_errors", numbers=[OTHER])
    rows = [*DICTS, {"phone": "12", "first_name": "C", "id": "1003"}, {**DICTS[0], "id": "1004"}]
    path = tmp_path / f"outcomes.{kind}"
    operator = broadcast(rows=rows, outcomes_path=f"file://{path}", failure_threshold=0.9)
    summary = execute(operator)
    assert summary["outcomes"] == f"file://{path}"
    if kind == "parquet":
        from pyarrow import parquet

        outcomes = parquet.read_table(path).to_pylist()
    elif kind == "csv":
        with path.open(newline="") as file:
            outcomes = [{**row, "row": int(row["row"])} for row in csv.DictReader(file)]
    else:
        outcomes = [json.loads(line) for line in path.read_text().splitlines()]
    assert list(outcomes[0]) == OUTCOME
    assert [(o["row"], o["target"], o["status"]) for o in outcomes] == [
        (1, NEW, "accepted"),
        (2, OTHER, "rejected"),
        (3, "12", "invalid"),
        (4, NEW, "skipped"),
    ]
    campaign = sandbox.state.broadcasts[0]
    assert (outcomes[0]["campaign_id"], outcomes[0]["campaign_name"]) == (campaign.id, campaign.name)
    assert all(bool(o["reason"]) == (o["status"] != "accepted") for o in outcomes)
    counts = {name: summary[name] for name in ("accepted", "rejected", "invalid", "skipped")}
    assert counts == {"accepted": 1, "rejected": 1, "invalid": 1, "skipped": 1}
    assert [problem["target"] for problem in summary["problems"]] == ["*******8722", "12"]


def test_outcomes_are_written_when_the_task_fails(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A failed send writes its outcomes too."""
    sandbox.fault("recipient_errors", numbers=[OTHER])
    with pytest.raises(WatiRejectedError, match=r"1 of 2 rows failed \(1 rejected\).*row 2 \(\*+8722\)"):
        execute(broadcast(outcomes_path=str(tmp_path / "a.csv")))
    assert (tmp_path / "a.csv").read_text().count("rejected") == 1
    sandbox.fault("status", status=401, method="POST")
    with pytest.raises(WatiAuthenticationError, match="401"):
        execute(broadcast(task_id="b", outcomes_path=str(tmp_path / "b.csv"), batch_size=1))
    assert (tmp_path / "b.csv").read_text().count("not attempted: ") == 2


@pytest.mark.parametrize(
    ("threshold", "refused", "green"),
    [(0.0, 0, True), (0.0, 1, False), (0.5, 1, True), (0.49, 1, False), (1.0, 1, True), (1.0, 2, False)],
)
def test_failure_threshold_decides(
    threshold: float, refused: int, green: bool, execute: Execute, sandbox: Sandbox
) -> None:
    """The task fails when more rows failed than failure_threshold allows."""
    sandbox.fault("recipient_errors", numbers=[NEW, OTHER][:refused])
    operator = broadcast(failure_threshold=threshold)
    if green:
        assert execute(operator)["rejected"] == refused
        return
    says = "Nothing was done" if refused == 2 else "failure_threshold"
    with pytest.raises(WatiRejectedError, match=says):
        execute(operator)


def test_a_dry_run_estimates_and_sends_nothing(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A dry run has an estimate and sends nothing."""
    rows = [
        {"phone": ADA, "first_name": "Ada", "id": "1"},
        {"phone": BEN, "first_name": "Ben", "id": "2"},
        {"phone": BEN, "first_name": "Ben", "id": "3"},
    ]
    store = Store()
    operator = broadcast(rows=rows, dry_run=True, batch_size=1, outcomes_path=str(tmp_path / "a.csv"))
    summary = execute(operator, store=store)
    estimate = summary["estimate"]
    assert (estimate["messages"], estimate["calls"]) == (2, 2)
    assert estimate["seconds"] >= 0
    assert estimate["estimated_cost"] > 0
    assert (summary["total"], summary["unsent"], summary["skipped"], summary["calls"]) == (3, 2, 1, 0)
    assert (tmp_path / "a.csv").read_text().count("dry run") == 2
    # WATI's estimate is a POST that sends nothing.
    assert all("template" not in request.lower() for request in sandbox.requests("POST"))
    assert sandbox.state.broadcasts == []
    # A dry run under the same key sends nothing, so everything is still to be sent.
    operator.is_dry_run = False
    assert execute(operator, store=store, try_number=2)["accepted"] == 2


def test_a_dry_run_of_bad_rows_fails(execute: Execute) -> None:
    """A dry run fails as the send would."""
    with pytest.raises(WatiValidationError, match=r"1 of 2 rows failed \(1 invalid\)"):
        execute(broadcast(rows=[DICTS[0], {**DICTS[1], "phone": "12"}], dry_run=True))


def test_outside_the_send_window_messages_are_scheduled(execute: Execute, sandbox: Sandbox) -> None:
    """Outside the send window, messages are scheduled for its next opening."""
    now = datetime.now(UTC)
    opens = (now + timedelta(hours=3)).replace(second=0, microsecond=0)
    window = (f"{opens:%H:%M}", f"{opens + timedelta(hours=2):%H:%M}", "UTC")
    assert execute(broadcast(send_window=window))["accepted"] == 2
    [campaign] = sandbox.state.broadcasts
    assert campaign.starts_at == opens.timestamp()
    assert sandbox.texts_to(NEW) == []
    is_open = (f"{now - timedelta(hours=1):%H:%M}", f"{now + timedelta(hours=1):%H:%M}", "UTC")
    execute(broadcast(task_id="b", send_window=is_open))
    assert sandbox.texts_to(NEW) == [SENT[NEW]]


# Where it remembers


@pytest.mark.parametrize("where", ["argument", "option"])
def test_runs_with_one_key_share_their_state_path(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a state_path, a later run with the same send_key messages only new people."""
    given = {"state_path": str(tmp_path / "argument")} if where == "argument" else {}
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "option"))
    first = execute(broadcast(send_key="promo", **given))
    assert [path.name for path in tmp_path.iterdir()] == [where]
    again = execute(broadcast(task_id="another", send_key="promo", **given))
    assert (first["accepted"], first["calls"]) == (again["accepted"], 1) == (2, 1)
    assert again["calls"] == 0
    assert sent(sandbox) == SENT
    state = "".join(path.read_text() for path in (tmp_path / where).rglob("*") if path.is_file())
    assert state
    for secret in (NEW, OTHER, "Ada", sandbox.token):
        assert secret not in state
    assert execute(broadcast(send_key="promo-2", **given))["calls"] == 1


def test_clear_sends_nothing_new_and_a_new_row_goes_out(execute: Execute, sandbox: Sandbox) -> None:
    """A second attempt sends only to people in new rows."""
    store = Store()
    assert execute(broadcast(), store=store)["calls"] == 1
    assert execute(broadcast(), store=store, try_number=2)["calls"] == 0
    assert sent(sandbox) == SENT
    more = [*DICTS, {"phone": ADA, "first_name": "Cleo", "id": "1003"}]
    summary = execute(broadcast(rows=more, unknown_grace=4.1), store=store, try_number=3)
    assert (summary["total"], summary["accepted"], summary["calls"], summary["earlier"]) == (3, 3, 1, 0)
    summary = execute(broadcast(rows=more[2:], unknown_grace=4.1), store=store, try_number=4)
    assert (summary["total"], summary["accepted"], summary["calls"]) == (1, 1, 0)
    assert sent(sandbox) == SENT


def test_hold_leaves_an_ambiguous_batch_unknown(execute: Execute, sandbox: Sandbox) -> None:
    """With on_unknown="hold", a batch that WATI does not show stays unknown; without it, it is sent."""
    sandbox.fault("drop", method="POST", when="before", count=1)
    store = Store()
    with pytest.raises(WatiUnknownOutcomeError, match="on_unknown is 'hold'"):
        execute(broadcast(on_unknown="hold", unknown_grace=4.1), store=store)
    assert len(sandbox.requests("POST")) == 1
    again = execute(broadcast(unknown_grace=4.1), store=store, try_number=2)
    assert (again["accepted"], again["calls"]) == (2, 1)
    assert sent(sandbox) == SENT


@pytest.mark.parametrize("where", ["argument", "option"])
@pytest.mark.parametrize("grace", ["2", "0", "soon"])
def test_a_grace_with_an_error_is_refused(
    grace: str, where: str, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grace that is not a time, or shorter than a call, fails the task."""
    monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", grace if where == "option" else "30")
    says = "give seconds" if grace == "soon" else "give a longer grace"
    with pytest.raises(WatiConfigurationError, match=says):
        execute(broadcast(**({"unknown_grace": grace} if where == "argument" else {})))
    assert sandbox.requests() == []


def test_the_grace_of_the_option_is_used(
    execute: Execute, sandbox: Sandbox, at_once: SkippingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the argument, [wati] unknown_grace is used."""
    monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", "25")
    sandbox.fault("drop", method="POST", when="before", count=1)
    assert execute(broadcast())["calls"] == 2
    assert 20 < sum(at_once.sleeps) < 30
    assert sent(sandbox) == SENT


def test_a_template_that_is_not_approved(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A missing or unapproved template sends nothing."""
    needed = {"name": "first_name", "date": "id", "discount": "id"}
    for name, kind, says in (
        (
            "spring_sale",
            WatiValidationError,
            "'spring_sale' is PENDING, and WhatsApp takes approved ones only",
        ),
        ("nothing", WatiNotFoundError, "WATI has no template 'nothing' on the channel 'default'"),
    ):
        with pytest.raises(kind, match=says):
            execute(
                broadcast(template_name=name, param_columns=needed, outcomes_path=str(tmp_path / "a.csv"))
            )
        assert "not attempted: " in (tmp_path / "a.csv").read_text()
    assert sandbox.requests("POST") == []


def test_the_summary_is_pushed_when_the_outcomes_cannot_be_written(run_dag: RunDag, tmp_path: Path) -> None:
    """An error while outcomes are written leaves the summary in XCom."""
    (tmp_path / "a-file").write_text("")
    with DAG("unwritten", schedule=None) as dag:
        Broadcast(task_id="send", rows=DICTS, outcomes_path=f"{tmp_path}/a-file/outcomes.csv", **MAPPED)
    ti = run_dag(dag)["send"]
    assert ti.state == "failed"
    assert ti.xcom_pull("send")["accepted"] == 2
