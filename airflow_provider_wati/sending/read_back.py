"""Who got a message in earlier tries: what WATI's campaigns say, which is the truth."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Campaign
    from airflow_provider_wati.sending.ledger import Ledger
    from airflow_provider_wati.sending.queue import SendFile


#: Recipients that go to the run file at once: a page.
_PAGE = 100
# What the sandbox calls it; WATI documents no word but `processing`.
_CANCELLED = ("cancelled", "canceled")


class ReadBack:
    """
    Find the campaigns of one send by the mark in their names, and the people in them by their local message ids.

    What stands before the mark may differ from one try to the next: a template or a broadcast is renamed, or two
    runs that share a send call it by their dates.

    :param client: the account.
    :param channel: the channel that the send goes from.
    :param mark: what stands in square brackets before the number of the batch.
    :param file: where what is found is noted.
    :param ledger: what is known of the campaigns from WATI's answers.
    :param grace: for how long WATI may go on filling a campaign once it has begun.
    """

    def __init__(
        self,
        client: WatiClient,
        channel: str | None,
        mark: str,
        file: SendFile,
        ledger: Ledger,
        grace: timedelta,
    ) -> None:
        self._client = client
        self._channel = channel
        self._name = re.compile(rf".*\[{re.escape(mark)}-(\d+)(?:r(\d+))?\]", re.DOTALL)
        self._file = file
        #: For each batch the campaigns that WATI has shown, by id: their number in the run file.
        self.campaigns: dict[int, dict[str, int]] = defaultdict(dict)
        #: For each batch which of its campaigns there are: 0 for the first, 1 for ``r1``, and so on.
        self.known: dict[int, set[int]] = defaultdict(set)
        #: The same, of those that list somebody, which shows that WATI took them.
        self.taken: dict[int, set[int]] = defaultdict(set)
        #: The campaigns that were cancelled, by their number in the run file.
        self.cancelled: set[int] = set()
        self._ledger = ledger
        self._grace = grace
        self._begun: dict[str, datetime] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._complete: set[str] = set()
        self._seem_complete: set[str] = set()

    def look(self) -> None:
        """Find the campaigns that there are by now."""
        for campaign in self._client.iter_campaigns(self._channel):
            match = self._name.fullmatch(campaign.get("name") or "")
            if match:
                batch, n = int(match[1]), int(match[2] or 0)
                campaigns = self.campaigns[batch]
                self.known[batch].add(n)
                self._places[campaign["id"]] = batch, n
                is_cancelled = (campaign.get("status") or "").casefold() in _CANCELLED
                # WATI may list nobody before a schedule's time, unless nobody is to come.
                is_settled = is_cancelled or self._ledger.reached_nobody(str(batch), n)
                first_seen = self._begun.get(campaign["id"], datetime.now(UTC))
                self._begun[campaign["id"]] = (
                    _latest(campaign, "created", *([] if is_settled else ["scheduled_at"])) or first_seen
                )
                if campaign["id"] not in campaigns:
                    campaigns[campaign["id"]] = self._file.broadcast(campaign["id"], match.group(), batch)
                if is_cancelled:
                    self.cancelled.add(campaigns[campaign["id"]])

    def read(self, batches: Container[int] | None = None, *, anew: bool = True) -> set[int]:
        """
        Note everybody whom the campaigns list.

        WATI's count of a campaign's people may grow with its list, so that one that seems complete is so for good
        only once its grace is over.

        :param batches: the numbers of the batches whose campaigns are read; all if left out.
        :param anew: whether to read those again that seemed complete before their grace was over.
        :return: the batches of campaigns that list fewer people than they have, so that who is missing there
            may have got a message nevertheless.
        """
        filling = set()
        done = self._complete if anew else self._complete | self._seem_complete
        for number, campaigns in self.campaigns.items():
            if batches is None or number in batches:
                for campaign_id, broadcast in campaigns.items():
                    if campaign_id not in done and not self._read(campaign_id, broadcast):
                        filling.add(number)
        self._file.accept_listed(same_people=self._ledger.tells_all)
        return filling

    def _read(self, campaign_id: str, broadcast: int) -> bool:
        """Read one campaign; tell whether it lists all of its people, as far as can be seen yet."""
        is_over = self._begun[campaign_id] + self._grace <= datetime.now(UTC)
        people: set[str] = set()
        recipients = iter(self._client.iter_campaign_recipients(campaign_id))
        while page := list(islice(recipients, _PAGE)):
            # Somebody may come on two pages, when the list grows in between.
            people.update(str(person.get("id") or person.get("local_message_id")) for person in page)
            self._file.listed(page, broadcast)
        if people:
            batch, n = self._places[campaign_id]
            self.taken[batch].add(n)
        statistics = self._client.get_campaign(campaign_id).get("statistics") or {}
        # An empty list says nothing before the grace is over.
        is_complete = len(people) >= (statistics.get("total_recipients") or (0 if is_over else 1))
        if is_complete:
            (self._complete if is_over else self._seem_complete).add(campaign_id)
        return is_complete


def _latest(campaign: Campaign, *names: str) -> datetime | None:
    """Return the latest of some times of a campaign; None if none of them can be read."""
    times = []
    for name in names:
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(str(campaign.get(name)))
            times.append(time if time.tzinfo else time.replace(tzinfo=UTC))
    return max(times, default=None)
