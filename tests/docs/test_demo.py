"""`make demo`, the first command of the README."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

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
