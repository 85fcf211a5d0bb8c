"""Sensors in each mode: the same verdict for one table of outcomes, and what Airflow sees of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati import exceptions
from airflow_provider_wati._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor
from airflow_provider_wati.sensors.messages import WatiReplySensor
from airflow_provider_wati.sensors.templates import WatiTemplateApprovedSensor
from airflow_provider_wati.triggers import _base
from tests.support.airflow_signals import AirflowRescheduleException, TaskDeferred
from tests.support.scripted_server import Step, answer, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wati.sensors._base import WatiSensor
    from tests.support.scripted_server import ScriptedServer

CAMPAIGN = "66b1fb044045cedb1f195390"
BEN = "12025550144"
MODES = ("poke", "reschedule", "deferrable")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses of all modes take no time."""
    monkeypatch.setattr(_base, "_SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", lambda seconds: None)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Callable[[ScriptedServer], None]:
    """Make a server the connection ``wati_default``."""

    def to(server: ScriptedServer) -> None:
        extra = {"rate_limits": {"*": None}, "timeout": [2, 2]}
        connection = {"conn_type": "wati", "host": f"{server.url}/100001", "password": "t", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    return to


def run(make: Callable[..., WatiSensor], mode: str, began: datetime | None = None) -> Any:
    """Run a sensor to its end as Airflow does in a mode; return its result, or the error it raises."""
    start = began or datetime.now(UTC)
    ti = SimpleNamespace(get_first_reschedule_date=lambda context: start)
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=start)}
    kind = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    for _ in range(100):
        sensor = make(**kind)
        try:
            return sensor.execute(context)
        except AirflowRescheduleException:
            continue
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            again = type(deferred.trigger)(**json.loads(json.dumps(arguments)))
            assert path.startswith("airflow_provider_wati.triggers.")
            event = asyncio.run(anext(aiter(again.run()))).payload
            method, details = deferred.method_name, {**(deferred.kwargs or {}), "event": event}
            try:
                return make(**kind).resume_execution(method, details, context)
            except Exception as error:
                return error
        except Exception as error:
            return error
    raise AssertionError("the sensor does not end")


def campaign(**counters: int) -> Step:
    """An answer with the counters of a campaign of 10."""
    statistics = {"total_recipients": 10, **{f"total_{name}": n for name, n in counters.items()}}
    return answer(200, {"id": CAMPAIGN, "status": "processing", "statistics": statistics})


def recipients(*statuses: str) -> Step:
    rows = [{"id": str(n), "status": status} for n, status in enumerate(statuses)]
    return answer(200, {"recipients": rows, "page_number": 1, "page_size": 100, "total_count": len(rows)})


