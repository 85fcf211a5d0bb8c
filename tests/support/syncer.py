"""Runs a contact sync several times on one snapshot, against a sandbox."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.tables.outcomes import SYNC_COLUMNS

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ATTRIBUTES = ("tier", "city")
STATUSES = (
    "created",
    "updated",
    "unchanged",
    "cleared",
    "invalid",
    "rejected",
    "skipped",
    "unknown",
    "unsent",
)


def number(n: int) -> str:
    return str(919_700_000_000 + n)


def row(n: int, tier: Any = "gold", city: Any = "Pune", name: Any = "Ada") -> dict[str, Any]:
    return {"phone": number(n), "name": name, "tier": tier, "city": city}


def outcomes_of(sync: ContactSync) -> list[dict[str, Any]]:
    return [dict(zip(SYNC_COLUMNS, outcome, strict=True)) for outcome in sync.outcome_rows()]


class Syncer:
    """Runs a sync several times on one snapshot, and reads the contacts of the sandbox."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.sandbox = sandbox
        self.snapshot: Any = StateFile(StateDirectory(str(directory)).path_of("sync", ".jsonl.gz"))
        self.summary: dict[str, Any] = {}
        self.outcomes: list[dict[str, Any]] = []

    def run(self, rows: Any, **options: Any) -> dict[str, Any]:
        """Sync once; return the counts that are not 0."""
        attributes = options.pop("attributes", {name: name for name in ATTRIBUTES})
        sync = ContactSync(
            client=options.pop("client", None) or self.sandbox.client(),
            sync_key="key",
            columns=ContactColumns("phone", "name", attributes),
            snapshot=options.pop("snapshot", self.snapshot),
            **options,
        )
        try:
            sync.read(rows)
            sync.run()
        finally:
            self.summary, self.outcomes = sync.summary(), outcomes_of(sync)
            assert self.summary["total"] == sum(self.summary[status] for status in STATUSES)
            assert self.summary["total"] == len(self.outcomes)
            assert self.summary["calls"] == self.summary["reads"] + self.summary["writes"]
        return {status: self.summary[status] for status in STATUSES if self.summary[status]}

    def reasons(self) -> list[str | None]:
        return [outcome["reason"] for outcome in self.outcomes]

    def statuses(self) -> list[str]:
        return [outcome["status"] for outcome in self.outcomes]

    def params(self, n: int) -> dict[str, str] | None:
        """The attributes of a contact in WATI, without empty ones; None if there is no contact."""
        person = self.sandbox.state.by_phone.get(number(n))
        if person is None:
            return None
        return {name: value for name, value in (person.custom_params or {}).items() if value}

    def add(self, *people: tuple[int, dict[str, str]]) -> None:
        contacts = [{"phone": number(n), "name": "Ada", "custom_params": params} for n, params in people]
        self.sandbox.control("POST", "/contacts", {"contacts": contacts})

    def calls(self) -> Counter[str]:
        """The calls since the last time that this was asked."""
        seen = self.sandbox.requests()
        self.sandbox.control("DELETE", "/requests")
        return Counter(re.sub(r"/\d{7,}$", "/{n}", each.replace("/api/ext/v3", "")) for each in seen)
