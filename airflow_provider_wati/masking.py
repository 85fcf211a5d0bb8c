"""How a phone number looks where it is not needed: in logs, errors and summaries."""

from __future__ import annotations

import re

#: Seven digits or more standing alone; ids of WATI (24 hex characters) have letters around their digits.
_NUMBER = re.compile(r"(?<![0-9A-Za-z])\+?\d{7,}(?![0-9A-Za-z])|\+\d[\d ()./-]{5,}\d")
#: A whole text that may be a number in anybody's spelling.
_WRITTEN_NUMBER = re.compile(r"[\d\s()+./,eE-]{7,}")
_SHOWN = 4


def mask_numbers(text: str) -> str:
    """
    Hide all but the last four digits of every phone number in a text.

    :param text: anything that is about to be logged or raised, WATI's own messages included.
    :return: the same text, ``85264318722`` written as ``*******8722``.
    """
    return _NUMBER.sub(lambda found: _mask(found.group()), text)


def mask_target(text: str) -> str:
    """
    Hide a target that may be no target at all, and its number written in any way.

    :param text: what stands in a row, ``+91 98765 43210`` or ``9876543210.0`` say.
    :return: the same as from :func:`mask_numbers`, and never more than 40 characters.
    """
    return _mask(text)[-40:] if _WRITTEN_NUMBER.fullmatch(text) else mask_numbers(text)[:40]


def _mask(number: str) -> str:
    digits = "".join(character for character in number if character.isdigit())
    return "*" * (len(digits) - _SHOWN) + digits[-_SHOWN:]
