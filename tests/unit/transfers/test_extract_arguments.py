"""The arguments of the transfers from WATI: templates and documentation."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from airflow_provider_wati.transfers import wati_to_file, wati_to_sql

OPERATORS = [
    value
    for module in (wati_to_sql, wati_to_file)
    for name, value in vars(module).items()
    if re.fullmatch(r"Wati\w+Operator", name)
]
NEEDED: dict[str, Any] = {"table": "t", "sql_conn_id": "warehouse", "path": "a.csv"}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda each: each.__name__)
def test_every_argument_is_documented_and_templated(operator: Any) -> None:
    """The docstring names each argument, says that it is templated, and Airflow renders it."""
    documented = re.findall(r":param (\w+): ((?:.|\n(?!:))*)", inspect.getdoc(operator) or "")
    names = {name for name, _ in documented}
    assert names == set(operator.template_fields)
    assert len(operator.template_fields) == len(names)
    assert all("templated" in text for _, text in documented)
    needed = {name: value for name, value in NEEDED.items() if name in names}
    made = operator(task_id="t", **needed)
    assert all(hasattr(made, name) for name in names)
    with pytest.raises(TypeError):
        operator(task_id="t")


@pytest.mark.parametrize(
    ("given", "is_full"),
    [(True, True), (False, False), ("True", True), ("false", False), ("", False), (0, False)],
)
def test_full_may_be_a_rendered_text(given: Any, is_full: bool) -> None:
    """A template renders to text, and its words count as they read."""
    operator = wati_to_sql.WatiContactsToSqlOperator(task_id="t", table="t", sql_conn_id="w", full=given)
    assert operator.is_full is is_full
