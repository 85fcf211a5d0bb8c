"""The verdict over a template."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.waiting.condition import Verdict
from airflow_provider_wati.waiting.templates import TemplateCondition, judge_template


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (["APPROVED"], Verdict.DONE),
        ([" approved "], Verdict.DONE),
        (["REJECTED", "APPROVED"], Verdict.DONE),
        (["REJECTED"], Verdict.FAILED),
        (["rejected", "DISABLED"], Verdict.FAILED),
        (["REJECTED", "PENDING"], Verdict.WAITING),
        (["DRAFT"], Verdict.WAITING),
        (["IN_APPEAL"], Verdict.WAITING),
        ([""], Verdict.WAITING),
    ],
)
def test_the_table_of_templates(statuses: list[str], verdict: Verdict) -> None:
    """One approved template suffices; a wait fails when all are refused; unknown words wait."""
    assert judge_template(statuses) is verdict


def test_a_template_without_an_id_is_judged_all_the_same() -> None:
    """What WATI leaves out of the list is None in the result."""
    client: Any = SimpleNamespace(
        iter_templates=lambda channel: iter([{"name": "welcome", "status": "APPROVED"}])
    )
    look = TemplateCondition(template_name="welcome").look(client, SYSTEM_CLOCK)
    assert (look.verdict, look.result["id"]) == (Verdict.DONE, None)
