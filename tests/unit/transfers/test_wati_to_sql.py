"""The transfers from WATI to a database, from the sandbox to real databases."""

from __future__ import annotations

import json
import random
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SystemClock
from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiNotFoundError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.extracting.campaign_recipients import CAMPAIGN_RECIPIENTS
from airflow_provider_wati.extracting.contacts import CONTACTS
from airflow_provider_wati.extracting.statuses import has_reached
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._sql import hook_of
from airflow_provider_wati.transfers._extract_table import ExtractTable
from airflow_provider_wati.transfers.wati_to_sql import (
    WatiCampaignRecipientsToSqlOperator,
    WatiContactsToSqlOperator,
    WatiMessagesToSqlOperator,
)
from tests.support.clock import SkippingClock

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

ADA, BEN, CHITRA = "12025550143", "12025550144", "12025550145"


def contacts(**changes: Any) -> WatiContactsToSqlOperator:
    return WatiContactsToSqlOperator(
        **{"task_id": "contacts", "table": "contacts", "sql_conn_id": "warehouse", **changes}
    )


def messages(**changes: Any) -> WatiMessagesToSqlOperator:
    return WatiMessagesToSqlOperator(
        **{"task_id": "messages", "table": "messages", "sql_conn_id": "warehouse", **changes}
    )


def recipients(**changes: Any) -> WatiCampaignRecipientsToSqlOperator:
    return WatiCampaignRecipientsToSqlOperator(
        **{"task_id": "recipients", "table": "recipients", "sql_conn_id": "warehouse", **changes}
    )


OPERATORS = {"contacts": contacts, "messages": messages, "recipients": recipients}


def send_campaign(sandbox: Sandbox, name: str, phones: list[str]) -> str:
    people = [{"phone_number": phone, "custom_params": {"name": "Ada"}} for phone in phones]
    result = sandbox.client().send_template_messages("welcome", name, people)
    assert result.campaign_id is not None
    return result.campaign_id


def advance(sandbox: Sandbox, seconds: float) -> None:
    sandbox.control("POST", "/clock", {"advance": seconds})


def calls_of(sandbox: Sandbox, action: Any) -> list[str]:
    """The calls that an action makes."""
    sandbox.control("DELETE", "/requests")
    action()
    return sandbox.requests()


