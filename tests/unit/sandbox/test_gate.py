"""The log of requests, and calls that are under way at a reset."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.unit.sandbox.conftest import ADA

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.unit.sandbox.conftest import Caller


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


def test_a_call_that_waits_during_a_reset_changes_and_notes_nothing(
    start_sandbox: Callable[..., Caller],
) -> None:
    """A call of an earlier test, delayed by a fault, neither creates a contact in the data of the next one nor is logged there."""
    wati = start_sandbox()
    wati.fault("delay", method="POST", seconds=0.5)
    statuses: list[int] = []

    def create() -> None:
        body = {"whatsapp_number": "15550000009", "name": "Late"}
        statuses.append(wati("POST", "/contacts", json=body).status_code)

    caller = threading.Thread(target=create)
    caller.start()
    (fault,) = wati.server.workspace.faults
    while not fault.fired:
        time.sleep(0.005)
    wati.server.reset(seed=False)
    caller.join(timeout=30)
    assert statuses == [503]
    assert not wati.server.state.contacts
    assert not wati.server.workspace.requests
