"""`make demo`, the first command of the README."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "demo.py"
#: What becomes of each order in the sandbox: two customers answer, one has read, one has not, one has no WhatsApp.
STATUSES = {
    "1001": "read",
    "1002": "replied",
    "1003": "replied",
    "1004": "read",
    "1005": "delivered",
    "1006": "failed",
}
#: Nobody else writes to her, and she has no team.
DANA = "12025550146"
#: Seconds from a message to the end of the run that it starts, on a slow machine.
PATIENCE = 240.0
#: Of the DAG wati_keyword_routing, in seconds.
STAGES = ("sent", "delivered", "read", "replied")


def test_the_demo_shows_every_message_and_the_funnel(tmp_path: Path) -> None:
    """
    `make demo` runs to its end, shows what became of each message, and ends with the funnel of the orders.

    The plot in the docs is drawn from the warehouse that it leaves behind.
    """
    # Of the Airflow that the tests use, nothing must reach the demo's own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"\+(\d+) +(\w+) +(Hi .*your order (\d+) is .*)", done.stdout)
    assert [order for _, _, _, order in shown] == list(STATUSES)
    assert {status for *_, status, _, order in shown if order != "1006"} <= {"delivered", "read"}
    assert [status for _, status, _, order in shown if order == "1006"] == ["failed"]
    assert "5 of 6 customers have their message" in done.stdout
    assert "6 outcomes, 6 deliveries" in done.stdout
    assert_funnel(done.stdout.split("The funnel, ")[1])
    assert_plot(tmp_path / "funnel.svg")
    [page] = re.findall(r"http://127\.0\.0\.1:(\d+)/", done.stdout)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(page))) != 0, "the sandbox is still running"


def test_a_customer_who_writes_in_the_sandbox_starts_a_dag() -> None:
    """
    `make airflow` gives both addresses, and a keyword written as a customer brings the customer to its team.

    The webhook of the sandbox reaches the receiver, its asset event starts wati_keyword_routing, and that assigns the team.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    started = subprocess.Popen(
        [sys.executable, SCRIPT, "--stay"],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert started.stdout is not None
        shown = ""
        for line in started.stdout:
            shown += line
            if "Ctrl-C stops both" in line:
                break
        [page] = re.findall(r"the sandbox +(http://\S+)/", shown)
        [airflow] = re.findall(r"Airflow +(http://\S+)/ ", shown)
        assert urllib.request.urlopen(airflow, timeout=60).status == 200
        assert "webhook_secret" not in shown
        write_as_customer(page, DANA, "Where is my INVOICE?")
        wait_for(partial(is_in_team, page, DANA, "Billing"), "the customer to be given to a team")
        # The poller may have been faster; then the receiver's event started a run of its own.
        wait_for(partial(has_dispatched, airflow), "the receiver to have made an asset event")
        deliveries = read(f"{page}/_sandbox/webhooks/deliveries")["deliveries"]
        assert {each["state"] for each in deliveries if each["event_type"] == "message"} == {"delivered"}
    finally:
        started.terminate()
        started.wait(60)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(page.rpartition(":")[2]))) != 0, (
            "the sandbox is still running"
        )


def has_dispatched(airflow: str) -> bool:
    """Say whether Airflow's page of the receiver shows a message that became an asset event."""
    with urllib.request.urlopen(f"{airflow}/wati/deliveries", timeout=60) as response:
        page = response.read().decode()
    return "message" in page and "dispatched" in page


def write_as_customer(page: str, phone: str, text: str) -> None:
    body = json.dumps({"phone": phone, "text": text}).encode()
    request = urllib.request.Request(f"{page}/_sandbox/inbound", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


def is_in_team(page: str, phone: str, team: str) -> bool:
    return bool(read(f"{page}/api/ext/v3/contacts/{phone}")["teams"] == [team])


def read(url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Authorization": "Bearer sandbox-token"})
    with urllib.request.urlopen(request, timeout=30) as response:
        found: dict[str, Any] = json.load(response)
        return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.5)


def assert_funnel(shown: str) -> None:
    """Each order stands where its message is, and the last line has the sums."""
    rows = dict(re.findall(r"^  (\d{4}) +(.*)$", shown, flags=re.MULTILINE))
    assert rows.keys() == STATUSES.keys()
    for order, status in STATUSES.items():
        reached = STAGES.index(status) if status in STAGES else -1
        marks = ["yes" if n <= reached else "-" for n in range(len(STAGES))]
        *found, reason = (
            re.split(r" +", rows[order], maxsplit=5) if status == "failed" else [*rows[order].split(), ""]
        )
        assert found == [*marks, "yes" if status == "failed" else "-"]
        assert reason == ("131026 Message undeliverable" if status == "failed" else "")
    assert re.search(r"^  6 orders +5 +5 +4 +2 +1$", shown, flags=re.MULTILINE)


def assert_plot(file: Path) -> None:
    """The plot of the docs is the one that the demo's warehouse gives, and says in words what it shows."""
    script = ROOT / "scripts" / "plot_funnel.py"
    subprocess.run([sys.executable, script, "--output", file], check=True)
    assert file.read_bytes() == (ROOT / "docs" / "funnel.svg").read_bytes()
    svg = ET.parse(file).getroot()
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert svg.get("role") == "img"
    assert svg.findtext("svg:title", namespaces=names)
    assert svg.findtext("svg:desc", namespaces=names) == (
        "Of 6 orders: 5 sent, 5 delivered, 4 read, 2 replied, 1 failed."
    )
