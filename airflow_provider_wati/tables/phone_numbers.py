"""Targets as rows hold them: phone numbers in any usual spelling, contact ids, BSUIDs."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.tables.values import int_text, is_null

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# A phone number as WATI wants it. E.164 allows 15 digits; the shortest country code with a subscriber number has 7
# digits; no country code starts with 0.
_PHONE_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
# Hexadecimal: capitals name the same contact; WATI writes small letters.
_CONTACT_ID = re.compile(r"[0-9a-fA-F]{24}")
_BSUID = re.compile(r"[A-Z]{2}\.[0-9A-Za-z]{1,128}")
_WRITTEN_NUMBER = re.compile(r"[\d(+][\d\s()+./\u2010-\u2015-]*")
# A number column that a data frame or a spreadsheet has converted to floats.
_FLOAT_RESIDUE = re.compile(r"[+-]?\d+\.0*|[+-]?\d+(\.\d+)?[eE][+-]?\d+")
# WhatsApp still knows Mexican mobiles by the 1 that the numbering plan dropped in 2019. Rewritten, the message would
# reach nobody or somebody else.
_OLD_MEXICAN_MOBILE = re.compile(r"521[0-9]{10}")

# Mexico, Argentina and Brazil have two spellings of one mobile phone number: with and without a 1, a 9, a ninth
# digit. (In Brazil, eight digits that begin with 2 to 5 are a landline, which has one spelling.)
_MOST_DIGITS = 15
_WITH_TWO_SPELLINGS = ("52", "54", "55")
_TWO_SPELLINGS = re.compile(r"(52)(?:1)?(\d{10})|(54)(?:9)?(\d{10})|(55\d\d)(?:9)?([6-9]\d{7})")
_MOBILE_PREFIX = {"52": "1", "54": "9", "55": "9"}

_CAST = "cast the column to text in the source"


@runtime_checkable
class TargetObject(Protocol):
    """A target that is an object instead of a text. The client's ``Target`` is one."""

    @property
    def kind(self) -> str:
        """``phone number``, ``contact id``, ``id``, ``BSUID`` or ``conversation id``."""

    @property
    def value(self) -> str:
        """The target as WATI takes it, without a channel."""

    @property
    def channel(self) -> str | None:
        """The channel that stands before it; None for the default channel."""


