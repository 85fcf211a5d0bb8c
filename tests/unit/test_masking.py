"""Masked phone numbers in logs, errors and summaries."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import phonenumbers
import pytest

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers, mask_target


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        ("85264318722", "*******8722"),
        ("+91 98765 43210", "********3210"),
        ("9876543210.0", "*******2100"),
        ("9.19876543210e11", "**********1011"),
        ("98765-43210 (Ada)", "*****-*3210 (Ada)"),
        ("Ada 98765", "Ada *8765"),
        ("1234", "1234"),
        ("tel:+85264318722", "tel:+*******8722"),
        ("\u0669\u0661\u0669\u0668\u0667\u0666", "**\u0669\u0668\u0667\u0666"),
        ("US.123124141512", "US.********1512"),
        ("14155552671:85264318722", "***********:*******8722"),
        ("507f1f77bcf86cd799439011", "507f1f77bcf86cd799439011"),
        ("Ada", "Ada"),
        ("", ""),
    ],
)
def test_of_a_target_four_digits_are_left(target: str, masked: str) -> None:
    """A masked target shows its last four digits."""
    assert mask_target(target) == masked


def test_a_long_target_is_masked_before_it_is_cut() -> None:
    """A long value is masked first and cut then."""
    masked = mask_target("x" * 33 + "85264318722" + "y" * 100)
    assert len(masked) == 40
    assert "8526" not in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Invalid number 85264318722.", "Invalid number *******8722."),
        ("to +91 98765-43210 now", "to ********3210 now"),
        ("98765-43210 is unknown", "******3210 is unknown"),
        ("(022) 2345 6789 12", "(*********8912"),
        ("at 2026-11-24T10:20:30Z", "at 2026-11-24T10:20:30Z"),
        ("on 2026-11-24 10:20", "on 2026-11-24 10:20"),
        ("1,000,000 of 2,000,000 rows", "1,000,000 of 2,000,000 rows"),
        ("row 1234567: no", "row ***4567: no"),
        ("broadcast 66b1fb044045cedb1f195390", "broadcast 66b1fb044045cedb1f195390"),
        ("1-202-555-0143", "*******0143"),
        ("852  -  6431 -- 8722", "*******8722"),
        ("852\u20226431\u22c58722", "*******8722"),
        ("852;6431|8722", "*******8722"),
        ("rows 1; 2; 3; 4; 5; 6; 7", "rows 1; 2; 3; 4; 5; 6; 7"),
        ("852.6431.8722", "*******8722"),
        ("8-926-123-45-67", "*******4567"),
        ("wa85264318722", "wa*******8722"),
        ("85264318722@c.us", "*******8722@c.us"),
        ("+852\u00a06431\u00a08722", "*******8722"),
        ("852\u20116431\u20118722", "*******8722"),
        ("852\u20096431\u202f8722", "*******8722"),
        ("852/6431/8722", "*******8722"),
        ("[852] (64) 31-87-22", "[*******8722"),
        ("1,202,555,0143", "*******0143"),
        ("202_555_0143", "******0143"),
        ("6431 8722", "****8722"),
        ("\u200e\u202a+85264318722\u202c", "\u200e\u202a*******8722\u202c"),
        (
            "\uff0b\uff18\uff15\uff12\uff0d\uff16\uff14\uff13\uff11\uff0d\uff18\uff17\uff12\uff12",
            "*******\uff18\uff17\uff12\uff12",
        ),
        ("\u0668\u0665\u0662 \u0666\u0664\u0663\u0661\u0668", "****\u0664\u0663\u0661\u0668"),
        ("14155552671:85264318722", "*******2671:*******8722"),
        ("852.64.31.87", "*****3187"),
        ("852.643.187.22:8080", "*******8722:8080"),
        ("2026-11-24-99", "******2499"),
        ("+1 234,567,890", "******7890"),
        ("91,981,000,001", "*******0001"),
        ("1,202,555,014", "******5014"),
        ("of 85,264,318,722 people", "of *******8722 people"),
        ("phone=20261126", "phone=****1126"),
        ("20261126", "****1126"),
        ("852-20261126", "*******1126"),
        ("/20261126-5555", "/********5555"),
        ("/data/20261399/a.csv", "/data/****1399/a.csv"),
    ],
)
def test_phone_numbers_in_a_text(text: str, masked: str) -> None:
    """Phone numbers in a text are masked, whatever stands between their digits and around them."""
    assert mask_numbers(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "code 131026 in 30 s",
        "on 2026-11-24",
        "since 2026-11-24 10:20:30, 131026 2026-11-24",
        "at 2026-11-24T10:20:30.123456+00:00 and 2026-11-24T10:20:30Z",
        "scheduled__2026-11-24T00:00:00+00:00",
        "20261124T102030Z",
        "/data/20261126/outcomes.csv, s3://b/ds=20261126/a.csv",
        "outcomes_20261126.csv, people-20261126.jsonl, /data/20261126",
        "999,999,999 rows",
        "took 0:01:30.123456, 12.345678 s, 1234567 ms",
        "of 33554432 bytes, 1,000,000 rows, 12,345,678.90",
        "campaign 66b1fb044045cedb1f195390, 123456789012345678901234",
        "mark 3f2a9c0b1d2e3f4a-12 and 1234567890123456789a",
        "123e4567-e89b-12d3-a456-426614174000, 12345678-1234-1234-1234-123456789012",
        "HTTP 503, then 200; rows 1234, 5678, 9012",
        "python-requests/2.32.5, 3.12.1",
        "http://192.168.100.200/x, ('192.168.100.200:8080')",
        "",
    ],
)
def test_what_is_no_phone_number_stays(text: str) -> None:
    """Dates, times, ids, amounts, sizes, durations, codes and versions are readable."""
    assert mask_numbers(text) == text


SEPARATORS = [
    " ",
    "-",
    ".",
    "/",
    "\u00a0",
    "\u2009",
    "\u202f",
    "\u2011",
    "\u2013",
    "\u2212",
    " - ",
    "\u200b",
    "_",
    ") (",
]
ZEROS = "0\u0660\u06f0\u0966\uff10"


def _spellings(number: phonenumbers.PhoneNumber) -> Iterator[str]:
    """Yield a phone number in the usual formats, with each separator, and in other scripts."""
    formats = phonenumbers.PhoneNumberFormat
    for form in (formats.E164, formats.INTERNATIONAL, formats.NATIONAL, formats.RFC3966):
        text = phonenumbers.format_number(number, form)
        yield text
        yield text.replace("+", "00")
        yield text.replace("+", "wa")
        for separator in SEPARATORS:
            yield re.sub(r"[^\d+]+", lambda _: separator, text.removeprefix("tel:"))  # noqa: B023 # called at once
        for zero in ZEROS:
            yield re.sub(r"\d", lambda digit: chr(ord(zero) + int(digit.group())), text)  # noqa: B023 # likewise


def _examples() -> Iterator[phonenumbers.PhoneNumber]:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in phonenumbers.PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield number


def test_phone_numbers_of_all_countries_are_masked() -> None:
    """Of an example of each country and kind, in any format and with any separator, four digits are left."""
    seen = 0
    for number in _examples():
        digits = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
        # Up to nine digits grouped by commas are an amount.
        grouped = [f"{int(digits):,}"] if len(digits) > 9 else []
        for text in (*_spellings(number), *grouped):
            if len(re.findall(r"\d", text)) < 7:
                continue  # shorter ones look like codes
            seen += 1
            for before, after in (("", ""), ("phone=", ", row")):
                assert len(re.findall(r"\d", mask_numbers(f"{before}{text}{after}"))) == 4, text
    assert seen > 50_000


def test_a_long_text_takes_little_time() -> None:
    """The time to mask a text grows with its length only."""
    begun = time.process_time()
    for piece in ("1 ", "1", "1,", "1,000", "+", "f", "0a", "1-1", "1    ", "2026-11-24 ", "12 kB "):
        mask_numbers(piece * 20_000)
    assert time.process_time() - begun < 20


def test_an_error_about_a_target_shows_no_phone_number() -> None:
    """The error for a target has a masked value."""
    for make in (Target.parse, Target.phone, Target.contact, Target.bsuid):
        with pytest.raises(WatiValidationError) as refused:
            make("98765-43210 (Ada)")
        assert "98765" not in str(refused.value)
