"""
The statuses of messages as they come, for webhooks only: the API works a status out when somebody asks.

A campaign is one course. Its messages share a hundred fates, so its steps are a few hundred, each for all messages of
one fate; a step that nobody is subscribed to costs nothing per message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wati.sandbox.model.records import Channel
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.model.status import Timeline

#: Statuses that webhooks tell.
TOLD = ("sent", "delivered", "read", "failed")


@dataclass(frozen=True, slots=True)
class Step:
    """All messages of one fate reach a status at this age."""

    age: float
    fate: int
    status: str


@dataclass(slots=True, eq=False)
class Course:
    """
    Messages that were sent together.

    :param start: when they were sent.
    :param first: number of the first one.
    :param is_template: whether they are template messages.
    :param replied: numbers of messages whose statuses are told no more; shared with the campaign.
    """

    start: float
    channel: Channel
    first: int
    count: int
    is_template: bool
    replied: set[int] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    done: int = 0

    @property
    def next_step(self) -> Step:
        return self.steps[self.done]


class Courses:
    """
    Every course that is not finished.

    :param state: the workspace.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._agenda: Agenda[Course] = Agenda(state.speed)

    def __len__(self) -> int:
        return len(self._agenda)

    def begin(self, course: Course) -> None:
        course.steps = self._steps_of(course)
        self._plan(course)

    def next_due(self) -> float:
        return self._agenda.next_due()

    def take_due(self, now: float) -> tuple[Course, Step, float] | None:
        """Take the next step that has come, with the moment it came; None when there is none."""
        popped = self._agenda.pop_due(now)
        if popped is None:
            return None
        moment, course = popped
        step = course.next_step
        course.done += 1
        self._plan(course)
        return course, step, moment

    def messages_of(self, course: Course, step: Step) -> Iterator[int]:
        """Yield the messages that a step is about."""
        fates = self._state.messages.fate
        end = course.first + course.count
        number = fates.find(step.fate, course.first, end)
        while number >= 0:
            if number not in course.replied:
                yield number
            number = fates.find(step.fate, number + 1, end)

    def change(self, speed: float) -> None:
        """Follow another speed and another timeline; what was told stays told."""
        courses = list(self._agenda)
        self._agenda = Agenda(speed)
        for course in courses:
            reached = course.steps[course.done - 1].age if course.done else -1.0
            course.steps = [step for step in self._steps_of(course) if step.age > reached]
            course.done = 0
            self._plan(course)

    def _plan(self, course: Course) -> None:
        if course.done < len(course.steps):
            self._agenda.add(course.start, course.next_step.age, course)

    def _steps_of(self, course: Course) -> list[Step]:
        timeline: Timeline = self._state.timeline
        fates = Counter(self._state.messages.fate[course.first : course.first + course.count])
        steps = [
            Step(age, fate, standing.status)
            for fate in fates
            for age, standing in timeline.course_of(fate)
            if standing.status in TOLD
        ]
        return sorted(steps, key=lambda step: (step.age, step.fate))
