"""The DAGs of ``test_killed``: the same send, once for each place where a journal may be."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator

SHARED = os.environ["TEST_SHARED"]

for name, state_path in (("airflow_remembers", None), ("files_remember", f"{SHARED}/state")):
    with DAG(name, schedule=None) as dag:
        WatiBroadcastTemplateOperator(
            task_id="send",
            template_name="order_update",
            campaign_name=name,
            rows=f"{SHARED}/{name}.csv",
            target_column="phone",
            param_columns={"name": "name", "order_id": "id"},
            template_params={"status": "on its way"},
            batch_size=500,
            check_consent=False,
            unknown_grace=4,
            state_path=state_path,
            outcomes_path=f"{SHARED}/{name}-outcomes.csv",
            retries=20,
            retry_delay=timedelta(0),
        )
    globals()[name] = dag
