"""The triggers that wait for a message from a person."""

from __future__ import annotations

from airflow_provider_wati.triggers._base import WatiTrigger
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
    :class:`.AnswerCondition`.
    """

    condition_type = AnswerCondition
