"""The sensors in Airflow as it runs in production, with a scheduler and a triggerer, in each mode."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.airflow.conftest import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow.conftest import Deployment
    from tests.conftest import Sandbox

MODES = ("poke", "reschedule", "deferrable")
#: How the task of each mode stands while it waits.
WAITING = {"poke": "running", "reschedule": "up_for_reschedule", "deferrable": "deferred"}
PEOPLE = ["12025550143", "12025550144", "12025550145"]
UNKNOWN = "66b1fb044045cedb1f195390"


@pytest.fixture(scope="module")
def airflow(deployment: Deployment) -> Deployment:
    deployment.start_triggerer()
    return deployment


@pytest.fixture(autouse=True)
def stand_still(deployed_sandbox: Sandbox) -> None:
    """Let the messages of the sandbox arrive only when a test says so."""
    deployed_sandbox.control("POST", "/clock", {"frozen": True})


def send(sandbox: Sandbox, phones: list[str] = PEOPLE) -> str:
    recipients = [{"phone_number": phone} for phone in phones]
    id = sandbox.client().send_template_messages("welcome", "campaign", recipients).campaign_id
    assert id
    return id


def look_at(airflow: Deployment, run: str, state: dict[str, str], dag_id: str = "waiting") -> None:
    """Wait until each task stands as expected."""

    def stand() -> bool:
        return all(airflow.task(dag_id, run, task_id)["state"] == word for task_id, word in state.items())

    wait_for(stand, f"{dag_id} to be {state}")


def endings(airflow: Deployment, run: str, dag_id: str = "waiting") -> dict[str, str]:
    return {mode: airflow.finish(dag_id, run, mode)["state"] for mode in MODES}


def test_each_mode_waits_for_delivery(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """In each mode the task waits as that mode does, and returns the same counts once all is delivered."""
    run = airflow.trigger("waiting", campaign_id=send(deployed_sandbox))
    look_at(airflow, run, WAITING)
    deployed_sandbox.control("POST", "/clock", {"advance": 60})
    assert endings(airflow, run) == dict.fromkeys(MODES, "success")
    results: list[dict[str, Any]] = [airflow.result("waiting", run, mode) for mode in MODES]
    assert results[0] == results[1] == results[2]
    assert (results[0]["reached"], results[0]["total"], results[0]["timed_out"]) == (3, 3, False)


def test_each_mode_fails_when_too_many_failed(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """Messages that fail while the task waits make it fail, in each mode."""
    # Numbers that end in a code of WhatsApp fail with it.
    run = airflow.trigger("waiting", campaign_id=send(deployed_sandbox, ["12025131026", "12026131026"]))
    look_at(airflow, run, WAITING)
    deployed_sandbox.control("POST", "/clock", {"advance": 60})
    assert endings(airflow, run) == dict.fromkeys(MODES, "failed")


def test_each_mode_waits_for_a_reply(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """In each mode the task waits as that mode does, and returns the same message once the person has written it."""
    clock = deployed_sandbox.control("POST", "/clock", {"advance": 1})
    run = airflow.trigger("waiting_for_reply", phone=PEOPLE[0], since=clock["now"])
    look_at(airflow, run, WAITING, "waiting_for_reply")
    deployed_sandbox.control("POST", "/inbound", {"phone": PEOPLE[0], "text": "which order?"})
    deployed_sandbox.control("POST", "/inbound", {"phone": PEOPLE[0], "text": "Yes, please"})
    assert endings(airflow, run, "waiting_for_reply") == dict.fromkeys(MODES, "success")
    results = [airflow.result("waiting_for_reply", run, mode) for mode in MODES]
    assert results[0] == results[1] == results[2]
    assert results[0]["text"] == "Yes, please"


@pytest.mark.parametrize(("status", "state"), [("APPROVED", "success"), ("REJECTED", "failed")])
def test_each_mode_waits_for_the_approval_of_a_template(
    status: str, state: str, airflow: Deployment, deployed_sandbox: Sandbox
) -> None:
    """In each mode the task waits for the decision about a template, and ends as it says."""
    template = f"offer_{status.lower()}"
    deployed_sandbox.control("PUT", f"/templates/{template}", {"status": "PENDING"})
    run = airflow.trigger("waiting_for_approval", template=template)
    look_at(airflow, run, WAITING, "waiting_for_approval")
    deployed_sandbox.control("PUT", f"/templates/{template}", {"status": status})
    assert endings(airflow, run, "waiting_for_approval") == dict.fromkeys(MODES, state)


def test_each_mode_fails_for_an_unknown_campaign(airflow: Deployment) -> None:
    """A campaign that WATI does not know makes the task fail, in each mode."""
    run = airflow.trigger("waiting", campaign_id=UNKNOWN)
    assert endings(airflow, run) == dict.fromkeys(MODES, "failed")


def test_a_triggerer_that_is_killed_while_it_waits(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """Another triggerer goes on with the wait."""
    run = airflow.trigger("waiting_alone", campaign_id=send(deployed_sandbox))
    look_at(airflow, run, {"deferrable": "deferred"}, "waiting_alone")
    airflow.kill_triggerer()
    airflow.start_triggerer()
    deployed_sandbox.control("POST", "/clock", {"advance": 60})
    assert airflow.finish("waiting_alone", run, "deferrable")["state"] == "success"
    assert airflow.result("waiting_alone", run, "deferrable")["reached"] == 3


def test_the_timeout_in_each_mode(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """After ``timeout`` a task fails, or returns its counts where that is asked for, in each mode."""
    run = airflow.trigger("waiting_briefly", campaign_id=send(deployed_sandbox))
    for mode in MODES:
        assert airflow.finish("waiting_briefly", run, f"{mode}_fail")["state"] == "failed"
        assert airflow.finish("waiting_briefly", run, f"{mode}_return")["state"] == "success"
        result = airflow.result("waiting_briefly", run, f"{mode}_return")
        assert (result["timed_out"], result["waiting"]) == (True, 3)
    wait_for(lambda: airflow.triggers() == 0, "the triggers to be removed")


@pytest.mark.parametrize(("status", "error"), [(404, "WatiNotFoundError"), (401, "WatiAuthenticationError")])
def test_what_is_refused_while_the_task_is_deferred(
    status: int, error: str, airflow: Deployment, deployed_sandbox: Sandbox
) -> None:
    """A campaign that is deleted, and a token that is replaced, fail a deferred task with the reason; no trigger is left."""
    campaign_id = send(deployed_sandbox)
    run = airflow.trigger("waiting_alone", campaign_id=campaign_id)
    look_at(airflow, run, {"deferrable": "deferred"}, "waiting_alone")
    deployed_sandbox.fault("status", path=f"*{campaign_id}*", status=status)
    assert airflow.finish("waiting_alone", run, "deferrable")["state"] == "failed"
    log = airflow.log_of("waiting_alone", run, "deferrable")
    assert error in log
    assert str(status) in log
    assert deployed_sandbox.token not in log
    wait_for(lambda: airflow.triggers() == 0, "the trigger to be removed")


def test_a_connection_that_the_triggerer_does_not_have(
    airflow: Deployment, deployed_sandbox: Sandbox
) -> None:
    """A connection of the workers alone fails the deferred task; the log says where it is missing."""
    run = airflow.trigger("waiting_worker_only", campaign_id=send(deployed_sandbox))
    assert airflow.finish("waiting_worker_only", run, "deferrable")["state"] == "failed"
    log = airflow.log_of("waiting_worker_only", run, "deferrable")
    assert "'worker_only' does not exist in the triggerer" in log
    wait_for(lambda: airflow.triggers() == 0, "the trigger to be removed")


def test_a_task_that_is_ended_while_deferred_leaves_no_trigger(
    airflow: Deployment, deployed_sandbox: Sandbox
) -> None:
    """Nothing looks at the campaign of a task that was marked failed; a cleared one waits again and ends once."""
    campaign_id = send(deployed_sandbox)

    def looks() -> int:
        return sum(campaign_id in call for call in deployed_sandbox.requests("GET"))

    run = airflow.trigger("waiting_alone", campaign_id=campaign_id)
    look_at(airflow, run, {"deferrable": "deferred"}, "waiting_alone")
    wait_for(lambda: looks() > 2, "the triggerer to look")
    airflow.mark("waiting_alone", run, "failed", "deferrable")
    wait_for(lambda: airflow.triggers() == 0, "the trigger to be removed")
    wait_for(lambda: is_quiet(looks), "the trigger to end")
    airflow.clear("waiting_alone", run, "deferrable")
    look_at(airflow, run, {"deferrable": "deferred"}, "waiting_alone")
    airflow.clear("waiting_alone", run, "deferrable")
    look_at(airflow, run, {"deferrable": "deferred"}, "waiting_alone")
    deployed_sandbox.control("POST", "/clock", {"advance": 60})
    assert airflow.finish("waiting_alone", run, "deferrable")["state"] == "success"
    wait_for(lambda: airflow.triggers() == 0, "the triggers to be removed")
    wait_for(lambda: is_quiet(looks), "the triggers to end")


def is_quiet(looks: Callable[[], int]) -> bool:
    """Say whether nothing looks for as long as a trigger would look several times in."""
    before = looks()
    time.sleep(5)
    return looks() == before
