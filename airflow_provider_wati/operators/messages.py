"""Messages into an open conversation."""

from __future__ import annotations

import base64
import mimetypes
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow_provider_wati.client.validation import media_kind
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._files import guess_type, name_of, new_file, storage_path
from airflow_provider_wati.operators._once import find_message, once

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.media import Media
    from airflow_provider_wati.client.types import Message


class _SendOperator(WatiOperator):
    """Sends one message once: subclasses say how, and how to tell the message when it is there already."""

    template_fields: Sequence[str] = ("target", "send_key", "wati_conn_id")

    def __init__(self, *, target: str, send_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.send_key = send_key

    @abstractmethod
    def send(self, client: WatiClient) -> Message:
        """Send the message."""

    @abstractmethod
    def is_it(self, message: Message) -> bool:
        """Tell whether a message of the conversation is the one that this task sends."""

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client

        def act() -> dict[str, Any]:
            message = self.send(client)
            self.log.info("WATI accepted message %s.", message.get("id"))
            return _result(message)

        def look(since: datetime) -> dict[str, Any] | None:
            message = find_message(client, self.target, self.is_it, since)
            return _result(message) if message is not None else None

        return once(context, client, act, look, self.send_key)


def _result(message: Message) -> dict[str, Any]:
    """Return what identifies a message, without what it says."""
    names = ("id", "conversation_id", "local_message_id", "status", "created")
    return {name: value for name, value in message.items() if name in names and value is not None}


class WatiSendTextOperator(_SendOperator):
    """
    Send a text to somebody who wrote within the last 24 hours; outside that window only templates go.

    A second try of the task, or a Clear, first looks whether the same text is in the conversation since the
    first try, and if so sends nothing: at most once wins. WATI's "accepted" is not yet "delivered".

    .. code-block:: python

        WatiSendTextOperator(task_id="tell", target="85264318722", text="Your parcel is on its way")

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param text: 1 to 4,096 characters (templated); the figure is that of WATI's V1 API, V3 states none.
    :param send_key: names this send (templated); another key sends the same text again, on Airflow 3.3 and
        later or with the option ``[wati] state_path``. The default is made of DAG, run, task and map index.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for a target or text that cannot be right.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when nobody can tell whether the text went out; the next try looks.
    """

    template_fields: Sequence[str] = ("target", "text", "send_key", "wati_conn_id")

    def __init__(self, *, target: str, text: str, send_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(target=target, send_key=send_key, **kwargs)
        self.text = text

    def send(self, client: WatiClient) -> Message:
        return client.send_text(self.target, self.text)

    def is_it(self, message: Message) -> bool:
        return message.get("text") == self.text


class WatiSendFileUrlOperator(_SendOperator):
    """
    Send a file that WATI fetches from a URL, to somebody who wrote within the last 24 hours.

    A second try of the task, or a Clear, first looks whether a file of that kind with that caption is in the
    conversation since the first try, and if so sends nothing: at most once wins. Where the URL's name does not
    tell the kind, any file with that caption counts.

    .. code-block:: python

        WatiSendFileUrlOperator(
            task_id="invoice", target="85264318722", file_url="https://example.com/1001.pdf"
        )

    :param target: phone number or BSUID, each with or without ``<channel>:`` before it, or a conversation id
        (templated).
    :param file_url: an address that WATI can fetch without a password (templated).
    :param caption: text under the file (templated).
    :param send_key: names this send (templated); another key sends the same file again, on
        Airflow 3.3 and later or with the option ``[wati] state_path``.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for a target or URL that cannot be right.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when nobody can tell whether the file went out; the next try looks.
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

    def send(self, client: WatiClient) -> Message:
        return client.send_file_url(self.target, self.file_url, self.caption)

    def is_it(self, message: Message) -> bool:
        mime_type, _ = mimetypes.guess_type(urlsplit(self.file_url).path)
        return _is_file(message, mime_type, self.caption)


class WatiSendFileOperator(_SendOperator):
    """
    Upload and send a file, to somebody who wrote within the last 24 hours.

    The file is read while it is sent, so its size does not matter to the worker. A second try of the task, or a
    Clear, first looks whether a file of that kind with that caption is in the conversation since the first try,
    and if so sends nothing: at most once wins.

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
    :param send_key: names this send (templated); another key sends the same file again, on
        Airflow 3.3 and later or with the option ``[wati] state_path``.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises FileNotFoundError: when there is no such file.
    :raises WatiValidationError: before anything is sent, for a target, kind or size that WATI does not take.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when nobody can tell whether the file went out; the next try looks.
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

    def send(self, client: WatiClient) -> Message:
        path = storage_path(self.path)
        with path.open("rb") as file:  # type: ignore[no-untyped-call] # Airflow leaves it untyped
            return client.send_file(
                self.target,
                file,
                file_name=self.file_name or path.name,
                mime_type=self._mime_type,
                caption=self.caption,
            )

    def is_it(self, message: Message) -> bool:
        return _is_file(message, self._mime_type, self.caption)

    @property
    def _mime_type(self) -> str:
        return self.mime_type or guess_type(self.file_name or self.path)


class WatiSendButtonsOperator(_SendOperator):
    """
    Send a text with up to three buttons to answer by, to somebody who wrote within the last 24 hours.

    The answer carries the text of the button: WATI has no ids for buttons. A second try of the task, or a Clear,
    first looks whether the same text is in the conversation since the first try, and if so sends nothing.

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
    :param buttons: 1 to 3 texts of up to 20 characters, all different (templated).
    :param header: text of up to 60 characters, or WATI's dict for media:
        ``{"type": "image", "media": {"url": ...}}`` with type ``image``, ``video`` or ``document`` (templated).
    :param footer: up to 60 characters (templated).
    :param send_key: names this send (templated); another key sends the same again, on Airflow
        3.3 and later or with the option ``[wati] state_path``.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for what exceeds WATI's limits, with the figures.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when nobody can tell whether it went out; the next try looks.
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
        buttons: Sequence[str],
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

    def send(self, client: WatiClient) -> Message:
        return client.send_buttons(self.target, self.body, self.buttons, self.header, self.footer)

    def is_it(self, message: Message) -> bool:
        return _is_interactive(message, self.body)


class WatiSendListOperator(_SendOperator):
    """
    Send a text with a list to choose from, to somebody who wrote within the last 24 hours.

    The answer carries the title of the row: WATI has no ids for rows. A second try of the task, or a Clear, first
    looks whether the same text is in the conversation since the first try, and if so sends nothing.

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
    :param send_key: names this send (templated); another key sends the same again, on Airflow
        3.3 and later or with the option ``[wati] state_path``.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``id``, ``conversation_id``, ``local_message_id``, ``status`` and ``created`` of the message.
    :raises WatiValidationError: before anything is sent, for what exceeds WATI's limits, with the figures.
    :raises WatiBadRequestError: when WATI refuses, for a closed window for example.
    :raises WatiUnknownOutcomeError: when nobody can tell whether it went out; the next try looks.
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

    def send(self, client: WatiClient) -> Message:
        return client.send_list(
            self.target, self.body, self.button_text, self.sections, self.header, self.footer
        )

    def is_it(self, message: Message) -> bool:
        return _is_interactive(message, self.body)


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
        One that ends in ``/`` is a directory, in which the file gets the name that WATI tells, made safe. Without
        a destination the file is in the result as Base64, up to 256 kB.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``message_id``, ``file_name``, ``content_type``, ``size`` in bytes, and ``destination`` or
        ``content_base64``.
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


def _is_file(message: Message, mime_type: str | None, caption: str | None) -> bool:
    kind = (message.get("type") or "").casefold()
    if mime_type is None:
        of_that_kind = kind not in ("text", "interactive", "template", "")
    else:
        of_that_kind = kind in (media_kind(mime_type), mime_type.partition("/")[0])
    return of_that_kind and (message.get("text") or "") == (caption or "")


def _is_interactive(message: Message, body: str) -> bool:
    """WATI does not document how it writes such a message into the conversation; the body is in it."""
    return body in (message.get("text") or "")
