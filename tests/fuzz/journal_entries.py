"""Entries of the send journal, as a store gives them back: damaged, mixed, out of order."""

from __future__ import annotations

import json
from array import array
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from airflow_provider_wati.sending.journal import Journal
from airflow_provider_wati.sending.journal_codec import (
    Intent,
    Opening,
    Record,
    Result,
    Rows,
    Verdict,
    decode,
    encode,
)
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies, damaged, texts
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

_AT = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
_RECORDS: tuple[Record, ...] = (
    Opening(session="a1b2c3", at=_AT),
    Opening(session="a1b2c4", at=_AT, person=0, is_lost=True, is_uncertain=True),
    Rows(at=_AT, digest="d41d8c"),
    Intent(id="a1b2c3-0", at=_AT, content="order_update", people=array("q", [1, -2, 2**63 - 1]), campaign_name="wati-a1b2c3-0", due=_AT),
    Intent(id="a1b2c3-1", at=_AT, content="order_update", people=array("q"), found_as=Verdict.ACCEPTED, found_in="66b1fb04b40adca000000001"),
    Result(id="a1b2c3-0", at=_AT, verdicts={Verdict.ACCEPTED: [0, 2], Verdict.REFUSED: [1]}, campaign_id="66b1fb04b40adca000000001", reason="refused", detail={"id": "a"}),
    Result(id="a1b2c3-0", at=_AT, verdicts={Verdict.OPEN: None}),
    Result(id="a1b2c3-1", at=_AT, verdicts={Verdict.CLOSED_UNRESOLVED: []}),
)  # fmt: skip
_ENCODED: tuple[Any, ...] = tuple(json.loads(encode(record)) for record in _RECORDS)
_runs = st.lists(
    st.sampled_from(
        ("0", "2", "0-1", "1-0", "-1", "3-", "-", "999999", "0-9999999", "1e3", " ", "all", "\u0662")
    ),
    max_size=3,
)
_times = st.one_of(
    texts,
    st.sampled_from(
        ("2026-11-03", "2026-W45-2", "20261103T062012Z", "2026-11-03T06:20:12", "0001-01-01T00:00+23:59")
    ),
)
_field = st.one_of(
    st.tuples(st.just("at"), _times),
    st.tuples(st.just("due"), _times),
    st.tuples(st.sampled_from(("accepted", "open")), _runs.map(" ".join)),
    st.tuples(st.just("people"), st.one_of(st.just("AAAA"), texts)),
)
_entries = st.one_of(
    *(damaged(entry).map(json.dumps) for entry in _ENCODED),
    st.builds(
        lambda entry, field: json.dumps({**entry, field[0]: field[1]}), st.sampled_from(_ENCODED), _field
    ),
    bodies(_ENCODED[3]).map(lambda body: body.decode("utf-8", "replace")),
)
#: The records of a whole send with one or two more anywhere, and maybe without one of its own.
_journals = st.tuples(
    st.integers(0, 2 * len(_ENCODED)), st.lists(st.tuples(st.integers(0, len(_ENCODED)), _entries), max_size=2)
)  # fmt: skip


def _feed(changes: tuple[int, list[tuple[int, str]]]) -> None:
    """Read a journal, and use what it says."""
    left_out, added = changes
    records = [json.dumps(entry) for n, entry in enumerate(_ENCODED) if n != left_out]
    for position, text in added:
        records.insert(position, text)
    journal = Journal(MemoryStore(records=records), FakeClock(), session="0f0f0f")
    for entry in journal.entries:
        assert len(entry.verdicts) == len(entry.intent.people)
        for verdict in Verdict:
            list(entry.people(verdict))
        if entry.intent.due is not None:
            assert entry.intent.due.utcoffset() is not None
    for n, text in enumerate(records):
        record = decode(text, str(n))
        assert decode(encode(record), "again") == record


SURFACE = Surface(name="journal entries", inputs=_journals, feed=_feed, batch=10)
