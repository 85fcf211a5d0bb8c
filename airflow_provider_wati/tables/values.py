"""The values of a row: find a cell, and write it as the text that WATI takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_target

#: A row, by column name, or by position as a cursor gives it.
Row = Mapping[str, Any] | Sequence[Any]
#: A column, by name, or by position from 0 where rows have no names.
Column = str | int

# Half of a character outside Unicode's first plane; neither WATI nor any file takes it.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EXACT_FLOAT = 2**53
#: About that of the smallest float.
_SMALLEST_EXPONENT = -400
_SHOWN_LENGTH = 200
#: Where an object is in memory, as many show it.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def text_of(value: Any) -> str | None:
    """
    Return a value as the text that WATI takes.

    :param value: a text, which is returned as it is; a Decimal, without exponent and with the digits it has, because
        ``20.00`` is how a price is written; another number, without ``.0`` where it is whole; a boolean, ``true`` or ``false``; a date or time, in ISO 8601; a UUID.
    :return: the text; None for NULL and NaN.
    :raises WatiValidationError: for a value without such a text: a list, bytes, infinity, half a character.
    """
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise WatiValidationError("the text has half a character in it: correct it in the source")
        # A subclass of str (an Enum, a type of numpy's) counts as the text that it holds.
        return value if type(value) is str else str.__str__(value)
    if is_null(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int_text(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and not _is_tiny(value):
        return format(value, "f") if isinstance(value, Decimal) else _float_text(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise WatiValidationError(f"a {type(value).__name__} cannot be written as text: cast it in the query")


def key_text_of(value: Any) -> str | None:
    """
    Return the text of a key: the same number gives the same text, whatever type its column has.

    ``1``, ``1.0`` and ``Decimal("1.00")`` are ``1``: a column that changes its type does not make another message.

    :param value: as for :func:`text_of`.
    :return: the text; None for NULL and NaN.
    :raises WatiValidationError: as :func:`text_of` does.
    """
    text = text_of(value)
    if isinstance(value, float) and text is not None:
        # A float of 16 digits is written with an exponent, and another type without one.
        value = Decimal(repr(float(value)))
        text = format(value, "f")
    if isinstance(value, Decimal) and text is not None:
        if not value:
            return "0"
        # Not Decimal.normalize(), which rounds to 28 digits: two long keys would become one.
        return text.rstrip("0").rstrip(".") if "." in text else text
    return text


def int_text(value: int) -> str:
    """
    Return a whole number as text.

    :raises WatiValidationError: for one with more digits than Python writes (4,300).
    """
    try:
        return str(value)
    except ValueError:
        raise WatiValidationError("the number has too many digits: cast it to text in the query") from None


def _is_tiny(value: float | Decimal) -> bool:
    """Return whether a Decimal is so small that its text would consist of zeros: 1E-999999999 would fill the memory."""
    return isinstance(value, Decimal) and value.adjusted() < _SMALLEST_EXPONENT


def _float_text(value: float) -> str:
    if value.is_integer() and abs(value) <= _EXACT_FLOAT:
        return str(int(value))
    return float.__repr__(value)


def as_written(value: Any) -> str:
    """
    Return a value that could not be read as it is shown in the outcomes: at most 200 characters of text.

    The text is the same in each process: it decides which of several tasks accounts for the row.
    """
    if value is None:
        return ""
    try:
        if isinstance(value, (set, frozenset)):
            return type(value).__name__  # its order differs from process to process
        text = str(value)[:_SHOWN_LENGTH]
        return _clean(text if isinstance(value, str) else _ADDRESS.sub("", text))
    except Exception:
        return type(value).__name__


def complaint_of(error: Exception) -> str:
    """
    Return what is wrong with a row that could not be read.

    :param error: any exception: the objects in a row are not ours, and may raise anything when they are read.
    """
    if isinstance(error, WatiValidationError):
        return _clean(str(error))
    return f"the row cannot be read ({type(error).__name__})"


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def is_null(value: Any) -> bool:
    """Return whether a value means no value: None, NaN, NaT, or pandas' NA."""
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, (float, datetime)):
        return bool(value != value)  # NaN and NaT alone differ from themselves
    return value is None or type(value).__name__ == "NAType"


def cell(row: Row, column: Column) -> Any:
    """
    Return the value of a row in a column.

    :raises WatiValidationError: when the row does not have the column; the error names those it has.
    """
    try:
        return row[column]  # type: ignore[index] # a name for a mapping, an index for a sequence
    except (KeyError, IndexError, TypeError):
        raise WatiValidationError(f"there is no column {column!r} in it; {_columns_of(row)}") from None


def _columns_of(row: Any) -> str:
    if isinstance(row, Mapping):
        # In a file without a header, the names are the data of the first person.
        return f"there are {', '.join(repr(mask_target(str(name))) for name in row) or 'none'}"
    if isinstance(row, Sequence) and not isinstance(row, (str, bytes)):
        return f"its columns are numbered from 0 to {len(row) - 1}"
    return f"it is of type {type(row).__name__}; give a dict of columns"
