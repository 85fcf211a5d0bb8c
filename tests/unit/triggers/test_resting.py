"""Waits that look at WATI less often, because the receiver says that nothing has come in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.listening.read_key import read_key
from airflow_provider_wati.sensors.messages import WatiReplySensor
from airflow_provider_wati.triggers import _base
from airflow_provider_wati.triggers._looks import SharedCondition, shared_condition
from airflow_provider_wati.triggers.campaigns import WatiCampaignTrigger
from airflow_provider_wati.waiting.campaigns import CampaignCondition
from airflow_provider_wati.waiting.condition import Condition, Look, Verdict
from airflow_provider_wati.waiting.messages import ReplyCondition
from airflow_provider_wati.waiting.templates import TemplateCondition
from tests.support.clock import FakeClock
from tests.support.status_receiver import StatusReceiver, receiving

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA = "12025550143"
INTERVAL = 300.0
SECRET = "0123456789abcdefghijklmn"


@pytest.fixture
def receiver(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: None
) -> Iterator[StatusReceiver]:
    extra = {"rate_limits": {"*": None}, "timeout": [2, 2], "webhook_secret": SECRET}
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    with receiving(wati_default=read_key(sandbox.token, "wati_default")) as running:
        monkeypatch.setenv("AIRFLOW__WATI__RECEIVER_URL", running.url)
        yield running


def campaign_of(sandbox: Sandbox) -> str:
    sandbox.control("POST", "/clock", {"frozen": True})
    people = [{"phone_number": ADA}]
    campaign = sandbox.client().send_template_messages("welcome", "c", people).campaign_id
    assert campaign is not None
    return campaign


def looks(
    sandbox: Sandbox,
    condition: Condition,
    count: int,
    *,
    rest: bool,
    before: Callable[[int], None] = lambda n: None,
) -> tuple[list[Verdict], int]:
    """Look so many times, an interval between two; return the verdicts and the calls at WATI."""
    clock = FakeClock()
    verdicts: list[Verdict] = []

    async def wait() -> None:
        shared: SharedCondition = shared_condition(condition, "wati_default", clock)
        for n in range(count):
            clock.advance(INTERVAL)
            before(n)
            verdicts.append((await shared.look(INTERVAL / 2, 6 * INTERVAL if rest else 0.0)).verdict)

    sandbox.control("DELETE", "/requests")
    asyncio.run(wait())
    return verdicts, len(sandbox.requests())


def test_a_wait_without_news_costs_a_sixth_of_the_calls(sandbox: Sandbox, receiver: StatusReceiver) -> None:
    """In a day without events, a campaign costs 48 calls in place of 288, and a reply a sixth as well."""
    campaign = CampaignCondition(until="read", campaign_ids=[campaign_of(sandbox)])
    reply = ReplyCondition(target=ADA, since="2026-11-03T00:00:00+00:00", text_pattern="never")
    for condition, each in ((campaign, 1), (reply, None)):
        day = int(24 * 3600 / INTERVAL)
        verdicts, resting = looks(sandbox, condition, day, rest=True)
        assert set(verdicts) == {Verdict.WAITING}
        _, awake = looks(sandbox, condition, day, rest=False)
        print(f"{type(condition).__name__}: {awake} calls a day, {resting} with a receiver")
        assert resting * 6 == awake
        assert each is None or awake == day * each


def test_an_event_is_looked_at_in_the_same_interval(sandbox: Sandbox, receiver: StatusReceiver) -> None:
    """What ends the wait is found as early as without a rest, and by a look at WATI."""
    condition = CampaignCondition(until="read", campaign_ids=[campaign_of(sandbox)])

    def happen(n: int) -> None:
        if n == 3:
            sandbox.control("POST", "/clock", {"advance": 3600})
            receiver.add("read")

    verdicts, calls = looks(sandbox, condition, 5, rest=True, before=happen)
    assert verdicts[:4] == [Verdict.WAITING] * 3 + [Verdict.DONE]
    assert calls <= 3


def test_a_hint_decides_nothing(sandbox: Sandbox, receiver: StatusReceiver) -> None:
    """Events of others end no wait, and an event that was lost delays the end by a rest at most."""
    campaign = campaign_of(sandbox)

    def others(n: int) -> None:
        receiver.add("read")

    condition = CampaignCondition(until="read", campaign_ids=[campaign])
    verdicts, calls = looks(sandbox, condition, 8, rest=True, before=others)
    assert (set(verdicts), calls) == ({Verdict.WAITING}, 8)

    def silently(n: int) -> None:
        if n == 1:
            sandbox.control("POST", "/clock", {"advance": 3600})

    verdicts, _ = looks(sandbox, condition, 8, rest=True, before=silently)
    assert verdicts[:6] == [Verdict.WAITING] * 6
    assert verdicts[6] is Verdict.DONE


@pytest.mark.parametrize("fault", [404, 500, b"[]", b'{"messages": 1, "statuses": "2"}'], ids=repr)
def test_a_receiver_that_does_not_say_is_as_none(
    sandbox: Sandbox, receiver: StatusReceiver, fault: int | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Each look is made then, and the log says once why."""
    receiver.fault = fault
    condition = CampaignCondition(until="read", campaign_ids=[campaign_of(sandbox)])
    assert looks(sandbox, condition, 5, rest=True)[1] == 5
    said = [record for record in caplog.records if "does not say whether" in record.getMessage()]
    assert len(said) == 1


