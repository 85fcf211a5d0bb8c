"""Promise: no message of a customer is lost when whatever listens dies, and each belongs to one run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from airflow_provider_wati.listening.claims import Claims
from airflow_provider_wati.state.asset_state import asset_lock, asset_state
from tests.conftest import NO_PACING
from tests.support.customers import Customers

if TYPE_CHECKING:
    from tests.conftest import Sandbox

KILLS = int(os.environ.get("LISTENING_KILLS", "4"))
MESSAGES = int(os.environ.get("LISTENING_MESSAGES", "400"))
PATIENCE = 240.0
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    Version(version("apache-airflow")) < Version("3.3"), reason="Airflow shares streams from 3.3 on"
)


def events_in(database: Path) -> list[list[str]]:
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute("SELECT payload FROM event ORDER BY id").fetchall()
    return [[message["id"] for message in json.loads(payload)["messages"]] for (payload,) in rows]


def ids_in(database: Path) -> set[str]:
    return {id for ids in events_in(database) for id in ids}


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)


def test_messages_survive_kills_of_what_listens(sandbox: Sandbox, tmp_path: Path) -> None:
    """Killed while it polls, stores or confirms, the listener loses nothing; repeats go to no second run."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    database, state = tmp_path / "events.db", tmp_path / "state"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, payload TEXT NOT NULL)")
    extra = {**NO_PACING, "timeout": [5, 30]}
    connection_json = {
        "conn_type": "wati",
        "host": sandbox.endpoint,
        "password": sandbox.token,
        "extra": extra,
    }
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_CONN_WATI_DEFAULT": json.dumps(connection_json),
    }
    command = [sys.executable, "-m", "tests.support.killed_listener", str(database), str(state)]
    with (
        Customers(sandbox) as customers,
        subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as program,
    ):
        assert program.stdin is not None
        assert program.stdout is not None
        for kill in range(KILLS + 1):
            had = len(events_in(database))
            program.stdin.write("\n")
            listener = int(program.stdout.readline())
            customers.begin(MESSAGES * (kill + 1) // (KILLS + 1))
            wait_until(lambda before=had: len(events_in(database)) > before, "an event")
            if kill == KILLS:
                wait_until(customers.have_written, "the last message to be written")
                wait_until(lambda: set(customers.ids) <= ids_in(database), "all messages")
            # Right after an event is stored, before or after it is confirmed, or in a later poll.
            time.sleep(dice.choice([0.0, 0.02, 0.05, 0.1, 0.5, 1.0, 2.0]))
            os.kill(listener, signal.SIGKILL)
        program.stdin.close()
    events = events_in(database)
    runs: Counter[str] = Counter()
    asset = "wati://wati_default/messages"
    store, lock = asset_state(asset, str(state)), asset_lock(asset, "dag", str(state))
    assert store is not None
    for n, ids in enumerate(events):
        runs.update(Claims(store, "dag", f"run {n}", lock).take(list(dict.fromkeys(ids))))
    listed = sum(map(len, events))
    print(
        f"{MESSAGES} messages, {KILLS + 1} kills, {len(events)} events, {listed - MESSAGES} repeats dropped"
    )
    assert runs == Counter(dict.fromkeys(customers.ids, 1))
