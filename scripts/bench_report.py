"""What the benchmarks have in common: sizes, measures, and a table, JSON and plots of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

# Narrow enough to be read on a phone: a label stands above its bar.
WIDTH, MARGIN, FIGURES = 480, 20, 130
LABEL, BAR, GAP, TOP = 21, 14, 18, 52
# The drawing has a background of its own, so that it can be read on any page.
STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de; }
    .ours { fill: #0b6e4f; }
    .peer { fill: #8c959f; }
    text { fill: #1f2328; font: 14px system-ui, sans-serif; }
    .heading { font-size: 16px; font-weight: 600; }
    .note { font-size: 12px; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #161b22; stroke: #3d444d; }
      .ours { fill: #3fb68b; }
      .peer { fill: #6e7781; }
      text { fill: #e6edf3; }
    }
"""


#: The heading of each benchmark on the page of the documentation, and what is compared.
SECTIONS = {
    "imports": (
        "Imports",
        "Airflow parses each DAG file in a process of its own, again and again, so what an operator imports costs each time. The "
        "peers are operators of Slack's and of the HTTP provider.",
    ),
    "sends": (
        "Template sends",
        "From a CSV file to a CSV file of outcomes, with all checks and the journal, against the [sandbox](sandbox.md) on the same "
        "machine. The floor is a loop of `requests` that posts the same bodies and checks nothing. Memory does not grow with the "
        "number of people.",
    ),
    "pacing": (
        "Pacing",
        "In practice WATI decides how long a send takes. The pace uses what the [plan](scopes.md#plans) allows, without a 429.",
    ),
    "sync": (
        "Contact sync",
        "A sync writes what changed, a hundred contacts a call; the peer is one call for each row.",
    ),
    "queries": ("Queries", "All that `SqlToWatiTemplateOperator` does but the send."),
    "extract": (
        "Extracts",
        "Messages to a database or a Parquet file. The floors are inserting the same rows, and reading them without storing them.",
    ),
    "sensors": (
        "Sensors",
        "Deferred sensors in one triggerer. The peers are triggers of Airflow's own that only sleep.",
    ),
    "receiver": (
        "The receiver of webhooks",
        "On PostgreSQL, at a fixed number of events a second; the times count from when an event was due.",
    ),
}


@dataclass(frozen=True)
class Sizes:
    """
    How much is measured.

    :param people: of the large template send and the large query.
    :param few: of the small ones, for the growth of memory.
    :param batch: people in a call.
    :param mapped: people of the DAG run that is compared with mapped tasks.
    :param paced_calls: calls at the pace of the growth plan; 30 go in 10 seconds.
    :param contacts: of the contact sync.
    :param messages: of the large extraction.
    :param sensors: that wait in one triggerer.
    :param watched: seconds for which they are watched.
    :param events: that the receiver gets in a second.
    :param seconds: for which it gets them.
    :param files: DAG files that are parsed.
    :param repeats: of each timing whose fastest run counts.
    """

    people: int
    few: int
    batch: int
    mapped: int
    paced_calls: int
    contacts: int
    messages: int
    sensors: int
    watched: int
    events: int
    seconds: int
    files: int
    repeats: int


SIZES = {
    "small": Sizes(20_000, 2_000, 2_000, 10, 61, 5_000, 20_000, 50, 20, 20, 5, 10, 1),
    "full": Sizes(1_000_000, 10_000, 10_000, 200, 151, 100_000, 100_000, 500, 60, 500, 60, 100, 2),
}


