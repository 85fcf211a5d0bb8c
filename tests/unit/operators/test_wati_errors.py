"""A refusal of WATI raises the right error in the task, with the message of WATI."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConflictError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiServerError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators.campaigns import (
    WatiCancelScheduledCampaignOperator,
    WatiGetCampaignOperator,
    WatiGetCampaignRecipientsOperator,
)
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import (
    WatiAssignTeamsOperator,
    WatiCreateContactOperator,
    WatiGetContactOperator,
    WatiUpdateContactOperator,
    WatiUpsertContactOperator,
)
from airflow_provider_wati.operators.conversations import (
    WatiAssignConversationOperator,
    WatiUpdateConversationStatusOperator,
)
from airflow_provider_wati.operators.messages import (
    WatiGetMediaOperator,
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
    WatiSendTextOperator,
)
from airflow_provider_wati.operators.templates import (
    WatiGetTemplateOperator,
    WatiScheduleTemplateOperator,
    WatiSendTemplateOperator,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA, FARAH, NEW, HEX = "12025550143", "12025550148", "85264310001", "507f1f77bcf86cd799439011"
NEW_PARAMS = {"custom_params": {"tier": "black"}}

READS = [
    WatiGetContactOperator(task_id="get_contact", target=ADA),
    WatiGetMediaOperator(task_id="get_media", message_id=HEX),
    WatiGetTemplateOperator(task_id="get_template", template_id=HEX),
    WatiGetTemplateOperator(task_id="get_template_by_name", template_name="welcome"),
    WatiGetCampaignOperator(task_id="get_campaign", campaign_id=HEX),
    WatiGetCampaignRecipientsOperator(task_id="get_recipients", campaign_id=HEX),
]
SETS = [
    WatiUpdateContactOperator(task_id="update", target=ADA, **NEW_PARAMS),
    WatiUpsertContactOperator(task_id="upsert_known", phone_number=ADA, name="Ada Wong", **NEW_PARAMS),
    WatiAssignTeamsOperator(task_id="teams", target=ADA, teams=["Billing"]),
    WatiUpdateConversationStatusOperator(task_id="status", target=ADA, status="solved"),
    WatiAssignConversationOperator(task_id="assign", target=ADA, assignee_email="li@acme.example"),
    WatiCancelScheduledCampaignOperator(task_id="cancel", campaign_id=HEX),
]
SENDS = [
    WatiCreateContactOperator(task_id="create", phone_number=NEW, name="Bob"),
    WatiUpsertContactOperator(task_id="upsert_new", phone_number=NEW, name="Bob"),
    WatiSendTextOperator(task_id="text", target=ADA, text="Hello"),
    WatiSendFileUrlOperator(task_id="url", target=ADA, file_url="https://example.com/a.png"),
    WatiSendFileOperator(task_id="file", target=ADA, path="to be set"),
    WatiSendButtonsOperator(task_id="buttons", target=ADA, body="Well?", buttons=["Yes"]),
    WatiSendListOperator(
        task_id="list", target=ADA, body="Well?", button_text="Choose", sections=[{"rows": [{"title": "1"}]}]
    ),
    WatiSendTemplateOperator(task_id="template", template_name="welcome", recipients={"target": NEW}),
    WatiScheduleTemplateOperator(
        task_id="schedule",
        template_name="welcome",
        recipients={"target": NEW},
        scheduled_at="2030-01-01T00:00:00Z",
    ),
    WatiStartChatbotOperator(task_id="chatbot", target=ADA, chatbot_id="65b7a1c2c4a7b07000000001"),
]
OPERATORS = {operator.task_id: operator for operator in (*READS, *SETS, *SENDS)}
#: The call that the operator is there for, where it makes another one first.
METHODS = {operator.task_id: "GET" for operator in READS}
METHODS |= {operator.task_id: "PUT" for operator in SETS} | {"cancel": "DELETE"}
METHODS |= {operator.task_id: "POST" for operator in SENDS}

STATUSES: dict[int, type[WatiError]] = {
    400: WatiBadRequestError,
    401: WatiAuthenticationError,
    403: WatiPermissionError,
    404: WatiNotFoundError,
    409: WatiConflictError,
    429: WatiRateLimitError,
}
MESSAGE = '{"code": 1, "message": "Because of 85264310001", "timestamp": "2026-11-03T06:20:12Z"}'


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    return quick_sandbox


@pytest.fixture(scope="module", autouse=True)
def _file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.mktemp("files") / "a.pdf"
    path.write_bytes(b"%PDF-1.4")
    OPERATORS["file"].path = str(path)


def run(name: str, execute: Execute, **more: Any) -> Any:
    OPERATORS[name].__dict__.pop("hook", None)
    return execute(OPERATORS[name], **more)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_refusal_has_its_own_class_and_wati_s_words(name: str, execute: Execute, sandbox: Sandbox) -> None:
    """Each status gives its own error class, with the message of WATI."""
    before = sandbox.control("GET", "/state")["messages"]
    for status, kind in STATUSES.items():
        sandbox.control("DELETE", "/requests")
        wait = {"retry_after": 3600} if status == 429 else {}
        sandbox.fault("status", status=status, body=MESSAGE, method=METHODS[name], **wait)
        began = time.monotonic()
        with pytest.raises(WatiError) as raised:
            run(name, execute)
        error = raised.value
        # A bulk send reads each batch's refusal into its summary and raises for all of them.
        bulk = status == 400 and name in ("template", "schedule")
        assert type(error) is (WatiRejectedError if bulk else kind), status
        assert "Because of *******0001" in str(error)
        if not bulk:
            assert (error.status_code, error.wati_message) == (status, "Because of *******0001")
            assert f"with {status}" in str(error)
        assert error.retry_after == (3600 if status == 429 else None)
        # None of these goes out again, and nobody waits for an hour.
        assert len(sandbox.requests(METHODS[name])) == 1, status
        assert time.monotonic() - began < 60
        for secret in (ADA, NEW, sandbox.token):
            assert secret not in str(error)
        sandbox.control("DELETE", "/faults")
    assert sandbox.control("GET", "/state")["messages"] == before


@pytest.mark.parametrize("operator", [*READS, *SETS], ids=lambda operator: operator.task_id)
def test_a_500_is_repeated_where_that_is_safe(operator: Any, execute: Execute, sandbox: Sandbox) -> None:
    """Reads and idempotent writes are repeated after a 500."""
    name = operator.task_id
    sandbox.fault("status", status=500, body=MESSAGE, method=METHODS[name])
    with pytest.raises(WatiServerError, match=r"Because of \*\*\*\*\*\*\*0001") as raised:
        run(name, execute)
    assert raised.value.status_code == 500
    assert len(sandbox.requests(METHODS[name])) == 5


@pytest.mark.parametrize("operator", SENDS, ids=lambda operator: operator.task_id)
def test_a_500_to_a_send_leaves_its_outcome_unknown(
    operator: Any, execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send is not repeated after a 500; its outcome is unknown."""
    name = operator.task_id
    bulk = name in ("template", "schedule")
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"]["timeout"] = [2, 0.5]
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", "3")
    sandbox.fault("status", status=500, body=MESSAGE, method="POST")
    kind = AirflowFailException if name == "chatbot" else WatiUnknownOutcomeError
    says = r"with 500: Because of \*+0001.*unknown: look before anything is sent"
    with pytest.raises(kind, match="the answers to two calls for it were lost" if bulk else says):
        run(name, execute)
    # A bulk send looks for itself, and sends again what WATI does not show.
    assert [fault.fired for fault in sandbox.workspace.faults] == [2 if bulk else 1]