def test_a_wait_for_a_template_asks_no_receiver(sandbox: Sandbox, receiver: StatusReceiver) -> None:
    """No event is known to come with each approval."""
    verdicts, _ = looks(sandbox, TemplateCondition(template_name="welcome"), 2, rest=True)
    assert verdicts == [Verdict.DONE] * 2
    assert receiver.requests == []


def test_the_last_look_of_a_trigger_is_made(
    sandbox: Sandbox, receiver: StatusReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the deadline WATI is looked at though nothing has come in, so that a lost event fails no wait."""
    monkeypatch.setattr(_base, "_SHORTEST_PAUSE", 0.0)
    campaign = campaign_of(sandbox)
    trigger = WatiCampaignTrigger(
        wati_conn_id="wati_default",
        deadline=(datetime.now(UTC) + timedelta(seconds=3)).isoformat(),
        poll_interval=1.0,
        condition={"until": "read", "campaign_ids": [campaign]},
    )

    def deliver() -> None:
        while len(receiver.requests) < 2:
            time.sleep(0.01)
        sandbox.control("POST", "/clock", {"advance": 3600})

    async def wait() -> Any:
        delivered = asyncio.create_task(asyncio.to_thread(deliver))
        event = await anext(aiter(trigger.run()))
        await delivered
        return event.payload

    assert asyncio.run(wait())["status"] == "done"


def test_a_sensor_that_pokes_rests_too(sandbox: Sandbox, receiver: StatusReceiver) -> None:
    """A sensor in the mode poke looks again when a message has come in, after a rest, and when its time is nearly over."""
    clock = FakeClock()

    class Sensor(WatiReplySensor):
        """A sensor on the clock of the test."""

    Sensor.clock = clock
    sensor = Sensor(
        task_id="reply",
        target=ADA,
        since="2020-01-01T00:00:00Z",
        text_pattern="^the answer$",
        poke_interval=INTERVAL,
        timeout=10_000,
        mode="poke",
        deferrable=False,
    )
    context: Any = {"ti": SimpleNamespace()}
    looked: list[int] = []
    for n in range(33):
        sandbox.control("DELETE", "/requests")
        if n == 3:
            receiver.messages += 1
        assert not sensor.poke(context).is_done
        if sandbox.requests():
            looked.append(n)
        clock.advance(INTERVAL)
    assert looked == [0, 3, 4, 10, 16, 22, 28, 32]
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "the answer"})
    receiver.messages += 1
    assert sensor.poke(context).is_done


class _Reads:
    """A condition that is met at the second look, and a connection whose receiver says that nothing has come in."""

    news = ("statuses",)
    #: The reads of WATI: a look copies its condition.
    made: list[int]

    def __init__(self) -> None:
        self.made = []

    def __deepcopy__(self, memo: object) -> _Reads:
        return self

    def look(self, client: object, clock: object) -> Look:
        self.made.append(1)
        return Look(Verdict.DONE if len(self.made) > 1 else Verdict.WAITING, "")

    def unseen(self) -> dict[str, Any]:
        return {}

    async def hook(self, max_age: float = 0.0) -> Any:
        def news(kinds: object) -> str:
            time.sleep(0.05)
            return "the same"

        return SimpleNamespace(
            news=news,
            polling_client=lambda: SimpleNamespace(close=lambda: None),
        )

    async def run(self, function: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(function)


@pytest.mark.parametrize("order", ["last first", "last second", "rest under way"])
def test_the_last_look_takes_no_rest_of_another_trigger_for_a_look(order: str) -> None:
    """A trigger at its deadline and one that waits on look at one moment: the first one reads WATI, in whatever order."""
    reads: Any = _Reads()

    async def scene() -> Look:
        shared = SharedCondition(reads, reads, SYSTEM_CLOCK)
        await shared.look(0.0, 6 * INTERVAL)
        if order == "last first":
            last, _ = await asyncio.gather(shared.look(0.0, 0.0), shared.look(0.0, 6 * INTERVAL))
            return last
        resting = asyncio.create_task(shared.look(0.0, 6 * INTERVAL))
        if order == "rest under way":
            await asyncio.sleep(0.01)
        last = await shared.look(0.0, 0.0)
        await resting
        return last

    assert asyncio.run(scene()).verdict is Verdict.DONE
