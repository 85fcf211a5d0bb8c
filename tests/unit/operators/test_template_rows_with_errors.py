"""Rows and arguments with errors: they stop nobody else, falsify no outcome, and no error shows a phone number."""

from __future__ import annotations

import csv
import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.exceptions import WatiError, WatiRejectedError, WatiValidationError
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator as SendTemplate
from airflow_provider_wati.sending.row_mapping import ColumnMapping
from airflow_provider_wati.tables.readers import is_address
from airflow_provider_wati.tables.values import cell
from tests.conftest import Sandbox, needs_task_state_store
from tests.support.tasks import Execute, Store, rendered_fields
from tests.unit.operators.test_template_sends import (
    ADA,
    COLUMNS,
    DICTS,
    MAPPED,
    NEW,
    OTHER,
    SENT,
    Broadcast,
    RunDag,
    broadcast,
    sent,
)

if TYPE_CHECKING:
    from tests.support.clock import SkippingClock


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Any:
    """Real Airflow has a sandbox of the test's own, what is executed without a DAG that of the module."""
    if "run_dag" not in request.fixturenames:
        yield request.getfixturevalue("quick_sandbox")
        return
    with Sandbox() as server:
        yield server


class Tier(str, Enum):  # noqa: UP042 # it prints otherwise than it is, which is the point
    GOLD = "gold"


class Rude:
    def __str__(self) -> str:
        raise RuntimeError(NEW)

    __ne__ = __eq__ = __str__  # type: ignore[assignment] # nothing about it works
    __hash__ = None  # type: ignore[assignment] # likewise


def recipient(**wrong: Any) -> dict[str, Any]:
    params = {"name": "Cleo", "order_id": "1", "status": "packed"}
    return {"target": "85264318723", "params": params, **wrong}


def with_param(name: Any, value: Any) -> dict[str, Any]:
    return recipient(params={**recipient()["params"], name: value})