_MESSAGE_FAILED = {"message": {"id": HEX, "status": "FAILED", "failed_detail": "Because"}}
_NOT_DONE = {"result": False, "message": "Because"}
_NOT_SENT = {"success": False, "error": "Because", "recipients": []}
REFUSED_IN_200: dict[str, tuple[dict[str, Any], str]] = {
    "update": ({"contact_list": []}, "without the contact in it"),
    "upsert_known": ({"contact_list": []}, "without the contact in it"),
    **dict.fromkeys(("teams", "status", "assign", "cancel", "chatbot"), (_NOT_DONE, "Because")),
    **dict.fromkeys(("text", "url", "file", "buttons", "list"), (_MESSAGE_FAILED, "Because")),
    **dict.fromkeys(("template", "schedule"), (_NOT_SENT, "Because")),
}


@pytest.mark.parametrize("name", REFUSED_IN_200)
def test_a_refusal_inside_a_200_is_a_refusal(name: str, execute: Execute, sandbox: Sandbox) -> None:
    """A 200 whose body says false fails the task."""
    answer, says = REFUSED_IN_200[name]
    sandbox.fault("answer", method=METHODS[name], answer=answer)
    with pytest.raises(WatiRejectedError, match=says):
        run(name, execute)
    assert len(sandbox.requests(METHODS[name])) == 1


