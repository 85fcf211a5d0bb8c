"""The items of asset events: plain JSON, the same from a webhook and from polling."""

from __future__ import annotations

from typing import TypedDict

#: The keys of an asset event's ``extra`` that hold the items.
MESSAGES = "messages"
STATUSES = "statuses"


class InboundMessage(TypedDict):
    """
    A message of a customer. What WATI does not say is None.

    Texts hold no half characters, because Airflow cannot store them.
    """

    #: WATI's id of the message, by which repeats are recognised.
    id: str
    conversation_id: str | None
    ticket_id: str | None
    #: Digits with the country code; None for a customer who is known by a user id only.
    phone_number: str | None
    sender_name: str | None
    #: ``text``, ``image``, ``interactive``, ... in lower case.
    type: str | None
    #: The text, or the text of the button or list row that was tapped.
    text: str | None
    #: The number of the channel that received it.
    channel_phone_number: str | None
    #: In UTC, as ``2026-11-26T09:30:00.000000Z``, which sorts in the order of time.
    created: str | None


class MessageStatus(TypedDict):
    """How far a message to a customer has come. What WATI does not say is None."""

    #: WATI's id of the message.
    id: str | None
    local_message_id: str | None
    whatsapp_message_id: str | None
    conversation_id: str | None
    phone_number: str | None
    template_name: str | None
    #: ``sent``, ``delivered``, ``read``, ``replied`` or ``failed``.
    status: str
    failed_code: str | None
    failed_detail: str | None
    #: When it came so far: in UTC, as ``2026-11-26T09:30:00.000000Z``, which sorts in the order of time.
    created: str | None
