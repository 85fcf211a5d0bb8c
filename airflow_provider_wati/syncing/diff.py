"""What has to be written for one person, and what an answer of WATI shows. Pure: no calls, no state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_wati.syncing.snapshot import vals_of

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import Contact


class Person(NamedTuple):
    """
    A person to be written to WATI.

    :param id: the row in the scratch database.
    :param values: the mapped attributes as they should be, empty where there is none.
    :param was: the same as WATI has them; None if that is not known.
    :param done: the status when the write succeeds.
    :param switched: whether an answer of WATI has already turned a create into an update, or an update into a create.
    """

    id: int
    phone_number: str
    name: str | None
    values: list[str]
    was: list[str] | None
    done: str
    switched: bool


def attributes_to_create(attributes: Sequence[str], person: Person) -> dict[str, str]:
    """Return the attributes of a new contact: those with a value."""
    return {name: value for name, value in zip(attributes, person.values, strict=True) if value}


def attributes_to_update(attributes: Sequence[str], person: Person) -> dict[str, str]:
    """Return what an update sets: every value, and an empty one where WATI has an old value, or may have one."""
    was: Sequence[str | None] = person.was or [None] * len(person.values)
    return {
        name: value
        for name, value, old in zip(attributes, person.values, was, strict=True)
        if value or old != ""
    }


def different_attribute(written: dict[str, str], contact: Contact) -> str | None:
    """Return an attribute that an answer shows with another value than was written; None if it shows no such one."""
    if not shows_attributes(contact):
        return None
    shown = _params_of(contact)
    return next((name for name, value in written.items() if shown.get(name, "") != value), None)


def shows_attributes(contact: Contact) -> bool:
    """Return whether an answer has the attributes of a contact; some answers of WATI leave them out."""
    return contact.get("custom_params") is not None


def vals_in(attributes: Sequence[str], contact: Contact) -> str:
    """Return the mapped attributes of a contact in the form of the snapshot."""
    params = _params_of(contact)
    return vals_of([params.get(name, "") for name in attributes])


def phone_numbers_of(contact: Contact) -> set[str]:
    """Return the phone numbers of a contact as digits: WATI writes them in two fields, with a plus sign and without."""
    written = (contact.get("phone"), contact.get("wa_id"))
    found = {re.sub(r"\D", "", phone_number) for phone_number in written if phone_number}
    return found - {""}


def match_answer(
    people: Sequence[Person], answer: Iterable[Contact]
) -> tuple[list[tuple[Person, Contact]], list[Person]]:
    """
    Return the contact of each person in the answer to an update, and the people that the answer leaves out.

    WATI may know a phone number in another spelling of its country than the one that was sent. So where an answer
    has as many contacts that nobody asked for as people are left out, these are taken to be the same, and their
    contact is empty.
    """
    answer = list(answer)
    contacts = {phone_number: contact for contact in answer for phone_number in phone_numbers_of(contact)}
    asked = {person.phone_number for person in people}
    others = sum(asked.isdisjoint(phone_numbers_of(contact)) for contact in answer)
    left_out = [person for person in people if person.phone_number not in contacts]
    if len(left_out) <= others:
        contacts.update((person.phone_number, {"id": ""}) for person in left_out)
        left_out = []
    found = [(person, contacts[person.phone_number]) for person in people if person.phone_number in contacts]
    return found, left_out


def _params_of(contact: Contact) -> dict[str, str]:
    return {param["name"]: param.get("value") or "" for param in contact.get("custom_params") or ()}
