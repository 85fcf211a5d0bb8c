"""Mask phone numbers in logs, errors and summaries."""

from __future__ import annotations

import re

#: Seven or more digits without letters around them; digits in groups with a + before them; or nine or more digits in
#: groups. Ids of WATI (24 hexadecimal characters) have letters around their digits; a date is not matched.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])\+?\d{7,}(?![0-9A-Za-z])"
    r"|\+\d[\d ()./-]{5,}\d"
    r"|(?<![\w.-])(?!\d{4}-\d\d-\d\d)(?=(?:[ ()-]{0,2}\d){9})\d{2,6}(?:[ ()-]{1,2}\d{2,6}){1,4}(?![0-9A-Za-z])"
)
#: A whole text that may be a phone number in any spelling.
_WRITTEN_NUMBER = re.compile(r"[\d\s()+./,eE-]{7,}")
_ID = re.compile(r"[0-9a-fA-F]{24}")
_SHOWN = 4
_LONGEST = 40


def mask_numbers(text: str) -> str:
    """
    Mask all but the last four digits of every phone number in a text.

    :param text: any text that is about to be logged or raised, including messages of WATI.
    :return: the same text, ``85264318722`` written as ``*******8722``.
    """
    return _NUMBER.sub(lambda found: _mask(found.group()), clean(text))


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


def _mask(number: str) -> str:
    digits = "".join(character for character in number if character.isdigit())
    return "*" * (len(digits) - _SHOWN) + digits[-_SHOWN:]
