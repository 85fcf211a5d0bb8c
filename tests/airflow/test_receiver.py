"""
The receiver in Airflow as it runs in production: API server, scheduler and workers.

A sender does as WATI does: it repeats an event until it is answered with 200.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import create_engine, text

from airflow_provider_wati.listening.read_key import read_key
from tests.airflow.conftest import Deployment, postgres, wait_for

SECRET = "s3cret-of-the-receiver-0123456789"
TOKEN = "the-access-token-of-the-test"
TEXT = "Wo bleibt mein Paket"
PHONE = "12025550143"
CONNECTION: dict[str, Any] = {
    "conn_type": "wati",
    "host": "https://live-mt-server.wati.io/123456",
    "password": TOKEN,
    "extra": {"webhook_secret": SECRET},
}
DAGS = ("receiving_messages", "receiving_statuses", "receiving_both", "receiving_in_a_task")
CONSUMED = """
SELECT asset_event.extra FROM dagrun_asset_event
JOIN dag_run ON dag_run.id = dagrun_asset_event.dag_run_id
JOIN asset_event ON asset_event.id = dagrun_asset_event.event_id
WHERE dag_run.dag_id = :dag_id
"""


class Receiving:
    """A deployment whose connection ``wati_default`` receives webhooks."""

    def __init__(self, airflow: Deployment, database: str, shared: Path) -> None:
        self.airflow = airflow
        self.shared = shared
        self._engine = create_engine(database)

    @property
    def address(self) -> str:
        return f"{self.airflow.url}/wati/webhooks/wati_default/{SECRET}"

    def post(self, body: dict[str, Any]) -> int:
        return requests.post(self.address, json=body, timeout=60).status_code

    def send(self, body: dict[str, Any]) -> None:
        """Send an event until it is taken."""
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if self.post(body) == 200:
                    return
            time.sleep(random.uniform(0.05, 0.5))
        raise AssertionError("the event was not taken")

    def send_all(self, ids: list[str], *, threads: int = 8) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self.send, map(message, ids)))

    def consumed(self, dag_id: str, items: str = "messages") -> Counter[str]:
        """Return how often each message is in the events of runs of a DAG."""
        with self._engine.connect() as connection:
            extras = [row.extra for row in connection.execute(text(CONSUMED), {"dag_id": dag_id})]
        loaded = [json.loads(extra) if isinstance(extra, str) else extra for extra in extras]
        return Counter(item["id"] for extra in loaded for item in extra[items])

    def states(self) -> dict[str, str]:
        """Return the states of the stored events by the ids of their messages."""
        with self._engine.connect() as connection:
            rows = connection.execute(text("SELECT record, state FROM wati_webhook_event")).all()
        return {json.loads(row.record or '{"id": ""}')["id"]: row.state for row in rows}

    def has_stored(self, number: int) -> bool:
        return len(self.states()) >= number

    def wait_until_consumed(self, dag_id: str, ids: list[str], items: str = "messages") -> None:
        wait_for(lambda: set(ids) <= set(self.consumed(dag_id, items)), f"runs of {dag_id} with all of it")
        found = self.consumed(dag_id, items)
        assert {id: found[id] for id in ids} == dict.fromkeys(ids, 1)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.airflow.home.rglob("*.log"))


def message(id: str) -> dict[str, Any]:
    return {"eventType": "message", "id": id, "text": TEXT, "waId": PHONE, "timestamp": "1793318400"}


@contextlib.contextmanager
def database(kind: str, home: Path) -> Iterator[tuple[dict[str, str], str]]:
    if kind == "sqlite":
        yield {}, f"sqlite:///{home}/airflow.db"
        return
    with postgres() as options:
        yield options, options["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def receiving(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Receiving]:
    home, shared = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("shared")
    with database(request.param, home) as (options, url):
        airflow = Deployment(home, CONNECTION, {"TEST_SHARED": str(shared), **options})
        # No worker is killed here. Airflow's scheduler logs a task that it takes for dead with the asset events of its run.
        airflow.set_option("scheduler", "task_instance_heartbeat_timeout", "120")
        try:
            airflow.start()
            for dag_id in DAGS:
                wait_for(partial(airflow.knows, dag_id), f"DAG {dag_id} to be parsed")
            yield Receiving(airflow, url, shared)
        finally:
            airflow.stop()
            print(airflow.logs())


def test_a_message_starts_a_dag(receiving: Receiving) -> None:
    """A message that a customer writes starts a DAG, and its task gets the message."""
    for number in range(3):
        began = time.monotonic()
        receiving.send(message(f"first-{number}"))
        receiving.wait_until_consumed("receiving_messages", [f"first-{number}"])
        print(f"the run was made after {time.monotonic() - began:.1f} s")

    def in_tasks() -> list[str]:
        files = receiving.shared.iterdir()
        return sorted(found["id"] for file in files for found in json.loads(file.read_text() or "[]"))

    wait_for(lambda: in_tasks() == ["first-0", "first-1", "first-2"], "the tasks to have the messages")


def test_a_status_starts_a_dag_and_is_read_by_workers(receiving: Receiving) -> None:
    """A status is in one run's events, and a worker reads it with the key of the connection."""
    status = {"eventType": "sentMessageDELIVERED", "id": "status-1", "localMessageId": "order-1"}
    receiving.send(status)
    receiving.send({**status, "eventType": "sentMessageDELIVERED_v2"})
    receiving.wait_until_consumed("receiving_statuses", ["status-1"], "statuses")
    response = requests.get(
        f"{receiving.airflow.url}/wati/webhooks/wati_default/statuses",
        headers={"Authorization": f"Bearer {read_key(TOKEN, 'wati_default')}"},
        timeout=60,
    )
    assert [(each["id"], each["status"]) for each in response.json()["statuses"]] == [
        ("status-1", "delivered")
    ]


