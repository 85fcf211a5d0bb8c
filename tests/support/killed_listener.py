"""
Processes that watch for messages, with Airflow's shared streams and a database of events, until somebody kills them.

``python -m tests.support.killed_listener DATABASE STATE_PATH``, with the connection ``wati_default`` in the environment. For
each line that the program reads, it starts a process and says its id; Airflow is imported once, and each process is a fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys

from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_wati.client import WatiClient
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


def main(database: str, state_path: str) -> None:
    """Start a process for each line, one after the other."""
    _ = WatiClient  # imported before the first fork
    _message_stream._SETTLE = 0.1
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            # It ends after a while also where a test that failed has left it alone.
            signal.alarm(600)
            # What it logs must not stand between the ids.
            os.dup2(2, 1)
            asyncio.run(listen(sqlite3.connect(database, timeout=60), state_path))
            os._exit(1)
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
