"""The poller in Airflow as it runs in production: from a customer's message to a run, through kills of the triggerer."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from tests.airflow.conftest import PATIENCE, Deployment, connection_to, wait_for
from tests.support.customers import FIRST_PHONE, Customers

if TYPE_CHECKING:
    from tests.conftest import Sandbox

#: Airflow 3.1 and 3.2 have neither state of assets nor shared streams.
HAS_STREAMS = Version(version("apache-airflow")) >= Version("3.3")
KILLS = int(os.environ.get("LISTENING_KILLS", "3"))
MESSAGES = int(os.environ.get("LISTENING_MESSAGES", "300"))
WATCHERS = int(os.environ.get("LISTENING_WATCHERS", "50"))
ASSET = "wati://polled/messages"
SECRET_TEXT = "my card number is secret"
STORED = "SELECT asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_event.asset_id WHERE asset.name = ?"
IN_RUNS = f"""
{STORED} AND asset_event.id IN (
    SELECT event_id FROM dagrun_asset_event JOIN dag_run ON dag_run.id = dagrun_asset_event.dag_run_id WHERE dag_run.dag_id = 'listening'
)
"""


class Listening:
    """What the runs of the DAG have written down."""

    def __init__(self, shared: Path, home: Path, sandbox: Sandbox, airflow: Deployment) -> None:
        self.home = home
        self.sandbox = sandbox
        self.airflow = airflow
        self._shared = shared

    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in self._shared.glob("*.json")]

    def got(self) -> Counter[str]:
        return Counter(id for run in self.runs() for id in run["new"])

    def write(self, phone: int, text: str) -> str:
        body = {"phone": str(phone), "text": text}
        return str(self.sandbox.control("POST", "/inbound", body)["message"]["id"])

    def wait_until_got(self, ids: set[str]) -> None:
        wait_for(lambda: ids <= self.got().keys(), f"{len(ids)} messages to reach runs")

    def events(self) -> Counter[str]:
        """The events of each asset."""
        query = "SELECT asset.name, count(*) FROM asset_event JOIN asset ON asset.id = asset_event.asset_id GROUP BY 1"
        return Counter(dict(self._read(query)))

    def in_events(self, query: str) -> list[str]:
        """The ids in the events of the asset that a query finds."""
        extras = [json.loads(extra) for (extra,) in self._read(query, [ASSET])]
        return [message["id"] for extra in extras for message in extra["payload"]["messages"]]

    def has_waiting_events(self) -> bool:
        """Say whether a run for events that are stored has still to be made."""
        return bool(self._read("SELECT 1 FROM asset_dag_run_queue WHERE target_dag_id = 'listening'"))

    def _read(self, query: str, values: Sequence[str] = ()) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=60)) as database:
            return database.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def listening(
    deployed_sandbox: Sandbox, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listening]:
    home = tmp_path_factory.mktemp("home")
    options = {"TEST_SHARED": str(shared), "TEST_WATCHERS": str(WATCHERS)}
    if not HAS_STREAMS:
        options["TEST_STATE_PATH"] = str(shared / "state")
    connection = connection_to(deployed_sandbox)
    options["AIRFLOW_CONN_POLLED"] = json.dumps(connection)
    airflow = Deployment(home, connection, options)
    # No worker is killed here. A task that is taken for dead may have messages that it has not written down yet.
    airflow.set_option("scheduler", "task_instance_heartbeat_timeout", "120")
    try:
        airflow.start()
        wait_for(lambda: airflow.triggers() == WATCHERS + 1, "the triggers to be known")
        airflow.start_triggerer()
        yield Listening(shared, home, deployed_sandbox, airflow)
    finally:
        airflow.stop()
        print(airflow.logs())


def test_a_message_starts_a_run(listening: Listening) -> None:
    """A customer's message in WATI starts a run, which gets it once; its text is not in the log of the triggerer."""
    first = listening.write(FIRST_PHONE, f"{SECRET_TEXT} 😀")
    listening.wait_until_got({first})
    began = time.monotonic()
    second = listening.write(FIRST_PHONE, SECRET_TEXT)
    listening.wait_until_got({second})
    print(f"a message reached its run after {time.monotonic() - began:.1f} s")
    log = (listening.home / "triggerer.log").read_text(errors="replace")
    assert "Trigger fired event" in log
    assert SECRET_TEXT not in log
    assert str(FIRST_PHONE) not in log


