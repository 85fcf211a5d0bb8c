"""The workspace's things as the JSON that WATI answers with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sandbox.model.campaigns import broadcast_status, statistics
from airflow_provider_wati.sandbox.model.clock import to_iso
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import (
        Broadcast,
        Channel,
        Chatbot,
        Contact,
        Conversation,
        Params,
        Template,
        Webhook,
    )
    from airflow_provider_wati.sandbox.model.state import State

Json = dict[str, Any]

_PLACEHOLDER = re.compile(r"{{\s*(\w+)\s*}}")
#: The statuses as V2 numbers them (documented).
_WEBHOOK_STATUS_CODES = {"Disabled": 0, "Enabled": 1, "Defective": 2}
_LANGUAGE_NAMES = {"en_US": "English (US)"}


def contact(person: Contact, state: State) -> Json:
    # Documented examples write `phone` with a plus sign and `wa_id` without.
    phone = None if person.phone is None else f"+{person.phone}"
    channel = person.conversations[0].channel if person.conversations else state.default_channel
    return {
        "id": person.id,
        "wa_id": person.phone,
        "name": person.name,
        "phone": phone,
        "photo": None,
        "created": to_iso(person.created),
        "last_updated": to_iso(person.last_updated),
        "contact_status": "active",
        "source": person.source,
        "channel_id": channel.id,
        "channel_type": "whatsapp",
        "ig_phone_source": None,
        "mg_phone_source": None,
        "opted_in": person.opted_in,
        "allow_broadcast": person.allow_broadcast,
        "allow_sms": True,
        "teams": list(person.teams),
        "segments": [],
        "custom_params": name_values(person.custom_params or {}),
        "display_name": person.name,
        "contact_link": {
            "whats_app_contact_id": person.id,
            "instagram_contact_id": None,
            "messenger_contact_id": None,
        },
        # A string in the published schema, a boolean in its example.
        "is_broadcast_limit_reached": False,
        "bsuid": person.bsuid,
        "username": person.username,
        "parentBsuid": None,
    }


def name_values(values: dict[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in values.items()]


def params_list(params: Params) -> list[Json]:
    """Write out what the caller gave; the schema of recipients wants text, so null becomes an empty one."""
    names = params[0]
    if not isinstance(names, tuple):
        return []
    return [{"name": name or "", "value": value or ""} for name, value in zip(names, params[1:], strict=True)]


def conversation(talk: Conversation) -> Json:
    """Only ``id`` and ``channel_type`` are documented; the other members are our choice."""
    return {
        "id": talk.id,
        "channel_type": "whatsapp",
        "channel_id": talk.channel.id,
        "contact_id": talk.contact.id,
        "contact_name": talk.contact.name,
        "wa_id": talk.contact.phone,
        "bsuid": talk.contact.bsuid,
        "status": talk.status,
        "assigned_id": talk.operator,
        "tags": list(talk.tags),
        "last_updated": to_iso(talk.last_activity),
    }


def message(state: State, number: int) -> Json:
    store = state.messages
    content = store.content[number]
    broadcast = state.broadcast_of(number)
    note = content if isinstance(content, Note) else None
    talk = note.conversation if note else _conversation_of_broadcast_message(state, number)
    standing = state.standing(number)
    created = store.created[number] if broadcast is None else broadcast.starts_at
    return {
        "id": ids.make_id(ids.MESSAGE, number),
        "created": to_iso(created),
        "conversation_id": talk.id if talk else None,
        "ticket_id": talk.ticket_id if talk else None,
        "event_type": "message" if note else "broadcast",
        "text": message_text(state, number),
        "type": note.kind if note else "template",
        "timestamp": str(int(created)),
        "owner": note.from_business if note else True,
        "status": standing.status,
        "avatar_url": None,
        "assigned_id": talk.operator if talk else None,
        "operator_name": note.operator_name if note else None,
        "failed_detail": standing.failure.detail if standing.failure else None,
        "bot_type": None,
        "local_message_id": store.local_id[number],
    }


def _conversation_of_broadcast_message(state: State, number: int) -> Conversation | None:
    broadcast = state.broadcast_of(number)
    return state.contact_of_message(number).conversation_on(broadcast.channel) if broadcast else None


def message_text(state: State, number: int) -> str:
    """Return what the person reads: a template is filled in with its parameters."""
    content = state.messages.content[number]
    if isinstance(content, Note):
        return content.text
    broadcast = state.broadcast_of(number)
    if broadcast is None:
        return ""
    return filled_in(broadcast.template.body, content)


def filled_in(words: str, params: Params) -> str:
    """Return a text of a template with its parameters in their places; a missing one leaves its placeholder."""
    values = {param["name"]: param["value"] for param in params_list(params)}
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), words)


def template(item: Template) -> Json:
    answer: Json = {
        "id": item.id,
        "name": item.name,
        "category": item.category,
        "sub_category": "STANDARD",
        "hsm": item.body,
        "hsm_original": item.body,
        "custom_params": name_values(item.params),
        "status": item.status,
        "language_option": {
            "key": _LANGUAGE_NAMES.get(item.language, item.language),
            "value": item.language,
            "text": _LANGUAGE_NAMES.get(item.language, item.language),
        },
        "last_modified": to_iso(item.last_modified),
        "type": "TEXT",
        "body": item.body,
        "body_original": item.body,
        "footer": item.footer,
        "buttons": [{"type": "quick_reply", "parameter": {"text": text}} for text in item.buttons],
        "buttons_type": "quick_reply" if item.buttons else None,
        "carousel_cards": [],
        "expires_in": 0,
        "include_expiry_time": False,
        "add_security_recommendation": False,
        "is_url_btn_click_tracking_enabled": False,
        "quality": "GREEN",
        "creation_method": "HUMAN",
    }
    # The schema has no null here: a member without content is left out.
    if item.header is not None:
        answer["header"] = {"type": "text", "text": item.header, "header_original": item.header}
    return answer


def broadcast(state: State, item: Broadcast) -> Json:
    return {
        "id": item.id,
        "channel_id": item.channel.id,
        "name": item.name,
        "status": broadcast_status(state, item),
        "template_id": item.template.id,
        "fallback_templates": [],
        "created": to_iso(item.created),
        "last_updated": to_iso(
            item.cancelled_at or max(item.created, min(item.starts_at, state.clock.now()))
        ),
        "scheduled_at": to_iso(item.starts_at),
    }


def broadcast_details(state: State, item: Broadcast, *, cumulative: bool) -> Json:
    return broadcast(state, item) | {"statistics": statistics(state, item, cumulative=cumulative)}


def recipient(state: State, number: int) -> Json:
    store = state.messages
    person = state.contact_of_message(number)
    standing = state.standing(number)
    content = store.content[number]
    message_id = ids.make_id(ids.MESSAGE, number)
    return {
        "id": message_id,
        "contact_id": person.id,
        "contact_name": person.name,
        "contact_phone": None if person.phone is None else f"+{person.phone}",
        "status": standing.status,
        "failed_code": standing.failure.code if standing.failure else None,
        "local_message_id": store.local_id[number],
        "message_id": None if standing.status in ("pending", "stopped") else f"wamid.{message_id}",
        "custom_params": [] if isinstance(content, Note) else params_list(content),
        "created": to_iso(store.created[number]),
        "bsuid": person.bsuid,
    }


def channel(item: Channel) -> Json:
    return {"id": None if item.is_default else item.id, "name": item.name, "channel": "Whatsapp"}


def chatbot(item: Chatbot) -> Json:
    return {"id": item.id, "name": item.name, "created": to_iso(item.created)}


def webhook_record(item: Webhook, tenant: str) -> Json:
    """Return a webhook as V2 does (documented)."""
    return {
        "id": item.id,
        "tenantId": tenant,
        "channelId": None if item.channel.is_default else item.channel.id,
        "channelPhoneNumber": item.channel.phone,
        "url": item.url,
        "status": _WEBHOOK_STATUS_CODES[item.status],
        "created": to_iso(item.created),
        "lastUpdated": to_iso(item.last_updated),
        "failedIterationCount": item.failures,
        "isSentNotify": item.is_owner_told,
        "eventTypes": item.event_types,
    }


def webhook(item: Webhook) -> Json:
    return {"id": item.id, "url": item.url, "eventTypes": item.event_types, "status": item.status}
