"""
What hundreds of deferred campaign sensors do to one real triggerer: whether its event loop stays free, and their calls per minute.

Airflow runs as in production, against the sandbox. The calls stand beside the rate of the connection, and the warnings about
the event loop beside those for as many triggers of Airflow's own that only sleep.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench_report import Measure, Sizes

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.airflow.conftest import Deployment, connection_to, wait_for  # after the path above
from tests.conftest import Sandbox  # likewise

#: Calls in seconds that the connection allows for campaigns.
RATE = (10, 10)
#: Seconds from which on Airflow's triggerer warns.
WARNS_FROM = 0.2
#: Seconds in which the triggerer takes 500 triggers over.
TAKEOVER = 30
#: What the triggerer logs when its event loop is held up, or when it misses its heartbeat.
WARNINGS = ("async thread was blocked", "appears deadlocked", "Trigger runner failed", "Traceback")

DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor

with DAG("bench", schedule=None):
    WatiCampaignSensor.partial(task_id="wait", until="delivered", deferrable=True).expand(campaign_id={campaigns!r})
"""

#: Does for all sensors at once what the API server does when a task defers: 500 workers would take many minutes.
DEFER = """
import sys
from datetime import UTC, datetime, timedelta
from airflow.models import TaskInstance, Trigger
from airflow.utils.session import create_session
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow_provider_wati.triggers.campaigns import WatiCampaignTrigger

campaigns = {campaigns!r}
deadline = datetime.now(UTC) + timedelta(hours=1)
with create_session() as session:
    for ti in session.query(TaskInstance).all():
        trigger = Trigger.from_object(
            DateTimeTrigger(deadline)
            if {is_peer}
            else WatiCampaignTrigger(
                wati_conn_id="wati_default", deadline=deadline.isoformat(), poll_interval=60.0,
                condition={{"until": "delivered", "campaign_ids": [campaigns[ti.map_index]]}},
            )
        )
        session.add(trigger)
        session.flush()
        ti.state, ti.trigger_id, ti.next_method = "deferred", trigger.id, "execute_complete"
        ti.trigger_timeout = deadline
"""


@dataclass(frozen=True)
class Result:
    """
    What one variant has shown.

    :param takeover: warnings while the triggerer takes its triggers over, which Airflow's own triggers draw too.
    :param waiting: warnings after that.
    :param looks: calls for each campaign while it waits.
    """

    takeover: list[str]
    waiting: list[str]
    looks: Counter[str]

    @property
    def calls(self) -> int:
        return sum(self.looks.values())

    @property
    def longest(self) -> float:
        """Seconds that the event loop was held up at most during the takeover, as far as the triggerer warns of it."""
        held = re.findall(r"was blocked for ([0-9.]+) seconds", "\n".join(self.takeover))
        return max(map(float, held), default=0.0)


def watch(name: str, delay: float, sizes: Sizes) -> Result:
    """
    Run one variant.

    :param name: ``distinct`` campaigns, the ``same`` one for all, or ``peer``, triggers of Airflow's own that only sleep.
    :param delay: seconds that WATI takes to answer.
    """
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="wati-bench-") as folder:
        sandbox.control("POST", "/clock", {"frozen": True})
        ids = [
            sandbox.client()
            .send_template_messages("welcome", f"campaign {n}", [{"phone_number": "12025550143"}])
            .campaign_id
            for n in range(sizes.sensors if name == "distinct" else 1)
        ]
        campaigns = (ids * sizes.sensors)[: sizes.sensors]
        if delay:
            sandbox.fault("delay", method="GET", seconds=delay)
        airflow = deferred(Path(folder), sandbox, campaigns, is_peer=name == "peer")
        try:
            airflow.start_triggerer()
            wait_for(lambda: "currently running" in log_of(folder), "the triggerer to take the triggers over")
            time.sleep(TAKEOVER)
            takeover = warnings_in(folder)
            sandbox.control("DELETE", "/requests")
            time.sleep(sizes.watched)
            looks = Counter(call for call in sandbox.requests("GET") if "broadcasts" in call)
            waiting = warnings_in(folder)[len(takeover) :]
        finally:
            airflow.stop()
    return Result(takeover, waiting, looks)


def deferred(home: Path, sandbox: Sandbox, campaigns: list[str | None], *, is_peer: bool) -> Deployment:
    """Start Airflow with a deferred sensor for each campaign, and no triggerer yet."""
    dags = home / "dags"
    dags.mkdir()
    (dags / "bench.py").write_text(DAG_FILE.format(campaigns=campaigns))
    connection = connection_to(sandbox)
    connection["extra"]["rate_limits"] = {"campaigns": list(RATE)}
    airflow = Deployment(home, connection, {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)})
    try:
        airflow.start()
        airflow.kill("scheduler")
        airflow.trigger("bench")
        airflow.python(DEFER.format(campaigns=campaigns, is_peer=is_peer))
        found = airflow.triggers()
        if found != len(campaigns):
            raise SystemExit(f"{found} sensors are deferred, not {len(campaigns)}.")
    except BaseException:
        airflow.stop()
        raise
    return airflow


def log_of(folder: str) -> str:
    log = Path(folder, "triggerer.log")
    return log.read_text(errors="replace") if log.exists() else ""


def warnings_in(folder: str) -> list[str]:
    return [line for line in log_of(folder).splitlines() if any(warning in line for warning in WARNINGS)]


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure how long the event loop is held up, beside triggers of Airflow's own, and the calls, beside those allowed."""
    held = max(WARNS_FROM, watch("peer", 0.0, sizes).longest)
    allowed = RATE[0] / RATE[1] * sizes.watched + RATE[0]
    for name, delay in (("distinct", 0.0), ("distinct", 3.0), ("same", 0.0)):
        result = watch(name, delay, sizes)
        what = f"{sizes.sensors} sensors, {name} campaigns" + (f", {delay:.0f} s answers" if delay else "")
        for line in (*result.takeover, *result.waiting):
            print(line, file=sys.stderr)
        if not result.calls:
            raise SystemExit(f"{what}: nothing was asked.")
        longest = max(WARNS_FROM, result.longest)
        yield Measure(
            "sensors", f"{what}: held up", longest, "s at most", "sleeping triggers", held, most=2.0
        )
        yield Measure("sensors", f"{what}: calls", result.calls, "calls", "calls allowed", allowed, most=1.0)
        late = len(result.waiting)
        yield Measure("sensors", f"{what}: warnings", late, "later", "sensors", sizes.sensors, most=0.0)
