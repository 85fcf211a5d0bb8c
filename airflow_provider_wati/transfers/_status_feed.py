"""Statuses from Airflow's receiver on their way into a table of recipients."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from airflow_provider_wati.extracting.campaign_recipients import CampaignRecipientsExtract
from airflow_provider_wati.extracting.received_statuses import STATISTICS_PAUSE, cursor_name
from airflow_provider_wati.listening.received_statuses import ReceiverUnavailableError
from airflow_provider_wati.listening.values import written_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.extracting.rows import Extract, State
    from airflow_provider_wati.listening.received_statuses import ReceivedStatuses
    from airflow_provider_wati.listening.types import MessageStatus

log = logging.getLogger(__name__)


class StatusTable(Protocol):
    """A table whose rows have statuses."""

    def apply(self, statuses: Sequence[MessageStatus], now: str) -> int:
        """Raise the statuses of the rows, commit, and return how many rows were written."""
        ...


class StatusFeed:
    """
    Takes received statuses into a table, page by page; the cursor moves after the commit of a page.

    If the receiver cannot be used, one warning is logged, and the extract goes on with WATI's lists alone.

    :param received: the receiver.
    :param clock: the time.
    """

    def __init__(self, received: ReceivedStatuses, clock: Clock) -> None:
        self._received = received
        self._clock = clock
        self._name = cursor_name(received.conn_id)
        self._is_usable = True
        #: Statuses that were read, and rows that they changed.
        self.received = self.updated = 0

    def begin(self, source: Extract, state: Mapping[str, str]) -> None:
        """
        Read campaigns less often if statuses have come by webhook since the last run.

        :param source: what reads WATI next.
        :param state: what the last run remembered.
        """
        try:
            have_come = bool(self._received.page(state.get(self._name, ""), limit=1).statuses)
        except ReceiverUnavailableError as error:
            self._give_up(error)
            return
        if have_come and isinstance(source, CampaignRecipientsExtract):
            source.pause = STATISTICS_PAUSE

    def skip(self, state: Mapping[str, str]) -> State:
        """Return a state with the cursor after all received statuses: a full extract replaces them by what WATI lists."""
        cursor = state.get(self._name, "")
        try:
            for page in self._received.pages(cursor):
                cursor = page.cursor
        except ReceiverUnavailableError as error:
            self._give_up(error)
        return {self._name: cursor} if cursor else {}

    def can_finish_after_error(self, source: Extract) -> bool:
        """
        Return whether to take in statuses although WATI could not be read whole.

        If each campaign was tried, unreadable ones do not hold up the statuses. After an outage, the statuses wait until the
        next run has read their rows.

        :param source: what has read WATI.
        """
        return isinstance(source, CampaignRecipientsExtract) and source.is_through

    def finish(self, table: StatusTable, state: Mapping[str, str], remember: Callable[[State], None]) -> None:
        """
        Take in what has come since the last run.

        :param table: the table, which already has the rows that WATI lists.
        :param state: the current state.
        :param remember: stores a state for the next run.
        """
        if not self._is_usable:
            return
        cursor = state.get(self._name, "")
        try:
            for page in self._received.pages(cursor):
                self.received += len(page.statuses)
                self.updated += table.apply(page.statuses, written_time(self._clock.now()))
                if page.cursor != cursor:
                    cursor = page.cursor
                    remember({**state, self._name: cursor})
        except ReceiverUnavailableError as error:
            self._give_up(error)
        log.info(
            "The receiver has given %s statuses, which changed %s rows.",
            f"{self.received:,}",
            f"{self.updated:,}",
        )

    def _give_up(self, error: ReceiverUnavailableError) -> None:
        if self._is_usable:
            self._is_usable = False
            log.warning(
                "The receiver of connection %r gives no statuses: %s. The rows come from WATI alone, which costs more calls. "
                "Check [wati] receiver_url or [api] base_url.",
                self._received.conn_id,
                error,
            )
