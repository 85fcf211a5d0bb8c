"""The values of the mapped attributes: how they are stored, and when two of them are the same. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

#: The value of an attribute: a text, or a number or boolean where WATI returns one for a text that was written.
Value = str | int | float

# Half of a character outside Unicode's first plane, which no file and no database takes.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Beyond this many digits, nobody writes a number that WATI would change.
_MOST_DIGITS = 40


def vals_of(values: Sequence[Value]) -> str:
    """Return the values of the mapped attributes as JSON, the form in which they are stored and compared."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def shown_text(value: object) -> str | None:
    """
    Return a text that WATI shows, such as a name.

    :param value: any value of a JSON answer.
    :return: the text, half characters replaced; None for what is not a text.
    """
    return _SURROGATE.sub(_REPLACEMENT, value) if isinstance(value, str) else None


def shown_value(value: object) -> Value:
    """
    Return the value of an attribute that WATI shows.

    :param value: any value of a JSON answer.
    :return: a text or a number as it is, half characters replaced; an empty text for null; the JSON of what an attribute
        cannot hold, which is equal to nothing that a row holds.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACEMENT, value)
    if isinstance(value, (bool, int, float)) and len(repr(value)) <= _MOST_DIGITS:
        return value
    return _SURROGATE.sub(_REPLACEMENT, json.dumps(value, default=str))


def is_same(written: Value, shown: Value) -> bool:
    """
    Say if a value that WATI shows is the one that was written.

    :param written: the text of a row.
    :param shown: what WATI shows: ``1.5`` counts as ``"1.50"``, ``7`` as ``"007"``, ``true`` as ``"true"``, and spaces at
        the ends do not count.
    """
    if isinstance(shown, str):
        return str(written).strip() == shown.strip()
    if isinstance(shown, bool):
        return str(written).strip().casefold() == str(shown).casefold()
    try:
        number = Decimal(str(written).strip())
        # Of 20 digits, a float keeps 16.
        return number == Decimal(str(shown)) or (isinstance(shown, float) and float(number) == shown)
    except (InvalidOperation, ValueError, OverflowError):
        return False


def is_same_list(shown: str | None, written: str | None) -> bool:
    """
    Say if the values that WATI shows are those of a row.

    :param shown: what :func:`vals_of` made of them; None while they are not known.
    :param written: the same of a row; None for a row with an error.
    """
    if shown is None or written is None:
        return False
    if shown == written:
        return True
    pairs = zip(json.loads(written), json.loads(shown), strict=True)
    return all(is_same(mine, theirs) for mine, theirs in pairs)


def is_intended(shown: str | None, intended: str) -> bool:
    """
    Say if the values that WATI shows are among those that a call of this sync was to write.

    :param shown: what :func:`vals_of` made of them; None while they are not known.
    :param intended: the same of each such call, separated by commas.
    """
    return any(is_same_list(shown, vals_of(each)) for each in json.loads(f"[{intended}]"))