def test_an_asset_that_no_dag_uses(receiving: Receiving) -> None:
    """An event that no DAG could get is marked as unused, and not kept for a DAG that comes later."""
    from airflow_provider_wati.plugins._store import State

    address = f"{receiving.airflow.url}/wati/webhooks/worker_only/{SECRET}"
    assert requests.post(address, json=message("unused-1"), timeout=60).status_code == 200
    wait_for(lambda: receiving.states().get("unused-1") == State.UNUSED, "the event to be unused")


def test_each_message_of_a_burst_is_in_one_run(receiving: Receiving) -> None:
    """
    Of messages that come faster than runs are made, each is in one run's events, without a later one to push it.

    So it is for a DAG that may have one run at a time, and a DAG that waits for another asset holds nobody up.
    """
    ids = [f"burst-{number}" for number in range(300)]
    receiving.send_all(ids)
    receiving.wait_until_consumed("receiving_messages", ids)
    receiving.wait_until_consumed("receiving_in_a_task", ids)
    assert not receiving.consumed("receiving_both")


def test_a_killed_api_server_loses_nothing(receiving: Receiving) -> None:
    """
    Messages that come while the API server is killed, and started again, are each in one run's events.

    What was stored before the last kill is dispatched without another request.
    """
    ids = [f"killed-{number}" for number in range(300)]
    sending = threading.Thread(target=receiving.send_all, args=(ids,))
    sending.start()
    for _ in range(3):
        wait_for(
            partial(receiving.has_stored, len(receiving.states()) + 20), "events to be stored", every=0.05
        )
        receiving.airflow.kill("api-server")
        receiving.airflow.begin_api_server()
    sending.join()
    receiving.airflow.kill("api-server")
    receiving.airflow.begin_api_server()
    receiving.wait_until_consumed("receiving_messages", ids)
    receiving.wait_until_consumed("receiving_in_a_task", ids)


def test_replays_change_nothing(receiving: Receiving) -> None:
    """Events that were taken before, also by a server that is gone, come to no other run."""
    for number in range(20):
        receiving.send(message(f"killed-{number}"))
    receiving.send(message("after-the-replays"))
    receiving.wait_until_consumed("receiving_messages", ["after-the-replays"])
    found = receiving.consumed("receiving_messages")
    assert set(found.values()) == {1}


def test_the_page_shows_no_person(receiving: Receiving) -> None:
    """The page under the deliveries names states, and neither texts nor phone numbers."""
    address = f"{receiving.airflow.url}/wati/deliveries"
    page = requests.get(address, headers=receiving.airflow.headers, timeout=60)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert all(word in page.text for word in ("dispatched", "wati_default"))
    assert not any(word in page.text for word in (TEXT, PHONE, SECRET, "<script"))


def test_no_log_has_the_secret_or_a_person(receiving: Receiving) -> None:
    """Whatever the answer is, neither the secret nor anything of a person is in a log."""
    url, body = receiving.airflow.url, message("logged-1")
    answers = [
        requests.post(receiving.address, json=body, timeout=60).status_code,
        requests.post(f"{url}/wati/webhooks/unknown/{SECRET}", json=body, timeout=60).status_code,
        requests.post(f"{receiving.address}/", json=body, timeout=60).status_code,
        requests.post(receiving.address, data=b"x" * 2_000_000, timeout=60).status_code,
        requests.post(receiving.address, data=TEXT, timeout=60).status_code,
        requests.get(receiving.address, timeout=60).status_code,
        requests.post(f"{url}/wati/webhook/wati_default/{SECRET}", json=body, timeout=60).status_code,
        requests.post(f"{url}//wati/webhooks/wati_default/{SECRET}", json=body, timeout=60).status_code,
    ]
    assert answers[:5] == [200, 404, 404, 413, 400]
    address = urlsplit(receiving.address)
    for length in (b"1000", b"x", b"99999999999"):
        # Gone before the body is complete.
        with socket.create_connection((address.hostname or "", address.port or 0)) as server:
            server.sendall(
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n{"
                % (address.path.encode(), length)
            )
    receiving.wait_until_consumed("receiving_messages", ["logged-1"])
    assert "/wati/webhooks/wati_default/HIDDEN" in receiving.log()
    assert [word for word in (SECRET, TEXT, PHONE, TOKEN) if word in receiving.log()] == []
