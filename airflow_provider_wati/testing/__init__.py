"""
Test DAGs that message customers: a WATI in the test, assertions on what arrived, and crashes on purpose.

Importing this package imports neither Airflow nor the sandbox; both wait until a test uses them.
"""

from __future__ import annotations

from airflow_provider_wati.testing._comparison import History, Replay, ReplayError
from airflow_provider_wati.testing._histories import CallSite, Crash
from airflow_provider_wati.testing.crash_replay import replay
from airflow_provider_wati.testing.messages import Message
from airflow_provider_wati.testing.sandbox import ApiCall, WatiSandbox

__all__ = [
    "ApiCall",
    "CallSite",
    "Crash",
    "History",
    "Message",
    "Replay",
    "ReplayError",
    "WatiSandbox",
    "replay",
]
