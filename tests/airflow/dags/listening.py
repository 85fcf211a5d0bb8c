"""The DAGs of ``test_listening``: each run writes down which messages it got."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_wati.assets import messages_asset, messages_of, new_messages
from airflow_provider_wati.triggers.messages import WatiMessageTrigger

SHARED = Path(os.environ["TEST_SHARED"])
STATE_PATH = os.environ.get("TEST_STATE_PATH")
INTERVAL = 2.0
WATCHERS = int(os.environ["TEST_WATCHERS"]) if "TEST_WATCHERS" in os.environ else 0

with DAG("listening", schedule=messages_asset(poll_interval=INTERVAL, state_path=STATE_PATH)) as listening:

    @task
    def take(triggering_asset_events: Any = None, run_id: Any = None) -> None:
        got = new_messages(state_path=STATE_PATH)
        record = {
            "run": run_id,
            "new": [message["id"] for message in got],
            "texts": [message["text"] for message in got],
            "all": [message["id"] for message in messages_of(triggering_asset_events)],
        }
        with (SHARED / "listening.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    take()

# Watchers that differ are as many triggers. The last asset has no events, so that the DAG never runs.
watched = [
    Asset(
        f"watched {n}",
        watchers=[
            AssetWatcher(
                name=f"watcher {n}",
                trigger=WatiMessageTrigger(poll_interval=INTERVAL + (n + 1) / 1000, state_path=STATE_PATH),
            )
        ],
    )
    for n in range(WATCHERS)
]

with DAG("watched", schedule=[*watched, Asset("never")]) as watching:

    @task
    def nothing() -> None:
        pass

    nothing()
