"""The DAGs of ``test_alerting``: a notifier at each place where Airflow calls one."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task

from airflow_provider_wati.notifications.wati import WatiNotifier

try:
    from airflow.sdk import (  # type: ignore[attr-defined] # its stub names no deadlines
        AsyncCallback,
        DeadlineAlert,
        DeadlineReference,
    )
except ImportError:
    # Airflow 3.1 has them in one module, and not in its public interface.
    from airflow.sdk.definitions.deadline import (  # type: ignore[attr-defined] # as above
        AsyncCallback,
        DeadlineAlert,
        DeadlineReference,
    )


with DAG(
    "alerting",
    schedule=None,
    on_failure_callback=WatiNotifier(targets="12025550144", text="{{ run_id }}: {{ reason }}"),
) as alerting:

    @task(
        on_failure_callback=WatiNotifier(targets="12025550143", text="{{ run_id }}: {{ ti.task_id }} failed")
    )
    def breaks() -> None:
        raise RuntimeError("broken")

    breaks()

with DAG(
    "alerting_late",
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=AsyncCallback(
            WatiNotifier,
            kwargs={"targets": "12025550143", "text": "{{ dag_run.dag_run_id }}: late"},
        ),
    ),
) as alerting_late:

    @task
    def takes_long() -> None:
        time.sleep(5)

    takes_long()

with DAG("alerting_approval", schedule=None) as alerting_approval:
    ApprovalOperator(
        task_id="approve",
        subject="Send the campaign?",
        notifiers=WatiNotifier(targets="12025550143", text="{{ run_id }}: please approve"),
    )
