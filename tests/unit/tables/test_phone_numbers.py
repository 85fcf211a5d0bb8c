"""Phone numbers as tables hold them: what WATI gets, or why they are refused."""

from __future__ import annotations

import enum
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from airflow_provider_wati.client.target import RECIPIENTS, Target
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.tables.phone_numbers import (
    TargetReader,
    dedupe_key_of,
    normal_form,
    spellings_of,
)


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
        # invisible marks that spreadsheets put around phone numbers
        (None, "\u200e85264318721\u202c", "85264318721"),
        (None, "\ufeff+91 98765 43210", "919876543210"),
        # people write these without their first 0, or have none to write
        ("US", "2692345678", "12692345678"),
        ("US", "4792345678", "14792345678"),
        ("BR", "11987654321", "5511987654321"),
        ("IT", "3123456789", "393123456789"),
        # where a country has two spellings of one phone number, each stays as it is
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
    """Usual spellings of a phone number give the digits that WATI takes."""
    reader = TargetReader(region)
    assert reader.read(written) == read
    assert reader.read_phone_number(written) == read


@pytest.mark.parametrize(
    ("region", "written", "why"),
    [
        (None, "9876543210.0", "was a float and may have lost digits"),
        (None, "9.19876543210e11", "was a float and may have lost digits"),
        (None, "919876543210.", "was a float and may have lost digits"),
        ("IN", "9876543210.0", "was a float and may have lost digits"),
        (None, 919876543210.0, "is a float and may have lost digits"),
        (None, Decimal("919876543210.0"), "Decimal and may have lost digits"),
        (None, Decimal("9.198E+11"), "Decimal and may have lost digits"),
        (None, float("nan"), "there is no phone number"),
        (None, None, "there is no phone number"),
        (None, "", "there is no phone number"),
        (None, "  ", "there is no phone number"),
        (None, True, "a value of type bool is not a phone number"),
        (None, b"919876543210", "a value of type bytes is not a phone number"),
        (None, ["919876543210"], "a value of type list is not a phone number"),
        (None, "+91 98765 43210 ext. 5", "neither a phone number nor an id"),
        (None, "91-98765-ABCDE", "neither a phone number nor an id"),
        (None, "ada@example.com", "neither a phone number nor an id"),
        (None, "+919876543210+85264318721", "two numbers"),
        (None, "09876543210", "no country code"),
        (None, "9990000000000", "not begin with a country code"),
        (None, "+0919876543210", "not begin with a country code"),
        (None, "00 0447911123456", "not begin with a country code"),
        (None, "+07040294", "not begin with a country code"),
        (None, "+39 0", "no phone number follows it"),
        (None, "+91 98765", "too short for country code 91"),
        (None, "+91 98765 43210 9876", "too long for country code 91"),
        (None, "12", "too short"),
        (None, "+49 1512 345678901 23", "too long for country code 49"),
        (None, "+62 812 3456 7890 1234", "too long for country code 62"),
        (None, "+43 1234", "too short for country code 43"),
        ("AT", "1234", "too short"),
        ("GB", "0123", "not a phone number of GB"),
        (None, "+91 098765 43210 / 098765 43211", "there may be two numbers in it"),
        (None, "-919876543210", "neither a phone number nor an id"),
        (None, -919876543210, "neither a phone number nor an id"),
        (None, type("NAType", (), {})(), "there is no phone number"),
        # an appended extension must not make it a foreign phone number
        ("US", "202-555-0143/44", "not a phone number of US"),
        ("US", "2025550143 12", "not a phone number of US"),
    ],
)
def test_anything_else_is_refused_without_repeating_it(region: str | None, written: Any, why: str) -> None:
    """The error says why it is not a phone number and does not show it, because errors are logged."""
    with pytest.raises(WatiValidationError, match=why) as refused:
        TargetReader(region).read(written)
    assert "98765" not in str(refused.value)


def test_a_number_that_python_does_not_write_is_refused() -> None:
    """A whole number of more than 4,300 digits makes its row invalid, and stops nobody else."""
    with pytest.raises(WatiValidationError, match="too many digits"):
        TargetReader().read(10**5000)


def test_digits_that_are_national_or_international_are_refused() -> None:
    """In Germany 49 is a country code and the beginning of an area code in the north-west."""
    with pytest.raises(
        WatiValidationError,
        match=r"can be a phone number of DE, or one with a country code: write it with \+",
    ):
        TargetReader("DE").read("4921123456")
    assert TargetReader("DE").read("+4921123456") == "4921123456"


