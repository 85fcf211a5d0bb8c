"""The other tasks of a send: whether people may have moved between them and this one, and which of their calls count."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_wati.sending.journal import Start

if TYPE_CHECKING:
    from airflow_provider_wati.sending.journal import Entry, Journal
    from airflow_provider_wati.sending.queue import SendQueue
    from airflow_provider_wati.sending.task_facts import TaskFacts


class OtherParams(Enum):
    """What it means if another task of the send has sent a message with other parameters to a person of this one."""

    #: It is the message of the row, whose parameters have changed since.
    SAME_MESSAGE = "same message"
    #: It is another message to the same person.
    ANOTHER_MESSAGE = "another message"
    #: It may be either.
    UNDECIDED = "undecided"


@dataclass(kw_only=True)
class Siblings:
    """
    The other tasks of a send, for an attempt whose rows are read.

    :param journal: what earlier attempts have done.
    :param queue: the rows of this attempt.
    :param start: what it knows about earlier ones.
    :param task: what Airflow says about the task.
    :param content: the name of the template.
    :param channel: the channel to send from.
    :param is_sharded: whether the tasks share one table.
    :param had_other_shards: whether other tasks have had another number of shards.
    """

    journal: Journal
    queue: SendQueue
    start: Start
    task: TaskFacts
    content: str
    channel: str | None
    is_sharded: bool
    had_other_shards: bool

    @cached_property
    def calls(self) -> list[Entry]:
        """Their calls, as far as they are within reach."""
        return self.journal.siblings()

    @cached_property
    def may_have_had_people(self) -> bool:
        """Whether people of this task may have been in another one in an earlier attempt."""
        if self.task.is_shared or self.had_other_shards:
            return True
        if not self.task.is_mapped or self.start not in (Start.KNOWN, Start.LOST):
            return False
        if self.journal.rows_digest is None:
            return self.task.is_cleared
        return self.journal.rows_digest != self._rows_digest

    @property
    def may_hide_calls(self) -> bool:
        """Whether people may have moved here from a task whose journal is out of reach."""
        if self.start in (Start.LOST, Start.UNCERTAIN):
            return False
        return self.may_have_had_people and not self.journal.limits.has_siblings

    @property
    def relevant_calls(self) -> list[Entry]:
        """Their calls that may have sent this message. Another template or channel is another message."""
        if not self.may_have_had_people:
            return []
        about = self.content, self.channel
        return [entry for entry in self.calls if (entry.intent.content, entry.intent.channel) == about]

    @property
    def other_params(self) -> OtherParams:
        """What other parameters mean in the calls of the others."""
        if self.task.is_shared or self.is_sharded:
            # Under one key, and in one table, one person gets one message.
            return OtherParams.SAME_MESSAGE
        if self._has_kept_its_people:
            return OtherParams.ANOTHER_MESSAGE
        return OtherParams.UNDECIDED

    @property
    def _has_kept_its_people(self) -> bool:
        """Whether the people of this task are those of its latest attempt, with one Clear in between at most."""
        before, now = (self.journal.rows_digest or "").partition(" "), self._rows_digest.partition(" ")
        if before[0] != now[0]:
            return False
        counts = [clears.rpartition("/")[0].rpartition("/")[2] for clears in (before[2], now[2])]
        return all(map(str.isdecimal, counts)) and int(counts[1]) - int(counts[0]) <= 1

    @property
    def comparable_calls(self) -> list[Entry]:
        """Their calls that are to be like those of this task."""
        if self.task.is_shared:
            return self.calls
        if self.is_sharded and self.may_have_had_people:
            # Tasks that have the same shards, and another template, send another message.
            return [entry for entry in self.calls if entry.intent.content == self.content]
        return []

    @property
    def known_calls(self) -> frozenset[str]:
        """The ids of their calls, where campaigns of other calls are looked for."""
        if self.start not in (Start.LOST, Start.UNCERTAIN):
            return frozenset()
        return frozenset(entry.intent.id for entry in self.calls)

    def record_people(self) -> None:
        """Write down which people this task has, so that the next attempt notices if they change."""
        if self.task.is_mapped:
            self.journal.record_rows(self._rows_digest)

    @cached_property
    def _rows_digest(self) -> str:
        """What stands for the people of this task; a Clear changes it, because they may have been elsewhere then."""
        return f"{self.queue.people_digest()} {self.task.clears}"
