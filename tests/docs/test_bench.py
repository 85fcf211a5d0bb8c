"""docs/performance.md shows what ``make bench`` wrote."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_docs import DOCS, ROOT

FOLDER = DOCS / "bench"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module that writes the reports."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_report  # type: ignore[import-not-found] # found through the path above

    yield bench_report
    sys.modules.pop("bench_report")


def measures_of(report: Any) -> list[Any]:
    records = json.loads((FOLDER / "bench.json").read_text())
    return [each for record in records.values() for each in report.measures_in(record)]


def test_the_plots_are_those_of_the_figures(report: Any) -> None:
    """Each plot says what the JSON file says."""
    measures = measures_of(report)
    assert measures
    for group in {each.group for each in measures}:
        plot = (FOLDER / f"bench-{group}.svg").read_text()
        assert plot == report.plot_of(group, [each for each in measures if each.group == group])


def test_a_second_run_takes_the_place_of_its_own_benchmark(report: Any, tmp_path: Path) -> None:
    """A run of one benchmark replaces its figures and leaves those of the others."""
    old = [report.Measure(group, "w", 1.0, "s", "p", 2.0) for group in ("a", "b")]
    report.write(old, "small", tmp_path)
    report.write([report.Measure("b", "w", 3.0, "s", "p", 2.0)], "small", tmp_path)
    records = json.loads((tmp_path / "bench.json").read_text())
    assert {group: report.measures_in(record)[0].value for group, record in records.items()} == {
        "a": 1,
        "b": 3,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bench-a.svg",
        "bench-b.svg",
        "bench.json",
        "sections.inc",
    ]


def test_the_page_shows_every_benchmark(report: Any) -> None:
    """The page has a section and a plot of each benchmark that was run, and no other."""
    sections = (FOLDER / "sections.inc").read_text()
    assert sections == report.sections_of(json.loads((FOLDER / "bench.json").read_text()))
    shown = re.findall(r"\{image\} bench/(.+)", sections)
    assert sorted(shown) == sorted(path.name for path in FOLDER.glob("*.svg"))
    assert "{include} bench/sections.inc" in (DOCS / "performance.md").read_text()


def test_no_figure_of_the_page_is_beyond_its_limit(report: Any) -> None:
    """The figures that the page shows keep to the limits."""
    assert [each for each in measures_of(report) if not each.is_allowed] == []


def test_a_measure_is_held_to_its_limits(report: Any) -> None:
    """A ratio above the highest or below the lowest that is allowed is beyond the limit, and nothing else."""

    def is_allowed(value: float, **limits: float) -> bool:
        return bool(report.Measure("g", "w", value, "s", "p", 10.0, **limits).is_allowed)

    assert is_allowed(99.0)
    assert [is_allowed(value, most=1.5) for value in (15.0, 15.1)] == [True, False]
    assert [is_allowed(value, least=0.5) for value in (5.0, 4.9)] == [True, False]
    assert [is_allowed(value, most=0.0) for value in (0.0, 1.0)] == [True, False]
    assert "NOT at most 0" in report.table_of([report.Measure("g", "w", 1.0, "s", "p", 10.0, most=0.0)])
