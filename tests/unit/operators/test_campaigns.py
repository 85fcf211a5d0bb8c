"""Campaigns: a green cancellation means that the campaign is cancelled, and an export has every recipient."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError, WatiRejectedError
from airflow_provider_wati.operators._files import open_rows
from airflow_provider_wati.operators.campaigns import (
    WatiCancelScheduledCampaignOperator,
    WatiGetCampaignRecipientsOperator,
)
from airflow_provider_wati.tables.outcomes import RECIPIENT_COLUMNS
from tests.support.scripted_server import answer, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

#: Answers that neither affirm a cancellation nor carry it out.
NOT_DONE: dict[str, dict[str, Any]] = {
    "says nothing": {},
    "false": {"result": False},
    "false as text": {"result": "false"},
    "no": {"ok": "no"},
    "an envelope": {"code": 400, "message": "It has started"},
    "the envelope of a 500": {"code": 500, "message": "Oops"},
    "another word": {"result": "queued"},
}


@pytest.fixture
def campaign_id(sandbox: Sandbox) -> str:
    """A campaign that waits for its time."""
    later = datetime.now(UTC) + timedelta(hours=1)
    client = sandbox.client()
    result = client.schedule_template_messages("welcome", "later", [{"target": "85264318722"}], later)
    return str(result.campaign_id)


def cancel(campaign_id: str) -> WatiCancelScheduledCampaignOperator:
    return WatiCancelScheduledCampaignOperator(task_id="cancel", campaign_id=campaign_id)


@pytest.mark.parametrize("answer", NOT_DONE)
def test_a_200_alone_cancels_nothing(
    answer: str, campaign_id: str, execute: Execute, sandbox: Sandbox
) -> None:
    """A 200 that refuses, or does not say, is not green while the campaign waits for its time."""
    sandbox.fault("answer", method="DELETE", when="before", answer=NOT_DONE[answer])
    with pytest.raises(WatiError):
        execute(cancel(campaign_id))
    assert sandbox.state.broadcasts[0].cancelled_at is None


@pytest.mark.parametrize("answer", NOT_DONE)
def test_the_status_of_the_campaign_decides(
    answer: str, campaign_id: str, execute: Execute, sandbox: Sandbox
) -> None:
    """Where the answer does not affirm it, a campaign whose status is cancelled is green."""
    sandbox.fault("answer", method="DELETE", when="after", answer={"result": None, **NOT_DONE[answer]})
    assert execute(cancel(campaign_id)) == {"campaign_id": campaign_id}
    assert sandbox.state.broadcasts[0].cancelled_at is not None


@pytest.mark.parametrize("status", ["Cancelled", "canceled", " STOPPED ", "deleted"])
def test_each_word_for_cancelled_is_known(
    status: str, campaign_id: str, execute: Execute, sandbox: Sandbox
) -> None:
    """WATI lists no statuses, so each word that its product uses for a cancelled campaign counts."""
    sandbox.fault("answer", method="DELETE", when="before", answer={})
    sandbox.fault("answer", method="GET", when="after", answer={"status": status})
    assert execute(cancel(campaign_id)) == {"campaign_id": campaign_id}


@pytest.mark.parametrize("status", ["scheduled", "sent", None, 7])
def test_other_words_are_not_cancelled(
    status: object, campaign_id: str, execute: Execute, sandbox: Sandbox
) -> None:
    """A status of another word or type leaves the task red, and the error says to look."""
    sandbox.fault("answer", method="DELETE", when="before", answer={})
    sandbox.fault("answer", method="GET", when="after", answer={"status": status})
    with pytest.raises(WatiRejectedError, match="may still be sent"):
        execute(cancel(campaign_id))


def test_an_answer_that_affirms_costs_no_second_call(
    campaign_id: str, execute: Execute, sandbox: Sandbox
) -> None:
    """A clear success is believed without a look at the campaign."""
    execute(cancel(campaign_id))
    assert sandbox.requests("GET") == []


_HALF = "Ada \ud83d"
_ODD_RECIPIENTS: list[Any] = [
    {"id": "1", "contact_name": "Ben", "contact_phone": "+12025550144", "status": "sent"},
    *[{"id": f"half {field}", field: _HALF} for field in (*RECIPIENT_COLUMNS, "id", "custom_params")],
    *[
        {"id": f"{field} {n}", field: value}
        for field in RECIPIENT_COLUMNS
        for n, value in enumerate((12025550143, 1.5, True, ["x"], {"a": "b"}, None))
    ],
    None,
    [],
    7,
    "x",
    {"id": "last", "contact_name": "Farah", "status": "read"},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", None])
def test_odd_recipients_stop_no_export(
    suffix: str | None,
    execute: Execute,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Half a character or another type in a field costs that value, and what is no recipient costs that row."""
    destination = f"{tmp_path}/recipients{suffix}" if suffix else None
    export = WatiGetCampaignRecipientsOperator(
        task_id="export", campaign_id="abc", destination=destination, wati_conn_id="scripted"
    )
    with serving(answer(200, {"recipients": _ODD_RECIPIENTS, "total_count": len(_ODD_RECIPIENTS)})) as server:
        connection = {"conn_type": "wati", "host": server.url, "password": "t"}
        monkeypatch.setenv("AIRFLOW_CONN_SCRIPTED", json.dumps(connection))
        result = execute(export)
    if destination is None:
        rows = result["recipients"]
    else:
        with open_rows(destination) as found:
            rows = list(found)
    assert len(rows) == result["total"] == len(_ODD_RECIPIENTS) - 4
    assert [rows[0]["contact_name"], rows[-1]["contact_name"]] == ["Ben", "Farah"]
    assert [row["contact_name"] for row in rows if row["contact_name"]].count("Ada \ufffd") == 1
    assert [row["contact_phone"] for row in rows if row["contact_phone"]] == [
        "+12025550144", "Ada \ufffd", "12025550143", "1.5",
    ]  # fmt: skip
    assert json.dumps(result, ensure_ascii=False).encode()
    assert "half a character: it is replaced" in caplog.text
    assert "4 rows in" in caplog.text
