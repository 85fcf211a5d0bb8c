"""Phone numbers as tables have them, each with what WATI is to get, or with why it is refused."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from airflow_provider_wati.client.target import RECIPIENTS, Target
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.tables.phone_numbers import TargetReader, dedupe_key_of, spellings_of


@pytest.mark.parametrize(
    ("region", "written", "read"),
    [
        (None, "+91 98765 43210", "919876543210"),
        (None, "919876543210", "919876543210"),
        (None, " 919876543210 ", "919876543210"),
        (None, 919876543210, "919876543210"),
        (None, Decimal(919876543210), "919876543210"),
        (None, "+91-98765.43210", "919876543210"),
        (None, "+91\u00a098765\u201143210", "919876543210"),
        (None, "\u0669\u0661\u0669\u0668\u0667\u0666\u0665\u0664\u0663\u0662\u0661\u0660", "919876543210"),
        (None, "0098 912 345 6789", "989123456789"),
        (None, "00919876543210", "919876543210"),
        (None, "+44 (0)7911 123456", "447911123456"),
        (None, "+44 (0) 7911 123456", "447911123456"),
        ("GB", "07911 123456", "447911123456"),
        ("GB", "7911123456", "447911123456"),
        ("GB", "+91 98765 43210", "919876543210"),
        ("IN", "98765 43210", "919876543210"),
        ("IN", "098765 43210", "919876543210"),
        ("IN", "9876543210", "919876543210"),
        ("IN", 9876543210, "919876543210"),
        ("IN", "919876543210", "919876543210"),
        ("IN", "85264318721", "85264318721"),
        # what spreadsheets put around a number is not seen, and not meant
        (None, "\u200e85264318721\u202c", "85264318721"),
        (None, "\ufeff+91 98765 43210", "919876543210"),
        # people write these without their first 0, or have none to write
        ("US", "2692345678", "12692345678"),
        ("US", "4792345678", "14792345678"),
        ("BR", "11987654321", "5511987654321"),
        ("IT", "3123456789", "393123456789"),
        # spellings that several countries have for one line stay as they are
        (None, "+52 1 55 1234 5678", "5215512345678"),
        (None, "5215512345678", "5215512345678"),
        (None, "+52 55 1234 5678", "525512345678"),
        (None, "+54 9 11 2345 6789", "5491123456789"),
        (None, "+54 11 2345 6789", "541123456789"),
        (None, "+55 11 8765 4321", "551187654321"),
        (None, "+55 11 98765 4321", "5511987654321"),
    ],
)
def test_phone_numbers(region: str | None, written: Any, read: str) -> None:
    reader = TargetReader(region)
    assert reader.read(written) == read
    assert reader.read_number(written) == read


@pytest.mark.parametrize(
    ("region", "written", "why"),
    [
        (None, "9876543210.0", "went through a float"),
        (None, "9.19876543210e11", "went through a float"),
        (None, "919876543210.", "went through a float"),
        ("IN", "9876543210.0", "went through a float"),
        (None, 919876543210.0, "float and may have lost digits"),
        (None, Decimal("919876543210.0"), "Decimal and may have lost digits"),
        (None, Decimal("9.198E+11"), "Decimal and may have lost digits"),
        (None, float("nan"), "there is no phone number"),
        (None, None, "there is no phone number"),
        (None, "", "there is no phone number"),
        (None, "  ", "there is no phone number"),
        (None, True, "a bool is no phone number"),
        (None, b"919876543210", "a bytes is no phone number"),
        (None, ["919876543210"], "a list is no phone number"),
        (None, "+91 98765 43210 ext. 5", "neither a phone number nor an id"),
        (None, "91-98765-ABCDE", "neither a phone number nor an id"),
        (None, "ada@example.com", "neither a phone number nor an id"),
        (None, "+919876543210+85264318721", "two numbers"),
        (None, "09876543210", "no country code"),
        (None, "9990000000000", "no country's code"),
        (None, "+0919876543210", "no country's code"),
        (None, "00 0447911123456", "no country's code"),
        (None, "+07040294", "no country's code"),
        (None, "+39 0", "no phone number follows it"),
        (None, "+91 98765", "too short for country code 91"),
        (None, "+91 98765 43210 9876", "too long for country code 91"),
        (None, "12", "too short"),
        (None, "+49 1512 345678901 23", "too long for country code 49"),
        (None, "+62 812 3456 7890 1234", "too long for country code 62"),
        (None, "+43 1234", "too short for country code 43"),
        ("AT", "1234", "too short"),
        ("GB", "0123", "no phone number of GB"),
        (None, "+91 098765 43210 / 098765 43211", "there may be two numbers in it"),
        (None, "-919876543210", "neither a phone number nor an id"),
        (None, -919876543210, "neither a phone number nor an id"),
        (None, type("NAType", (), {})(), "there is no phone number"),
        # what is appended must not make a foreign number of it
        ("US", "202-555-0143/44", "no phone number of US"),
        ("US", "2025550143 12", "no phone number of US"),
    ],
)
def test_what_is_no_phone_number_is_refused_without_repeating_it(
    region: str | None, written: Any, why: str
) -> None:
    with pytest.raises(WatiValidationError, match=why) as refused:
        TargetReader(region).read(written)
    assert "98765" not in str(refused.value)


def test_a_number_that_may_be_of_the_region_or_international_is_refused() -> None:
    """In Germany 49 is a country code and the beginning of an area code in the north-west."""
    with pytest.raises(
        WatiValidationError, match=r"may be one inside DE, or begin with a country code: write it with \+"
    ):
        TargetReader("DE").read("4921123456")
    assert TargetReader("DE").read("+4921123456") == "4921123456"


@pytest.mark.parametrize(
    "written", ["66b1fb04a5c1d2e3f4a5b6c7", "IN.Ab12cD34", Target.bsuid("IN.Ab12cD34")], ids=str
)
def test_ids_are_let_through_as_targets_and_refused_as_numbers(written: Any) -> None:
    reader = TargetReader("IN")
    assert reader.read(written) == str(getattr(written, "value", written))
    assert reader.read(Target.phone("4921123456")) == "4921123456"
    with pytest.raises(WatiValidationError, match="is no phone number"):
        reader.read_number(written)


@pytest.mark.parametrize(
    ("region", "foreign"),
    [
        ("DE", "393123456789"),
        ("DE", "48512345678"),
        ("DE", "15123456789"),
        ("IN", "6581234567"),
        ("ID", "33612345678"),
        ("AT", "5511961234567"),
    ],
)
def test_a_foreign_number_without_plus_is_not_taken_for_one_of_the_region(region: str, foreign: str) -> None:
    """It would be a stranger's."""
    with pytest.raises(
        WatiValidationError, match=f"may be one inside {region}, or begin with a country code"
    ):
        TargetReader(region).read(foreign)
    assert TargetReader(region).read(f"+{foreign}") == foreign


