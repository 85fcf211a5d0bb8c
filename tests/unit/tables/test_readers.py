"""Rows from arguments, JSON and files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.tables.readers import LONGEST_FIELD, READERS, is_address, is_json, rows_given


def read(suffix: str, content: bytes) -> list[dict[str, Any]]:
    return list(READERS[suffix](io.BytesIO(content)))


def test_csv() -> None:
    """A CSV file may have a byte order mark, empty lines, quoted line ends, and empty fields, which are None."""
    content = '\ufeffphone,name,note\r\n85264318721,Ada,\r\n\r\n0612,"Müller, 😀","two\r\nlines"\r\n'
    assert read(".csv", content.encode()) == [
        {"phone": "85264318721", "name": "Ada", "note": None},
        {"phone": "0612", "name": "Müller, 😀", "note": "two\r\nlines"},
    ]


def test_an_empty_csv_has_no_rows() -> None:
    """An empty file, and one with a header alone, has no rows."""
    assert read(".csv", b"") == read(".csv", b"phone,name\n") == []


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    """An argument or a line of thousands of brackets is an error of the row source, and not of Python."""
    deep = "[" * 100_000
    with pytest.raises(WatiValidationError, match="rows is JSON that is nested too deeply"):
        rows_given(deep, "rows")
    with pytest.raises(WatiValidationError, match="line 2 of the file is not a JSON object"):
        read(".jsonl", f'{{"phone": "1"}}\n{deep}\n'.encode())


def test_a_damaged_parquet_file_is_refused_whatever_pyarrow_raises() -> None:
    """Damage in the head of a Parquet file, which pyarrow takes for an error of the disk, is one of the content."""
    with pytest.raises(WatiValidationError, match="is damaged"):
        read(".parquet", b"PAR1" + b"\x00" * 8 + b"\x04\x00\x00\x00PAR1")


def test_an_error_of_the_disk_is_not_taken_for_damage() -> None:
    """A Parquet file that cannot be read because of the disk or the network may be read later, so its error stays."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        list(READERS[".parquet"](Broken(b"PAR1" * 10)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"phone,name\n1,a\n2\n", "line 3 of the CSV file has 1 fields, and its header 2"),
        (b"phone,name\n1,a,b\n", "line 2 of the CSV file has 3 fields"),
        (b"phone,phone\n1,2\n", "a column twice"),
    ],
)
def test_a_csv_line_that_does_not_fit_the_header_is_refused(content: bytes, why: str) -> None:
    """A line whose fields cannot be assigned to columns stops the file, and the error names the line."""
    with pytest.raises(WatiValidationError, match=why):
        read(".csv", content)


def test_a_long_csv_field_stops_nobody_else() -> None:
    """A field over Python's limit of 131,072 characters is read, and so are the rows around it."""
    limit = csv.field_size_limit()
    content = f"phone,name\n1,Ada\n2,{'x' * 200_000}\n3,Ben\n"
    rows = read(".csv", content.encode())
    assert [row["phone"] for row in rows] == ["1", "2", "3"]
    assert len(rows[1]["name"]) == 200_000
    assert csv.field_size_limit() == limit


def test_the_csv_limit_of_the_process_stays_between_two_rows() -> None:
    """Other code that reads CSV while the rows are used has its own limit, also after an error."""
    limit = csv.field_size_limit()
    rows = READERS[".csv"](io.BytesIO(b"phone,name\n" + b"1,Ada\n" * 200 + b'2,"open\n'))
    next(rows)
    assert csv.field_size_limit() == limit
    with pytest.raises(csv.Error):
        list(rows)
    assert csv.field_size_limit() == limit


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field has a limit, so that a quote that is never closed ends with an error."""
    assert LONGEST_FIELD < 2**30
    monkeypatch.setattr("airflow_provider_wati.tables.readers.LONGEST_FIELD", 1_000)
    with pytest.raises(csv.Error, match="larger than field limit"):
        read(".csv", b'phone,name\n1,"' + b"x" * 2_000)


def test_jsonl() -> None:
    """Each line of a JSON-lines file is a row; empty lines are skipped."""
    rows = [{"phone": 85264318721, "name": "Ada"}, {"phone": None}]
    content = "\n\n".join(map(json.dumps, rows))
    assert read(".jsonl", content.encode()) == rows


@pytest.mark.parametrize("line", ["{", "[1]", "7", '"85264318721"', "nonsense 85264318721"])
def test_a_line_that_is_not_an_object_is_refused_without_repeating_it(line: str) -> None:
    """The error names the line and does not show it, because errors are logged."""
    with pytest.raises(WatiValidationError, match="line 2 of the file is not a JSON object") as refused:
        read(".jsonl", f'{{"a": 1}}\n{line}\n'.encode())
    assert "85264318721" not in str(refused.value)


def test_parquet() -> None:
    """A Parquet file is read in parts, with the types of Python."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"phone": f"8526431{n:04d}", "paid": n % 2 == 0, "at": date(2026, 1, 1)} for n in range(2_500)]
    rows[7]["phone"] = None
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=1_000)
    assert read(".parquet", file.getvalue()) == rows


def test_a_parquet_date_that_python_does_not_have_stops_nobody_else() -> None:
    """A date after the year 9999, in its time zone, is read as text; the other rows are read as usual."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    last = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    table = pa.table(
        {
            "phone": ["1", "2", "3"],
            "until": pa.array([0, last, None], pa.timestamp("s", "Asia/Kolkata")),
            "day": pa.array([0, 2_932_896, 2_932_897], pa.int32()).cast(pa.date32()),
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    rows = read(".parquet", file.getvalue())
    assert [row["phone"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["until"] == datetime(1970, 1, 1, tzinfo=UTC)
    assert rows[1]["until"].startswith("10000-01-01 05:29:59")
    assert rows[2]["until"] is None
    assert [row["day"] for row in rows] == [date(1970, 1, 1), date(9999, 12, 31), "10000-01-01"]


@pytest.mark.parametrize(
    "given",
    [{"a": 1}, [{"a": 1}], '{"a": 1}', ' [{"a": 1}] ', ({"a": 1},)],
    ids=repr,
)
def test_rows_given(given: Any) -> None:
    """Rows may be one dict, several, or JSON of these."""
    assert list(rows_given(given, "rows")) == [{"a": 1}]


@pytest.mark.parametrize("given", [None, 7, b"x", '"text"', "7", "no json 85264318721"], ids=repr)
def test_an_argument_without_rows_is_refused(given: Any) -> None:
    """Anything but dicts and JSON of dicts is refused, and the error does not show it."""
    with pytest.raises(WatiValidationError, match="^rows is") as refused:
        rows_given(given, "rows")
    assert "85264318721" not in str(refused.value)


def test_json_and_the_path_of_a_file_are_told_apart() -> None:
    """A text that begins with a bracket or a brace is JSON; a path may have brackets later."""
    assert is_json(" [")
    assert is_json('\n{"a": 1}')
    assert not is_json("s3://bucket/[a].csv")
    assert is_address("s3://bucket/[a].csv")
    assert not is_address("+91 98765 43210")


def test_a_parquet_time_zone_that_does_not_exist_is_named_as_damage() -> None:
    """A file whose times are in no known zone is refused with an error of this package."""
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pytz")
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table({"at": pa.array([0], pa.timestamp("us", "Mars/Olympus"))}), file)
    with pytest.raises(WatiValidationError, match="damaged"):
        read(".parquet", file.getvalue())
