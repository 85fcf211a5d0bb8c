"""Mask phone numbers in logs, errors and summaries."""

from __future__ import annotations

import re

_SHOWN = 4
_LONGEST = 40

# What stands between the digits of a phone number: spaces and dashes of any kind, signs, and marks that are not
# visible, such as those that a chat puts around phone numbers. Not a colon, which stands in times and before the port.
_BETWEEN = (
    r"[\s()\[\]{}+.,;|/_~*'\\\-\u00b7\u2019\u2022\u22c5"
    r"\u00ad\u058a\u180e\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2069\u2212\u30fb\u30fc\ufe58\ufe63\ufeff"
    r"\uff08\uff09\uff0b\uff0d\uff0e\uff0f]"
)
#: Seven or more digits of any script, with at most six signs between two of them; a comma or a semicolon is one without
#: a space.
_NUMBER = re.compile(rf"[+\uff0b]?\d(?:(?![,;]\s){_BETWEEN}{{0,6}}\d){{6,}}")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_DATE = r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
#: What has digits and is not a phone number; it is left as it is.
_KEPT = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    # ids of WATI, and other hexadecimal ids with a letter in them
    r"[0-9a-fA-F]{24}|(?=[0-9]*[a-f])[0-9a-f]{16,128}|(?=[0-9]*[A-F])[0-9A-F]{16,128}"
    # UUIDs
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r")(?![0-9A-Za-z])"
    # dates and times of ISO 8601; not where digits go on, as in a phone number written alike
    r"|(?<![\d+])(?<!\d[-./])(?:"
    r"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ][0-2][0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?(?:Z|[+-][0-2][0-9]:?[0-5][0-9])?)?"
    rf"|{_DATE}T[0-9]{{6}}"
    # without dashes, where a path shows that it is a date
    rf"|(?:(?<=[/_-])|(?<==)(?=[0-9]{{8}}/)){_DATE}"
    r"|[0-9]{1,3}:[0-5][0-9]:[0-6][0-9](?:[.,][0-9]{1,9})?"
    r")(?!\d|[-./]\d)"
    # amounts with a comma at each thousand; ten digits and more are as long as phone numbers with their country code
    r"|(?<![\d+])(?<!\d[-.,/()\s])[0-9]{1,3}(?:,[0-9]{3}){1,2}(?:\.[0-9]{1,2})?(?![-./(]?\d|,\d)"
    # addresses of version 4 of the Internet Protocol, where a URL or a port shows that they are ones
    rf"|(?<=//){_OCTET}(?:\.{_OCTET}){{3}}(?![-.]?\d)|(?<![\d+])(?<!\d[-./]){_OCTET}(?:\.{_OCTET}){{3}}(?=:[0-9]{{2,5}}\b)"
    # sizes and durations
    r"|(?<![\d+])(?<!\d[-.,/()\s])(?:[0-9]+ ?(?:[kMG]i?B|bytes|ms|seconds)|[0-9]{1,4}\.[0-9]+ ?(?:s|seconds|[kMG]i?B))\b"
)
#: A whole text that may be a phone number in any spelling.
_WRITTEN_NUMBER = re.compile(r"[\d\s()+./,eE-]{7,}")
_ID = re.compile(r"[0-9a-fA-F]{24}")


def mask_numbers(text: str) -> str:
    """
    Mask all but the last four digits of every phone number in a text.

    The rule: seven or more digits, of any script, are a phone number, with up to six of whatever spaces, dashes, dots, slashes, brackets
    and invisible marks stand between them, and whatever letters stand around them. Left as they are: fewer digits; ids of
    WATI (24 hexadecimal characters), other hexadecimal ids of 16 characters or more with a letter in them, and UUIDs; dates and times of
    ISO 8601, and those of a path such as ``/20261126/`` and ``people_20261126.csv``; IPv4 addresses with ``//`` before them or a port behind; amounts of up to nine digits such as ``1,000,000``; sizes and durations with a unit, such as ``33554432 bytes`` and
    ``0.1234567 s``. Where it is not clear, digits are masked.

    :param text: any text that is about to be logged or raised, including messages of WATI.
    :return: the same text, ``85264318722`` written as ``*******8722``.
    """
    text = clean(text)
    shown, end = [], 0
    for kept in _KEPT.finditer(text):
        shown += [_NUMBER.sub(_masked, text[end : kept.start()]), kept.group()]
        end = kept.end()
    return "".join([*shown, _NUMBER.sub(_masked, text[end:])])


def clean(text: str) -> str:
    """Return a text without halves of characters, which neither a file nor a database takes; WATI may cut there."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def mask_target(text: str) -> str:
    """
    Mask a target, or what a row has instead of one: every digit but the last four.

    :param text: the value of a row, such as ``+91 98765 43210``, ``9876543210.0`` or ``98765-43210 (Ada)``.
    :return: ``********3210``, ``*******2100``, ``*****-*3210 (Ada)``: at most 40 characters. Ids of WATI stay as they are.
    """
    if _ID.fullmatch(text):
        return text
    if _WRITTEN_NUMBER.fullmatch(text):
        return _mask(text)[-_LONGEST:]
    hidden = max(sum(map(str.isdecimal, text)) - _SHOWN, 0)
    return re.sub(r"\d", "*", text, count=hidden)[:_LONGEST] if hidden else text[:_LONGEST]


def _masked(number: re.Match[str]) -> str:
    return _mask(number.group())


def _mask(number: str) -> str:
    digits = "".join(character for character in number if character.isdigit())
    return "*" * (len(digits) - _SHOWN) + digits[-_SHOWN:]
