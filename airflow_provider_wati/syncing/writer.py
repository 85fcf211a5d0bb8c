"""Write to WATI's contacts, and record in the scratch database what each answer means."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiServerError,
    WatiUnknownOutcomeError,
)
from airflow_provider_wati.syncing.contact_db import KNOWN, NO_NAME
from airflow_provider_wati.syncing.diff import (
    Person,
    attributes_to_create,
    attributes_to_update,
    different_attribute,
    match_answer,
    shows_attributes,
    vals_in,
)
from airflow_provider_wati.syncing.snapshot import vals_of
from airflow_provider_wati.tables.outcomes import SyncStatus

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact
    from airflow_provider_wati.syncing.contact_db import ContactDb

log = logging.getLogger(__name__)

#: Contacts in one update. WATI states no limit; 100 are known to work.
BATCH = 100
# One contact that WATI fails at must not stop the others; several failures in a row are an outage.
_MOST_UNANSWERED = 3

#: WATI refused the call, and would refuse it again.
_REFUSALS = (WatiBadRequestError, WatiConflictError, WatiNotFoundError, WatiRejectedError)
#: WATI did not act, and would refuse every other call now.
_NOT_NOW = (WatiAuthenticationError, WatiPermissionError, WatiRateLimitError)

_ENDED = "the sync ended during the call"
_NO_LONGER = "WATI does not have the contact any more"
_LEFT_OUT = "WATI's answer leaves the contact out, so it was not updated"


class ContactWriter:
    """
    Write the people in a scratch database to WATI.

    :param client: the account.
    :param db: holds the people, and gets the outcomes.
    :param attributes: the names of the mapped attributes, in the order of the values.
    :param mode: ``upsert``, ``update`` or ``insert``.
    :param after: called after each call with the number of people in it.
    """

    def __init__(
        self,
        client: WatiClient,
        db: ContactDb,
        attributes: Sequence[str],
        mode: str,
        after: Callable[[int], None],
    ) -> None:
        self._client = client
        self._db = db
        self._attributes = attributes
        self._mode = mode
        self._after = after
        self._unanswered = 0
        #: Calls that were made, look-ups and writes.
        self.reads = 0
        self.writes = 0

    def write(self) -> None:
        """
        Write everybody.

        :raises WatiError: when it cannot go on: 401, 403, 429, no connection, several calls in a row without an answer.
        """
        # Updates first: with a hundred in a call, they are quick. An update may find that a contact is gone, and a
        # create that it exists; nobody is switched twice, so a third pass ends it.
        self._put_all()
        self._post_all()
        self._put_all()

    def look_up(self, phone_number: str) -> Contact | None:
        """Return the contact of a phone number; None where WATI has none, or refuses the phone number."""
        self.reads += 1
        try:
            return self._client.get_contact(phone_number)
        except _REFUSALS:
            return None

    def _put_all(self) -> None:
        while batch := self._db.next("put", BATCH):
            self._put(batch)
            self._after(len(batch))

    def _post_all(self) -> None:
        while batch := self._db.next("post", BATCH):
            for person in batch:
                self._post(person)
                self._after(1)

    @contextmanager
    def _call(self, people: Sequence[Person]) -> Iterator[None]:
        """Make one write; however it ends, the outcome of these people is what is known at that moment."""
        self._db.mark(people, SyncStatus.UNKNOWN, _ENDED)
        self.writes += 1
        try:
            yield
        except _NOT_NOW:
            self._db.mark(people, SyncStatus.UNSENT)
            raise
        except _REFUSALS:
            self._unanswered = 0
            raise
        except WatiError as error:
            self._db.mark(people, SyncStatus.UNKNOWN, str(error))
            raise
        self._unanswered = 0

    def _no_answer(self, error: WatiError) -> None:
        """Go on after a call with an unknown outcome, unless it is one of several in a row."""
        self._unanswered += 1
        if isinstance(error, WatiConnectionError) or self._unanswered >= _MOST_UNANSWERED:
            raise error
        log.warning("No answer, so the outcome is unknown; the next run writes it again. %s", error)

    # Updates

    def _put(self, batch: Sequence[Person]) -> None:
        """Update a batch; one that WATI refuses, or fails at, is halved until the row at fault stands alone."""
        try:
            with self._call(batch):
                answer = self._client.update_contacts(
                    [
                        {"target": person.phone_number, "custom_params": self._changes(person)}
                        for person in batch
                    ]
                )
        except _REFUSALS as error:
            if len(batch) == 1:
                self._not_updated(batch[0], str(error))
                return
            self._db.mark(batch, SyncStatus.UNSENT)
            self._put_halves(batch)
        except _NOT_NOW:
            raise
        except WatiServerError as error:
            if len(batch) == 1:
                self._no_answer(error)
                return
            # All of them stay unknown until they are written again.
            self._put_halves(batch)
        except WatiError as error:
            self._no_answer(error)
        else:
            self._record_update(batch, answer)

    def _put_halves(self, batch: Sequence[Person]) -> None:
        middle = len(batch) // 2
        self._put(batch[:middle])
        self._put(batch[middle:])

    def _changes(self, person: Person) -> dict[str, str]:
        return attributes_to_update(self._attributes, person)

    def _record_update(self, batch: Sequence[Person], answer: Sequence[Contact]) -> None:
        """Record the answer to an update. It may leave people out, which is the only sign that they were not updated."""
        found, left_out = match_answer(batch, answer)
        done: list[tuple[Person, str | None, str | None]] = []
        for person, contact in found:
            name = different_attribute(self._changes(person), contact)
            if name is None:
                # Attributes that were not sent may have changed since the last run.
                shown = vals_in(self._attributes, contact) if shows_attributes(contact) else None
                done.append((person, contact.get("name"), shown))
            else:
                reason = f"WATI answers with another value of {name!r} than the one that was written"
                self._db.record_refused(person, SyncStatus.REJECTED, reason, missing=False)
        self._db.record_written(done)
        for person in left_out:
            self._not_updated(person, _LEFT_OUT)

    def _not_updated(self, person: Person, reason: str) -> None:
        """Find out why an update was refused: the contact may have been deleted in WATI."""
        if self.look_up(person.phone_number) is not None:
            self._db.record_refused(person, SyncStatus.REJECTED, reason, missing=False)
        elif person.done == SyncStatus.CLEARED or self._mode == "update":
            self._db.record_refused(person, SyncStatus.SKIPPED, _NO_LONGER, missing=True)
        elif person.switched:
            self._db.record_refused(person, SyncStatus.REJECTED, reason, missing=True)
        elif person.name is None:
            self._db.record_refused(person, SyncStatus.INVALID, NO_NAME, missing=True)
        else:
            self._db.switch(person, "post", SyncStatus.CREATED)

    # Creates

    def _post(self, person: Person) -> None:
        """Create a contact; one that exists is updated."""
        try:
            with self._call([person]):
                contact = self._client.create_contact(
                    person.phone_number, person.name or "", attributes_to_create(self._attributes, person)
                )
        except _REFUSALS as error:
            existing = self.look_up(person.phone_number)
            if existing is None:
                self._db.record_refused(person, SyncStatus.REJECTED, str(error), missing=True)
            else:
                self._exists(person, existing)
        except WatiUnknownOutcomeError as error:
            existing = self.look_up(person.phone_number)
            if existing is None:
                self._no_answer(error)
            else:
                self._created(person, existing)
        except WatiConnectionError:
            # A create whose connection broke off is an unknown outcome; this one was never sent.
            self._db.mark([person], SyncStatus.UNSENT)
            raise
        else:
            self._created(person, contact)

    def _created(self, person: Person, contact: Contact) -> None:
        """Record the contact after a create; WATI may have had it before, and left it as it was."""
        vals = vals_in(self._attributes, contact)
        if vals == vals_of(person.values):
            self._db.record_written([(person, contact.get("name"), None)])
        elif not shows_attributes(contact):
            # Whether they were stored is not known; to write them again is harmless.
            self._db.switch(person, "put", SyncStatus.CREATED, vals)
        else:
            self._exists(person, contact)

    def _exists(self, person: Person, contact: Contact) -> None:
        vals = vals_in(self._attributes, contact)
        if self._mode == "insert":
            self._db.record_existing(person, contact.get("name"), vals, KNOWN)
        elif vals == vals_of(person.values):
            self._db.record_unchanged(person, contact.get("name"))
        else:
            self._db.switch(person, "put", SyncStatus.UPDATED, vals)
