"""The DAGs of ``test_closed_loop``: one subscribes, one answers customers, one writes down how far messages have come."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_wati.assets import messages_asset, messages_of, statuses_of
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.webhooks import WatiSubscribeWebhookOperator

#: Other tests receive hundreds of messages with these DAGs in the folder, and would wait for their answers.
IS_TESTED = "TEST_CLOSED_LOOP" in os.environ
#: On a busy machine a worker may be taken for dead.
PATIENT = {"retries": 3, "retry_delay": timedelta(seconds=1)}

with DAG("subscribing", schedule=None, default_args=PATIENT):
    WatiSubscribeWebhookOperator(task_id="send")

with DAG(
    "answering",
    schedule=[messages_asset(poll_interval=None)] if IS_TESTED else None,
    default_args=PATIENT,
):

    @task
    def answers(triggering_asset_events: Any = None) -> list[dict[str, str]]:
        return [
            {"target": message["phone_number"] or "", "text": f"You wrote: {message['text']}"}
            for message in messages_of(triggering_asset_events)
        ]

    WatiSendTextOperator.partial(task_id="answer").expand_kwargs(answers())

with DAG(
    "noting_statuses",
    schedule=[Asset("wati://wati_default/statuses")] if IS_TESTED else None,
    default_args=PATIENT,
):

    @task
    def note(triggering_asset_events: Any = None, run_id: Any = None) -> None:
        folder = Path(os.environ["TEST_SHARED"]) / "noted"
        folder.mkdir(exist_ok=True)
        (folder / f"{run_id.replace('/', '_')}.json").write_text(
            json.dumps(statuses_of(triggering_asset_events))
        )

    note()
