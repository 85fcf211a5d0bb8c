"""Triggers in an event loop of their own: one event each, and a loop that is never held up."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.triggers import _base
from airflow_provider_wati.triggers.campaigns import WatiCampaignTrigger
from airflow_provider_wati.triggers.messages import WatiAnswerTrigger, WatiReplyTrigger
from airflow_provider_wati.triggers.templates import WatiTemplateApprovedTrigger
from tests.support.scripted_server import ScriptedServer, Step, answer, serving

if TYPE_CHECKING:
    from airflow_provider_wati.triggers._base import WatiTrigger

CAMPAIGN = "66b1fb044045cedb1f195390"
LATER = timedelta(minutes=5)
DONE = {"id": CAMPAIGN, "status": "completed", "statistics": {"total_recipients": 1, "total_sent": 1}}
WAITS = {"id": CAMPAIGN, "status": "processing", "statistics": {"total_recipients": 1, "total_queued": 1}}
Connect = Callable[[ScriptedServer], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base, "_SHORTEST_PAUSE", 0.0)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Connect:
    """Make a server the connection ``wati_default``."""

    def to(server: ScriptedServer) -> None:
        extra = {"rate_limits": {"*": None}, "timeout": [2, 20]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    return to


def trigger_for(
    wait: timedelta = LATER, *, conn_id: str = "wati_default", interval: float = 0.02
) -> WatiTrigger:
    return WatiCampaignTrigger(
        wati_conn_id=conn_id,
        deadline=(datetime.now(UTC) + wait).isoformat(),
        poll_interval=interval,
        condition={"until": "sent", "campaign_ids": [CAMPAIGN]},
    )


def events_of(trigger: WatiTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(collect(), 60))


def the_event(trigger: WatiTrigger) -> dict[str, Any]:
    [event] = events_of(trigger)
    assert json.loads(json.dumps(event)) == event
    return event


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        (WatiCampaignTrigger, {"until": "read", "campaign_ids": ["a"], "send_key": "k", "expected": 3}),
        (WatiTemplateApprovedTrigger, {"template_name": "welcome", "channel": "Shop"}),
        (WatiReplyTrigger, {"target": "12025550144", "since": "2026-11-03T06:20:12+00:00"}),
        (
            WatiAnswerTrigger,
            {"target": "12025550144", "since": "2026-11-03T06:20:12+00:00", "buttons": ["Yes"]},
        ),
    ],
)
def test_a_trigger_survives_its_serialization(kind: type[WatiTrigger], condition: dict[str, Any]) -> None:
    """A trigger is rebuilt from JSON, the token is not in it, and Airflow can store it."""
    from airflow.models.trigger import Trigger

    made = kind(
        wati_conn_id="c", deadline="2026-11-03T06:20:12+00:00", poll_interval=60.0, condition=condition
    )
    path, arguments = made.serialize()
    assert json.loads(json.dumps(arguments)) == arguments
    assert condition.items() <= arguments["condition"].items()
    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**arguments)
    assert again.serialize() == (path, arguments)
    stored = Trigger.from_object(made)
    assert (stored.classpath, stored.kwargs) == (path, arguments)


def test_one_event_when_the_condition_holds(connect: Connect) -> None:
    """The trigger looks until the campaign is sent, and ends with one event."""
    with serving(answer(200, WAITS), answer(200, WAITS), answer(200, DONE)) as server:
        connect(server)
        event = the_event(trigger_for())
    assert (event["status"], event["result"]["reached"]) == ("done", 1)
    assert len(server.requests) == 3
    assert {request.method for request in server.requests} == {"GET"}


def test_failed_recipients_end_the_wait(connect: Connect) -> None:
    """Too many failures are one event that says so."""
    failed = {**DONE, "statistics": {"total_recipients": 1, "total_failed": 1}}
    with serving(answer(200, failed)) as server:
        connect(server)
        event = the_event(trigger_for())
    assert event["status"] == "failed"
    assert "1 failed" in event["reason"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer(401), "WatiAuthenticationError"),
        (answer(403), "WatiPermissionError"),
        (answer(404), "WatiNotFoundError"),
    ],
)
def test_what_does_not_pass_ends_the_wait_at_once(step: Step, error: str, connect: Connect) -> None:
    """A wrong token and an unknown or deleted campaign are an error event after one call."""
    with serving(answer(200, WAITS), step) as server:
        connect(server)
        event = the_event(trigger_for())
    assert (event["status"], event["error"]) == ("error", error)
    assert event["reason"]
    assert len(server.requests) == 2


def test_a_missing_connection_is_an_error_that_names_it(airflow_database: None) -> None:
    """A connection that the triggerer does not have ends the wait, and the error says where to define it."""
    event = the_event(trigger_for(conn_id="nowhere"))
    assert (event["status"], event["error"]) == ("error", "WatiConfigurationError")
    assert "'nowhere'" in event["reason"]
    assert "triggerer" in event["reason"]


def test_blips_are_tolerated(connect: Connect) -> None:
    """Five failures in a row do not end the wait, and one good look forgets them."""
    blips = [answer(503), answer(429), answer(200, raw=b"<html>"), answer(500), answer(502)]
    with serving(*blips, answer(200, WAITS), *blips, answer(200, DONE)) as server:
        connect(server)
        assert the_event(trigger_for())["status"] == "done"
    assert len(server.requests) == 12


def test_an_outage_ends_the_wait(connect: Connect) -> None:
    """The sixth failure in a row is the error."""
    with serving(answer(503)) as server:
        connect(server)
        event = the_event(trigger_for())
    assert (event["status"], event["error"]) == ("error", "WatiServerError")
    assert len(server.requests) == 6


def test_the_deadline_is_absolute(connect: Connect) -> None:
    """A trigger that starts after its deadline looks once more, and then ends with the counts."""
    with serving(answer(200, WAITS)) as server:
        connect(server)
        event = the_event(trigger_for(-LATER, interval=300))
    assert (event["status"], event["result"]["waiting"]) == ("timeout", 1)
    assert len(server.requests) == 1


def test_a_look_that_hangs_ends_with_the_deadline(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WATI that never answers does not carry the wait beyond its deadline."""
    monkeypatch.setattr(_base, "LAST_LOOK_SECONDS", 0.2)

    def hang(connection: socket.socket) -> bool:
        time.sleep(20)
        return False

    with serving(hang) as server:
        connect(server)
        began = time.monotonic()

        async def first() -> dict[str, Any]:
            event = await anext(aiter(trigger_for(timedelta(seconds=0.3)).run()))
            took.append(time.monotonic() - began)
            return dict(event.payload)

        took: list[float] = []
        assert asyncio.run(first())["status"] == "timeout"
    assert took[0] < 15


