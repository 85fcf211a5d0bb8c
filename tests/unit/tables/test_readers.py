"""Rows from lists, JSON and files, and the texts that their values become."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.tables.readers import READERS, cell, is_json, rows_given, text_of


def read(suffix: str, content: bytes) -> list[dict[str, Any]]:
    return list(READERS[suffix](io.BytesIO(content)))


def test_csv() -> None:
    content = '\ufeffphone,name,note\r\n85264318721,Ada,\r\n\r\n0612,"Müller, 😀","two\r\nlines"\r\n'
    assert read(".csv", content.encode()) == [
        {"phone": "85264318721", "name": "Ada", "note": None},
        {"phone": "0612", "name": "Müller, 😀", "note": "two\r\nlines"},
    ]


def test_an_empty_csv_has_no_rows() -> None:
    assert read(".csv", b"") == read(".csv", b"phone,name\n") == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"phone,name\n1,a\n2\n", "line 3 of the CSV file has 1 fields, and its header 2"),
        (b"phone,name\n1,a,b\n", "line 2 of the CSV file has 3 fields"),
        (b"phone,phone\n1,2\n", "a column twice"),
    ],
)
def test_a_csv_whose_columns_are_not_clear_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(WatiValidationError, match=why):
        read(".csv", content)


def test_jsonl() -> None:
    rows = [{"phone": 85264318721, "name": "Ada"}, {"phone": None}]
    content = "\n\n".join(map(json.dumps, rows))
    assert read(".jsonl", content.encode()) == rows


@pytest.mark.parametrize("line", ["{", "[1]", "7", '"85264318721"', "nonsense 85264318721"])
def test_a_line_that_is_no_object_is_refused_without_repeating_it(line: str) -> None:
    with pytest.raises(WatiValidationError, match="line 2 of the file is no JSON object") as refused:
        read(".jsonl", f'{{"a": 1}}\n{line}\n'.encode())
    assert "85264318721" not in str(refused.value)


def test_parquet() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"phone": f"8526431{n:04d}", "paid": n % 2 == 0, "at": date(2026, 1, 1)} for n in range(2_500)]
    rows[7]["phone"] = None
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=1_000)
    assert read(".parquet", file.getvalue()) == rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        ("", ""),
        (None, None),
        (float("nan"), None),
        (Decimal("NaN"), None),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (10**30, "1" + "0" * 30),
        (7.0, "7"),
        (-0.5, "-0.5"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (Decimal("1E+3"), "1000"),
        (Decimal("19.90"), "19.90"),
        (date(2026, 11, 3), "2026-11-03"),
        (datetime(2026, 11, 3, 6, 20, tzinfo=UTC), "2026-11-03T06:20:00+00:00"),
        (time(6, 20), "06:20:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_text_of(value: Any, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x", float("inf"), Decimal("-Infinity")], ids=repr)
def test_what_has_no_text_is_refused(value: Any) -> None:
    with pytest.raises(WatiValidationError, match="cannot be written as text: cast it in the query"):
        text_of(value)


@pytest.mark.parametrize(
    "given",
    [{"a": 1}, [{"a": 1}], '{"a": 1}', ' [{"a": 1}] ', ({"a": 1},)],
    ids=repr,
)
def test_rows_given(given: Any) -> None:
    assert list(rows_given(given, "rows")) == [{"a": 1}]


@pytest.mark.parametrize("given", [None, 7, b"x", '"text"', "7", "no json 85264318721"], ids=repr)
def test_what_is_no_rows_is_refused(given: Any) -> None:
    with pytest.raises(WatiValidationError, match="^rows is") as refused:
        rows_given(given, "rows")
    assert "85264318721" not in str(refused.value)


def test_json_is_told_from_an_address() -> None:
    assert is_json(" [")
    assert is_json('\n{"a": 1}')
    assert not is_json("s3://bucket/[a].csv")


@pytest.mark.parametrize(
    ("row", "column", "why"),
    [
        ({"phone": 1, "name": 2}, "Phone", "no column 'Phone' in it; there are 'phone', 'name'"),
        ((1, 2), 2, "no column 2 in it; its columns have no names, but numbers: 0 to 1"),
        (
            "85264318722",
            "phone",
            "no column 'phone' in it; it is of type str, and a row is a dict of columns",
        ),
        (5, "phone", "no column 'phone' in it; it is of type int, and a row is a dict of columns"),
        ((1, 2), "phone", "no column 'phone' in it; its columns have no names, but numbers: 0 to 1"),
        ({}, "phone", "there are none"),
    ],
)
def test_a_column_that_is_missing_is_named_with_those_there_are(row: Any, column: Any, why: str) -> None:
    with pytest.raises(WatiValidationError, match=why):
        cell(row, column)


def test_cells() -> None:
    cells: Callable[..., Any] = cell
    assert cells({"phone": 1}, "phone") == cells((1, 2), 0) == 1
