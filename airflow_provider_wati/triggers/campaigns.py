"""The trigger that waits for recipients of campaigns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_wati.triggers._base import WatiTrigger
from airflow_provider_wati.waiting.campaigns import CampaignCondition

if TYPE_CHECKING:
    from airflow_provider_wati.waiting.condition import Condition


class WatiCampaignTrigger(WatiTrigger):
    """
    Wait for recipients of campaigns. A sensor makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.CampaignCondition`.
    """

    condition_type: ClassVar[Callable[..., Condition]] = CampaignCondition
