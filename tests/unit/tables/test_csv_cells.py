"""Cells that a spreadsheet would run: quoted in CSV files, and read again as they were."""

from __future__ import annotations

import csv
import io
import random
from typing import Any

import pytest

from airflow_provider_wati.tables.csv_cells import original_text, safe_cell, safe_rows
from airflow_provider_wati.tables.outcomes import RECIPIENT_COLUMNS, SEND_COLUMNS, SYNC_COLUMNS
from airflow_provider_wati.tables.readers import read_csv

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://x.example","Ada")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "'=1+1",
    '"=1+1',
    "' \" '=1+1",
    "\uff1d1+1",
    "\uff0bA1",
    "\uff0dA1",
    "\uff20SUM(1)",
    "+91 98100 00001 (Ada)",
    "+91\u00a098100",
    "-A1",
    "=",
    "@",
]
READABLE = [
    "",
    "Ada",
    "85264318722",
    "+85264318722",
    "+91 (981) 00-00.001/2",
    "-12.50",
    "-1,000",
    " +919810000001",
    "'+919810000001",
    "-",
    "a=b",
    "a@b.example",
    "1-2",
    "'quoted' words",
    "(=1)",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_a_quote(text: str) -> None:
    """A text that a spreadsheet would run is text for it, and comes back as it was."""
    assert safe_cell(text) == f"'{text}"
    assert original_text(safe_cell(text)) == text


@pytest.mark.parametrize("text", READABLE)
def test_other_texts_and_numbers_stay(text: str) -> None:
    """Phone numbers with a plus, negative numbers and ordinary texts have no quote."""
    assert safe_cell(text) == text
    assert original_text(text) == text


def test_each_text_comes_back() -> None:
    """Reading undoes writing, also for texts that begin with the quote already."""
    chance = random.Random(7)
    for _ in range(20_000):
        text = "".join(chance.choices("='\" +-@1aA\t\r\n.,\uff1d\0", k=chance.randrange(7)))
        assert original_text(safe_cell(text)) == text


def test_rows_are_quoted_cell_by_cell_wherever_they_stand() -> None:
    """Of many rows exactly the cells that a spreadsheet would run are quoted; values of other types stay."""
    chance = random.Random(11)
    values = [*FORMULAS, *READABLE, None, 7, -7, 1.5, True, ["=1"], "a\0=b"]
    plain = [(n, "Ada", None, "accepted") for n in range(1_200)]
    rows: list[tuple[Any, ...]] = list(plain)
    for place in (0, 499, 500, 700, 1_199):
        rows[place] = tuple(chance.choices(values, k=4))
    expected = [[safe_cell(value) if isinstance(value, str) else value for value in row] for row in rows]
    assert [list(row) for row in safe_rows(iter(rows))] == expected
    assert list(safe_rows(plain)) == plain
    assert list(safe_rows([])) == []


@pytest.mark.parametrize("value", FORMULAS)
@pytest.mark.parametrize("column", range(4))
def test_a_formula_is_found_in_each_column(value: str, column: int) -> None:
    """A formula is quoted in a column of numbers, of nothing, and of texts."""
    rows: list[list[Any]] = [[n, None, "Ada", "+91 98100"] for n in range(3)]
    rows[1][column] = value
    assert list(safe_rows(rows))[1][column] == f"'{value}"


@pytest.mark.parametrize(
    "columns",
    [
        SEND_COLUMNS,
        SYNC_COLUMNS,
        (*SYNC_COLUMNS, "order"),
        RECIPIENT_COLUMNS,
        tuple(reversed(RECIPIENT_COLUMNS)),
    ],
)
def test_what_this_provider_wrote_is_read_as_it_was_before(columns: tuple[str, ...]) -> None:
    """The texts of a file of outcomes or of campaign recipients are the same as rows of the next send."""
    rows = [dict.fromkeys(columns, text or None) for text in (*FORMULAS, *READABLE)]
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(columns)
    table.writerows(safe_rows([list(row.values()) for row in rows]))
    assert list(read_csv(io.BytesIO(file.getvalue().encode()))) == rows


def test_a_table_of_the_user_is_read_as_it_is() -> None:
    """A quote in a file that has not our columns is a part of the text."""
    assert list(read_csv(io.BytesIO(b"phone,name\n85264318721,'@home'\n"))) == [
        {"phone": "85264318721", "name": "'@home'"}
    ]
