"""Wait for the approval of a template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sensors._base import WatiSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.waiting.condition import Condition


class WatiTemplateApprovedSensor(WatiSensor):
    """
    Wait until WhatsApp has approved a template.

    A template that is rejected, disabled or deleted ends the wait: somebody has to change it first. Any other status is
    not decided yet.

    .. code-block:: python

        WatiTemplateApprovedSensor(task_id="approved", template_name="order_update", deferrable=True)

    :param template_name: its exact name (templated). Of several with that name (in several languages, say), one that is
        approved suffices.
    :param channel: name or number of the channel (templated); the connection's, else WATI's default, if left out.
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks, 300 by default. A look costs one call for each 100 templates.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``name`` and ``status`` of the template.
    :raises WatiNotFoundError: when the channel has no template of that name.
    :raises AirflowFailException: when the template is rejected, disabled or deleted.
    :raises AirflowSensorTimeout: when ``timeout`` is over.
    """

    template_fields: Sequence[str] = ("template_name", "channel", "wati_conn_id")
    trigger_name = "airflow_provider_wati.triggers.templates.WatiTemplateApprovedTrigger"

    def __init__(self, *, template_name: str, channel: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.template_name = template_name
        self.channel = channel

    def _condition(self, context: Context) -> Condition:
        from airflow_provider_wati.waiting.templates import TemplateCondition

        return TemplateCondition(template_name=self.template_name, channel=self.channel)
