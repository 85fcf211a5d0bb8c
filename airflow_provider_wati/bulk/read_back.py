"""Who got a message in earlier tries: what WATI's campaigns say, which is the truth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.bulk.send_file import SendFile
    from airflow_provider_wati.client import WatiClient


#: Recipients that go to the run file at once: a page.
_PAGE = 100


class ReadBack:
    """
    Find the campaigns of one send by the mark in their names, and the people in them by their local message ids.

    What stands before the mark may differ from one try to the next: a template or a broadcast is renamed, or two
    runs that share a send call it by their dates.

    :param client: the account.
    :param channel: the channel that the send goes from.
    :param mark: what stands in square brackets before the number of the batch.
    :param file: where what is found is noted.
    """

    def __init__(self, client: WatiClient, channel: str | None, mark: str, file: SendFile) -> None:
        self._client = client
        self._channel = channel
        self._name = re.compile(rf".*\[{re.escape(mark)}-(\d+)(r\d+)?\]", re.DOTALL)
        self._file = file
        #: For each batch the campaigns that WATI has shown, by id: their number in the run file.
        self.campaigns: dict[int, dict[str, int]] = defaultdict(dict)
        #: For each batch the names that campaigns of it have.
        self.names: dict[int, set[str]] = defaultdict(set)
        self._complete: set[str] = set()

    def look(self) -> None:
        """Find the campaigns that there are by now."""
        for campaign in self._client.iter_campaigns(self._channel):
            match = self._name.fullmatch(campaign.get("name") or "")
            if match:
                known = self.campaigns[int(match[1])]
                self.names[int(match[1])].add(match.group())
                if campaign["id"] not in known:
                    known[campaign["id"]] = self._file.broadcast(campaign["id"], match.group())

    def read(self, batches: Container[int] | None = None) -> set[int]:
        """
        Note everybody whom the campaigns list.

        :param batches: the numbers of the batches whose campaigns are read; all if left out.
        :return: the batches of campaigns that list fewer people than they have, so that who is missing there
            may have got a message nevertheless.
        """
        filling = set()
        for number, campaigns in self.campaigns.items():
            if batches is None or number in batches:
                for campaign_id, broadcast in campaigns.items():
                    if campaign_id not in self._complete and not self._read(campaign_id, broadcast):
                        filling.add(number)
        self._file.accept_listed()
        return filling

    def _read(self, campaign_id: str, broadcast: int) -> bool:
        """Read one campaign; tell whether it lists all of its people yet."""
        listed = 0
        page: list[str] = []
        for entry in self._client.iter_campaign_recipients(campaign_id):
            listed += 1
            if entry.get("local_message_id"):
                page.append(str(entry["local_message_id"]))
            if len(page) == _PAGE:
                self._file.listed(page, broadcast)
                page.clear()
        self._file.listed(page, broadcast)
        statistics = self._client.get_campaign(campaign_id).get("statistics", {})
        if listed < statistics.get("total_recipients", 0):
            return False
        self._complete.add(campaign_id)
        return True
