"""Contacts, with what they have consented to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
)
from airflow_provider_wati.extracting.rows import (
    Batch,
    Entity,
    Row,
    State,
    columns_of,
    flag_of,
    id_of,
    json_of,
    params_of,
)
from airflow_provider_wati.listening.values import text_of, time_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact

log: logging.Logger = logging.getLogger(__name__)

_TEXTS = (
    "wa_id", "phone", "bsuid", "username", "name", "display_name", "contact_status", "source", "channel_id",
    "channel_type",
)  # fmt: skip
_JSON = ("teams", "segments")
_FLAGS = ("allow_broadcast", "opted_in", "allow_sms")
_TIMES = ("created", "last_updated")
_PAGE = 100
#: After these, the list counts as it is.
_NO_ANSWER = (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
)


def _listed_wins(stored: Row, listed: Row) -> Row:
    return listed


CONTACTS = Entity(
    "contacts",
    columns_of((*_TEXTS, *_JSON, "custom_params"), _FLAGS, _TIMES),
    merge=_listed_wins,
)


class ContactsExtract:
    """
    Read all contacts.

    WATI lists contacts without a filter and without a documented order, and does not say whether an opt-out changes
    ``last_updated``. So each run reads the whole list, and there is nothing to remember.

    :param client: the account.
    """

    entity = CONTACTS

    def __init__(self, client: WatiClient) -> None:
        self._client = client
        self.skipped: int = 0

    def forget(self, state: Mapping[str, str]) -> State:
        """Return an empty state."""
        return {}

    def batches(self, state: Mapping[str, str]) -> Iterator[Batch]:
        """Read all contacts, a hundred at a time."""
        counted = self._count()
        listed = 0
        contacts = self._client.iter_contacts()
        while page := list(islice(contacts, _PAGE)):
            listed += len(page)
            rows = [row for contact in page if (row := _row_of(contact))]
            self.skipped += len(page) - len(rows)
            yield Batch(rows)
        if counted is not None and listed < counted:
            log.warning(
                "WATI counts %s contacts and lists %s: the list moved while it was read, or the token does not see all. "
                "The next run reads the whole list again.",
                f"{counted:,}",
                f"{listed:,}",
            )

    def _count(self) -> int | None:
        try:
            return self._client.count_contacts()
        except _NO_ANSWER as error:
            log.info("WATI does not count the contacts, so that the list cannot be checked: %s", error)
            return None


def _row_of(contact: Contact) -> Row | None:
    """Return the row of a contact; None if it has no usable id."""
    id = id_of(contact)
    if id is None:
        return None
    record: Mapping[str, object] = contact
    return {
        "id": id,
        **{name: text_of(record.get(name)) for name in _TEXTS},
        **{name: json_of(record.get(name)) for name in _JSON},
        "custom_params": params_of(contact.get("custom_params")),
        **{name: flag_of(record.get(name)) for name in _FLAGS},
        **{name: time_of(record.get(name)) for name in _TIMES},
    }
