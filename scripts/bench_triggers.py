"""
What 500 deferred campaign sensors do to one real triggerer: whether its event loop stays free, and their calls per minute.

Airflow runs as in production, against the sandbox. The calls stand beside the rate of the connection, and the warnings about
the event loop beside those for 500 triggers of Airflow's own that only sleep.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.airflow.conftest import Deployment, connection_to, wait_for  # after the path above
from tests.conftest import Sandbox  # likewise

SENSORS = 500
#: Calls in seconds that the connection allows for campaigns, and how long the sensors are watched.
RATE, WATCHED = (10, 10), 60
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


def watch(name: str, delay: float) -> tuple[int, bool]:
    """Run one variant; return how many warnings the triggerer logged, and whether the rate was kept."""
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="wati-bench-") as folder:
        home = Path(folder)
        sandbox.control("POST", "/clock", {"frozen": True})
        client = sandbox.client()
        is_peer = name == "peer"
        count = SENSORS if name == "distinct" else 1
        ids = [
            client.send_template_messages(
                "welcome", f"campaign {n}", [{"phone_number": "12025550143"}]
            ).campaign_id
            for n in range(count)
        ]
        campaigns = (ids * SENSORS)[:SENSORS]
        dags = home / "dags"
        dags.mkdir()
        (dags / "bench.py").write_text(DAG_FILE.format(campaigns=campaigns))
        connection = connection_to(sandbox, read_timeout=20)
        connection["extra"]["rate_limits"] = {"campaigns": list(RATE)}
        airflow = Deployment(
            home,
            connection,
            {
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            },
        )
        try:
            airflow.start()
            airflow.kill("scheduler")
            airflow.trigger("bench")
            airflow.python(DEFER.format(campaigns=campaigns, is_peer=is_peer))
            assert airflow.triggers() == SENSORS, f"{airflow.triggers()} sensors are deferred"  # noqa: S101
            if delay:
                sandbox.fault("delay", method="GET", seconds=delay)
            sandbox.control("DELETE", "/requests")
            airflow.start_triggerer()
            wait_for(lambda: is_peer or bool(sandbox.requests("GET")), "the first look")
            time.sleep(WATCHED)
            looks = Counter(
                call for call in sandbox.requests("GET") if "campaign" in call or "broadcast" in call
            )
            log = (home / "triggerer.log").read_text(errors="replace")
        finally:
            airflow.stop()
    found = [line for line in log.splitlines() if any(warning in line for warning in WARNINGS)]
    allowed = RATE[0] / RATE[1] * WATCHED + RATE[0]
    calls = sum(looks.values())
    print(
        f"{name:<9} {delay:>4.0f} s   {calls * 60 / WATCHED:>5.0f} calls per minute, {RATE[0] / RATE[1] * 60:.0f} allowed; "
        f"{len(looks)} campaigns seen, at most {max(looks.values(), default=0)} times; {len(found)} warnings",
        flush=True,
    )
    for line in found[:5]:
        print(f"    {line}", file=sys.stderr)
    return len(found), calls <= allowed and bool(calls or is_peer)


def main() -> int:
    print(f"{SENSORS} deferred sensors in one triggerer: campaigns, time of an answer")
    variants = [("peer", 0.0), ("distinct", 0.0), ("distinct", 3.0), ("same", 0.0)]
    if __name__ == "__main__" and len(sys.argv) > 1:
        variants = [(name, float(delay)) for name, delay in (word.split(":") for word in sys.argv[1:])]
    warnings = {}
    are_kept = True
    for name, delay in variants:
        warnings[name, delay], is_kept = watch(name, delay)
        are_kept &= is_kept
    of_peer = warnings.pop(("peer", 0.0), 0)
    # Airflow itself holds its loop up while it takes 500 triggers over; one warning more is left to chance.
    return int(not are_kept or max(warnings.values(), default=0) > of_peer + 1)


if __name__ == "__main__":
    sys.exit(main())
