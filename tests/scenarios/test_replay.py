"""
The kit's replay over each of our own sends: crash at each call of WATI's API, try again, nobody twice,
nobody forgotten.

``WATI_REPLAY=all`` crashes in every way at every call, those that read too.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseHook, task

from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import WatiCreateContactOperator, WatiUpsertContactOperator
from airflow_provider_wati.operators.messages import (
    WatiAskOperator,
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
    WatiSendTextOperator,
)
from airflow_provider_wati.operators.templates import (
    WatiBroadcastTemplateOperator,
    WatiScheduleTemplateOperator,
    WatiSendTemplateOperator,
)
from airflow_provider_wati.testing import CallSite, Crash, Replay, ReplayError, WatiSandbox, replay
from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiTemplateOperator
from tests.conftest import needs_task_state_store

ADA, BEN, NEW = "12025550143", "12025550144", "12025550190"
ORDERS = [
    {"phone": ADA, "name": "Ada", "order_id": "1001", "status": "packed"},
    {"phone": BEN, "name": "Ben", "order_id": "1002", "status": "on its way"},
]
PARAMS = {"name": "name", "order_id": "order_id", "status": "status"}
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(minutes=5)}


@pytest.fixture
def wati() -> Iterator[WatiSandbox]:
    with WatiSandbox() as wati:
        yield wati


def people(key: str) -> list[dict[str, Any]]:
    return [{key: order["phone"], "params": {name: order[name] for name in PARAMS}} for order in ORDERS]


SENDS: dict[str, Callable[..., Any]] = {
    "text": lambda **more: WatiSendTextOperator(target=ADA, text="Your order is packed.", **more),
    "file by URL": lambda **more: WatiSendFileUrlOperator(
        target=ADA, file_url="https://example.com/a.png", caption="A map", **more
    ),
    "buttons": lambda **more: WatiSendButtonsOperator(
        target=ADA, body="Today?", buttons=["Yes", "No"], **more
    ),
    "list": lambda **more: WatiSendListOperator(
        target=ADA, body="When?", button_text="Choose", sections=[{"rows": [{"title": "10:00"}]}], **more
    ),
    "template": lambda **more: WatiSendTemplateOperator(
        template_name="order_update", recipients=people("target"), batch_size=1, **more
    ),
    "broadcast": lambda **more: WatiBroadcastTemplateOperator(
        template_name="order_update", rows=ORDERS, target_column="phone", param_columns=PARAMS, **more
    ),
    "schedule": lambda **more: WatiScheduleTemplateOperator(
        template_name="order_update",
        recipients=people("target"),
        scheduled_at=datetime.now(UTC) + timedelta(days=2),
        **more,
    ),
    "create contact": lambda **more: WatiCreateContactOperator(phone_number=NEW, name="Hana", **more),
    "upsert contact": lambda **more: WatiUpsertContactOperator(
        phone_number=NEW, name="Hana", custom_params={"city": "Osaka"}, **more
    ),
}


def sites(calls: Iterable[CallSite]) -> set[tuple[str, str]]:
    """The places in the code that call, each with its task."""
    return {(call.task_id, call.site) for call in calls}


def check(found: Replay, calls: int = 1) -> None:
    """Hold a replay to what it stands for: there was something to crash, at each call, and nobody was hit."""
    assert (found.twice, found.forgotten) == (0, 0)
    assert len(found.calls) >= calls
    assert sites(history.call for history in found.histories) == sites(found.calls)
    writes = [call.number for call in found.calls if not call.is_read]
    for number in writes:
        kinds = {history.crash for history in found.histories if history.call.number == number}
        assert kinds >= {Crash.BEFORE, Crash.UNANSWERED, Crash.ANSWERED, Crash.DROPPED}
    assert writes


@pytest.mark.parametrize("name", SENDS)
@needs_task_state_store
def test_a_send_with_retries(name: str, wati: WatiSandbox) -> None:
    """Whatever call a send is killed at, Airflow's retry messages nobody twice and forgets nobody."""
    check(replay(SENDS[name](task_id="send", **RETRIES), wati))


@pytest.mark.parametrize("name", ["text", "template"])
def test_a_send_that_is_cleared(name: str, wati: WatiSandbox) -> None:
    """A task without retries is cleared by somebody, which empties Airflow's store on 3.4, and messages nobody twice."""
    found = replay(SENDS[name](task_id="send"), wati)
    check(found)
    killed = [history for history in found.histories if history.crash is not Crash.DROPPED]
    assert all("somebody cleared send" in history.steps for history in killed)