class SandboxClock(SystemClock):
    """The time of the sandbox, which a test moves."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._sandbox.workspace.clock.now(), UTC)


def seed_conversations(sandbox: Sandbox, count: int, each: int = 1, first: int = 0) -> None:
    """Let people write in, each a minute after the one before."""
    for n in range(first, first + count):
        for k in range(each):
            advance(sandbox, 1)
            sandbox.control("POST", "/inbound", {"phone": f"9198{n:08d}", "text": f"{n}/{k}"})
        advance(sandbox, 60)


def all_messages(sandbox: Sandbox) -> dict[str, str]:
    """What WATI has, by id: the text of each message."""
    client = sandbox.client()
    return {
        str(message["id"]): str(message.get("text"))
        for talk in client.iter_conversations()
        for message in client.iter_messages(talk["id"])
    }


def test_contacts_arrive_with_their_consent(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """All contacts are in the table, with consent and attributes, and a second run writes only what changed."""
    summary = run(contacts())
    count = len(sandbox.state.contacts)
    assert (summary["listed"], summary["inserted"], summary["updated"]) == (count, count, 0)
    params, allowed = warehouse.execute(
        f"SELECT custom_params, allow_broadcast FROM contacts WHERE wa_id = '{ADA}'"
    )[0]
    assert json.loads(params) == {"tier": "gold", "city": "Hong Kong"}
    assert allowed in (True, 1)

    # The sandbox does not change last_updated here: an opt-out is found all the same.
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": ADA, "allow_broadcast": False}]})
    again = run(contacts())
    assert (again["inserted"], again["updated"], again["unchanged"]) == (0, 1, count - 1)
    opted_out = "SELECT allow_broadcast FROM contacts WHERE wa_id = '12025550143'"
    assert [bool(allowed) for (allowed,) in warehouse.execute(opted_out)] == [False]
    assert run(contacts(full=True))["updated"] == count


def test_a_second_look_at_contacts_costs_the_list_and_a_count(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """A run without news costs a call for each hundred contacts, one for the end of the list and one for the count."""
    sandbox.control("POST", "/contacts", {"count": 250})
    run(contacts())
    pages = len(sandbox.state.contacts) // 100 + 1
    calls = calls_of(sandbox, lambda: run(contacts()))
    assert len(calls) == pages + 1
    assert len([call for call in calls if call.endswith("/count")]) == 1


def test_messages_arrive_and_the_second_run_reads_what_is_new(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has every message of every conversation; the second run adds the new ones, and only looks at the newest."""
    monkeypatch.setattr(WatiOperator, "clock", SandboxClock(sandbox))
    seed_conversations(sandbox, 30)
    # Everything so far is older than the watermark less its overlap.
    advance(sandbox, 2 * 3600)
    run(messages())
    assert dict(warehouse.execute("SELECT id, text FROM messages")) == all_messages(sandbox)

    sandbox.control("POST", "/inbound", {"phone": f"9198{3:08d}", "text": "news"})
    sandbox.control("POST", "/inbound", {"phone": "919899999999", "text": "a new conversation"})
    advance(sandbox, 120)
    seen: list[Any] = []
    calls = calls_of(sandbox, lambda: seen.append(run(messages())))
    assert seen[0]["inserted"] == 2
    assert dict(warehouse.execute("SELECT id, text FROM messages")) == all_messages(sandbox)
    talks = {call for call in calls if "/messages" in call}
    assert len(talks) <= 2 + 11
    # A short conversation takes a second call, which shows that it ends.
    assert len(calls) <= 2 + 2 * len(talks)
    advance(sandbox, 2 * 3600)
    run(messages())
    advance(sandbox, 2 * 3600)
    calls = calls_of(sandbox, lambda: run(messages()))
    assert calls.count("GET /api/ext/v3/conversations") == 2
    assert len(calls) == 2 + 2 * 10


