"""The calls that a reconciliation is about, by the numbers under which the scratch database has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.sending.journal import Entry, Journal
    from airflow_provider_wati.sending.reconciler import Policy

#: Stands for the calls of attempts whose journal is gone.
LOST_CALLS = -1
#: Stands for the calls that other tasks or runs may have made under the same key.
OTHERS_CALLS = -2
#: Stands for calls without a record, for people who were not listed within the grace and were not sent to since.
ABSENT_CALLS = -3
#: The numbers of calls that no journal has.
UNRECORDED = (LOST_CALLS, OTHERS_CALLS, ABSENT_CALLS)
#: The calls of other tasks count down from here; those of the task's own journal count up from 0.
_FIRST_SIBLING = -10


class CallKind(Enum):
    """What a number stands for."""

    #: A call in the journal of the task.
    OWN = "own"
    #: A call in the journal of another task of the send.
    SIBLING = "sibling"
    #: See :data:`LOST_CALLS`.
    LOST = "lost"
    #: See :data:`OTHERS_CALLS`.
    OTHERS = "others"
    #: See :data:`ABSENT_CALLS`.
    ABSENT = "absent"

    @property
    def is_recorded(self) -> bool:
        """Whether a journal has the call."""
        return self in (CallKind.OWN, CallKind.SIBLING)


def kind_of(call: int) -> CallKind:
    """Return what a number stands for."""
    if call >= 0:
        return CallKind.OWN
    if call <= _FIRST_SIBLING:
        return CallKind.SIBLING
    return {LOST_CALLS: CallKind.LOST, OTHERS_CALLS: CallKind.OTHERS, ABSENT_CALLS: CallKind.ABSENT}[call]


@dataclass(slots=True, kw_only=True)
class NumberedCalls:
    """
    The calls of a task and of its siblings, and the numbers that stand for calls without a record.

    :param journal: the journal of the task.
    :param siblings: calls of other tasks that may have sent the same messages.
    :param others_may_hide: whether people have moved here from a task whose journal is out of reach: WATI gets a grace
        to show what it sent, and a send after that counts as the second one.
    :param policy: the grace.
    :param started: when the attempt began.
    """

    journal: Journal
    siblings: Sequence[Entry]
    others_may_hide: bool
    policy: Policy
    started: datetime

    def recorded(self) -> dict[int, Entry]:
        """Return the calls that a journal has, by number."""
        own = dict(enumerate(self.journal.entries))
        return own | {_FIRST_SIBLING - n: entry for n, entry in enumerate(self.siblings)}

    def entry(self, call: int) -> Entry | None:
        """Return the entry of a call; None if no journal has it."""
        kind = kind_of(call)
        if kind is CallKind.OWN:
            return self.journal.entries[call]
        return self.siblings[_FIRST_SIBLING - call] if kind is CallKind.SIBLING else None

    def may_have_sent(self, call: int) -> bool:
        """Return whether there is a sign that the call was made. That others may use the key is none."""
        return kind_of(call) is not CallKind.OTHERS or self.others_may_hide

    def deadline(self, call: int, now: datetime) -> datetime:
        """Return until when WATI may take to show a call; see :meth:`.Policy.deadline`."""
        entry = self.entry(call)
        if entry is not None:
            return self.policy.deadline(self.end_of(call), entry.intent.due, now)
        may_hide = kind_of(call) is CallKind.LOST or self.others_may_hide
        return self.started + self.policy.grace if may_hide else self.started

    def watched_until(self, call: int, now: datetime) -> datetime | None:
        """Return until when a recorded call is watched: a schedule like a call at once, because it may be due in days."""
        return None if self.entry(call) is None else self.policy.deadline(self.end_of(call), None, now)

    def end_of(self, call: int) -> datetime:
        """Return when a recorded call was over, at the latest; another worker's clock may have been ahead of ours."""
        entry = self.entry(call)
        assert entry is not None  # noqa: S101 # only recorded calls have an end
        at, ended_at = entry.intent.at, entry.ended_at
        if entry.intent.id.startswith(f"{self.journal.session}-"):
            return ended_at or self.policy.latest_end(at, at)
        if ended_at is not None:
            return min(ended_at, self.started)
        # The attempts of this task say nothing about those of another one.
        is_own = kind_of(call) is CallKind.OWN
        next_attempt = self.journal.next_opening(at, self.started) if is_own else self.started
        return self.policy.latest_end(min(at, self.started), min(next_attempt, self.started))
