"""The workspace: who is in it, what was said, what was sent."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.consent import consent_after
from airflow_provider_wati.sandbox.model.delivery import Delivery, MessageKind
from airflow_provider_wati.sandbox.model.message_store import MessageStore
from airflow_provider_wati.sandbox.model.records import (
    Broadcast,
    Channel,
    Chatbot,
    Contact,
    Conversation,
    Note,
    Template,
    Webhook,
)
from airflow_provider_wati.sandbox.model.status import (
    PENDING,
    REPLIED,
    STOPPED,
    Standing,
    Timeline,
    fate_of_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wati.sandbox.model.clock import Clock

#: WhatsApp's customer-service window: free-form messages need a customer message this recent.
WINDOW_SECONDS = 24 * 60 * 60


class Listener(Protocol):
    """Hears what happens in the workspace."""

    def said(self, number: int) -> None: ...
    def received(self, number: int, *, is_first: bool) -> None: ...
    def replied(self, number: int, before: Standing) -> None: ...
    def broadcast_started(self, broadcast: Broadcast) -> None: ...


class State:
    """
    Everything a reset throws away.

    It is changed only from the server's event loop, one request at a time, so it needs no locks. Reading it
    from another thread is fine once the request of interest has been answered.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.speed: float = 1.0
        self.timeline: Timeline = Timeline(failed_share=0.0)
        #: What becomes of messages that nothing else decides about.
        self.delivery: Delivery = Delivery()

        self.channels: list[Channel] = []
        self.templates: list[Template] = []
        self.chatbots: list[Chatbot] = []
        self.teams: list[str] = []
        self.tags: list[str] = []
        self.operators: list[str] = []
        self.webhooks: list[Webhook] = []

        self.contacts: dict[int, Contact] = {}
        self.by_phone: dict[str, Contact] = {}
        self.by_bsuid: dict[str, Contact] = {}
        self.conversations: list[Conversation] = []
        self.messages: MessageStore = MessageStore()
        self.broadcasts: list[Broadcast] = []
        #: Campaigns that a slow listing keeps back for a while.
        self.hidden_broadcasts: list[Broadcast] = []

        #: Hears what happens; None while nobody wants to know.
        self.listener: Listener | None = None
        #: Called with each campaign that has begun to reach its recipients.
        self.on_campaign: Callable[[Broadcast], None] | None = None

        #: Every contact by number, deleted ones too.
        self.everybody: list[Contact] = []
        #: How many tickets there have been.
        self.tickets: int = 0
        #: By number; the latest activity last.
        self.by_activity: dict[int, Conversation] = {}
        #: Start and number of the campaigns that have not begun, as a heap.
        self.waiting: list[tuple[float, int]] = []

    # Channels

    @property
    def default_channel(self) -> Channel:
        return self.channels[0]

    # Contacts

    def create_contact(
        self,
        phone: str | None,
        name: str,
        *,
        custom_params: dict[str, str] | None = None,
        source: str = "manual",
        bsuid: str | None = None,
    ) -> Contact:
        now = self.clock.now()
        contact = Contact(len(self.everybody), phone, name, now, now, source)
        contact.custom_params = custom_params or None
        self.everybody.append(contact)
        self.contacts[contact.number] = contact
        if phone is not None:
            self.by_phone[phone] = contact
        if bsuid is not None:
            contact.bsuid = bsuid
            self.by_bsuid[bsuid] = contact
        return contact

    def person(self, address: str) -> Contact | None:
        """Return a contact by phone number or BSUID."""
        return self.by_phone.get(address) or self.by_bsuid.get(address)

    def delete_contact(self, contact: Contact) -> None:
        """Take a contact and its conversations out of sight; messages that were sent stay sent."""
        del self.contacts[contact.number]
        if contact.phone is not None:
            self.by_phone.pop(contact.phone, None)
        if contact.bsuid is not None:
            self.by_bsuid.pop(contact.bsuid, None)
        for conversation in contact.conversations:
            self.by_activity.pop(conversation.number, None)

    def contact_of_message(self, number: int) -> Contact:
        return self.everybody[self.messages.contact[number]]

    # Conversations

    def conversation_between(self, contact: Contact, channel: Channel) -> Conversation:
        """Return the conversation of a contact on a channel, which begins now if there was none."""
        conversation = contact.conversation_on(channel)
        if conversation is None:
            conversation = Conversation(len(self.conversations), contact, channel)
            self.tickets += 1
            conversation.ticket = self.tickets
            contact.conversations = (*contact.conversations, conversation)
            self.conversations.append(conversation)
        return conversation

    def latest_conversations(self) -> Iterator[Conversation]:
        """Yield conversations, the latest activity first."""
        return reversed(self.by_activity.values())

    def conversation_count(self) -> int:
        return len(self.by_activity)

    def window_is_open(self, conversation: Conversation) -> bool:
        last = conversation.last_inbound
        return last is not None and self.clock.now() - last < WINDOW_SECONDS

    # Messages

    def say(self, note: Note, moment: float | None = None) -> int:
        """
        Add a message that is not a template to its conversation, and return its number.

        :param moment: when it was written; now by default.
        """
        moment = self.clock.now() if moment is None else moment
        conversation = note.conversation
        number = len(self.messages)
        failing = fate_of_number(conversation.contact.phone or "")
        self.messages.add(
            contacts=[conversation.contact.number],
            broadcast=0,
            created=moment,
            fates=self.delivery.fates(number, 1, MessageKind.SESSION)
            if failing is None
            else bytes([failing]),
            local_ids=[ids.make_id(ids.LOCAL_MESSAGE, number)],
            contents=[note],
        )
        self.deliver(conversation, number, moment)
        if note.from_business and self.listener:
            self.listener.said(number)
        return number

    def receive(self, note: Note, moment: float | None = None) -> int:
        """
        Let the customer write in: it opens the 24-hour window and answers the latest broadcast.

        :param moment: when it was written; now by default.
        """
        moment = self.clock.now() if moment is None else moment
        conversation = note.conversation
        # WATI tells of a new contact when somebody writes whom it does not know.
        is_first = conversation.contact.source == "whatsapp" and not any(
            talk.last_inbound for talk in conversation.contact.conversations
        )
        answered = _mark_replied(self, conversation)
        if not conversation.is_open:
            conversation.status = "open"
            self.tickets += 1
            conversation.ticket = self.tickets
        number = self.say(note, moment)
        contact = conversation.contact
        contact.allow_broadcast = consent_after(note.text, contact.allow_broadcast)
        conversation.last_inbound = max(moment, conversation.last_inbound or moment)
        if self.listener:
            self.listener.received(number, is_first=is_first)
            if answered:
                self.listener.replied(*answered)
        return number

    def deliver(self, conversation: Conversation, number: int, moment: float) -> None:
        """Put a message at the end of a conversation."""
        conversation.messages.append(number)
        conversation.last_activity = moment
        self.by_activity.pop(conversation.number, None)
        self.by_activity[conversation.number] = conversation

    def broadcast_of(self, number: int) -> Broadcast | None:
        broadcast = self.messages.broadcast[number]
        return self.broadcasts[broadcast - 1] if broadcast else None

    def standing(self, number: int) -> Standing:
        """Return where a message stands now."""
        broadcast = self.broadcast_of(number)
        if broadcast is None:
            content = self.messages.content[number]
            if isinstance(content, Note) and not content.from_business:
                return Standing("received")
            return _standing_after(self, self.messages.fate[number], self.messages.created[number])
        if number in broadcast.replied:
            return REPLIED
        return self.standing_in(broadcast, self.messages.fate[number])

    def standing_in(self, broadcast: Broadcast, fate: int) -> Standing:
        """Return where the messages of a broadcast with this fate stand, replies apart."""
        if broadcast.cancelled_at is not None:
            return STOPPED
        if self.clock.now() < broadcast.starts_at:
            return PENDING
        return _standing_after(self, fate, broadcast.starts_at)

    # Broadcasts

    def start_due_broadcasts(self) -> None:
        """Let scheduled broadcasts whose time has come reach their conversations."""
        while self.waiting and self.waiting[0][0] <= self.clock.now():
            _, number = heapq.heappop(self.waiting)
            broadcast = self.broadcasts[number]
            if broadcast.cancelled_at is None:
                self.put_in_conversations(broadcast)

    def put_in_conversations(self, broadcast: Broadcast) -> None:
        for number in range(broadcast.first, broadcast.first + broadcast.count):
            contact = self.contact_of_message(number)
            conversation = self.conversation_between(contact, broadcast.channel)
            self.deliver(conversation, number, broadcast.starts_at)
        if self.listener:
            self.listener.broadcast_started(broadcast)
        if self.on_campaign:
            self.on_campaign(broadcast)

    # What a test wants to know

    def sent(
        self, *, phone: str | None = None, broadcast_name: str | None = None, skip: int = 0
    ) -> Iterator[int]:
        """
        Yield the numbers of messages to customers, oldest first, cancelled and not yet started ones left out.

        :param phone: only those to this phone number or BSUID.
        :param broadcast_name: only those of broadcasts with this in their name (a send puts its mark before the name).
        :param skip: leave out this many.
        """
        if phone is not None:
            contact = self.person(phone)
            numbers = sorted(
                number
                for conversation in (contact.conversations if contact else ())
                for number in conversation.messages
            )
            candidates: Iterator[int] = iter(numbers)
        else:
            candidates = iter(range(len(self.messages)))
        return islice(
            (number for number in candidates if _was_sent(self, number, broadcast_name)), skip, None
        )

    def sent_per_phone(self, broadcast_name: str | None = None) -> dict[str, int]:
        """Count the messages that were sent to each person, by phone number, or BSUID where there is none."""
        counts: dict[str, int] = {}
        for number in self.sent(broadcast_name=broadcast_name):
            address = self.contact_of_message(number).address
            counts[address] = counts.get(address, 0) + 1
        return counts


def _standing_after(state: State, fate: int, start: float) -> Standing:
    return state.timeline.standing(fate, (state.clock.now() - start) * state.speed)


def _mark_replied(state: State, conversation: Conversation) -> tuple[int, Standing] | None:
    """Mark the campaign's message that is answered; return its number and where it stood, None for none."""
    for number in reversed(conversation.messages):
        broadcast = state.broadcast_of(number)
        if broadcast is None:
            content = state.messages.content[number]
            if isinstance(content, Note) and content.from_business:
                continue
            return None
        before = state.standing(number)
        if before.status not in ("sent", "delivered", "read"):
            return None
        broadcast.replied.add(number)
        return number, before
    return None


def _was_sent(state: State, number: int, broadcast_name: str | None) -> bool:
    broadcast = state.broadcast_of(number)
    if broadcast is None:
        content = state.messages.content[number]
        return broadcast_name is None and isinstance(content, Note) and content.from_business
    if broadcast.cancelled_at is not None or state.clock.now() < broadcast.starts_at:
        return False
    return broadcast_name is None or broadcast_name in broadcast.name
