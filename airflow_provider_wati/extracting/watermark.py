"""How far WATI has been read: the watermark, its overlap, and where the rest of a list is older."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.listening.values import time_of, written_time

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

#: The name of the watermark in a state: the start of the last run that stored everything.
WATERMARK = "watermark"
#: What is younger than the watermark less this is read again: WATI may list a message late, and statuses change.
OVERLAP = timedelta(hours=1)


def watermark_in(state: Mapping[str, str]) -> datetime | None:
    """Return the watermark of a state; None if there is none, or what is there is not a time."""
    written = time_of(state.get(WATERMARK))
    return datetime.fromisoformat(written) if written else None


def new_watermark(began: datetime, client: WatiClient) -> str:
    """
    Return the watermark of a run: when it began by the clock of the worker or by WATI's, whichever is behind.

    What WATI receives later belongs to the next run. The later one of the two may be wrong, and would hide messages; the
    earlier one only reads some of them again.

    :param began: when the run began by the clock of the worker.
    :param client: it knows how far WATI's clock is from ours.
    """
    behind = min(client.server_clock_offset or timedelta(0), timedelta(0))
    return written_time(began + behind)
