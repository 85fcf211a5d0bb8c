"""Files of rows: CSV, JSON lines and Parquet, whole and damaged, and the cells that come out of them."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.tables.readers import READERS
from airflow_provider_wati.tables.values import text_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies, damaged_bytes, in_pieces, texts

#: What operators turn into a WatiValidationError that names the file; they open it, so the reader does not know its name.
_TYPED = (WatiError, ValueError, csv.Error)
_ROWS = 1_000

_csv_texts = st.one_of(
    in_pieces('phone name 852 Ada , , ; " "" \n \r \r\n \x00 \ufeff \u2028 \t \'', "\n", "\n", " "),
    texts.map(lambda text: f"phone,name\n{text},Ada\n"),
)
_csv_files = st.one_of(
    _csv_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    _csv_texts.map(lambda text: text.encode("utf-16", "surrogatepass")),
    damaged_bytes("\ufeffphone,name\r\n85264318722,\"Ada \U0001f600\"\r\n919810000001,Ben\r\n".encode()),
)  # fmt: skip
_json_lines = st.lists(
    st.one_of(bodies({"phone": "85264318722", "name": None, "total": 1.5}), st.sampled_from((b"", b"\r", b" \t"))),
    max_size=3,
).map(b"\n".join)  # fmt: skip


def _parquet_columns() -> dict[str, Any]:
    """Return a column for each type that warehouses write, with values at the edges of Python's types."""
    import pyarrow as pa

    return {
        "text": pa.array(["Ada", None]),
        "bytes": pa.array([b"\xff", b""]),
        "whole": pa.array([2**63 - 1, None]),
        "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
        "half": pa.array([1.5, float("nan")], pa.float32()).cast(pa.float16()),
        "short": pa.array([19.99, float("inf")], pa.float32()),
        "double": pa.array([float("nan"), -0.0]),
        "decimal": pa.array([Decimal("1.10"), None]),
        "wide": pa.array([Decimal("9" * 70), None], pa.decimal256(76, 0)),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31)]),
        "far day": pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32()),
        "moment": pa.array([datetime(9999, 12, 31, tzinfo=UTC), None], pa.timestamp("us", "Asia/Kolkata")),
        "far moment": pa.array([2**62, -(2**62)], pa.timestamp("us", "UTC")),
        "nanoseconds": pa.array([2**62, None], pa.timestamp("ns")),
        "no such zone": pa.array([0, None], pa.timestamp("ms", "Mars/Olympus")),
        "time": pa.array([86_399_999_999_999, None], pa.time64("ns")),
        "span": pa.array([2**62, None], pa.duration("s")),
        "short spans": pa.array([1, None], pa.duration("ns")),
        "list": pa.array([["a"], None]),
        "object": pa.array([{"a": 1, "b": None}, None]),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "category": pa.array(["a", "b"]).dictionary_encode(),
        "short category": pa.array([1.5, 2.5], pa.float32()).dictionary_encode(),
        "list of halves": pa.array([[1.5], None], pa.list_(pa.float32())),
        "nothing": pa.nulls(2),
        "": pa.array([True, None]),
        "text again": pa.array(["x" * 3, "\ufeff"]),
    }


def _parquet_file(columns: dict[str, Any], names: list[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    table = pa.Table.from_arrays(
        [columns[name] for name in names], [name.removesuffix(" again") for name in names]
    )
    parquet.write_table(table, file)
    return file.getvalue()


@st.composite
def _parquet_files(draw: st.DrawFn) -> bytes:
    columns = _parquet_columns()
    file = _parquet_file(columns, draw(st.lists(st.sampled_from(sorted(columns)), unique=True, max_size=4)))
    return draw(st.one_of(st.just(file), damaged_bytes(file)))


def _feeder(suffix: str) -> Callable[[bytes], None]:
    def feed(file: bytes) -> None:
        """Read the rows of a file, and each of their cells."""
        for row in itertools.islice(READERS[suffix](io.BytesIO(file)), _ROWS):
            assert isinstance(row, dict)
            for value in row.values():
                try:
                    text_of(value)
                except WatiError:
                    continue

    return feed


CSV = Surface(name="CSV files", inputs=_csv_files, feed=_feeder(".csv"), typed=_TYPED, batch=20)
JSON_LINES = Surface(name="JSON lines", inputs=_json_lines, feed=_feeder(".jsonl"), typed=_TYPED, batch=10)
PARQUET = Surface(
    name="Parquet files", inputs=_parquet_files(), feed=_feeder(".parquet"), typed=_TYPED, batch=5
)
SURFACES = (CSV, JSON_LINES, PARQUET)