def test_a_read_implies_delivered_and_statuses_only_climb(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """Recipients have the stages they have passed, failures their code, and no later word takes a stage back."""
    sandbox.control("POST", "/clock", {"frozen": True})
    send_campaign(sandbox, "offer", [ADA, BEN, CHITRA, "12025131026"])
    run(recipients())
    assert set(warehouse.execute("SELECT DISTINCT status FROM recipients")) == {("queued",)}

    advance(sandbox, 3600)
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Yes"})
    assert run(recipients())["updated"] == 4
    flags = "status, is_sent, is_delivered, is_read, is_replied, is_failed"
    found = warehouse.execute(f"SELECT {flags} FROM recipients WHERE contact_phone = '+{ADA}'")
    assert [tuple(map(_plain, row)) for row in found] == [("replied", True, True, True, True, False)]
    failed = warehouse.execute(
        "SELECT status, failed_code FROM recipients WHERE contact_phone LIKE '%131026'"
    )
    assert failed == [("failed", "131026")]

    # The table knows more than WATI's list says now, as when the list lags behind: nothing goes back.
    ben = f"contact_phone = '+{BEN}'"
    before = warehouse.execute(f"SELECT {flags} FROM recipients WHERE {ben}")
    warehouse.execute(f"UPDATE recipients SET status = 'failed', failed_code = '1' WHERE {ben}")
    sandbox.control("POST", "/inbound", {"phone": CHITRA, "text": "Yes"})
    assert run(recipients())["updated"] == 1
    kept = warehouse.execute(f"SELECT {flags}, failed_code FROM recipients WHERE {ben}")
    assert kept == [("failed", *before[0][1:], "1")]
    assert run(recipients(full=True))["updated"] == 4
    assert warehouse.execute(f"SELECT {flags} FROM recipients WHERE {ben}") == before


def _plain(value: Any) -> Any:
    return bool(value) if isinstance(value, int) else value


@pytest.mark.parametrize("kind", ["cumulative", "exclusive"])
def test_a_second_look_at_campaigns_costs_three_calls_at_most(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, kind: str
) -> None:
    """Without news, a run costs at most 3 calls, however many campaigns there are; one reply costs that campaign only."""
    sandbox.control("PATCH", "/settings", {"statistics": kind})
    ids = [send_campaign(sandbox, f"c{n}", [ADA, BEN]) for n in range(12)]
    advance(sandbox, 3600)
    assert run(recipients())["inserted"] == 24
    again: list[Any] = []
    calls = calls_of(sandbox, lambda: again.append(run(recipients())))
    assert calls == ["GET /api/ext/v3/broadcasts", "GET /api/ext/v3/broadcasts/overview"]
    assert (again[0]["listed"], again[0]["inserted"], again[0]["updated"]) == (0, 0, 0)

    sandbox.control("POST", "/inbound", {"phone": BEN, "text": "Yes"})
    calls = calls_of(sandbox, lambda: again.append(run(recipients())))
    assert again[1]["updated"] == 1
    assert {call for call in calls if "/recipients" in call} == {
        f"GET /api/ext/v3/broadcasts/{ids[-1]}/recipients"
    }
    assert len(calls_of(sandbox, lambda: run(recipients()))) <= 3


def test_named_campaigns_are_read_and_no_others(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """With ``campaigns``, the recipients of these are read; without news, each costs a call."""
    wanted = send_campaign(sandbox, "wanted", [ADA])
    send_campaign(sandbox, "other", [BEN])
    advance(sandbox, 3600)
    for form in (wanted, [wanted], [{"id": wanted, "name": "x", "accepted": 1}]):
        run(recipients(campaigns=form))
        assert warehouse.execute("SELECT campaign_id, campaign_name FROM recipients") == [(wanted, "wanted")]
    assert len(calls_of(sandbox, lambda: run(recipients(campaigns=[wanted])))) == 1
    # What was read by name does not hide the others, and what is read again by name does not forget them.
    assert run(recipients())["inserted"] == 1
    assert run(recipients(campaigns=[wanted], full=True))["updated"] == 1
    calls = calls_of(sandbox, lambda: run(recipients()))
    assert not [call for call in calls if call.endswith("/recipients")]
    with pytest.raises(WatiNotFoundError):
        run(recipients(campaigns=["66b1fb04b40adca0000000ff"]))
    with pytest.raises(WatiValidationError, match="campaigns"):
        run(recipients(campaigns=[{"name": "x"}]))


def test_a_campaign_sent_later_is_found(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A campaign that is sent between two runs is in the table after the second."""
    send_campaign(sandbox, "one", [ADA])
    run(recipients())
    send_campaign(sandbox, "two", [BEN])
    run(recipients())
    assert warehouse.execute("SELECT DISTINCT campaign_name FROM recipients ORDER BY 1") == [
        ("one",),
        ("two",),
    ]


@pytest.mark.parametrize("name", OPERATORS)
def test_a_table_with_other_columns_is_an_error_before_anything_is_read(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, name: str
) -> None:
    """A table that lacks columns is refused before the first call, and stays as it is."""
    warehouse.execute(f"CREATE TABLE {name} (id VARCHAR(255), status TEXT)")
    with pytest.raises(WatiConfigurationError, match=rf"'{name}' has other columns .* lacks .*created"):
        run(OPERATORS[name]())
    assert sandbox.requests() == []
    assert warehouse.execute(f"SELECT * FROM {name}") == []


def test_a_table_that_takes_no_row_is_an_error_before_anything_is_read(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """A column of somebody else's that must not be NULL is found out before the first call."""
    run(contacts())
    warehouse.execute("DROP TABLE contacts")
    columns = "id VARCHAR(255), wa_id TEXT, extracted_at TEXT, mine TEXT NOT NULL"
    warehouse.execute(f"CREATE TABLE contacts ({columns})")
    sandbox.control("DELETE", "/requests")
    with pytest.raises(WatiConfigurationError, match="does not take a row of contacts"):
        run(contacts(columns=["wa_id"]))
    assert sandbox.requests() == []


def test_chosen_columns_are_kept_and_unknown_ones_refused(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """``columns`` keeps the named columns, ``id`` and ``extracted_at``; columns of the user's own survive an update."""
    run(contacts(columns=["wa_id", "allow_broadcast"]))
    warehouse.execute("ALTER TABLE contacts ADD COLUMN note TEXT", "UPDATE contacts SET note = 'mine'")
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": ADA, "allow_broadcast": False}]})
    assert run(contacts(columns=["wa_id", "allow_broadcast"]))["updated"] == 1
    assert warehouse.execute("SELECT COUNT(*) FROM contacts WHERE note IS NULL") == [(0,)]
    for columns in (["town"], "wa_id", [1]):
        with pytest.raises(WatiValidationError, match="columns"):
            run(contacts(columns=columns))
    with pytest.raises(WatiValidationError, match="full"):
        run(contacts(full="perhaps"))


@pytest.mark.parametrize("table", ["messages", '"My Table"', '"order"'])
def test_names_of_tables_are_quoted_in_the_way_of_the_database(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, table: str
) -> None:
    """A quoted name is a table like others, and the watermark stands beside it."""
    assert run(messages(table=table))["inserted"] > 0
    assert run(messages(table=table))["inserted"] == 0
    beside = f'"{table.strip(chr(34))}_watermark"'
    assert warehouse.execute(f"SELECT name FROM {beside}") == [("watermark",)]


def test_a_table_that_was_emptied_is_filled_again(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """A watermark without rows counts for nothing, so that a table that is dropped or emptied has everything again."""
    for settings in ({}, {"state_path": state}):
        count = run(messages(**settings))["inserted"]
        assert count > 3
        advance(sandbox, 7 * 86400)
        for statement in ("DELETE FROM messages", "DROP TABLE messages"):
            warehouse.execute(statement)
            assert run(messages(**settings))["inserted"] == count
        warehouse.execute("DROP TABLE messages", "DROP TABLE IF EXISTS messages_watermark")


def test_a_conversation_that_cannot_be_read_holds_the_watermark(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other conversations are stored, the task fails, and the next run has what was missing."""
    seed_conversations(sandbox, 5)
    bad = next(iter(sandbox.client().iter_conversations()))["id"]
    monkeypatch.setattr(WatiHook, "clock", SkippingClock())
    fault = sandbox.fault("status", status=500, path=f"*/conversations/{bad}/messages")
    with pytest.raises(
        WatiServerError, match=f"1 of WATI's conversations cannot be read, the first is {bad}"
    ):
        run(messages())
    assert warehouse.execute("SELECT * FROM messages_watermark") == []
    stored = dict(warehouse.execute("SELECT id, text FROM messages"))
    assert 0 < len(stored) < len(all_but(sandbox, fault))
    run(messages())
    assert dict(warehouse.execute("SELECT id, text FROM messages")) == all_messages(sandbox)


def all_but(sandbox: Sandbox, fault: int) -> dict[str, str]:
    """Take the fault away, and return all messages."""
    sandbox.control("DELETE", f"/faults/{fault}")
    return all_messages(sandbox)


def test_the_watermark_moves_only_after_the_commit(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database fails while rows are written, there is no watermark, and the next run stores everything."""
    from airflow_provider_wati.transfers import _extract_table

    def fail(*_: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(_extract_table.ExtractTable, "_insert_statement", fail)
        patch.setattr(_extract_table.ExtractTable, "_try_row", lambda *_: None)
        with pytest.raises(RuntimeError):
            run(messages())
    assert warehouse.execute("SELECT * FROM messages_watermark") == []
    run(messages())
    assert dict(warehouse.execute("SELECT id, text FROM messages")) == all_messages(sandbox)


def test_texts_that_databases_refuse_cost_no_row(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A NUL, an emoji, quotes and a long text are stored; a NUL is left out."""
    odd = "a\x00b 🌸 ' \" % ? :x " + "y" * 5000
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": odd})
    run(messages())
    [(found,)] = warehouse.execute("SELECT text FROM messages WHERE text LIKE 'ab %'")
    assert found == odd.replace("\x00", "")


def test_a_state_path_takes_the_place_of_the_table(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str
) -> None:
    """With a ``state_path``, no second table is made, and the second run of campaigns is as cheap."""
    send_campaign(sandbox, "one", [ADA])
    advance(sandbox, 3600)
    run(recipients(state_path=state))
    assert len(calls_of(sandbox, lambda: run(recipients(state_path=state)))) <= 3
    with pytest.raises(Exception, match="recipients_watermark"):
        warehouse.execute("SELECT * FROM recipients_watermark")
    [file] = Path(state).glob("wati_extract_*.json")
    file.write_text("[1]")
    with pytest.raises(WatiConfigurationError, match="not a watermark"):
        run(recipients(state_path=state))


def test_columns_of_other_types_are_compared_by_what_they_hold(
    run: Any, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """A table of the user's own making, with JSON and other times, is filled, and a second run finds nothing to write."""
    other = "JSONB" if warehouse.kind == "postgres" else "TEXT"
    warehouse.execute(
        f"CREATE TABLE contacts (ID VARCHAR(60) PRIMARY KEY, custom_params {other}, created TIMESTAMP, "
        "opted_in BOOLEAN, mine INTEGER DEFAULT 7, extracted_at TIMESTAMP)"
    )
    columns = ["custom_params", "created", "opted_in"]
    count = run(contacts(columns=columns))["inserted"]
    again = run(contacts(columns=columns))
    assert (again["updated"], again["unchanged"]) == (0, count)
    assert warehouse.execute("SELECT DISTINCT mine FROM contacts") == [(7,)]


def test_two_accounts_in_one_table_have_their_own_watermarks(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watermark of one channel hides nothing of another one in the same table."""
    send_campaign(sandbox, "one", [ADA])
    run(recipients())
    add_channel(sandbox, monkeypatch)
    run(recipients(wati_conn_id="second"))
    assert warehouse.execute("SELECT COUNT(DISTINCT account) FROM recipients_watermark") == [(2,)]


def add_channel(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a connection ``second`` with another channel of the account, and return the channel."""
    import os

    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    channel = connection["extra"]["channel"] = sandbox.state.channels[-1].phone
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps(connection))
    return channel


def test_a_table_of_two_channels_that_was_dropped_is_filled_again(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel that runs second finds rows of the first one, and goes by no watermark from before all the same."""
    monkeypatch.setattr(WatiOperator, "clock", SandboxClock(sandbox))
    channel = add_channel(sandbox, monkeypatch)
    send_campaign(sandbox, "of the default channel", [ADA])
    people = [{"phone_number": BEN, "custom_params": {"name": "Ben"}}]
    sandbox.client().send_template_messages("welcome", "of the second channel", people, channel=channel)
    for _ in range(2):
        advance(sandbox, 2 * 3600)
        for conn_id in ("wati_default", "second"):
            run(recipients(wati_conn_id=conn_id))
    warehouse.execute("DROP TABLE recipients")
    for conn_id in ("wati_default", "second"):
        run(recipients(wati_conn_id=conn_id))
    found = warehouse.execute("SELECT DISTINCT campaign_name FROM recipients")
    assert {name for (name,) in found} == {"of the default channel", "of the second channel"}


def test_a_kill_after_the_table_was_emptied_hides_nothing(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a run that fills an emptied table again ends in its middle, the next one does not go by the old watermark."""
    from airflow_provider_wati.extracting import job

    class KilledError(BaseException):
        """Stands in for a kill."""

    for settings in ({}, {"state_path": state}):
        run(messages(**settings))
        advance(sandbox, 7 * 86400)
        run(messages(**settings))
        warehouse.execute("DELETE FROM messages")
        with monkeypatch.context() as patch:
            patch.setattr(job, "CHUNK", 1)
            write = ExtractTable.write

            def write_once(table: Any, rows: Any, write: Any = write, patch: Any = patch) -> None:
                write(table, rows[:1])

                def kill(*_: Any) -> None:
                    raise KilledError

                patch.setattr(ExtractTable, "write", kill)

            patch.setattr(ExtractTable, "write", write_once)
            with pytest.raises(KilledError):
                run(messages(**settings))
        assert warehouse.execute("SELECT COUNT(*) FROM messages") == [(1,)]
        run(messages(**settings))
        assert dict(warehouse.execute("SELECT id, text FROM messages")) == all_messages(sandbox)
        warehouse.execute("DROP TABLE messages", "DROP TABLE IF EXISTS messages_watermark")


def test_connections_whose_tenant_is_not_known_have_their_own_watermarks(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections to one server without a tenant may be two accounts; with one tenant they are one."""
    import os

    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    host, _, tenant = sandbox.endpoint.rpartition("/")
    for tenant_id, expected in ((None, 2), (tenant, 1)):
        for name in ("one", "other"):
            extra = {**connection["extra"], "tenant_id": tenant_id}
            monkeypatch.setenv(
                f"AIRFLOW_CONN_{name.upper()}", json.dumps({**connection, "host": host, "extra": extra})
            )
            run(messages(wati_conn_id=name))
        assert warehouse.execute("SELECT COUNT(DISTINCT account) FROM messages_watermark") == [(expected,)]
        warehouse.execute("DROP TABLE messages", "DROP TABLE messages_watermark")


def test_rows_of_a_cursor_that_returns_dicts(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's cursor of the connection may return dicts: a table is filled, and a second run goes by its watermark."""
    import os

    if warehouse.kind != "postgres":
        pytest.skip("a setting of PostgreSQL's connections")
    connection = json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])
    connection["extra"]["cursor"] = "dictcursor"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    count = run(messages())["inserted"]
    again = run(messages())
    assert (again["inserted"], again["updated"]) == (0, 0)
    assert count == len(all_messages(sandbox))


@pytest.mark.parametrize("kind", ["CHAR(30)", "VARCHAR(24)", "TEXT"])
def test_an_id_of_another_type_finds_its_row(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, kind: str
) -> None:
    """A column that pads its texts, one that just fits WATI's ids, and one of any length: no row is written twice."""
    warehouse.execute(f"CREATE TABLE contacts (id {kind} PRIMARY KEY, name TEXT, extracted_at TEXT)")
    count = run(contacts(columns=["name"]))["inserted"]
    again = run(contacts(columns=["name"]))
    assert (again["inserted"], again["updated"], again["unchanged"]) == (0, 0, count)


def test_a_view_is_refused_before_anything_is_read(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A view that takes no rows is an error that names it, and nothing is read."""
    columns = ", ".join(column.name for column in CONTACTS.columns)
    warehouse.execute(
        f"CREATE TABLE kept ({', '.join(f'{column.name} TEXT' for column in CONTACTS.columns)})",
        f"CREATE VIEW contacts AS SELECT DISTINCT {columns} FROM kept",
    )
    with pytest.raises(WatiConfigurationError, match="'contacts' does not take a row"):
        run(contacts())
    assert sandbox.requests() == []


def test_an_error_of_the_database_shows_nobody(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """A row that the database refuses in the middle of a run is not in the error, which names the table."""
    run(contacts(columns=["wa_id", "name"]))
    warehouse.execute("DROP TABLE contacts")
    warehouse.execute(
        "CREATE TABLE contacts (id VARCHAR(60) PRIMARY KEY, wa_id TEXT, name TEXT CHECK (length(name) < 3), extracted_at TEXT)"
    )
    with pytest.raises(WatiConfigurationError, match="'contacts' refuses a row of contacts") as caught:
        run(contacts(columns=["wa_id", "name"]))
    shown = "".join(traceback.format_exception(caught.value))
    names = [contact.name for contact in sandbox.state.contacts.values()]
    assert not [text for text in (*names, ADA) if text and text in shown]


def recipient_row(id: str, **values: Any) -> dict[str, Any]:
    """A row of a recipient; what is not given is NULL."""
    empty = {column.name: None for column in CAMPAIGN_RECIPIENTS.columns}
    return {**empty, "id": id, "extracted_at": "2026-11-26T00:00:00.000000Z", **values}


def recipients_table(columns: list[str] | None = None) -> ExtractTable:
    chosen = CAMPAIGN_RECIPIENTS.choose(columns)
    table = ExtractTable(hook_of("warehouse"), "recipients", CAMPAIGN_RECIPIENTS, chosen)
    table.prepare()
    return table


def test_a_status_that_the_database_refuses_shows_nobody(warehouse: Warehouse) -> None:
    """A row that refuses a received status is not in the error, which names the table."""
    names = ["contact_phone", "contact_name", "message_id", "failed_code"]
    columns = ", ".join(f"{name} TEXT" for name in [*names, "extracted_at"])
    warehouse.execute(
        f"CREATE TABLE recipients (id VARCHAR(60) PRIMARY KEY, {columns}, CHECK (failed_code <> '131026'))"
    )
    table = recipients_table(names)
    table.write([recipient_row("a", contact_phone=f"+{ADA}", contact_name="Ada", message_id="wamid.A")])
    event: Any = {"status": "failed", "failed_code": "131026", "whatsapp_message_id": "wamid.A"}
    with pytest.raises(WatiConfigurationError, match="'recipients' refuses a row") as caught:
        table.apply([event], "2026-11-26T00:00:00.000000Z")
    shown = "".join(traceback.format_exception(caught.value))
    assert not [text for text in (ADA, "Ada") if text in shown]


def test_a_long_local_message_id_is_stored_and_found(warehouse: Warehouse) -> None:
    """WATI takes local ids of any length, and an index refuses none of them."""
    table = recipients_table()
    # Random, because PostgreSQL compresses what repeats itself.
    long = "".join(random.Random(1).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=9000))
    table.write([recipient_row("a", local_message_id=long, status="queued")])
    event: Any = {"status": "read", "local_message_id": long}
    assert table.apply([event], "2026-11-26T00:00:00.000000Z") == 1


def test_two_runs_that_write_the_same_rows_at_once(run: Any, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Of two runs that overlap, both end well, each row is there once, and no status goes back."""
    hook = hook_of("warehouse")
    names = ("status", "is_sent", "is_delivered", "is_read")
    columns = CAMPAIGN_RECIPIENTS.choose(names)
    ExtractTable(hook, "recipients", CAMPAIGN_RECIPIENTS, columns).prepare()
    count, failures = 400, []

    def row(n: int, status: str) -> dict[str, Any]:
        flags = {f"is_{stage}": has_reached(status, stage) for stage in ("sent", "delivered", "read")}
        return {"id": f"{n:024x}", "status": status, **flags, "extracted_at": "2026-11-26T00:00:00.000000Z"}

    def write(statuses: list[str], step: int) -> None:
        table = ExtractTable(hook_of("warehouse"), "recipients", CAMPAIGN_RECIPIENTS, columns)
        try:
            for status in statuses:
                table.write([row(n, status) for n in range(count)][::step])
        except Exception as error:
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(statuses, step))
        for statuses, step in (
            (["queued", "sent", "sent", "sent"], 1),
            (["sent", "delivered", "delivered"], -1),
            (["queued", "delivered", "read"], 1),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warehouse.execute("SELECT status, COUNT(*) FROM recipients GROUP BY status") == [("read", count)]


def test_a_status_does_not_go_back_when_another_run_has_written_meanwhile(
    run: Any, sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the stored row and its update, no other run can write it."""
    columns = CAMPAIGN_RECIPIENTS.choose(["status"])
    table = ExtractTable(hook_of("warehouse"), "recipients", CAMPAIGN_RECIPIENTS, columns)
    table.prepare()

    def row(status: str) -> dict[str, Any]:
        return {"id": "a", "status": status, "extracted_at": "2026-11-26T00:00:00.000000Z"}

    table.write([row("queued")])
    other = ExtractTable(hook_of("warehouse"), "recipients", CAMPAIGN_RECIPIENTS, columns)
    thread = threading.Thread(target=other.write, args=([row("delivered")],))
    stored = ExtractTable._stored

    def slowly(one: ExtractTable, cursor: Any, ids: Any) -> Any:
        found = stored(one, cursor, ids)
        if one is table:
            thread.start()
            # Long enough for the other to write, if it can.
            thread.join(0.5)
        return found

    monkeypatch.setattr(ExtractTable, "_stored", slowly)
    table.write([row("sent")])
    thread.join()
    assert warehouse.execute("SELECT status FROM recipients") == [("delivered",)]
