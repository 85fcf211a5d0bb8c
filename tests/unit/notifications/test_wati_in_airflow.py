"""The notifier and the retry policy as Airflow calls them; the sandbox shows what arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_wati.notifications.wati import WatiNotifier
from airflow_provider_wati.operators.messages import WatiSendTextOperator

if TYPE_CHECKING:
    from tests.conftest import Sandbox

RunDag = Callable[[DAG], dict[str, Any]]

ADA, BEN = "12025550143", "12025550144"
SENDS = "POST /api/ext/v3/conversations/messages/text"

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "a lost answer": {"kind": "drop"},
    "an answer that cannot be read": {"kind": "garbage", "body": "html"},
    "a refusal": {"kind": "status", "status": 400},
    "a refusal in a 200": {"kind": "refused_in_200"},
}


def alerting_dag(dag_id: str, **dag_arguments: Any) -> DAG:
    """A DAG with one task that fails, one that succeeds, and an alert for each failed task."""
    alert = WatiNotifier(targets=ADA)
    with DAG(dag_id, default_args={"on_failure_callback": alert}, **dag_arguments) as dag:

        @task
        def breaks() -> None:
            raise RuntimeError("broken")

        @task
        def works() -> None:
            pass

        breaks()
        works()
    return dag


def alerts_to(sandbox: Sandbox, phone: str) -> list[str]:
    return [text for text in sandbox.texts_to(phone) if text.startswith("Airflow: ")]


def test_a_failing_task_sends_one_alert(run_dag: RunDag, sandbox: Sandbox) -> None:
    """One message arrives, about the task that failed."""
    tis = run_dag(alerting_dag("alerting"))
    assert {name: ti.state for name, ti in tis.items()} == {"breaks": "failed", "works": "success"}
    [text] = alerts_to(sandbox, ADA)
    run_id = tis["breaks"].run_id
    assert text.splitlines()[:4] == [
        "Airflow: task failed",
        "DAG: alerting",
        "Task: breaks",
        f"Run: {run_id}",
    ]


def test_a_failing_run_sends_one_alert(run_dag: RunDag, sandbox: Sandbox) -> None:
    """The callback of the DAG sends one message about the run, beside that of the task."""
    run_dag(alerting_dag("alerting_run", on_failure_callback=[WatiNotifier(targets=BEN)]))
    assert len(alerts_to(sandbox, ADA)) == 1
    [text] = alerts_to(sandbox, BEN)
    assert text.startswith("Airflow: run ended: task failure\nDAG: alerting_run\nRun: manual__")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_wati_answers_changes_no_state(run_dag: RunDag, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    """Whatever becomes of the alert, one call leaves for it, and the tasks end as they would without it."""
    sandbox.fault(**fault, path="*/messages/text")
    tis = run_dag(alerting_dag("alerting_fault"))
    assert {name: ti.state for name, ti in tis.items()} == {"breaks": "failed", "works": "success"}
    assert sandbox.requests("POST") == [SENDS]


def test_an_alert_about_success_that_cannot_be_sent_leaves_success(run_dag: RunDag, sandbox: Sandbox) -> None:
    """A task that succeeded stays so, although its notifier has an error."""
    with DAG("succeeding") as dag:
        notifiers = [WatiNotifier(targets=ADA, text="{{ oops"), WatiNotifier(targets=ADA, text="done")]

        @task(on_success_callback=notifiers, on_execute_callback=WatiNotifier(targets=ADA, template_name=""))
        def works() -> None:
            pass

        works()
    assert run_dag(dag)["works"].state == "success"
    assert sandbox.texts_to(ADA)[-1] == "done"
    assert sandbox.requests("POST") == [SENDS]


def test_a_shared_notifier_tells_each_task_its_own(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Two tasks that share a notifier through default_args get a text of their own."""
    alert = WatiNotifier(targets=ADA, text="Airflow: {{ ti.task_id }} of {{ dag.dag_id }}")
    with DAG("sharing", default_args={"on_success_callback": alert}) as dag:
        for name in ("one", "two"):

            @task(task_id=name)
            def works() -> None:
                pass

            works()
    run_dag(dag)
    assert sorted(alerts_to(sandbox, ADA)) == ["Airflow: one of sharing", "Airflow: two of sharing"]


def test_a_refusal_fails_at_the_first_attempt(run_dag: RunDag, sandbox: Sandbox) -> None:
    """With the retry policy, a 400 uses no retry and calls the failure callback once."""
    policy = pytest.importorskip(
        "airflow_provider_wati.retry_policy", reason="needs Airflow 3.3", exc_type=ImportError
    )
    sandbox.fault("status", status=400, path="*/messages/text", count=1)
    with DAG("refused") as dag:
        WatiSendTextOperator(
            task_id="tell",
            target=BEN,
            text="Hello",
            retries=2,
            retry_policy=policy.WatiRetryPolicy(),
            on_failure_callback=WatiNotifier(targets=ADA),
        )
    ti = run_dag(dag)["tell"]
    assert (ti.state, ti.try_number) == ("failed", 1)
    assert len(alerts_to(sandbox, ADA)) == 1
    assert sandbox.requests("POST") == [SENDS] * 2
