"""The trigger that waits for the approval of a template."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_wati.triggers._base import WatiTrigger
from airflow_provider_wati.waiting.templates import TemplateCondition

if TYPE_CHECKING:
    from airflow_provider_wati.waiting.condition import Condition


class WatiTemplateApprovedTrigger(WatiTrigger):
    """
    Wait for the approval of a template. A sensor makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.TemplateCondition`.
    """

    condition_type: ClassVar[Callable[..., Condition]] = TemplateCondition
