"""Records of a replay: crashes, call sites, and what a history left behind. They go from process to process."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.testing.messages import Message


class Crash(Enum):
    """How an attempt ends at a call; the value says it in words."""

    #: The process is killed before the request has any effect.
    BEFORE = "killed before WATI acted"
    #: The process is killed after WATI has acted; no byte of the answer arrives.
    UNANSWERED = "killed after WATI acted, before the answer arrived"
    #: The process is killed at the first byte of the answer, before it can do anything with it.
    ANSWERED = "killed as the answer arrived"
    #: The process is killed when the task has returned, before Airflow knows; after the last call of a task only, and
    #: not after one of a callback or a trigger.
    RETURNED = "killed after the task returned, before Airflow knew"
    #: The connection breaks after WATI has acted, and the process lives: it sees an error.
    DROPPED = "connection lost after WATI acted; the process lived on"


@dataclass(frozen=True, slots=True)
class CallSite:
    """
    A call of WATI's API in a history.

    :param number: which call of the history it is, from 1.
    :param task: the task that made it and its attempt, such as ``notify, attempt 1``.
    :param site: the line of code that made it, outside of HTTP libraries and of the provider's client.
    :param is_in_task: whether the task had yet to return, which it has when a callback calls.
    """

    number: int
    method: str
    path: str
    task: str
    site: str
    is_in_task: bool = True

    @property
    def is_read(self) -> bool:
        """Whether a call changes nothing."""
        return self.method in ("GET", "HEAD")

    @property
    def task_id(self) -> str:
        """The id of the task, without map index and attempt."""
        return self.task.partition(",")[0].partition("[")[0]

    def __str__(self) -> str:
        return f"call {self.number}, {self.method} {self.path}, by {self.task}\n  at {self.site or 'an unknown line'}"


@dataclass(frozen=True, slots=True)
class ContactState:
    """A contact as it is in the end."""

    phone: str
    name: str
    custom_params: tuple[tuple[str, str], ...]
    teams: tuple[str, ...]
    allow_broadcast: bool
    #: Channel, status and assignee of each conversation.
    conversations: tuple[tuple[str, str, str | None], ...]


@dataclass(slots=True)
class Outcome:
    """
    What one run of the DAG, with its retries, left behind.

    :param calls: in order, those of later attempts too.
    :param steps: what happened to it, in words: kills, retries and Clears.
    :param states: the final state of each task.
    :param errors: what failed tasks said, by task.
    :param messages: that were sent or are scheduled; cancelled ones are left out.
    :param senders: the task that sent each of the messages, with its map index; empty for what was there before.
    :param struck: the call at which it crashed; None if there was none.
    :param was_killed: whether a process was killed.
    :param broken: why it could not be run; None if it could.
    """

    calls: list[CallSite] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    contacts: list[ContactState] = field(default_factory=list)
    struck: CallSite | None = None
    was_killed: bool = False
    broken: str | None = None

    @property
    def failed(self) -> list[str]:
        """The tasks that have not succeeded in the end, but for those that were skipped."""
        return sorted(name for name, state in self.states.items() if state not in ("success", "skipped"))


@dataclass(frozen=True, slots=True)
class Job:
    """
    What is replayed.

    :param dag: the DAG.
    :param scheduled_dag: the same as the scheduler has it.
    :param database: a file with Airflow's database, in which the run is.
    :param run_id: the run.
    :param max_clears: how often failed tasks are cleared.
    """

    dag: Any
    scheduled_dag: Any
    database: str
    run_id: str
    max_clears: int
