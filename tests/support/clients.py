"""A client of a scripted server, whose pauses take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.tls import BoundedAdapter
from tests.support.clock import FakeClock
from tests.support.scripted_server import stalls, stay_silent

if TYPE_CHECKING:
    from tests.support.scripted_server import ScriptedServer

TOKEN = "eyJ-secret-token-7Yx"
NUMBER = "85264318722"

#: Seconds that a client waits for an answer: a busy machine answers late.
_PATIENCE = 30.0
#: Seconds that it waits for the rest of an answer that never comes; the part that comes may be late.
_STALL = 1.0
#: Seconds that it waits for an answer of which nothing ever comes: no machine is too busy for that.
_SILENCE = 0.05


class _BriefWhereStalled(BoundedAdapter):
    """The network, with a read timeout that is brief for the requests that the server's script does not answer."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        super().__init__()

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request; when it returns or raises, the server has it."""
        step, count = self._server.next_step, len(self._server.requests) + 1
        if not stalls(step):
            return super().send(*args, **kwargs)
        seconds = _SILENCE if step is stay_silent else _STALL
        try:
            return super().send(*args, **{**kwargs, "timeout": (_PATIENCE, seconds)})
        finally:
            self._server.wait_for(count)


def client_of(server: ScriptedServer | int, **settings: Any) -> WatiClient:
    """
    Make a client without pacing that makes one attempt, unless ``settings`` say otherwise.

    It waits long, because a busy machine answers late, but not where its server's script leaves it waiting.
    """
    port = server if isinstance(server, int) else server.port
    if not isinstance(server, int) and "timeout" not in settings:
        settings["adapter"] = _BriefWhereStalled(server)
    return WatiClient(
        f"http://127.0.0.1:{port}/100001",
        f"Bearer {TOKEN}",
        **{
            "rate_limits": {"*": None},
            "timeout": _PATIENCE,
            "max_tries": 1,
            "clock": FakeClock(),
            **settings,
        },
    )
