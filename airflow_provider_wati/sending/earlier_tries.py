"""What earlier tries of a send have done: from the ledger what it knows, from WATI the rest."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiError, WatiUnknownOutcomeError
from airflow_provider_wati.sending import grace
from airflow_provider_wati.tables.outcomes import SendStatus

if TYPE_CHECKING:
    from airflow_provider_wati.sending.ledger import Ledger
    from airflow_provider_wati.sending.queue import Batch, SendFile
    from airflow_provider_wati.sending.read_back import ReadBack


log = logging.getLogger(__name__)

_HOLD = (
    "on_unknown is `hold`: once you know from WATI's dashboard that nothing more of it went out, clear the task with "
    "`resend_after_grace`"
)


@dataclass(kw_only=True)
class EarlierTries:
    """
    Finds out who was sent to before, by this task or by others under the same key.

    :param ledger: what they wrote down.
    :param read_back: what WATI shows of it.
    :param file: the rows; those who were sent to are marked there.
    :param grace: for how long WATI may hide a campaign.
    :param hold: whether nobody is sent to again who may be in a campaign that WATI does not show.
    :param waits: whether to wait for the grace, for which a rehearsal has no reason.
    """

    ledger: Ledger
    read_back: ReadBack
    file: SendFile
    grace: timedelta
    hold: bool
    waits: bool
    #: Messages whose rows are gone now.
    count: int = 0
    _without_campaign: list[Batch] = field(default_factory=list)

    def learn(self, batches: Sequence[Batch]) -> None:
        """
        Mark everybody who was sent to.

        :param batches: the rows as they are now.
        :raises WatiUnknownOutcomeError: when nobody can tell who was, so that nobody may be sent to.
        """
        log.info("Some of it may have been sent before: looking before anything is sent.")
        if self.ledger.lost:
            log.warning(
                "What earlier tries have written down is gone (or there was nothing yet), so WATI alone tells what they "
                "sent, and is given %.0f s to show it.",
                self.grace.total_seconds(),
            )
        self.ledger.compare({batch.label: batch.fingerprint for batch in batches})
        self.read_back.look()
        unclear = {batch.number for batch in batches if not self._recall(batch)}
        if self.ledger.tells_all:
            self.read_back.read(unclear)
            for batch in batches:
                if self.ledger.intended_at(batch.label) and not self.file.has(SendStatus.UNSENT, batch):
                    self.ledger.settle(batch.label, batch.fingerprint, self.file.not_accepted(batch))
        elif self.ledger.mixed or self.file.may_show():
            self._wait_for_everybody()
            self.count = self.file.count_earlier()
            if self.read_back.campaigns:
                self.ledger.mix()
        log.info(
            "%s messages were sent before, in %s campaigns.",
            f"{self.file.counts()['accepted']:,}",
            f"{sum(map(len, self.read_back.campaigns.values())):,}",
        )

    def _recall(self, batch: Batch) -> bool:
        """Take from the ledger who of a batch was accepted; tell whether that is all there is to know."""
        not_accepted = self.ledger.not_accepted(batch.label, batch.fingerprint)
        if not_accepted is None:
            return False
        self.file.accepted_before(batch, not_accepted)
        self._without_campaign.append(batch)
        # Before somebody is sent to again, WATI's list has the last word on whether they were refused.
        return self._attribute(batch) and not not_accepted

    def _attribute(self, batch: Batch) -> bool:
        """Note the campaign of a batch's messages; tell whether its name alone says who is in it."""
        campaigns = self.read_back.campaigns.get(batch.number, {})
        last = {self.ledger.sent_before(batch.label)}
        if (
            self.ledger.mixed
            or len(campaigns) > 1
            or (campaigns and self.read_back.known[batch.number] != last)
        ):
            return False
        for broadcast in campaigns.values():
            self.file.attribute(batch, broadcast)
        return True

    def find_campaigns(self) -> None:
        """Look once more for the campaigns of those who were sent to, which WATI may have hidden at first."""
        unknown = [batch for batch in self._without_campaign if self.file.lacks_campaign(batch)]
        if unknown:
            try:
                self.read_back.look()
                self.read_back.read({batch.number for batch in unknown if not self._attribute(batch)})
            except WatiError as error:
                # Everybody has their message by now; only which campaign it was in stays untold.
                log.warning("The campaigns of earlier tries could not be looked up: %s", error)

    def _wait_for_everybody(self) -> None:
        """
        Read all campaigns, as long as one may exist that WATI does not list.

        It holds for everybody who is not found, because rows may stand in other batches than in the earlier try.
        """
        hidden_until = self._hidden_until()
        filled_until = max(hidden_until, datetime.now(UTC) + self.grace)
        said = None
        while True:
            # Reading takes a while, and a campaign that appears meanwhile is not seen: so the time before it counts.
            looked_at = datetime.now(UTC)
            self.read_back.look()
            filling = self.read_back.read(anew=looked_at >= hidden_until)
            if not self.file.has(SendStatus.UNSENT):
                return
            until = filled_until if filling else hidden_until
            if looked_at >= until or not self.waits:
                break
            if until != said:
                said = until
                log.info(
                    "More of this send may still appear in WATI's lists: looking until %s.%s",
                    until.isoformat(timespec="seconds"),
                    ""
                    if self.ledger.remembers
                    else " With a state_path there is no wait when nothing is in doubt.",
                )
            grace.pause()
        why = self._why_nobody_can_tell(filling)
        if not why and looked_at < hidden_until and (self.ledger.lost or self.ledger.doubts):
            why = "an earlier try may have sent it"
        if why:
            self.file.mark_all(SendStatus.UNSENT, SendStatus.UNKNOWN, why)
            if self.waits:
                raise WatiUnknownOutcomeError(f"Nothing was sent: {why}.")
        elif self.waits:
            self.ledger.resolve(nothing_sent=not self.read_back.campaigns)

    def _why_nobody_can_tell(self, filling: Container[int]) -> str | None:
        if filling:
            return (
                "a campaign of this send lists fewer people than it has, so nobody can tell who is missing. Try again "
                "later; if that changes nothing, send to those of whom you know that they got nothing, under another "
                "send_key"
            )
        if self.hold and self.ledger.lost:
            return f"what earlier tries had written down is gone, and {_HOLD}"
        if any(map(self.is_held, self.ledger.doubts)):
            return f"WATI does not show a batch whose answer was lost, and {_HOLD}"
        return None

    def is_held(self, label: str) -> bool:
        """Tell whether a batch is not to be sent again: WATI shows nobody of the campaign whose answer was lost."""
        return (
            self.hold
            and label in self.ledger.doubts
            and self.ledger.sent_before(label) not in self.read_back.taken[int(label)]
        )

    def _hidden_until(self) -> datetime:
        """Return until when WATI may hide a campaign, also one that it answered."""
        if self.ledger.remembers:
            last = self.ledger.last_intended
            return last + self.grace if last else datetime.now(UTC)
        # Whoever else sent under this key, or this task without a ledger, did so before now: no more is known.
        return datetime.now(UTC) + self.grace