#: What WATI answers one after the other, and the end: the reached of a result, or the class of an error.
OUTCOMES: dict[str, tuple[list[Step], Any]] = {
    "at once": ([campaign(sent=10, delivered=10)], 10),
    "later": ([campaign(queued=10), campaign(sent=10, delivered=5), campaign(sent=10, delivered=10)], 10),
    "unknown words": (
        [
            answer(200, {"id": CAMPAIGN}),
            recipients(*["delivered"] * 9, "en route"),
            answer(200, {"id": CAMPAIGN}),
            recipients(*["delivered"] * 9, "READ"),
        ],
        10,
    ),
    "some failed": ([campaign(queued=10), campaign(sent=9, delivered=9, failed=1)], 9),
    "too many failed": ([campaign(queued=10), campaign(queued=8, failed=2)], AirflowFailException),
    "a blip": ([campaign(queued=10), answer(200, raw=b"<html>"), campaign(sent=10, delivered=10)], 10),
    "unknown campaign": ([answer(404)], exceptions.WatiNotFoundError),
    "deleted campaign": ([campaign(queued=10), answer(404)], exceptions.WatiNotFoundError),
    "wrong token": ([answer(401)], exceptions.WatiAuthenticationError),
    "token revoked": ([campaign(queued=10), answer(401)], exceptions.WatiAuthenticationError),
    "no permission": ([campaign(queued=10), answer(403)], exceptions.WatiPermissionError),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_gives_the_same_verdict(
    mode: str, outcome: str, connect: Callable[[ScriptedServer], None]
) -> None:
    """One table of outcomes ends alike in each mode, with the same result or the same class of error."""
    script, expected = OUTCOMES[outcome]

    def make(**kind: Any) -> WatiSensor:
        return WatiCampaignSensor(
            task_id="wait",
            campaign_id=CAMPAIGN,
            until="delivered",
            failure_threshold=0.1,
            poke_interval=0.01,
            **kind,
        )

    with serving(*script) as server:
        connect(server)
        ending = run(make, mode)
    if isinstance(expected, int):
        assert (ending["reached"], ending["timed_out"]) == (expected, False)
    else:
        assert type(ending) is expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("on_timeout", ["fail", "return"])
def test_the_timeout_of_airflow_holds_in_each_mode(
    mode: str, on_timeout: str, connect: Callable[[ScriptedServer], None]
) -> None:
    """A campaign that does not end fails at the timeout, or returns its counts where that is asked for."""

    def make(**kind: Any) -> WatiSensor:
        return WatiCampaignSensor(
            task_id="wait",
            campaign_id=CAMPAIGN,
            on_timeout=on_timeout,
            timeout=0.2,
            poke_interval=0.05,
            **kind,
        )

    with serving(campaign(queued=9, sent=1)) as server:
        connect(server)
        ending = run(
            make, mode, began=datetime.now(UTC) - timedelta(seconds=1) if mode == "reschedule" else None
        )
    if on_timeout == "fail":
        assert type(ending) is AirflowSensorTimeout
    else:
        assert (ending["waiting"], ending["reached"], ending["timed_out"]) == (9, 1, True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "script", [[campaign(failed=10)], [campaign(queued=10), campaign(failed=10)]], ids=["at once", "later"]
)
def test_soft_fail_skips_in_each_mode(
    mode: str, script: list[Step], connect: Callable[[ScriptedServer], None]
) -> None:
    """With soft_fail, too many failures skip the task, whether the worker or the triggerer finds out."""

    def make(**kind: Any) -> WatiSensor:
        return WatiCampaignSensor(
            task_id="wait", campaign_id=CAMPAIGN, soft_fail=True, poke_interval=0.01, **kind
        )

    with serving(*script) as server:
        connect(server)
        assert type(run(make, mode)) is AirflowSkipException


def test_a_deferral_keeps_the_timeout(connect: Callable[[ScriptedServer], None]) -> None:
    """Airflow ends a deferral that no triggerer ends, soon after the deadline that the trigger carries."""
    with serving(campaign(queued=10)) as server:
        connect(server)
        sensor = WatiCampaignSensor(task_id="wait", campaign_id=CAMPAIGN, timeout=600, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute({})
    assert deferred.value.timeout == timedelta(seconds=660)
    deadline = datetime.fromisoformat(deferred.value.trigger.deadline)
    assert timedelta(0) < datetime.now(UTC) + timedelta(seconds=600) - deadline < timedelta(seconds=60)


@pytest.mark.parametrize("on_timeout", ["fail", "return"])
def test_a_deferral_that_no_triggerer_ended(on_timeout: str) -> None:
    """Where Airflow ends the deferral, the sensor ends as at its own timeout, without counts."""
    sensor = WatiCampaignSensor(task_id="wait", campaign_id=CAMPAIGN, on_timeout=on_timeout, deferrable=True)
    resume = {"error": "Trigger timeout"}
    if on_timeout == "fail":
        with pytest.raises(AirflowSensorTimeout):
            sensor.resume_execution("__fail__", resume, {})
    else:
        result = sensor.resume_execution("__fail__", resume, {})
        assert (result["timed_out"], result["reached"]) == (True, None)


@pytest.mark.parametrize("options", [{"soft_fail": True}, {"never_fail": True}])
def test_returning_does_not_go_with_skipping(options: dict[str, Any]) -> None:
    """A timeout cannot both return and skip."""
    with pytest.raises(WatiValidationError, match="on_timeout"):
        WatiCampaignSensor(task_id="wait", campaign_id=CAMPAIGN, on_timeout="return", **options)


def templates(status: str) -> Step:
    rows = [{"id": "1", "name": "welcome", "status": status}]
    return answer(200, {"templates": rows, "page_number": 1, "page_size": 100, "total": 1})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["APPROVED"], "APPROVED"),
        (["PENDING", "IN_APPEAL", "Approved"], "Approved"),
        (["PENDING", "REJECTED"], AirflowFailException),
    ],
)
def test_a_template_in_each_mode(
    mode: str, statuses: list[str], expected: Any, connect: Callable[[ScriptedServer], None]
) -> None:
    """A template is waited for until it is approved or refused, in each mode alike."""

    def make(**kind: Any) -> WatiSensor:
        return WatiTemplateApprovedSensor(task_id="wait", template_name="welcome", poke_interval=0.01, **kind)

    with serving(*map(templates, statuses)) as server:
        connect(server)
        ending = run(make, mode)
    if isinstance(expected, str):
        assert ending == {"id": "1", "name": "welcome", "status": expected}
    else:
        assert type(ending) is expected


def messages(*texts: str) -> Step:
    after = datetime.now(UTC) + timedelta(minutes=5)
    rows = [
        {"id": str(n), "text": text, "owner": False, "event_type": "message", "created": after.isoformat()}
        for n, text in enumerate(texts)
    ]
    # A short page alone does not end a list of messages, which has no total.
    return answer(200, {"message_list": rows, "page_number": 1, "page_size": max(len(rows), 1)})


@pytest.mark.parametrize("mode", MODES)
def test_a_reply_in_each_mode(mode: str, connect: Callable[[ScriptedServer], None]) -> None:
    """A reply is waited for until one has the pattern, in each mode alike."""

    def make(**kind: Any) -> WatiSensor:
        return WatiReplySensor(
            task_id="wait", target=BEN, text_pattern="(?i)^yes", poke_interval=0.01, **kind
        )

    nothing = messages()
    with serving(answer(404), nothing, messages("no"), nothing, messages("Yes!"), nothing) as server:
        connect(server)
        assert run(make, mode)["text"] == "Yes!"


def test_replies_count_from_the_start_of_the_run() -> None:
    """Without ``since``, messages from before the run do not count."""
    start = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
    sensor = WatiReplySensor(task_id="wait", target=BEN)
    condition: Any = sensor._condition({"dag_run": SimpleNamespace(start_date=start)})
    assert condition.since == "2026-11-03T06:20:12+00:00"


def test_a_sensor_without_a_condition_cannot_be_made() -> None:
    """A subclass that forgets what it waits for fails where it is made, not where it runs."""
    from airflow_provider_wati.sensors._base import WatiSensor

    class Forgetful(WatiSensor):
        trigger_name = "none"

    with pytest.raises(TypeError, match="_condition"):
        Forgetful(task_id="forgetful")  # type: ignore[abstract] # what the test is about
