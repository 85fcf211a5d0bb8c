"""Template sends: many people, one message each, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client import checks
from airflow_provider_wati.client.checks import MAX_RECIPIENTS
from airflow_provider_wati.client.recipients import to_wire
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow_provider_wati.bulk.ledger import Ledger
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import TemplateSendResult

log = logging.getLogger(__name__)

#: How long a campaign that WATI took may be missing from its lists; WATI names no figure.
UNKNOWN_GRACE = timedelta(seconds=120)
_POLL_SECONDS = 5.0
_SHOWN_PROBLEMS = 20


def parse_recipients(recipients: Any) -> list[dict[str, Any]]:
    """
    Read recipients from what a DAG gives.

    :param recipients: one dict, a list of dicts, or either as a JSON string.
    :raises WatiValidationError: when it is none of these, or nobody is in it.
    """
    if isinstance(recipients, str):
        try:
            recipients = json.loads(recipients)
        except ValueError as error:
            # The text itself is not repeated: it holds people.
            raise WatiValidationError(f"recipients is a text that is not valid JSON: {error}.") from None
    if isinstance(recipients, Mapping):
        recipients = [recipients]
    if not isinstance(recipients, Iterable):
        raise WatiValidationError(
            f"recipients is a dict, a list of dicts or JSON of these, not {type(recipients).__name__}."
        )
    rows = list(recipients)
    if not rows:
        raise WatiValidationError("recipients is empty: there is nobody to send to.")
    return rows


@dataclass
class Recipient:
    """One row of a send and what became of it."""

    row: int
    target: str
    wire: dict[str, Any]
    status: str = "unsent"
    reason: str | None = None

    @property
    def local_message_id(self) -> str:
        """The id that WATI keeps with the message, by which it is found again."""
        return str(self.wire["local_message_id"])


@dataclass
class Broadcast:
    """One campaign that the send made of a batch."""

    name: str
    id: str | None = None
    accepted: int = 0


@dataclass
class TemplateSend:
    """
    One template to many people.

    :param client: the account that sends.
    :param template_name: the exact name of the template.
    :param broadcast_name: what the campaigns are called, before the mark that tells them apart.
    :param send_key: names the send; the same key finds again what went out under it.
    :param ledger: what an earlier try left unsettled.
    :param channel: name or number to send from.
    :param scheduled_at: when WATI is to send it, with a time zone; now if left out.
    :param batch_size: people per call, 10,000 at the most.
    :param unknown_grace: how long to look for a batch whose answer was lost before it counts as not sent.
    """

    client: WatiClient
    template_name: str
    broadcast_name: str
    send_key: str
    ledger: Ledger
    channel: str | None = None
    scheduled_at: datetime | None = None
    batch_size: int = MAX_RECIPIENTS
    unknown_grace: timedelta = field(default_factory=lambda: UNKNOWN_GRACE)
    recipients: list[Recipient] = field(default_factory=list, init=False)
    broadcasts: list[Broadcast] = field(default_factory=list, init=False)
    calls: int = field(default=0, init=False)
    started: float = field(default_factory=time.monotonic, init=False)

    def run(self, rows: Sequence[Mapping[str, Any]], *, sent_before: bool) -> None:
        """
        Send to everybody who has not been sent to yet; :meth:`summary` tells the rest, also after an error.

        :param rows: the recipients.
        :param sent_before: whether an earlier try may have sent some of them.
        :raises WatiValidationError: before anything is sent.
        :raises WatiUnknownOutcomeError: when a batch was sent and no answer came; the next run looks for it.
        """
        self.recipients = self._recipients(rows)
        starts = range(0, len(self.recipients), self.batch_size)
        batches = [self.recipients[start : start + self.batch_size] for start in starts]
        found: dict[int, list[Broadcast]] = defaultdict(list)
        if sent_before:
            found = self._read_back()
        self._refuse_the_past()
        for n, batch in enumerate(batches, 1):
            rest = [recipient for recipient in batch if recipient.status != "accepted"]
            if rest:
                self._post(n, rest, again=len(found[n]))

    @property
    def _mark(self) -> str:
        return hashlib.sha256(self.send_key.encode()).hexdigest()[:8]

    def _recipients(self, rows: Sequence[Mapping[str, Any]]) -> list[Recipient]:
        recipients = []
        seen: dict[str, int] = {}
        for start in range(0, len(rows), MAX_RECIPIENTS):
            page = rows[start : start + MAX_RECIPIENTS]
            for row, (given, wire) in enumerate(zip(page, _wire(page, start), strict=True), start + 1):
                target = str(wire.get("phone_number") or wire["target"])
                identity = f"{self.send_key}\n{target}\n{given.get('key', '')}"
                wire.setdefault("local_message_id", hashlib.sha256(identity.encode()).hexdigest()[:32])
                first = seen.setdefault(wire["local_message_id"], row)
                if first != row:
                    raise WatiValidationError(
                        f"Recipient {row} ({mask_numbers(target)}) is recipient {first} again: leave one out, or "
                        "give each a `key` of its own if both are meant to get a message."
                    )
                recipients.append(Recipient(row, target, wire))
        return recipients

    def _post(self, n: int, batch: list[Recipient], again: int) -> None:
        name = f"{self.broadcast_name} [{self._mark}-{n}{f'r{again}' if again else ''}]"
        log.info("Sending template %r to %d people as %r.", self.template_name, len(batch), name)
        self.ledger.intend(str(n))
        self.calls += 1
        try:
            result = self._call(name, [recipient.wire for recipient in batch])
        except WatiUnknownOutcomeError as error:
            _mark_all(batch, "unknown", str(error))
            raise
        except (WatiBadRequestError, WatiRejectedError) as error:
            _mark_all(batch, "rejected", str(error))
        except WatiError:
            self.ledger.settle(str(n))
            raise
        else:
            for recipient, answer in zip(batch, result.recipients, strict=True):
                recipient.status = "accepted" if answer.accepted else "rejected"
                recipient.reason = answer.error
            self._keep(Broadcast(name, result.broadcast_id), batch)
        self.ledger.settle(str(n))

    def _call(self, name: str, recipients: list[dict[str, Any]]) -> TemplateSendResult:
        if self.scheduled_at is None:
            return self.client.send_template_messages(self.template_name, name, recipients, self.channel)
        return self.client.schedule_template_messages(
            self.template_name, name, recipients, self.scheduled_at, self.channel
        )

    def _refuse_the_past(self) -> None:
        """Refuse a time gone by if anything would still be sent; a Clear after it went out is no mistake."""
        if self.scheduled_at is None:
            return
        checks.utc_time(self.scheduled_at, "scheduled_at")
        anything_left = any(recipient.status != "accepted" for recipient in self.recipients)
        if anything_left and self.scheduled_at <= datetime.now(UTC):
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at.isoformat()}, which is in the past."
            )

    def _keep(self, broadcast: Broadcast, batch: Iterable[Recipient]) -> None:
        broadcast.accepted = sum(recipient.status == "accepted" for recipient in batch)
        self.broadcasts.append(broadcast)

    def _read_back(self) -> dict[int, list[Broadcast]]:
        """Learn from WATI who was accepted before; wait for batches in doubt as long as they may be hidden."""
        by_id = {recipient.local_message_id: recipient for recipient in self.recipients}
        of_this_send = re.compile(rf"{re.escape(self.broadcast_name)} \[{self._mark}-(\d+)(r\d+)?\]")
        log.info("An earlier try may have sent some of it: reading WATI's campaigns first.")
        hidden_until = self._hidden_until()
        filled_until = datetime.now(UTC) + self.unknown_grace
        while True:
            found: dict[int, list[Broadcast]] = defaultdict(list)
            filling = []
            self.broadcasts.clear()
            for campaign in self.client.iter_campaigns(self.channel):
                match = of_this_send.fullmatch(campaign.get("name") or "")
                if match:
                    broadcast = Broadcast(match.group(), campaign["id"])
                    if not self._take_recipients(broadcast, by_id):
                        filling.append(broadcast.name)
                    found[int(match[1])].append(broadcast)
            if all(recipient.status == "accepted" for recipient in self.recipients):
                return found
            if datetime.now(UTC) >= (max(hidden_until, filled_until) if filling else hidden_until):
                break
            log.info("More of this send may still appear in WATI's lists: looking again.")
            time.sleep(_POLL_SECONDS)
        if filling:
            error = WatiUnknownOutcomeError(
                f"Campaign {filling[0]!r} lists fewer recipients than it has, so nobody can tell who is missing: "
                "nothing was sent. Try again once WATI lists them all."
            )
            missing = [recipient for recipient in self.recipients if recipient.status != "accepted"]
            _mark_all(missing, "unknown", str(error))
            raise error
        return found

    def _hidden_until(self) -> datetime:
        """
        Tell until when a campaign may exist that WATI does not list.

        It holds for everybody who is not found, because rows may stand in other batches than in the earlier try.
        """
        if self.ledger.remembers:
            in_doubt = self.ledger.last_in_doubt
            return in_doubt + self.unknown_grace if in_doubt else datetime.now(UTC)
        # Without a ledger the earlier try ended before this one began, and that is all that is known.
        return datetime.now(UTC) + self.unknown_grace

    def _take_recipients(self, broadcast: Broadcast, by_id: Mapping[str, Recipient]) -> bool:
        """Mark whom a campaign reached; tell whether WATI lists all of its recipients yet."""
        listed = 0
        accepted = []
        for entry in self.client.iter_campaign_recipients(str(broadcast.id)):
            listed += 1
            recipient = by_id.get(entry.get("local_message_id") or "")
            if recipient is not None:
                recipient.status, recipient.reason = "accepted", None
                accepted.append(recipient)
        self._keep(broadcast, accepted)
        campaign = self.client.get_campaign(str(broadcast.id))
        return listed >= campaign.get("statistics", {}).get("total_recipients", 0)

    def summary(self) -> dict[str, Any]:
        """Count what became of everybody; the counts add up to ``total``."""
        counts = dict.fromkeys(("accepted", "rejected", "unknown", "unsent"), 0)
        for recipient in self.recipients:
            counts[recipient.status] += 1
        problems = [recipient for recipient in self.recipients if recipient.status != "accepted"]
        return {
            "send_key": self.send_key,
            "total": len(self.recipients),
            **counts,
            "broadcasts": [
                {"id": broadcast.id, "name": broadcast.name, "accepted": broadcast.accepted}
                for broadcast in self.broadcasts
            ],
            "calls": self.calls,
            "seconds": round(time.monotonic() - self.started, 3),
            "problems": [
                {
                    "row": problem.row,
                    "target": mask_numbers(problem.target),
                    "status": problem.status,
                    "reason": problem.reason,
                }
                for problem in problems[:_SHOWN_PROBLEMS]
            ],
        }


def _mark_all(batch: Iterable[Recipient], status: str, reason: str) -> None:
    for recipient in batch:
        recipient.status, recipient.reason = status, reason


def _wire(page: Sequence[Mapping[str, Any]], start: int) -> list[dict[str, Any]]:
    """Check a page of rows; the key that tells two messages to one person apart is ours, not WATI's."""
    keyless = [
        {name: value for name, value in row.items() if name != "key"} if isinstance(row, Mapping) else row
        for row in page
    ]
    return to_wire(keyless, start + 1)
