"""
The data of a workspace at one moment.

Taking them copies what may change and nothing else, because the server answers nobody meanwhile. Writing them down comes
afterwards, in a thread.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.saving.collector import no_collection
from airflow_provider_wati.sandbox.saving.content import record_of_content
from airflow_provider_wati.sandbox.scenarios.delivery_of import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_wati.sandbox.model.records import Broadcast, Note, Params, Template, Webhook
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

#: Rows of a record: few enough that encoding one keeps nobody waiting.
ROWS = 500
CONTACT = (
    "phone", "name", "created", "last_updated", "source", "allow_broadcast", "opted_in", "teams", "custom_params",
    "bsuid", "username",
)  # fmt: skip
TALK = (
    "contact.number", "channel.number", "status", "operator", "tags", "last_inbound", "last_activity", "ticket",
)  # fmt: skip
CAMPAIGN = (
    "name", "channel.number", "template.number", "created", "starts_at", "scheduled", "first", "count",
    "cancelled_at", "visible_at", "filled_at",
)  # fmt: skip
CHANNEL = ("number", "name", "phone", "is_default")
CHATBOT = ("number", "name", "greeting", "created")
_contact, _talk, _campaign = attrgetter(*CONTACT), attrgetter(*TALK), attrgetter(*CAMPAIGN)
_channel, _chatbot = attrgetter(*CHANNEL), attrgetter(*CHATBOT)


@dataclass(frozen=True)
class Snapshot:
    """Copies, which nobody changes any more."""

    workspace: dict[str, Any]
    contacts: Sequence[tuple[Any, ...]]
    talks: Sequence[tuple[tuple[Any, ...], bytes]]
    campaigns: Sequence[tuple[Any, ...]]
    messages: tuple[array[int], array[int], array[float], bytes]
    local_ids: Sequence[str]
    contents: Sequence[Note | Params]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the file."""
        yield {"kind": "workspace", **self.workspace}
        yield from _chunks("contacts", self.contacts)
        for start in range(0, len(self.talks), ROWS):
            rows = [[*row, _numbers(numbers)] for row, numbers in self.talks[start : start + ROWS]]
            yield {"kind": "talks", "rows": rows}
        yield from _chunks("campaigns", self.campaigns)
        for start in range(0, len(self.local_ids), ROWS):
            part = slice(start, start + ROWS)
            columns = (column[part] for column in self.messages)
            contents = map(record_of_content, self.contents[part])
            yield {"kind": "messages", "rows": [*zip(*columns, self.local_ids[part], contents, strict=True)]}


def take(workspace: Workspace) -> Snapshot:
    """Copy the data of a workspace; only between requests."""
    with no_collection():
        return _take(workspace)


def _take(workspace: Workspace) -> Snapshot:
    state, store = workspace.state, workspace.state.messages
    return Snapshot(
        workspace=_workspace(workspace),
        contacts=list(map(_contact, state.everybody)),
        talks=[(_talk(talk), talk.messages.tobytes()) for talk in state.conversations],
        campaigns=[(*_campaign(each), sorted(each.replied)) for each in state.broadcasts],
        messages=(store.contact[:], store.broadcast[:], store.created[:], bytes(store.fate)),
        local_ids=store.local_id.copy(),
        contents=store.content.copy(),
    )


def _workspace(workspace: Workspace) -> dict[str, Any]:
    state = workspace.state
    return {
        "clock": workspace.clock.position(),
        "channels": [[*_channel(each), _numbers_of(each.broadcasts)] for each in state.channels],
        "templates": [_template(each) for each in state.templates],
        "chatbots": [_chatbot(each) for each in state.chatbots],
        "webhooks": [_webhook(each) for each in state.webhooks],
        "teams": state.teams.copy(),
        "tags": state.tags.copy(),
        "operators": state.operators.copy(),
        "tickets": state.tickets,
        "deleted": _deleted(state),
        "by_activity": list(state.by_activity),
        "waiting": [number for _, number in state.waiting],
        "hidden": _numbers_of(state.hidden_broadcasts),
        "delivery": content_of(state.delivery),
        "replies": [
            (each.broadcast.number, each.number, each.text, each.is_tap, each.wait)
            for each in workspace.replies.to_come()
        ],
    }


def _deleted(state: State) -> list[int]:
    if len(state.contacts) == len(state.everybody):
        return []
    return [contact.number for contact in state.everybody if contact.number not in state.contacts]


def _template(template: Template) -> dict[str, Any]:
    names = ("number", "name", "body", "params", "last_modified", "status", "category", "language", "header")
    return {name: getattr(template, name) for name in (*names, "footer", "buttons")} | {
        "channels": [channel.number for channel in template.channels]
    }


def _webhook(webhook: Webhook) -> dict[str, Any]:
    names = ("number", "url", "status", "created", "last_updated", "failures", "is_owner_told")
    own = {name: getattr(webhook, name) for name in names}
    return own | {"event_types": list(webhook.event_types), "channel": webhook.channel.number}


def _numbers_of(campaigns: list[Broadcast]) -> list[int]:
    return [campaign.number for campaign in campaigns]


def _chunks(kind: str, rows: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(rows), ROWS):
        yield {"kind": kind, "rows": rows[start : start + ROWS]}


def _numbers(raw: bytes) -> list[int]:

    return array("I", raw).tolist()
