"""
What template sends cost, against the sandbox on loopback.

Each figure is printed beside a floor or a peer of the same run: a bare ``requests`` loop with the same bodies, one
mapped HTTP task for each person, and the pace that WATI's growth plan allows.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench_report import Measure, Sizes

TOKEN = "bench-token"
#: The memory of a large send may be this many times that of a small one: it does not grow with the people.
ALLOWED_GROWTH = 1.4
ALLOWED_RATIO = 1.6
#: The share of the permitted rate that has to be used.
USED = 0.98
COLUMNS = ("phone", "first_name", "order_id")


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """Run the sandbox as a process of its own; yield its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "airflow_provider_wati.sandbox", "--port", str(port), "--token", TOKEN]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def write_rows(path: Path, people: int) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows((919_800_000_001 + n, f"Ada {n}", f"A-{n}") for n in range(people))


def in_a_process(what: str, *arguments: str) -> dict[str, Any]:
    """Run one of the functions below in a new process; return what it measured."""
    # Workers have the bytecode of installed packages.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), what, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def send(url: str, rows: str, batch_size: str, pacing: str = "off") -> dict[str, Any]:
    """Send as WatiBroadcastTemplateOperator does: CSV in, checks, scratch database, journal on disk, CSV of outcomes."""
    from types import SimpleNamespace

    connection: dict[str, Any] = {"conn_type": "wati", "host": url, "password": TOKEN}
    connection["extra"] = {"plan": "growth"} if pacing == "growth" else {"rate_limits": {"*": None}}
    os.environ["AIRFLOW_CONN_WATI_DEFAULT"] = json.dumps(connection)
    from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator

    directory = tempfile.mkdtemp(dir=Path(rows).parent)
    operator = WatiBroadcastTemplateOperator(
        task_id="bench",
        template_name="order_update",
        rows=rows,
        target_column="phone",
        param_columns={"name": "first_name", "order_id": "order_id"},
        template_params={"status": "packed"},
        batch_size=int(batch_size),
        outcomes_path=f"{directory}/outcomes.csv",
        state_path=f"{directory}/state",
    )
    ti = SimpleNamespace(
        dag_id="d", run_id=directory, task_id="bench", map_index=-1, try_number=1, xcom_push=print
    )
    context: Any = {"ti": ti}
    started = time.perf_counter()
    summary = operator.execute(context)
    seconds = time.perf_counter() - started
    records = [path.stat().st_size for path in Path(directory, "state").rglob("*.json")]
    return {
        "seconds": seconds,
        "megabytes": peak_megabytes(),
        "accepted": summary["accepted"],
        "calls": summary["calls"],
        "journal_bytes": sum(records),
        "journal_writes": len(records),
        "summary_bytes": len(json.dumps(summary)),
    }


def bare_loop(url: str, rows: str, batch_size: str) -> dict[str, Any]:
    """Post the same people with nothing but ``requests``: no checks, no state, no outcomes."""
    import requests

    started = time.perf_counter()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    with open(rows, newline="") as file:
        table = csv.DictReader(file)
        batch: list[dict[str, Any]] = []
        n = 0

        def post() -> None:
            body = {"template_name": "order_update", "broadcast_name": f"bare {n}", "recipients": batch}
            session.post(f"{url}/api/ext/v3/messageTemplates/send", json=body).raise_for_status()
            batch.clear()

        for n, row in enumerate(table, 1):
            params = {"name": row["first_name"], "order_id": row["order_id"], "status": "packed"}
            batch.append(
                {
                    "phone_number": row["phone"],
                    "local_message_id": f"bare-loop-{n:022}",
                    "custom_params": [{"name": name, "value": value} for name, value in params.items()],
                }
            )
            if len(batch) == int(batch_size):
                post()
        if batch:
            post()
    return {"seconds": time.perf_counter() - started}


