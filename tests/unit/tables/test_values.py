"""The values of a row and the texts that they become."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.tables.values import as_written, cell, complaint_of, key_text_of, text_of


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
        (Decimal("20.00"), "20.00"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0.00"), "-0.00"),
        (-0.0, "0"),
        (Decimal("12345678901234567890"), "12345678901234567890"),
        (date(9999, 12, 31), "9999-12-31"),
        (
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12))),
            "9999-12-31T23:59:59-12:00",
        ),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=ZoneInfo("Asia/Kolkata")), "9999-12-31T23:59:59+05:30"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "0001-01-01T00:00:00+14:00"),
        (date(2026, 11, 3), "2026-11-03"),
        (datetime(2026, 11, 3, 6, 20, tzinfo=UTC), "2026-11-03T06:20:00+00:00"),
        (time(6, 20), "06:20:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_text_of(value: Any, text: str | None) -> None:
    """Each type of value has one text."""
    assert text_of(value) == text


@pytest.mark.parametrize("value", [1, 1.0, Decimal(1), Decimal("1.00"), Decimal("1E0"), "1"], ids=repr)
def test_a_number_has_the_same_key_in_every_type(value: Any) -> None:
    """A key stays the same when its column changes from INTEGER to NUMERIC or FLOAT."""
    assert key_text_of(value) == "1"


def test_a_key_has_no_trailing_zeros() -> None:
    """A key of 1.5 is the same as a NUMERIC of 1.50, and 0 the same as 0.00."""
    assert (key_text_of(Decimal("1.50")), key_text_of(Decimal("0.00"))) == ("1.5", "0")


def test_long_keys_stay_different() -> None:
    """A NUMERIC(38) keeps all its digits: two long keys never become one."""
    long = 10**37
    assert key_text_of(Decimal(long)) == key_text_of(long)
    assert key_text_of(Decimal(f"{long}.10")) == f"{long}.1"
    assert key_text_of(Decimal(long + 1)) != key_text_of(Decimal(long + 2))


def test_a_key_that_is_not_a_number_is_no_key() -> None:
    """Both kinds of Decimal's NaN mean no value."""
    assert key_text_of(Decimal("NaN")) is key_text_of(Decimal("sNaN")) is None


@pytest.mark.parametrize("to_text", [text_of, key_text_of])
def test_a_number_with_too_many_digits_is_refused(to_text: Callable[[Any], str | None]) -> None:
    """A number beyond Python's limit makes its row invalid, and one that is nearly 0 does not fill the memory."""
    with pytest.raises(WatiValidationError, match="too many digits: cast it to text"):
        to_text(10**5000)
    with pytest.raises(WatiValidationError, match="cannot be written as text: cast it in the query"):
        to_text(Decimal("1E-999999"))
    assert to_text(Decimal("1E-30")) == "0." + "0" * 29 + "1"


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x", float("inf"), Decimal("-Infinity")], ids=repr)
def test_a_value_without_a_text_is_refused(value: Any) -> None:
    """Lists, bytes and infinity have no text that a message could show."""
    with pytest.raises(WatiValidationError, match="cannot be written as text: cast it in the query"):
        text_of(value)


@pytest.mark.parametrize(
    ("row", "column", "why"),
    [
        ({"phone": 1, "name": 2}, "Phone", "no column 'Phone' in it; there are 'phone', 'name'"),
        ((1, 2), 2, "no column 2 in it; its columns are numbered from 0 to 1"),
        (
            "85264318722",
            "phone",
            "no column 'phone' in it; it is of type str; give a dict of columns",
        ),
        (5, "phone", "no column 'phone' in it; it is of type int; give a dict of columns"),
        ((1, 2), "phone", "no column 'phone' in it; its columns are numbered from 0 to 1"),
        ({}, "phone", "there are none"),
    ],
)
def test_a_missing_column_is_named_with_the_columns_of_the_row(row: Any, column: Any, why: str) -> None:
    """The error for a missing column says which columns the row has."""
    with pytest.raises(WatiValidationError, match=why):
        cell(row, column)


def test_cells() -> None:
    """A row is a dict with names or a tuple with positions."""
    cells: Callable[..., Any] = cell
    assert cells({"phone": 1}, "phone") == cells((1, 2), 0) == 1


def test_a_value_that_could_not_be_read_is_shown_short_and_clean() -> None:
    """The outcomes show at most 200 characters of such a value, without half characters, whatever its class does."""

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert as_written(None) == ""
    assert as_written("x" * 300) == "x" * 200
    assert as_written("Cl\udc00") == "Cl?"
    # The same in each process, because a shard is chosen by it.
    blobs = [memoryview(b"1"), memoryview(b"2")]
    assert {as_written(blob) for blob in blobs} == {"<memory>"}
    assert as_written({"1", "2"}) == "set"
    assert as_written("left at 0x1f") == "left at 0x1f"
    assert as_written(Rude()) == "Rude"


def test_only_errors_of_this_package_are_repeated_in_a_complaint() -> None:
    """The text of any other error may hold personal data, so only its class is shown."""
    assert complaint_of(WatiValidationError("it is empty")) == "it is empty"
    assert complaint_of(KeyError("85264318721")) == "the row cannot be read (KeyError)"


def test_a_long_float_is_the_same_key_as_the_whole_number() -> None:
    """Python writes a float of 17 digits with an exponent."""
    assert key_text_of(1e16) == key_text_of(10**16) == "10000000000000000"
    assert key_text_of(0.00001) == key_text_of(Decimal("0.00001")) == "0.00001"
    assert (key_text_of(1.5), key_text_of(-0.0)) == ("1.5", "0")