@dataclass(frozen=True)
class Measure:
    """
    One figure beside its peer or floor of the same run.

    :param group: the benchmark.
    :param what: what was measured.
    :param value: the figure.
    :param unit: its unit.
    :param peer: what it stands beside.
    :param peer_value: the figure of that, in the same unit.
    :param most: the highest ratio of the two that is allowed; None for no limit.
    :param least: the lowest one; None for no limit.
    """

    group: str
    what: str
    value: float
    unit: str
    peer: str
    peer_value: float
    most: float | None = None
    least: float | None = None

    @property
    def ratio(self) -> float:
        """The figure by that of the peer."""
        return self.value / self.peer_value if self.peer_value else float("inf" if self.value else "nan")

    @property
    def is_allowed(self) -> bool:
        if self.most is not None and self.ratio > self.most:
            return False
        return self.least is None or self.ratio >= self.least

    @property
    def limit(self) -> str:
        """The limit in words, and whether the ratio is beyond it; empty where there is none."""
        words = "".join(
            f"{word} {limit:.3g}"
            for word, limit in (("at most", self.most), ("at least", self.least))
            if limit is not None
        )
        return words if self.is_allowed else f"NOT {words}"


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table_of(measures: Sequence[Measure]) -> str:
    """Return all measures as one table."""
    rows = [("", "what", "figure", "unit", "beside", "its figure", "ratio", "")]
    for each in measures:
        figures = number(each.value), each.unit, each.peer, number(each.peer_value), f"{each.ratio:.3g}"
        rows.append((each.group, each.what, *figures, each.limit))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = {2, 5, 6}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def record_of(measures: Sequence[Measure], size: str) -> dict[str, Any]:
    """Return what the JSON file holds of one benchmark."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "size": size,
        "sizes": asdict(SIZES[size]),
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "measures": [{**asdict(each), "ratio": each.ratio} for each in measures],
    }


def measures_in(record: dict[str, Any]) -> list[Measure]:
    """Return the measures of what the JSON file holds of one benchmark."""
    return [
        Measure(**{name: value for name, value in each.items() if name != "ratio"})
        for each in record["measures"]
    ]


def plot_of(group: str, measures: Sequence[Measure]) -> str:
    """Return the SVG of one benchmark: a pair of bars for each measure, scaled to the longer one."""
    step = 2 * (LABEL + BAR) + GAP
    height = TOP + len(measures) * step - GAP + MARGIN
    told = "; ".join(
        f"{each.what}: {number(each.value)} {each.unit}, {each.peer}: {number(each.peer_value)}"
        for each in measures
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title desc">',
        f'  <title id="title">{escape(group)}</title>',
        f'  <desc id="desc">{escape(told)}</desc>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'  <text class="heading" x="{MARGIN}" y="36">{escape(group)}</text>',
    ]
    for n, each in enumerate(measures):
        lines += bars_of(each, TOP + n * step)
    return "\n".join([*lines, "</svg>", ""])


def bars_of(measure: Measure, y: int) -> Iterator[str]:
    longest = max(measure.value, measure.peer_value) or 1.0
    room = WIDTH - 2 * MARGIN - FIGURES
    pair = (
        ("ours", measure.what, measure.value, y),
        ("peer", measure.peer, measure.peer_value, y + LABEL + BAR),
    )
    for kind, label, value, top in pair:
        length, bar = round(value / longest * room, 1), top + LABEL
        yield f'  <text x="{MARGIN}" y="{bar - 4}">{escape(label)}</text>'
        yield f'  <rect class="{kind}" x="{MARGIN}" y="{bar}" width="{length}" height="{BAR}" rx="2"/>'
        yield f'  <text x="{MARGIN + length + 8:g}" y="{bar + 12}">{number(value)} {escape(measure.unit)}</text>'


def markdown_of(measures: Sequence[Measure]) -> str:
    """Return the measures of one benchmark as a table in Markdown."""
    lines = [
        "| What | Figure | Beside | Its figure | Ratio | Limit |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for each in measures:
        figures = f"{number(each.value)} {each.unit} | {each.peer} | {number(each.peer_value)} {each.unit}"
        lines.append(f"| {each.what} | {figures} | {each.ratio:.3g} | {each.limit} |")
    return "\n".join([*lines, ""])


def sections_of(records: dict[str, Any]) -> str:
    """Return the part of the documentation about the benchmarks that were run, in MyST's Markdown."""
    lines: list[str] = []
    for group, (heading, text) in SECTIONS.items():
        if group in records:
            record = records[group]
            lines += [
                f"## {heading}\n\n{text}\n",
                f"```{{image}} bench/bench-{group}.svg\n:alt: {heading}, each figure beside its peer or floor\n```\n",
                markdown_of(measures_in(record)),
                f"*{record['date']}, size {record['size']}, Airflow {record['airflow']}, Python {record['python']}, "
                f"{record['processors']} processors, load {record['load']:g} at the end.*\n",
            ]
    return "\n".join(lines)


def write(measures: Iterable[Measure], size: str, folder: Path) -> str:
    """
    Write measures into a folder, in the place of earlier ones of the same benchmarks.

    :param measures: of one or several benchmarks, each as a whole.
    :param size: the name of the sizes.
    :param folder: gets ``bench.json``, a plot of each benchmark and the part of the page about them.
    :return: the table of all that the folder holds.
    """
    all_of_them = list(measures)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bench.json"
    records: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for group in dict.fromkeys(each.group for each in all_of_them):
        own = [each for each in all_of_them if each.group == group]
        records[group] = record_of(own, size)
        (folder / f"bench-{group}.svg").write_text(plot_of(group, own), "utf-8")
    file.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    (folder / "sections.inc").write_text(sections_of(records), "utf-8")
    return table_of([each for record in records.values() for each in measures_in(record)])
