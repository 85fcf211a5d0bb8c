"""
What the provider costs: the import of an operator, template sends, contact syncs, deferred sensors.

Each figure is printed beside a peer or the floor of the same run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

import bench_send
import bench_sql
import bench_sync
import bench_triggers

SDK = "from airflow.sdk import DAG, BaseOperator, BaseHook"
MODULES = (
    *(
        f"operators.{name}"
        for name in ("campaigns", "chatbots", "contacts", "conversations", "messages", "templates")
    ),
    "transfers.sql_to_wati",
)
RUNS = 7
ALLOWED_MS = 40.0


def added_milliseconds(statement: str) -> float:
    """Return the median of what a statement costs once Airflow's SDK is loaded, each time in a new process."""
    program = (
        f"import time\n{SDK}\nstarted = time.perf_counter()\n{statement}\n"
        "print((time.perf_counter() - started) * 1000)"
    )
    return statistics.median(
        float(
            subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True
            ).stdout.split()[-1]
        )
        for _ in range(RUNS)
    )


def bench_imports() -> int:
    requests = added_milliseconds("import requests")
    print(f"{'import':<44} {'added':>9}   beside `import requests`, which peers' operators load")
    worst = 0.0
    for name in MODULES:
        module = f"airflow_provider_wati.{name}"
        added = added_milliseconds(f"import {module}")
        worst = max(worst, added)
        print(f"{module:<44} {added:>6.1f} ms   {added / requests:.2f}")
    print(f"{'requests':<44} {requests:>6.1f} ms   1.00")
    if worst > ALLOWED_MS:
        print(f"An operator module costs {worst:.1f} ms; {ALLOWED_MS:.0f} ms are allowed.", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    failed = False
    for bench in (bench_imports, bench_send.main, bench_sync.main, bench_sql.main, bench_triggers.main):
        failed |= bool(bench())
        print(flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
