"""
A sharded send on a cluster: CeleryExecutor, Redis, PostgreSQL, object storage that speaks S3, and two workers.

One worker is killed while it sends, and its supervisor starts another one. ``CLUSTER_ROWS`` is the number of people: with
100,000 and more, how much of the shared rate was used is looked at as well, which takes a machine without other work.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_wati.sandbox.settings import Settings
from tests.airflow.conftest import FINAL, Deployment, connection_to, free_port, kill, postgres, wait_for
from tests.conftest import Sandbox
from tests.support.redis_server import RedisUnavailableError, running_redis

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NEEDED = {
    "airflow.providers.celery": "apache-airflow-providers-celery",
    "airflow.providers.amazon": "apache-airflow-providers-amazon",
    "s3fs": "apache-airflow-providers-amazon[s3fs]",
    "moto.server": "moto[s3]",
    "flask_cors": "flask-cors",
    "redis": "redis",
}
ROWS = int(os.environ.get("CLUSTER_ROWS", "20000"))
IS_FULL = ROWS >= 100_000
DAG = "wati_sharded_send"
EXAMPLE = Path(__file__).parents[2] / "example_dags" / f"{DAG}.py"
BUCKET = "wati"
SLOTS = 4
#: WATI's published limit of template sends on the plan Growth, which the sandbox keeps.
CALLS, WINDOW = 30, 10.0
#: Seconds by which the first call may be late on a busy machine; less than a window.
LATE = 5.0
PATIENCE = 1_800.0
FIRST_PHONE = 919_800_000_000


def is_missing(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def missing() -> list[str]:
    return sorted({package for module, package in NEEDED.items() if is_missing(module)})


pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"needs {', '.join(missing())}: make cluster installs the group of that name"
)


def phone(n: int) -> str:
    return str(FIRST_PHONE + n)


@dataclass
class Calls:
    """The calls of template sends, as WATI's side sees them."""

    #: When each came, in seconds.
    times: list[float] = field(default_factory=list)
    #: How often each status was answered, to any call.
    statuses: Counter[int] = field(default_factory=Counter)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            async def note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self.statuses[message["status"]] += 1
                await send(message)

            is_send = (
                scope["type"] == "http" and scope["method"] == "POST" and "messageTemplates" in scope["path"]
            )
            if is_send:
                self.times.append(time.monotonic())
            await app(scope, receive, note)

        return watched

    @property
    def seconds(self) -> float:
        """The time from the first call to the last."""
        return max(self.times) - min(self.times)

    @property
    def shortest_seconds(self) -> float:
        """The shortest time that so many calls can take."""
        return (len(self.times) - 1) // CALLS * WINDOW

    @property
    def share_of_rate(self) -> float:
        """The calls for each second, as a share of those that the limit allows for each second."""
        return (len(self.times) - 1) / self.seconds / (CALLS / WINDOW)


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """Run moto's S3 with an empty bucket; yield its address."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with (folder / "s3.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(url), "the object store to answer")
            assert requests.put(f"{url}/{BUCKET}", headers=signed(), timeout=60).ok
            yield url
        finally:
            kill(server.pid)
            server.wait()


def signed() -> dict[str, str]:
    """By which moto knows that S3 is meant; it does not look at the signature."""
    return {
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    }


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/moto-api/", timeout=10).ok
    except requests.ConnectionError:
        return False


@dataclass
class Cluster:
    """Airflow on a cluster, and what it has done to people."""

    airflow: Deployment
    sandbox: Sandbox
    calls: Calls
    s3: str
    folder: Path
    run: str = ""
    #: The tasks that ran on the worker that was killed.
    killed: list[dict[str, Any]] = field(default_factory=list)

    def start_worker(self, name: str) -> None:
        """Start a worker that shares no files with others, as on a host of its own."""
        home = self.folder / name
        home.mkdir()
        self.airflow.start_worker(name, SLOTS, TMPDIR=str(home))

    def put(self, key: str, content: bytes) -> str:
        assert requests.put(f"{self.s3}/{BUCKET}/{key}", data=content, headers=signed(), timeout=60).ok
        return f"s3://aws_default@{BUCKET}/{key}"

    def get(self, key: str) -> str:
        response = requests.get(f"{self.s3}/{BUCKET}/{key}", headers=signed(), timeout=60)
        assert response.ok, response.text
        return response.text

    def sent(self) -> int:
        return sum(campaign.count for campaign in list(self.sandbox.state.broadcasts))

    def shards(self) -> list[dict[str, Any]]:
        return [task for task in self.airflow.tasks(DAG, self.run) if task["task_id"] == "send"]

    def running_on(self, name: str) -> list[dict[str, Any]]:
        """The shards that run on a worker, by the processes that it has."""
        import psutil

        children = {each.pid for each in psutil.Process(self.airflow.pid(name)).children(recursive=True)}
        return [task for task in self.shards() if task["state"] == "running" and task["pid"] in children]

    def is_over(self) -> bool:
        return self.airflow.runs(DAG)[self.run] in FINAL


def table() -> bytes:
    lines = ["phone,name,order_id", *(f"+{phone(n)},Person {n},{n}" for n in range(ROWS))]
    return "\n".join(lines).encode()


def settings(s3: str, redis: str) -> dict[str, str]:
    """What makes a cluster of Airflow, and tells this package where to keep its state."""
    aws = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {"endpoint_url": s3, "region_name": "us-east-1"},
    }
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CELERY__BROKER_URL": redis,
        "AIRFLOW__CELERY__OPERATION_TIMEOUT": "30",
        "AIRFLOW__WATI__STATE_PATH": f"s3://aws_default@{BUCKET}/state",
        "AIRFLOW__WATI__UNKNOWN_GRACE": "15",
        # Long enough for a busy machine, and a dead worker is noticed before the others are done.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run all parts but the workers."""
    home, dags = folder / "home", folder / "dags"
    home.mkdir()
    dags.mkdir()
    shutil.copy(EXAMPLE, dags)
    calls = Calls()
    with ExitStack() as parts:
        redis = parts.enter_context(running_redis())
        database = parts.enter_context(postgres())
        s3 = parts.enter_context(object_store(folder))
        sandbox = parts.enter_context(
            Sandbox(settings=Settings(plan="growth", retry_after="seconds"), wrap=calls.around)
        )
        assert isinstance(sandbox, Sandbox)
        connection = connection_to(sandbox)
        connection["extra"] = {"timeout": [2, 10], "rate_limit_storage": redis.removesuffix("/0") + "/1"}
        results = database["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        options = database | {
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{results}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        }
        airflow = Deployment(home, connection, settings(s3, redis) | options)
        try:
            airflow.start()
            yield Cluster(airflow, sandbox, calls, s3, folder)
        finally:
            airflow.stop()
            print(airflow.logs())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster after the send."""
    try:
        with cluster(tmp_path_factory.mktemp("cluster")) as started:
            send(started)
            yield started
    except RedisUnavailableError as error:
        pytest.skip(str(error))


def send(started: Cluster) -> None:
    """Send to everybody, and kill a worker on the way."""
    airflow = started.airflow
    for name in ("worker-a", "worker-b"):
        started.start_worker(name)
    orders = started.put("orders.csv", table())
    started.run = airflow.trigger(DAG, directory=f"s3://aws_default@{BUCKET}/results", orders=orders)
    wait_for(
        lambda: started.sent() > ROWS // 4 and bool(started.running_on("worker-b")),
        "a quarter to be sent",
        patience=PATIENCE,
    )
    started.killed = started.running_on("worker-b")
    airflow.kill("worker-b")
    started.start_worker("worker-c")
    wait_for(started.is_over, "the run to end", every=1, patience=PATIENCE)
    print(
        f"{ROWS:,} people in {len(started.calls.times)} calls within {started.calls.seconds:.1f} s; "
        f"{started.calls.share_of_rate:.1%} of the rate; "
        f"answers: {dict(started.calls.statuses)}; {len(started.killed)} shards were on the worker that was killed"
    )


def test_everybody_gets_one_message(finished: Cluster) -> None:
    """Of all people in the table, each has one message, and the shards' counts add up to the table."""
    assert finished.airflow.runs(DAG)[finished.run] == "success"
    got = finished.sandbox.state.sent_per_phone()
    assert set(got.values()) == {1}
    assert got.keys() == {phone(n) for n in range(ROWS)}
    added = finished.airflow.result(DAG, finished.run, "add_up")
    assert (added["total"], added["accepted"]) == (ROWS, ROWS)


