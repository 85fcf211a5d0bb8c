"""Whether the page has anything new to show: a version that is cheap to compare."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.clock import to_iso

if TYPE_CHECKING:
    from typing import Any

    from airflow_provider_wati.sandbox.page.read_marks import ReadMarks
    from airflow_provider_wati.sandbox.workspace import Workspace

#: The longest that a question is held: less than the second that the server takes to stop.
MAX_WAIT_SECONDS = 0.8
_LOOK_SECONDS = 0.1
#: At this age the last message of a campaign has been read, in seconds at speed 1.
_AT_REST_AFTER = 66.0


def version_of(workspace: Workspace, marks: ReadMarks) -> str:
    """Return a text that is another one whenever the page could show something else."""
    state, clock = workspace.state, workspace.clock
    moved = clock.now() if clock.frozen else round(clock.now() - time.time(), 1)
    parts = (
        marks.current_epoch(),
        workspace.revision,
        len(state.messages),
        len(state.contacts),
        len(state.broadcasts),
        *_deliveries(workspace),
        clock.frozen,
        moved,
        workspace.settings.speed,
        int(time.time()) if _statuses_change(workspace) else 0,
    )
    return "-".join(map(str, parts))


def _deliveries(workspace: Workspace) -> tuple[int, ...]:
    """Return numbers that change whenever a webhook is sent for the first time."""
    latest = next(workspace.deliveries.latest(), None)
    return workspace.deliveries.waiting, latest.number if latest else 0, latest.attempts if latest else 0


def _statuses_change(workspace: Workspace) -> bool:
    """Return whether a message is on its way or may still be read."""
    state, now = workspace.state, workspace.clock.now()
    # The age at rest a second longer in real time, or a fast sandbox would be seen before it is at rest.
    longest = _AT_REST_AFTER / state.speed + 1.0 if state.speed else 0.0
    if len(state.messages) and 0 <= now - state.messages.created[-1] <= longest:
        return True
    return any(0 <= now - each.starts_at <= longest for each in reversed(state.broadcasts))


async def wait_for_change(workspace: Workspace, marks: ReadMarks, known: str) -> None:
    """
    Return once the version is another one than ``known``, or after a while.

    A scheduled campaign starts here too: without a call nothing else would start it.
    """
    until = time.monotonic() + MAX_WAIT_SECONDS
    # A server that stops cancels what it still holds; an open page is no error to report then.
    with contextlib.suppress(asyncio.CancelledError):
        while version_of(workspace, marks) == known and time.monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            workspace.advance()


def changes(workspace: Workspace, marks: ReadMarks) -> dict[str, Any]:
    """Return the version with what every view shows: the clock and how much there is."""
    state, clock = workspace.state, workspace.clock
    return {
        "version": version_of(workspace, marks),
        "epoch": marks.current_epoch(),
        "clock": {
            "now": clock.now(),
            "iso": to_iso(clock.now()),
            "frozen": clock.frozen,
            "speed": workspace.settings.speed,
        },
        "counts": {
            "conversations": state.conversation_count(),
            "campaigns": len(state.broadcasts),
            "contacts": len(state.contacts),
            "messages": len(state.messages),
            "faults": len(list(workspace.faults)),
            "requests": len(workspace.requests),
            "webhooks": _deliveries(workspace)[1],
        },
    }
