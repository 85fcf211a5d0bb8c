"""
Contact sync: rows become WATI's contacts, and only a change costs a call.

A crash between any two calls does no harm. Before the first write, and every few minutes after it, the snapshot is
stored with everybody who is still to be written as unknown. The next run then writes them again, whatever their rows
say by that time. To set the same attributes twice is harmless, and a contact is created only after WATI was asked
whether it exists.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.rate_limit import EndpointGroup, seconds_at
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiValidationError
from airflow_provider_wati.syncing.changes import Changes
from airflow_provider_wati.syncing.diff import listed_in, seen_in
from airflow_provider_wati.syncing.known_contacts import KnownContacts
from airflow_provider_wati.syncing.look_up import LOOK_UP_FAILURES, ContactLookUp
from airflow_provider_wati.syncing.row_mapping import read_row
from airflow_provider_wati.syncing.scratch_tables import open_tables
from airflow_provider_wati.syncing.snapshot import read_snapshot, write_snapshot
from airflow_provider_wati.syncing.sync_rows import SyncRows
from airflow_provider_wati.syncing.write_queue import WriteQueue
from airflow_provider_wati.syncing.writer import BATCH, ContactWriter
from airflow_provider_wati.tables.outcomes import DRY_RUN, most_of
from airflow_provider_wati.tables.phone_numbers import TargetReader
from airflow_provider_wati.tables.progress import Progress

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact
    from airflow_provider_wati.syncing.row_mapping import ContactColumns
    from airflow_provider_wati.syncing.snapshot import SnapshotFile
    from airflow_provider_wati.tables.values import Row


log: logging.Logger = logging.getLogger(__name__)

MODES = ("upsert", "update", "insert")
ON_REMOVED = ("ignore", "clear")
DEFAULT_MAX_REMOVED = 0.2
_CONTACTS_PER_PAGE = 100
# A sync of many new contacts runs for hours. A crash then costs the calls since the last snapshot.
_SECONDS_BETWEEN_SNAPSHOTS = 300.0

_NOT_CLEARED = (
    "not cleared: there are rows whose phone number cannot be read, and one of them may be this person"
)


@dataclass(kw_only=True)
class ContactSync:
    """
    One run of a sync: :meth:`read` the rows, then :meth:`run`, then :meth:`summary` and :meth:`outcome_rows`.

    :param client: the account.
    :param sync_key: names the sync.
    :param columns: which columns of a row hold phone number, name and attributes.
    :param snapshot: what earlier runs know; None where there is no place for it, and WATI's contacts are listed.
    :param targets: reads phone numbers.
    :param mode: ``upsert``; ``update``, which creates nobody; ``insert``, which changes nobody.
    :param on_removed: ``ignore``, or ``clear`` to empty the attributes of people who are no longer in the rows.
    :param max_removed: the share, 0 to 1, of the people written so far that may be removed in one run; more is
        treated as a mistake.
    :param dry_run: whether to do everything but write.
    :raises WatiValidationError: for an unknown mode or ``on_removed``, or a share outside 0 to 1.
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
                "on_removed='clear' needs to know which contacts earlier runs have written: give a state_path, or set the "
                "option [wati] state_path, to a directory or an object-storage URI that all workers reach."
            )
        self._attributes = list(self.columns.attributes)
        self._db = open_tables()
        self._rows = SyncRows(self._db)
        self._known = KnownContacts(self._db, settles_removed=self.on_removed == "clear")
        self._changes = Changes(self._db, len(self._attributes))
        self._look_up = ContactLookUp(self.client)
        self._writer = ContactWriter(
            self.client, self._look_up, WriteQueue(self._db), self._attributes, self.mode, self._after_outcome
        )
        #: Whether the rows have been read to the end; until then the outcomes lack some of them.
        self.has_all_rows: bool = False
        # Whether the snapshot has to be stored though nothing is written.
        self._news = False
        self._stored = 0.0
        self._reads = 0
        self._plan: dict[str, Any] = {}
        self._started = time.monotonic()
        self._progress = Progress(log)

    def read(self, rows: Iterable[Row]) -> None:
        """Read all rows. WATI is not called, so that a cursor can be closed before the first call."""
        try:
            self._rows.load(read_row(row, self.columns, self.targets) for row in rows)
            self.has_all_rows = True
        except BaseException:
            self._rows.explain_unsent("not attempted: the rows could not be read to the end")
            raise

    def run(self) -> None:
        """
        Write what changed. :meth:`summary` and :meth:`outcome_rows` give the result, also after an error.

        :raises WatiValidationError: before anything is written, when too many people are no longer in the rows.
        :raises WatiError: when it cannot go on: 401, 429, no connection, an outage.
        """
        try:
            self._load_known()
            self._changes.compare(self.mode)
            if self.on_removed == "clear":
                self._clear_removed()
            self._announce()
            if self.dry_run:
                self._rows.explain_unsent(DRY_RUN)
            else:
                self._write()
        except BaseException as error:
            why = str(error) if isinstance(error, WatiError) else type(error).__name__
            self._rows.explain_unsent(f"not attempted: {why}")
            raise

    def close(self) -> None:
        """Delete the scratch database; summary and outcomes are not available any more."""
        self._db.close()

    # Before anything is written

    def _load_known(self) -> None:
        """Load what WATI has: from the snapshot, and from WATI where the snapshot does not know."""
        complete = False
        if self.snapshot is None:
            log.warning(
                "There is no state_path, so all of WATI's contacts are listed in each run. Give one, or set the "
                "option [wati] state_path, and unchanged rows cost no call."
            )
        else:
            with read_snapshot(self.snapshot, self._attributes) as snapshot:
                if snapshot is not None:
                    self._known.load_snapshot(snapshot.known)
                    complete = snapshot.complete
        if complete:
            self._resolve_uncertain()
        else:
            self._list(self._count_contacts())

    def _resolve_uncertain(self) -> None:
        """Ask WATI about the people for whom the snapshot is not certain: one by one, or by a listing if that is cheaper."""
        if self.mode == "update":
            # A person who wrote to us since the last run is a new contact that the snapshot does not have. The number of
            # contacts does not tell: another one may have been deleted.
            self._known.add_unknown()
        uncertain = self._known.count_uncertain()
        if uncertain > 1:
            contacts = self._count_contacts()
            if uncertain > contacts // _CONTACTS_PER_PAGE + 1:
                self._list(contacts)
                return
        if uncertain:
            self._ask_each()

    def _ask_each(self) -> None:
        """Look up each person for whom the snapshot is not certain."""
        self._news = True
        for phone_number in self._known.uncertain():
            try:
                contact = self._look_up.under_any_spelling(phone_number)
            except LOOK_UP_FAILURES as error:
                # It may be this contact alone. In an outage, the count fails too, and ends the run.
                self._count_contacts()
                self._rows.set_unknown(phone_number, f"the contact could not be looked up: {error}")
                continue
            if contact is None:
                self._known.record_missing(phone_number)
            else:
                self._known.record_found(seen_in(self._attributes, contact, phone_number))

    def _count_contacts(self) -> int:
        self._reads += 1
        return self.client.count_contacts()

    def _list(self, contacts: int) -> None:
        """
        List WATI's contacts; people who are missing from an incomplete listing are looked up.

        :param contacts: how many WATI counts.
        """
        pages = contacts // _CONTACTS_PER_PAGE + 1
        log.info(
            "Listing WATI's %s contacts: %s calls, %s s or more.",
            f"{contacts:,}",
            f"{pages:,}",
            f"{self._seconds_for(pages):,.0f}",
        )
        self._news = True
        is_whole = self._list_all(contacts)
        self._known.take_listed(is_whole=is_whole)
        self._writer.has_listed = True
        if not is_whole:
            log.warning(
                "WATI lists fewer contacts than it counts: %s people who are not listed are looked up, a call for each.",
                f"{self._known.count_uncertain():,}",
            )
            self._ask_each()

    def _list_all(self, contacts: int) -> bool:
        """
        List all contacts, twice if need be: one that moves to another page meanwhile can be missing.

        :return: whether the listings have everybody.
        """
        for _ in range(2):
            shown = self._known.add_listed(
                (str(contact.get("id")), listed_in(self._attributes, contact))
                for contact in self._each_contact()
            )
            listed = self._known.count_listed()
            if not self._known.has_unlisted() or contacts <= listed == shown:
                return True
            # A contact that was listed twice has moved, and contacts that are new can make up for one that was missed.
            contacts = max(contacts, self._count_contacts())
            if contacts <= listed:
                return True
        return False

    def _each_contact(self) -> Iterator[Contact]:
        # The first page and one for each full one: only a page that is not full is known to be the last.
        self._reads += 1
        for n, contact in enumerate(self.client.iter_contacts(), 1):
            yield contact
            if n % _CONTACTS_PER_PAGE == 0:
                self._reads += 1

    def _clear_removed(self) -> None:
        written, removed = self._changes.count_written()
        if not removed:
            return
        if not self._rows.count():
            raise WatiValidationError(
                f"There are no rows, and on_removed='clear' would empty all {written:,} contacts that this sync has "
                "written. Nothing was written. If that is intended, send rows with empty values."
            )
        allowed = most_of(written, self.max_removed)
        if removed > allowed:
            raise WatiValidationError(
                f"{removed:,} of the {written:,} contacts that this sync has written are no longer in the rows, and "
                f"max_removed {self.max_removed:g} allows {allowed:,}. Nothing was written. "
                "Check the rows; if they are right, raise max_removed for one run."
            )
        why_not = None
        if self._rows.count_unreadable():
            why_not = _NOT_CLEARED
            log.warning("Nobody is cleared: there are rows whose phone number cannot be read.")
        self._news = True
        self._changes.clear_removed(why_not)

    def _announce(self) -> None:
        """Log what is about to be written, with its calls and seconds."""
        counts, plan = self._rows.counts(), self._changes.plan()
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
            f"{self._rows.count():,}",
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

    def _write(self) -> None:
        if not self._plan["calls"]:
            if self._news:
                self._store()
            return
        self._changes.begin()
        self._store()
        try:
            self._writer.write()
        finally:
            self._changes.finish()
            self._store()

    def _store(self) -> None:
        if self.snapshot is not None:
            write_snapshot(self.snapshot, self._attributes, self._known.all())
        self._stored = time.monotonic()

    def _after_outcome(self, people: int) -> None:
        self._progress.add(people)
        if time.monotonic() - self._stored > _SECONDS_BETWEEN_SNAPSHOTS:
            self._store()

    # Results

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """
        Yield the outcome of each row, in order, then of the people who are no longer in the rows, who have no ``row``.

        The columns are ``SYNC_COLUMNS``.
        """
        return self._rows.outcome_rows()

    def summary(self) -> dict[str, Any]:
        """
        Return the counts, which add up to ``total``.

        ``total`` is ``rows_read`` and the people who are no longer in the rows and were to be cleared.
        """
        reads = self._reads + self._look_up.calls + self._writer.reads
        summary = {
            "sync_key": self.sync_key,
            "rows_read": self._rows.count(),
            **self._rows.counts(),
            "plan": self._plan,
            "calls": reads + self._writer.writes,
            "reads": reads,
            "writes": self._writer.writes,
            "seconds": round(time.monotonic() - self._started, 3),
            "outcomes": None,
            "problems": self._rows.problems(),
        }
        if self.dry_run:
            summary["dry_run"] = True
        return summary
