"""
Contact sync: rows become WATI's contacts, and only what changed costs a call.

Why a crash between any two calls does no harm: before the first write, and now and then after it, the snapshot is
stored with everybody in doubt who is yet to be written. So the next run writes them again whatever their rows say by
then. To set the same attributes twice is harmless; a contact is not created before WATI was asked whether it is there.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.rate_limit import EndpointGroup, seconds_at
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConfigurationError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiServerError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.syncing.contact_db import KNOWN, NO_NAME, Person, SyncFile
from airflow_provider_wati.syncing.snapshot import read_snapshot, vals_of, write_snapshot
from airflow_provider_wati.tables.outcomes import DRY_RUN, SyncStatus
from airflow_provider_wati.tables.phone_numbers import TargetReader
from airflow_provider_wati.tables.progress import Progress
from airflow_provider_wati.tables.readers import as_written, cell, complaint_of, text_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact
    from airflow_provider_wati.syncing.snapshot import SnapshotFile
    from airflow_provider_wati.tables.readers import Column, Row


log = logging.getLogger(__name__)

MODES = ("upsert", "update", "insert")
ON_REMOVED = ("ignore", "clear")
DEFAULT_MAX_REMOVED = 0.2
#: Contacts in one update. WATI states no limit, and 100 are known to work.
BATCH = 100
_CONTACTS_A_PAGE = 100
# A sync of many new contacts runs for hours; what a crash then costs is the work of this long.
_SECONDS_BETWEEN_SNAPSHOTS = 300.0
# One contact that WATI cannot digest must not hold up the others; several in a row are an outage.
_MOST_UNANSWERED = 3

#: WATI refused what was asked, and would refuse it again.
_REFUSALS = (WatiBadRequestError, WatiConflictError, WatiNotFoundError, WatiRejectedError)
#: WATI did not do it, and would do nothing else now.
_NOT_NOW = (WatiAuthenticationError, WatiPermissionError, WatiRateLimitError)
# Whatever the spelling: consent is the customer's, and no table may overrule it.
_CONSENT = frozenset({"allowbroadcast", "allowsms", "optedin", "optin", "optedout", "optout"})

_ENDED = "the sync ended during the call"
_NOT_CLEARED = "not cleared: there are rows whose number cannot be read, and one of them may be this person"
_NO_LONGER = "WATI does not have the contact any more"
_LEFT_OUT = "WATI's answer leaves the contact out, so it was not updated"


@dataclass(frozen=True, slots=True)
class ContactColumns:
    """
    Which column of a row means what.

    :param number: the column with the phone number.
    :param name: the column with the name; None where no contact is to be created.
    :param attributes: ``{attribute in WATI: column}``.
    :raises WatiValidationError: for an attribute that is consent, or has no name.
    """

    number: Column
    name: Column | None
    attributes: Mapping[str, Column]

    def __post_init__(self) -> None:
        if not isinstance(self.attributes, Mapping):
            raise WatiValidationError("attribute_columns is a dict: {attribute in WATI: column}.")
        for attribute in self.attributes:
            if not isinstance(attribute, str) or not attribute.strip():
                raise WatiValidationError(
                    f"attribute_columns has the attribute {attribute!r}, which is no name."
                )
            if re.sub(r"[^a-z]", "", attribute.lower()) in _CONSENT:
                raise WatiValidationError(
                    f"attribute_columns maps {attribute!r}, which is consent, and a sync never writes that: leave it out. "
                    "Whether somebody may be messaged is for them to say, in WATI."
                )


@dataclass(kw_only=True)
class ContactSync:
    """
    One run of a sync: :meth:`read` the rows, then :meth:`run`, then :meth:`summary` and :meth:`outcomes`.

    :param client: the account.
    :param sync_key: names the sync.
    :param columns: finds number, name and attributes in a row.
    :param snapshot: what earlier runs know; None where there is no place for it, and WATI's contacts are listed.
    :param targets: reads phone numbers.
    :param mode: ``upsert``; ``update``, which creates nobody; ``insert``, which changes nobody.
    :param on_removed: ``ignore``, or ``clear`` to empty the attributes of those who are gone from the rows.
    :param max_removed: the share, 0 to 1, of the people written so far that may be gone; more is taken for a
        mistake.
    :param dry_run: whether to do everything but write.
    :raises WatiValidationError: for a mode, an ``on_removed`` or a share that cannot be right.
    :raises WatiConfigurationError: for ``clear`` without a place for the snapshot.
    """

    client: WatiClient
    sync_key: str
    columns: ContactColumns
    snapshot: SnapshotFile | None
    targets: TargetReader = field(default_factory=TargetReader)
    mode: str = "upsert"
    on_removed: str = "ignore"
    max_removed: float = DEFAULT_MAX_REMOVED
    dry_run: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("mode", self.mode, MODES),
            ("on_removed", self.on_removed, ON_REMOVED),
        ):
            if value not in known:
                raise WatiValidationError(f"{what} is {value!r}: give {' or '.join(map(repr, known))}.")
        if not isinstance(self.max_removed, (int, float)) or not 0 <= self.max_removed <= 1:
            raise WatiValidationError(f"max_removed is {self.max_removed!r}: give 0 to 1.")
        if self.snapshot is None and self.on_removed == "clear":
            raise WatiConfigurationError(
                "on_removed='clear' needs to know whom earlier runs have written: give a state_path, or set the "
                "option [wati] state_path, to a directory or an object-storage URI that all workers reach."
            )
        self._attributes = list(self.columns.attributes)
        self._file = SyncFile(len(self._attributes))
        #: Whether the rows have been read to the end; until then there are others of which nothing is told.
        self.has_all_rows = False
        self._contacts = 0
        self._news = False
        self._stored = 0.0
        self._reads = 0
        self._writes = 0
        self._unanswered = 0
        self._plan: dict[str, Any] = {}
        self._started = time.monotonic()
        self._progress = Progress(log)

    def read(self, rows: Iterable[Row]) -> None:
        """Read all rows; nothing is asked of WATI, so that a cursor can be closed before anything is."""
        try:
            self._file.load_rows(self._checked(row) for row in rows)
            self.has_all_rows = True
        except BaseException:
            self._file.explain_unsent("not attempted: the rows could not be read to the end")
            raise

    def run(self) -> None:
        """
        Write what changed; :meth:`summary` tells the rest, also after an error.

        :raises WatiValidationError: before anything is written, when too many people are gone from the rows.
        :raises WatiError: when it cannot go on (401, 403, 429, no connection).
        """
        try:
            self._learn()
            self._file.compare(self.mode)
            if self.on_removed == "clear":
                self._clear_removed()
            self._announce()
            if self.dry_run:
                self._file.explain_unsent(DRY_RUN)
            else:
                self._apply()
        except BaseException as error:
            why = str(error) if isinstance(error, WatiError) else type(error).__name__
            self._file.explain_unsent(f"not attempted: {why}")
            raise

    def close(self) -> None:
        """Throw the rows away; nothing can be asked any more."""
        self._file.close()

    def _checked(self, row: Row) -> tuple[str | None, str, str | None, str | None, str | None]:
        """Return number, target as it stands in the row, name, values, and what is wrong; None for what is not there."""
        number: str | None = None
        name: str | None = None
        given: Any = None
        try:
            given = cell(row, self.columns.number)
            number = self.targets.read_number(given)
            if self.columns.name is not None:
                name = (_text(row, self.columns.name) or "").strip() or None
            # NULL and an empty text are the same: no value.
            values = [_text(row, column) or "" for column in self.columns.attributes.values()]
        except Exception as error:
            return number, number or as_written(given), name, None, complaint_of(error)
        return number, number, name, vals_of(values), None

    # Before anything is written

    def _learn(self) -> None:
        """Find out what WATI has: from the snapshot, and from WATI what that does not tell."""
        listed = True
        if self.snapshot is None:
            log.warning(
                "There is no state_path, so all of WATI's contacts are listed in each run. Give one, or set the "
                "option [wati] state_path, and what is unchanged costs no call."
            )
        else:
            with read_snapshot(self.snapshot, self._attributes) as snapshot:
                if snapshot is not None:
                    self._file.load_known(snapshot.known)
                    self._contacts = snapshot.contacts
                    listed = not snapshot.complete
        if listed:
            self._list(self._count_contacts())
        else:
            self._clear_up()

    def _clear_up(self) -> None:
        """Ask WATI about whom the snapshot does not tell enough, the cheaper way."""
        doubtful = self._file.count_doubtful()
        # Who is new to WATI since the last run has written to us, and nobody told the snapshot.
        new = self.mode == "update" and self._file.count_new() > doubtful
        if not doubtful and not new:
            return
        contacts = self._count_contacts() if new or doubtful > 1 else self._contacts
        if (new and contacts != self._contacts) or doubtful > contacts // _CONTACTS_A_PAGE + 1:
            self._list(contacts)
            return
        self._news = True
        for number in self._file.doubtful():
            contact = self._look(number)
            if contact is None:
                self._file.missing(number)
            else:
                self._file.found(number, contact.get("name"), self._vals_in(contact))

    def _count_contacts(self) -> int:
        self._reads += 1
        return self.client.count_contacts()

    def _list(self, contacts: int) -> None:
        pages = contacts // _CONTACTS_A_PAGE + 1
        log.info(
            "Listing WATI's %s contacts: %s calls, %s s or more.",
            f"{contacts:,}",
            f"{pages:,}",
            f"{self._seconds_for(pages):,.0f}",
        )
        self._news = True
        self._contacts = contacts
        self._file.load_listed(
            (number, contact.get("name"), self._vals_in(contact))
            for contact in self._each_contact()
            for number in numbers_of(contact)
        )

    def _each_contact(self) -> Iterator[Contact]:
        # The first page and one for each full one: only a page that is not full is known to be the last.
        self._reads += 1
        for n, contact in enumerate(self.client.iter_contacts(), 1):
            yield contact
            if n % _CONTACTS_A_PAGE == 0:
                self._reads += 1

    def _clear_removed(self) -> None:
        written, removed = self._file.count_ours()
        if not removed:
            return
        if not self._file.count_rows():
            raise WatiValidationError(
                f"There are no rows, and on_removed='clear' would empty all {written:,} contacts that this sync has "
                "written. Nothing was written. If that is meant, send rows with empty values."
            )
        if removed > self.max_removed * written:
            raise WatiValidationError(
                f"{removed:,} of the {written:,} contacts that this sync has written are gone from the rows, and "
                f"max_removed {self.max_removed:g} allows {int(self.max_removed * written):,}. Nothing was written. "
                "Check the rows; if they are right, raise max_removed for one run."
            )
        why_not = None
        if self._file.count_unreadable():
            why_not = _NOT_CLEARED
            log.warning("Nobody is cleared: there are rows whose number cannot be read.")
        self._news = True
        self._file.clear_removed(why_not)

    def _announce(self) -> None:
        """Say what is about to be done and what it takes."""
        counts, plan = self._file.counts(), self._file.plan()
        calls = plan["to_create"] + -(-(plan["to_update"] + plan["to_clear"]) // BATCH)
        self._plan = {
            **{name: counts[name] for name in ("unchanged", "invalid", "skipped")},
            **plan,
            "calls": calls,
            "seconds": self._seconds_for(calls),
        }
        self._progress = Progress(log, sum(plan.values()))
        log.info(
            "Read %s rows: %s unchanged, %s to create, %s to update, %s invalid, %s skipped; %s people to clear. "
            "%s takes %s calls, %s s or more at the pace of the connection.",
            f"{self._file.count_rows():,}",
            *(
                f"{self._plan[name]:,}"
                for name in ("unchanged", "to_create", "to_update", "invalid", "skipped", "to_clear")
            ),
            "Dry run, nothing is written: it" if self.dry_run else "It",
            f"{calls:,}",
            f"{self._plan['seconds']:,.0f}",
        )

    def _seconds_for(self, calls: int) -> float:
        return seconds_at(self.client.rate_limits[EndpointGroup.CONTACTS], calls)

    # Writing

    def _apply(self) -> None:
        if self._plan["calls"]:
            self._file.begin()
        elif not self._news:
            return
        self._store()
        if not self._plan["calls"]:
            return
        try:
            # Updates first, a hundred at a time: they are the quick ones. Each may find that a contact is gone, and
            # each create that one is there; nobody is turned twice, so the third pass ends it.
            self._put_all()
            self._post_all()
            self._put_all()
        finally:
            self._file.finish()
            self._store()

    def _store(self) -> None:
        if self.snapshot is not None:
            write_snapshot(self.snapshot, self._attributes, self._contacts, self._file.known())
        self._stored = time.monotonic()

    def _put_all(self) -> None:
        while batch := self._file.next("put", BATCH):
            self._put(batch)
            self._after(len(batch))

    def _post_all(self) -> None:
        while batch := self._file.next("post", BATCH):
            for person in batch:
                self._post(person)
                self._after(1)

    def _after(self, people: int) -> None:
        self._progress.add(people)
        if time.monotonic() - self._stored > _SECONDS_BETWEEN_SNAPSHOTS:
            self._store()

    @contextmanager
    def _call(self, people: Sequence[Person]) -> Iterator[None]:
        """Make one write; whatever ends it, the outcome of these people is what is known then."""
        self._file.mark(people, SyncStatus.UNKNOWN, _ENDED)
        self._writes += 1
        try:
            yield
        except _NOT_NOW:
            self._file.mark(people, SyncStatus.UNSENT)
            raise
        except _REFUSALS:
            self._unanswered = 0
            raise
        except WatiError as error:
            self._file.mark(people, SyncStatus.UNKNOWN, str(error))
            raise
        self._unanswered = 0

    def _no_answer(self, error: WatiError) -> None:
        """Go on after a call whose outcome nobody knows, unless it is one of many."""
        self._unanswered += 1
        if isinstance(error, WatiConnectionError) or self._unanswered >= _MOST_UNANSWERED:
            raise error
        log.warning("No answer, so the outcome is unknown; the next run writes it again. %s", error)

    def _put(self, batch: Sequence[Person]) -> None:
        """Update a batch; one that WATI refuses, or fails at, is split until whoever is to blame stands alone."""
        try:
            with self._call(batch):
                answer = self.client.update_contacts(
                    [{"target": person.number, "custom_params": self._changes(person)} for person in batch]
                )
        except _REFUSALS as error:
            if len(batch) == 1:
                self._not_updated(batch[0], str(error))
                return
            self._file.mark(batch, SyncStatus.UNSENT)
            self._put_halves(batch)
        except _NOT_NOW:
            raise
        except WatiServerError as error:
            if len(batch) == 1:
                self._no_answer(error)
                return
            # Until they are written again, nobody can tell of any of them.
            self._put_halves(batch)
        except WatiError as error:
            self._no_answer(error)
        else:
            self._take(batch, answer)

    def _put_halves(self, batch: Sequence[Person]) -> None:
        middle = len(batch) // 2
        self._put(batch[:middle])
        self._put(batch[middle:])

    def _take(self, batch: Sequence[Person], answer: Sequence[Contact]) -> None:
        """Read WATI's answer to an update; it may leave people out, and tells in no other way that it did."""
        contacts = {number: contact for contact in answer for number in numbers_of(contact)}
        asked = {person.number for person in batch}
        strangers = sum(asked.isdisjoint(numbers_of(contact)) for contact in answer)
        missing = [person for person in batch if person.number not in contacts]
        # WATI may know a number in another of its country's spellings than the one it was asked for.
        if len(missing) <= strangers:
            contacts.update((person.number, {"id": ""}) for person in missing)
            missing = []
        done: list[tuple[Person, str | None, str | None]] = []
        for person in batch:
            contact = contacts.get(person.number)
            if contact is None:
                continue
            stale = self._stale(person, contact)
            if stale is None:
                # Attributes that were not sent may be others by now than the last run left them.
                shown = None if contact.get("custom_params") is None else self._vals_in(contact)
                done.append((person, contact.get("name"), shown))
            else:
                self._file.refused(person, SyncStatus.REJECTED, stale, missing=False)
        self._file.written(done)
        for person in missing:
            self._not_updated(person, _LEFT_OUT)

    def _stale(self, person: Person, contact: Contact) -> str | None:
        """Say which attribute an answer shows with another value than was written; None if it shows none such."""
        if contact.get("custom_params") is None:
            return None
        shown = _params_of(contact)
        for name, value in self._changes(person).items():
            if shown.get(name, "") != value:
                return f"WATI answers with another value of {name!r} than the one that was written"
        return None

    def _not_updated(self, person: Person, reason: str) -> None:
        """Find out why an update was not taken: the contact may have been deleted in WATI."""
        if self._look(person.number) is not None:
            self._file.refused(person, SyncStatus.REJECTED, reason, missing=False)
        elif person.done == SyncStatus.CLEARED or self.mode == "update":
            self._file.refused(person, SyncStatus.SKIPPED, _NO_LONGER, missing=True)
        elif person.turned:
            self._file.refused(person, SyncStatus.REJECTED, reason, missing=True)
        elif person.name is None:
            self._file.refused(person, SyncStatus.INVALID, NO_NAME, missing=True)
        else:
            self._file.turn(person, "post", SyncStatus.CREATED)

    def _changes(self, person: Person) -> dict[str, str]:
        """Return what an update sets: every value, and an empty one where WATI has an old one, or may have."""
        was: Sequence[str | None] = person.was or [None] * len(person.values)
        return {
            name: value
            for name, value, old in zip(self._attributes, person.values, was, strict=True)
            if value or old != ""
        }

    def _post(self, person: Person) -> None:
        """Create a contact; one that is there already is updated."""
        attributes = {
            name: value for name, value in zip(self._attributes, person.values, strict=True) if value
        }
        try:
            with self._call([person]):
                contact = self.client.create_contact(person.number, person.name or "", attributes)
        except _REFUSALS as error:
            there = self._look(person.number)
            if there is None:
                self._file.refused(person, SyncStatus.REJECTED, str(error), missing=True)
            else:
                self._is_there(person, there)
        except WatiUnknownOutcomeError as error:
            there = self._look(person.number)
            if there is None:
                self._no_answer(error)
            else:
                self._created(person, there)
        except WatiConnectionError:
            # A create whose connection broke off is an unknown outcome; this one never left.
            self._file.mark([person], SyncStatus.UNSENT)
            raise
        else:
            self._created(person, contact)

    def _created(self, person: Person, contact: Contact) -> None:
        """Read what WATI has after a create; it may have had the contact before, and left it as it was."""
        if self._vals_in(contact) == vals_of(person.values):
            self._file.written([(person, contact.get("name"), None)])
        elif contact.get("custom_params") is None:
            # It does not say, so nobody can tell; to write them again is harmless.
            self._file.turn(person, "put", SyncStatus.CREATED, self._vals_in(contact))
        else:
            self._is_there(person, contact)

    def _is_there(self, person: Person, contact: Contact) -> None:
        vals = self._vals_in(contact)
        if self.mode == "insert":
            self._file.is_there(person, contact.get("name"), vals, KNOWN)
        elif vals == vals_of(person.values):
            self._file.matches(person, contact.get("name"))
        else:
            self._file.turn(person, "put", SyncStatus.UPDATED, vals)

    def _look(self, number: str) -> Contact | None:
        """Return somebody's contact; None where WATI has none, or will hear nothing of such a number."""
        self._reads += 1
        try:
            return self.client.get_contact(number)
        except _REFUSALS:
            return None

    def _vals_in(self, contact: Contact) -> str:
        params = _params_of(contact)
        return vals_of([params.get(name, "") for name in self._attributes])

    # What became of it

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """
        Yield what became of each row, in order, and then of those who are gone from the rows, who have no ``row``.

        The columns are ``SYNC_COLUMNS``.
        """
        return self._file.outcomes()

    def summary(self) -> dict[str, Any]:
        """
        Count what became of everybody; the counts add up to ``total``.

        ``total`` is ``rows_read`` and those who are gone from the rows and were to be cleared.
        """
        summary = {
            "sync_key": self.sync_key,
            "rows_read": self._file.count_rows(),
            **self._file.counts(),
            "plan": self._plan,
            "calls": self._reads + self._writes,
            "reads": self._reads,
            "writes": self._writes,
            "seconds": round(time.monotonic() - self._started, 3),
            "outcomes": None,
            "problems": self._file.problems(),
        }
        if self.dry_run:
            summary["dry_run"] = True
        return summary


def numbers_of(contact: Contact) -> set[str]:
    """Return the numbers of a contact as digits: WATI writes them in two places, with a plus sign and without."""
    written = (contact.get("phone"), contact.get("wa_id"))
    found = {re.sub(r"\D", "", number) for number in written if number}
    return found - {""}


def _params_of(contact: Contact) -> dict[str, str]:
    return {param["name"]: param.get("value") or "" for param in contact.get("custom_params") or ()}


def _text(row: Row, column: Column) -> str | None:
    try:
        return text_of(cell(row, column))
    except WatiValidationError as error:
        raise WatiValidationError(f"column {column!r}: {error}") from None
