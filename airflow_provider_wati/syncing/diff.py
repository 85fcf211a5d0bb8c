"""What has to be written for one person, and what an answer of WATI shows. Pure: no calls, no state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wati.syncing.values import Value, is_same, shown_text, shown_value, vals_of
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import Contact


#: The longest phone number, by the standard E.164.
_MOST_DIGITS = 15


class Seen(NamedTuple):
    """
    What WATI shows of one contact.

    :param phone_number: in the spelling that WATI has.
    :param name: None where there is none.
    :param vals: the mapped attributes, see :func:`.values.vals_of`; None where they are not shown.
    """

    phone_number: str
    name: str | None
    vals: str | None


class Person(NamedTuple):
    """
    A person to be written to WATI.

    :param id: the row in the scratch database.
    :param phone_number: in the spelling that WATI has, as far as is known.
    :param values: the mapped attributes as they should be, empty where there is none.
    :param was: the same as WATI has them; None if that is not known.
    :param done: the status when the write succeeds.
    :param switched: whether an answer of WATI has already turned a create into an update, or an update into a create, or
        has shown another spelling of the phone number.
    """

    id: int
    phone_number: str
    name: str | None
    values: list[str]
    was: list[Value] | None
    done: str
    switched: bool


def attributes_to_create(attributes: Sequence[str], person: Person) -> dict[str, str]:
    """Return the attributes of a new contact: those with a value."""
    return {name: value for name, value in zip(attributes, person.values, strict=True) if value}


def attributes_to_update(attributes: Sequence[str], person: Person) -> dict[str, str]:
    """Return what an update sets: every value, and an empty one where WATI has an old value, or may have one."""
    was: Sequence[Value | None] = person.was or [None] * len(person.values)
    return {
        name: value
        for name, value, old in zip(attributes, person.values, was, strict=True)
        if value or old != ""
    }


def update_of(attributes: Sequence[str], person: Person) -> dict[str, object]:
    """Return the entry of a person in the call that updates contacts."""
    return {"target": person.phone_number, "custom_params": attributes_to_update(attributes, person)}


def different_attribute(written: dict[str, str], contact: Contact) -> str | None:
    """Return an attribute that an answer shows with another value than was written; None if it shows no such one."""
    if not shows_attributes(contact):
        return None
    shown = params_of(contact)
    return next((name for name, value in written.items() if not is_same(value, shown.get(name, ""))), None)


def shows_attributes(contact: Contact) -> bool:
    """Return whether an answer has the attributes of a contact; some answers of WATI leave them out."""
    return isinstance(contact.get("custom_params"), (list, dict))


def vals_in(attributes: Sequence[str], contact: Contact, written: Sequence[str] | None = None) -> str:
    """
    Return the mapped attributes of a contact in the form of the snapshot.

    :param attributes: their names.
    :param contact: what WATI shows.
    :param written: the texts of the row, which are taken where WATI shows the same value in another form.
    """
    params = params_of(contact)
    shown = [params.get(name, "") for name in attributes]
    if written is not None:
        shown = [mine if is_same(mine, value) else value for mine, value in zip(written, shown, strict=True)]
    return vals_of(shown)


def phone_numbers_of(contact: Contact) -> set[str]:
    """
    Return the phone numbers of a contact as digits: WATI writes them in two fields, with a plus sign and without.

    What is longer than any phone number is something else, such as a BSUID, and the snapshot does not take it.
    """
    written: tuple[Any, ...] = (contact.get("phone"), contact.get("wa_id"))
    return {digits for value in written if 0 < len(digits := _digits_of(value)) <= _MOST_DIGITS}


def _digits_of(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return "".join(re.findall(r"[0-9]", str(value)))


def seen_in(attributes: Sequence[str], contact: Contact, phone_number: str) -> Seen:
    """
    Return what WATI shows of a person.

    :param attributes: the mapped attributes.
    :param contact: the contact of the person.
    :param phone_number: the person as a row has it; where WATI shows another spelling of it only, that one is taken.
    """
    shown = sorted(phone_numbers_of(contact))
    same = [each for each in shown if dedupe_key_of(each) == dedupe_key_of(phone_number)]
    spelling = phone_number if phone_number in same or not same else same[0]
    return Seen(spelling, shown_text(contact.get("name")), vals_in(attributes, contact))


def listed_in(attributes: Sequence[str], contact: Contact) -> list[Seen]:
    """Return what a listed contact shows, once for each of its phone numbers."""
    name, vals = shown_text(contact.get("name")), vals_in(attributes, contact)
    return [Seen(phone_number, name, vals) for phone_number in sorted(phone_numbers_of(contact))]


def match_answer(
    people: Sequence[Person], answer: Iterable[Contact]
) -> tuple[list[tuple[Person, Contact]], list[Person]]:
    """
    Return the contact of each person in the answer to an update, and the people that the answer leaves out.

    A contact belongs to a person under each spelling of the phone number.
    """
    contacts = {dedupe_key_of(each): contact for contact in answer for each in phone_numbers_of(contact)}
    found: list[tuple[Person, Contact]] = []
    left_out: list[Person] = []
    for person in people:
        contact = contacts.get(dedupe_key_of(person.phone_number))
        if contact is None:
            left_out.append(person)
        else:
            found.append((person, contact))
    return found, left_out


def params_of(contact: Contact) -> dict[str, Value]:
    """Return the attributes by name, whatever form WATI gives them in; one without a name is left out."""
    params: Any = contact.get("custom_params")
    if isinstance(params, dict):
        pairs = list(params.items())
    elif isinstance(params, list):
        pairs = [(param.get("name"), param.get("value")) for param in params if isinstance(param, dict)]
    else:
        pairs = []
    return {name: shown_value(value) for name, value in pairs if isinstance(name, str)}
