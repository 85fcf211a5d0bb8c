"""
How WATI addresses people and conversations.

The format is recognised from the value, as WATI documents: digits are a phone number, 24 hexadecimal
characters an id, ``US.123`` a business-scoped user id, and anything before a colon a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.errors import ApiError, bad_request
from airflow_provider_wati.sandbox.model.ids import BSUID, OBJECT_ID, PHONE
from airflow_provider_wati.sandbox.model.lookups import (
    contact_with_id,
    conversation_with_id,
    find_channel_named,
)

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Channel, Contact, Conversation
    from airflow_provider_wati.sandbox.workspace import Workspace


@dataclass(frozen=True)
class Target:
    """A target taken apart. ``channel`` is what stood before the colon."""

    channel: Channel | None
    value: str

    @property
    def is_id(self) -> bool:
        return OBJECT_ID.fullmatch(self.value) is not None


def parse_target(workspace: Workspace, text: str) -> Target:
    """
    Take a target apart.

    :raises ApiError: 400 for something that is no target, and for an unknown channel.
    """
    prefix, colon, value = text.rpartition(":")
    if not (PHONE.fullmatch(value) or OBJECT_ID.fullmatch(value) or BSUID.fullmatch(value)):
        raise bad_request("The target is not valid.")
    return Target(find_channel(workspace, prefix) if colon else None, value)


def find_channel(workspace: Workspace, name_or_phone: str | None) -> Channel:
    """
    Return the channel of a request; None is the default channel.

    :raises ApiError: 400 with the text that was observed at WATI.
    """
    if name_or_phone is None:
        return workspace.state.default_channel
    channel = find_channel_named(workspace.state, name_or_phone)
    if channel is None:
        raise bad_request("Channel not found")
    return channel


def find_contact(workspace: Workspace, text: str) -> Contact:
    """
    Resolve a contact target: phone, contact id or BSUID, each with or without a channel.

    A contact is one person on all channels here (our choice), so a valid channel makes no difference.
    """
    target = parse_target(workspace, text)
    contact = _person(workspace, target)
    if contact is None:
        raise workspace.missing("Contact not found")
    return contact


def find_conversation(workspace: Workspace, text: str) -> Conversation | None:
    """
    Resolve a conversation target: conversation id, or phone or BSUID with or without a channel.

    Without a channel it is the most recent open conversation of that person, and several open ones are a
    conflict (documented). With none open it is the most recent one (our choice). A contact id names no
    conversation: the newest documentation says not to use one.

    :return: None when the person is unknown or nothing was ever said.
    :raises ApiError: 400 for something that is no target, 409 when it is ambiguous.
    """
    target = parse_target(workspace, text)
    if target.is_id:
        return None if target.channel else conversation_with_id(workspace.state, target.value)
    contact = _person(workspace, target)
    if contact is None:
        return None
    if target.channel is not None:
        return contact.conversation_on(target.channel)
    candidates = [conversation for conversation in contact.conversations if conversation.is_open]
    if len(candidates) > 1:
        raise ApiError(409)
    return max(
        candidates or contact.conversations,
        key=lambda conversation: conversation.last_activity,
        default=None,
    )


def existing_conversation(workspace: Workspace, text: str) -> Conversation:
    """Resolve a conversation target that has to exist."""
    conversation = find_conversation(workspace, text)
    if conversation is None:
        raise workspace.missing("Conversation not found")
    return conversation


def _person(workspace: Workspace, target: Target) -> Contact | None:
    state = workspace.state
    if target.is_id:
        return contact_with_id(state, target.value)
    return state.person(target.value)
