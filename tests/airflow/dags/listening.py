"""
The DAGs of ``test_listening``: each run writes down which messages it got.

They are there only for that test: a triggerer of another one would poll too. The connection is one of its own, because
Airflow forgets the watchers of an asset when another DAG has the asset without them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_wati.assets import messages_asset, messages_of, new_messages
from airflow_provider_wati.triggers.messages import WatiMessageTrigger

STATE_PATH = os.environ.get("TEST_STATE_PATH")
WATCHERS = os.environ.get("TEST_WATCHERS")
CONN_ID = "polled"
INTERVAL = 2.0


@task
def take(triggering_asset_events: Any = None, run_id: Any = None) -> None:
    got = new_messages(state_path=STATE_PATH)
    record = {
        "run": run_id,
        "new": [message["id"] for message in got],
        "all": [message["id"] for message in messages_of(triggering_asset_events)],
    }
    # One file for each run, complete from the beginning: runs write at the same time, and the test reads meanwhile.
    folder = Path(os.environ["TEST_SHARED"])
    written = folder / f"{run_id}.written"
    written.write_text(json.dumps(record))
    written.rename(folder / f"{run_id}.json")


def watched(n: int) -> Asset:
    """Return an asset with a watcher that differs from the others, so that it is a trigger of its own."""
    trigger = WatiMessageTrigger(
        wati_conn_id=CONN_ID, poll_interval=INTERVAL + (n + 1) / 1000, state_path=STATE_PATH
    )
    return Asset(f"watched {n}", watchers=[AssetWatcher(name=f"watcher {n}", trigger=trigger)])


if WATCHERS is not None:
    with DAG("listening", schedule=messages_asset(CONN_ID, poll_interval=INTERVAL, state_path=STATE_PATH)):
        take()

    # The last asset has no events, so that the DAG never runs.
    with DAG("watched", schedule=[*map(watched, range(int(WATCHERS))), Asset("never")]):
        take()
