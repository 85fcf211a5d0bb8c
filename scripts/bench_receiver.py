"""
How many webhook events an API server takes, and how fast it answers.

It starts Airflow with a database of its own, sends events at a fixed pace as WATI does (each until it is answered with 200),
and counts what runs have got. The times are those from when an event was due to when it was answered, so that a slow server
does not slow the sender down unseen.

    python scripts/bench_receiver.py --database postgresql --rate 500 --seconds 60
    python scripts/bench_receiver.py --rate 100 --seconds 100 --kills 20
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_report import Measure, Sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
import psutil
import requests

from tests.airflow.conftest import Deployment, wait_for
from tests.airflow.test_receiver import CONNECTION, Receiving, database, message

_DAG = "receiving_messages"
#: WATI waits for ten minutes.
_RETRY_AFTER = 0.5


class Load:
    """A sender with a fixed pace; it keeps its connections open."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.times: list[float] = []
        self.repeats = 0
        self.done = 0
        #: How many events are taken when the event is set.
        self.next_stop = 0
        self.has_come_so_far = asyncio.Event()

    async def _send(self, session: aiohttp.ClientSession, body: dict[str, Any], due: float) -> None:
        while not await self._is_taken(session, body):
            self.repeats += 1
            await asyncio.sleep(_RETRY_AFTER * random.uniform(0.5, 1.5))
        self.done += 1
        if self.done >= self.next_stop:
            self.has_come_so_far.set()
        self.times.append(time.perf_counter() - due)

    async def _is_taken(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> bool:
        try:
            async with session.post(self._address, json=body) as response:
                await response.read()
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def run(self, ids: list[str], rate: float) -> None:
        began, tasks = time.perf_counter(), []
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(sock_read=30)
        ) as session:
            for number, id in enumerate(ids):
                due = began + number / rate
                if (pause := due - time.perf_counter()) > 0:
                    await asyncio.sleep(pause)
                tasks.append(asyncio.create_task(self._send(session, message(id), due)))
            await asyncio.gather(*tasks)


async def kill_now_and_then(airflow: Deployment, load: Load, total: int, kills: int) -> None:
    """Kill the API server each time another part of the events was taken."""
    for number in range(kills):
        load.next_stop = total * number // kills
        load.has_come_so_far.clear()
        if load.done < load.next_stop:
            await load.has_come_so_far.wait()
        await asyncio.sleep(random.uniform(0, 1))
        await asyncio.to_thread(airflow.kill, "api-server")
        airflow.begin_api_server()
        print(f"kill {number + 1}: {load.done} events were taken", flush=True)


def processor_seconds(airflow: Deployment) -> float:
    """Return how long the API server has kept a processor busy."""
    process = psutil.Process(airflow.pid("api-server"))
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1000


@dataclass(frozen=True)
class Found:
    """
    What one load has shown.

    :param times: seconds from when each event was due to its answer.
    :param took: seconds until the last answer.
    :param cost: seconds of a processor that the API server used for an event; None if it was killed meanwhile.
    :param repeats: events that were sent again.
    :param lost: events that no run has got.
    :param twice: events that more than one run has got.
    """

    times: list[float]
    took: float
    cost: float | None
    repeats: int
    lost: int
    twice: int


def load_on(receiving: Receiving, rate: float, seconds: float, kills: int = 0) -> Found:
    """Send events at a fixed pace, and wait until runs have got all of them."""
    airflow = receiving.airflow
    wait_for(lambda: airflow.knows(_DAG), "the DAG to be parsed")
    for number in range(101):
        receiving.send(message(f"warm-{number}"))
    # The first tasks make the API server build their routes, and it does nothing else meanwhile.
    wait_for(lambda: set(airflow.runs(_DAG).values()) == {"success"}, "the first runs to end")
    ids = [f"event-{number}" for number in range(int(rate * seconds))]

    async def send() -> Load:
        load = Load(receiving.address)
        killing = asyncio.create_task(kill_now_and_then(airflow, load, len(ids), kills))
        await load.run(ids, rate)
        await killing
        return load

    began, used = time.perf_counter(), processor_seconds(airflow)
    load = asyncio.run(send())
    took = time.perf_counter() - began
    cost = None if kills else (processor_seconds(airflow) - used) / len(ids)
    wait_for(lambda: set(ids) <= set(receiving.consumed(_DAG)), "all runs", every=2, patience=600)
    got = receiving.consumed(_DAG)
    return Found(
        load.times,
        took,
        cost,
        load.repeats,
        sum(got[id] == 0 for id in ids),
        sum(got[id] > 1 for id in ids),
    )


@contextmanager
def receiving_airflow(kind: str) -> Iterator[Receiving]:
    """Run Airflow with a database of its own, the receiver on."""
    with tempfile.TemporaryDirectory(prefix="wati-bench-", ignore_cleanup_errors=True) as name:
        home, shared = Path(name) / "home", Path(name) / "shared"
        home.mkdir()
        shared.mkdir()
        with database(kind, home) as (options, url):
            # Parsing DAGs takes both processors of a small machine; it belongs to another one.
            parsing = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
            airflow = Deployment(home, CONNECTION, {"TEST_SHARED": str(shared), **options, **parsing})
            try:
                airflow.start()
                yield Receiving(airflow, url, shared)
            finally:
                airflow.stop()


def cost_of_a_page(receiving: Receiving, calls: int) -> float:
    """Return the seconds of a processor that the API server uses for the smallest page that Airflow itself has."""
    address = receiving.address.partition("/wati/")[0]
    with requests.Session() as session:
        used = processor_seconds(receiving.airflow)
        for _ in range(calls):
            session.get(f"{address}/api/v2/version", timeout=60).raise_for_status()
        return (processor_seconds(receiving.airflow) - used) / calls


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure what the receiver bears, on PostgreSQL."""
    with receiving_airflow("postgresql") as receiving:
        found = load_on(receiving, sizes.events, sizes.seconds)
        page = cost_of_a_page(receiving, min(500, len(found.times)))
    sent = len(found.times)
    rate = sent / found.took
    yield Measure("receiver", "events stored", rate, "a second", "events sent", sizes.events, least=0.9)
    p50, p99 = (percentile(found.times, share) for share in (0.5, 0.99))
    yield Measure("receiver", "answered, 99 % of the events", p99, "ms", "half of the events", p50)
    if found.cost is not None:
        cost, of_page = found.cost * 1000, page * 1000
        yield Measure(
            "receiver", "processor for an event", cost, "ms", "Airflow's page of its version", of_page
        )
    wrong = found.lost + found.twice
    yield Measure("receiver", "events lost or in two runs", wrong, "events", "events", sent, most=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--rate", type=float, default=500, help="events in a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=0, help="how often the API server is killed meanwhile")
    arguments = parser.parse_args()
    with receiving_airflow(arguments.database) as receiving:
        found = load_on(receiving, arguments.rate, arguments.seconds, arguments.kills)
    shares = ", ".join(
        f"p{share:g} {percentile(found.times, share / 100):.1f} ms" for share in (50, 90, 99, 99.9)
    )
    sent = len(found.times)
    print(
        f"{sent} events in {found.took:.1f} s ({sent / found.took:.0f}/s), {found.repeats} repeats, {arguments.kills} kills; "
        f"answered in {shares}; lost {found.lost}, twice {found.twice}; load {os.getloadavg()[0]:.0f}"
    )


if __name__ == "__main__":
    main()
