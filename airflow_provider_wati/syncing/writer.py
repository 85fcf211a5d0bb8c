"""Write to WATI's contacts, and record in the scratch database what each answer means."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_wati.client.retry import Safety
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.syncing.changes import NO_NAME
from airflow_provider_wati.syncing.diff import (
    Person,
    Seen,
    attributes_to_create,
    attributes_to_update,
    different_attribute,
    match_answer,
    seen_in,
    shows_attributes,
    update_of,
    vals_in,
)
from airflow_provider_wati.syncing.isolation import (
    PROBE_AFTER,
    Cause,
    Health,
    Step,
    cause_of,
    may_have_worked,
    next_step,
)
from airflow_provider_wati.syncing.look_up import LOOK_UP_FAILURES
from airflow_provider_wati.syncing.values import is_same_list, shown_text, vals_of
from airflow_provider_wati.tables.outcomes import SyncStatus

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact
    from airflow_provider_wati.syncing.look_up import ContactLookUp
    from airflow_provider_wati.syncing.write_queue import WriteQueue

log: logging.Logger = logging.getLogger(__name__)

#: Contacts in one update. WATI states no limit; 100 are known to work.
BATCH = 100
# Where most rows are at fault, to write them one by one takes fewer calls than to search for them.
_MOST_HALVINGS = BATCH.bit_length()

_NO_LONGER = "WATI does not have the contact any more"
_NOT_THERE = "WATI took the new contact, and does not have it"
_LEFT_OUT = "WATI's answer leaves the contact out, so it was not updated"


class ContactWriter:
    """
    Write the people in a queue to WATI.

    :param client: the account.
    :param look_up: looks up single contacts of it.
    :param queue: holds the people, and gets the outcomes.
    :param attributes: the names of the mapped attributes, in the order of the values.
    :param mode: ``upsert``, ``update`` or ``insert``.
    :param after: called after each outcome with the number of people.
    """

    def __init__(
        self,
        client: WatiClient,
        look_up: ContactLookUp,
        queue: WriteQueue,
        attributes: Sequence[str],
        mode: str,
        after: Callable[[int], None],
    ) -> None:
        self._client = client
        self._look_up = look_up
        self._queue = queue
        self._attributes = attributes
        self._mode = mode
        self._after = after
        self._health = Health()
        #: Whether contacts are created now, of which a write that works proves nothing: it is an update.
        self._is_creating = False
        #: Whether this run has listed WATI's contacts, so that none of them is found in another spelling.
        self.has_listed: bool = False
        #: Who was refused since a write has worked, for a cause that may concern everybody.
        self._refused: list[Person] = []
        #: Calls that were made, without the look-ups.
        self.reads: int = 0
        self.writes: int = 0

    def write(self) -> None:
        """
        Write everybody. A row at which a call fails is recorded, and the rest goes on.

        :raises WatiError: when it cannot go on: 401, 429, no connection, an outage.
        """
        # Updates first: with a hundred in a call, they are quick. An update may find that a contact is gone, and a
        # create that it exists; nobody is switched twice, so a third pass ends it.
        try:
            self._put_all()
            self._post_all()
            self._put_all()
        except WatiError as error:
            why = f"it was refused, as all writes since; they may be refused to everybody: {error}"
            self._queue.take_back(self._refused, why)
            raise

    def _after_success(self) -> None:
        self._health = self._health.after_success()
        self._refused.clear()

    # Failures

    def _go_on(self, error: WatiError) -> None:
        """
        Go on after a failed write that one row can have caused.

        :raises WatiError: when an outage, or something else that concerns everybody, has caused it.
        """
        cause = cause_of(error)
        if cause is Cause.ROW_OR_OUTAGE:
            self._health = self._health.after_failure(asks_to_wait=error.retry_after is not None)
        step = next_step(cause, self._health)
        if step is Step.PROBE:
            self._probe(error)
            step = next_step(cause, self._health)
        if step is Step.STOP:
            raise error

    def _probe(self, error: WatiError) -> None:
        """
        Repeat a write that has worked before, or read where there is none; the client repeats it through a short outage.

        :param error: what raised the question.
        :raises WatiError: when the probe fails too.
        """
        good = self._queue.known_good()
        try:
            if good is None:
                self.reads += 1
                self._client.count_contacts()
            else:
                self.writes += 1
                self._client.update_contacts([update_of(self._attributes, good)])
        except WatiError as failure:
            cause = cause_of(failure)
            if cause is Cause.EVERYBODY:
                raise
            if cause is Cause.ROW_OR_OUTAGE:
                raise error from failure
        self._health = self._health.after_probe(writes_work=good is not None and not self._is_creating)

    @contextmanager
    def _looking_up(self, person: Person) -> Iterator[None]:
        """Let a look-up that fails cost this person only, unless it is an outage."""
        try:
            yield
        except LOOK_UP_FAILURES as error:
            self._probe(error)
            self._queue.record_unknown(person, f"the contact could not be looked up: {error}")

    # Updates

    def _put_all(self) -> None:
        self._health = Health()
        halvings = 0
        while True:
            if self._health.failures >= PROBE_AFTER:
                # Bad rows are neighbours: somebody from the other end shows that others can be written, and says nothing
                # about how many of the next are bad.
                if not (other := self._queue.last("put")):
                    return
                self._put(other)
            if not (batch := self._queue.next("put", max(1, BATCH >> max(0, halvings - 1)))):
                return
            if self._put(batch):
                halvings = max(0, halvings - 1)
            else:
                halvings = min(halvings + 1, _MOST_HALVINGS + 1)

    def _put(self, batch: Sequence[Person]) -> bool:
        """
        Update a batch. If it fails, find one row at fault by halving; the rows that may be good stay in the queue.

        :return: whether it worked at once.
        """
        error = self._update(batch)
        if error is None:
            return True
        suspects = batch
        while len(suspects) > 1:
            middle = len(suspects) // 2
            error = self._update(suspects[:middle])
            # If the first half is good, the row at fault is in the second one.
            suspects = suspects[middle:] if error is None else suspects[:middle]
        if error is None or (len(batch) == 1 and self._health.is_first_and_probed):
            error = self._update(suspects)
        if error is not None:
            self._blame(suspects[0], error)
        return False

    def _update(self, people: Sequence[Person]) -> WatiError | None:
        """
        Make one update.

        :return: why it failed, for a cause that one of the people may be; None if it worked.
        """
        self._queue.begin_call(people)
        self.writes += 1
        try:
            # Made once: to halve a call that fails takes as many calls as to repeat it, and writes half of the people.
            answer = self._client.update_contacts(
                [update_of(self._attributes, person) for person in people], safety=Safety.NON_IDEMPOTENT
            )
        except WatiError as error:
            self._queue.put_back(people, str(error) if may_have_worked(error) else None)
            self._go_on(error)
            return error
        self._after_success()
        self._record_update(people, answer)
        self._after(len(people))
        return None

    def _record_update(self, batch: Sequence[Person], answer: Sequence[Contact]) -> None:
        """Record the answer to an update. If it leaves people out, that is the only sign that they were not updated."""
        found, left_out = match_answer(batch, answer)
        done: list[tuple[Person, str | None, str | None]] = []
        for person, contact in found:
            name = different_attribute(attributes_to_update(self._attributes, person), contact)
            if name is None:
                # Attributes that were not sent may have changed since the last run.
                shown = (
                    vals_in(self._attributes, contact, person.values) if shows_attributes(contact) else None
                )
                done.append((person, shown_text(contact.get("name")), shown))
            else:
                reason = f"WATI answers with another value of {name!r} than the one that was written"
                self._queue.record_refused(person, SyncStatus.REJECTED, reason, missing=False)
        self._queue.record_written(done)
        for person in left_out:
            self._not_updated(person, _LEFT_OUT)

    def _blame(self, person: Person, error: WatiError) -> None:
        """Record the failure of a row that stands alone."""
        if may_have_worked(error):
            self._queue.record_unknown(person, str(error))
        elif cause_of(error) is Cause.CONTENT:
            self._not_updated(person, str(error))
        else:
            self._refused.append(person)
            self._queue.record_refused(person, SyncStatus.REJECTED, str(error), missing=False)
        self._after(1)

    def _not_updated(self, person: Person, reason: str) -> None:
        """Find out why an update was refused: WATI may have deleted the contact, or know the line by its other spelling."""
        with self._looking_up(person):
            contact = self._look_up.under_any_spelling(person.phone_number)
            if contact is not None:
                seen = seen_in(self._attributes, contact, person.phone_number)
                if reason == _LEFT_OUT and is_same_list(seen.vals, vals_of(person.values)):
                    # The answer may have had the contact without its phone number.
                    self._queue.record_written([(person, seen.name, seen.vals)])
                elif seen.phone_number != person.phone_number and not person.switched:
                    self._queue.switch(person, "put", SyncStatus(person.done), seen)
                else:
                    self._queue.record_refused(person, SyncStatus.REJECTED, reason, missing=False)
            elif person.done == SyncStatus.CLEARED or self._mode == "update":
                self._queue.record_refused(person, SyncStatus.SKIPPED, _NO_LONGER, missing=True)
            elif person.switched:
                self._queue.record_refused(person, SyncStatus.REJECTED, reason, missing=True)
            elif person.name is None:
                self._queue.record_refused(person, SyncStatus.INVALID, NO_NAME, missing=True)
            else:
                self._queue.switch(person, "post", SyncStatus.CREATED)

    # Creates

    def _post_all(self) -> None:
        self._health, self._is_creating = Health(), True
        while people := self._next_to_create():
            self._post(people[0])
            self._after(1)

    def _next_to_create(self) -> list[Person]:
        """Return who is created next; after several failures somebody from the other end, because bad rows are neighbours."""
        if self._health.failures >= PROBE_AFTER:
            return self._queue.last("post")
        return self._queue.next("post", 1)

    def _post(self, person: Person) -> None:
        """Create a contact; one that exists is updated."""
        if self._is_found_in_other_spelling(person):
            return
        self._queue.begin_call([person])
        self.writes += 1
        try:
            contact = self._client.create_contact(
                person.phone_number, person.name or "", attributes_to_create(self._attributes, person)
            )
        except WatiError as error:
            self._queue.put_back([person], str(error) if may_have_worked(error) else None)
            self._go_on(error)
            self._not_created(person, error)
        else:
            self._after_success()
            self._created(person, contact)

    def _is_found_in_other_spelling(self, person: Person) -> bool:
        """
        Look up the other spelling of a phone number, if it has one: WATI would make a second contact for the line.

        :return: whether there is a contact, or it is not known, so that nothing is created.
        """
        # Who was switched to a create has been looked up in both.
        if self.has_listed or person.switched:
            return False
        with self._looking_up(person):
            contact = self._look_up.under_other_spelling(person.phone_number)
            if contact is not None:
                self._exists(person, contact)
            return contact is not None
        return True

    def _not_created(self, person: Person, error: WatiError) -> None:
        """Find out what a create that failed has left in WATI."""
        with self._looking_up(person):
            existing = self._look_up.under_any_spelling(person.phone_number)
            if existing is None and may_have_worked(error):
                self._queue.record_unknown(person, str(error))
            elif existing is None:
                if cause_of(error) is Cause.ROW_OR_OUTAGE:
                    self._refused.append(person)
                self._queue.record_refused(person, SyncStatus.REJECTED, str(error), missing=True)
            elif may_have_worked(error):
                self._created(person, existing)
            else:
                self._exists(person, existing)

    def _created(self, person: Person, contact: Contact) -> None:
        """Record the contact after a create; WATI may have had it before, and left it as it was."""
        seen = seen_in(self._attributes, contact, person.phone_number)
        if self._attributes and not shows_attributes(contact):
            self._created_unseen(person, seen._replace(vals=None))
        elif is_same_list(seen.vals, vals_of(person.values)):
            self._queue.record_written([(person, seen.name, None)])
        else:
            self._exists(person, contact)

    def _created_unseen(self, person: Person, seen: Seen) -> None:
        """Find out what a create has stored whose answer shows no attributes, and if WATI had the contact before."""
        if self._mode != "insert":
            # To write each value, and to empty the others, is right whatever WATI has.
            self._queue.switch_created(person, seen)
            return
        with self._looking_up(person):
            contact = self._look_up.under_any_spelling(person.phone_number)
            if contact is None:
                self._queue.record_unknown(person, _NOT_THERE)
                return
            seen = seen_in(self._attributes, contact, person.phone_number)
            if is_same_list(seen.vals, vals_of(person.values)):
                self._queue.record_written([(person, seen.name, None)])
            else:
                self._queue.record_existing(person, seen)

    def _exists(self, person: Person, contact: Contact) -> None:
        seen = seen_in(self._attributes, contact, person.phone_number)
        if self._mode == "insert":
            self._queue.record_existing(person, seen)
        elif is_same_list(seen.vals, vals_of(person.values)):
            self._queue.record_unchanged(person, seen)
        else:
            self._queue.switch(person, "put", SyncStatus.UPDATED, seen)
