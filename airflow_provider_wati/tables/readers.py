"""Read rows from an argument of an operator (dicts, JSON) or from a file (CSV, JSON lines, Parquet)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.tables.csv_cells import original_text
from airflow_provider_wati.tables.outcomes import RECIPIENT_COLUMNS, SYNC_COLUMNS

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

    from airflow_provider_wati.tables.values import Row

_LONGEST_ADDRESS = 2_000
#: Characters in one field of a CSV file. Python's own limit of 131,072 would stop the file at the first long text;
#: no limit would let a quote that is never closed put the whole file into memory.
LONGEST_FIELD = 2**25
_LINES_A_READ = 100
#: One line with a directory or a suffix that does not consist of digits and signs alone, as phone numbers do.
_ADDRESS = re.compile(r"(?=.*[^\d\s()+,;./-])(.*/.*|.*\.[A-Za-z][A-Za-z0-9]*)")
_JSON_START = re.compile(r"\s*[\[{]")


def rows_given(rows: Any, what: str) -> Iterable[Row]:
    """
    Return the rows in an argument of an operator.

    :param rows: one dict, a list of dicts, or either as a JSON string.
    :param what: the name of the argument, for errors.
    :raises WatiValidationError: for anything else.
    """
    rows = json_of(rows, what)
    if isinstance(rows, str):
        raise WatiValidationError(f"{what} is a text that is not JSON: give a list, or a list as JSON.")
    if isinstance(rows, Mapping):
        return [rows]
    if isinstance(rows, bytes) or not isinstance(rows, Iterable):
        raise WatiValidationError(
            f"{what} is a dict, a list of dicts or JSON of these, not {type(rows).__name__}."
        )
    return rows


def json_of(value: Any, what: str) -> Any:
    """
    Return the value that a JSON text holds; anything else, such as the address of a file, as it is.

    :param what: the name of the argument, for errors.
    :raises WatiValidationError: for a text that begins like JSON and is not JSON.
    """
    if not isinstance(value, str) or not is_json(value):
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise WatiValidationError(f"{what} is JSON that is nested too deeply.") from None
    except ValueError as error:
        # The text is not repeated, because it holds personal data.
        raise WatiValidationError(f"{what} is a text that is not JSON: {error}.") from None


def is_address(text: str) -> bool:
    """Return whether a text can be the path or URI of a file, rather than the content of one."""
    return not is_json(text) and len(text) <= _LONGEST_ADDRESS and bool(_ADDRESS.fullmatch(text))


def is_json(text: str) -> bool:
    """Return whether a text is JSON, rather than the path or URI of a file."""
    return bool(_JSON_START.match(text))


def read_csv(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a CSV file, in UTF-8 with a header; an empty field is None.

    In a file with all columns of our outcomes or of a campaign's recipients, the quotes that ``safe_cell`` put before
    formulas are removed. Other files are read as they are.

    :raises WatiValidationError: for a line with more or fewer fields than the header, and a column that occurs twice.
    :raises csv.Error: for a quote that is not closed, and a field over ``LONGEST_FIELD`` characters.
    """
    with io.TextIOWrapper(binary, "utf-8-sig", newline="") as text:
        # Strict: otherwise a quote that is not closed makes the rows after it part of its field.
        reader = csv.reader(text, strict=True)
        lines = _lines_of(reader)
        _, header = next(lines, (0, []))
        if len(set(header)) < len(header):
            raise WatiValidationError("the header of the CSV file has a column twice")
        is_ours = any(set(columns) <= set(header) for columns in (SYNC_COLUMNS, RECIPIENT_COLUMNS))
        for line_number, fields in lines:
            if len(fields) == len(header):
                texts = list(map(original_text, fields)) if is_ours else fields
                values = texts if all(texts) else [text or None for text in texts]
                yield dict(zip(header, values, strict=True))
            elif fields:
                raise WatiValidationError(
                    f"line {line_number} of the CSV file has {len(fields)} fields, and its header {len(header)}"
                )


def _lines_of(reader: CsvReader) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the number and the fields of each line, with fields of up to ``LONGEST_FIELD`` characters.

    The limit is one of the whole process, so it is restored after each read; many lines are read at once
    because setting it takes as long as reading one.
    """
    while True:
        limit = csv.field_size_limit(LONGEST_FIELD)
        try:
            lines = [(reader.line_num, fields) for fields in islice(reader, _LINES_A_READ)]
        finally:
            csv.field_size_limit(limit)
        if not lines:
            return
        yield from lines


def read_jsonl(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with one JSON object on each line; empty lines are skipped."""
    for n, line in enumerate(binary, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise WatiValidationError(f"line {n} of the file is not a JSON object")
        yield row


def read_parquet(binary: BinaryIO) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a Parquet file; 10,000 of them are in memory at a time.

    :raises WatiValidationError: for a file that is damaged, and a column that occurs twice.
    :raises WatiConfigurationError: when pyarrow is not installed.
    """
    parquet = pyarrow_parquet()
    with _damage_named():
        file = parquet.ParquetFile(binary)
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise WatiValidationError("the Parquet file has a column twice")
        for part in file.iter_batches(batch_size=10_000):
            yield from _rows_in(_with_python_types(part))


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turn pyarrow's errors about the content of a file into one of this package; they are of many classes."""
    from pyarrow import ArrowException

    try:
        yield
    # pytz, which pyarrow prefers where it is installed, raises KeyError for a time zone that does not exist.
    except (ArrowException, OSError, KeyError) as error:
        # pyarrow raises OSError for damaged content too, without a number; errors of the disk and the network have one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WatiValidationError(
            f"the file does not have the format of its suffix, or is damaged ({type(error).__name__})"
        ) from None


def _rows_in(part: Any) -> Iterator[dict[str, Any]]:
    try:
        yield from part.to_pylist()
    except OverflowError:  # a date after the year 9999, in this time zone; nothing has been yielded
        columns = [[_python_value(value) for value in column] for column in part.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(part.schema.names, values, strict=True))


def _python_value(value: Any) -> Any:
    """Return a pyarrow scalar as a Python object; a date that Python cannot represent as pyarrow writes it."""
    try:
        return value.as_py()
    except OverflowError:
        return str(value.cast("string"))


def _with_python_types(part: Any) -> Any:
    """Cut nanoseconds, which pandas writes and Python does not have; keep short floats short."""
    import pyarrow as pa
    from pyarrow import compute

    def python_type(kind: Any) -> Any:
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            return pa.timestamp("us", kind.tz)
        if kind == pa.time64("ns"):
            return pa.time64("us")
        # As a Python float, 19.99 would become 19.989999771118164.
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
    Return pyarrow's Parquet module; it is imported here because it is large and optional.

    :raises WatiConfigurationError: when pyarrow is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise WatiConfigurationError(
            "A Parquet file needs pyarrow: run pip install 'airflow-provider-wati[parquet]'."
        ) from None
    return parquet


#: The reader of a file of rows, by suffix.
READERS: Mapping[str, Callable[[BinaryIO], Iterator[dict[str, Any]]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
