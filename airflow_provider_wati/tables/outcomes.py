"""The outcome of each row, the summary of all, and the verdict: whether a task may be green."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from airflow_provider_wati.exceptions import (
    WatiError,
    WatiIncompleteError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers, mask_target

#: Problems in a summary; the outcomes file has all of them.
SHOWN_PROBLEMS = 20
#: Campaigns in a summary.
SHOWN_CAMPAIGNS = 40
_REASON_LENGTH = 240
# Shorter forms for a summary that is too large, tried in order: campaigns, problems, characters of a reason.
_SHORTER = ((50, 20, 100), (25, 20, 60), (10, 20, 40), (5, 10, 40), (1, 5, 40), (0, 0, 0))
# Bytes of JSON. An XCom is a row in Airflow's database, and the UI shows it.
_SUMMARY_SIZE = 15_500


class SendStatus(StrEnum):
    """The outcome of a row of a template send."""

    #: WATI accepted the message, in this attempt or an earlier one. Whether it is delivered, only the campaign shows.
    ACCEPTED = "accepted"
    #: WATI refused it, or its answer does not list it.
    REJECTED = "rejected"
    #: The row has an error, so it was not sent.
    INVALID = "invalid"
    #: Left out on purpose: a duplicate, suppressed, or the person opted out.
    SKIPPED = "skipped"
    #: It was sent, and the outcome of the call is not known.
    UNKNOWN = "unknown"
    #: Not attempted: the send stopped before it, or was a dry run.
    UNSENT = "unsent"


class SyncStatus(StrEnum):
    """The outcome of a row of a contact sync."""

    #: A new contact in WATI.
    CREATED = "created"
    #: Attributes of a contact were written.
    UPDATED = "updated"
    #: WATI has these values already; no call was made.
    UNCHANGED = "unchanged"
    #: The person is no longer in the rows, and the mapped attributes were emptied.
    CLEARED = "cleared"
    #: The row has an error, so it was not written.
    INVALID = "invalid"
    #: WATI refused it.
    REJECTED = "rejected"
    #: Left out on purpose, by the mode.
    SKIPPED = "skipped"
    #: It was written, and the outcome of the call is not known; the next run writes it again.
    UNKNOWN = "unknown"
    #: Not attempted: the sync stopped before it, or was a dry run.
    UNSENT = "unsent"


#: The reason of a row that a dry run would send or write.
DRY_RUN = "dry run"
#: Statuses of rows that failed; their ``reason`` says why.
PROBLEMS = ("rejected", "invalid", "unknown", "unsent")
_DONE = ("accepted", "created", "updated", "unchanged", "cleared")

SEND_COLUMNS = (
    "row",
    "key",
    "target",
    "status",
    "reason",
    "local_message_id",
    "campaign_id",
    "campaign_name",
)
SYNC_COLUMNS = ("row", "target", "status", "reason")
#: Columns of the recipients of a campaign.
RECIPIENT_COLUMNS = (
    "contact_phone",
    "contact_name",
    "contact_id",
    "bsuid",
    "status",
    "failed_code",
    "local_message_id",
    "message_id",
    "created",
)


def problem(row: int | None, target: str | None, status: str, reason: str | None) -> dict[str, Any]:
    """Return a failed row as a summary shows it: phone numbers masked, the reason cut at 240 characters."""
    return {
        "row": row,
        "target": mask_target(target or ""),
        "status": status,
        "reason": mask_numbers(reason or "")[:_REASON_LENGTH],
    }


def verdict(counts: Mapping[str, int], failure_threshold: float = 0.0) -> str | None:
    """
    Return why a task has to fail; None when it may be green.

    The share of failed rows is ``(rejected + invalid + unknown + unsent) / (total - skipped)``.

    :param counts: ``total``, and the number of rows in each status.
    :param failure_threshold: the share of failed rows, 0 to 1, up to which the task is green.
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
        allowed = f"failure_threshold {failure_threshold:g} allows {most_of(asked, failure_threshold):,}"
        return f"{failed:,} of {asked:,} rows failed ({kinds}); {allowed}."
    return None


def most_of(total: int, share: float) -> int:
    """Return the largest count that is at most a share, 0 to 1, of a total: 29 for 0.29 of 100."""
    count = int(share * total)
    # 0.29 * 100 is 28.999999999999996.
    return count + 1 if count < total and (count + 1) / total <= share else count


def failure_of(summary: Mapping[str, Any], failure_threshold: float) -> WatiError | None:
    """
    Return the error that a task has to raise; None when it may be green.

    :param summary: the counts and ``problems``.
    :param failure_threshold: as in :func:`verdict`.
    """
    counts = dict(summary)
    if "estimate" in summary or summary.get("dry_run"):
        counts["accepted"], counts["unsent"] = counts.get("accepted", 0) + counts["unsent"], 0
    why = verdict(counts, failure_threshold)
    if why is None:
        return None
    failed: type[WatiError] = WatiValidationError
    if counts.get("unknown"):
        failed = WatiUnknownOutcomeError
    elif counts.get("rejected"):
        failed = WatiRejectedError
    elif counts.get("unsent"):
        failed = WatiIncompleteError
    return failed(f"{why} {in_words(summary['problems'])}")


def fitted(summary: dict[str, Any]) -> dict[str, Any]:
    """
    Return a summary that is under 16 kB, which long names and reasons could exceed.

    The counts stay. Reasons are cut; campaigns that are left out are counted in ``more_campaigns``, and problems
    that are left out are in the outcomes.

    :param summary: with ``problems``, and optionally ``campaigns`` and ``more_campaigns``.
    """
    shown = summary
    for campaigns, problems, length in _SHORTER:
        if len(json.dumps(shown)) <= _SUMMARY_SIZE:
            break
        shown = {
            **summary,
            "problems": [{**p, "reason": p["reason"][:length]} for p in summary["problems"][:problems]],
        }
        if "campaigns" in summary:
            left_out = len(summary["campaigns"][campaigns:])
            shown["campaigns"] = summary["campaigns"][:campaigns]
            shown["more_campaigns"] = summary["more_campaigns"] + left_out
    return shown


def in_words(problems: Iterable[Mapping[str, Any]]) -> str:
    """Return the first five problems of a summary as text, for an error."""
    return "; ".join(f"row {p['row']} ({p['target']}): {p['reason']}" for p in list(problems)[:5])
