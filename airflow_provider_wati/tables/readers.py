"""Rows from wherever they come: what a DAG gives, what a file holds, and which column means what."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.masking import mask_target

#: A row, by column name, or by position as a cursor gives it.
Row = Mapping[str, Any] | Sequence[Any]
#: A column, by name, or by position from 0 where rows have no names.
Column = str | int

# Half of a character outside Unicode's first plane; neither WATI nor any file takes it.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EXACT_FLOAT = 2**53
_SHOWN_LENGTH = 200
_LONGEST_ADDRESS = 2_000
#: One line that has a directory or a suffix, and is not made of digits and signs alone, as phone numbers are.
_ADDRESS = re.compile(r"(?=.*[^\d\s()+,;./-])(.*/.*|.*\.[A-Za-z][A-Za-z0-9]*)")
_JSON_START = re.compile(r"\s*[\[{]")


def rows_given(rows: Any, what: str) -> Iterable[Row]:
    """
    Read rows from what a DAG gives.

    :param rows: one dict, a list of dicts, or either as a JSON string.
    :param what: what an error calls it.
    :raises WatiValidationError: when it is none of these.
    """
    rows = json_of(rows, what)
    if isinstance(rows, str):
        raise WatiValidationError(f"{what} is a text that is not valid JSON: give a list, or JSON of one.")
    if isinstance(rows, Mapping):
        return [rows]
    if isinstance(rows, bytes) or not isinstance(rows, Iterable):
        raise WatiValidationError(
            f"{what} is a dict, a list of dicts or JSON of these, not {type(rows).__name__}."
        )
    return rows


def json_of(value: Any, what: str) -> Any:
    """
    Return what a JSON text stands for; anything else, the address of a file say, as it is.

    :param what: what an error calls it.
    :raises WatiValidationError: for a text that begins like JSON and is none.
    """
    if not isinstance(value, str) or not is_json(value):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        # The text itself is not repeated: it holds people.
        raise WatiValidationError(f"{what} is a text that is not valid JSON: {error}.") from None


def is_address(text: str) -> bool:
    """Tell whether a text can be the address of a file, and is not rather what should stand in the file."""
    return not is_json(text) and len(text) <= _LONGEST_ADDRESS and bool(_ADDRESS.fullmatch(text))


def is_json(text: str) -> bool:
    """Tell whether a text is rows as JSON rather than the address of a file."""
    return bool(_JSON_START.match(text))


def read_csv(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read rows of a CSV file with a header line; a field that is empty is None."""
    with io.TextIOWrapper(binary, "utf-8-sig", newline="") as text:
        # Strictly: else a quote that is opened and not closed takes the rows after it for a part of its field.
        lines = csv.reader(text, strict=True)
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise WatiValidationError("the header of the CSV file has a column twice")
        for fields in lines:
            if len(fields) == len(header):
                yield {name: value or None for name, value in zip(header, fields, strict=True)}
            elif fields:
                raise WatiValidationError(
                    f"line {lines.line_num} of the CSV file has {len(fields)} fields, and its header {len(header)}"
                )


def read_jsonl(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read rows of a file with one JSON object a line; empty lines do not count."""
    for n, line in enumerate(binary, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise WatiValidationError(f"line {n} of the file is no JSON object")
        yield row


def read_parquet(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """
    Read rows of a Parquet file, a part at a time.

    :raises WatiConfigurationError: when pyarrow is not installed.
    """
    file = pyarrow_parquet().ParquetFile(binary)
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise WatiValidationError("the Parquet file has a column twice")
    for part in file.iter_batches(batch_size=10_000):
        yield from _as_python_has_it(part).to_pylist()


def _as_python_has_it(part: Any) -> Any:
    """Cut the nanoseconds, which pandas writes by default and Python's times have not; keep short floats short."""
    import pyarrow as pa
    from pyarrow import compute

    def python_type(kind: Any) -> Any:
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            return pa.timestamp("us", kind.tz)
        if kind == pa.time64("ns"):
            return pa.time64("us")
        # As a float of Python's, 19.99 would become 19.989999771118164.
        return pa.string() if kind in (pa.float16(), pa.float32()) else kind

    schema = pa.schema([field.with_type(python_type(field.type)) for field in part.schema])
    if schema == part.schema:
        return part
    columns = [
        compute.if_else(compute.is_nan(column), None, column) if pa.types.is_floating(column.type) else column
        for column in part.columns
    ]
    return pa.Table.from_arrays(columns, names=part.schema.names).cast(schema, safe=False)


def pyarrow_parquet() -> Any:
    """
    Return pyarrow's Parquet module, which is heavy and optional.

    :raises WatiConfigurationError: when pyarrow is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise WatiConfigurationError(
            "A Parquet file needs pyarrow: pip install 'airflow-provider-wati[parquet]'."
        ) from None
    return parquet


#: How a file of rows is read, by its suffix.
READERS: Mapping[str, Callable[[BinaryIO], Iterator[dict[str, Any]]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


def text_of(value: Any) -> str | None:
    """
    Write a value of a table as the text that WATI takes.

    A whole number, a Decimal, a UUID: as it prints, a Decimal without exponent. A float: the shortest text that
    means it, and a whole one without ``.0``. A boolean: ``true`` or ``false``. A date or time: ISO 8601. NULL and
    NaN: None. A text: itself.

    :raises WatiValidationError: for what has no such text: lists, bytes, infinity, half a character.
    """
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise WatiValidationError("the text has half a character in it: mend it where it comes from")
        # What is more than a text (an Enum, a type of numpy's) is taken for the text that it is.
        return value if type(value) is str else str.__str__(value)
    if is_null(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        if math.isfinite(value):
            if isinstance(value, Decimal):
                return format(value, "f")
            return (
                str(int(value))
                if value.is_integer() and abs(value) <= _EXACT_FLOAT
                else float.__repr__(value)
            )
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise WatiValidationError(f"a {type(value).__name__} cannot be written as text: cast it in the query")


def as_written(value: Any) -> str:
    """Write a value for the outcomes that could not be read: as far as a file can take it, and not all of a long one."""
    if value is None:
        return ""
    try:
        return _clean(str(value)[:_SHOWN_LENGTH])
    except Exception:
        return type(value).__name__


def complaint_of(error: Exception) -> str:
    """
    Say what is wrong with a row that could not be read.

    The objects of a row are anybody's, and may raise anything when they are looked at: it concerns no other row.
    """
    if isinstance(error, WatiValidationError):
        return _clean(str(error))
    return f"the row cannot be read ({type(error).__name__})"


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def is_null(value: Any) -> bool:
    """Tell whether a value stands for none: None, NaN, or what pandas has for them."""
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, (float, datetime)):
        return bool(value != value)  # NaN and NaT alone differ from themselves
    return value is None or type(value).__name__ == "NAType"


def cell(row: Row, column: Column) -> Any:
    """
    Return what a row has in a column.

    :raises WatiValidationError: when the row has no such column, naming those it has.
    """
    try:
        return row[column]  # type: ignore[index] # a name for a mapping, a number for a sequence
    except (KeyError, IndexError, TypeError):
        raise WatiValidationError(f"there is no column {column!r} in it; {_columns_of(row)}") from None


def _columns_of(row: Any) -> str:
    if isinstance(row, Mapping):
        # What a file without a header has there is people.
        return f"there are {', '.join(repr(mask_target(str(name))) for name in row) or 'none'}"
    if isinstance(row, Sequence) and not isinstance(row, (str, bytes)):
        return f"its columns have no names, but numbers: 0 to {len(row) - 1}"
    return f"it is of type {type(row).__name__}, and a row is a dict of columns"