@pytest.mark.parametrize(
    "written", ["66b1fb04a5c1d2e3f4a5b6c7", "IN.Ab12cD34", Target.bsuid("IN.Ab12cD34")], ids=str
)
def test_ids_are_targets_and_not_phone_numbers(written: Any) -> None:
    """A contact id and a BSUID are targets; where a phone number is needed, they are refused."""
    reader = TargetReader("IN")
    assert reader.read(written) == str(getattr(written, "value", written))
    assert reader.read(Target.phone("4921123456")) == "4921123456"
    with pytest.raises(WatiValidationError, match="is not a phone number"):
        reader.read_phone_number(written)


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
def test_a_foreign_phone_number_without_plus_is_not_read_as_one_of_the_region(
    region: str, foreign: str
) -> None:
    """A message to a misread phone number would reach a stranger."""
    with pytest.raises(
        WatiValidationError, match=f"can be a phone number of {region}, or one with a country code"
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
def test_two_spellings_of_one_phone_number_have_one_dedupe_key(
    target: str, spellings: tuple[str, ...]
) -> None:
    """Mexican, Argentinian and Brazilian mobiles are one person in both spellings; landlines have one spelling."""
    assert spellings_of(target) == spellings
    assert {dedupe_key_of(each) for each in spellings} == {spellings[0]}


@pytest.mark.parametrize(
    "written", ["66B1FB04A5C1D2E3F4A5B6C7", Target.contact("66B1fb04a5c1d2e3f4a5b6c7")], ids=str
)
def test_a_contact_id_in_capitals_is_the_same_contact(written: Any) -> None:
    """A contact id is read in small letters, as WATI writes it."""
    assert TargetReader().read(written) == "66b1fb04a5c1d2e3f4a5b6c7"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target.phone("85264318721", channel="85291234567"), "it names a channel"),
        (Target.conversation("66b1fb04a5c1d2e3f4a5b6c7"), "a conversation id does not name a person"),
    ],
)
def test_a_target_object_that_a_send_cannot_take_is_refused(target: Target, why: str) -> None:
    """A channel is named once for the whole send, and a conversation is not a person."""
    with pytest.raises(WatiValidationError, match=why):
        TargetReader().read(target)


@pytest.mark.parametrize(
    ("region", "listed", "key"),
    [
        (None, "+91 98100 00001", "919810000001"),
        (None, "00919810000001", "919810000001"),
        (None, "919810000001", "919810000001"),
        (None, "+91-98100-00001", "919810000001"),
        ("IN", "919810000001", "919810000001"),
        ("IN", "98100 00001", "919810000001"),
        ("IN", "9810000001", "919810000001"),
        ("IN", "098100 00001", "919810000001"),
        # valid in Germany too, but WATI lists phone numbers with their country code
        ("DE", "393123456789", "393123456789"),
        ("DE", "4921123456", "4921123456"),
        ("JM", "2482510123", "2482510123"),
        ("DE", "0049 21 123456", "4921123456"),
        (None, "5215512345678", "525512345678"),
        (None, "+52 55 1234 5678", "525512345678"),
        (None, "98100 00001 ext. 5", None),
        (None, "66b1fb04a5c1d2e3f4a5b6c7", None),
        ("IN", "IN.Ab12cD34", None),
        (None, "098100 00001", None),
        (None, "", None),
    ],
)
def test_a_phone_number_in_any_spelling_of_wati_has_one_normal_form(
    region: str | None, listed: str, key: str | None
) -> None:
    """What WATI lists and what a row has are compared in one form; anything else has none."""
    assert normal_form(listed, region) == key


@pytest.mark.parametrize("region", [None, "AR", "DE", "IN", "US"])
def test_the_normal_form_of_what_a_reader_returns_is_its_dedupe_key(region: str | None) -> None:
    """A phone number that was sent to is found again in WATI's list, with and without a plus sign."""
    reader = TargetReader(region)
    for written in ("+393123456789", "+4921123456", "+12692345678", "+5491123456789", "+919810000001"):
        target = reader.read(written)
        assert normal_form(target, region) == normal_form(f"+{target}", region) == dedupe_key_of(target)


@pytest.mark.parametrize("region", ["XX", "in", "IND", ""])
def test_a_region_that_does_not_exist_is_refused(region: str) -> None:
    """A wrong default_region is an error of the connection, found before any row is read."""
    with pytest.raises(WatiConfigurationError, match="two letters, as in IN"):
        TargetReader(region)


@pytest.mark.parametrize("region", [None, "AT", "DE", "IN"])
def test_the_client_accepts_every_phone_number_that_a_reader_accepts(region: str | None) -> None:
    """A phone number that only the client refuses would stop its whole batch."""
    reader = TargetReader(region)
    accepted = 0
    for code in COUNTRY_CODE_TO_REGION_CODE:
        for length in range(1, 19):
            for plus in ("", "+"):
                try:
                    read = reader.read(f"{plus}{code}{'9876543212345678987'[:length]}")
                except WatiValidationError:
                    continue
                assert RECIPIENTS.check(read).value == read
                accepted += 1
    assert accepted > 500


@pytest.mark.parametrize("region", [None, "AR", "DE", "IN", "IT", "US"])
def test_random_text_is_a_phone_number_for_the_client_or_refused(region: str | None) -> None:
    """Any other error than a refusal would stop the whole task in every attempt."""
    random = Random(region or "")
    reader = TargetReader(region)
    accepted = 0
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
        accepted += 1
    assert accepted > 500


class Known(str, enum.Enum):  # noqa: UP042 # the older form is what this is about
    ADA = "919800000777"


@pytest.mark.parametrize("region", [None, "IN"])
def test_a_subclass_of_str_counts_as_its_text(region: str | None) -> None:
    """Python writes a member of an Enum of texts as its name."""
    reader = TargetReader(region)
    for read in (reader.read, reader.read_phone_number):
        assert f"{read(Known.ADA)}" == "919800000777"
