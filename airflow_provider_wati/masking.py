"""How a phone number looks where it is not needed: in logs, errors and summaries."""

from __future__ import annotations

import re

#: Digits standing alone, seven or more in one piece, or in pieces with a + before them or nine of them together;
#: ids of WATI (24 hex characters) have letters around their digits, and a date is none.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])\+?\d{7,}(?![0-9A-Za-z])"
    r"|\+\d[\d ()./-]{5,}\d"
    r"|(?<![\w.-])(?!\d{4}-\d\d-\d\d)(?=(?:[ ()-]{0,2}\d){9})\d{2,6}(?:[ ()-]{1,2}\d{2,6}){1,4}(?![0-9A-Za-z])"
)
#: A whole text that may be a number in anybody's spelling.
_WRITTEN_NUMBER = re.compile(r"[\d\s()+./,eE-]{7,}")
_ID = re.compile(r"[0-9a-fA-F]{24}")
_SHOWN = 4
_LONGEST = 40


def mask_numbers(text: str) -> str:
    """
    Hide all but the last four digits of every phone number in a text.

    :param text: anything that is about to be logged or raised, WATI's own messages included.
    :return: the same text, ``85264318722`` written as ``*******8722``.
    """
    return _NUMBER.sub(lambda found: _mask(found.group()), text)


def mask_target(text: str) -> str:
    """
    Hide a target, or what stands in its place and may be none: every digit of it but the last four.

    :param text: what stands in a row, ``+91 98765 43210``, ``9876543210.0`` or ``98765-43210 (Ada)`` say.
    :return: ``********3210``, ``*******2100``, ``*****-*3210 (Ada)``, 40 characters at the most; WATI's ids as they are.
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