# One row and the others


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (recipient(target="+0919876543210"), "it does not begin with a country code"),
        (recipient(target="00 0447911123456"), "it does not begin with a country code"),
        (recipient(target="+07040294"), "it does not begin with a country code"),
        (recipient(target="85264318723\ud800"), "neither a phone number nor an id"),
        (recipient(target=Rude()), "a value of type Rude is not a phone number"),
        (recipient(target=float("nan")), "there is no phone number"),
        (with_param("name", "Cle\udc00"), "name: the text has half a character in it"),
        (with_param("name", Rude()), "a Rude cannot be written as text"),
        (with_param("\ud800", "x"), "a parameter's name: the text has half a character"),
        (with_param("", "x"), "a parameter has no name"),
        (recipient(key="\ud800"), "key: the text has half a character"),
        (recipient(local_message_id="\ud800" * 10), "local_message_id is 10 to 64 letters"),
        (recipient(custom_params=[]), "both params and custom_params"),
        (recipient(params=[{"name": "a", "value": "1"}] * 2), "a name twice"),
        (recipient(params=[{"name": ["a"], "value": "1"}]), "the row cannot be read \\(TypeError\\)"),
        (recipient(params=Rude()), "params is a dict"),
        ({"919876543210": {"name": "Ada"}}, "a recipient has no \\*+3210"),
        ({"\ud800": 1, "target": "85264318723"}, "a recipient has no \\?"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_row_with_an_error_is_the_only_one_that_is_not_sent(
    wrong: dict[str, Any], says: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A row with an error is invalid, with the reason, and stops nobody else."""
    good = [recipient(target=phone) for phone in (NEW, OTHER)]
    path = tmp_path / "outcomes.csv"
    operator = SendTemplate(
        task_id="a",
        template_name="order_update",
        recipients=[good[0], wrong, good[1]],
        outcomes_path=str(path),
    )
    with pytest.raises(WatiValidationError, match=says) as raised:
        execute(operator)
    assert [len(sandbox.texts_to(phone)) for phone in (NEW, OTHER)] == [1, 1]
    with path.open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["accepted", "invalid", "accepted"]
    assert "98765" not in str(raised.value)
    assert NEW not in str(raised.value)


def test_a_subclass_of_str_is_sent_as_its_text(execute: Execute, sandbox: Sandbox) -> None:
    """An Enum or another subclass of str is sent as the text that it holds."""
    rows = [{"phone": NEW, "first_name": Tier.GOLD, "id": type("Text", (str,), {})("1001")}]
    assert execute(broadcast(rows=rows))["accepted"] == 1
    assert sandbox.texts_to(NEW) == ["Hi gold, your order 1001 is packed."]


def test_a_refused_look_up_of_one_contact_stops_nobody_else(execute: Execute, sandbox: Sandbox) -> None:
    """A contact whose look-up WATI refuses is rejected, and the others are sent to."""
    sandbox.control("POST", "/contacts", {"count": 1_000})
    sandbox.fault("status", status=400, path=f"*/contacts/{OTHER}")
    with pytest.raises(WatiRejectedError, match="opted out could not be looked up"):
        execute(broadcast())
    assert [len(sandbox.texts_to(phone)) for phone in (NEW, OTHER)] == [1, 0]


# One person under two spellings

LUZ, LUZ_TOO = "5215512345678", "525512345678"


@pytest.mark.parametrize("contacts", [0, 1_000], ids=["listing", "one by one"])
def test_an_opt_out_holds_for_both_spellings(contacts: int, execute: Execute, sandbox: Sandbox) -> None:
    """An opt-out under one spelling of a phone number holds for the other."""
    if contacts:
        sandbox.control("POST", "/contacts", {"count": contacts})
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": LUZ, "allow_broadcast": False}]})
    rows = [*DICTS, {"phone": LUZ_TOO, "first_name": "Luz", "id": "1"}]
    summary = execute(broadcast(rows=rows))
    assert (summary["accepted"], summary["skipped"]) == (2, 1)
    assert sandbox.texts_to(LUZ_TOO) == sandbox.texts_to(LUZ) == []


def test_a_person_under_two_spellings_is_messaged_once_and_suppressed_under_either(
    execute: Execute, sandbox: Sandbox
) -> None:
    """Two spellings of one phone number are one person."""
    rows = [{"phone": phone, "first_name": "Luz", "id": "1"} for phone in (LUZ, LUZ_TOO)]
    summary = execute(broadcast(rows=rows))
    assert (summary["accepted"], summary["skipped"]) == (1, 1)
    assert len(sandbox.texts_to(LUZ)) == 1
    assert execute(broadcast(task_id="b", rows=rows[:1], suppress=[LUZ_TOO]))["skipped"] == 1


def test_consent_is_asked_on_the_channel_of_the_send(execute: Execute, sandbox: Sandbox) -> None:
    """Contacts are looked up on the channel of the send."""
    execute(broadcast(rows=DICTS[:1], channel="Support"))
    assert any(f"/contacts/Support:{NEW}" in request for request in sandbox.requests("GET"))


# What a template may leave of an argument


@pytest.mark.parametrize(
    "argument", ["suppress", "send_window", "send_key", "channel", "state_path", "outcomes_path"]
)
@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_a_safety_argument_that_renders_to_nothing_is_refused(
    argument: str, nothing: str | None, execute: Execute, sandbox: Sandbox
) -> None:
    """A suppression list or send_key whose template renders to nothing fails the task."""
    operator = broadcast(**{argument: "{{ given }}"})
    setattr(operator, argument, nothing)
    with pytest.raises(WatiValidationError, match=f"{argument} was given, and is {nothing!r} now"):
        execute(operator)
    assert sandbox.requests() == []


def test_an_upstream_task_that_gives_no_list_of_the_suppressed_fails_the_send(
    run_dag: RunDag, sandbox: Sandbox
) -> None:
    """A suppression list that an upstream task did not return fails the send."""
    with DAG("suppressed_by_none") as dag:

        @task
        def nobody() -> None:
            return None

        Broadcast(task_id="send", rows=DICTS, suppress=nobody(), **MAPPED)
    assert run_dag(dag)["send"].state == "failed"
    assert sandbox.requests("POST") == []


def test_a_key_that_a_native_template_turns_into_an_int_is_a_text(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Path
) -> None:
    """With native templates, a send_key of digits stays the same key."""
    with DAG("native", render_template_as_native_obj=True) as dag:
        Broadcast(task_id="send", rows=DICTS, send_key="{{ '20261124' }}", state_path=str(tmp_path), **MAPPED)
    ti = run_dag(dag)["send"]
    assert ti.state == "success"
    assert ti.xcom_pull("send")["send_key"] == "20261124"


@pytest.mark.parametrize(
    "given", [[], json.dumps([OTHER]), json.dumps([f"+{OTHER}"])], ids=["empty", "json", "+"]
)
def test_a_suppression_list_may_be_empty_or_json(given: Any, execute: Execute, sandbox: Sandbox) -> None:
    """An empty suppression list suppresses nobody; JSON is read as a list."""
    summary = execute(broadcast(suppress=given))
    assert summary["skipped"] == (1 if given else 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"suppress": f"['{NEW}']"}, "suppress is a text that is not JSON"),
        (
            {"suppress": f"{NEW}\n{OTHER}"},
            "suppress is a text that is neither JSON nor the address of a file",
        ),
        ({"suppress": NEW}, "suppress is a text that is neither JSON nor the address"),
        ({"suppress": f"+{NEW}, {OTHER}"}, "suppress is a text that is neither JSON nor the address"),
        ({"rows": f"phone,name\n{NEW},Ada"}, "rows is a text that is neither JSON nor the address of a file"),
        ({"rows": f"{NEW},Ada"}, "rows is a text that is neither JSON nor the address of a file"),
        ({"rows": f"/data/{NEW}"}, "does not end in .csv"),
        ({"suppress": f"{NEW};Ada"}, "suppress is a text that is neither JSON nor the address"),
        ({"suppress": f"Ada {NEW}"}, "suppress is a text that is neither JSON nor the address"),
        ({"suppress": f"tel:+{NEW}"}, "suppress is a text that is neither JSON nor the address"),
        ({"consent_max_calls": "many"}, "consent_max_calls is 'many': give a whole number"),
        ({"dry_run": "False"}, "dry_run is 'False': give True or False"),
        ({"failure_threshold": "0.5"}, "failure_threshold is '0.5': give 0 to 1"),
        ({"param_columns": ["name"]}, "param_columns is a dict, not list"),
        ({"template_params": "{'status': 'packed'}"}, "template_params is a dict, not str"),
        ({"template_params": {"name": "x"}}, "param_columns and template_params both have 'name'"),
        ({"outcomes_path": "s9://bucket/o.csv"}, "'s9://bucket/o.csv' cannot be written"),
        ({"send_key": "k" * 1_001}, "send_key has 1,001 characters"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_without_showing_people(
    arguments: dict[str, Any],
    says: str,
    execute: Execute,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error for an argument shows no phone number."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    with pytest.raises(WatiValidationError, match=says) as refused:
        execute(broadcast(**arguments))
    assert sandbox.requests("POST") == []
    assert NEW not in str(refused.value)
    assert OTHER not in str(refused.value)


def test_airflow_stores_no_people_in_any_form_of_rows(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Airflow stores the size of the rows, whatever form they have."""
    with DAG("unshown_texts") as dag:
        Broadcast(task_id="lines", rows=DICTS, suppress=f"{ADA}\n{OTHER}", **MAPPED)
        Broadcast(task_id="one", rows=DICTS, suppress=ADA, **MAPPED)
        Broadcast(task_id="named", rows=f"{OTHER},Ben", suppress=f"tel:+{ADA}", **MAPPED)
    run_dag(dag)
    stored = rendered_fields("unshown_texts")
    assert len(stored) == 3
    for fields in map(str, stored.values()):
        assert ADA not in fields
        assert OTHER not in fields


# Files


@pytest.mark.parametrize(
    "content",
    [
        f'{NEW},Ada,1,"fragile\n{OTHER},Ben,2,"heavy\n{ADA},C,3,"big\n',
        f'{NEW},Ada,1,"fragile\n{OTHER},Ben,2,\n',
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_rows(
    content: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A quote that is not closed fails the send instead of hiding the rows after it."""
    path = tmp_path / "people.csv"
    path.write_text(f"phone,first_name,id,note\n{content}")
    with pytest.raises(WatiValidationError, match=f"{path}: "):
        execute(broadcast(rows=str(path)))
    assert sandbox.requests("POST") == []


def test_a_csv_without_its_header_shows_nobody(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """In a CSV file without a header, the error masks the first person."""
    path = tmp_path / "people.csv"
    path.write_text(f"{NEW},Ada,1\n{OTHER},Ben,2\n")
    with pytest.raises(
        WatiValidationError, match="there is no column 'phone' in it; there are '\\*+8721'"
    ) as refused:
        execute(broadcast(rows=str(path)))
    assert NEW not in str(refused.value)


def test_parquet_types_that_python_does_not_have(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """Nanoseconds are cut, and 32-bit floats keep their digits."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "phone": pa.array([NEW, OTHER]),
        "at": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns")),
        "time": pa.array([3_600_000_000_001, 0], pa.time64("ns")),
        "price": pa.array([19.99, float("nan")], pa.float32()),
        "zoned": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "Asia/Kolkata")),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    params = {"name": "at", "order_id": "price", "status": "time"}
    settings: Any = {
        "rows": str(tmp_path / "a.parquet"),
        "param_columns": params,
        "template_params": None,
    }
    assert execute(broadcast(failure_threshold=0.5, **settings))["accepted"] == 1
    assert sandbox.texts_to(NEW) == ["Hi 2023-11-14T22:13:20.123456, your order 19.99 is 01:00:00."]


def test_a_parquet_file_with_a_column_twice_is_refused(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """It would not be known which of the columns is meant."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = [pa.array([value]) for value in (NEW, OTHER, "Ada", "1")]
    parquet.write_table(pa.Table.from_arrays(arrays, names=["phone", *COLUMNS]), tmp_path / "a.parquet")
    with pytest.raises(WatiValidationError, match="the Parquet file has a column twice"):
        execute(broadcast(rows=str(tmp_path / "a.parquet")))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("s3://bucket/people", True),
        ("people.csv", True),
        ("/data/2026-11-24/stop.txt", True),
        ("out/Ada", True),
        ("85264318721", False),
        ("+852 6431 8721 / 85264318722", False),
        ("85264318721,Ada", False),
        ("Ada 85264318721", False),
        ("tel:+85264318721", False),
        ("9876543210.0", False),
        ("a.csv\nb.csv", False),
        ("[1]", False),
        ("", False),
    ],
)
def test_paths_and_content_are_told_apart(text: str, answer: bool) -> None:
    """A text is a path or URI only if it looks like one."""
    assert is_address(text) is answer


# Outcomes and summary


def test_an_attempt_that_reads_no_rows_keeps_the_outcomes_of_the_one_before(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The outcomes file stays when the rows cannot be read."""
    path = tmp_path / "outcomes.csv"
    store = Store()
    execute(broadcast(outcomes_path=str(path)), store=store)
    told = path.read_text()
    assert told.count("accepted") == 2
    with pytest.raises(FileNotFoundError):
        execute(
            broadcast(rows=str(tmp_path / "gone.csv"), outcomes_path=str(path)), store=store, try_number=2
        )
    assert path.read_text() == told
    assert [name.name for name in tmp_path.iterdir()] == ["outcomes.csv"]


def test_outcomes_that_break_off_leave_the_old_ones(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while outcomes are written leaves the old file."""
    path = tmp_path / "outcomes.csv"
    store = Store()
    execute(broadcast(outcomes_path=str(path)), store=store)
    told = path.read_text()

    def break_off(_: Any) -> Any:
        yield (1, None, "", "accepted", None, None, None, None)
        raise OSError("no space left")

    monkeypatch.setattr("airflow_provider_wati.sending.job.SendJob.outcome_rows", break_off)
    with pytest.raises(OSError, match="no space"):
        execute(broadcast(outcomes_path=str(path)), store=store, try_number=2)
    assert path.read_text() == told


@pytest.mark.parametrize("text", ["x", "न", "😀", '"', "\x01"])
def test_a_summary_fits_into_an_xcom_whatever_it_repeats(
    text: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """60 refusals in Hindi, each in a campaign with a long name."""
    sandbox.fault(
        "status", status=400, body=json.dumps({"code": 400, "message": text * 400}), method="POST", count=30
    )
    rows = [{"phone": f"852643{n:05d}", "first_name": text * 90, "id": "1"} for n in range(90)]
    with pytest.raises(WatiError):
        execute(
            broadcast(
                rows=rows,
                batch_size=1,
                campaign_name=text * 300,
                send_key=text * 1_000,
                state_path=str(tmp_path),
                check_consent=False,
                outcomes_path=f"{tmp_path}/{'न' * 60}/{'o' * 60}.csv",
            )
        )
    summary = execute.pushed[-1]  # type: ignore[attr-defined] # the fixture notes what was pushed
    assert len(json.dumps(summary)) < 16_000
    assert (summary["total"], summary["accepted"], summary["rejected"]) == (90, 60, 30)
    assert len(summary["campaigns"]) + summary["more_campaigns"] == 60
    assert text != "x" or (len(summary["problems"]) == 20 and summary["campaigns"])


def test_mapped_tasks_with_a_send_key_are_sends_of_their_own(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Mapped tasks with one send_key get keys of their own, and each sends its rows."""
    with DAG("keyed_chunks") as dag:
        Broadcast.partial(
            task_id="chunk", send_key="promo", state_path=str(tmp_path), unknown_grace=4.5, **MAPPED
        ).expand(rows=[[row] for row in DICTS])
    tis = run_dag(dag)
    assert {ti.state for ti in tis.values()} == {"success"}
    keys = {ti.xcom_pull(task_ids="chunk", map_indexes=ti.map_index)["send_key"] for ti in tis.values()}
    assert keys == {"promo/0", "promo/1"}
    assert sent(sandbox) == SENT


def test_a_failing_dry_run_says_what_is_wrong(execute: Execute, sandbox: Sandbox) -> None:
    """A dry run with bad rows fails with the reasons."""
    rows = [{"phone": f"852643187{n:02}", "first_name": "A", "id": "1"} for n in range(30)]
    rows.append({"phone": "12", "first_name": "A", "id": "1"})
    with pytest.raises(WatiValidationError, match=r"1 of 31 rows failed \(1 invalid\).*row 31 \(12\): "):
        execute(broadcast(rows=rows, dry_run=True))
    [problem] = execute.pushed[-1]["problems"]  # type: ignore[attr-defined] # the fixture notes what was pushed
    assert problem["row"] == 31
    assert execute(broadcast(rows=rows[:30], dry_run=True, task_id="b"))["problems"] == []


@needs_task_state_store
def test_a_send_after_a_dry_run_does_not_wait(
    run_dag: RunDag, clear: Any, sandbox: Sandbox, at_once: SkippingClock
) -> None:
    """A dry run leaves no state that the real send would have to reconcile."""
    with DAG("dry_run_then_send") as dag:
        send = Broadcast(task_id="send", rows=DICTS, dry_run=True, **MAPPED)
    ti = run_dag(dag)["send"]
    assert ti.state == "success"
    assert sandbox.requests("POST") == []
    send.is_dry_run = False
    assert clear(dag, ti).state == "success"
    assert at_once.sleeps == []
    assert sent(sandbox) == SENT


def test_a_missing_column_shows_no_phone_number() -> None:
    """The error masks column names that are phone numbers."""
    with pytest.raises(WatiValidationError, match="there are '\\*+8721', 'name'"):
        cell({NEW: 1, "name": 2}, "phone")


def test_a_parameter_with_a_column_and_a_constant_is_refused() -> None:
    """A parameter may come from a column or a constant, not both."""
    with pytest.raises(WatiValidationError, match="both have 'a', 'b'"):
        ColumnMapping(target_column="t", param_columns={"a": "x", "b": "y"}, template_params={"b": 1, "a": 2})
