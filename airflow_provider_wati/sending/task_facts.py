"""What Airflow says about the task of a send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """
    What Airflow says about a task.

    :param is_mapped: whether it is one of several mapped tasks, between which people may have moved.
    :param is_shared: whether other tasks and runs may send under its key, mapped or not: the key is the user's own.
    :param is_cleared: whether it may have been cleared.
    :param clears: a text that changes with each Clear: an attempt after it may find people who were elsewhere in between.
    :param is_new_member: whether other mapped tasks may have had attempts before it was made.
    :param run_began: the earliest time at which an attempt of this run can have sent something.
    """

    is_mapped: bool = False
    is_shared: bool = False
    is_cleared: bool = False
    clears: str = ""
    is_new_member: bool = False
    run_began: datetime = datetime(2000, 1, 1, tzinfo=UTC)
