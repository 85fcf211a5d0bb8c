"""
What the operators cost while Airflow parses DAG files, beside operators of Slack's and of the HTTP provider.

Airflow parses each file in a process that is forked from one that has Airflow loaded. So does this: a file pays for the
modules that Airflow has not loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_report import Measure, Sizes

_DAG = """
from airflow.sdk import DAG
from {module} import {name}

with DAG("bench_{number}", schedule=None):
    {name}(task_id="task", {arguments})
"""
#: One operator of each; that of ours sends a template, that of Slack posts a message.
OPERATORS = {
    "no operator of a provider": ("airflow.sdk", "BaseOperator", ""),
    "WatiSendTemplateOperator": (
        "airflow_provider_wati.operators.templates",
        "WatiSendTemplateOperator",
        'template_name="welcome", recipients=[]',
    ),
    "WatiCampaignSensor": (
        "airflow_provider_wati.sensors.campaigns",
        "WatiCampaignSensor",
        'campaign_id="1"',
    ),
    "SqlToWatiTemplateOperator": (
        "airflow_provider_wati.transfers.sql_to_wati",
        "SqlToWatiTemplateOperator",
        'sql="SELECT 1", sql_conn_id="w", target_column="p", template_name="welcome", param_columns={}',
    ),
    "Slack's SlackAPIPostOperator": (
        "airflow.providers.slack.operators.slack",
        "SlackAPIPostOperator",
        'text="Hi"',
    ),
    "the HTTP provider's HttpOperator": (
        "airflow.providers.http.operators.http",
        "HttpOperator",
        'endpoint="/"',
    ),
}
#: A file of ours may not take longer than one of these.
PEERS = ("Slack's SlackAPIPostOperator", "the HTTP provider's HttpOperator")


def parse(folder: str) -> None:
    """Parse each file of a folder in a process of its own, and print the processor's seconds of all together."""
    import airflow.sdk  # noqa: F401 # loaded before the first file, as in Airflow's DAG processor

    dagbag: Any = importlib.import_module(
        "airflow.dag_processing.dagbag"
        if importlib.util.find_spec("airflow.dag_processing.dagbag")
        else "airflow.models.dagbag"
    )
    files = sorted(Path(folder).glob("*.py"))
    seconds = 0.0
    for file in files:
        if (child := os.fork()) == 0:
            bag = dagbag.DagBag(str(file))
            os._exit(0 if len(bag.dags) == 1 and not bag.import_errors else 1)
        _, status, usage = os.wait4(child, 0)
        if status:
            sys.exit(f"{file.read_text()}\ncannot be parsed")
        # Unlike the time of the clock, it does not grow with what else the machine does.
        seconds += usage.ru_utime + usage.ru_stime
    print(json.dumps(seconds))


def seconds_to_parse(operator: tuple[str, str, str], files: int) -> float:
    module, name, arguments = operator
    with tempfile.TemporaryDirectory(prefix="wati-bench-") as folder:
        dags = Path(folder, "dags")
        dags.mkdir()
        for number in range(files):
            text = _DAG.format(module=module, name=name, arguments=arguments, number=number)
            (dags / f"bench_{number}.py").write_text(text)
        environment = {
            **os.environ,
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        command = [sys.executable, __file__, str(dags)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return float(done.stdout.split()[-1])


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Parse files with each operator, in turns, and keep the fastest run of each."""
    fastest = dict.fromkeys(OPERATORS, float("inf"))
    for _ in range(sizes.repeats):
        for name, operator in OPERATORS.items():
            fastest[name] = min(fastest[name], seconds_to_parse(operator, sizes.files))
    floor = fastest.pop("no operator of a provider")
    peers = {name: fastest.pop(name) for name in PEERS}
    for name, seconds in fastest.items():
        for peer, of_peer in peers.items():
            yield Measure("imports", name, seconds, f"s, {sizes.files} files", peer, of_peer, most=1.0)
        yield Measure("imports", name, seconds, f"s, {sizes.files} files", "BaseOperator alone", floor)


if __name__ == "__main__":
    parse(sys.argv[1])
