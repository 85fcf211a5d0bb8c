"""Chatbots: conversations that WATI holds by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.exceptions import (
    WatiNotFoundError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._once import once

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient


class WatiStartChatbotOperator(WatiOperator):
    """
    Start a chatbot with somebody (WATI's plan Pro and above).

    .. warning::
        Nothing in WATI tells afterwards whether a chatbot was started. When the answer is lost, the task fails
        and is not tried again, and a later try or Clear of it fails too: look at the conversation, and start
        the chatbot with another ``send_key`` if it is not there.

    .. code-block:: python

        WatiStartChatbotOperator(task_id="survey", target="85264318722", chatbot_name="Survey")

    :param target: phone number or contact id, each with or without ``<channel>:`` before it (templated).
    :param chatbot_id: the id of the chatbot (templated).
    :param chatbot_name: its exact name, in place of the id (templated); costs one call more.
    :param send_key: names this start (templated); another key starts anew, on Airflow 3.3 and later or with the
        option ``[wati] state_path``. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"chatbot_id": ...}``.
    :raises WatiValidationError: before anything is sent, for a target or chatbot that cannot be right.
    :raises WatiNotFoundError: when there is no chatbot of that name.
    :raises WatiRejectedError: when WATI answers that it did not do it.
    :raises AirflowFailException: when nobody can tell whether it was started.
    """

    template_fields: Sequence[str] = ("target", "chatbot_id", "chatbot_name", "send_key", "wati_conn_id")

    def __init__(
        self,
        *,
        target: str,
        chatbot_id: str | None = None,
        chatbot_name: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.chatbot_id = chatbot_id
        self.chatbot_name = chatbot_name
        self.send_key = send_key

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client

        def act() -> dict[str, Any]:
            # In here, so that a name that is not found is known not to have started anything.
            chatbot_id = self._find_chatbot(client)
            client.start_chatbot(self.target, chatbot_id)
            self.log.info("Started chatbot %s.", chatbot_id)
            return {"chatbot_id": chatbot_id}

        def look(since: datetime) -> NoReturn:
            raise AirflowFailException(
                f"An earlier try may have started chatbot {self.chatbot_id or self.chatbot_name!r} since "
                f"{since:%Y-%m-%d %H:%M:%S %Z}, and WATI cannot tell. Look at the conversation; if it did "
                "not start, give another send_key."
            )

        try:
            return once(context, client, act, look, self.send_key)
        except WatiUnknownOutcomeError as error:
            raise AirflowFailException(str(error)) from error

    def _find_chatbot(self, client: WatiClient) -> str:
        if bool(self.chatbot_id) == bool(self.chatbot_name):
            raise WatiValidationError("Give either chatbot_id or chatbot_name.")
        if self.chatbot_id:
            return self.chatbot_id
        names: list[str | None] = []
        for chatbot in client.iter_chatbots():
            if chatbot.get("name") == self.chatbot_name:
                return chatbot["id"]
            names.append(chatbot.get("name"))
        known = ", ".join(map(repr, names)) or "none"
        raise WatiNotFoundError(f"WATI has no chatbot {self.chatbot_name!r}; it has: {known}.")
