"""
The kit's replay over each example DAG that sends: crash at each line of code that calls WATI, nobody twice, nobody forgotten.

``WATI_REPLAY=all`` crashes in every way at every call.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.testing import Crash, WatiSandbox, replay
from airflow_provider_wati.testing.crash_replay import EXHAUSTIVE
from tests.conftest import HAS_TASK_STATE_STORE
from tests.docs.test_examples import EXAMPLES as ALL_EXAMPLES, dag_of
from tests.scenarios.test_replay import own_state, sites

ADA, BEN, CHITRA = "12025550143", "12025550144", "12025550145"


@dataclass
class Example:
    """
    How an example DAG is replayed.

    :param prepare: what its customers do, and what is outside of the sandbox.
    :param has_files: whether it keeps files in a directory, which is empty before each run.
    """

    conf: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[WatiSandbox], object] = lambda _: None
    has_files: bool = False
    may_stop: tuple[str, ...] = ()
    speed: float = 1.0


def writes_back(wati: WatiSandbox) -> None:
    wati.move_clock(timedelta(hours=1))
    wati.customer_writes(ADA, "Yes, I come")


def refuses_chitra(wati: WatiSandbox) -> None:
    wati.fails("messageTemplates/send", "recipient_errors", numbers=[CHITRA], contains="1001")


EXAMPLES = {
    "wati_add_contact": Example(),
    "wati_alerts": Example(),
    "wati_approval": Example(prepare=lambda wati: wati.answers(ADA, "Approve spring")),
    "wati_ask": Example(prepare=lambda wati: wati.answers(ADA, "Later 1001")),
    "wati_campaign_report": Example(has_files=True),
    "wati_helpdesk": Example({"event": "resolved"}),
    "wati_reminder": Example({"called_off": False}),
    "wati_suppression": Example(has_files=True),
    "wati_resend_failed": Example(prepare=refuses_chitra, has_files=True),
    "wati_resend_undelivered": Example(has_files=True, speed=1000),
    "wati_rich_messages": Example(has_files=True, may_stop=("start_chatbot",)),
    "wati_route_vip": Example(),
    "wati_wait": Example(prepare=writes_back, speed=1000),
    "wati_sharded_send": Example(has_files=True),
    "wati_welcome_lead": Example(),
    "wati_order_updates": Example(),
    "wati_orders_from_warehouse": Example(has_files=True, speed=1000),
}
#: They read only, or compare with a file of their own: nobody is messaged.
OTHERS = {
    "wati_funnel",
    "wati_keyword_routing",
    "wati_subscribe_webhook",
    "wati_sync_contacts",
    "wati_to_warehouse",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call site of each example can be the last one of a process, and nobody is messaged twice or forgotten."""
    example = EXAMPLES[name]
    shop = write_shop(tmp_path, monkeypatch)
    dag = dag_of(name)
    conf = {**example.conf, **({"directory": str(tmp_path / "files")} if "directory" in dag.params else {})}

    def prepare(wati: WatiSandbox) -> None:
        if not HAS_TASK_STATE_STORE:
            own_state(tmp_path)
        if example.has_files:
            shutil.rmtree(tmp_path / "files", ignore_errors=True)
            shop()
        example.prepare(wati)

    with WatiSandbox(speed=example.speed) as wati:
        found = replay(
            dag,
            wati,
            conf=conf,
            prepare=prepare,
            may_stop=example.may_stop,
            crashes=None if os.environ.get(EXHAUSTIVE) == "all" else {Crash.ANSWERED},
            jobs=1 if example.has_files else None,
        )
    print(found)
    assert (found.twice, found.forgotten) == (0, 0)
    assert sites(history.call for history in found.histories) == sites(found.calls)


def write_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Point the examples that read databases at some of their own; return what brings these back to the beginning."""
    from scripts.demo import write_orders

    today = datetime.now(UTC).date().isoformat()

    def write() -> None:
        for name in ("shop.db", "warehouse.db"):
            (tmp_path / name).unlink(missing_ok=True)
        write_orders(tmp_path / "shop.db")
        with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
            # Of two orders of one customer the later mapped task decides, which is not always the same one.
            database.execute("DELETE FROM orders WHERE order_id = '0007'")
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database, database:
            database.execute("CREATE TABLE customers (customer_id, phone, full_name, tier)")
            database.execute("CREATE TABLE orders (order_id, customer_id, status, ordered_on)")
            database.execute("CREATE TABLE deliveries (run_id, order_message, status)")
            database.execute(
                "INSERT INTO customers VALUES ('1', ?, 'Ada', 'gold'), ('2', ?, 'Ben', NULL)", (ADA, BEN)
            )
            database.execute(
                "INSERT INTO orders VALUES ('1', '1', 'packed', ?), ('2', '2', 'packed', ?)", (today, today)
            )

    monkeypatch.setenv("WATI_DEMO_DATABASE", str(tmp_path / "shop.db"))
    monkeypatch.setenv("WATI_DEMO_STATE", str(tmp_path / "files" / "state"))
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    write()
    return write


def test_every_example_is_replayed_or_sends_nothing() -> None:
    """An example that is added is replayed, or named as one that messages nobody."""
    assert set(ALL_EXAMPLES) == set(EXAMPLES) | OTHERS
