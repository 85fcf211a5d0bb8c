"""Which columns of a row hold a contact, and what a row says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wati.client.validation import is_consent
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.syncing.values import vals_of
from airflow_provider_wati.tables.values import as_written, cell, complaint_of, text_of

if TYPE_CHECKING:
    from airflow_provider_wati.tables.phone_numbers import TargetReader
    from airflow_provider_wati.tables.values import Column, Row


@dataclass(frozen=True, slots=True)
class ContactColumns:
    """
    The columns of a row.

    :param phone_number: the column with the phone number.
    :param name: the column with the name; None where no contact is to be created.
    :param attributes: ``{attribute in WATI: column}``.
    :raises WatiValidationError: for an attribute that is consent, or has no name.
    """

    phone_number: Column
    name: Column | None
    attributes: Mapping[str, Column]

    def __post_init__(self) -> None:
        if not isinstance(self.attributes, Mapping):
            raise WatiValidationError("attribute_columns is a dict: {attribute in WATI: column}.")
        for attribute in self.attributes:
            if not isinstance(attribute, str) or not attribute.strip():
                raise WatiValidationError(
                    f"attribute_columns has the attribute {attribute!r}, which is not a name."
                )
            if is_consent(attribute):
                raise WatiValidationError(
                    f"attribute_columns maps {attribute!r}, which is consent, and a sync never writes that: leave it out. "
                    "Customers give or withdraw consent themselves, in WATI."
                )


class CheckedRow(NamedTuple):
    """
    A row as it is loaded.

    :param phone_number: digits only, country code first; None if it cannot be read.
    :param target: the same; if it cannot be read, as the row has it.
    :param name: None where there is none.
    :param vals: the mapped attributes, see :func:`.values.vals_of`; None if the row has an error.
    :param complaint: what is wrong with the row; None if nothing is.
    """

    phone_number: str | None
    target: str
    name: str | None
    vals: str | None
    complaint: str | None


def read_row(row: Row, columns: ContactColumns, targets: TargetReader) -> CheckedRow:
    """Return what a row says; an error in it concerns no other row, so none is raised."""
    phone_number: str | None = None
    name: str | None = None
    given: Any = None
    try:
        given = cell(row, columns.phone_number)
        phone_number = targets.read_phone_number(given)
        if columns.name is not None:
            name = (_text(row, columns.name) or "").strip() or None
        # NULL and an empty text both mean no value. WATI may remove spaces at the ends, such as the padding of a CHAR
        # column: a value that keeps them would be written again in each run.
        values = [(_text(row, column) or "").strip() for column in columns.attributes.values()]
    except Exception as error:
        return CheckedRow(phone_number, phone_number or as_written(given), name, None, complaint_of(error))
    return CheckedRow(phone_number, phone_number, name, vals_of(values), None)


def _text(row: Row, column: Column) -> str | None:
    try:
        return text_of(cell(row, column))
    except WatiValidationError as error:
        raise WatiValidationError(f"column {column!r}: {error}") from None
