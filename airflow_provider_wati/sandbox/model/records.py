"""The things in a WATI workspace. They hold data; what may be done with them is in ``state``."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wati.sandbox.model import ids

#: The parameters of one template message: first the tuple of their names, then their values.
#: The names are shared between messages, so a message costs its values and little more.
Params = tuple[tuple[str | None, ...] | str | None, ...]


#: The statuses of a template that the sandbox knows.
TEMPLATE_STATUSES = ("DRAFT", "PENDING", "APPROVED", "REJECTED", "PAUSED", "DISABLED", "DELETED")


@dataclass(slots=True, eq=False)
class Channel:
    """
    A WhatsApp number of the business.

    The default channel is listed as ``Default`` without an id, and that name addresses nothing (observed).
    """

    number: int
    name: str
    phone: str
    is_default: bool = False
    broadcasts: list[Broadcast] = field(default_factory=list)

    @property
    def id(self) -> str:
        return ids.make_id(ids.CHANNEL, self.number)


@dataclass(slots=True, eq=False)
class Contact:
    """A person. ``phone`` is digits, or None for somebody known only by a business-scoped id."""

    number: int
    phone: str | None
    name: str
    created: float
    last_updated: float
    source: str = "manual"
    allow_broadcast: bool = True
    opted_in: bool = True
    teams: tuple[str, ...] = ()
    custom_params: dict[str, str] | None = None
    bsuid: str | None = None
    username: str | None = None
    conversations: tuple[Conversation, ...] = ()

    @property
    def id(self) -> str:
        return ids.make_id(ids.CONTACT, self.number)

    @property
    def address(self) -> str:
        """The phone number, or the BSUID of somebody who has none."""
        return self.phone or self.bsuid or ""

    def conversation_on(self, channel: Channel) -> Conversation | None:
        for conversation in self.conversations:
            if conversation.channel is channel:
                return conversation
        return None


@dataclass(slots=True, eq=False)
class Conversation:
    """All that was said between one person and one channel."""

    number: int
    contact: Contact
    channel: Channel
    status: str = "open"
    operator: str | None = None
    tags: tuple[str, ...] = ()
    last_inbound: float | None = None
    last_activity: float = 0.0
    ticket: int = 0
    messages: array[int] = field(default_factory=lambda: array("I"))

    @property
    def id(self) -> str:
        return ids.conversation_id(self.number)

    @property
    def ticket_id(self) -> str:
        return ids.make_id(ids.TICKET, self.ticket)

    @property
    def is_open(self) -> bool:
        return self.status in ("open", "pending")


@dataclass(slots=True, eq=False)
class Media:
    """A file that travelled with a message."""

    file_name: str
    mime_type: str
    data: bytes


@dataclass(slots=True, eq=False)
class Note:
    """What a message says that is not a template: typed by an operator, a bot or the customer."""

    conversation: Conversation
    kind: str
    text: str
    from_business: bool = True
    operator_name: str | None = None
    media: Media | None = None
    #: The request of a message with buttons or a list.
    interactive: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class Template:
    """A message template; ``channels`` are the channels that can send it."""

    number: int
    name: str
    body: str
    params: dict[str, str]
    channels: tuple[Channel, ...]
    last_modified: float
    status: str = "APPROVED"
    category: str = "UTILITY"
    language: str = "en_US"
    header: str | None = None
    footer: str | None = None
    #: Texts of its quick replies.
    buttons: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return ids.make_id(ids.TEMPLATE, self.number)


@dataclass(slots=True, eq=False)
class Chatbot:
    """A chatbot that can be started for a contact."""

    number: int
    name: str
    greeting: str
    created: float

    @property
    def id(self) -> str:
        return ids.make_id(ids.CHATBOT, self.number)


@dataclass(slots=True, eq=False)
class Broadcast:
    """
    One call of send or schedule.

    Its accepted recipients are the messages ``first`` to ``first + count - 1``, so any page of them is a slice.
    """

    number: int
    name: str
    channel: Channel
    template: Template
    created: float
    starts_at: float
    scheduled: bool
    first: int = 0
    count: int = 0
    cancelled_at: float | None = None
    replied: set[int] = field(default_factory=set)
    visible_at: float = 0.0
    filled_at: float = 0.0

    @property
    def id(self) -> str:
        return ids.make_id(ids.BROADCAST, self.number)


@dataclass(slots=True, eq=False)
class Webhook:
    """
    A webhook subscription.

    :param channel: whose events it gets.
    :param status: ``Enabled``, ``Disabled`` or ``Defective``.
    :param failures: attempts in a row that were not answered with 200.
    :param is_owner_told: whether WATI would have written that it is defective.
    """

    number: int
    url: str
    event_types: list[str]
    channel: Channel
    status: str = "Enabled"
    created: float = 0.0
    last_updated: float = 0.0
    failures: int = 0
    is_owner_told: bool = False

    @property
    def id(self) -> str:
        return ids.make_id(ids.WEBHOOK, self.number)
