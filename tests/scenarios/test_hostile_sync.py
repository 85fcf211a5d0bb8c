"""A contact sync in a hostile world: every good row is written and every bad one named, in one run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from airflow_provider_wati.sandbox.faults.rules import Fault
from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from tests.conftest import Sandbox
from tests.support.clock import SkippingClock
from tests.support.syncer import outcomes_of

#: The suite's size; 10,000 takes the same test about six times as long.
CONTACTS = int(os.environ.get("WATI_TEST_SYNC_CONTACTS", "2000"))
BAD_EVERY = 500
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 403},
    {"kind": "drop", "reset": True},
    {"kind": "delay", "seconds": 6.0},
]
FIRST = 919_700_000_000


@pytest.fixture
def wati() -> Iterator[Sandbox]:
    """A WATI with all contacts but the last ten, one of which holds half an emoji in name and attribute."""
    with Sandbox() as server:
        assert isinstance(server, Sandbox)
        server.reset(seed=False)
        old = CONTACTS - 10
        server.control("POST", "/contacts", {"count": old, "first_phone": str(FIRST)})
        page = list(islice(server.client().iter_contacts(), 100))
        page[5] |= {"name": "Ada \ud83d", "custom_params": [{"name": "tier", "value": "old \ud83d"}]}
        answer = {"contact_list": page, "page_number": 1, "page_size": 100}
        # The answer writes it as an escape, which is valid JSON of half a character.
        server.workspace.faults.add(
            Fault("answer", method="GET", path="*/contacts", count=1, when="after", answer=answer)
        )
        server.control("DELETE", "/requests")
        yield server


def sync_of(wati: Sandbox, directory: Any) -> ContactSync:
    return ContactSync(
        client=wati.client(timeout=(30.0, 2.0), clock=SkippingClock()),
        sync_key="key",
        columns=ContactColumns("phone", "name", {"tier": "tier"}),
        snapshot=StateFile(StateDirectory(str(directory)).path_of("sync", ".jsonl.gz")),
    )


def rows(bad: dict[int, int]) -> list[dict[str, str]]:
    """Rows that all have to be written; those in ``bad`` hold the text that draws a fault."""
    return [
        {"phone": str(FIRST + n), "name": "Ada", "tier": f"poison{bad[n]}" if n in bad else "gold"}
        for n in range(CONTACTS)
    ]


def test_a_hostile_sync_writes_every_good_row_and_names_every_bad_one(wati: Sandbox, tmp_path: Any) -> None:
    """One row in 500 draws a 500, a 403, a reset or a timeout: the rest is written, with under twice the calls."""
    clean_calls = CONTACTS // 100 * 2 + 10 + 2
    # The positions are uneven, so that some are first, some last and some alone in their batch.
    bad = {n * BAD_EVERY + n * 37 % BAD_EVERY: n % len(FAULTS) for n in range(CONTACTS // BAD_EVERY)}
    for n, fault in enumerate(FAULTS):
        wati.fault(contains=f"poison{n}", **fault)
    sync = sync_of(wati, tmp_path)
    sync.read(rows(bad))
    sync.run()
    outcomes = outcomes_of(sync)

    assert {n: each["status"] for n, each in enumerate(outcomes) if n in bad} == {
        n: "rejected" if FAULTS[kind].get("status") == 403 else "unknown" for n, kind in bad.items()
    }
    assert all(outcomes[n]["reason"] for n in bad)
    for n, outcome in enumerate(outcomes):
        if n not in bad:
            assert outcome["status"] == ("updated" if n < CONTACTS - 10 else "created")
            assert (wati.state.by_phone[str(FIRST + n)].custom_params or {})["tier"] == "gold"
    calls = len(wati.workspace.requests)
    print(f"{CONTACTS:,} contacts: {calls} calls, {clean_calls} in a clean run")
    assert calls < 2 * clean_calls
