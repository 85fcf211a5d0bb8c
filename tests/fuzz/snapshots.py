"""Snapshots of contact syncs: damaged, cut, and with lines that no sync writes."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, BinaryIO

from hypothesis import strategies as st

from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.syncing.snapshot import read_snapshot
from tests.fuzz.answers import CannedAnswer, CannedAnswers, client_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies, damaged, damaged_bytes

_ATTRIBUTES = ("tier", "city")
_HEADER: Any = {"version": 1, "attributes": ["city", "tier"]}
_LINES: Any = [
    _HEADER,
    ["919800000001", 1, 1, "Ada", ["Pune", "gold"], []],
    ["919800000002", 0, 1, None, ["", ""], []],
    ["919800000003", 1, 0, "Cleo", None, []],
    ["919800000004", 0, 1, "Dev", None, [["Pune", ""], ["", "gold"]]],
]
_ROWS = [
    {"phone": "919800000001", "name": "Ada", "tier": "gold", "city": "Pune"},
    {"phone": "919800000003", "name": "Cleo", "tier": "new", "city": ""},
]
_CONTACT = {
    "id": "66b1fb04c0ac700000000001",
    "phone": "919800000001",
    "wa_id": "919800000001",
    "name": "Ada",
    "custom_params": [],
}
#: One answer that suits each call of a sync.
_ANSWER = CannedAnswer(
    200, (), json.dumps({**_CONTACT, "contact_count": 1, "contact_list": [_CONTACT]}).encode()
)
_COLUMNS = ContactColumns("phone", "name", {name: name for name in _ATTRIBUTES})


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=0)


def _json_lines(lines: Any) -> bytes:
    rows = lines if isinstance(lines, list) else [lines]
    return "\n".join(json.dumps(line) for line in rows).encode()


_contents = st.one_of(
    damaged(_LINES).map(_json_lines),
    damaged(_LINES).map(_json_lines),
    damaged(_HEADER).map(lambda header: _json_lines([header, *_LINES[1:]])),
    bodies(_LINES[1]).map(lambda line: _json_lines([_HEADER]) + b"\n" + line),
    damaged_bytes(_json_lines(_LINES)),
)
_adapter = CannedAnswers()
_client = client_of(_adapter)


class _Form(Enum):
    """What the bytes of an input are."""

    #: Lines that are packed before they are read.
    LINES = "lines"
    #: Lines whose packed form loses its end.
    CUT_LINES = "cut lines"
    #: A file as it is.
    FILE = "file"


_snapshots = st.one_of(
    st.tuples(st.just(_Form.LINES), _contents),
    st.tuples(st.just(_Form.LINES), _contents),
    st.tuples(st.just(_Form.CUT_LINES), _contents),
    st.tuples(st.just(_Form.FILE), damaged_bytes(_packed(_json_lines(_LINES)))),
)


def _file(given: tuple[_Form, bytes]) -> _MemoryFile:
    form, content = given
    if form is _Form.FILE:
        return _MemoryFile(content)
    return _MemoryFile(_packed(content)[: -4 if form is _Form.CUT_LINES else None])


class _MemoryFile:
    """The file of a snapshot, in memory."""

    path = "memory"

    def __init__(self, content: bytes) -> None:
        self._content = content

    @contextmanager
    def read(self) -> Iterator[BinaryIO | None]:
        yield io.BytesIO(self._content)

    @contextmanager
    def write(self) -> Iterator[BinaryIO]:
        file = io.BytesIO()
        yield file
        self._content = file.getvalue()


def _read(given: tuple[_Form, bytes]) -> None:
    """Read a snapshot to its end."""
    with read_snapshot(_file(given), _ATTRIBUTES) as snapshot:
        if snapshot is not None:
            for _ in snapshot.known:
                pass


def _sync(given: tuple[_Form, bytes]) -> None:
    """Run a sync on a snapshot."""
    _adapter.start([_ANSWER])
    sync = ContactSync(
        client=_client,
        sync_key="customers",
        columns=_COLUMNS,
        snapshot=_file(given),
        on_removed="clear",
        max_removed=1.0,
    )
    try:
        sync.read(_ROWS)
        sync.run()
    finally:
        summary = sync.summary()
        assert len(list(sync.outcome_rows())) == summary["total"]
        sync.close()


READ = Surface(name="snapshots", inputs=_snapshots, feed=_read, batch=20)
SYNC = Surface(name="syncs", inputs=_snapshots, feed=_sync, batch=5)
SURFACES = (READ, SYNC)
