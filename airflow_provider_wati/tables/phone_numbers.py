"""Whom a row is about: phone numbers as people and warehouses write them, ids and BSUIDs as they are."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.target import RECIPIENTS, Target, is_phone
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.tables.readers import is_null

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# Hexadecimal, so that in capitals it is the same contact; WATI writes it in small letters.
_CONTACT_ID = re.compile(r"[0-9a-fA-F]{24}")
_BSUID = re.compile(r"[A-Z]{2}\.[0-9A-Za-z]{1,128}")
_WRITTEN_NUMBER = re.compile(r"[\d(+][\d\s()+./\u2010-\u2015-]*")
# What is left of a number column that a data frame or a spreadsheet took for floats.
_FLOAT_RESIDUE = re.compile(r"[+-]?\d+\.0*|[+-]?\d+(\.\d+)?[eE][+-]?\d+")
# WhatsApp still knows Mexican mobiles by the 1 that the numbering plan dropped in 2019; rewriting it would reach
# nobody or somebody else.
_OLD_MEXICAN_MOBILE = re.compile(r"521[0-9]{10}")

# Mexico, Argentina and Brazil have two spellings for one mobile line: with and without a 1, a 9, a ninth digit. (In
# Brazil eight digits that begin with 2 to 5 are a line of their own.)
_TWO_SPELLINGS = re.compile(r"(52)(?:1)?(\d{10})|(54)(?:9)?(\d{10})|(55\d\d)(?:9)?([6-9]\d{7})")
_MARKS = {"52": "1", "54": "9", "55": "9"}

_CAST = "cast the column to text where it comes from"


class TargetReader:
    """
    Read targets the way they stand in tables.

    A phone number may have ``+`` or ``00``, spaces, brackets, dots and dashes. Without a country code it is
    taken for one of ``default_region``, if there is one. Its length is held against the country's numbering
    plan; whether it is in use only WATI knows. Spellings that several countries have for one line (Mexico's 1,
    Argentina's 9, Brazil's ninth digit) are never rewritten.

    :param default_region: two capital letters, such as ``IN``; None if every number has its country code.
    :raises WatiConfigurationError: for a region that does not exist.
    """

    def __init__(self, default_region: str | None = None) -> None:
        self._region = default_region
        if default_region is not None:
            from phonenumbers import SUPPORTED_REGIONS

            if default_region not in SUPPORTED_REGIONS:
                raise WatiConfigurationError(
                    f"default_region is {default_region!r}, which is no country: give two letters, as in IN."
                )

    def read(self, value: Any) -> str:
        """
        Return a phone number, a contact id or a BSUID as WATI wants it.

        :raises WatiValidationError: saying why it is none of these; the number itself is not repeated.
        """
        if self._region is None and is_phone(value):
            return _international(value)  # as nearly all in a long list are
        is_target = isinstance(value, Target)
        text = RECIPIENTS.check(value).value if is_target else _text_of(value)
        if _CONTACT_ID.fullmatch(text):
            return text.lower()
        if is_target or _BSUID.fullmatch(text):
            return text
        return self._number(
            text, "it is neither a phone number nor an id of 24 hexadecimal characters nor a BSUID"
        )

    def read_number(self, value: Any) -> str:
        """
        Return a phone number as WATI wants it: digits only, country code first.

        :raises WatiValidationError: saying why it is none; the number itself is not repeated.
        """
        return self._number(_text_of(value), "it is no phone number")

    def _number(self, text: str, otherwise: str) -> str:
        if _FLOAT_RESIDUE.fullmatch(text):
            raise WatiValidationError(f"the number went through a float and may have lost digits: {_CAST}")
        if not _WRITTEN_NUMBER.fullmatch(text):
            raise WatiValidationError(otherwise)
        digits = "".join(str(int(character)) for character in text if character.isdigit())
        if "+" in text[1:]:
            raise WatiValidationError("it has a + inside: there may be two numbers in it")
        if text.startswith(("+", "00")):
            return _international(digits.removeprefix("00") if text[0] == "0" else digits)
        if self._region is None:
            if digits.startswith("0"):
                raise WatiValidationError(
                    "the phone number has no country code: write it, or set default_region in the connection"
                )
            return _international(digits)
        return self._national(text, digits)

    def _national(self, text: str, digits: str) -> str:
        """Read a number that has no ``+``: one of the region if it can be, else an international one."""
        import phonenumbers

        try:
            number = phonenumbers.parse(text, self._region)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_valid_number(number):
            # With spaces or signs in it, it was written for people, who put a + before a country code.
            if digits.startswith("0") or text != digits:
                raise WatiValidationError(
                    f"it is no phone number of {self._region}, and has no country code: write it with +"
                )
            return _international(digits)
        code, rest = str(number.country_code), phonenumbers.national_significant_number(number)
        complaint = _length_complaint(code, len(rest))
        if complaint:
            raise WatiValidationError(complaint)
        found = f"{code}{rest}"
        if found != digits and self._may_be_foreign(text, digits, number):
            raise WatiValidationError(
                f"it may be one inside {self._region}, or begin with a country code: write it with +"
            )
        return found

    def _may_be_foreign(self, text: str, digits: str, number: PhoneNumber) -> bool:
        """Tell whether what can be a number of the region may as well be one that begins with a country code."""
        import phonenumbers

        if not _right_as_it_stands(digits[:4], len(digits)):
            return False
        foreign = phonenumbers.parse(f"+{digits}")
        if not phonenumbers.is_valid_number(foreign):
            return False
        if digits.startswith(str(number.country_code)):
            return True
        # In many countries a number without its first 0 is not how people write one; elsewhere (India, the United
        # States) it is, and then a mobile is likelier than a landline.
        usual = any(
            found.end - found.start == len(text)
            for found in phonenumbers.PhoneNumberMatcher(text, self._region)
        )
        return not usual or (_is_mobile(foreign) and not _is_mobile(number))


def _is_mobile(number: PhoneNumber) -> bool:
    from phonenumbers import PhoneNumberType, number_type

    return number_type(number) in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def spellings_of(target: str) -> tuple[str, ...]:
    """
    Return a target in each way that its line is spelled; the same for all of them.

    Each person is sent to as they are written, but who opted out under one spelling did so under the other.
    """
    found = _TWO_SPELLINGS.fullmatch(target) if target.startswith(("52", "54", "55")) else None
    if found is None:
        return (target,)
    beginning, rest = filter(None, found.groups())
    return beginning + rest, beginning + _MARKS[beginning[:2]] + rest


def dedupe_key_of(target: str) -> str:
    """Return what all spellings of one line have in common."""
    return spellings_of(target)[0]


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        # Spreadsheets and chats put marks around a number that nobody sees.
        text = value if value.isascii() else "".join(c for c in value if unicodedata.category(c) != "Cf")
        text = text.strip()
    elif is_null(value):
        text = ""
    elif (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value):
        text = str(value)
    elif isinstance(value, (float, Decimal)):
        raise WatiValidationError(f"the number is a {type(value).__name__} and may have lost digits: {_CAST}")
    else:
        raise WatiValidationError(f"a {type(value).__name__} is no phone number: {_CAST}")
    if not text:
        raise WatiValidationError("there is no phone number")
    return text


def _is_whole(value: Any) -> bool:
    """Tell whether a value comes from a column of whole numbers, as NUMERIC(15) is one; those keep all digits."""
    return isinstance(value, Decimal) and value.as_tuple().exponent == 0


def _international(digits: str) -> str:
    """Check a number that has its country code; a 0 that is only dialled inside the country goes."""
    if _right_as_it_stands(digits[:4], len(digits)):
        return digits
    if _OLD_MEXICAN_MOBILE.fullmatch(digits):
        return digits
    code = _country_code(digits[:3])
    if code is None:
        raise WatiValidationError(
            "no country's code begins it: write the phone number with its country code, or set "
            "default_region in the connection"
        )
    rest = digits[len(code) :]
    if rest.startswith("0"):
        import phonenumbers

        try:
            number = phonenumbers.parse(f"+{digits}")
        except phonenumbers.NumberParseException as error:
            too_long = error.error_type == phonenumbers.NumberParseException.TOO_LONG
            why = (
                "it is too long: there may be two numbers in it" if too_long else "no phone number follows it"
            )
            raise WatiValidationError(f"of the country code {code}: {why}") from None
        rest = phonenumbers.national_significant_number(number)
    complaint = _length_complaint(code, len(rest))
    if complaint:
        raise WatiValidationError(complaint)
    return f"{code}{rest}"


@lru_cache(maxsize=16_384)
def _right_as_it_stands(beginning: str, length: int) -> bool:
    """Answer for all numbers that begin and are as long as one: a list has few such kinds."""
    code = _country_code(beginning[:3])
    if code is None or beginning[len(code) :].startswith("0"):
        return False
    return _length_complaint(code, length - len(code)) is None


def _country_code(beginning: str) -> str | None:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    if beginning.startswith("0"):
        return None  # int() would take 091 for 91
    codes = (beginning[:length] for length in range(1, len(beginning) + 1))
    return next((code for code in codes if int(code) in COUNTRY_CODE_TO_REGION_CODE), None)


def _length_complaint(code: str, length: int) -> str | None:
    """Hold the length of a number against its country's plan, which the library answers for any such number."""
    from phonenumbers import PhoneNumber, ValidationResult, is_possible_number_with_reason

    any_number = PhoneNumber(country_code=int(code), national_number=10 ** (length - 1) if length else 0)
    found = is_possible_number_with_reason(any_number)
    digits = len(code) + length
    # Some countries' plans have shorter and longer numbers than WATI and WhatsApp take.
    if found == ValidationResult.IS_POSSIBLE and 7 <= digits <= 15:
        return None
    kind = "long" if found == ValidationResult.TOO_LONG or digits > 15 else "short"
    return f"the phone number is too {kind} for country code {code}: {length} digits follow it"