def test_watchers_of_one_connection_share_their_polls(listening: Listening) -> None:
    """The triggers of fifty watchers and of a DAG cost the calls of one, and each of their assets gets the event."""
    before = listening.events()
    ready = listening.write(FIRST_PHONE + 1, "are all there?")
    wait_for(lambda: len(listening.events() - before) == WATCHERS + 1, "all watchers to have had the event")
    listening.wait_until_got({ready})
    stored = listening.events()
    listening.sandbox.control("DELETE", "/requests")
    began = time.monotonic()
    message = listening.write(FIRST_PHONE + 2, "hello")
    wait_for(lambda: len(listening.events() - stored) == WATCHERS + 1, "each asset to get the event")
    listening.wait_until_got({message})
    time.sleep(10)
    seconds = time.monotonic() - began
    polls = sum(call.endswith("/conversations") for call in listening.sandbox.requests("GET"))
    calls = len(listening.sandbox.requests())
    print(f"{polls} pages of conversations with {calls} calls in {seconds:.0f} s")
    # A poll reads two pages, as long as WATI has not shown the order of its list.
    assert 1 <= polls <= 2 * (seconds / 2 + 2)
    assert listening.events() - stored == Counter(dict.fromkeys(stored, 1))


def test_events_that_pile_up_come_with_the_next_message(listening: Listening) -> None:
    """What was written while no scheduler ran is in exactly one run, with the next message at the latest."""
    listening.airflow.kill_scheduler()
    ids: set[str] = set()
    for n in range(3):
        events = listening.events()[ASSET]
        ids.add(listening.write(FIRST_PHONE + n, f"piled up {n}"))
        wait_for(lambda before=events: listening.events()[ASSET] > before, "the event")  # type: ignore[misc] # of this turn
    listening.airflow.start_scheduler()
    wait_for(lambda: bool(ids & listening.got().keys()), "the first of them to reach a run")
    at_once = len(ids & listening.got().keys())
    ids.add(listening.write(FIRST_PHONE, "the next one"))
    listening.wait_until_got(ids)
    print(f"{at_once} of 3 did not wait for the next message")
    assert set(listening.got().values()) == {1}


def test_no_message_is_lost_when_the_triggerer_is_killed(listening: Listening) -> None:
    """Of messages that come before, at and after kills of the triggerer, each is in a run's events, and new to one run."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with Customers(listening.sandbox) as customers:
        for kill in range(KILLS):
            before = listening.events()[ASSET]
            if kill:
                listening.airflow.start_triggerer()
            customers.begin(MESSAGES * (2 * kill + 1) // (2 * KILLS))
            wait_for(lambda had=before: listening.events()[ASSET] > had, "an event")  # type: ignore[misc] # of this turn
            # While the event is stored for the other watchers, while the position is saved, or in a later poll.
            time.sleep(dice.choice([0.0, 0.1, 0.3, 1.0, 2.0, 3.0]))
            customers.begin(MESSAGES * (2 * kill + 2) // (2 * KILLS))
            listening.airflow.kill_triggerer()
        listening.airflow.start_triggerer()
        wait_for(customers.have_written, "all messages to be written")
    ids = set(customers.ids)
    patience = PATIENCE + MESSAGES / 10
    wait_for(
        lambda: ids <= set(listening.in_events(STORED)), "all messages to be in events", patience=patience
    )
    wait_for(lambda: not listening.has_waiting_events(), "the run of the first event that waits")
    # What piled up behind that event comes with the next message.
    ids.add(listening.write(FIRST_PHONE, "the last one"))
    wait_for(lambda: ids <= listening.got().keys(), f"{len(ids)} messages to reach runs", patience=patience)
    in_runs, runs = Counter(listening.in_events(IN_RUNS)), listening.runs()
    repeats = sum(len(run["all"]) - len(run["new"]) for run in runs)
    print(
        f"{len(ids)} messages, {KILLS} kills, {len(runs)} runs, {in_runs.total() - len(in_runs)} repeats in events, "
        f"{repeats} of them in other runs and dropped"
    )
    assert ids <= in_runs.keys()
    assert set(listening.got().values()) == {1}
