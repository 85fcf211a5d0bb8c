"""The transfers from WATI to files, from the sandbox to the disk and to object storage."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiServerError, WatiValidationError
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.transfers._extract_file import ExtractFile
from airflow_provider_wati.transfers.wati_to_file import (
    WatiCampaignRecipientsToFileOperator,
    WatiContactsToFileOperator,
    WatiMessagesToFileOperator,
)
from tests.support.clock import SkippingClock

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA, BEN = "12025550143", "12025550144"


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, whose texts and flags are the same in each format."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    flags = {"true": True, "false": False}
    with path.open(newline="") as file:
        return [
            {
                name: flags.get(value, value) or None if value != "false" else False
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_contacts_in_each_format_with_their_consent(
    run: Any, sandbox: Sandbox, tmp_path: Path, suffix: str
) -> None:
    """A file has each contact once, with consent as a flag, and is readable by its owner only."""
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": ADA, "allow_broadcast": False}]})
    path = tmp_path / "lake" / f"contacts.{suffix}"
    summary = run(WatiContactsToFileOperator(task_id="t", path=str(path)))
    rows = read(path)
    assert summary["rows"] == len(rows) == len(sandbox.state.contacts)
    [ada] = [row for row in rows if row["wa_id"] == ADA]
    assert ada["allow_broadcast"] is False
    assert ada["opted_in"] is True
    assert json.loads(ada["custom_params"]) == {"tier": "gold", "city": "Hong Kong"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The next run replaces it: it has all contacts again.
    assert run(WatiContactsToFileOperator(task_id="t", path=str(path)), run_id="next")["rows"] == len(rows)


def messages(tmp_path: Path, name: str, **changes: Any) -> WatiMessagesToFileOperator:
    settings = {"path": str(tmp_path / name), "state_path": str(tmp_path / "state")}
    return WatiMessagesToFileOperator(**{"task_id": "t", **settings, **changes})


def test_each_run_has_a_file_with_what_is_new(
    run: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second file has what has come since, each attempt of a run writes the same file, and ``full`` has all."""
    whole = run(messages(tmp_path, "1.jsonl"))["rows"]
    assert whole > 3
    move_watermark(tmp_path, hours=30 * 24)
    sandbox.control("POST", "/clock", {"advance": 31 * 86400})
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "news"})
    for _ in range(2):  # the second time as after a Clear
        assert run(messages(tmp_path, "2.jsonl"), run_id="2")["rows"] == 1
        assert [row["text"] for row in read(tmp_path / "2.jsonl")] == ["news"]
    assert run(messages(tmp_path, "3.jsonl", full="True"), run_id="3")["rows"] == whole + 1


def move_watermark(tmp_path: Path, hours: float) -> None:
    """Let the last run have begun later."""
    from datetime import datetime, timedelta

    [file] = (tmp_path / "state").glob("wati_extract_*.json")
    stored = json.loads(file.read_text())
    moment = datetime.fromisoformat(stored["after"]["watermark"]) + timedelta(hours=hours)
    stored["after"]["watermark"] = moment.isoformat()
    file.write_text(json.dumps(stored))


