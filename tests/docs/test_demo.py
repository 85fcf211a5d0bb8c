"""`make demo`, the first command of the README."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"


def test_the_demo_shows_every_message_as_delivered() -> None:
    """`make demo` runs to its end and shows each message as delivered."""
    # Of the Airflow that the tests use, nothing must reach the demo's own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"\+(\d+) +(\w+) +(Hi .*your order \d+ is .*)", done.stdout)
    assert len(shown) == 5
    assert {status for _, status, _ in shown} <= {"delivered", "read"}
    assert "5 of 5 customers have their message" in done.stdout
    [page] = re.findall(r"http://127\.0\.0\.1:(\d+)/", done.stdout)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(page))) != 0, "the sandbox is still running"
