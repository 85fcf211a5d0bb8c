"""Wait for a reply."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sensors._base import WatiSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.waiting.condition import Condition


class WatiReplySensor(WatiSensor):
    """
    Wait until a person writes.

    Somebody without an open conversation has not written yet; a number that does not exist is waited for until the
    ``timeout``. One look reads at most 2,000 messages, and fails if the reply may be among the rest.

    .. code-block:: python

        WatiReplySensor(task_id="reply", target="85264318722", text_pattern="(?i)^yes", deferrable=True)

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id (templated).
    :param since: the time from which on a message counts, by WATI's clock: a datetime or ISO 8601 (templated). The default is
        the start of the DAG run by Airflow's clock. A Clear may give a run another start: give ``since`` if earlier replies are to
        count then.
    :param text_pattern: a regular expression that is searched for in the text (templated); any message counts without it.
        Keep it simple: nested repeats such as ``(a+)+`` may take hours for some texts, and hold up the whole triggerer.
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks, 300 by default. A look costs two calls, and one
        more for each 100 messages since then.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``type``, ``text`` and ``created`` of the first such message.
    :raises WatiConflictError: when the person has several open conversations and no channel is named.
    :raises WatiValidationError: for an argument that cannot be right.
    :raises AirflowSensorTimeout: when ``timeout`` is over.
    """

    template_fields: Sequence[str] = ("target", "since", "text_pattern", "wati_conn_id")
    trigger_name = "airflow_provider_wati.triggers.messages.WatiReplyTrigger"

    def __init__(
        self,
        *,
        target: str,
        since: datetime | str | None = None,
        text_pattern: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.since = since
        self.text_pattern = text_pattern

    def _condition(self, context: Context) -> Condition:
        from airflow_provider_wati.waiting.messages import reply_condition

        since = self.since
        if since is None:
            run: Any = context["dag_run"]
            since = run.start_date or self.clock.now()
        return reply_condition(self.target, since, self.text_pattern)
