"""Outcomes in a table, read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.operators._sql import OutcomesTable, hook_of
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS

if TYPE_CHECKING:
    from tests.unit.transfers.conftest import Warehouse


def test_what_was_written_is_read(warehouse: Warehouse) -> None:
    """Each database gives the outcomes of one send as they were written, and those of the own run where keys are shared."""
    table = OutcomesTable(hook_of("warehouse"), "told", ("send_key", *SEND_COLUMNS))
    table.create()
    outcomes: list[tuple[Any, ...]] = [
        (n, f"order {n}", f"1202555{n:04}", "accepted", None, f"id-{n}", "c1", "first")
        for n in range(1, 6001)
    ]
    for run in ("r1", "r2"):
        table.replace(("d", "send", run, -1, -1), [("shared", *outcome) for outcome in outcomes])
    table.replace(("d", "send", "r3", -1, -1), [("alone", *outcomes[0])])
    assert [tuple(row.values()) for row in table.read("alone", ("other", "r9"))] == outcomes[:1]
    read = list(table.read("shared", ("d", "r2")))
    assert tuple(read[0]) == SEND_COLUMNS
    assert sorted(tuple(row.values()) for row in read) == outcomes
    with pytest.raises(WatiValidationError, match="several tasks or runs"):
        list(table.read("shared", ("d", "r9")))
