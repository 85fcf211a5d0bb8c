"""
The kit's replay over each of our own sends: crash at each call of WATI's API, try again, nobody twice,
nobody forgotten.

``WATI_REPLAY=all`` crashes in every way at every call, those that read too; ``-rP`` shows how many there were.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseHook, BaseOperator, task

import airflow_provider_wati
from airflow_provider_wati.notifications.wati import WatiNotifier
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
from tests.conftest import HAS_TASK_STATE_STORE, needs_task_state_store

ADA, BEN, NEW = "12025550143", "12025550144", "12025550190"
GRACE = "US.13491208655302741918"
ORDERS = [
    {"phone": ADA, "name": "Ada", "order_id": "1001", "status": "packed"},
    {"phone": BEN, "name": "Ben", "order_id": "1002", "status": "on its way"},
]
PARAMS = {"name": "name", "order_id": "order_id", "status": "status"}
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(minutes=5)}


Prepare = Callable[[WatiSandbox], None] | None


@pytest.fixture
def wati() -> Iterator[WatiSandbox]:
    with WatiSandbox() as wati:
        yield wati


def own_state(folder: Path) -> None:
    """Give a run a state_path of its own: `prepare` is called in the process of the run, and the tasks inherit it."""
    os.environ["AIRFLOW__WATI__STATE_PATH"] = tempfile.mkdtemp(prefix="state-", dir=folder)


@pytest.fixture
def remember(tmp_path: Path) -> Prepare:
    """What prepares a run where Airflow has no store, so that a send that is tried again has somewhere to remember."""
    return None if HAS_TASK_STATE_STORE else lambda _: own_state(tmp_path)


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


#: They have a test of their own below.
APART = {WatiAskOperator, WatiSendFileOperator, WatiStartChatbotOperator, SqlToWatiTemplateOperator}
#: They read, or write what may be written twice: nobody gets anything of it.
OTHERS = {
    "WatiAssignConversationOperator",
    "WatiAssignTeamsOperator",
    "WatiCancelScheduledCampaignOperator",
    "WatiGetCampaignOperator",
    "WatiGetCampaignRecipientsOperator",
    "WatiGetContactOperator",
    "WatiGetMediaOperator",
    "WatiGetTemplateOperator",
    "WatiSubscribeWebhookOperator",
    "WatiSyncContactsOperator",
    "WatiUpdateContactOperator",
    "WatiUpdateConversationStatusOperator",
    "SqlToWatiContactsOperator",
    *(
        f"Wati{what}To{where}Operator"
        for what in ("Contacts", "Messages", "CampaignRecipients")
        for where in ("Sql", "File")
    ),
}


def operators() -> set[str]:
    """The operators that users import, by name."""
    package = Path(airflow_provider_wati.__file__).parent
    modules = [
        f"airflow_provider_wati.{file.parent.name}.{file.stem}"
        for part in ("operators", "transfers")
        for file in (package / part).glob("[a-z]*.py")
    ]
    return {
        name
        for module in map(import_module, modules)
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, BaseOperator) and found.__module__ == module.__name__
        if not name.startswith("_")
    }


def test_every_operator_is_replayed_or_sends_nothing() -> None:
    """An operator that is added is replayed here, or named as one that sends nothing."""
    sends = {type(make(task_id="send")).__name__ for make in SENDS.values()}
    assert operators() == sends | {each.__name__ for each in APART} | OTHERS
    assert not sends & OTHERS


def sites(calls: Iterable[CallSite]) -> set[tuple[str, str]]:
    """The places in the code that call, each with its task."""
    return {(call.task_id, call.site) for call in calls}


def check(found: Replay, calls: int = 1) -> None:
    """Hold a replay to what it stands for: there was something to crash, at each call, and nobody was hit."""
    print(found)
    assert (found.twice, found.forgotten) == (0, 0)
    assert len(found.calls) >= calls
    assert sites(history.call for history in found.histories) == sites(found.calls)
    writes = [call.number for call in found.calls if not call.is_read]
    for number in writes:
        kinds = {history.crash for history in found.histories if history.call.number == number}
        assert kinds >= {Crash.BEFORE, Crash.UNANSWERED, Crash.ANSWERED, Crash.DROPPED}
    assert writes


@pytest.mark.parametrize("name", SENDS)
def test_a_send_with_retries(name: str, wati: WatiSandbox, remember: Prepare) -> None:
    """Whatever call a send is killed at, Airflow's retry messages nobody twice and forgets nobody."""
    check(replay(SENDS[name](task_id="send", **RETRIES), wati, prepare=remember))


