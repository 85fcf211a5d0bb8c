"""The command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import requests


def test_the_command_starts_says_what_to_do_and_stops() -> None:
    """The command prints endpoint and token, and stops at Ctrl-C."""
    command = [sys.executable, "-u", "-m", "airflow_provider_wati.sandbox", "--port", "0", "--tenant", "77"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(4)]
            url = lines[2].split()[-1].removesuffix("/77")
            assert lines[1] == f"Page          {url}/"
            assert lines[3].split()[-1] == "sandbox-token"
            response = requests.get(
                f"{url}/api/ext/v3/account/credits",
                headers={"Authorization": "Bearer sandbox-token"},
                timeout=60,
            )
            assert response.status_code == 200
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output.endswith("Sandbox stopped.\n")
    assert errors == ""