@needs_task_state_store
def test_a_file(wati: WatiSandbox, tmp_path: Path) -> None:
    """A file whose upload is cut off anywhere arrives once."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 an invoice")
    check(replay(WatiSendFileOperator(task_id="send", target=ADA, path=f"{tmp_path}/a.pdf", **RETRIES), wati))


@needs_task_state_store
def test_rows_of_a_database(wati: WatiSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A send of rows that SQL reads messages everybody once."""
    shop = {"conn_type": "sqlite", "host": str(tmp_path / "shop.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(shop))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE TABLE orders (phone, name, order_id, status)")
        database.executemany("INSERT INTO orders VALUES (:phone, :name, :order_id, :status)", ORDERS)
    send = SqlToWatiTemplateOperator(
        task_id="send",
        sql_conn_id="shop",
        sql="SELECT * FROM orders",
        template_name="order_update",
        target_column="phone",
        param_columns=PARAMS,
        **RETRIES,
    )
    check(replay(send, wati))


@needs_task_state_store
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_question(deferrable: bool, wati: WatiSandbox) -> None:
    """A question is asked once and its answer found, whatever call is cut off, also in the triggerer."""
    # A deferred task is answered when it has looked once, so that the triggerer finds the answer.
    wati.answers(ADA, "Yes", after=timedelta(minutes=1 if deferrable else 0))
    ask = WatiAskOperator(
        task_id="ask",
        target=ADA,
        body="Today?",
        buttons=["Yes", "No"],
        answer_timeout=timedelta(hours=4),
        deferrable=deferrable,
        **RETRIES,
    )
    found = replay(ask, wati)
    check(found, calls=2)
    assert any("trigger" in call.task for call in found.calls) is deferrable


@needs_task_state_store
def test_a_chatbot_stops_rather_than_start_twice(wati: WatiSandbox) -> None:
    """A chatbot whose start may have been lost is not started again: the task fails for good, and says why."""
    start = WatiStartChatbotOperator(
        task_id="start", target=ADA, chatbot_id="65b7a1c2c4a7b07000000001", **RETRIES
    )
    found = replay(start, wati, may_stop={"start"})
    check(found)
    stopped = {history.crash: history.stopped for history in found.histories if history.stopped}
    assert set(stopped) == {Crash.BEFORE, Crash.UNANSWERED, Crash.ANSWERED, Crash.DROPPED}
    assert all("on_unknown='start'" in reason for [reason] in stopped.values())
    with pytest.raises(ReplayError, match="FORGOTTEN: task start"):
        replay(start, wati, crashes={Crash.BEFORE})


def test_a_plain_request_is_found_at_once(wati: WatiSandbox) -> None:
    """A task that posts with requests and is retried messages people twice: the report names the line and the attempt."""
    with DAG("shop") as dag:

        @task(retries=1, retry_delay=timedelta(minutes=5))
        def notify() -> None:
            import requests

            connection = BaseHook.get_connection("wati_default")
            url = str(connection.host).rpartition("/")[0] + "/api/ext/v3/conversations/messages/text"
            headers = {"Authorization": f"Bearer {connection.password}"}
            requests.post(url, json={"target": ADA, "text": "Packed"}, headers=headers, timeout=10)

        notify()
    with pytest.raises(ReplayError) as raised:
        replay(dag, wati)
    report = str(raised.value)
    assert "1 calls, 5 crashes, 4 twice, 0 forgotten" in report
    assert "call 1, POST /conversations/messages/text, by notify, attempt 1" in report
    assert re.search(r"at \S*test_replay\.py:\d+ in notify", report)
    assert "TWICE: 12025550143: text, 'Packed'" in report
    wati.nothing_received()


def test_a_task_that_forgets_is_found(wati: WatiSandbox) -> None:
    """A task that notes the message before it sends it forgets people when it is killed in between."""
    with DAG("shop") as dag:

        @task(retries=1)
        def notify(marker: str) -> None:
            from airflow_provider_wati.hooks.wati import WatiHook

            if not os.path.exists(marker):
                with open(marker, "w"):
                    WatiHook().client.send_text(ADA, "Packed")

        notify(f"{tempfile.gettempdir()}/wati-replay-marker-{os.getpid()}")
    marker = f"{tempfile.gettempdir()}/wati-replay-marker-{os.getpid()}"
    with pytest.raises(ReplayError, match=r"FORGOTTEN: 12025550143: text, 'Packed' .*: 0 instead of 1"):
        replay(
            dag,
            wati,
            prepare=lambda _: Path(marker).unlink(missing_ok=True),
            crashes={Crash.BEFORE},
            jobs=1,
        )