@pytest.mark.parametrize("name", ["text", "template"])
@needs_task_state_store
def test_a_send_with_a_state_path(name: str, wati: WatiSandbox, tmp_path: Path) -> None:
    """The same holds where a directory remembers the send in place of Airflow's store."""
    send = SENDS[name](task_id="send", **RETRIES)
    check(replay(send, wati, prepare=lambda _: own_state(tmp_path)))


@pytest.mark.parametrize("name", ["text", "template"])
def test_a_send_that_is_cleared(name: str, wati: WatiSandbox) -> None:
    """A task without retries is cleared by somebody, which empties Airflow's store on 3.4, and messages nobody twice."""
    found = replay(SENDS[name](task_id="send"), wati)
    check(found)
    killed = [history for history in found.histories if history.crash is not Crash.DROPPED]
    assert all("somebody cleared send" in history.steps for history in killed)


def test_a_file(wati: WatiSandbox, tmp_path: Path, remember: Prepare) -> None:
    """A file whose upload is cut off anywhere arrives once."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 an invoice")
    send = WatiSendFileOperator(task_id="send", target=ADA, path=f"{tmp_path}/a.pdf", **RETRIES)
    check(replay(send, wati, prepare=remember))


def test_rows_of_a_database(
    wati: WatiSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remember: Prepare
) -> None:
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
    check(replay(send, wati, prepare=remember))


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_question(deferrable: bool, wati: WatiSandbox, remember: Prepare) -> None:
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
    found = replay(ask, wati, prepare=remember)
    check(found, calls=2)
    assert any("trigger" in call.task for call in found.calls) is deferrable


def test_a_chatbot_stops_rather_than_start_twice(wati: WatiSandbox, remember: Prepare) -> None:
    """A chatbot whose start may have been lost is not started again: the task fails for good, and says why."""
    start = WatiStartChatbotOperator(
        task_id="start", target=ADA, chatbot_id="65b7a1c2c4a7b07000000001", **RETRIES
    )
    found = replay(start, wati, prepare=remember, may_stop={"start"})
    check(found)
    stopped = {history.crash: history.stopped for history in found.histories if history.stopped}
    assert set(stopped) == {Crash.BEFORE, Crash.UNANSWERED, Crash.ANSWERED, Crash.DROPPED}
    assert all("on_unknown='start'" in reason for [reason] in stopped.values())
    with pytest.raises(ReplayError, match="FORGOTTEN: task start"):
        replay(start, wati, prepare=remember, crashes={Crash.BEFORE})


def test_a_notifier_is_never_repeated(wati: WatiSandbox, remember: Prepare) -> None:
    """A notification is sent at most once, wherever its process ends or its connection breaks, and its task succeeds."""
    send = WatiSendTextOperator(
        task_id="send",
        target=ADA,
        text="Your order is packed.",
        on_success_callback=WatiNotifier(targets=BEN, text="The customer knows."),
        **RETRIES,
    )
    # Killed before WATI acts, it is lost: nobody calls a callback again.
    sure = set(Crash) - {Crash.BEFORE}
    found = replay(send, wati, prepare=remember, crashes=sure)
    assert (found.twice, found.forgotten) == (0, 0)
    told = [call for call in found.calls if not call.is_in_task and not call.is_read]
    assert {history.crash for history in found.histories if history.call in told} >= sure - {Crash.RETURNED}


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


#: A program that sends a text, as a task may start one: its sockets are none of the task's process.
PROGRAM = """
import json, sys
from urllib.request import Request, urlopen
url, token = sys.argv[1:]
body = json.dumps({"target": "12025550143", "text": "Packed"}).encode()
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
urlopen(Request(url, body, headers), timeout=60).read()
"""


def text_arguments() -> tuple[str, str]:
    """Return the address at which texts are sent, and the token."""
    connection = BaseHook.get_connection("wati_default")
    url = str(connection.host).rpartition("/")[0] + "/api/ext/v3/conversations/messages/text"
    return url, str(connection.password)


def start_program() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, *text_arguments()], check=True)


def start_worker() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as workers:
        workers.submit(send_plainly).result()


def send_plainly(target: str = ADA) -> None:
    import requests

    url, token = text_arguments()
    headers = {"Authorization": f"Bearer {token}"}
    requests.post(url, json={"target": target, "text": "Packed"}, headers=headers, timeout=60)


@pytest.mark.parametrize("start", [start_program, start_worker])
def test_what_another_process_sends_is_killed_too(start: Callable[[], None], wati: WatiSandbox) -> None:
    """A task whose message another process sends is killed as the answer arrives there, and found."""
    with DAG("shop") as dag:
        task(retries=1, task_id="notify")(start)()
    with pytest.raises(ReplayError, match="1 calls, 1 crashes, 1 twice, 0 forgotten") as raised:
        replay(dag, wati, crashes={Crash.ANSWERED})
    assert "notify was killed; Airflow tries again" in str(raised.value)


def test_what_a_task_leaves_behind_holds_nothing_up(wati: WatiSandbox) -> None:
    """A worker whose parent was killed waits for ever; the run ends all the same, and the worker with it."""
    with DAG("shop") as dag:
        task(retries=1, task_id="notify")(start_worker)()
    found = replay(dag, wati, crashes={Crash.BEFORE})
    assert [history.is_good for history in found.histories] == [True]


def test_a_callback_that_sends_is_crashed_as_far_as_it_goes(wati: WatiSandbox) -> None:
    """No crash after the return is made at the call of a callback, and the one at the task's own call is."""

    def tell(_: Any) -> None:
        send_plainly(BEN)

    with DAG("shop") as dag:
        task(retries=1, task_id="notify", on_success_callback=tell)(send_plainly)()
    with pytest.raises(ReplayError, match="2 calls, 1 crashes, 1 twice") as raised:
        replay(dag, wati, crashes={Crash.RETURNED})
    assert f"TWICE: {ADA}" in str(raised.value)