@pytest.mark.parametrize(
    ("target", "spellings"),
    [
        ("525512345678", ("525512345678", "5215512345678")),
        ("5215512345678", ("525512345678", "5215512345678")),
        ("541123456789", ("541123456789", "5491123456789")),
        ("5491123456789", ("541123456789", "5491123456789")),
        ("551187654321", ("551187654321", "5511987654321")),
        ("5511987654321", ("551187654321", "5511987654321")),
        ("551131234567", ("551131234567",)),
        ("5511931234567", ("5511931234567",)),
        ("85264318721", ("85264318721",)),
        ("66b1fb04a5c1d2e3f4a5b6c7", ("66b1fb04a5c1d2e3f4a5b6c7",)),
    ],
)
def test_two_spellings_of_one_line_are_known_for_the_same(target: str, spellings: tuple[str, ...]) -> None:
    assert spellings_of(target) == spellings
    assert {dedupe_key_of(each) for each in spellings} == {spellings[0]}


@pytest.mark.parametrize(
    "written", ["66B1FB04A5C1D2E3F4A5B6C7", Target.contact("66B1fb04a5c1d2e3f4a5b6c7")], ids=str
)
def test_a_contact_id_in_capitals_is_the_same_contact(written: Any) -> None:
    assert TargetReader().read(written) == "66b1fb04a5c1d2e3f4a5b6c7"


def test_a_target_with_a_channel_is_refused() -> None:
    with pytest.raises(WatiValidationError):
        TargetReader().read(Target.phone("85264318721", channel="85291234567"))


@pytest.mark.parametrize("region", ["XX", "in", "IND", ""])
def test_a_region_that_does_not_exist_is_refused(region: str) -> None:
    with pytest.raises(WatiConfigurationError, match="two letters, as in IN"):
        TargetReader(region)


@pytest.mark.parametrize("region", [None, "AT", "DE", "IN"])
def test_whatever_is_taken_the_client_takes_too(region: str | None) -> None:
    """One number that only the call finds wrong would stop everybody else's."""
    reader = TargetReader(region)
    taken = 0
    for code in COUNTRY_CODE_TO_REGION_CODE:
        for length in range(1, 19):
            for plus in ("", "+"):
                try:
                    read = reader.read(f"{plus}{code}{'9876543212345678987'[:length]}")
                except WatiValidationError:
                    continue
                assert RECIPIENTS.check(read).value == read
                taken += 1
    assert taken > 500


@pytest.mark.parametrize("region", [None, "AR", "DE", "IN", "IT", "US"])
def test_whatever_people_type_is_taken_as_the_client_takes_it_or_refused(region: str | None) -> None:
    """Any other error would stop everybody, in every try."""
    random = Random(region or "")
    reader = TargetReader(region)
    taken = 0
    for _ in range(5_000):
        odd = random.random() < 0.3
        characters = "0123456789" * 3 + ("+ ()-./\u2010\u0669\u00b2eEx" if odd else "")
        start = random.choice(["", "", "+", "00", "+0", "+39", "+44 (0)", "0", "Ada "])
        written = start + "".join(random.choices(characters, k=random.randint(1, 18)))
        try:
            read = reader.read(written)
        except WatiValidationError:
            continue
        assert RECIPIENTS.check(read).value == read, written
        taken += 1
    assert taken > 500
