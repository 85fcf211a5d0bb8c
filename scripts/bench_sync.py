"""What a contact sync costs: calls, hours at the growth plan's pace, and memory, beside one call for each row."""

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

import airflow_provider_wati
from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.rate_limit import EndpointGroup, rate_limits_of, seconds_at
from airflow_provider_wati.sandbox.server import SandboxServer
from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.syncing.snapshot import write_snapshot

CONTACTS = 100_000
CHANGED = 1_000
NEW = 200
FIRST = 919_800_000_001
MEMORY_ROWS = (10_000, 1_000_000)
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
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/contacts", data=body, method="POST")
    urllib.request.urlopen(request, timeout=120).close()


def client_of(endpoint: str, token: str) -> WatiClient:
    """Return a client that does not pace itself."""
    return WatiClient(endpoint, token, rate_limits={"*": None}, timeout=60)


def hours(calls: int) -> float:
    """Return how long calls take at the pace of the growth plan."""
    return seconds_at(rate_limits_of("growth")[EndpointGroup.CONTACTS], calls) / 3600


def bench_calls() -> list[str]:
    """Print the calls of four runs; return what is more than is promised."""
    with SandboxServer() as sandbox, tempfile.TemporaryDirectory() as directory:
        sandbox.reset(seed=False)
        seed(sandbox, CONTACTS)
        client = client_of(sandbox.endpoint, sandbox.token)
        most_reads = math.ceil(CONTACTS / 100) + 2
        runs = (
            ("first run, no snapshot", rows(CONTACTS), CONTACTS, most_reads, 0),
            ("no change", rows(CONTACTS), CONTACTS, 1, 0),
            (f"{CHANGED:,} changes", rows(CONTACTS, CHANGED), CONTACTS, 1, math.ceil(CHANGED / 100)),
            (f"{NEW} new", rows(CONTACTS + NEW, CHANGED), CONTACTS + NEW, 1, NEW),
        )
        print(
            f"{'sync of ' + format(CONTACTS, ',') + ' contacts':<28}{'reads':>8}{'writes':>8}{'hours':>9}",
            end="",
        )
        print(f"{'one call a row':>16}{'hours':>9}{'seconds here':>14}")
        wrong = []
        for name, some, count, reads, written in runs:
            summary = sync(client, directory, some)
            print(
                f"{name:<28}{summary['reads']:>8,}{summary['writes']:>8,}{hours(summary['calls']):>9.3f}",
                end="",
            )
            print(f"{count:>16,}{hours(count):>9.3f}{summary['seconds']:>14.1f}")
            if summary["reads"] > reads or summary["writes"] != written:
                wrong.append(f"{name}: {reads} reads and {written} writes are promised")
    return wrong


def child(endpoint: str, token: str, count: str, directory: str) -> None:
    """
    Sync so many rows twice, with few changes the second time, and print the peak memory in MB.

    The snapshot is made here: to list a million contacts keeps the sandbox busy for minutes, and the client no
    longer than a page at a time.
    """
    client = client_of(endpoint, token)
    snapshot = StateFile(StateDirectory(directory).path_of("bench", ".jsonl.gz"))
    known = ((row["phone"], 0, 1, row["name"], '[""]') for row in rows(int(count)))
    write_snapshot(snapshot, ["tier"], int(count), known)
    sync(client, directory, rows(int(count)))
    sync(client, directory, rows(int(count), 50))
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def bench_memory() -> list[str]:
    """Print the peak memory of a process that syncs few rows, and of one that syncs many."""
    peaks = []
    package = str(Path(airflow_provider_wati.__file__).parents[1])
    for count in MEMORY_ROWS:
        with SandboxServer() as sandbox, tempfile.TemporaryDirectory() as directory:
            sandbox.reset(seed=False)
            seed(sandbox, MEMORY_ROWS[0])
            done = subprocess.run(
                [sys.executable, __file__, "child", sandbox.endpoint, sandbox.token, str(count), directory],
                capture_output=True,
                text=True,
                check=True,
                cwd=package,
            )
        peaks.append(float(done.stdout.split()[-1]))
        print(f"peak memory of a sync of {count:>9,} rows: {peaks[-1]:.0f} MB")
    return [] if peaks[-1] < FLAT * peaks[0] else [f"memory is not flat: {peaks}"]


def main() -> int:
    logging.getLogger("airflow_provider_wati").setLevel(logging.WARNING)
    wrong = bench_calls() + bench_memory()
    for each in wrong:
        print(each, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