def test_real_refusals(execute: Execute, sandbox: Sandbox) -> None:
    """The sandbox refuses these by itself, as WATI does."""
    chitra, ticket = "12025550145", "Ticket has been expired"
    later = datetime.now(UTC) + timedelta(hours=1)
    client = sandbox.client()
    sale = {"target": ADA, "params": {"name": "Ada", "date": "1 March", "discount": "20%"}}
    gone = client.schedule_template_messages("welcome", "b", [{"target": NEW}], later).campaign_id
    for operator, kind, says in (
        (WatiSendTextOperator(task_id="a", target=chitra, text="Hello"), WatiBadRequestError, ticket),
        (
            WatiSendFileUrlOperator(task_id="b", target=chitra, file_url="https://example.com/a"),
            WatiBadRequestError,
            ticket,
        ),
        (WatiSendTextOperator(task_id="c", target=FARAH, text="Hello"), WatiConflictError, "channel before"),
        (
            WatiUpdateConversationStatusOperator(task_id="d", target=FARAH, status="open"),
            WatiConflictError,
            "Several open conversations match",
        ),
        (
            WatiUpdateConversationStatusOperator(task_id="e", target=NEW, status="open"),
            WatiNotFoundError,
            "Either it does not exist",
        ),
        (
            WatiAssignTeamsOperator(task_id="f", target=ADA, teams=["None"]),
            WatiBadRequestError,
            "Team not found",
        ),
        (
            WatiAssignConversationOperator(task_id="g", target=ADA, assignee_email="x@acme.example"),
            WatiBadRequestError,
            "Operator not found",
        ),
        (
            WatiUpdateContactOperator(task_id="h", target=NEW + "9", **NEW_PARAMS),
            WatiBadRequestError,
            "not found",
        ),
        (WatiCancelScheduledCampaignOperator(task_id="i", campaign_id=HEX), WatiNotFoundError, "404"),
        (
            WatiScheduleTemplateOperator(
                task_id="j", template_name="spring_sale", recipients=sale, scheduled_at=later
            ),
            WatiValidationError,
            "Template 'spring_sale' is PENDING, and WhatsApp takes approved ones only",
        ),
    ):
        with pytest.raises(kind, match=says):
            execute(operator)
    sandbox.control("POST", "/clock", {"advance": 7200})
    with pytest.raises(WatiBadRequestError, match="already started"):
        execute(WatiCancelScheduledCampaignOperator(task_id="k", campaign_id=str(gone)))


def test_a_cancelled_campaign_is_cancelled_again(execute: Execute, sandbox: Sandbox) -> None:
    """Cancelling a cancelled campaign is green."""
    later = datetime.now(UTC) + timedelta(hours=1)
    client = sandbox.client()
    campaign = str(client.schedule_template_messages("welcome", "b", [{"target": NEW}], later).campaign_id)
    for _ in range(2):
        operator = WatiCancelScheduledCampaignOperator(task_id="a", campaign_id=campaign)
        assert execute(operator) == {"campaign_id": campaign}


def test_an_update_that_skips_an_unknown_contact_is_refused(execute: Execute, sandbox: Sandbox) -> None:
    """An update whose answer leaves the contact out fails."""
    sandbox.control("PATCH", "/settings", {"unknown_contact_in_update": "skip"})
    with pytest.raises(WatiRejectedError, match="without the contact in it, so it did not update it"):
        execute(WatiUpdateContactOperator(task_id="a", target=NEW, **NEW_PARAMS))


def test_an_upsert_of_a_contact_that_was_just_created_becomes_an_update(
    execute: Execute, sandbox: Sandbox
) -> None:
    """A contact that another process created after the look-up is updated."""
    sandbox.fault("status", status=404, method="GET", count=1)
    operator = WatiUpsertContactOperator(
        task_id="a", phone_number=ADA, name="Ada Wong", custom_params={"tier": "black"}
    )
    execute(operator)
    assert (sandbox.state.by_phone[ADA].custom_params or {})["tier"] == "black"
    assert [contact.phone for contact in sandbox.state.contacts.values()].count(ADA) == 1
