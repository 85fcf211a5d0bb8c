"""
Tell people by WhatsApp when a pipeline breaks: alerts of a task and of the run, and retries that know WATI's errors.

An approved template reaches people who have not written to you; a text only those who wrote within the last 24 hours.
Start it with `breaks` on to see both alerts; the defaults fit the sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, task

from airflow_provider_wati.notifications.wati import WatiNotifier
from airflow_provider_wati.operators.messages import WatiSendTextOperator

# [START retry_policy]
try:
    from airflow_provider_wati.retry_policy import WatiRetryPolicy
except ImportError:  # Airflow 3.1 and 3.2 have no retry policies
    retries: dict[str, Any] = {"retries": 3}
else:
    retries = {"retries": 3, "retry_policy": WatiRetryPolicy()}
# [END retry_policy]

# [START run_alert]
tell_the_team = WatiNotifier(
    targets=["12025550143", "12025550144"],
    template_name="order_update",
    template_params={"name": "team", "order_id": "{{ dag.dag_id }}", "status": "{{ reason }}"},
)
# [END run_alert]


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    on_failure_callback=tell_the_team,
    params={"breaks": Param(False, type="boolean", title="Let the load fail")},
)
def wati_alerts():
    # [START task_alert]
    @task(on_failure_callback=WatiNotifier(targets="12025550143"))
    def load(params: dict[str, Any]) -> None:
        if params["breaks"]:
            raise RuntimeError("The load is broken.")

    # [END task_alert]

    tell_customer = WatiSendTextOperator(
        task_id="tell_customer",
        target="12025550143",
        text="Your report is ready.",
        retry_delay=timedelta(minutes=1),
        **retries,
    )

    chain(load(), tell_customer)


wati_alerts()
