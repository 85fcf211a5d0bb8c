"""What the parts of a scenario say of each other: names that have to exist, and to exist once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model.delivery import MessageKind
from airflow_provider_wati.sandbox.model.ids import PHONE
from airflow_provider_wati.sandbox.scenarios.delivery_of import delivery_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
#: Shares are decimal fractions: three of them may add up to a little more than 1.
_ROUNDING = 1e-9


def check_references(content: dict[str, Any]) -> None:
    """
    Check a scenario whose members have the right types.

    :raises ApiError: its message names the member.
    """
    for part, key in (("channels", "name"), ("channels", "phone"), ("templates", "name")):
        _unique((item[key] for item in content.get(part, ())), part, f".{key}")
    for part in ("teams", "tags", "operators"):
        _unique(content.get(part, ()), part)
    _check_templates(content)
    people = _check_contacts(content)
    _check_generated(content)
    _check_conversations(content, people)
    _check_failures(content)


def _check_templates(content: dict[str, Any]) -> None:
    channels = {channel["name"] for channel in content["channels"]}
    for index, template in enumerate(content.get("templates", ())):
        where = f"templates[{index}]"
        _known(template.get("channels", ()), channels, f"{where}.channels", "channels")
        used = set(_PLACEHOLDER.findall(template["body"]))
        examples = set(template.get("params", ()))
        for name in sorted(used - examples):
            raise bad_request(f"{where}.params needs an example of {name}, which its body uses.")
        for name in sorted(examples - used):
            raise bad_request(f"{where}.params.{name} is not used by its body: write {{{{{name}}}}} there.")


def _check_contacts(content: dict[str, Any]) -> set[str]:
    contacts = content.get("contacts", ())
    for index, contact in enumerate(contacts):
        where = f"contacts[{index}]"
        if ("phone" in contact) == ("bsuid" in contact):
            raise bad_request(f"{where} needs either a phone or a bsuid.")
        _known(contact.get("teams", ()), set(content.get("teams", ())), f"{where}.teams", "teams")
    for key in ("phone", "bsuid"):
        keys = (contact.get(key, f"none {index}") for index, contact in enumerate(contacts))
        _unique(keys, "contacts", f".{key}")
    return {address_of(contact) for contact in contacts}


def _check_generated(content: dict[str, Any]) -> None:
    generated = content.get("generated_contacts")
    if generated and generated["count"]:
        last = str(int(generated["first_phone"]) + generated["count"] - 1)
        if not PHONE.fullmatch(last):
            raise bad_request("generated_contacts.first_phone leaves no room for so many phone numbers.")


def _check_conversations(content: dict[str, Any], people: set[str]) -> None:
    channels = [channel["name"] for channel in content["channels"]]
    operators, tags = set(content.get("operators", ())), set(content.get("tags", ()))
    for index, talk in enumerate(content.get("conversations", ())):
        where = f"conversations[{index}]"
        _known([talk["contact"]], people, f"{where}.contact", "contacts, by phone or bsuid")
        _known([talk.get("channel", channels[0])], set(channels), f"{where}.channel", "channels")
        _known([talk["operator"]] if "operator" in talk else (), operators, f"{where}.operator", "operators")
        _known(talk.get("tags", ()), tags, f"{where}.tags", "tags")
        earlier = float("inf")
        for position, message in enumerate(talk["messages"]):
            place = f"{where}.messages[{position}]"
            if message["hours_ago"] > earlier:
                raise bad_request(
                    f"{place}.hours_ago is before the message above it: write the oldest first."
                )
            earlier = message["hours_ago"]
            if "operator" in message:
                _known([message["operator"]], operators, f"{place}.operator", "operators")
                if message["from"] == "customer":
                    raise bad_request(f"{place}.operator is for messages from the business.")
    talks = content.get("conversations", ())
    _unique(
        (f"{talk['contact']} {talk.get('channel', channels[0])}" for talk in talks),
        "conversations",
        ", contact and channel,",
    )


def _check_failures(content: dict[str, Any]) -> None:
    failures = delivery_of(content.get("delivery")).failures
    for kind in MessageKind:
        total = sum(each.share for each in failures if each.affects.strikes(kind))
        if total > 1 + _ROUNDING:
            raise bad_request(f"delivery.failures: the shares for {kind} messages add up to {total:g}.")


def address_of(contact: dict[str, Any]) -> str:
    """Return what conversations call a contact."""
    return str(contact.get("phone", contact.get("bsuid")))


def _unique(keys: Iterable[str], part: str, what: str = "") -> None:
    """Refuse a key that an earlier item of a part has already."""
    seen: dict[str, int] = {}
    for index, key in enumerate(keys):
        first = seen.setdefault(key, index)
        if first != index:
            raise bad_request(f"{part}[{index}]{what} is the same as {part}[{first}]{what}.")


def _known(names: Iterable[str], known: set[str], where: str, part: str) -> None:
    if not set(names) <= known:
        raise bad_request(f"{where} must be among the scenario's {part}.")
