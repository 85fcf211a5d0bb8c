"""A try that Airflow takes for dead while it waits for its turn, and that lives on beside the next one."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator

if TYPE_CHECKING:
    from airflow_provider_wati.operators._base import WatiOperator
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA = "12025550143"
#: Longer than the next try waits for what may still appear.
RETRY_AFTER = 5


def template() -> WatiOperator:
    params = {"name": "Ada", "order_id": "7", "status": "packed"}
    return WatiSendTemplateOperator(
        task_id="send",
        template_name="order_update",
        recipients=[{"target": ADA, "params": params}],
        check_consent=False,
        unknown_grace=2.5,
    )


@pytest.mark.parametrize(
    "operator",
    [
        template,
        partial(WatiSendTextOperator, task_id="send", target=ADA, text="Hi Ada"),
    ],
    ids=("template", "text"),
)
def test_who_wakes_up_too_late_sends_nothing(
    operator: Any, execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    sandbox.fault("status", status=429, retry_after=RETRY_AFTER, method="POST", count=1)
    with ThreadPoolExecutor() as pool:
        orphan: Future[Any] = pool.submit(execute, operator())
        while not sandbox.requests("POST"):
            time.sleep(0.05)
        execute(operator(), try_number=2)
        assert orphan.running()
        assert len(sandbox.texts_to(ADA)) == 1
        with pytest.raises(WatiError, match="Another try or task with the same send_key has begun"):
            orphan.result()
    assert len(sandbox.texts_to(ADA)) == 1