def test_calls_of_prepare_are_none_of_the_runs(wati: WatiSandbox) -> None:
    """A function that prepares a run may send: no crash is made there."""
    with DAG("shop") as dag:
        task(retries=1, task_id="notify")(send_plainly)()
    with pytest.raises(ReplayError, match="1 calls, 1 crashes, 1 twice"):
        replay(
            dag,
            wati,
            prepare=lambda here: here.client().send_text(BEN, "Before"),
            crashes={Crash.UNANSWERED},
        )


def test_a_replay_that_could_find_nothing_is_an_error(wati: WatiSandbox) -> None:
    """No call of the task, no crash, or no message that counts: each says so in place of a good result."""
    with DAG("shop") as dag:
        quiet = task(task_id="quiet")(lambda: None)()
        quiet >> task(retries=1, task_id="notify")(send_plainly)()
    with pytest.raises(ReplayError, match="Task quiet makes no call"):
        replay(quiet, wati)
    with pytest.raises(ReplayError, match="None of the crashes"):
        replay(dag, wati, crashes=())
    with pytest.raises(ReplayError, match="The key is None for every message"):
        replay(dag, wati, key=lambda _: None)


def test_calls_that_go_by_the_replay_are_an_error(wati: WatiSandbox) -> None:
    """A task with the endpoint of the test's own sandbox is not watched, even if another task is: that is said."""
    endpoint, token = wati.endpoint, wati.server.token

    def fixed() -> None:
        from airflow_provider_wati.client import WatiClient

        WatiClient(endpoint, token).send_text(ADA, "Packed")

    with DAG("shop") as dag:
        task(task_id="notify")(send_plainly)() >> task(task_id="fixed")(fixed)()
    with pytest.raises(ReplayError, match="1 calls came to the sandbox of the test"):
        replay(dag, wati)


def test_people_without_a_phone_number_are_told_apart(wati: WatiSandbox) -> None:
    """Somebody who is known by a BSUID only is named in the messages, so that one is not taken for another."""
    with DAG("shop") as dag:
        task(retries=1, task_id="notify")(send_plainly)(GRACE)
    found = replay(dag, wati, crashes={Crash.BEFORE})
    assert [message.phone for message in found.messages] == [GRACE]


@pytest.mark.parametrize(
    ("arguments", "is_sent"),
    [
        (lambda tell: {"retries": 1, "on_retry_callback": tell}, True),
        (lambda tell: {"retries": 1, "on_failure_callback": tell}, False),
        (lambda tell: {"on_failure_callback": [tell]}, True),
    ],
)
def test_callbacks_of_a_task_that_was_killed_run(
    arguments: Callable[[Any], dict[str, Any]], is_sent: bool, wati: WatiSandbox
) -> None:
    """What the callbacks of a killed task send is found: those of a retry if it is tried again, else those of a failure."""

    def tell(context: Any) -> None:
        assert (context["ti"].task_id, context["run_id"]) == ("notify", context["dag_run"].run_id)
        send_plainly(BEN)

    with DAG("shop") as dag:
        task(task_id="notify", **arguments(tell))(send_plainly)()
    if is_sent:
        with pytest.raises(ReplayError, match=rf"TWICE: {BEN}: .*: 1 instead of 0"):
            replay(dag, wati, crashes={Crash.BEFORE})
    else:
        assert replay(dag, wati, crashes={Crash.BEFORE}).messages
