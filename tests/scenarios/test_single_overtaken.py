"""An attempt that Airflow takes for dead while it waits for its turn, and that lives on beside the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.operators.contacts import WatiCreateContactOperator
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_wati.operators._base import WatiOperator
    from tests.conftest import Sandbox
    from tests.support.late_clock import LateClock
    from tests.support.tasks import Execute

ADA, NEW = "12025550143", "85264318722"


def template() -> WatiOperator:
    """A template send to one person."""
    params = {"name": "Ada", "order_id": "7", "status": "packed"}
    return WatiSendTemplateOperator(
        task_id="send",
        template_name="order_update",
        recipients=[{"target": ADA, "params": params}],
        check_consent=False,
    )


def text() -> WatiOperator:
    """A single text."""
    return WatiSendTextOperator(task_id="send", target=ADA, text="Hi Ada")


def contact() -> WatiOperator:
    """A new contact."""
    return WatiCreateContactOperator(task_id="send", phone_number=NEW, name="Bob")


@pytest.mark.parametrize("make", [template, text, contact])
def test_an_attempt_that_was_overtaken_sends_nothing(
    make: Callable[[], WatiOperator],
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It wakes up from the pause after a 429 when its successor has sent, and stops at the fence."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    sandbox.fault("status", status=429, retry_after=5, method="POST", count=1)
    late_clock.after(1, lambda: execute(make(), try_number=2))
    with pytest.raises(WatiError, match="has taken over this send"):
        execute(make())
    assert len(sandbox.requests("POST")) == 2
