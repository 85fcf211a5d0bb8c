"""The watermark of a state."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wati.extracting.watermark import watermark_in


@pytest.mark.parametrize("written", [None, "", "soon", "[]"])
def test_what_is_not_a_watermark_counts_for_nothing(written: Any) -> None:
    """A state without a readable watermark reads everything."""
    assert watermark_in({"watermark": written} if written is not None else {}) is None