def test_the_shards_of_the_killed_worker_went_on_elsewhere(finished: Cluster) -> None:
    """The worker died with shards on it, and these needed another attempt, while others went on."""
    again = {task["map_index"] for task in finished.shards() if task["try_number"] > 1}
    killed = {task["map_index"] for task in finished.killed}
    assert 0 < len(killed) < 8
    assert killed <= again


def test_every_row_has_its_outcome_in_one_file(finished: Cluster) -> None:
    """The files of the shards together have each row of the table once, accepted, under its number."""
    rows: dict[int, str] = {}
    for n in range(8):
        for row in csv.DictReader(finished.get(f"results/{finished.run}/outcomes-{n}.csv").splitlines()):
            assert row["status"] == "accepted"
            assert int(row["row"]) not in rows
            rows[int(row["row"])] = row["target"]
    assert rows == {n + 1: phone(n) for n in range(ROWS)}


def test_the_workers_kept_one_pace(finished: Cluster) -> None:
    """Two workers together took as long as the rate of one account asks for; each by itself would take half of that."""
    assert len(finished.calls.times) >= ROWS // 250
    assert finished.calls.seconds >= finished.calls.shortest_seconds - LATE


@pytest.mark.skipif(not IS_FULL, reason="set CLUSTER_ROWS=100000: on a busy machine, the time says nothing")
def test_the_rate_is_used_and_not_exceeded(finished: Cluster) -> None:
    """Together the workers use at least 95 % of the rate that the account has, and WATI never answers 429."""
    assert finished.calls.statuses[429] == 0
    assert finished.calls.share_of_rate >= 0.95
