"""The sandbox's page beside a real Airflow: what a DAG sends is seen, answered and made to fail in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.airflow.conftest import PATIENCE, wait_for
from tests.conftest import needs_task_state_store
from tests.ui.browser import Screen, chromium, missing_for_browser_tests

if TYPE_CHECKING:
    from tests.airflow.conftest import Deployment
    from tests.conftest import Sandbox

#: Whom the DAGs ``asking_worker`` and ``asking_deferrable`` ask.
ADA, BEN = "12025550143", "12025550144"

pytestmark = needs_task_state_store


@pytest.fixture
def screen(deployed_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The page of the sandbox that Airflow's connection leads to; afterwards the console must be empty."""
    missing = missing_for_browser_tests()
    if missing:
        pytest.skip(missing)
    deployed_sandbox.reset()
    with chromium(tmp_path_factory.mktemp("chromium")) as chrome:
        # What the page shows here comes of a run of Airflow.
        shown = Screen(chrome, deployed_sandbox.url, PATIENCE)
        shown.resize(1280)
        yield shown
        assert shown.complaints() == []


def test_a_dag_is_answered_and_made_to_fail_on_the_page(
    deployment: Deployment, deployed_sandbox: Sandbox, screen: Screen
) -> None:
    """A question of a DAG appears and its tapped button is the task's result; a fault fails the next one, whose retry asks."""
    talk = deployed_sandbox.state.by_phone[ADA].conversations[0].id
    screen.open(f"conversations/{talk}")
    screen.find(".message", "where is my order")
    run = deployment.trigger("asking_worker")
    screen.find(".message", f"{run}: shall we?")
    screen.click(".replies button", "Yes")
    task = deployment.finish("asking_worker", run, "ask")
    assert task["state"] == "success"
    assert deployment.result("asking_worker", run, "ask")["answer"] == "Yes"
    screen.assert_never_reloaded()

    screen.click("nav a", "Faults")
    screen.choose(".fault-form label:nth-of-type(1) select", "status")
    screen.choose(".fault-form label:nth-of-type(2) select", "Send buttons or a list")
    status = screen.find(".fault-form input[min='200']")
    status.clear()
    status.send_keys("403")
    screen.click(".fault-form button", "Add fault")
    screen.find("tbody tr .used", "0 of 1")
    run = deployment.trigger("asking_worker")
    screen.find("tbody tr .used", "1 of 1")
    screen.click("nav a", "Conversations")
    screen.click("[role=option]", "Ada Wong")
    screen.find(".message", f"{run}: shall we?")
    screen.wait(partial(answer, screen, run, "No"), "the new question is answered")
    task = deployment.finish("asking_worker", run, "ask")
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert deployment.result("asking_worker", run, "ask")["answer"] == "No"
    log = deployment.log_of("asking_worker", run, "ask")
    assert "403" in log
    assert deployed_sandbox.token not in log
    screen.assert_never_reloaded()


def test_a_deferred_question_is_answered_and_a_lasting_fault_named(
    deployment: Deployment, deployed_sandbox: Sandbox, screen: Screen
) -> None:
    """A tap ends a task that waits in the triggerer; a fault that stays fails a task, its log says why, and Clear asks."""
    deployment.start_triggerer()
    talk = deployed_sandbox.state.by_phone[BEN].conversations[0].id
    screen.open(f"conversations/{talk}")
    run = deployment.trigger("asking_deferrable")
    screen.find(".message", f"{run}: shall we?")
    wait_for(
        lambda: deployment.task("asking_deferrable", run, "ask")["state"] == "deferred",
        "the task to be deferred",
    )
    screen.click(".replies button", "Yes")
    assert deployment.finish("asking_deferrable", run, "ask")["state"] == "success"
    assert deployment.result("asking_deferrable", run, "ask")["answer"] == "Yes"

    screen.click("nav a", "Faults")
    screen.choose(".fault-form label:nth-of-type(1) select", "refused in 200")
    screen.choose(".fault-form label:nth-of-type(2) select", "Send buttons or a list")
    # The task is tried three times.
    times = screen.find(".fault-form .pair input[min='1']")
    times.clear()
    screen.click(".fault-form button", "Add fault")
    screen.find("tbody tr .used")
    run = deployment.trigger("asking_deferrable")
    assert deployment.finish("asking_deferrable", run, "ask")["state"] == "failed"
    log = deployment.log_of("asking_deferrable", run, "ask")
    assert "WatiRejectedError" in log
    assert "WATI refused the message" in log
    assert deployed_sandbox.token not in log
    screen.click("tbody button", "Remove")
    screen.find(".empty", "Everything works")
    # The scheduler would mark a run as failed that is cleared while it looks at it.
    wait_for(lambda: deployment.runs("asking_deferrable")[run] == "failed", "the run to fail")
    deployment.clear("asking_deferrable", run, "ask")
    screen.click("nav a", "Conversations")
    screen.click("[role=option]", "Ben Okafor")
    screen.find(".message", f"{run}: shall we?")
    screen.wait(partial(answer, screen, run, "No"), "the new question is answered")
    assert deployment.finish("asking_deferrable", run, "ask")["state"] == "success"
    screen.assert_never_reloaded()


def answer(screen: Screen, run: str, text: str) -> bool:
    """Tap a button of the question of this run, which is not the only one in the conversation, and see the answer."""
    from selenium.common.exceptions import WebDriverException

    for message in screen.chrome.find_elements("css selector", ".message"):
        if f"{run}: shall we?" in message.text:
            buttons = message.find_elements("css selector", ".replies button")
            for button in buttons:
                try:
                    if button.text == text:
                        button.click()
                        screen.find(".message.mine", text)
                        return True
                except WebDriverException:
                    # It was moved or replaced just then.
                    return False
    return False
