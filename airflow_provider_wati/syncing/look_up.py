"""Look up single contacts, under each spelling of the phone number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiConnectionError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRejectedError,
    WatiResponseError,
    WatiServerError,
)
from airflow_provider_wati.tables.phone_numbers import spellings_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact

#: A look-up that fails because of the contact, or of an outage.
LOOK_UP_FAILURES = (WatiPermissionError, WatiServerError, WatiConnectionError, WatiResponseError)
#: How a look-up says that WATI has no contact under a phone number, or does not take it.
_MISSING = (WatiBadRequestError, WatiConflictError, WatiNotFoundError, WatiRejectedError)


class ContactLookUp:
    """
    Looks up single contacts. None is where WATI has none, or refuses the phone number.

    :param client: the account.
    """

    def __init__(self, client: WatiClient) -> None:
        self._client = client
        #: Calls that were made.
        self.calls: int = 0

    def under_any_spelling(self, phone_number: str) -> Contact | None:
        """Return the contact of a person, under the given spelling first."""
        return self._first(sorted(spellings_of(phone_number), key=phone_number.__ne__))

    def under_other_spelling(self, phone_number: str) -> Contact | None:
        """Return the contact of a person under a spelling that is not the given one; most phone numbers have none."""
        return self._first(each for each in spellings_of(phone_number) if each != phone_number)

    def _first(self, spellings: Iterable[str]) -> Contact | None:
        for spelling in spellings:
            self.calls += 1
            try:
                return self._client.get_contact(spelling)
            except _MISSING:
                continue
        return None
