"""
What the provider costs: imports, sends, pacing, syncs, queries, extracts, sensors, the receiver of webhooks.

Each figure stands beside a peer or a floor of the same run. ``make bench`` prints one table and writes JSON and plots; the last
line says whether a limit was passed.

    python scripts/bench.py --size small --only imports,sends --output .bench
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from bench_report import SIZES, write

ROOT = Path(__file__).parents[1]
#: The benchmarks in their order, with the module of each. Sends also measure the pace.
BENCHES = {
    "imports": "bench_imports",
    "sends": "bench_send",
    "sync": "bench_sync",
    "queries": "bench_sql",
    "extract": "bench_extract",
    "sensors": "bench_triggers",
    "receiver": "bench_receiver",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="full", help="how much is measured (default: full)")
    parser.add_argument("--only", help=f"some of {','.join(BENCHES)} (default: all)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / ".bench", help="the folder of bench.json and the plots"
    )
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(BENCHES)
    if unknown := set(names) - BENCHES.keys():
        parser.error(f"--only has {', '.join(sorted(unknown))}; known are {', '.join(BENCHES)}")
    passed = 0
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        measures = list(importlib.import_module(BENCHES[name]).measures(SIZES[arguments.size]))
        # Written at once, so that a run that breaks off leaves what it has measured.
        table = write(measures, arguments.size, arguments.output)
        passed += sum(not each.is_allowed for each in measures)
    print(table)
    print(f"{passed} figures are beyond their limit. JSON and plots: {arguments.output}")
    return int(passed > 0)


if __name__ == "__main__":
    sys.exit(main())
