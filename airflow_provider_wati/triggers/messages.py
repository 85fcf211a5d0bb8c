"""The triggers that wait for a message from a person."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from airflow_provider_wati.triggers._base import Ending, WatiTrigger
from airflow_provider_wati.waiting.messages import AnswerCondition, ReplyCondition


class WatiReplyTrigger(WatiTrigger):
    """
    Wait for a message from a person. A sensor makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.ReplyCondition`.
    """

    condition_type = ReplyCondition


class WatiAnswerTrigger(WatiTrigger):
    """
    Wait for the answer to a question with buttons. An operator makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.AnswerCondition`. The event also has ``condition`` and ``deadline``.
    """

    condition_type = AnswerCondition

    def _event(self, ending: Ending, reason: str) -> dict[str, Any]:
        # What the deferral hands over gets lost in `dag.test()`, and the operator looks once more after a timeout.
        waited_for = {"condition": asdict(self.condition), "deadline": self.deadline}  # type: ignore[call-overload] # conditions are dataclasses
        return {**super()._event(ending, reason), **waited_for}
