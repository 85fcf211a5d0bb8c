"""The order of statuses."""

from __future__ import annotations

from itertools import product

import pytest

from airflow_provider_wati.extracting.campaign_recipients import CAMPAIGN_RECIPIENTS
from airflow_provider_wati.extracting.statuses import STAGES, has_reached, later_status, status_of

WORDS = (None, "a word", "pending", "queued", "processing", "sending", *STAGES, "stopped", "failed")


def test_a_status_only_climbs() -> None:
    """For any two words, the result is the one further on, whichever came first; a failure is final."""
    for (n, earlier), (m, later) in product(enumerate(WORDS), repeat=2):
        assert later_status(earlier, later) == WORDS[max(n, m)]


@pytest.mark.parametrize("word", ["FAILED", "Undelivered", "rejected", " failed "])
def test_all_words_for_a_failure_are_one(word: str) -> None:
    """WATI's words for a message that nobody gets become ``failed``."""
    assert status_of(word) == "failed"


def test_a_read_implies_delivered() -> None:
    """A stage is reached by those beyond it, and by no failure and no unknown word."""
    assert [stage for stage in STAGES if has_reached("read", stage)] == ["sent", "delivered", "read"]
    assert not any(
        has_reached(word, stage) for word in ("failed", "a word", None, "queued") for stage in STAGES
    )


def test_a_stage_that_was_reached_stays_when_the_message_fails() -> None:
    """A failure takes no stage back, and a later listing without the code does not remove it."""
    stored = {"status": "delivered", "is_delivered": True, "is_failed": False, "failed_code": None}
    failed = {"status": "failed", "is_delivered": False, "is_failed": True, "failed_code": "131026"}
    merged = CAMPAIGN_RECIPIENTS.merge(stored, failed)
    assert merged == {
        "status": "failed",
        "is_delivered": True,
        "is_failed": True,
        "failed_code": "131026",
    } | {name: None for name in ("message_id",) if name in merged}
    again = CAMPAIGN_RECIPIENTS.merge(merged, {**stored, "failed_code": None})
    assert again == merged
