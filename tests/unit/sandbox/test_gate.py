"""The log of requests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tests.unit.sandbox.conftest import ADA

if TYPE_CHECKING:
    import pytest


def test_verbose_logs_requests_with_masked_phone_numbers(
    start_sandbox: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With --verbose, requests are logged with masked phone numbers."""
    wati = start_sandbox(verbose=True)
    with caplog.at_level(logging.INFO, logger="airflow_provider_wati.sandbox"):
        wati("GET", f"/contacts/{ADA}")
    assert "GET /api/ext/v3/contacts/*******0143 -> 200" in caplog.text
    assert ADA not in caplog.text
    assert wati.server.token not in caplog.text
