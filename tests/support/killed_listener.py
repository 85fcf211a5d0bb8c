"""
A process that watches for messages, with Airflow's shared streams and a database of events, until somebody kills it.

``python -m tests.support.killed_listener DATABASE STATE_PATH``, with the connection ``wati_default`` in the environment.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys

from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_wati.triggers import _message_stream
from airflow_provider_wati.triggers.messages import WatiMessageTrigger


async def listen(database: sqlite3.Connection, state_path: str) -> None:
    """Do what a triggerer does: take events from the trigger, store them, and say so a moment later."""
    manager = SharedStreamManager()
    trigger = WatiMessageTrigger(poll_interval=1.0, state_path=state_path)
    key = trigger.shared_stream_key()
    stream = manager.subscribe(trigger_id=1, trigger=trigger, key=key)
    async for event in trigger.filter_shared_stream(stream):
        seq = manager.bind_pending_event(trigger_id=1, key=key)
        await asyncio.sleep(0.05)
        with database:
            database.execute("INSERT INTO event (payload) VALUES (?)", (json.dumps(event.payload),))
        await asyncio.sleep(0.05)
        assert seq is not None
        manager.confirm_persisted([seq])


if __name__ == "__main__":
    _message_stream._SETTLE = 0.1
    asyncio.run(listen(sqlite3.connect(sys.argv[1], timeout=60), sys.argv[2]))
