"""Triggers in an event loop of their own: one event each, and a loop that is never held up."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.triggers import _base
from airflow_provider_wati.triggers.campaigns import WatiCampaignTrigger
from airflow_provider_wati.triggers.messages import WatiAnswerTrigger, WatiReplyTrigger
from airflow_provider_wati.triggers.templates import WatiTemplateApprovedTrigger
from airflow_provider_wati.waiting.condition import error_of
from tests.conftest import reads_connections_anywhere
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
        extra = {"rate_limits": {"*": None}, "timeout": [30, 30]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    return to


def trigger_for(
    wait: timedelta = LATER,
    *,
    conn_id: str = "wati_default",
    interval: float = 0.02,
    campaign: str = CAMPAIGN,
) -> WatiTrigger:
    return WatiCampaignTrigger(
        wati_conn_id=conn_id,
        deadline=(datetime.now(UTC) + wait).isoformat(),
        poll_interval=interval,
        condition={"until": "sent", "campaign_ids": [campaign]},
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


@reads_connections_anywhere
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


async def lateness(until: Awaitable[Any]) -> tuple[float, Any]:
    """Return by how many seconds a 10 ms ticker was late at most while something was awaited, and its result."""
    late = [0.0]

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            late.append(time.perf_counter() - began - 0.01)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    result = await until
    ticker.cancel()
    return max(late), result


@pytest.mark.parametrize("members", [1, 10_000])
def test_a_slow_wati_does_not_hold_up_the_loop(members: int, connect: Connect) -> None:
    """While WATI takes 3 s to answer 8 triggers, also at length, a 10 ms ticker on their loop is hardly late."""
    # The machine delays a ticker too: what counts is how much later it is than beside nothing in the same run.
    told = answer(200, {**DONE, "more": [{"member": str(n)} for n in range(members)]})

    def slow(connection: socket.socket) -> bool:
        time.sleep(3)
        return told(connection)

    async def wait() -> list[dict[str, Any]]:
        # Of different campaigns, because triggers of the same one share a look.
        waits = [anext(aiter(trigger_for(campaign=f"{CAMPAIGN}{n}").run())) for n in range(8)]
        return [event.payload for event in await asyncio.gather(*waits)]

    async def attempt() -> bool:
        idle, _ = await lateness(asyncio.sleep(3))
        late, events = await lateness(wait())
        assert [event["status"] for event in events] == ["done"] * 8
        print(f"the ticker is late by {late:.3f} s at most, beside nothing by {idle:.3f} s")
        return late < max(0.1, 5 * idle)

    with serving(slow) as server:
        connect(server)
        # The machine may be busy with something else in one attempt; a call on the loop is late by 3 s in each.
        assert any(asyncio.run(attempt()) for _ in range(3))


def test_a_connection_that_hangs_holds_up_no_other(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """While dozens of looks at one account get no answer, a trigger of another account sees its campaign at once."""

    async def run() -> tuple[float, list[bool]]:
        hung = [
            asyncio.ensure_future(
                anext(aiter(trigger_for(conn_id="hanging", campaign=f"{CAMPAIGN}{n}").run()))
            )
            for n in range(50)
        ]
        await asyncio.sleep(1)
        began = time.monotonic()
        event = await anext(aiter(trigger_for().run()))
        took = time.monotonic() - began
        assert event.payload["status"] == "done"
        ended = [wait.done() for wait in hung]
        for wait in hung:
            wait.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        return took, ended

    def hang(connection: socket.socket) -> bool:
        time.sleep(10)
        return False

    with serving(hang) as hanging, serving(answer(200, DONE)) as server:
        connect(server)
        extra = {"rate_limits": {"*": None}, "timeout": [2, 8]}
        connection = {"conn_type": "wati", "host": f"{hanging.url}/100002", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_HANGING", json.dumps(connection))
        took, ended = asyncio.run(run())
        assert hanging.requests
    assert not any(ended)
    # In the same 8 threads the look would come after all the others, each of which takes 8 s: some 50 s.
    assert took < 25


def test_triggers_of_one_campaign_share_their_looks(connect: Connect) -> None:
    """50 triggers of one campaign cost hardly more calls than one, and each ends with an event of its own."""

    async def run() -> list[dict[str, Any]]:
        waits = [anext(aiter(trigger_for(interval=0.5).run())) for _ in range(50)]
        return [event.payload for event in await asyncio.gather(*waits)]

    with serving(*[answer(200, WAITS)] * 3, answer(200, DONE)) as server:
        connect(server)
        events = asyncio.run(run())
        assert 4 <= len(server.requests) <= 8
    assert [(event["status"], event["result"]["reached"]) for event in events] == [("done", 1)] * 50


def test_a_look_that_is_shared_outlives_the_trigger_that_began_it(connect: Connect) -> None:
    """A task that is cleared while its trigger looks takes the look away from no other trigger."""

    def slow(connection: socket.socket) -> bool:
        time.sleep(1)
        return answer(200, DONE)(connection)

    async def run() -> dict[str, Any]:
        waits = [asyncio.ensure_future(anext(aiter(trigger_for().run()))) for _ in range(2)]
        await asyncio.sleep(0.5)
        waits[0].cancel()
        return dict((await waits[1]).payload)

    with serving(slow) as server:
        connect(server)
        assert asyncio.run(run())["status"] == "done"
        assert len(server.requests) == 1


def test_a_token_that_is_replaced_while_a_task_is_deferred(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that WATI refuses is read again from the connection, and the wait goes on with the new one."""

    def refuse_then_replace(connection: socket.socket) -> bool:
        connect(server)
        value = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps({**value, "password": "new"}))
        # Only a connection that was read some time ago is read again.
        time.sleep(1)
        return answer(401)(connection)

    with serving(answer(200, WAITS), refuse_then_replace, answer(200, DONE)) as server:
        connect(server)
        event = the_event(trigger_for())
        tokens = [request.headers["authorization"] for request in server.requests]
    assert event["status"] == "done"
    assert tokens == ["Bearer t", "Bearer t", "Bearer new"]


