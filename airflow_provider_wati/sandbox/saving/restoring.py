"""Builds a workspace from the records of a file."""

from __future__ import annotations

import heapq
from array import array
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.clock import Clock
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
from airflow_provider_wati.sandbox.model.replies import Reply
from airflow_provider_wati.sandbox.model.state import State
from airflow_provider_wati.sandbox.saving.content import Names, content_of_record
from airflow_provider_wati.sandbox.saving.snapshot import CAMPAIGN, CHANNEL, CHATBOT, CONTACT
from airflow_provider_wati.sandbox.scenarios.delivery_of import delivery_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wati.sandbox.workspace import Workspace


def restore(workspace: Workspace, records: list[dict[str, Any]]) -> None:
    """
    Go on with what a file has.

    :raises Exception: of any kind, when the records are not those of a snapshot; the workspace is as before.
    """
    [head] = (record for record in records if record["kind"] == "workspace")
    rows: dict[str, list[Any]] = {"contacts": [], "talks": [], "campaigns": [], "messages": []}
    for record in records:
        if record["kind"] != "workspace":
            rows[record["kind"]] += record["rows"]
    clock = Clock()
    clock.set_position(*head["clock"])
    state = State(clock)
    state.delivery = delivery_of(head["delivery"])
    _restore_workspace(state, head)
    _restore_contacts(state, rows["contacts"], set(head["deleted"]))
    _restore_talks(state, rows["talks"], head)
    _restore_messages(state, rows["messages"])
    _restore_campaigns(state, rows["campaigns"], head)
    replies = [Reply(state.broadcasts[campaign], *rest) for campaign, *rest in head["replies"]]
    workspace.adopt(state)
    for reply in replies:
        workspace.replies.add(reply)
    _follow_on(workspace)


def _restore_workspace(state: State, head: dict[str, Any]) -> None:
    state.channels = [Channel(**dict(zip(CHANNEL, each[:-1], strict=True))) for each in head["channels"]]
    channels = {channel.number: channel for channel in state.channels}
    state.templates = [
        Template(
            **each
            | {
                "channels": tuple(channels[number] for number in each["channels"]),
                "buttons": tuple(each["buttons"]),
            }
        )
        for each in head["templates"]
    ]
    state.chatbots = [Chatbot(**dict(zip(CHATBOT, each, strict=True))) for each in head["chatbots"]]
    state.webhooks = [Webhook(**each | {"channel": channels[each["channel"]]}) for each in head["webhooks"]]
    state.teams, state.tags, state.operators = head["teams"], head["tags"], head["operators"]
    state.tickets = head["tickets"]


def _restore_contacts(state: State, rows: Iterable[list[Any]], deleted: set[int]) -> None:
    for number, row in enumerate(rows):
        values = dict(zip(CONTACT, row, strict=True))
        contact = Contact(number, **values | {"teams": tuple(values["teams"])})
        state.everybody.append(contact)
        if number in deleted:
            continue
        state.contacts[number] = contact
        if contact.phone is not None:
            state.by_phone[contact.phone] = contact
        if contact.bsuid is not None:
            state.by_bsuid[contact.bsuid] = contact


def _restore_talks(state: State, rows: Iterable[list[Any]], head: dict[str, Any]) -> None:
    channels = {channel.number: channel for channel in state.channels}
    for number, row in enumerate(rows):
        contact_number, channel, status, operator, tags, last_inbound, last_activity, ticket, messages = row
        contact = state.everybody[contact_number]
        talk = Conversation(
            number,
            contact,
            channels[channel],
            status,
            operator,
            tuple(tags),
            last_inbound,
            last_activity,
            ticket,
            array("I", messages),
        )
        contact.conversations = (*contact.conversations, talk)
        state.conversations.append(talk)
    state.by_activity = {number: state.conversations[number] for number in head["by_activity"]}


def _restore_messages(state: State, rows: Iterable[list[Any]]) -> None:
    names_seen: dict[Names, Names] = {}
    for contact, broadcast, created, fate, local_id, content in rows:
        state.messages.add(
            contacts=[contact],
            broadcast=broadcast,
            created=created,
            fates=bytes([fate]),
            local_ids=[local_id],
            contents=[content_of_record(content, state.conversations, names_seen)],
        )


def _restore_campaigns(state: State, rows: Iterable[list[Any]], head: dict[str, Any]) -> None:
    channels = {channel.number: channel for channel in state.channels}
    templates = {template.number: template for template in state.templates}
    names = [name.partition(".")[0] for name in CAMPAIGN]
    for number, (*row, replied) in enumerate(rows):
        values = dict(zip(names, row, strict=True))
        values["channel"], values["template"] = channels[values["channel"]], templates[values["template"]]
        state.broadcasts.append(Broadcast(number=number, **values, replied=set(replied)))
    for channel, each in zip(state.channels, head["channels"], strict=True):
        channel.broadcasts = [state.broadcasts[number] for number in each[-1]]
    state.hidden_broadcasts = [state.broadcasts[number] for number in head["hidden"]]
    state.waiting = [(state.broadcasts[number].starts_at, number) for number in head["waiting"]]
    heapq.heapify(state.waiting)


def _follow_on(workspace: Workspace) -> None:
    """Tell webhooks of the statuses that are still to come; those that came while the sandbox was off are not told."""
    state, recorder = workspace.state, workspace.recorder
    waiting = {number for _, number in state.waiting}
    for broadcast in state.broadcasts:
        if broadcast.number not in waiting and broadcast.cancelled_at is None:
            recorder.broadcast_started(broadcast)
    last = state.timeline.longest
    for number, content in enumerate(state.messages.content):
        age = (state.clock.now() - state.messages.created[number]) * state.speed
        if age < last and isinstance(content, Note) and content.from_business:
            recorder.said(number)
    while recorder.courses.take_due(state.clock.now()) is not None:
        pass
