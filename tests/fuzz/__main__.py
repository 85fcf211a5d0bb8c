"""
Fuzz the package: ``python -m tests.fuzz [surface ...]``.

``FUZZ_SECONDS`` (60) is the time for all surfaces together, ``FUZZ_SEED`` the seed (else a random one, which is shown).
The exit code is 1 when anything but a result or a typed error came out.
"""

from __future__ import annotations

import faulthandler
import os
import secrets
import sys
from collections.abc import Sequence

from airflow_provider_wati.clock import SYSTEM_CLOCK
from tests.fuzz.harness import Report, Surface, fuzz
from tests.fuzz.surfaces import SURFACES

_SECONDS = "60"
#: After the time is over: for the search for small inputs. An input that takes longer hangs, and the process ends.
_GRACE = 600.0
#: A seed of this many bits leaves room for the rounds that count on from it.
_SEED_BITS = 32


def main(names: Sequence[str]) -> int:
    """
    Fuzz the surfaces, and print what was fed and what was found.

    :param names: the surfaces; none stands for all.
    :return: the exit code.
    """
    unknown = set(names) - {surface.name for surface in SURFACES}
    if unknown:
        print(f"There is no surface {', '.join(sorted(unknown))}: {', '.join(s.name for s in SURFACES)}.")
        return 2
    surfaces = [surface for surface in SURFACES if not names or surface.name in names]
    seconds = _seconds()
    seed = int(os.environ.get("FUZZ_SEED") or secrets.randbits(_SEED_BITS))
    print(f"Seed {seed}, {seconds:g} seconds, {len(surfaces)} surfaces.", flush=True)
    reports = run(surfaces, seed=seed, seconds=seconds)
    print(*table_of(reports), sep="\n")
    return 1 if any(report.finding for report in reports) else 0


def _seconds() -> float:
    return float(os.environ.get("FUZZ_SECONDS") or _SECONDS)


def run(surfaces: Sequence[Surface], *, seed: int, seconds: float) -> list[Report]:
    """
    Fuzz surfaces one after another, each for its share of the time that is left.

    :param seed: of the first round of each.
    :param seconds: for all of them together.
    """
    ends = SYSTEM_CLOCK.monotonic() + seconds
    reports: list[Report] = []
    for n, surface in enumerate(surfaces):
        left = max(ends - SYSTEM_CLOCK.monotonic(), 0.0)
        share = surface.share / sum(other.share for other in surfaces[n:])
        report = fuzz(surface, seed=seed, seconds=left * share)
        reports.append(report)
        if report.finding:
            print(
                f"\n{surface.name}: FUZZ_SEED={report.finding.seed} finds the input\n  {report.finding.input}\n{report.finding.error}\n",
                flush=True,
            )
    return reports


def table_of(reports: Sequence[Report]) -> list[str]:
    """Return the lines of a table: the inputs of each surface, their rate, and whether one of them failed."""
    lines = [f"{'surface':<18}{'inputs':>12}{'a second':>12}  result"]
    for report in reports:
        rate = report.inputs / report.seconds if report.seconds else 0.0
        lines.append(
            f"{report.surface:<18}{report.inputs:>12,}{rate:>12,.0f}  {'FAILED' if report.finding else 'clean'}"
        )
    seconds = sum(report.seconds for report in reports)
    inputs = sum(report.inputs for report in reports)
    lines.append(f"{'all':<18}{inputs:>12,}{inputs / seconds if seconds else 0.0:>12,.0f}")
    return lines


if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.dump_traceback_later(_seconds() + _GRACE, exit=True)
    sys.exit(main(sys.argv[1:]))
