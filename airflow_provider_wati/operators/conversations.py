"""Operators for conversations: their status and their assignee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.operators._base import WatiOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class WatiUpdateConversationStatusOperator(WatiOperator):
    """
    Set the status of a conversation. Doing it twice leaves the same status.

    .. code-block:: python

        WatiUpdateConversationStatusOperator(task_id="resolve", target="85264318722", status="solved")

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, for that person's
        newest open conversation; or a conversation id (templated).
    :param status: ``open``, ``solved``, ``pending`` or ``block`` (templated).
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"status": ...}``.
    :raises WatiValidationError: before anything is sent, for a target or status with an error.
    :raises WatiConflictError: when several open conversations match and the target names no channel.
    :raises WatiRejectedError: when WATI answers that it did not do it.
    """

    template_fields: Sequence[str] = ("target", "status", "wati_conn_id")

    def __init__(self, *, target: str, status: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.status = status

    def execute(self, context: Context) -> dict[str, Any]:
        self.hook.client.update_conversation_status(self.target, self.status)
        self.log.info("The conversation is %s.", self.status)
        return {"status": self.status}


class WatiAssignConversationOperator(WatiOperator):
    """
    Assign a conversation to an operator, or to the bot. Doing it twice leaves the same assignee.

    .. code-block:: python

        WatiAssignConversationOperator(
            task_id="escalate", target="85264318722", assignee_email="li@acme.example"
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, for that person's
        newest open conversation; or a conversation id (templated).
    :param assignee_email: the operator's e-mail address in WATI (templated); None assigns it to the bot.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"assignee_email": ...}``.
    :raises WatiValidationError: before anything is sent, for a target with an error.
    :raises WatiConflictError: when several open conversations match and the target names no channel.
    :raises WatiRejectedError: when WATI answers that it did not do it.
    """

    template_fields: Sequence[str] = ("target", "assignee_email", "wati_conn_id")

    def __init__(self, *, target: str, assignee_email: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.assignee_email = assignee_email

    def execute(self, context: Context) -> dict[str, Any]:
        self.hook.client.assign_operator(self.target, self.assignee_email)
        self.log.info(
            "The conversation is assigned to %s.",
            "the bot" if self.assignee_email is None else "its operator",
        )
        return {"assignee_email": self.assignee_email}
