"""The DAGs of ``test_receiver``: they start when WATI's webhooks bring something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, task

MESSAGES = Asset("wati://wati_default/messages")
STATUSES = Asset("wati://wati_default/statuses")
NEVER = Asset("never", uri="test://never")

#: Its runs cost the least, so that many can be counted.
with DAG("receiving_messages", schedule=[MESSAGES]) as counting:
    EmptyOperator(task_id="receive")

with DAG("receiving_statuses", schedule=[STATUSES]):
    EmptyOperator(task_id="receive")

#: Stays in Airflow's queue, because the other asset never changes.
with DAG("receiving_both", schedule=(MESSAGES & NEVER)):
    EmptyOperator(task_id="receive")

with DAG("receiving_in_a_task", schedule=[MESSAGES], max_active_runs=1):

    @task
    def receive(triggering_asset_events: Any = None, run_id: Any = None) -> None:
        events = [event for each in triggering_asset_events.values() for event in each]
        found = [message for event in events for message in event.extra["messages"]]
        path = Path(os.environ["TEST_SHARED"]) / f"{run_id.replace('/', '_')}.json"
        path.write_text(json.dumps(found))

    receive()
