"""Identifiers: their shapes, and ids like WATI's, 24 hexadecimal characters, the last eight a running number."""

from __future__ import annotations

import re

#: Country code and number without a plus sign. That WATI checks the length is our choice.
PHONE = re.compile(r"[1-9][0-9]{6,14}")
OBJECT_ID = re.compile(r"[0-9a-f]{24}")
BSUID = re.compile(r"[A-Z]{2}\.[0-9]+")

# A prefix per kind lets a number be read back out of an id, so that no id has to be stored.
CONTACT = "66b1fb04c0ac7000"
TICKET = "66b1fb0471c7e700"
MESSAGE = "66b1fb043e55a6e0"
LOCAL_MESSAGE = "66b1fb0410ca1000"
BROADCAST = "66b1fb04b40adca0"
TEMPLATE = "6929b2c3de3b1a70"
CHATBOT = "65b7a1c2c4a7b070"
CHANNEL = "65b7a1c2c4a22e10"
WEBHOOK = "65b7a1c23eb4004a"

_NUMBER_DIGITS = 8
# The id of a conversation begins with a second, as WATI's do, which grows with the number.
_FIRST_SECOND, _SECONDS_APART = 0x66B1FB04, 100
_CONVERSATION = "c0de7000"


def make_id(kind: str, number: int) -> str:
    """Return the id of the ``number``-th thing of this kind."""
    return f"{kind}{number:08x}"


def read_id(kind: str, text: str) -> int | None:
    """Return the number inside an id, or None when it is not an id of this kind."""
    if len(text) != len(kind) + _NUMBER_DIGITS or not text.startswith(kind):
        return None
    try:
        return int(text[len(kind) :], 16)
    except ValueError:
        return None


def conversation_id(number: int) -> str:
    """Return the id of the ``number``-th conversation, which says that it began after those before it."""
    return f"{_FIRST_SECOND + _SECONDS_APART * number:08x}{_CONVERSATION}{number:08x}"


def read_conversation_id(text: str) -> int | None:
    """Return the number inside the id of a conversation, or None when it is not one."""
    number = read_id(text[:-_NUMBER_DIGITS], text)
    return number if number is not None and conversation_id(number) == text else None
