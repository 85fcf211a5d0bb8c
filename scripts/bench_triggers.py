"""
What 500 deferred campaign sensors do to one real triggerer: whether its event loop stays free, and their calls per minute.

Airflow runs as in production, against the sandbox. The calls stand beside the rate of the connection, and the warnings about
the event loop beside those for 500 triggers of Airflow's own that only sleep.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.airflow.conftest import Deployment, connection_to, wait_for  # after the path above
from tests.conftest import Sandbox  # likewise

SENSORS = 500
#: Calls in seconds that the connection allows for campaigns, and how long the sensors are watched.
RATE, WATCHED = (10, 10), 60
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


def watch(name: str, delay: float) -> Result:
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
            for n in range(SENSORS if name == "distinct" else 1)
        ]
        campaigns = (ids * SENSORS)[:SENSORS]
        if delay:
            sandbox.fault("delay", method="GET", seconds=delay)
        airflow = deferred(Path(folder), sandbox, campaigns, is_peer=name == "peer")
        try:
            airflow.start_triggerer()
            wait_for(lambda: "currently running" in log_of(folder), "the triggerer to take the triggers over")
            time.sleep(TAKEOVER)
            takeover = warnings_in(folder)
            sandbox.control("DELETE", "/requests")
            time.sleep(WATCHED)
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
    connection = connection_to(sandbox, read_timeout=20)
    connection["extra"]["rate_limits"] = {"campaigns": list(RATE)}
    airflow = Deployment(home, connection, {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)})
    try:
        airflow.start()
        airflow.kill("scheduler")
        airflow.trigger("bench")
        airflow.python(DEFER.format(campaigns=campaigns, is_peer=is_peer))
        found = airflow.triggers()
        if found != SENSORS:
            raise SystemExit(f"{found} sensors are deferred, not {SENSORS}.")
    except BaseException:
        airflow.stop()
        raise
    return airflow


def log_of(folder: str) -> str:
    log = Path(folder, "triggerer.log")
    return log.read_text(errors="replace") if log.exists() else ""


def warnings_in(folder: str) -> list[str]:
    return [line for line in log_of(folder).splitlines() if any(warning in line for warning in WARNINGS)]


def main() -> int:
    variants = [("peer", 0.0), ("distinct", 0.0), ("distinct", 3.0), ("same", 0.0)]
    if __name__ == "__main__" and len(sys.argv) > 1:
        variants = [(name, float(delay)) for name, delay in (word.split(":") for word in sys.argv[1:])]
    allowed = RATE[0] / RATE[1] * WATCHED + RATE[0]
    print(
        f"{SENSORS} deferred sensors in one triggerer, a look each minute, {allowed - RATE[0]:.0f} calls a minute allowed"
    )
    failures, allowed_hold = [], 2 * WARNS_FROM
    for name, delay in variants:
        result = watch(name, delay)
        print(
            f"  {name:<9} answers after {delay:.0f} s  {result.calls * 60 / WATCHED:>4.0f} calls a minute, "
            f"{len(result.looks)} campaigns, each at most {max(result.looks.values(), default=0)} times; "
            f"warnings {len(result.takeover)} at takeover (at most {result.longest:.2f} s), {len(result.waiting)} after",
            flush=True,
        )
        for line in (*result.takeover, *result.waiting):
            print(f"    {line}", file=sys.stderr)
        if name == "peer":
            allowed_hold = max(allowed_hold, 2 * result.longest)
        elif result.waiting or result.longest > allowed_hold:
            failures.append(f"{name}, {delay:.0f} s: the event loop was held up.")
        if name != "peer" and not 0 < result.calls <= allowed:
            failures.append(f"{name}, {delay:.0f} s: {result.calls} calls, and {allowed:.0f} are allowed.")
    for failure in failures:
        print(failure, file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
