from __future__ import annotations

from airflow_provider_wati.plugins._page import render
from airflow_provider_wati.plugins._store import Delivery


def test_what_comes_from_outside_is_escaped_and_masked() -> None:
    """Neither markup nor a phone number of an event's name or a connection reaches the page."""
    delivery = Delivery(1793318400000, "<b>", "<script>alert(1)</script> 12025550143", "other", "other", 3)
    page = render([delivery], 7)
    assert "2026-10-30 00:00:00" in page
    assert "&lt;b&gt;" in page
    assert "<script" not in page
    assert "12025550143" not in page
    assert "*******0143" in page
    assert "<td>3</td>" in page


def test_an_empty_page_says_so() -> None:
    """Without events there is a sentence, and no table."""
    page = render([], 30)
    assert "No event was received yet" in page
    assert "<table" not in page
    assert "30 days" in page
