"""Whom a row is about: phone numbers as people and warehouses write them, ids and BSUIDs as they are."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from airflow_provider_wati.client.target import RECIPIENTS, Target, is_phone
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError

_OTHER_TARGET = re.compile(r"[0-9a-fA-F]{24}|[A-Z]{2}\.[0-9A-Za-z]{1,128}")
_WRITTEN_NUMBER = re.compile(r"[\d\s()+./\u2010-\u2015-]+")
# What is left of a number column that a data frame or a spreadsheet took for floats.
_FLOAT_RESIDUE = re.compile(r"[+-]?\d+\.0*|[+-]?\d+(\.\d+)?[eE][+-]?\d+")
# WhatsApp still knows Mexican mobiles by the 1 that the numbering plan dropped in 2019; rewriting it would reach
# nobody or somebody else.
_OLD_MEXICAN_MOBILE = re.compile(r"521[0-9]{10}")

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
        if isinstance(value, Target):
            return RECIPIENTS.check(value).value
        text = _text_of(value)
        if _OTHER_TARGET.fullmatch(text):
            return RECIPIENTS.check(text).value
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
        if self._region is None and is_phone(text):
            return _international(text)
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
            if digits.startswith("0"):
                raise WatiValidationError(f"it is no phone number of {self._region}, and has no country code")
            return _international(digits)
        code, rest = str(number.country_code), phonenumbers.national_significant_number(number)
        complaint = _length_complaint(code, len(rest))
        if complaint:
            raise WatiValidationError(complaint)
        found = f"{code}{rest}"
        if found != digits and digits.startswith(code):
            whole = phonenumbers.parse(f"+{digits}")
            if phonenumbers.is_valid_number(whole):
                raise WatiValidationError(
                    f"it may be +{code} followed by the rest, or a number inside {self._region} "
                    "without its country code: write it with +"
                )
        return found


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        text = value.strip()
    elif (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value):
        text = str(value)
    elif value is None or value != value:  # NaN alone differs from itself
        text = ""
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
    if digits[len(code) :].startswith("0"):
        import phonenumbers

        number = phonenumbers.parse(f"+{digits}")
        digits = f"{code}{phonenumbers.national_significant_number(number)}"
    complaint = _length_complaint(code, len(digits) - len(code))
    if complaint:
        raise WatiValidationError(complaint)
    return digits


@lru_cache(maxsize=16_384)
def _right_as_it_stands(beginning: str, length: int) -> bool:
    """Answer for all numbers that begin and are as long as one: a list has few such kinds."""
    code = _country_code(beginning[:3])
    if code is None or beginning[len(code) :].startswith("0"):
        return False
    return _length_complaint(code, length - len(code)) is None


def _country_code(beginning: str) -> str | None:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

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
