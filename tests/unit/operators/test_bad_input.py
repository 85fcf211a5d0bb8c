"""An argument with an error is refused before anything is sent, with the way out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiNotFoundError,
    WatiResponseError,
    WatiValidationError,
)
from airflow_provider_wati.operators.campaigns import (
    WatiCancelScheduledCampaignOperator as CancelCampaign,
    WatiGetCampaignOperator as GetCampaign,
    WatiGetCampaignRecipientsOperator as GetRecipients,
)
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator as StartChatbot
from airflow_provider_wati.operators.contacts import (
    WatiAssignTeamsOperator as AssignTeams,
    WatiCreateContactOperator as CreateContact,
    WatiGetContactOperator as GetContact,
    WatiUpdateContactOperator as UpdateContact,
    WatiUpsertContactOperator as UpsertContact,
)
from airflow_provider_wati.operators.conversations import (
    WatiAssignConversationOperator as AssignConversation,
    WatiUpdateConversationStatusOperator as UpdateStatus,
)
from airflow_provider_wati.operators.messages import (
    WatiGetMediaOperator as GetMedia,
    WatiSendButtonsOperator as SendButtons,
    WatiSendFileOperator as SendFile,
    WatiSendFileUrlOperator as SendFileUrl,
    WatiSendListOperator as SendList,
    WatiSendTextOperator as SendText,
)
from airflow_provider_wati.operators.templates import (
    WatiBroadcastTemplateOperator as Broadcast,
    WatiGetTemplateOperator as GetTemplate,
    WatiScheduleTemplateOperator as ScheduleTemplate,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA, HEX = "12025550143", "507f1f77bcf86cd799439011"
ROWS = [{"rows": [{"title": "10:00"}]}]
WITHOUT_PLUS = "'\\*+0143' must be digits only, country code first: write it without '\\+'"

REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (CreateContact, {"phone_number": f"+{ADA}", "name": "A"}, WITHOUT_PLUS),
    (CreateContact, {"phone_number": HEX, "name": "A"}, "none of: a phone number"),
    (CreateContact, {"phone_number": None, "name": "A"}, "none of: a phone number"),
    (CreateContact, {"phone_number": ADA, "name": "  "}, "name is empty"),
    (CreateContact, {"phone_number": ADA, "name": None}, "name is text, not NoneType"),
    (CreateContact, {"phone_number": ADA, "name": "A", "custom_params": {"n": 7}}, "'n' is int.*convert"),
    (
        CreateContact,
        {"phone_number": ADA, "name": "A", "custom_params": "n=7"},
        "a dict or a list, not str",
    ),
    (GetContact, {"target": "Ada"}, "none of: a phone number in digits .* BSUID"),
    (GetContact, {"target": ""}, "empty"),
    (GetContact, {"target": ADA, "if_missing": "ignore"}, "if_missing is fail, skip or none, not 'ignore'"),
    (
        UpdateContact,
        {"target": ADA, "custom_params": {}},
        "custom_params is empty: there is nothing to update",
    ),
    (UpdateContact, {"target": ADA, "custom_params": {"n": None}}, "parameter 'n' is NoneType"),
    (
        UpdateContact,
        {"target": ADA, "custom_params": [{"name": "n"}]},
        "holds {'name': ..., 'value': ...} only",
    ),
    (UpdateContact, {"target": "0049 30", "custom_params": {"n": "1"}}, "without '\\+', spaces|not starting"),
    (UpsertContact, {"phone_number": "12 02", "name": "A"}, "7 to 15 digits"),
    (UpsertContact, {"phone_number": HEX, "name": "A"}, "none of: a phone number"),
    (UpsertContact, {"phone_number": ADA, "name": ""}, "name is empty"),
    (UpsertContact, {"phone_number": ADA, "name": "A", "custom_params": {"n": 1.5}}, "'n' is float"),
    (AssignTeams, {"target": ADA, "teams": []}, "teams is a list of team names, and one is needed"),
    (AssignTeams, {"target": ADA, "teams": "Billing"}, "teams is a list of team names"),
    (AssignTeams, {"target": ADA, "teams": None}, "teams is a list of team names"),
    (AssignTeams, {"target": ADA, "teams": ["Billing", ""]}, "team name is empty"),
    (SendText, {"target": ADA, "text": "x" * 4097}, "text has 4097 characters; WATI allows 4096"),
    (SendText, {"target": ADA, "text": "\n"}, "text is empty"),
    (SendFileUrl, {"target": ADA, "file_url": "/tmp/a.png"}, "file_url starts with https://"),
    (SendFileUrl, {"target": ADA, "file_url": "s3://bucket/a.png"}, "file_url starts with https://"),
    (SendFileUrl, {"target": ADA, "file_url": ""}, "file_url is empty"),
    (SendFileUrl, {"target": f"+{ADA}", "file_url": "https://example.com/a.png"}, WITHOUT_PLUS),
    (SendButtons, {"target": ADA, "body": "b", "buttons": ["1", "2", "3", "4"]}, "a list of 1 to 3 texts"),
    (SendButtons, {"target": ADA, "body": "b", "buttons": []}, "a list of 1 to 3 texts"),
    (SendButtons, {"target": ADA, "body": "b", "buttons": "Yes"}, "a list of 1 to 3 texts"),
    (SendButtons, {"target": ADA, "body": "b", "buttons": ["x" * 21]}, "button 1 has 21 .* allows 20"),
    (SendButtons, {"target": ADA, "body": "", "buttons": ["1"]}, "body is empty"),
    (
        SendList,
        {"target": ADA, "body": "b", "button_text": "c", "sections": []},
        "sections is a list of .*'rows'",
    ),
    (SendList, {"target": ADA, "body": "b", "button_text": "", "sections": ROWS}, "button_text is empty"),
    (SendList, {"target": ADA, "body": "b", "button_text": "c", "sections": [{"rows": []}]}, "with one row"),
    (GetMedia, {"message_id": ""}, "message_id is empty"),
    (GetMedia, {"message_id": None}, "message_id is text, not NoneType"),
    (GetTemplate, {}, "Give either template_id or template_name"),
    (
        GetTemplate,
        {"template_id": HEX, "template_name": "welcome"},
        "Give either template_id or template_name",
    ),
    *[
        (
            Broadcast,
            {
                "template_name": "welcome",
                "rows": [{"phone": ADA}],
                "target_column": "phone",
                "param_columns": {},
                **wrong,
            },
            says,
        )
        for wrong, says in (
            ({"rows": 7}, "rows is a dict, a list of dicts or JSON of these, not int"),
            ({"rows": "[{"}, "rows is a text that is not JSON"),
            ({"rows": "/tmp/people.txt"}, "does not end in .csv, .jsonl, .parquet"),
            ({"batch_size": 0}, "batch_size is 0: give a whole number, 1 to 10,000"),
            ({"batch_size": 10_001}, "batch_size is 10001: give a whole number"),
            ({"batch_size": "500"}, "batch_size is .500.: give a whole number"),
            ({"on_unknown": "resend"}, "on_unknown is 'resend': give 'resend_after_grace' or 'hold'"),
            ({"failure_threshold": 1.5}, "failure_threshold is 1.5: give 0 to 1"),
            ({"failure_threshold": -0.1}, "failure_threshold is -0.1: give 0 to 1"),
            ({"outcomes_path": "/tmp/outcomes.txt"}, "does not end in .csv, .jsonl, .parquet"),
            ({"send_window": ("09:00", "21:00")}, "write \\('09:00', '21:00', 'Asia/Kolkata'\\)"),
            ({"send_window": ("9", "21:00", "Mars/Base")}, "write \\('09:00', '21:00', 'Asia/Kolkata'\\)"),
            ({"send_window": ("09:00", "09:00", "Asia/Kolkata")}, "two different times of day"),
            ({"send_window": ()}, "write \\('09:00', '21:00', 'Asia/Kolkata'\\)"),
            ({"suppress": 7}, "suppress is a list of targets, or the URI of a file"),
            ({"suppress": [ADA, "Ada"]}, "Entry 2 of suppress cannot be read"),
        )
    ],
    *[
        (
            ScheduleTemplate,
            {"template_name": "welcome", "recipients": {"target": ADA}, "scheduled_at": at},
            says,
        )
        for at, says in (
            (datetime(2099, 1, 1), "without a time zone: add one, such as 2099-01-01T00:00:00\\+08:00"),
            ("2030-01-01T10:00:00", "without a time zone: add one"),
            ("2030-01-01", "without a time zone: add one"),
            ("tomorrow", "scheduled_at is 'tomorrow': give ISO 8601, such as"),
            ("", "scheduled_at was given, and is '' now that it has been rendered"),
            (None, "scheduled_at is None: give ISO 8601"),
            (4070908800, "scheduled_at is 4070908800: give ISO 8601"),
            ("2026-01-01T10:00:00+08:00", "which is in the past"),
            (datetime(2026, 1, 1, tzinfo=UTC), "which is in the past: give a later one"),
        )
    ],
    (UpdateStatus, {"target": ADA, "status": "closed"}, "one of open, solved, pending, block, not 'closed'"),
    (UpdateStatus, {"target": ADA, "status": "SOLVED"}, "one of open, solved, pending, block, not 'SOLVED'"),
    (UpdateStatus, {"target": ADA, "status": None}, "one of open, solved, pending, block"),
    (AssignConversation, {"target": ADA, "assignee_email": ""}, "assignee_email is empty"),
    (AssignConversation, {"target": "", "assignee_email": None}, "target is empty|empty"),
    (GetCampaign, {"campaign_id": " "}, "campaign_id is empty"),
    (
        GetRecipients,
        {"campaign_id": HEX, "destination": "/tmp/a.txt"},
        "does not end in .csv, .jsonl, .parquet",
    ),
    (GetRecipients, {"campaign_id": "", "destination": None}, "campaign_id is empty"),
    (CancelCampaign, {"campaign_id": ""}, "campaign_id is empty"),
    (StartChatbot, {"target": ADA}, "Give either chatbot_id or chatbot_name"),
    (
        StartChatbot,
        {"target": ADA, "chatbot_id": "a", "chatbot_name": "b"},
        "Give either chatbot_id or chatbot_name",
    ),
    (
        StartChatbot,
        {"target": "US.123124141512", "chatbot_id": "a"},
        "do not take a BSUID.*use a phone number",
    ),
]


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    return quick_sandbox


@pytest.mark.parametrize(
    ("operator", "arguments", "says"),
    REFUSED,
    ids=[f"{operator.__name__}-{n}" for n, (operator, _, _) in enumerate(REFUSED)],
)
def test_refused_before_anything_is_sent(
    operator: Any, arguments: dict[str, Any], says: str, execute: Execute, sandbox: Sandbox
) -> None:
    """An argument with an error fails the task before the first call."""
    with pytest.raises(WatiValidationError, match=says) as raised:
        execute(operator(task_id="a", **arguments))
    # A template is looked up before the rows are read, and nothing else is asked of WATI.
    templates = operator in (ScheduleTemplate, Broadcast)
    asked = {request.partition("?")[0] for request in sandbox.requests()}
    assert {path.rpartition("/")[2] for path in asked} <= ({"messageTemplates"} if templates else set()), (
        asked
    )
    assert sandbox.requests("POST") == []
    assert ADA not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "size", "given", "says"),
    [
        (
            "a.png",
            5 * 1024 * 1024 + 1,
            {},
            "'a.png' has 5,242,881 bytes; WATI takes 5 MB \\(5,242,880\\) as image",
        ),
        (
            "a.mp4",
            17 * 1024 * 1024,
            {},
            "'a.mp4' has 17,825,792 bytes; WATI takes 16 MB \\(16,777,216\\) as video",
        ),
        ("a.gif", 10, {}, "WATI does not take 'a.gif' of type 'image/gif'; it takes: .*pdf"),
        ("a.pdf", 0, {}, "'a.pdf' is empty"),
        ("a.xyz1", 10, {}, "has no known suffix: give a mime_type"),
        ("a.csv.gz", 10, {}, "has no known suffix: give a mime_type"),
        ("a", 10, {}, "has no known suffix: give a mime_type"),
        ("a.png", 10, {"mime_type": "application/zip"}, "does not take 'a.png' of type 'application/zip'"),
        ("a.png", 10, {"file_name": "b.exe"}, "does not take 'b.exe'|'b.exe' does not tell"),
        ("a.png", 10, {"target": HEX[:5]}, "none of: a phone number|7 to 15 digits"),
    ],
)
def test_a_file_that_wati_refuses_is_not_uploaded(
    name: str,
    size: int,
    given: dict[str, Any],
    says: str,
    execute: Execute,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    """Type and size of a file are checked before the upload."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(size)
    with pytest.raises(WatiValidationError, match=says):
        execute(SendFile(**{"task_id": "a", "target": ADA, "path": f"{tmp_path}/{name}", **given}))
    assert sandbox.requests() == []


