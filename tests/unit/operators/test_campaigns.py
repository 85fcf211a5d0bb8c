"""A green cancellation means that the campaign is cancelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError, WatiRejectedError
from airflow_provider_wati.operators.campaigns import WatiCancelScheduledCampaignOperator

if TYPE_CHECKING:
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


@pytest.mark.parametrize("status", ["Cancelled", "canceled", " STOPPED "])
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