def test_a_file_of_an_earlier_run_is_not_replaced(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """A path without the run in it is refused in the second run, before anything is read, and so is an older file."""
    run(messages(tmp_path, "1.jsonl"))
    before = (tmp_path / "1.jsonl").read_bytes()
    sandbox.control("DELETE", "/requests")
    with pytest.raises(WatiValidationError, match="its rows would be lost"):
        run(messages(tmp_path, "1.jsonl"), run_id="2")
    assert sandbox.requests() == []
    run(messages(tmp_path, "2.jsonl"), run_id="2")
    sandbox.control("DELETE", "/requests")
    with pytest.raises(WatiValidationError, match="its rows would be lost"):
        run(messages(tmp_path, "1.jsonl"))
    assert sandbox.requests() == []
    assert (tmp_path / "1.jsonl").read_bytes() == before
    # With everything in it, nothing is lost.
    run(messages(tmp_path, "1.jsonl", full=True), run_id="3")


def test_an_unfinished_run_hides_nothing_from_the_next(
    run: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a conversation cannot be read there is no file and no new watermark, and the next run has everything."""
    sandbox.control("POST", "/inbound", {"phone": "919800000001", "text": "one"})
    bad = next(iter(sandbox.client().iter_conversations()))["id"]
    fault = sandbox.fault("status", status=500, path=f"*/conversations/{bad}/messages")
    with monkeypatch.context() as patch:
        patch.setattr(WatiHook, "clock", SkippingClock())
        with pytest.raises(WatiServerError, match="cannot be read"):
            run(messages(tmp_path, "1.jsonl"))
    assert not (tmp_path / "1.jsonl").exists()
    sandbox.control("DELETE", f"/faults/{fault}")
    run(messages(tmp_path, "2.jsonl"), run_id="2")
    assert "one" in [row["text"] for row in read(tmp_path / "2.jsonl")]


def test_an_attempt_that_lives_on_does_not_replace_the_file_of_the_next(
    run: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that stalls after it has read leaves the file to the attempt after it, which has more."""
    finish = ExtractFile.finish

    def stall(file: ExtractFile, check: Any) -> int:
        monkeypatch.setattr(ExtractFile, "finish", finish)
        sandbox.control("POST", "/inbound", {"phone": ADA, "text": "between"})
        run(messages(tmp_path, "1.jsonl"), try_number=2)
        return finish(file, check)

    monkeypatch.setattr(ExtractFile, "finish", stall)
    with pytest.raises(WatiConfigurationError, match="A later attempt of this run has begun"):
        run(messages(tmp_path, "1.jsonl"))
    assert "between" in [row["text"] for row in read(tmp_path / "1.jsonl")]
    assert [path.name for path in tmp_path.iterdir()] == ["1.jsonl", "state"]


def test_a_watermark_needs_a_place(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a ``state_path``, the error names the argument and the option, and nothing is read."""
    with pytest.raises(WatiConfigurationError, match=r"set state_path or the option \[wati\] state_path"):
        run(messages(tmp_path, "1.jsonl", state_path=None))
    assert sandbox.requests() == []


def test_a_path_without_a_format_is_refused(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """The suffix gives the format, so another one is refused before anything is read."""
    with pytest.raises(WatiValidationError, match="does not end in"):
        run(messages(tmp_path, "1.txt"))
    assert sandbox.requests() == []


def test_a_damaged_watermark_is_not_taken_for_none(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """What is not a watermark is an error that says how to go on."""
    run(messages(tmp_path, "1.jsonl"))
    [file] = (tmp_path / "state").glob("wati_extract_*.json")
    file.write_text("[1]")
    with pytest.raises(WatiConfigurationError, match="not a watermark"):
        run(messages(tmp_path, "2.jsonl"), run_id="2")


def test_recipients_of_changed_campaigns_in_object_storage(run: Any, sandbox: Sandbox, bucket: str) -> None:
    """A run without news writes a file without rows for at most 3 calls; a reply brings its campaign's recipients."""
    people = [{"phone_number": phone} for phone in (ADA, BEN)]
    sandbox.client().send_template_messages("welcome", "one", people)
    sandbox.control("POST", "/clock", {"advance": 3600})

    def operator(name: str) -> WatiCampaignRecipientsToFileOperator:
        return WatiCampaignRecipientsToFileOperator(
            task_id="t", path=f"memory://bucket/{name}.jsonl", state_path=bucket
        )

    assert run(operator("1"))["rows"] == 2
    sandbox.control("DELETE", "/requests")
    assert run(operator("2"), run_id="2")["rows"] == 0
    assert len(sandbox.requests()) <= 3
    sandbox.control("POST", "/inbound", {"phone": BEN, "text": "Yes"})
    assert run(operator("3"), run_id="3")["rows"] == 2
    from airflow.sdk import ObjectStoragePath

    text = ObjectStoragePath("memory://bucket/3.jsonl").read_text()
    rows = {row["contact_phone"]: row["status"] for row in map(json.loads, text.splitlines())}
    assert rows[f"+{BEN}"] == "replied"


def test_cells_that_a_spreadsheet_would_run_are_quoted(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """A message that begins like a formula gets a quote in a CSV file."""
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "=1+1"})
    run(messages(tmp_path, "1.csv"))
    assert "'=1+1" in [row["text"] for row in read(tmp_path / "1.csv")]
