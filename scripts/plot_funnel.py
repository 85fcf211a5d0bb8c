"""
Draw the funnel of the orders in a warehouse as an SVG: ``make demo``, then ``python scripts/plot_funnel.py``.

The same rows give the same file. ``docs/funnel.svg`` is drawn from the database that ``make demo`` leaves behind.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("sent", "delivered", "read", "replied", "failed")
WIDTH, MARGIN, LABELS = 640, 24, 96
BAR, GAP, TOP = 30, 12, 68
#: Room for the figure behind the longest bar.
FIGURES = 110
# The drawing has a background of its own, so that it can be read on any page; both have a contrast of at least 4.5 to 1.
STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de; }
    .bar { fill: #0b6e4f; }
    .failed { fill: #b42318; }
    text { fill: #1f2328; font: 15px system-ui, sans-serif; }
    .heading { font-size: 17px; font-weight: 600; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #161b22; stroke: #3d444d; }
      .bar { fill: #3fb68b; }
      .failed { fill: #ff7b72; }
      text { fill: #e6edf3; }
    }
"""


@dataclass(frozen=True)
class Bar:
    """
    One stage of the funnel.

    :param stage: its name.
    :param count: how many orders have reached it.
    """

    stage: str
    count: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, default=ROOT / ".demo" / "shop.db", help="an SQLite file")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "funnel.svg")
    arguments = parser.parse_args()
    arguments.output.write_text(draw(read_funnel(arguments.database)), encoding="utf-8")


def read_funnel(database: Path) -> list[Bar]:
    """Count the orders of the table ``order_funnel``, and those at each stage."""
    counts = ", ".join(f"COALESCE(SUM(is_{stage}), 0)" for stage in STAGES)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as warehouse:
        [found] = warehouse.execute(f"SELECT COUNT(*), {counts} FROM order_funnel")
    return [Bar(stage, count) for stage, count in zip(("orders", *STAGES), found, strict=True)]


def draw(bars: Sequence[Bar]) -> str:
    """Return the SVG of a funnel; the first bar is the whole."""
    total = bars[0].count
    told = ", ".join(f"{bar.count} {bar.stage}" for bar in bars[1:])
    height = TOP + len(bars) * (BAR + GAP) - GAP + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title desc">',
        '  <title id="title">How far the messages about the orders have come</title>',
        f'  <desc id="desc">Of {total} orders: {escape(told)}.</desc>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'  <text class="heading" x="{MARGIN}" y="40">How far the messages about {total} orders have come</text>',
    ]
    for n, bar in enumerate(bars):
        lines += draw_bar(bar, total, TOP + n * (BAR + GAP))
    return "\n".join([*lines, "</svg>", ""])


def draw_bar(bar: Bar, total: int, y: int) -> Iterator[str]:
    share = bar.count / total if total else 0.0
    left = MARGIN + LABELS
    length = round(share * (WIDTH - left - FIGURES), 1)
    middle = y + BAR // 2 + 5
    kind = "bar failed" if bar.stage == "failed" else "bar"
    yield f'  <text x="{MARGIN}" y="{middle}">{escape(bar.stage)}</text>'
    yield f'  <rect class="{kind}" x="{left}" y="{y}" width="{length}" height="{BAR}" rx="3"/>'
    yield f'  <text x="{left + length + 10:g}" y="{middle}">{bar.count} ({share:.0%})</text>'


if __name__ == "__main__":
    main()
