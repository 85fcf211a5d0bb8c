"""What a contact sync costs: calls, beside one call for each row, and memory."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench_report import Measure, Sizes

import airflow_provider_wati
from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.sandbox.server import SandboxServer
from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.syncing.snapshot import write_snapshot

FIRST = 919_800_000_001
#: A run that needs this much more memory for a hundred times the rows is not flat.
FLAT = 1.5


def rows(count: int, changed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield customers, the first few with a tier, which the contacts of the sandbox do not have."""
    for n in range(count):
        tier = "gold" if n < changed else None
        yield {"phone": str(FIRST + n), "name": f"Customer {n + 1}", "tier": tier}


def sync(client: WatiClient, directory: str, some: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Run a sync once and return its summary."""
    run = ContactSync(
        client=client,
        sync_key="bench",
        columns=ContactColumns("phone", "name", {"tier": "tier"}),
        snapshot=StateFile(StateDirectory(directory).path_of("bench", ".jsonl.gz")),
    )
    run.read(some)
    run.run()
    summary = run.summary()
    run.close()
    return summary


def seed(sandbox: SandboxServer, count: int) -> None:
    """Give the sandbox customers."""
    body = f'{{"count": {count}, "first_phone": "{FIRST}"}}'.encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/contacts", body, headers)
    urllib.request.urlopen(request, timeout=120).close()


def client_of(endpoint: str, token: str) -> WatiClient:
    """Return a client that does not pace itself."""
    return WatiClient(endpoint, token, rate_limits={"*": None}, timeout=60)


def of_calls(sizes: Sizes) -> Iterator[Measure]:
    """Measure the calls of four runs, beside one call for each row."""
    contacts, changed, new = sizes.contacts, sizes.contacts // 100, sizes.contacts // 500
    with SandboxServer() as sandbox, tempfile.TemporaryDirectory() as directory:
        sandbox.reset(seed=False)
        seed(sandbox, contacts)
        client = client_of(sandbox.endpoint, sandbox.token)
        runs = (
            ("first run", rows(contacts), contacts, math.ceil(contacts / 100) + 2),
            ("no change", rows(contacts), contacts, 1),
            (f"{changed:,} changes", rows(contacts, changed), contacts, 1 + math.ceil(changed / 100)),
            (f"{new} new", rows(contacts + new, changed), contacts + new, 1 + new),
        )
        for name, some, count, promised in runs:
            summary = sync(client, directory, some)
            what = f"{contacts:,} contacts, {name}"
            yield Measure(
                "sync", what, summary["calls"], "calls", "a call for each row", count, most=promised / count
            )


def child(endpoint: str, token: str, count: str, directory: str) -> None:
    """
    Sync so many rows twice, with few changes the second time, and print the peak memory in MB.

    The snapshot is made here: to list a million contacts keeps the sandbox busy for minutes, and the client no
    longer than a page at a time.
    """
    client = client_of(endpoint, token)
    snapshot = StateFile(StateDirectory(directory).path_of("bench", ".jsonl.gz"))
    known = ((row["phone"], 0, 1, row["name"], '[""]', "") for row in rows(int(count)))
    write_snapshot(snapshot, ["tier"], known)
    sync(client, directory, rows(int(count)))
    sync(client, directory, rows(int(count), 50))
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def of_memory(sizes: Sizes) -> Iterator[Measure]:
    """Measure the peak memory of a process that syncs few rows, and of one that syncs many."""
    peaks = []
    package = str(Path(airflow_provider_wati.__file__).parents[1])
    for count in (sizes.few, sizes.people):
        with SandboxServer() as sandbox, tempfile.TemporaryDirectory() as directory:
            sandbox.reset(seed=False)
            seed(sandbox, sizes.few)
            done = subprocess.run(
                [sys.executable, __file__, sandbox.endpoint, sandbox.token, str(count), directory],
                capture_output=True,
                text=True,
                check=True,
                cwd=package,
            )
        peaks.append(float(done.stdout.split()[-1]))
    what = f"memory for {sizes.people:,} rows"
    yield Measure("sync", what, peaks[1], "MB", f"memory for {sizes.few:,} rows", peaks[0], most=FLAT)


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure the calls and the memory of a contact sync."""
    logging.getLogger("airflow_provider_wati").setLevel(logging.WARNING)
    yield from of_calls(sizes)
    yield from of_memory(sizes)


if __name__ == "__main__":
    child(*sys.argv[1:])
