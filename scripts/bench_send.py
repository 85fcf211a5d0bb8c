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

TOKEN = "bench-token"
FEW, MANY, BATCH = 10_000, 1_000_000, 10_000
ALLOWED_GROWTH_MB = 40
ALLOWED_RATIO = 1.6
PEOPLE = 200
PACED_CALLS = 151
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
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), what, *arguments],
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


def send(url: str, rows: str, batch_size: str = str(BATCH), pacing: str = "off") -> dict[str, Any]:
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


def bare_loop(url: str, rows: str) -> dict[str, Any]:
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
            if len(batch) == BATCH:
                post()
        if batch:
            post()
    return {"seconds": time.perf_counter() - started}


def in_airflow(url: str, way: str) -> dict[str, Any]:
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
    people = [
        {
            "phone_number": str(919_800_000_001 + n),
            "params": {"name": "Ada", "order_id": f"{n}", "status": "x"},
        }
        for n in range(PEOPLE)
    ]
    with DAG("bench", schedule=None) as dag:
        if way == "ours":
            from airflow_provider_wati.operators.templates import WatiSendTemplateOperator

            WatiSendTemplateOperator(task_id="send", template_name="order_update", recipients=people)
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
                for person in people
            ]
            HttpOperator.partial(
                task_id="send",
                endpoint="api/ext/v3/messageTemplates/send",
                headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            ).expand(data=bodies)
    DagBundlesManager().sync_bundles_to_db()
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


def main() -> int:
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        few, many, paced = (Path(directory) / name for name in ("few.csv", "many.csv", "paced.csv"))
        write_rows(few, FEW)
        write_rows(many, MANY)
        write_rows(paced, PACED_CALLS * 10)
        with sandbox() as url:
            small = in_a_process("send", url, str(few))
        # In turns, and the faster run of each: what else a machine does slows single runs down by a third.
        runs: dict[str, list[dict[str, Any]]] = {"send": [], "bare_loop": []}
        for way in ("send", "bare_loop") * 2:
            with sandbox() as url:
                runs[way].append(in_a_process(way, url, str(many)))
        large, bare = (min(each, key=lambda run: run["seconds"]) for each in runs.values())
        print(f"Template sends, {MANY:,} people, {BATCH:,} a call, from CSV to CSV of outcomes")
        print(f"  with checks, journal and outcomes          {MANY / large['seconds']:>9,.0f} people/s")
        print(f"  a bare requests loop, none of these        {MANY / bare['seconds']:>9,.0f} people/s")
        print(f"  ratio to the bare loop                     {large['seconds'] / bare['seconds']:>9.2f}")
        print(f"  peak memory, {FEW:,} people               {small['megabytes']:>9.0f} MB")
        print(f"  peak memory, {MANY:,} people            {large['megabytes']:>9.0f} MB")
        print(f"  XCom summary                               {large['summary_bytes']:>9,} bytes")
        print(f"  journal, a person                          {large['journal_bytes'] / MANY:>9.1f} bytes")
        print(
            f"  journal, a call                            {large['journal_writes'] / large['calls']:>9.2f} writes"
        )
        if large["accepted"] != MANY:
            failures.append(f"{large['accepted']:,} of {MANY:,} were accepted.")
        if large["seconds"] > ALLOWED_RATIO * bare["seconds"]:
            failures.append("A send costs too much beside a bare loop.")
        if large["megabytes"] - small["megabytes"] > ALLOWED_GROWTH_MB:
            failures.append("Memory grows with the number of people.")

        with sandbox() as url:
            ours, mapped = (in_a_process("in_airflow", url, way)["seconds"] for way in ("ours", "mapped"))
        print(f"A DAG run that messages {PEOPLE} people (dag.test)")
        print(f"  one WatiSendTemplateOperator               {ours:>9.1f} s")
        print(f"  one mapped HttpOperator task for each      {mapped:>9.1f} s")
        print(f"  ratio                                      {mapped / ours:>9.0f}")

        with sandbox("--plan", "growth") as url:
            in_a_process("send", url, str(paced), "10", "growth")
            sends = control(url, "/requests?limit=1000&path=send")["requests"]
        refused = sum(r["status"] == 429 for r in sends)
        first, last = (datetime.fromisoformat(sends[n]["time"]) for n in (0, -1))
        taken = (last - first).total_seconds()
        possible = (PACED_CALLS - 1) // 30 * 10
        used = possible / taken
        print(f"{PACED_CALLS} calls at the growth plan's pace (30 in 10 s: {possible} s at the least)")
        print(f"  from the first call to the last            {taken:>9.1f} s")
        print(f"  of the permitted rate                      {used:>9.1%}")
        print(f"  429 answers                                {refused:>9}")
        if refused or used < 0.98:
            failures.append("The pace is missed.")
    for failure in failures:
        print(failure, file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        step = {"send": send, "bare_loop": bare_loop, "in_airflow": in_airflow}[sys.argv[1]]
        print(json.dumps(step(*sys.argv[2:])))
    else:
        sys.exit(main())
