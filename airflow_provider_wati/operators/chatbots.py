"""Chatbots: conversations that WATI holds by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.client.target import CHATBOTS
from airflow_provider_wati.exceptions import (
    WatiNotFoundError,
    WatiResponseError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._single_send import act_once

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import SendHooks

#: What becomes of a start of which it stays unknown whether an earlier attempt has made it.
ON_UNKNOWN = ("fail", "start")


class WatiStartChatbotOperator(WatiOperator):
    """
    Start a chatbot with somebody (WATI's plan Pro and above).

    .. warning::
        Nothing in WATI shows afterwards whether a chatbot was started. When the answer is lost, the task fails and is
        not retried, and a later attempt or Clear fails too: look at the conversation, and clear the task with
        ``on_unknown="start"`` if the chatbot did not start.

    .. code-block:: python

        WatiStartChatbotOperator(task_id="survey", target="85264318722", chatbot_name="Survey")

    :param target: phone number or contact id, each with or without ``<channel>:`` before it (templated).
    :param chatbot_id: the id of the chatbot (templated).
    :param chatbot_name: its exact name, in place of the id (templated); costs one call more.
    :param on_unknown: what to do when an earlier attempt may have started it: ``fail``, or ``start`` (templated).
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"chatbot_id": ...}``.
    :raises WatiValidationError: before anything is sent, for a target or chatbot that cannot be right.
    :raises WatiNotFoundError: when there is no chatbot of that name.
    :raises WatiResponseError: when WATI lists it without an id.
    :raises WatiRejectedError: when WATI answers that it did not do it.
    :raises AirflowFailException: when it stays unknown whether it was started.
    """

    template_fields: Sequence[str] = (
        "target", "chatbot_id", "chatbot_name", "on_unknown", "send_key", "wati_conn_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        target: str,
        chatbot_id: str | None = None,
        chatbot_name: str | None = None,
        on_unknown: Literal["fail", "start"] = "fail",
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.chatbot_id = chatbot_id
        self.chatbot_name = chatbot_name
        self.on_unknown = on_unknown
        self.send_key = send_key

    def execute(self, context: Context) -> dict[str, Any]:
        if self.on_unknown not in ON_UNKNOWN:
            raise WatiValidationError(
                f"on_unknown is {self.on_unknown!r}: give {' or '.join(map(repr, ON_UNKNOWN))}."
            )
        client = self.hook.client

        def start(hooks: SendHooks) -> dict[str, Any]:
            # In here, so that a chatbot that is not found is known not to have been started.
            chatbot_id = self._find_chatbot(client)
            client.start_chatbot(self.target, chatbot_id, hooks=hooks)
            self.log.info("Started chatbot %s.", chatbot_id)
            return {"chatbot_id": chatbot_id}

        try:
            return act_once(
                self,
                context,
                target=CHATBOTS.check(self.target),
                content=f"chatbot {self.chatbot_id or self.chatbot_name}",
                act=start,
                look=None,
                detail_of=dict,
                send_key=self.send_key,
                acts_when_unknown=self.on_unknown == "start",
            )
        except WatiUnknownOutcomeError as error:
            # A retry could not find out more.
            raise AirflowFailException(
                f"{error} Look at the conversation; if the chatbot did not start, clear the task with on_unknown='start'."
            ) from error

    def _find_chatbot(self, client: WatiClient) -> str:
        if bool(self.chatbot_id) == bool(self.chatbot_name):
            raise WatiValidationError("Give either chatbot_id or chatbot_name.")
        if self.chatbot_id:
            return self.chatbot_id
        names: list[str | None] = []
        for chatbot in client.iter_chatbots():
            if chatbot.get("name") == self.chatbot_name:
                if not chatbot.get("id"):
                    raise WatiResponseError(
                        f"WATI lists chatbot {self.chatbot_name!r} without an id, so it cannot be started by its name: give "
                        "chatbot_id, as WATI's dashboard shows it."
                    )
                return chatbot["id"]
            names.append(chatbot.get("name"))
        known = ", ".join(map(repr, names)) or "none"
        raise WatiNotFoundError(f"WATI has no chatbot {self.chatbot_name!r}; it has: {known}.")