class TargetReader:
    """
    Read targets as tables hold them.

    A phone number may have ``+`` or ``00``, spaces, brackets, dots and dashes. Without a country code it is
    read as a number of ``default_region``, if one is given. Its length is checked against the country's numbering
    plan; whether it is in use, only WATI knows. Where a country has two spellings of one phone number (Mexico's 1,
    Argentina's 9, Brazil's ninth digit), the spelling stays as it is.

    :param default_region: two capital letters, such as ``IN``; None if every phone number has its country code.
    :raises WatiConfigurationError: for a region that does not exist.
    """

    def __init__(self, default_region: str | None = None) -> None:
        self._region = default_region
        if default_region is not None:
            from phonenumbers import SUPPORTED_REGIONS

            if default_region not in SUPPORTED_REGIONS:
                raise WatiConfigurationError(
                    f"default_region is {default_region!r}, which is not a country: give two letters, as in IN."
                )

    @property
    def region(self) -> str | None:
        """The country of phone numbers without a country code."""
        return self._region

    def read(self, value: Any) -> str:
        """
        Return a phone number, a contact id or a BSUID as WATI takes it.

        :param value: a text, a whole number, or a :class:`TargetObject` without a channel.
        :raises WatiValidationError: with the reason; the value itself is not repeated, because errors are logged.
        """
        if self._is_international(value):
            return _international(value if type(value) is str else str.__str__(value))
        if not isinstance(value, str) and isinstance(value, TargetObject):
            return _value_of(value)
        text = _text_of(value)
        if _CONTACT_ID.fullmatch(text):
            return text.lower()
        if _BSUID.fullmatch(text):
            return text
        return self._number(
            text, "it is neither a phone number nor an id of 24 hexadecimal characters nor a BSUID"
        )

    def read_phone_number(self, value: Any) -> str:
        """
        Return a phone number as WATI takes it: digits only, country code first.

        :param value: a text or a whole number.
        :raises WatiValidationError: with the reason; the value itself is not repeated, because errors are logged.
        """
        if self._is_international(value):
            return _international(value if type(value) is str else str.__str__(value))
        return self._number(_text_of(value), "it is not a phone number")

    def _is_international(self, value: Any) -> bool:
        """Return whether a value needs no parsing: the fast path, as nearly every row of a long list is like this."""
        return self._region is None and isinstance(value, str) and _PHONE_NUMBER.fullmatch(value) is not None

    def _number(self, text: str, otherwise: str) -> str:
        if _FLOAT_RESIDUE.fullmatch(text):
            raise WatiValidationError(f"the phone number was a float and may have lost digits: {_CAST}")
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
        """Read a number without ``+``: as one of the region if it is valid there, else as an international one."""
        import phonenumbers

        try:
            number = phonenumbers.parse(text, self._region)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_valid_number(number):
            # Spaces and signs show that a person wrote it, and people put a + before a country code.
            if digits.startswith("0") or text != digits:
                raise WatiValidationError(
                    f"it is not a phone number of {self._region}, and has no country code: write it with +"
                )
            return _international(digits)
        code, rest = str(number.country_code), phonenumbers.national_significant_number(number)
        complaint = _length_complaint(code, len(rest))
        if complaint:
            raise WatiValidationError(complaint)
        found = f"{code}{rest}"
        if found != digits and self._may_be_foreign(text, digits, number):
            raise WatiValidationError(
                f"it can be a phone number of {self._region}, or one with a country code: write it with +"
            )
        return found

    def _may_be_foreign(self, text: str, digits: str, number: PhoneNumber) -> bool:
        """Return whether a number that is valid in the region is also valid with the country code that it begins with."""
        import phonenumbers

        if not _right_as_it_stands(digits[:4], len(digits)):
            return False
        foreign = phonenumbers.parse(f"+{digits}")
        if not phonenumbers.is_valid_number(foreign):
            return False
        if digits.startswith(str(number.country_code)):
            return True
        # In many countries people always write the first 0, so a number without it is rather international. Elsewhere
        # (India, the United States) they do not, and then a mobile is likelier than a landline.
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
    Return every spelling of a target; the result is the same for each of them.

    A message goes to the spelling that the row has, but an opt-out under one spelling holds for all.

    :param target: as :meth:`TargetReader.read` returns it.
    :return: one or two spellings, the :func:`dedupe_key_of` first.
    """
    found = _TWO_SPELLINGS.fullmatch(target) if target.startswith(_WITH_TWO_SPELLINGS) else None
    if found is None:
        return (target,)
    beginning, rest = filter(None, found.groups())
    return beginning + rest, beginning + _MOBILE_PREFIX[beginning[:2]] + rest


def dedupe_key_of(target: str) -> str:
    """
    Return what all spellings of a target share, so that one person is recognized under each of them.

    :param target: as :meth:`TargetReader.read` returns it.
    """
    return spellings_of(target)[0]


def normal_form(text: str, default_region: str | None = None) -> str | None:
    """
    Return the dedupe key of a phone number as WATI may list it.

    Digits that fit a country code are read with it, also where they could be a national phone number.

    :param text: for example ``+91 98100 00001``, ``00919810000001``, ``919810000001``, or with a default region
        ``98100 00001``.
    :param default_region: two capital letters, such as ``IN``.
    :return: the :func:`dedupe_key_of` of the phone number; None for a text that is not a phone number.
    :raises WatiConfigurationError: for a region that does not exist.
    """
    # WATI lists phone numbers with their country code, so that reading comes first. It is the fast path too.
    if _PHONE_NUMBER.fullmatch(text) and _right_as_it_stands(text[:4], len(text)):
        return dedupe_key_of(text)
    for region in (default_region, None):
        try:
            return dedupe_key_of(_reader_of(region).read_phone_number(text))
        except WatiValidationError:
            continue
    return None


@lru_cache(maxsize=16)
def _reader_of(default_region: str | None) -> TargetReader:
    return TargetReader(default_region)


def _value_of(target: TargetObject) -> str:
    if target.channel is not None:
        raise WatiValidationError("it names a channel: name the channel once, for the whole send")
    if target.kind == "conversation id":
        raise WatiValidationError(
            "a conversation id does not name a person: give a phone number, a contact id or a BSUID"
        )
    return target.value.lower() if _CONTACT_ID.fullmatch(target.value) else target.value


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        # Spreadsheets and chats put invisible marks around phone numbers.
        # A subclass of str, such as an Enum, counts as the text that it holds.
        text = (
            str.__str__(value)
            if value.isascii()
            else "".join(c for c in value if unicodedata.category(c) != "Cf")
        )
        text = text.strip()
    elif is_null(value):
        text = ""
    elif isinstance(value, int) and not isinstance(value, bool):
        text = int_text(value)
    elif _is_whole(value):
        text = str(value)
    elif isinstance(value, (float, Decimal)):
        raise WatiValidationError(
            f"the phone number is a {type(value).__name__} and may have lost digits: {_CAST}"
        )
    else:
        raise WatiValidationError(f"a value of type {type(value).__name__} is not a phone number: {_CAST}")
    if not text:
        raise WatiValidationError("there is no phone number")
    return text


def _is_whole(value: Any) -> bool:
    """Return whether a value is from a column of whole numbers, such as NUMERIC(15), which keeps all digits."""
    return isinstance(value, Decimal) and value.as_tuple().exponent == 0


def _international(digits: str) -> str:
    """Check a number with its country code, and remove a 0 that is dialled only inside the country."""
    if _right_as_it_stands(digits[:4], len(digits)):
        return digits
    if _OLD_MEXICAN_MOBILE.fullmatch(digits):
        return digits
    code = _country_code(digits[:3])
    if code is None:
        raise WatiValidationError(
            "it does not begin with a country code: write the phone number with its country code, or set "
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


def is_plain(value: str) -> bool:
    """Return whether a text is a phone number as WATI takes it, with one spelling only, as nearly all in a list are."""
    return (
        len(value) <= _MOST_DIGITS
        and value.isascii()
        and value.isdigit()
        and _has_one_spelling(value[:4], len(value))
    )


@lru_cache(maxsize=16_384)
def _has_one_spelling(beginning: str, length: int) -> bool:
    return _right_as_it_stands(beginning, length) and not beginning.startswith(_WITH_TWO_SPELLINGS)


@lru_cache(maxsize=16_384)
def _right_as_it_stands(beginning: str, length: int) -> bool:
    """Return whether numbers with this beginning and length need no change; cached, as a list has few such kinds."""
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
    """Return what is wrong with the length of a number in its country's numbering plan; None if nothing is."""
    from phonenumbers import PhoneNumber, ValidationResult, is_possible_number_with_reason

    any_number = PhoneNumber(country_code=int(code), national_number=10 ** (length - 1) if length else 0)
    found = is_possible_number_with_reason(any_number)
    digits = len(code) + length
    # Some countries' plans have shorter and longer numbers than WATI and WhatsApp take.
    if found == ValidationResult.IS_POSSIBLE and 7 <= digits <= 15:
        return None
    kind = "long" if found == ValidationResult.TOO_LONG or digits > 15 else "short"
    return f"the phone number is too {kind} for country code {code}: {length} digits follow it"
