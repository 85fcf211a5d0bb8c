"""Finds what a request names, in a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model import ids

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import (
        Broadcast,
        Channel,
        Contact,
        Conversation,
        Template,
    )
    from airflow_provider_wati.sandbox.model.state import State


def find_channel_named(state: State, name_or_phone: str) -> Channel | None:
    """Return a channel by its name or number; the name ``Default`` addresses none (observed)."""
    for channel in state.channels:
        if name_or_phone == channel.phone or (name_or_phone == channel.name and not channel.is_default):
            return channel
    return None


def find_template(state: State, name: str, channel: Channel) -> Template | None:
    for template in state.templates:
        if template.name == name and channel in template.channels:
            return template
    return None


def contact_with_id(state: State, contact_id: str) -> Contact | None:
    number = ids.read_id(ids.CONTACT, contact_id)
    return None if number is None else state.contacts.get(number)


def conversation_with_id(state: State, conversation_id: str) -> Conversation | None:
    """Return a conversation unless its contact was deleted."""
    number = ids.read_conversation_id(conversation_id)
    if number is None or number >= len(state.conversations):
        return None
    conversation = state.conversations[number]
    return conversation if conversation.contact.number in state.contacts else None


def broadcast_with_id(state: State, broadcast_id: str) -> Broadcast | None:
    number = ids.read_id(ids.BROADCAST, broadcast_id)
    return state.broadcasts[number] if number is not None and number < len(state.broadcasts) else None
