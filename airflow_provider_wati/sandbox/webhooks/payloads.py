"""
What is posted: the documented payload of each event.

The members are those of WATI's pages. Two things there are easily overlooked: the events of delivered, read and replied
messages name no ``waId``, and the text of a template is null in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.clock import to_iso
from airflow_provider_wati.sandbox.model.records import Note
from airflow_provider_wati.sandbox.webhooks import event_types as types

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wati.sandbox.model.records import Channel, Chatbot, Contact, Conversation, Template
    from airflow_provider_wati.sandbox.model.state import State

Json = dict[str, Any]

#: Documented for ``oldTemplateStatus`` and ``newTemplateStatus``.
TEMPLATE_STATUS_CODES = {
    "DRAFT": 0,
    "PENDING": 1,
    "APPROVED": 2,
    "REJECTED": 3,
    "DELETED": 4,
    "DISABLED": 6,
    "PAUSED": 7,
}
_WABA_ID = "104996122399160"


class _Message:
    """One message with all that its events say about it."""

    def __init__(self, state: State, number: int, moment: float) -> None:
        content = state.messages.content[number]
        self.state = state
        self.number = number
        self.moment = moment
        self.note = content if isinstance(content, Note) else None
        self.broadcast = state.broadcast_of(number)
        self.contact = state.contact_of_message(number)
        self.standing = state.standing(number)
        if self.note is not None:
            self.channel = self.note.conversation.channel
        else:
            self.channel = self.broadcast.channel if self.broadcast else state.default_channel
        self.conversation = (
            self.note.conversation if self.note else self.contact.conversation_on(self.channel)
        )

    @property
    def id(self) -> str:
        return ids.make_id(ids.MESSAGE, self.number)

    @property
    def text(self) -> str:
        return render.message_text(self.state, self.number)

    @property
    def kind(self) -> str:
        return self.note.kind if self.note else "template"

    def common(self) -> Json:
        """Return the members of every event about a message."""
        return {
            "id": self.id,
            "whatsappMessageId": f"wamid.{self.id}",
            "conversationId": self.conversation.id if self.conversation else None,
            "ticketId": self.conversation.ticket_id if self.conversation else None,
            "type": self.kind,
            "timestamp": str(int(self.moment)),
        }

    def operator(self) -> Json:
        """Return the members that name who sent it; the API sends as no operator of its own (inferred)."""
        return {
            "assigneeId": self.conversation.operator if self.conversation else None,
            "operatorEmail": self.conversation.operator if self.conversation else None,
        }


def message_payload(state: State, event_type: str, number: int, moment: float) -> Json:
    """
    Return the payload of an event about a message.

    :param event_type: one of the names in ``event_types``; another one gets the members of every message event.
    :param number: of the message.
    :param moment: when it happened, by the sandbox's clock.
    """
    message = _Message(state, number, moment)
    plain = event_type.removesuffix(types.BSUID)
    base = plain.removesuffix(types.V2)
    build = _BUILDERS.get(base, _Message.common)
    payload = {"eventType": event_type} | build(message)
    if plain.endswith(types.V2) or base in (types.SESSION_FAILED, types.TEMPLATE_FAILED):
        payload["localMessageId"] = state.messages.local_id[number]
        payload |= channel_members(message.channel)
    if event_type.endswith(types.BSUID):
        payload |= person_members(message.contact, always=True)
    return payload


def _received(message: _Message) -> Json:
    note = message.note
    kind, text = message.kind, message.text
    return {
        **message.common(),
        "created": to_iso(message.moment),
        "text": text,
        "data": _media_path(note) if note else None,
        "owner": False,
        "statusString": "SENT",
        "avatarUrl": None,
        "assignedId": message.conversation.operator if message.conversation else None,
        "operatorName": None,
        "operatorEmail": message.conversation.operator if message.conversation else None,
        "waId": message.contact.phone,
        "messageContact": None,
        "senderName": message.contact.name,
        "listReply": {"id": "0", "title": text, "description": None} if kind == "list" else None,
        "interactiveButtonReply": {"id": "0", "title": text} if kind == "interactive" else None,
        "buttonReply": {"payload": text, "text": text} if kind == "button" else None,
        "replyContextId": None,
        "sourceId": None,
        "sourceUrl": None,
        "sourceType": 0,
        **channel_members(message.channel),
        **person_members(message.contact),
    }


def _new_contact(message: _Message) -> Json:
    return {
        "id": message.id,
        "created": to_iso(message.moment),
        "waId": message.contact.phone,
        "senderName": message.contact.name,
        "sourceId": None,
        "sourceUrl": None,
        "sourceType": 0,
        **person_members(message.contact),
    }


def _session_sent(message: _Message) -> Json:
    return {
        **message.common(),
        "text": message.text,
        "data": _media_path(message.note) if message.note else None,
        "owner": True,
        "statusString": "SENT",
        **message.operator(),
        "operatorName": message.note.operator_name if message.note else None,
        "waId": message.contact.phone,
        "chatbotTriggeredEventId": None,
        "replyContextId": "",
        **person_members(message.contact),
    }


def _template_sent(message: _Message) -> Json:
    template = message.broadcast.template if message.broadcast else None
    created = message.broadcast.starts_at if message.broadcast else message.moment
    common = message.common()
    del common["timestamp"]
    return {
        **common,
        "templateId": template.id if template else None,
        "templateName": template.name if template else None,
        "created": to_iso(created),
        "text": message.text,
        "operatorEmail": None,
        "waId": message.contact.phone,
        "statusString": "SENT",
        "sourceType": "API",
        "headerLink": None,
        "headerType": "text" if template and template.header else None,
        "templateContent": {
            "headerText": template.header if template else None,
            "footerText": template.footer if template else None,
            "buttons": render.template(template)["buttons"] if template else [],
        },
        **person_members(message.contact),
    }


def _status(words: str) -> Callable[[_Message], Json]:
    def build(message: _Message) -> Json:
        return {
            **message.common(),
            "statusString": words,
            # Documented: null for template messages.
            "text": message.text if message.note else None,
            **message.operator(),
        }

    return build


def _failed(message: _Message) -> Json:
    failure = message.standing.failure
    return {
        **_status("Failed")(message),
        "failedCode": failure.code if failure else "131026",
        "failedDetail": failure.detail if failure else "Message undeliverable",
    }


_BUILDERS: dict[str, Callable[[_Message], Json]] = {
    types.MESSAGE: _received,
    types.NEW_CONTACT: _new_contact,
    types.SESSION_SENT: _session_sent,
    types.SESSION_FAILED: _failed,
    types.TEMPLATE_SENT: _template_sent,
    types.TEMPLATE_FAILED: _failed,
    types.DELIVERED: _status("Delivered"),
    types.READ: _status("Read"),
    types.REPLIED: _status("Replied"),
}


def chatbot_payload(state: State, event_type: str, talk: Conversation, chatbot: Chatbot) -> Json:
    """
    Return the payload of a started chatbot.

    It is documented with the customer's message that started it. A start by the API has none: the customer's latest one
    stands in its place, and null where there is none (our choice).
    """
    latest = _latest_of_customer(state, talk)
    now = state.clock.now()
    message = {
        "id": None if latest is None else ids.make_id(ids.MESSAGE, latest),
        "whatsappMessageId": None if latest is None else f"wamid.{ids.make_id(ids.MESSAGE, latest)}",
        "text": None if latest is None else render.message_text(state, latest),
    }
    return {
        "eventType": event_type,
        **message,
        "created": to_iso(now),
        "conversationId": talk.id,
        "ticketId": talk.ticket_id,
        "type": "text",
        "data": None,
        "timestamp": str(int(now)),
        "owner": False,
        "avatarUrl": None,
        "waId": talk.contact.phone,
        "messageContact": None,
        "senderName": talk.contact.name,
        "listReply": None,
        "replyContextId": None,
        "chatbotId": chatbot.id,
        **channel_members(talk.channel),
        **person_members(talk.contact, always=event_type.endswith(types.BSUID)),
    }


def review_payload(template: Template, channel: Channel, old_status: str) -> Json:
    """Return the payload of a template whose status has changed; an unknown status counts as pending."""
    return {
        "eventType": types.TEMPLATE_REVIEWED,
        "oldTemplateStatus": TEMPLATE_STATUS_CODES.get(old_status.upper(), 1),
        "newTemplateStatus": TEMPLATE_STATUS_CODES.get(template.status.upper(), 1),
        **_template_members(template),
        **channel_members(channel),
    }


def sample_payload(state: State, event_type: str, channel: Channel) -> Json:
    """
    Return a payload for an event that nothing in the sandbox causes.

    The members of template events are documented; those of a clicked link and of a request for contact details are
    inferred from those of a message.
    """
    template = state.templates[0]
    if event_type == types.TEMPLATE_REVIEWED:
        return review_payload(template, channel, "PENDING")
    changes: dict[str, Json] = {
        types.TEMPLATE_QUALITY: {"oldTemplateQuality": 0, "newTemplateQuality": 1},
        types.TEMPLATE_CATEGORY: {"oldTemplateCategory": "UTILITY", "newTemplateCategory": "MARKETING"},
    }
    if event_type in changes:
        return {
            "eventType": event_type,
            **_template_members(template),
            **changes[event_type],
            **channel_members(channel),
        }
    now = state.clock.now()
    return {
        "eventType": event_type,
        "id": ids.make_id(ids.MESSAGE, 0),
        "created": to_iso(now),
        "timestamp": str(int(now)),
        "waId": "12025550143",
        **channel_members(channel),
    }


def channel_members(channel: Channel) -> Json:
    """Return the members that name a channel; the default channel has no id (documented as null)."""
    return {
        "channelId": None if channel.is_default else channel.id,
        "channelPhoneNumber": channel.phone,
    }


def person_members(contact: Contact, *, always: bool = False) -> Json:
    """
    Return the members of a business-scoped user id.

    :param always: make one up for a contact that has none: it is documented as always there in ``_bsuid`` events.
    """
    bsuid = contact.bsuid or (f"US.{10**19 + contact.number}" if always else None)
    return {"bsuid": bsuid, "parentBsuid": None, "username": contact.username}


def _template_members(template: Template) -> Json:
    return {
        "wabaId": _WABA_ID,
        "templateName": template.name,
        "templateId": str(10**15 + template.number),
        "watiTemplateId": template.id,
    }


def _media_path(note: Note) -> str | None:
    """Return where a file lies, as clients of V1 fetch it (observed)."""
    if note.media is None:
        return None
    return f"data/{note.kind}s/{note.media.file_name}"


def _latest_of_customer(state: State, talk: Conversation) -> int | None:
    for number in reversed(talk.messages[-_LOOK_BACK:]):
        content = state.messages.content[number]
        if isinstance(content, Note) and not content.from_business:
            return number
    return None


_LOOK_BACK = 100
