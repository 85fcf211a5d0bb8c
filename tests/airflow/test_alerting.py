"""The notifier in Airflow as it runs in production: in worker, DAG processor and triggerer, each message once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.airflow.conftest import wait_for

if TYPE_CHECKING:
    from tests.airflow.conftest import Deployment
    from tests.conftest import Sandbox

ADA, BEN = "12025550143", "12025550144"


@pytest.fixture(scope="module")
def airflow(deployment: Deployment, deployed_sandbox: Sandbox) -> Deployment:
    deployment.start_triggerer()
    for phone in (ADA, BEN):
        deployed_sandbox.control("POST", "/inbound", {"phone": phone, "text": "Hi"})
    return deployment


def check_messages(sandbox: Sandbox, expected: dict[str, str]) -> None:
    """Wait until each person has got a text, and see that nobody gets it again."""
    wait_for(lambda: all(text in sandbox.texts_to(phone) for phone, text in expected.items()), str(expected))
    time.sleep(3)
    assert all(sandbox.texts_to(phone).count(text) == 1 for phone, text in expected.items())


def test_a_failure_is_told_by_the_task_and_by_the_run(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """The callback of the task runs in the worker, that of the DAG in the DAG processor, each once."""
    run = airflow.trigger("alerting")
    assert airflow.finish("alerting", run, "breaks")["state"] == "failed"
    check_messages(deployed_sandbox, {ADA: f"{run}: breaks failed", BEN: f"{run}: task_failure"})


def test_a_missed_deadline_is_told(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """The callback of a deadline runs in the triggerer, once, although the task succeeds."""
    run = airflow.trigger("alerting_late")
    check_messages(deployed_sandbox, {ADA: f"{run}: late"})
    assert airflow.finish("alerting_late", run, "takes_long")["state"] == "success"


def test_an_approval_is_asked_for(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """A human-in-the-loop task tells its approver once, waits, and goes on with the response."""
    run = airflow.trigger("alerting_approval")
    check_messages(deployed_sandbox, {ADA: f"{run}: please approve"})
    # Airflow 3.3 has a state of its own for it.
    assert airflow.task("alerting_approval", run, "approve")["state"] in ("awaiting_input", "deferred")
    airflow.respond("alerting_approval", run, "Approve", "approve")
    assert airflow.finish("alerting_approval", run, "approve")["state"] == "success"
    assert deployed_sandbox.texts_to(ADA).count(f"{run}: please approve") == 1
