"""The verdict, its error, and the size of a summary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import (
    WatiIncompleteError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.sending.job import SendJob
from airflow_provider_wati.sending.journal import Journal, Start
from airflow_provider_wati.sending.row_mapping import map_recipient
from airflow_provider_wati.state.journal_store import NoJournalStore
from airflow_provider_wati.tables.outcomes import (
    RECIPIENT_COLUMNS,
    SEND_COLUMNS,
    SHOWN_CAMPAIGNS,
    SHOWN_PROBLEMS,
    SYNC_COLUMNS,
    SendStatus,
    SyncStatus,
    failure_of,
    fitted,
    in_words,
    most_of,
    problem,
    verdict,
)

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PHONE_NUMBER = "85264318721"


def counted(**counts: int) -> dict[str, Any]:
    return {"total": sum(counts.values()), **counts}


@pytest.mark.parametrize(
    ("counts", "threshold", "why"),
    [
        ({}, 0.0, None),
        ({"accepted": 5}, 0.0, None),
        ({"skipped": 5}, 0.0, None),
        ({"accepted": 5, "skipped": 5}, 0.0, None),
        (
            {"accepted": 99, "invalid": 1},
            0.0,
            "1 of 100 rows failed (1 invalid); failure_threshold 0 allows 0.",
        ),
        ({"accepted": 99, "invalid": 1}, 0.01, None),
        ({"accepted": 99, "invalid": 1}, 0.009, "1 of 100 rows failed"),
        (
            {"accepted": 1_400, "rejected": 600},
            0.2,
            "600 of 2,000 rows failed (600 rejected); failure_threshold 0.2 allows 400.",
        ),
        ({"accepted": 71, "invalid": 29}, 0.29, None),
        ({"accepted": 70, "invalid": 30}, 0.29, "failure_threshold 0.29 allows 29."),
        # skipped rows were not asked for, so they do not thin the failed ones out
        ({"accepted": 9, "rejected": 1, "skipped": 90}, 0.05, "1 of 10 rows failed (1 rejected)"),
        ({"accepted": 6, "rejected": 1, "invalid": 1, "unknown": 1, "unsent": 1}, 0.3, "4 of 10 rows failed"),
        ({"accepted": 6, "rejected": 1, "invalid": 1, "unknown": 1, "unsent": 1}, 0.4, None),
        ({"unknown": 1, "skipped": 7}, 1.0, "Nothing was done: of 1 rows 1 unknown."),
        ({"invalid": 3}, 1.0, "Nothing was done: of 3 rows 3 invalid."),
        ({"unsent": 3}, 1.0, "Nothing was done"),
        ({"unchanged": 3}, 0.0, None),
        ({"unchanged": 1, "rejected": 1}, 1.0, None),
        ({"created": 1, "updated": 1, "cleared": 1, "rejected": 1}, 0.1, "1 of 4 rows failed"),
        # each of them alone is something done
        ({"created": 1, "rejected": 1}, 1.0, None),
        ({"updated": 1, "rejected": 1}, 1.0, None),
        ({"cleared": 1, "rejected": 1}, 1.0, None),
        ({"accepted": 1, "rejected": 1}, 1.0, None),
    ],
    ids=str,
)
def test_verdict(counts: dict[str, int], threshold: float, why: str | None) -> None:
    """A task fails when the share of failed rows is above the threshold, and when nothing was done."""
    found = verdict(counted(**counts), threshold)
    assert why in found if why and found else found == why


def test_without_a_threshold_one_failed_row_is_too_many() -> None:
    """The default allows no failed row."""
    found = verdict(counted(accepted=99, invalid=1))
    assert found is not None
    assert "failure_threshold 0 allows 0" in found


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        ({"accepted": 1}, None),
        ({"accepted": 1, "invalid": 1}, WatiValidationError),
        ({"accepted": 1, "invalid": 1, "unsent": 1}, WatiIncompleteError),
        ({"accepted": 1, "unsent": 1, "rejected": 1}, WatiRejectedError),
        ({"accepted": 1, "invalid": 1, "rejected": 1, "unknown": 1}, WatiUnknownOutcomeError),
        ({"unsent": 2, "dry_run": {"messages": 2}}, None),
        ({"unsent": 2, "invalid": 1, "dry_run": {"messages": 2}}, WatiValidationError),
    ],
    ids=str,
)
def test_the_error_says_what_is_worst_and_shows_the_first_problems(
    counts: dict[str, Any], error: type[Exception] | None
) -> None:
    """The class of the error is that of the worst status, and its text has the first five problems, masked."""
    total = sum(count for count in counts.values() if isinstance(count, int))
    problems = [problem(n, PHONE_NUMBER, "invalid", f"reason {n}") for n in range(1, 9)]
    found = failure_of({**counts, "total": total, "problems": problems}, 0.0)
    assert type(found) is (error or type(None))
    if found is not None:
        assert "reason 5" in str(found)
        assert "reason 6" not in str(found)
        assert PHONE_NUMBER not in str(found)


def test_a_problem_is_masked_and_its_reason_is_cut() -> None:
    """A problem shows no phone number, and at most 240 characters of its reason."""
    shown = problem(3, PHONE_NUMBER, SendStatus.REJECTED, "no " * 1_000)
    assert PHONE_NUMBER not in json.dumps(shown)
    assert (shown["row"], shown["status"]) == (3, "rejected")
    assert len(shown["reason"]) <= 240
    assert in_words([shown]).startswith("row 3 (")
    assert problem(None, None, "unknown", None)["reason"] == ""


@pytest.mark.parametrize("total", [1, 3, 7, 100, 1_000])
def test_the_most_that_a_share_allows_is_what_the_comparison_allows(total: int) -> None:
    """The figure in the error agrees with the comparison of shares, in spite of rounding."""
    for percent in range(101):
        share = percent / 100
        assert most_of(total, share) == max(n for n in range(total + 1) if n / total <= share)


def test_a_shortened_summary_counts_the_campaigns_that_it_leaves_out() -> None:
    """Campaigns left out for size are added to those that were left out before."""
    summary: dict[str, Any] = {
        "accepted": 1_000,
        "campaigns": [{"id": str(n), "name": "n" * 600, "accepted": 1} for n in range(50)],
        "more_campaigns": 950,
        "problems": [],
    }
    shown = fitted(summary)
    assert 0 < len(shown["campaigns"]) < 50
    assert len(shown["campaigns"]) + shown["more_campaigns"] == 1_000
    assert len(json.dumps(shown)) < 16_000
    assert (len(summary["campaigns"]), summary["more_campaigns"]) == (50, 950)


def test_a_summary_loses_campaigns_first_then_problems_and_reasons() -> None:
    """As the campaigns' names grow, the summary goes through every shorter form, in this order."""
    seen = []
    for length in (*range(1, 400, 3), *range(400, 16_000, 100)):
        shown = fitted(
            {
                "campaigns": [{"name": "n" * length} for _ in range(60)],
                "more_campaigns": 7,
                "problems": [{"reason": "r" * 240} for _ in range(30)],
            }
        )
        reasons = {len(each["reason"]) for each in shown["problems"]}
        form = (len(shown["campaigns"]), len(shown["problems"]), max(reasons, default=0))
        assert shown["more_campaigns"] == 7 + 60 - form[0]
        if form not in seen:
            seen.append(form)
    assert seen == [
        (60, 30, 240),
        (50, 20, 100),
        (25, 20, 60),
        (10, 20, 40),
        (5, 10, 40),
        (1, 5, 40),
        (0, 0, 0),
    ]


