"""The earlier calls about one message: the accepted ones, and the ambiguous ones that may have sent it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal import Entry, Start
from airflow_provider_wati.sending.journal_codec import Verdict

if TYPE_CHECKING:
    from airflow_provider_wati.sending.journal import Journal
    from airflow_provider_wati.sending.reconciler import Policy
    from airflow_provider_wati.sending.task_facts import TaskFacts

Detail = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousCall:
    """
    A call that may have sent the message.

    :param since: the earliest time at which it may have left.
    :param deadline: the end of its grace; see :meth:`.Policy.deadline`.
    :param until: the latest time of a message that it may have made.
    :param content: the fingerprint of what it sent.
    :param resend: whether the call was itself a resend.
    :param entry: its entry in this journal; None if it has none.
    :param is_unrecorded: whether no journal has it. There may then be several such calls.
    """

    since: datetime
    deadline: datetime
    until: datetime
    content: str
    resend: bool = False
    entry: Entry | None = None
    is_unrecorded: bool = False


@dataclass(kw_only=True)
class EarlierCalls:
    """
    The calls of earlier attempts for one message to one person.

    :param journal: what earlier attempts have done.
    :param start: what this attempt knows about them.
    :param began: when this attempt began.
    :param person: the hash of the person.
    :param content: a fingerprint of what is sent.
    :param policy: the grace, and what follows it.
    :param task: what Airflow says about the task.
    :param is_shown: whether WATI's API shows the effect of such a call.
    """

    journal: Journal
    start: Start
    began: datetime
    person: int
    content: str
    policy: Policy
    task: TaskFacts
    is_shown: bool = True

    def accepted(self) -> Detail | None:
        """
        Return the result of an earlier attempt, if one was answered.

        :raises WatiConfigurationError: when it had other content.
        """
        accepted = self._accepted_in(self._own)
        if not any(entry.intent.content == self.content for entry in accepted):
            accepted += self._accepted_in(self._relevant_others)
        for entry in accepted:
            if entry.intent.content == self.content:
                return dict(entry.detail or {})
        if accepted:
            raise other_content_error()
        return None

    def ambiguous(self) -> Iterator[AmbiguousCall]:
        """Yield the calls that may have sent the message. The refusal of a later call removes none of them."""
        if self._is_out_of_reach:
            deadline = self._unrecorded_until() + self.policy.grace
            yield AmbiguousCall(
                since=self.task.run_began,
                deadline=deadline,
                until=deadline + self.policy.grace,
                content=self.content,
                is_unrecorded=True,
            )
        for entry in (*self._own, *self._relevant_others):
            verdict = self._verdict_of(entry)
            if verdict is Verdict.OPEN:
                yield self._open_call(entry)
            elif verdict is Verdict.CLOSED_UNRESOLVED:
                # An earlier attempt waited for its grace. WATI may still show it by now.
                yield replace(self._open_call(entry), deadline=entry.intent.at, resend=False, entry=None)

    @cached_property
    def known_ids(self) -> frozenset[str]:
        """Ids of messages that other calls account for: they failed, or are those of other tasks of the send."""
        # A message with this content that another task found in WATI may be the one of this task.
        others = (
            entry
            for entry in self._others
            if entry.intent.content != self.content
            or not (entry.is_reconciled or entry.intent.found_as is not None)
        )
        details = (entry.detail or {} for entry in (*self._own, *others))
        return frozenset(str(detail["id"]) for detail in details if detail.get("id"))

    def position_in(self, entry: Entry) -> int:
        """Return where the person is in a call: a bulk send under the same key has many people in one."""
        return entry.intent.people.index(self.person)

    @cached_property
    def _own(self) -> list[Entry]:
        """The calls of this task about the person."""
        return [entry for entry in self.journal.entries if self.person in entry.intent.people]

    @cached_property
    def _others(self) -> list[Entry]:
        """The calls of the other tasks of the send about the person, as far as they are within reach."""
        if not (self.task.is_mapped or self.task.is_shared):
            return []
        return [entry for entry in self.journal.siblings() if self.person in entry.intent.people]

    @cached_property
    def _has_moved(self) -> bool:
        """Whether another task of the send may have been about the person in an earlier attempt."""
        if self.task.is_shared or not self.task.is_mapped:
            # Under one key, one person gets one content. A task that is not mapped has a default key to itself in its run.
            return bool(self._others)
        if self.start is Start.NEW:
            return False
        moved = any(opening.person not in (None, self.person) for opening in self.journal.openings)
        if moved or self.start is Start.LOST:
            return True
        if self.journal.limits.has_siblings:
            return self.journal.was_elsewhere(self.person)
        # Where the person was while this task was not run, only WATI shows.
        return self.task.is_cleared and self.is_shown

    @cached_property
    def _has_changed(self) -> bool:
        """Whether this mapped task had another message to the person before, which may have changed places too."""
        if not self.task.is_mapped:
            return False
        if not self._own:
            # The attempt before the Clear left no call that says what it had for the person. Another task's call can be found
            # in its journal, or in WATI.
            can_be_found = self.is_shown or self.journal.limits.has_siblings
            return can_be_found and self.task.is_cleared and self.start is not Start.NEW
        # Also without a Clear. A text that changes with each attempt then costs a wait, which is better than a second message.
        return any(entry.intent.content != self.content for entry in self._own)

    @property
    def _is_cleared_within_reach(self) -> bool:
        """Whether the person may have been elsewhere between two Clears, in attempts that ended before they left a record."""
        is_cleared = self.task.is_mapped and self.task.is_cleared and self.start is not Start.NEW
        return is_cleared and self.journal.limits.has_siblings

    @cached_property
    def _relevant_others(self) -> list[Entry]:
        """
        The calls of other tasks of the send that may have sent what is to be sent.

        A person may be in several mapped tasks, with a message each. Where the person has moved and none of the calls
        sent this content, it may have changed since, so that each of them may be the one.
        """
        if not (self._has_moved or self._has_changed or self._is_cleared_within_reach or self.task.is_shared):
            return []
        same = [entry for entry in self._others if entry.intent.content == self.content]
        has_own = any(entry.intent.content == self.content for entry in self._own)
        return self._others if self._has_moved and not (same or has_own) else same

    def _accepted_in(self, entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if self._verdict_of(entry) is Verdict.ACCEPTED]

    def _verdict_of(self, entry: Entry) -> Verdict:
        return Verdict(entry.verdicts[self.position_in(entry)])

    @cached_property
    def _is_out_of_reach(self) -> bool:
        """Whether a call may have sent it of which no journal within reach knows."""
        if self.start is not Start.LOST:
            return (self._has_moved or self._has_changed) and not self.journal.limits.has_siblings
        if self.task.is_new_member and self.journal.siblings_are_intact():
            # Their journals have what was sent to the person before.
            return False
        return True

    def _unrecorded_until(self) -> datetime:
        """Return the latest time at which a call without a record can have been made."""
        until = self.began
        if self._has_changed:
            # Another mapped task may have had the message until now.
            return until
        for opening in reversed(self.journal.openings):
            if self.task.is_mapped and opening.person != self.person:
                break  # another mapped task may have had the person then
            until = opening.at
        return until

    def _open_call(self, entry: Entry) -> AmbiguousCall:
        at = entry.intent.at
        is_own = any(entry is each for each in self._own)
        # The attempts of this task say nothing about those of another one.
        next_attempt = self.journal.next_opening(at, self.began) if is_own else self.began
        deadline = self.policy.deadline(
            entry.ended_at or self.policy.latest_end(at, next_attempt), None, self.began
        )
        return AmbiguousCall(
            since=at,
            deadline=deadline,
            # WATI may make the message after the grace, but not hours later.
            until=deadline + self.policy.grace,
            content=entry.intent.content,
            resend=entry.intent.resend,
            entry=entry if is_own else None,
        )


def other_content_error() -> WatiConfigurationError:
    """Return the error about a send key under which the person has other content already."""
    return WatiConfigurationError(
        "Under this send_key, the person already has a message with other content, so this one is not sent. Give another "
        "send_key to send it too; the default one is made of DAG, run, task and map index."
    )
