"""A client of a scripted server, whose pauses take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client import WatiClient
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from tests.support.scripted_server import ScriptedServer

TOKEN = "eyJ-secret-token-7Yx"
NUMBER = "85264318722"


def client_of(server: ScriptedServer | int, **settings: Any) -> WatiClient:
    """
    Make a client without pacing that makes one attempt, unless ``settings`` say otherwise.

    It waits long, because a busy machine answers late, but not where its server's script leaves it waiting.
    """
    port, stalls = (server, False) if isinstance(server, int) else (server.port, server.stalls)
    return WatiClient(
        f"http://127.0.0.1:{port}/100001",
        f"Bearer {TOKEN}",
        **{
            "rate_limits": {"*": None},
            "timeout": (30.0, 1.0 if stalls else 30.0),
            "max_tries": 1,
            "clock": FakeClock(),
            **settings,
        },
    )