def in_airflow(url: str, way: str, people: str) -> dict[str, Any]:
    """Message people from a DAG run, ours or with one mapped HTTP task for each."""
    home = tempfile.mkdtemp()
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": f"{home}/dags",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    os.mkdir(f"{home}/dags")
    address = {"host": url, "password": TOKEN}
    os.environ["AIRFLOW_CONN_WATI_DEFAULT"] = json.dumps(
        {"conn_type": "wati", **address, "extra": {"rate_limits": {"*": None}}}
    )
    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": url})
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG
    from airflow.utils.db import initdb

    initdb()
    rows: list[dict[str, Any]] = [
        {
            "phone_number": str(919_800_000_001 + n),
            "params": {"name": "Ada", "order_id": f"{n}", "status": "x"},
        }
        for n in range(int(people))
    ]
    with DAG("bench", schedule=None) as dag:
        if way == "ours":
            from airflow_provider_wati.operators.templates import WatiSendTemplateOperator

            WatiSendTemplateOperator(task_id="send", template_name="order_update", recipients=rows)
        else:
            from airflow.providers.http.operators.http import HttpOperator

            bodies = [
                json.dumps(
                    {
                        "template_name": "order_update",
                        "broadcast_name": "mapped",
                        "recipients": [
                            {
                                "phone_number": person["phone_number"],
                                "custom_params": [
                                    {"name": name, "value": value} for name, value in person["params"].items()
                                ],
                            }
                        ],
                    }
                )
                for person in rows
            ]
            HttpOperator.partial(
                task_id="send",
                endpoint="api/ext/v3/messageTemplates/send",
                headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            ).expand(data=bodies)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    bag = DagBag(f"{home}/dags")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    started = time.perf_counter()
    run = dag.test()
    seconds = time.perf_counter() - started
    states = {ti.state for ti in run.get_task_instances()}
    if states != {"success"}:
        raise SystemExit(f"{way}: {states}")
    return {"seconds": seconds}


def control(url: str, path: str) -> Any:
    import requests

    return requests.get(f"{url}/_sandbox{path}", timeout=30).json()


def measures(sizes: Sizes) -> Iterator[Measure]:
    """Measure sends to many people, a DAG run, and the pace."""
    with tempfile.TemporaryDirectory() as directory:
        yield from of_many(sizes, Path(directory))
        yield from of_a_run(sizes)
        yield from of_the_pace(sizes, Path(directory))


def of_many(sizes: Sizes, directory: Path) -> Iterator[Measure]:
    few, many = directory / "few.csv", directory / "many.csv"
    write_rows(few, sizes.few)
    write_rows(many, sizes.people)
    batch = str(sizes.batch)
    with sandbox() as url:
        small = in_a_process("send", url, str(few), batch)
    # In turns, and the faster run of each: what else a machine does slows single runs down by a third.
    runs: dict[str, list[dict[str, Any]]] = {"send": [], "bare_loop": []}
    for way in ("send", "bare_loop") * sizes.repeats:
        with sandbox() as url:
            runs[way].append(in_a_process(way, url, str(many), batch))
    large, bare = (min(each, key=lambda run: run["seconds"]) for each in runs.values())
    if large["accepted"] != sizes.people:
        raise SystemExit(f"{large['accepted']:,} of {sizes.people:,} were accepted.")
    what = f"{sizes.people:,} people, checks and outcomes"
    loop = "bare requests loop, none of these"
    yield Measure("sends", what, large["seconds"], "s", loop, bare["seconds"], most=ALLOWED_RATIO)
    memory = large["megabytes"], "MB", f"memory for {sizes.few:,}", small["megabytes"]
    yield Measure("sends", f"memory for {sizes.people:,} people", *memory, most=ALLOWED_GROWTH)
    stored = "journal, bytes a person", large["journal_bytes"] / sizes.people, "bytes"
    yield Measure("sends", *stored, "their phone numbers", 12)
    written = "journal, writes a batch", large["journal_writes"] / large["calls"], "writes"
    # The opening and the marker of the attempt are three more in all.
    yield Measure("sends", *written, "intent and result", 2, most=1.05)


def of_a_run(sizes: Sizes) -> Iterator[Measure]:
    with sandbox() as url:
        ours, mapped = (
            in_a_process("in_airflow", url, way, str(sizes.mapped))["seconds"] for way in ("ours", "mapped")
        )
    what = f"DAG run for {sizes.mapped} people"
    yield Measure("sends", what, ours, "s", "a mapped HttpOperator for each", mapped, most=1.0)


def of_the_pace(sizes: Sizes, directory: Path) -> Iterator[Measure]:
    paced = directory / "paced.csv"
    write_rows(paced, sizes.paced_calls * 10)
    with sandbox("--plan", "growth") as url:
        in_a_process("send", url, str(paced), "10", "growth")
        sends = control(url, "/requests?limit=1000&path=send")["requests"]
    first, last = (datetime.fromisoformat(sends[n]["time"]) for n in (0, -1))
    possible = (sizes.paced_calls - 1) // 30 * 10
    what = f"{sizes.paced_calls} calls, growth plan"
    taken = (last - first).total_seconds()
    yield Measure("pacing", what, taken, "s", "the least that is possible", possible, most=1 / USED)
    refused = sum(request["status"] == 429 for request in sends)
    yield Measure("pacing", "429 answers", refused, "calls", "calls", len(sends), most=0.0)


if __name__ == "__main__":
    step = {"send": send, "bare_loop": bare_loop, "in_airflow": in_airflow}[sys.argv[1]]
    print(json.dumps(step(*sys.argv[2:])))
