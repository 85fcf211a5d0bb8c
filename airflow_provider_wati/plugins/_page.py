"""The page of the latest deliveries: HTML without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._store import Delivery

#: Nothing is loaded, and nothing but Airflow's own UI may frame the page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE = """
:root { color-scheme: light dark }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem }
table { border-collapse: collapse }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid #8884 }
td:last-child { text-align: right }
""".strip()
_COLUMNS = ("Received (UTC)", "Connection", "Event", "Kind", "State", "Duplicates")


def render(deliveries: Sequence[Delivery], retention_days: int) -> str:
    """
    Return the page.

    :param deliveries: the latest ones, newest first.
    :param retention_days: how long an event is kept.
    """
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "\n".join(_row(delivery) for delivery in deliveries)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>WATI deliveries</title>'
        f"<style>{_STYLE}</style></head><body><h1>WATI deliveries</h1>"
        f"<p>The latest events of WATI's webhooks. Events are kept for {retention_days} days. <i>waiting</i>: the DAGs "
        "of the asset are gone, and may be back within 10 minutes. <i>unused</i>: no DAG used the asset in that time. <i>other</i>: neither a message of a customer nor a status.</p>"
        f"{table if deliveries else '<p>No event was received yet.</p>'}</body></html>\n"
    )


def _row(delivery: Delivery) -> str:
    received = datetime.fromtimestamp(delivery.received / 1000, tz=UTC)
    cells = (
        f"{received:%Y-%m-%d %H:%M:%S}",
        delivery.conn_id,
        mask_numbers(delivery.event_type) or "(none)",
        delivery.kind,
        delivery.state,
        str(delivery.duplicates),
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
