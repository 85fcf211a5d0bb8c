"""What is written for one person, and what an answer of WATI shows."""

from __future__ import annotations

from typing import Any, cast

import pytest

from airflow_provider_wati.syncing.diff import (
    Person,
    attributes_to_create,
    attributes_to_update,
    different_attribute,
    match_answer,
    phone_numbers_of,
    vals_in,
)

ATTRIBUTES = ("tier", "city")


def person(phone_number: str = "919810000001", **fields: Any) -> Person:
    given = {
        "id": 1,
        "name": "Ada",
        "values": ["gold", ""],
        "was": None,
        "done": "updated",
        "switched": False,
    }
    return Person(phone_number=phone_number, **{**given, **fields})


def contact(phone: str | None = None, **params: str | None) -> Any:
    return {
        "id": "c",
        "phone": phone,
        "custom_params": [{"name": name, "value": value} for name, value in params.items()],
    }


def test_a_new_contact_gets_only_attributes_with_a_value() -> None:
    """An attribute without a value is not created."""
    assert attributes_to_create(ATTRIBUTES, person()) == {"tier": "gold"}


@pytest.mark.parametrize(
    ("was", "written"),
    [
        (None, {"tier": "gold", "city": ""}),
        (["", "Pune"], {"tier": "gold", "city": ""}),
        (["gold", ""], {"tier": "gold"}),
    ],
)
def test_an_update_empties_an_old_value_and_one_that_is_not_known(
    was: list[str] | None, written: dict[str, str]
) -> None:
    """An empty value is written where WATI has another one, or may have one."""
    assert attributes_to_update(ATTRIBUTES, person(was=was)) == written


@pytest.mark.parametrize(
    ("answer", "attribute"),
    [
        (contact(tier="gold"), None),
        (contact(tier="gold", city=None, other="x"), None),
        (contact(tier="silver"), "tier"),
        (contact(tier="gold", city="Pune"), "city"),
        ({"id": "c"}, None),
    ],
    ids=str,
)
def test_an_answer_with_another_value_names_its_attribute(answer: Any, attribute: str | None) -> None:
    """Only an answer that shows attributes can contradict what was written."""
    assert different_attribute({"tier": "gold", "city": ""}, answer) == attribute


def test_values_of_a_contact_are_in_the_order_of_the_mapping() -> None:
    """An attribute that the contact does not have is empty."""
    assert vals_in(ATTRIBUTES, contact(city="Pune", other="x")) == '["","Pune"]'


def test_a_contact_has_the_phone_numbers_of_both_fields() -> None:
    """WATI writes phone numbers in two fields, with and without a plus sign."""
    found = phone_numbers_of(cast("Any", {"id": "c", "phone": "+91 98100 00001", "wa_id": "919810000002"}))
    assert found == {"919810000001", "919810000002"}
    assert phone_numbers_of(contact()) == set()


def test_an_answer_in_another_spelling_belongs_to_the_person() -> None:
    """A contact belongs to a person under each spelling of the phone number."""
    mexican = person("5215512345678")
    found, left_out = match_answer([person(), mexican], [contact("919810000001"), contact("525512345678")])
    assert [each.phone_number for each, _ in found] == ["919810000001", "5215512345678"]
    assert left_out == []


@pytest.mark.parametrize("others", [[], [contact()], [contact("919810000003")]], ids=str)
def test_people_that_an_answer_leaves_out_are_named(others: list[Any]) -> None:
    """A person without a contact in the answer was not updated, whoever else is in it."""
    missing = person("919810000002")
    found, left_out = match_answer([person(), missing], [contact("919810000001"), *others])
    assert [each.phone_number for each, _ in found] == ["919810000001"]
    assert left_out == [missing]
