"""How a phone number looks where it is not needed: in logs, errors and summaries."""

from __future__ import annotations

import re

#: Seven digits or more standing alone; ids of WATI (24 hex characters) have letters around their digits.
_NUMBER = re.compile(r"(?<![0-9A-Za-z])\+?\d{7,}(?![0-9A-Za-z])|\+\d[\d ()./-]{5,}\d")
_SHOWN = 4


def mask_numbers(text: str) -> str:
    """
    Hide all but the last four digits of every phone number in a text.

    :param text: anything that is about to be logged or raised, WATI's own messages included.
    :return: the same text, ``85264318722`` written as ``*******8722``.
    """
    return _NUMBER.sub(lambda found: _mask(found.group()), text)


def _mask(number: str) -> str:
    digits = "".join(character for character in number if character.isdigit())
    return "*" * (len(digits) - _SHOWN) + digits[-_SHOWN:]