def test_each_of_many_triggers_gets_its_turn(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> None:
    """Where the pace allows fewer looks than the triggers want, none is left behind."""
    with serving(answer(200, WAITS)) as server:
        extra = {"rate_limits": {"campaigns": [20, 1]}, "timeout": [30, 30]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

        async def run() -> None:
            waits = [
                asyncio.ensure_future(
                    anext(aiter(trigger_for(interval=0.1, campaign=f"{CAMPAIGN}{n}").run()))
                )
                for n in range(60)
            ]
            for _ in range(500):
                await asyncio.sleep(0.1)
                if served_twice() or len(server.requests) > 240:
                    break
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

        def looks() -> Counter[str]:
            return Counter(request.path for request in server.requests)

        def served_twice() -> bool:
            return len(looks()) == 60 and min(looks().values()) >= 2

        asyncio.run(asyncio.wait_for(run(), 60))
        # Threads race for the pace, so the order is not strict: the slowest has two looks before the others have four
        # on average.
        assert served_twice(), looks()


def test_looks_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first looks of triggers that start together are spread over the interval."""
    pauses: list[float] = []

    class Stop(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        raise Stop

    # The module's own name, or the servers of other tests would stop too.
    monkeypatch.setattr(_base, "asyncio", SimpleNamespace(sleep=sleep))
    for _ in range(200):
        with pytest.raises(Stop):
            events_of(trigger_for(interval=100))
    quarters = [sum(n <= pause / 25 < n + 1 for pause in pauses) for n in range(4)]
    assert min(quarters) > 20


def test_a_cancelled_trigger_ends(connect: Connect) -> None:
    """A task that is cleared while its trigger looks leaves no event and no running trigger."""
    looks, cancelled = threading.Event(), threading.Event()

    def wait_for_the_cancellation(connection: socket.socket) -> bool:
        looks.set()
        cancelled.wait(60)
        return answer(200, WAITS)(connection)

    async def cancel() -> bool:
        waiting = asyncio.ensure_future(anext(aiter(trigger_for().run())))
        await asyncio.to_thread(looks.wait, 60)
        waiting.cancel()
        await asyncio.wait([waiting])
        cancelled.set()
        # Longer than the interval: another look would be seen.
        await asyncio.sleep(0.5)
        return waiting.cancelled()

    with serving(wait_for_the_cancellation) as server:
        connect(server)
        assert asyncio.run(cancel())
        assert len(server.requests) == 1


def test_hundreds_of_triggers_keep_the_rate_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, airflow_database: None
) -> None:
    """500 triggers that want to look at a campaign of their own each second share the pace of their connection."""
    seconds, rate = 6.0, 20

    async def run() -> float:
        waits = [
            asyncio.ensure_future(anext(aiter(trigger_for(interval=1, campaign=f"{CAMPAIGN}{n}").run())))
            for n in range(500)
        ]
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
        extra = {"rate_limits": {"campaigns": [rate, 1]}, "timeout": [30, 30]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
        late = asyncio.run(run())
        calls, passed = len(server.requests), time.monotonic() - began
    print(f"{calls * 60 / seconds:.0f} calls per minute; the loop was late by {late:.3f} s at most")
    # The first second's calls may go out at once.
    assert rate < calls <= rate * (passed + 1)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (answer(429, headers={"Retry-After": "7"}), ("WatiRateLimitError", 429, 7.0)),
        (answer(302, headers={"Location": "/elsewhere"}), ("WatiResponseError", 302, None)),
    ],
)
def test_an_error_keeps_what_a_retry_policy_reads(
    step: Step, expected: tuple[str, int, float | None], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error that the task raises has the status and the time to wait, as it would have in the worker."""
    monkeypatch.setattr(_base, "MAX_FAILED_LOOKS", 0)
    with serving(step) as server:
        connect(server)
        error = error_of(the_event(trigger_for()))
    assert (type(error).__name__, error.status_code, error.retry_after) == expected
