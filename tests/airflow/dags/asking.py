"""The DAGs of ``test_asking``: a question for each mode, each to a person of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_wati.operators.messages import WatiAskOperator

MODES: dict[str, dict[str, Any]] = {
    "worker": {"deferrable": False, "target": "12025550143"},
    "deferrable": {"deferrable": True, "target": "12025550144"},
}
QUESTION: dict[str, Any] = {"body": "{{ run_id }}: shall we?", "buttons": ["Yes", "No"], "poke_interval": 1}

for name, mode in MODES.items():
    with DAG(f"asking_{name}", schedule=None) as dag:
        WatiAskOperator(
            task_id="ask",
            answer_timeout=timedelta(minutes=10),
            retries=2,
            retry_delay=timedelta(0),
            **QUESTION,
            **mode,
        )
    globals()[f"asking_{name}"] = dag

with DAG("asking_briefly", schedule=None) as asking_briefly:
    for name, mode in MODES.items():
        for on_timeout in ("fail", "none"):
            WatiAskOperator(
                task_id=f"{name}_{on_timeout}",
                answer_timeout=timedelta(seconds=5),
                on_timeout=on_timeout,
                header=on_timeout,
                retries=2,
                retry_delay=timedelta(0),
                **QUESTION,
                **mode,
            )