def test_a_slow_wati_does_not_hold_up_the_loop(connect: Connect) -> None:
    """While WATI takes 3 s to answer, a 10 ms ticker on the same loop goes on."""

    def slow(connection: socket.socket) -> bool:
        time.sleep(3)
        return answer(200, DONE)(connection)

    async def run() -> tuple[list[float], list[dict[str, Any]]]:
        late = []

        async def tick() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.01)
                late.append(time.perf_counter() - began - 0.01)

        async def collect() -> list[dict[str, Any]]:
            return [event.payload async for event in trigger_for().run()]

        ticker = asyncio.create_task(tick())
        events = await collect()
        ticker.cancel()
        return late, events

    with serving(slow) as server:
        connect(server)
        late, [event] = asyncio.run(run())
    assert event["status"] == "done"
    assert len(late) > 100
    print(f"the ticker is late by {max(late):.3f} s at most")
    # Some delays are the machine's own; a call on the loop makes one of 3 s.
    assert statistics.median(late) < 0.1
    assert max(late) < 2.5


def test_looks_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first looks of triggers that start together are spread over the interval."""
    pauses: list[float] = []

    class Stop(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        raise Stop

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for _ in range(200):
        with pytest.raises(Stop):
            events_of(trigger_for(interval=100))
    quarters = [sum(n <= pause / 25 < n + 1 for pause in pauses) for n in range(4)]
    assert min(quarters) > 20


def test_a_cancelled_trigger_ends(connect: Connect) -> None:
    """A task that is cleared while its trigger looks leaves no event and no running trigger."""
    with serving(answer(200, WAITS)) as server:
        connect(server)

        async def cancel() -> bool:
            waiting = asyncio.ensure_future(anext(aiter(trigger_for().run())))
            await asyncio.sleep(0.3)
            waiting.cancel()
            await asyncio.wait([waiting])
            return waiting.cancelled()

        assert asyncio.run(cancel())
        seen = len(server.requests)
        time.sleep(0.3)
        assert seen == len(server.requests) > 0


def test_hundreds_of_triggers_keep_the_rate_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, airflow_database: None
) -> None:
    """500 triggers that want to look each second share the pace of their connection."""
    seconds, rate = 6.0, 20

    async def run() -> float:
        waits = [asyncio.ensure_future(anext(aiter(trigger_for(interval=1).run()))) for _ in range(500)]
        late = 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            late = max(late, time.perf_counter() - began - 0.01)
        assert not any(wait.done() for wait in waits)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return late

    began = time.monotonic()
    with serving(answer(200, WAITS)) as server:
        extra = {"rate_limits": {"campaigns": [rate, 1]}, "timeout": [2, 2]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
        late = asyncio.run(run())
        calls, passed = len(server.requests), time.monotonic() - began
    print(f"{calls * 60 / seconds:.0f} calls per minute; the loop was late by {late:.3f} s at most")
    # The first second's calls may go out at once.
    assert rate < calls <= rate * (passed + 1)