def test_a_missing_file(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A missing file fails the task before the first call."""
    with pytest.raises(FileNotFoundError, match="a.png"):
        execute(SendFile(task_id="a", target=ADA, path=f"{tmp_path}/a.png"))
    assert sandbox.requests() == []


def test_a_missing_chatbot_or_template(execute: Execute, sandbox: Sandbox) -> None:
    """An unknown name fails the task and is named in the error."""
    with pytest.raises(WatiNotFoundError, match="no chatbot 'welcome bot'; it has: 'Welcome bot', 'Order"):
        execute(StartChatbot(task_id="a", target=ADA, chatbot_name="welcome bot"))
    with pytest.raises(WatiNotFoundError, match="no template 'nothing' on the channel 'default'"):
        execute(GetTemplate(task_id="a", template_name="nothing"))
    with pytest.raises(WatiNotFoundError, match="no template 'ticket_closed' on the channel 'default'"):
        execute(GetTemplate(task_id="a", template_name="ticket_closed"))
    assert sandbox.requests("POST") == []


def test_a_chatbot_that_is_listed_without_an_id(execute: Execute, sandbox: Sandbox) -> None:
    """A chatbot without an id is not started, and the error says how to start it."""
    sandbox.fault("answer", method="GET", path="*/chatbots", answer={"chatbot_list": [{"name": "Survey"}]})
    with pytest.raises(WatiResponseError, match="'Survey' without an id.*give chatbot_id"):
        execute(StartChatbot(task_id="a", target=ADA, chatbot_name="Survey"))
    assert sandbox.requests("POST") == []


def test_a_cancellation_needs_the_tenant(
    execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a tenant id, cancelling fails with the setting to make."""
    connection = f"wati://:{sandbox.token}@127.0.0.1:{sandbox.port}/?__extra__=%7B%7D"
    monkeypatch.setenv("AIRFLOW_CONN_NO_TENANT", connection.replace("@127", "@http%3A%2F%2F127"))
    with pytest.raises(WatiConfigurationError, match="tenant_id"):
        execute(CancelCampaign(task_id="a", campaign_id=HEX, wati_conn_id="no_tenant"))
    assert sandbox.requests() == []
