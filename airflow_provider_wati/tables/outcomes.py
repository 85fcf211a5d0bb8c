"""What became of each row: the statuses, the summary of them, and the verdict on the whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from airflow_provider_wati.exceptions import (
    WatiError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers, mask_target

#: How many problems a summary shows; the outcomes file has them all.
SHOWN_PROBLEMS = 20
#: How many campaigns a summary shows.
SHOWN_BROADCASTS = 50
_REASON_LENGTH = 240
# What is shown where that is too much: campaigns, problems, and characters of a reason.
_SHORTER = ((50, 20, 100), (25, 20, 60), (10, 20, 40), (5, 10, 40), (1, 5, 40), (0, 0, 0))
# Bytes of JSON; an XCom is a row of Airflow's database, and the interface shows it.
_SUMMARY_SIZE = 15_500


class SendStatus(StrEnum):
    """How a row of a template send ends."""

    #: WATI took the message, in this try or in an earlier one; which is not yet to say that it arrived.
    ACCEPTED = "accepted"
    #: WATI refused it, or left it out of its answer.
    REJECTED = "rejected"
    #: The row cannot be right, so it was not sent.
    INVALID = "invalid"
    #: Not sent on purpose: a duplicate, suppressed, or the person opted out.
    SKIPPED = "skipped"
    #: It was sent and nobody can tell whether it took effect.
    UNKNOWN = "unknown"
    #: Not attempted, because the send stopped before it, or was a dry run.
    UNSENT = "unsent"


class SyncStatus(StrEnum):
    """How a row of a contact sync ends."""

    #: WATI has a new contact.
    CREATED = "created"
    #: Attributes of a contact were written.
    UPDATED = "updated"
    #: WATI has it all already; no call was made for it.
    UNCHANGED = "unchanged"
    #: The person is gone from the rows, and the mapped attributes were emptied.
    CLEARED = "cleared"
    #: The row cannot be right, so it was not written.
    INVALID = "invalid"
    #: WATI refused it.
    REJECTED = "rejected"
    #: Not written on purpose, as the mode says.
    SKIPPED = "skipped"
    #: It was written and nobody can tell whether it took effect; the next run writes it again.
    UNKNOWN = "unknown"
    #: Not attempted, because the sync stopped before it, or was a dry run.
    UNSENT = "unsent"


#: The reason of what a dry run would do.
DRY_RUN = "dry run"
#: Where ``reason`` says what is wrong.
PROBLEMS = ("rejected", "invalid", "unknown", "unsent")
_DONE = ("accepted", "created", "updated", "unchanged", "cleared")

SEND_COLUMNS = (
    "row",
    "key",
    "target",
    "status",
    "reason",
    "local_message_id",
    "broadcast_id",
    "broadcast_name",
)
SYNC_COLUMNS = ("row", "target", "status", "reason")


def problem(row: int | None, target: str | None, status: str, reason: str | None) -> dict[str, Any]:
    """Describe a row that did not end well, in few words and without its number."""
    return {
        "row": row,
        "target": mask_target(target or ""),
        "status": status,
        "reason": mask_numbers(reason or "")[:_REASON_LENGTH],
    }


def verdict(counts: Mapping[str, int], failure_threshold: float = 0.0) -> str | None:
    """
    Tell why a task has to fail; None when it has not.

    The share of rows that failed is ``(rejected + invalid + unknown + unsent) / (total - skipped)``.

    :param counts: ``total``, and how many rows ended in each status.
    :param failure_threshold: the share of failed rows, 0 to 1, that is still taken as success.
    """
    asked = counts["total"] - counts.get("skipped", 0)
    failed = sum(counts.get(status, 0) for status in PROBLEMS)
    done = sum(counts.get(status, 0) for status in _DONE)
    if asked == 0 or failed == 0:
        return None
    kinds = ", ".join(f"{counts[status]:,} {status}" for status in PROBLEMS if counts.get(status))
    if done == 0:
        return f"Nothing was done: of {asked:,} rows {kinds}."
    if failed / asked > failure_threshold:
        allowed = f"failure_threshold {failure_threshold:g} allows {int(failure_threshold * asked):,}"
        return f"{failed:,} of {asked:,} rows failed ({kinds}); {allowed}."
    return None


def failure_of(summary: Mapping[str, Any], failure_threshold: float) -> WatiError | None:
    """
    Return the error that a task has to end with; None when it may be green.

    :param summary: the counts, and the first ``problems``.
    :param failure_threshold: as for :func:`verdict`.
    """
    counts = dict(summary)
    if summary.get("dry_run"):
        counts["accepted"], counts["unsent"] = counts.get("accepted", 0) + counts["unsent"], 0
    why = verdict(counts, failure_threshold)
    if why is None:
        return None
    failed: type[WatiError] = WatiValidationError
    if counts.get("unknown"):
        failed = WatiUnknownOutcomeError
    elif counts.get("rejected"):
        failed = WatiRejectedError
    return failed(f"{why} {in_words(summary['problems'])}")


def fitted(summary: dict[str, Any]) -> dict[str, Any]:
    """
    Shorten what a summary shows until it is under 16 kB, which long names and reasons could exceed.

    The counts stay; reasons are cut, and what campaigns or problems are left out is counted or in the outcomes.

    :param summary: with ``problems``, and maybe ``broadcasts`` and ``more_broadcasts``.
    """
    shown = summary
    for campaigns, problems, length in _SHORTER:
        if len(json.dumps(shown)) <= _SUMMARY_SIZE:
            break
        shown = {
            **summary,
            "problems": [{**p, "reason": p["reason"][:length]} for p in summary["problems"][:problems]],
        }
        if "broadcasts" in summary:
            left_out = len(summary["broadcasts"][campaigns:])
            shown["broadcasts"] = summary["broadcasts"][:campaigns]
            shown["more_broadcasts"] = summary["more_broadcasts"] + left_out
    return shown


def in_words(problems: Iterable[Mapping[str, Any]]) -> str:
    """Write the first few problems of a summary into an error."""
    return "; ".join(f"row {p['row']} ({p['target']}): {p['reason']}" for p in list(problems)[:5])