@pytest.mark.parametrize(("size", "is_whole"), [(15_500, True), (15_501, False)])
def test_a_summary_is_shortened_from_one_byte_too_many_on(size: int, is_whole: bool) -> None:
    """15,500 bytes of JSON stay as they are, which leaves room under 16 kB."""
    summary: dict[str, Any] = {"problems": [{"reason": ""}]}
    summary["problems"][0]["reason"] = "r" * (size - len(json.dumps(summary)))
    assert len(json.dumps(summary)) == size
    assert (fitted(summary) == summary) is is_whole
    assert "campaigns" not in fitted(summary)


def test_the_words_in_files_and_summaries_are_what_they_always_were() -> None:
    """DAGs, tables and dashboards of users depend on these statuses, columns and limits."""
    assert [*SendStatus] == ["accepted", "rejected", "invalid", "skipped", "unknown", "unsent"]
    assert [*SyncStatus] == [
        "created",
        "updated",
        "unchanged",
        "cleared",
        "invalid",
        "rejected",
        "skipped",
        "unknown",
        "unsent",
    ]
    assert " ".join(SEND_COLUMNS) == (
        "row key target status reason local_message_id campaign_id campaign_name"
    )
    assert " ".join(SYNC_COLUMNS) == "row target status reason"
    assert " ".join(RECIPIENT_COLUMNS) == (
        "contact_phone contact_name contact_id bsuid status failed_code local_message_id message_id created"
    )
    assert (SHOWN_PROBLEMS, SHOWN_CAMPAIGNS) == (20, 40)


@pytest.mark.slow
def test_the_summary_of_a_thousand_campaigns_and_a_million_rows_fits_in_an_xcom(sandbox: Sandbox) -> None:
    """A summary stays under 16 kB, because only its counts grow with the rows."""
    job = SendJob(
        client=sandbox.client(),
        template_name="order_update",
        campaign_name="b" * 100,
        send_key="k" * 250,
        journal=Journal(NoJournalStore(), SYSTEM_CLOCK),
        start=Start.NEW,
        mapping=map_recipient,
        batch_size=1,
        check_consent=False,
    )
    sandbox.fault("status", status=400, body="why " * 500, method="POST", count=30)
    params = {"name": "Ada", "order_id": "1", "status": "packed"}
    rows = [{"target": f"85260{n:06d}", "params": params} for n in range(1_030)]
    job.run(rows)
    summary = job.summary()
    assert (summary["accepted"], summary["rejected"], len(summary["problems"])) == (1_000, 30, 20)
    assert len(summary["campaigns"]) + summary["more_campaigns"] == 1_000
    million = {name: 1_000_000 if type(value) is int else value for name, value in summary.items()}
    assert len(json.dumps(million)) < 16_000
    assert "85260" not in json.dumps(summary)
