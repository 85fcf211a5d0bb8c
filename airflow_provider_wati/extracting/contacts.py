"""Contacts, with what they have consented to."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
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
from airflow_provider_wati.extracting.seen_ids import SeenIds
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
#: Looks at the list for contacts that have moved while it was read.
_MOST_LOOKS = 3
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

    A contact that moves to the front while the list is read is not listed, and pushes another one to the next page, where it
    comes again. Then the list is looked at once more.

    :param client: the account.
    """

    entity = CONTACTS

    def __init__(self, client: WatiClient) -> None:
        self._client = client
        self.skipped: int = 0
        #: Contacts that the list has shown, each once.
        self._distinct = 0

    def forget(self, state: Mapping[str, str]) -> State:
        """Return an empty state."""
        return {}

    def batches(self, state: Mapping[str, str]) -> Iterator[Batch]:
        """Read all contacts, a hundred at a time."""
        counted = self._count()
        self._distinct = 0
        with closing(SeenIds()) as seen:
            has_moved = yield from self._listed(seen, None)
            for _ in range(_MOST_LOOKS - 1):
                if not has_moved or self._has_all(counted):
                    break
                # Contacts that have been added stand in the list too, and do not make up for one that is missing.
                counted = max(counted, self._count() or 0) if counted is not None else None
                has_moved = yield from self._listed(seen, counted)
        if counted is None and has_moved:
            log.warning(
                "WATI's list of contacts moved %d times while it was read, so that contacts may be missing. The next run reads "
                "the whole list again.",
                _MOST_LOOKS,
            )
        elif counted is not None and not self._has_all(counted):
            log.warning(
                "WATI counts %s contacts and lists %s: the list moved while it was read, or the token does not see all. "
                "The next run reads the whole list again.",
                f"{counted:,}",
                f"{self._distinct:,}",
            )

    def _has_all(self, counted: int | None) -> bool:
        return counted is not None and self._distinct >= counted

    def _listed(self, seen: SeenIds, enough: int | None) -> Generator[Batch, None, bool]:
        """
        Read the list, and return whether a contact came twice in it.

        :param seen: the ids that it has shown.
        :param enough: how many contacts have to be seen for the rest not to be read; None to read the whole list.
        """
        is_first_look = self._distinct == 0
        has_moved = False
        contacts = self._client.iter_contacts()
        with closing(SeenIds()) as here:
            while page := list(islice(contacts, _PAGE)):
                rows = [row for contact in page if (row := _row_of(contact))]
                odd = len(page) - len(rows) if is_first_look else 0
                self.skipped += odd
                self._distinct += odd + sum(seen.add(row["id"]) for row in rows)
                has_moved = sum(here.add(row["id"]) for row in rows) < len(rows) or has_moved
                yield Batch(rows)
                if self._has_all(enough):
                    break
        return has_moved

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
