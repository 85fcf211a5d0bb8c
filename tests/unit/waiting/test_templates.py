"""The verdict over a template."""

from __future__ import annotations

import pytest

from airflow_provider_wati.waiting.condition import Verdict
from airflow_provider_wati.waiting.templates import judge_template


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
