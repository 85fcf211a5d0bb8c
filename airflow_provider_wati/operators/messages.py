"""Messages into an open conversation."""

from __future__ import annotations

import base64
import mimetypes
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from airflow_provider_wati._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_wati.client.target import CONVERSATIONS, Target
from airflow_provider_wati.client.validation import buttons_message, list_message, text
from airflow_provider_wati.exceptions import WatiNotFoundError, WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator, is_deferrable
from airflow_provider_wati.operators._files import guess_type, name_of, new_file
from airflow_provider_wati.operators._single_send import act_once
from airflow_provider_wati.state.storage import storage_path
from airflow_provider_wati.waiting.condition import (
    MAX_FAILED_LOOKS,
    POKE_INTERVAL,
    TRANSIENT,
    TRIGGERER_LATE,
    Verdict,
    error_of,
    time_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.media import Media
    from airflow_provider_wati.client.types import Message, SendHooks
    from airflow_provider_wati.sending.conversation_index import MessageContent
    from airflow_provider_wati.waiting.messages import AnswerCondition


class _SendOperator(WatiOperator):
    """Base of the operators that send one message once. A subclass sends it, and says what WATI keeps of it."""

    template_fields: Sequence[str] = ("target", "send_key", "wati_conn_id")

    def __init__(self, *, target: str, send_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.send_key = send_key

    @abstractmethod
    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        """Send the message."""

    @abstractmethod
    def content(self) -> MessageContent:
        """Return what WATI keeps of the message, by which it is found again."""

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wati.sending.conversation_index import ConversationIndex

        client = self.hook.client
        content = self.content()
        result = act_once(
            self,
            context,
            target=CONVERSATIONS.check(self.target),
            content=content.fingerprint,
            act=lambda hooks: self.send(client, hooks),
            look=ConversationIndex(client, self.target, content).look,
            detail_of=self.identity_of,
            send_key=self.send_key,
        )
        self.log.info("WATI has message %s.", result.get("id"))
        return result

    def identity_of(self, message: Message) -> dict[str, Any]:
        """Return what identifies a message, and nothing of what it says."""
        names = ("id", "conversation_id", "local_message_id", "status", "created")
        return {name: value for name, value in message.items() if name in names and value is not None}


class WatiSendTextOperator(_SendOperator):
    """
    Send a text to somebody who wrote within the last 24 hours; outside that window only templates go.

    A later attempt, or a Clear, sends nothing if the text went out: at most once wins. WATI's "accepted" is not yet "delivered".

    .. code-block:: python

        WatiSendTextOperator(task_id="tell", target="85264318722", text="Your parcel is on its way")

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param text: 1 to 4,096 characters (templated); the figure is that of WATI's V1 API, V3 states none.
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for a target or text that cannot be right.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer is lost; the next attempt looks for the message.
    """

    template_fields: Sequence[str] = ("target", "text", "send_key", "wati_conn_id")

    def __init__(self, *, target: str, text: str, send_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.text = text

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        return client.send_text(self.target, self.text, hooks=hooks)

    def content(self) -> MessageContent:
        from airflow_provider_wati.sending.conversation_index import MessageContent, MessageKind

        return MessageContent(kind=MessageKind.TEXT, text=text(self.text, "text"))


class WatiSendFileUrlOperator(_SendOperator):
    """
    Send a file that WATI fetches from a URL, to somebody who wrote within the last 24 hours.

    A later attempt, or a Clear, sends nothing if the file went out: at most once wins.

    .. code-block:: python

        WatiSendFileUrlOperator(
            task_id="invoice", target="85264318722", file_url="https://example.com/1001.pdf"
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param file_url: an address that WATI can fetch without a password (templated).
    :param caption: text under the file (templated).
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for a target or URL that cannot be right.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer is lost; the next attempt looks for the message.
    """

    template_fields: Sequence[str] = ("target", "file_url", "caption", "send_key", "wati_conn_id")

    def __init__(
        self,
        *,
        target: str,
        file_url: str,
        caption: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.file_url = file_url
        self.caption = caption

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        return client.send_file_url(self.target, self.file_url, self.caption, hooks=hooks)

    def content(self) -> MessageContent:
        name = _name_in(text(self.file_url, "file_url"))
        mime_type, _ = mimetypes.guess_type(name)
        return _file_content(self.caption, name, mime_type)


class WatiSendFileOperator(_SendOperator):
    """
    Upload and send a file, to somebody who wrote within the last 24 hours.

    The file is read while it is sent, so its size does not matter to the worker. A later attempt,
    or a Clear, sends nothing if the file went out: at most once wins.

    .. code-block:: python

        WatiSendFileOperator(task_id="invoice", target="85264318722", path="s3://invoices/{{ ds }}/1001.pdf")

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param path: a local path or any Airflow object-storage URI (templated). WATI takes images (jpeg, png) up to
        5 MB, audio (aac, mp4, mpeg, amr, ogg) and video (mp4, 3gp) up to 16 MB, documents (txt, pdf, doc, ppt,
        xls) up to 100 MB and stickers (webp) up to 500 kB.
    :param caption: text under the file (templated).
    :param file_name: the name the receiver sees (templated); that of the path if left out.
    :param mime_type: the media type (templated); told by the name if left out.
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises FileNotFoundError: when there is no such file.
    :raises WatiValidationError: before anything is sent, for a target, kind or size that WATI does not take.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer is lost; the next attempt looks for the message.
    """

    template_fields: Sequence[str] = (
        "target", "path", "caption", "file_name", "mime_type", "send_key", "wati_conn_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        target: str,
        path: str,
        caption: str | None = None,
        file_name: str | None = None,
        mime_type: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.path = path
        self.caption = caption
        self.file_name = file_name
        self.mime_type = mime_type

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        path = storage_path(self.path)
        with path.open("rb") as file:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
            return client.send_file(
                self.target,
                file,
                file_name=self._file_name,
                mime_type=self._mime_type,
                caption=self.caption,
                hooks=hooks,
            )

    def content(self) -> MessageContent:
        return _file_content(self.caption, self._file_name, self._mime_type)

    @property
    def _file_name(self) -> str:
        return self.file_name or storage_path(self.path).name

    @property
    def _mime_type(self) -> str:
        return self.mime_type or guess_type(self.file_name or self.path)


class WatiSendButtonsOperator(_SendOperator):
    """
    Send a text with up to three buttons to answer by, to somebody who wrote within the last 24 hours.

    The answer carries the text of the button: WATI has no ids for buttons. A later attempt, or a Clear,
    sends nothing if the message went out.

    .. code-block:: python

        WatiSendButtonsOperator(
            task_id="ask",
            target="85264318722",
            body="Deliver today?",
            buttons=["Yes", "No"],
            header="Order 1001",
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param body: 1 to 1,024 characters (templated).
    :param buttons: 1 to 3 texts of up to 20 characters, all different, each bare or as WATI's ``{"text": ...}``
        (templated).
    :param header: text of up to 60 characters, or WATI's dict for media:
        ``{"type": "image", "media": {"url": ...}}`` with type ``image``, ``video`` or ``document`` (templated).
    :param footer: up to 60 characters (templated).
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for what exceeds WATI's limits, with the figures.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer is lost; the next attempt looks for the message.
    """

    template_fields: Sequence[str] = (
        "target", "body", "buttons", "header", "footer", "send_key", "wati_conn_id",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"buttons": "json", "header": "json"}

    def __init__(
        self,
        *,
        target: str,
        body: str,
        buttons: Sequence[str | Mapping[str, str]],
        header: str | Mapping[str, Any] | None = None,
        footer: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.body = body
        self.buttons = buttons
        self.header = header
        self.footer = footer

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        return client.send_buttons(
            self.target, self.body, self.buttons, self.header, self.footer, hooks=hooks
        )

    def content(self) -> MessageContent:
        return _interactive_content(self.body, self.header, self.footer, self._button_texts())

    def _button_texts(self) -> list[str]:
        message = buttons_message(self.body, self.buttons, self.header, self.footer)
        return [button["text"] for button in message["buttons"]]


_ON_TIMEOUT = ("fail", "none")
_LONGEST_WAIT = timedelta(days=365)
#: Years of a real time. Programs write the first or the last year of a type in place of a missing time.
_YEARS = range(2000, 9000)
#: How far the time of a new question may be from the worker's. Time zones differ by less, so a larger difference is an error.
_TIMES_DIFFER_BY = timedelta(days=1)


class WatiAskOperator(WatiSendButtonsOperator):
    """
    Ask a person who wrote within the last 24 hours: send buttons once, wait for the answer, and return it.

    An answer is a tap on a button, or its text typed, in any case and with any space around it. Other messages are no
    answer, and the wait goes on. The first answer counts.

    WATI's API does not show which question a tap belongs to. Where two questions to one person may be open at a time, give
    their buttons different texts: ``Approve 1001`` in place of ``Approve``.

    The question is asked once. A later attempt, or a Clear, goes on waiting until the same time, and finds an answer that has
    come meanwhile. Another ``send_key`` asks again.

    .. code-block:: python

        WatiAskOperator(
            task_id="ask",
            target="85264318722",
            body="Deliver order 1001 today?",
            buttons=["Yes, 1001", "No, 1001"],
            answer_timeout=4 * 3600,
            on_timeout="none",
            deferrable=True,
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param body: 1 to 1,024 characters (templated).
    :param buttons: 1 to 3 texts of up to 20 characters that differ in more than capitals and spaces, each bare or as WATI's
        ``{"text": ...}`` (templated).
    :param header: text of up to 60 characters, or WATI's dict for media, as for :class:`WatiSendButtonsOperator` (templated).
    :param footer: up to 60 characters (templated).
    :param answer_timeout: a timedelta or seconds, above 0 and up to 365 days, from the time at which WATI took the question;
        a retry does not begin it again.
    :param on_timeout: ``fail`` without a retry, or ``none`` for an answer that is None.
    :param send_key: names this question (templated); another one asks again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``. Otherwise the task
        holds a worker.
    :param poke_interval: a timedelta or seconds between two looks, 300 by default and 1 at least. A look costs two calls, and
        one more for each 100 messages since the question.
    :param wati_conn_id: the connection of type ``wati`` (templated); a deferred task needs it in the triggerer too.
    :return: ``answer``, the text of the button, and ``message``, its ``id``, ``conversation_id``, ``type``, ``text`` and
        ``created``. Both are None when ``on_timeout="none"`` and nobody has answered.
    :raises WatiValidationError: before anything is sent, for what exceeds WATI's limits, with the figures.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer to the call is lost; the next attempt looks for the question.
    :raises AirflowFailException: when WATI shows that the question did not reach the person.
    :raises AirflowSensorTimeout: when ``answer_timeout`` is over.
    """

    def __init__(
        self,
        *,
        target: str,
        body: str,
        buttons: Sequence[str | Mapping[str, str]],
        answer_timeout: timedelta | float,
        on_timeout: str = "fail",
        header: str | Mapping[str, Any] | None = None,
        footer: str | None = None,
        send_key: str | None = None,
        deferrable: bool | None = None,
        poke_interval: timedelta | float = POKE_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            target=target,
            body=body,
            buttons=buttons,
            header=header,
            footer=footer,
            send_key=send_key,
            **kwargs,
        )
        self.answer_timeout = answer_timeout
        self.poke_interval = poke_interval
        self.on_timeout = on_timeout
        self.deferrable: bool = is_deferrable(deferrable)
        self._failed_looks = 0

    def content(self) -> MessageContent:
        from airflow_provider_wati.waiting.messages import check_buttons

        check_buttons(self._button_texts())
        return super().content()

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        message = super().send(client, hooks)
        created = time_of(message.get("created"))
        if created is not None and abs(created - self.clock.now()) > _TIMES_DIFFER_BY:
            # From an earlier time on, an old answer would count; from a later one, none would.
            self.log.warning("WATI gives %s as the time of the question: it is not used.", created)
            del message["created"]
        return message

    def identity_of(self, message: Message) -> dict[str, Any]:
        """Return what identifies the question, and always its time: the wait counts from there in each attempt."""
        identity = super().identity_of(message)
        created = time_of(identity.get("created"))
        if created is None or created.year not in _YEARS:
            offset = self.hook.client.server_clock_offset or timedelta(0)
            identity["created"] = (self.clock.now() + offset).isoformat()
        return identity

    def execute(self, context: Context) -> dict[str, Any]:
        if self.on_timeout not in _ON_TIMEOUT:
            raise WatiValidationError(
                f"on_timeout is {self.on_timeout!r}: give one of {', '.join(_ON_TIMEOUT)}."
            )
        answer_timeout = _duration(self.answer_timeout, "answer_timeout", timedelta.resolution)
        poke_interval = _duration(self.poke_interval, "poke_interval", timedelta(seconds=1))
        question = super().execute(context)
        asked_at = time_of(question.get("created")) or self.clock.now()
        deadline = asked_at + answer_timeout
        condition = self._condition(question, asked_at)
        while self.clock.now() < deadline:
            result = self._look(condition)
            if result is not None:
                return result
            if self.deferrable:
                self._defer(condition, deadline, poke_interval)
            left = deadline - self.clock.now()
            self.clock.sleep(max(min(poke_interval, left).total_seconds(), 0.0))
        return self._look_last(condition, deadline)

    def _condition(self, question: Mapping[str, Any], asked_at: datetime) -> AnswerCondition:
        from airflow_provider_wati.waiting.messages import AnswerCondition

        id = question.get("id")
        return AnswerCondition(
            target=self._conversation_of(question),
            since=asked_at.isoformat(),
            buttons=self._button_texts(),
            question_id=None if id is None else str(id),
        )

    def _conversation_of(self, question: Mapping[str, Any]) -> str:
        """
        Return the conversation of the question, by id if WATI gave one.

        A phone number means the person's open conversation. The one with the question may be solved by now.
        """
        try:
            return str(Target.conversation(str(question.get("conversation_id"))))
        except WatiValidationError:
            return str(CONVERSATIONS.check(self.target))

    def _look(self, condition: AnswerCondition) -> dict[str, Any] | None:
        """Look once, and tolerate a few failures in a row; return the result if there is an answer."""
        try:
            result = self._answer(condition)
        except TRANSIENT as error:
            self._failed_looks += 1
            if self._failed_looks > MAX_FAILED_LOOKS:
                raise
            self.log.warning(
                "A look failed (%s of %s in a row): %s", self._failed_looks, MAX_FAILED_LOOKS, error
            )
            return None
        self._failed_looks = 0
        return result

    def _look_last(self, condition: AnswerCondition, deadline: datetime) -> dict[str, Any]:
        """Look once after the deadline. An error is raised, because only a successful look proves that nobody has answered."""
        result = self._answer(condition, is_last=True)
        if result is not None:
            return result
        reason = f"Nobody has answered until {deadline.isoformat(timespec='seconds')}."
        if self.on_timeout == "fail":
            raise AirflowSensorTimeout(f"{reason} If an answer comes later, a Clear finds it.")
        self.log.warning("%s The answer is None.", reason)
        return condition.unseen()

    def _answer(self, condition: AnswerCondition, *, is_last: bool = False) -> dict[str, Any] | None:
        """
        Return the result if there is an answer.

        :param is_last: whether this is the last look. WATI then has to show the conversation.
        :raises AirflowFailException: when the question did not reach the person.
        :raises WatiNotFoundError: when WATI does not show the conversation at the last look.
        """
        look = condition.look(self.hook.client, self.clock)
        self.log.info("%s", look.reason)
        if look.verdict is Verdict.FAILED:
            raise AirflowFailException(look.reason)
        if is_last and not look.is_shown:
            raise WatiNotFoundError(f"{look.reason} Nothing tells whether the question was answered.")
        return look.result if look.verdict is Verdict.DONE else None

    def _defer(self, condition: AnswerCondition, deadline: datetime, poke_interval: timedelta) -> NoReturn:
        from airflow_provider_wati.triggers.messages import WatiAnswerTrigger

        left = deadline - self.clock.now() + timedelta(seconds=TRIGGERER_LATE)
        self.defer(
            trigger=WatiAnswerTrigger(
                wati_conn_id=self.wati_conn_id,
                deadline=deadline.isoformat(),
                poll_interval=poke_interval.total_seconds(),
                condition=asdict(condition),
            ),
            method_name="execute_complete",
            # Kept here and not read from the journal again: an empty store would make this a new question.
            kwargs={"condition": asdict(condition), "deadline": deadline.isoformat()},
            timeout=left,
        )

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        condition: Mapping[str, Any] | None = None,
        deadline: str | None = None,
    ) -> dict[str, Any]:
        """
        Go on after the wait in the triggerer.

        :param event: what the trigger ended with.
        :param condition: the fields of what was waited for; those of the event, if left out, as ``dag.test()`` does.
        :param deadline: when the wait was to end, ISO 8601; likewise.
        """
        from airflow_provider_wati.waiting.messages import AnswerCondition

        status, reason = event.get("status"), str(event.get("reason"))
        self.log.info("%s", reason)
        if status == "done":
            return dict(event["result"])
        if status == "failed":
            raise AirflowFailException(reason)
        if status == "timeout":
            # The last look of the triggerer may have failed.
            waited_for = AnswerCondition(**(condition or event["condition"]))
            return self._look_last(waited_for, datetime.fromisoformat(deadline or event["deadline"]))
        raise error_of(event)


def _duration(given: timedelta | float, name: str, shortest: timedelta) -> timedelta:
    """
    Read a duration.

    :raises WatiValidationError: when it is none, or out of range.
    """
    try:
        duration = given if isinstance(given, timedelta) else timedelta(seconds=given)
    except (TypeError, ValueError, OverflowError):
        raise WatiValidationError(f"{name} is {given!r}: give a timedelta, or seconds.") from None
    if not shortest <= duration <= _LONGEST_WAIT:
        raise WatiValidationError(
            f"{name} is {duration}: give {shortest.total_seconds():g} seconds at least and 365 days at most."
        )
    return duration


class WatiSendListOperator(_SendOperator):
    """
    Send a text with a list to choose from, to somebody who wrote within the last 24 hours.

    The answer carries the title of the row: WATI has no ids for rows. A later attempt, or a Clear,
    sends nothing if the message went out.

    .. code-block:: python

        WatiSendListOperator(
            task_id="slots",
            target="85264318722",
            body="When shall we come?",
            button_text="Choose",
            sections=[{"title": "Today", "rows": [{"title": "10:00", "description": "Morning"}]}],
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param body: 1 to 1,024 characters (templated).
    :param button_text: what opens the list, up to 20 characters (templated).
    :param sections: dicts with ``title`` (up to 24 characters, needed with more than one section) and ``rows``,
        each with ``title`` (up to 24) and maybe ``description`` (up to 72); 10 rows in all (templated).
    :param header: up to 60 characters (templated).
    :param footer: up to 60 characters (templated).
    :param send_key: names this send (templated); another one sends again on purpose. It needs the option
        ``[wati] state_path``, because other runs may use it too. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for what exceeds WATI's limits, with the figures.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when the answer is lost; the next attempt looks for the message.
    """

    template_fields: Sequence[str] = (
        "target", "body", "button_text", "sections", "header", "footer", "send_key", "wati_conn_id",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"sections": "json"}

    def __init__(
        self,
        *,
        target: str,
        body: str,
        button_text: str,
        sections: Sequence[Mapping[str, Any]],
        header: str | None = None,
        footer: str | None = None,
        send_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.body = body
        self.button_text = button_text
        self.sections = sections
        self.header = header
        self.footer = footer

    def send(self, client: WatiClient, hooks: SendHooks) -> Message:
        return client.send_list(
            self.target, self.body, self.button_text, self.sections, self.header, self.footer, hooks=hooks
        )

    def content(self) -> MessageContent:
        message = list_message(self.body, self.button_text, self.sections, self.header, self.footer)
        rows = [row for section in message["sections"] for row in (section, *section["rows"])]
        # They are on a page of their own, which WATI may not list.
        choices = [row[name] for row in rows for name in ("title", "description") if row.get(name)]
        return _interactive_content(self.body, self.header, self.footer, [self.button_text], choices)


#: A file of up to this size may be a task's result; a larger one belongs into a destination.
MAX_BYTES_IN_RESULT = 256 * 1024


class WatiGetMediaOperator(WatiOperator):
    """
    Fetch the file of a message: a photo or document that a customer sent, for example.

    .. code-block:: python

        WatiGetMediaOperator(
            task_id="photo", message_id="{{ params.id }}", destination="s3://inbox/{{ ds }}/"
        )

    :param message_id: WATI's id of the message, which its webhooks call ``id`` (templated); not WhatsApp's wamid.
    :param destination: where to write the file, as a local path or any Airflow object-storage URI (templated).
        One that ends in ``/`` is a directory, in which the file is called ``<message id>_<sender's name>``, so that
        it replaces no file of another message. A local file is created with mode 0600. Without a destination the
        file is in the result as Base64, up to 256 kB.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``message_id``, ``file_name`` (as in a directory), ``content_type``, ``size`` in bytes, and
        ``destination`` or ``content_base64``.
    :raises WatiNotFoundError: when WATI does not know the message, or it has no file.
    :raises WatiValidationError: when the file is larger than 256 kB and there is no destination.
    :raises WatiConnectionError: when the file breaks off; nothing of it is left at the destination.
    """

    template_fields: Sequence[str] = ("message_id", "destination", "wati_conn_id")

    def __init__(self, *, message_id: str, destination: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.destination = destination

    def execute(self, context: Context) -> dict[str, Any]:
        with self.hook.client.get_media(self.message_id) as media:
            name = name_of(media, self.message_id)
            result: dict[str, Any] = {
                "message_id": self.message_id,
                "file_name": name,
                "content_type": media.content_type,
            }
            if self.destination is None:
                content = self._read(media)
                result |= {"size": len(content), "content_base64": base64.b64encode(content).decode()}
            else:
                path = storage_path(self.destination)
                if self.destination.endswith("/"):
                    path = path / name
                with new_file(path) as file:
                    size = sum(file.write(piece) for piece in media.iter_bytes())
                result |= {"size": size, "destination": str(path)}
        self.log.info("Fetched %d bytes of %s.", result["size"], media.content_type)
        return result

    def _read(self, media: Media) -> bytes:
        content = bytearray()
        for piece in media.iter_bytes():
            content += piece
            if len(content) > MAX_BYTES_IN_RESULT:
                raise WatiValidationError(
                    f"The file of message {self.message_id} is larger than {MAX_BYTES_IN_RESULT // 1024} kB, which is "
                    "too much for a task's result: give a destination."
                )
        return bytes(content)


def _file_content(caption: str | None, name: str, mime_type: str | None) -> MessageContent:
    from airflow_provider_wati.sending.conversation_index import MessageContent, MessageKind

    return MessageContent(
        kind=MessageKind.FILE,
        text=caption or "",
        around=(name,),
        mime_family=mime_type.partition("/")[0] if mime_type else None,
    )


def _interactive_content(
    body: str,
    header: str | Mapping[str, Any] | None,
    footer: str | None,
    buttons: Iterable[str],
    choices: Iterable[str] = (),
) -> MessageContent:
    from airflow_provider_wati.sending.conversation_index import MessageContent, MessageKind

    around = (header if isinstance(header, str) else "", footer or "", *buttons)
    return MessageContent(
        kind=MessageKind.INTERACTIVE,
        text=text(body, "body"),
        around=around,
        choices=tuple(choices),
        media=_media_name(header),
    )


def _media_name(header: object) -> str:
    """Return the name of the file in a header; empty for a header without one."""
    media = header.get("media") if isinstance(header, Mapping) else None
    url = media.get("url") if isinstance(media, Mapping) else None
    return _name_in(str(url or ""))


def _name_in(url: str) -> str:
    """Return the name of the file that a URL stands for."""
    return urlsplit(url).path.rpartition("/")[2]
