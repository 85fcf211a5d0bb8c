"""Fills an empty workspace with a scenario that has been checked."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.records import Channel, Chatbot, Note, Template
from airflow_provider_wati.sandbox.scenarios.references import address_of

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Contact, Conversation
    from airflow_provider_wati.sandbox.model.state import State

_HOUR = 60 * 60
#: How old everything is that was there before.
_AGE = 30 * 24 * _HOUR


def plant(state: State, content: dict[str, Any], *, people: bool) -> None:
    """
    Fill an empty workspace.

    :param content: a checked scenario.
    :param people: also add contacts and their conversations.
    """
    then = state.clock.now() - _AGE
    state.channels = [
        Channel(index + 1, each["name"], each["phone"], is_default=index == 0)
        for index, each in enumerate(content["channels"])
    ]
    state.templates = [
        _template(index + 1, each, state.channels, then)
        for index, each in enumerate(content.get("templates", ()))
    ]
    state.chatbots = [
        Chatbot(index + 1, each["name"], each["greeting"], then)
        for index, each in enumerate(content.get("chatbots", ()))
    ]
    state.teams = list(content.get("teams", ()))
    state.tags = list(content.get("tags", ()))
    state.operators = list(content.get("operators", ()))
    if people:
        contacts = {address_of(each): _contact(state, each) for each in content.get("contacts", ())}
        _generate(state, content.get("generated_contacts"), content.get("delivery", {}).get("seed", 1))
        _plant_conversations(state, content.get("conversations", ()), contacts)


def _template(number: int, content: dict[str, Any], channels: list[Channel], moment: float) -> Template:
    names = content.get("channels", [channel.name for channel in channels])
    optional = {
        name: content[name]
        for name in ("status", "category", "language", "header", "footer")
        if name in content
    }
    return Template(
        number,
        content["name"],
        content["body"],
        dict(content.get("params", {})),
        tuple(channel for channel in channels if channel.name in names),
        moment,
        buttons=tuple(content.get("buttons", ())),
        **optional,
    )


def _contact(state: State, content: dict[str, Any]) -> Contact:
    contact = state.create_contact(
        content.get("phone"),
        content["name"],
        custom_params=dict(content.get("custom_params", {})),
        bsuid=content.get("bsuid"),
        source="whatsapp" if "bsuid" in content else "manual",
    )
    contact.username = content.get("username")
    contact.teams = tuple(content.get("teams", ()))
    contact.allow_broadcast = content.get("allow_broadcast", True)
    contact.opted_in = content.get("opted_in", True)
    return contact


def _generate(state: State, content: dict[str, Any] | None, seed: int) -> None:
    if content is None:
        return
    chance, name = Random(f"{seed} contacts"), content.get("name", "Customer")
    for index in range(content["count"]):
        phone = str(int(content["first_phone"]) + index)
        is_out = chance.random() < content.get("opted_out_share", 0)
        if phone not in state.by_phone:
            contact = state.create_contact(phone, f"{name} {index + 1}", source="import")
            contact.allow_broadcast = contact.opted_in = not is_out


def _plant_conversations(state: State, content: list[dict[str, Any]], contacts: dict[str, Contact]) -> None:
    channels = {channel.name: channel for channel in state.channels}
    talks: list[Conversation] = []
    messages: list[tuple[float, Note]] = []
    for each in content:
        channel = channels[each.get("channel", state.default_channel.name)]
        talk = state.conversation_between(contacts[each["contact"]], channel)
        talks.append(talk)
        messages += [(message["hours_ago"], _note(talk, message)) for message in each["messages"]]
    # Oldest first, so that the latest conversation comes out on top.
    now = state.clock.now()
    for hours_ago, note in sorted(messages, key=lambda item: -item[0]):
        moment = now - hours_ago * _HOUR
        state.say(note, moment) if note.from_business else state.receive(note, moment)
    for talk, each in zip(talks, content, strict=True):
        talk.status = each.get("status", "open")
        talk.operator = each.get("operator")
        talk.tags = tuple(each.get("tags", ()))


def _note(talk: Conversation, content: dict[str, Any]) -> Note:
    return Note(
        talk,
        "text",
        content["text"],
        from_business=content["from"] == "business",
        operator_name=content.get("operator"),
    )
