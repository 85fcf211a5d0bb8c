"""Template sends: many people, one message each, whatever happens in between."""

from __future__ import annotations

import gc
import hashlib
import logging
import marshal
import time
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.bulk.checks import Consent, find_template, is_approved, parameter_names
from airflow_provider_wati.bulk.numbers import TargetReader
from airflow_provider_wati.bulk.outcomes import SHOWN_BROADCASTS, SendStatus
from airflow_provider_wati.bulk.progress import Progress
from airflow_provider_wati.bulk.read_back import ReadBack
from airflow_provider_wati.bulk.recipients import Recipients, TakeApart
from airflow_provider_wati.bulk.send_file import Batch, Message, SendFile
from airflow_provider_wati.client.checks import MAX_RECIPIENTS, utc_time
from airflow_provider_wati.client.throttle import Family, seconds_at
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConfigurationError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)

if TYPE_CHECKING:
    from airflow_provider_wati.bulk.ledger import Ledger
    from airflow_provider_wati.bulk.rows import Row
    from airflow_provider_wati.bulk.window import SendWindow
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import MessageTemplate, TemplateSendResult


log = logging.getLogger(__name__)

#: How long a campaign that WATI took may be missing from its lists; WATI names no figure.
UNKNOWN_GRACE = timedelta(seconds=120)
DEFAULT_BATCH_SIZE = 1_000
#: What becomes of a batch whose answer was lost and that WATI does not show within the grace.
ON_UNKNOWN = ("resend_after_grace", "hold")
_POLL_SECONDS = 5.0
# A batch whose answers are lost this often in one try is left for the next one.
_TRIES_A_BATCH = 3
_LONGEST_KEY = 1_000


class _NotWrittenDownError(Exception):
    """What is about to be sent could not be written down, so it is not sent."""


class _TimePassedError(Exception):
    """While a call waited for its turn, the time came at which it has to be another call."""


def grace_of(given: timedelta | None, timeout: tuple[float, float]) -> timedelta:
    """
    Return how long to look for a batch whose answer was lost.

    :param given: what the user wants; if left out, 120 seconds, or more where a call may take as long.
    :param timeout: seconds that a client waits for a connection and for an answer.
    :raises WatiConfigurationError: for a grace that ends while the call itself may still be under way: its people
        would be messaged twice.
    """
    longest = longest_call(timeout)
    if given is None:
        return UNKNOWN_GRACE if longest < UNKNOWN_GRACE else longest + UNKNOWN_GRACE
    if given <= longest:
        raise WatiConfigurationError(
            f"unknown_grace is {given.total_seconds():g} s, and a call may take {longest.total_seconds():g} s (the "
            "timeout of the connection): the grace must be longer, or a batch still under way could be taken for lost."
        )
    return given


def longest_call(timeout: tuple[float, float]) -> timedelta:
    """Return for how long a call may be under way after it was written down that it leaves."""
    return timedelta(seconds=sum(timeout))


@dataclass(kw_only=True)
class TemplateSend:
    """
    One template to many people, for one try of a task.

    :param client: the account that sends.
    :param template_name: the exact name of the template.
    :param broadcast_name: what the campaigns are called, before the mark that tells them apart.
    :param send_key: names the send; the same key finds again what went out under it.
    :param ledger: what earlier tries have done.
    :param take_apart: finds target and parameters in a row.
    :param targets: reads phone numbers.
    :param channel: name or number to send from.
    :param scheduled_at: when WATI is to send it, with a time zone; now if left out.
    :param send_window: the hours in which people may be messaged; what falls outside is scheduled.
    :param batch_size: people per call, 10,000 at the most.
    :param suppress: targets that get nothing.
    :param check_consent: whether to look up who opted out.
    :param consent_max_calls: how many calls that may take.
    :param dry_run: whether to do everything but send.
    :param hold: whether a batch whose answer was lost and that WATI does not show stays unknown, and is not sent
        again.
    :param unknown_grace: how long to look for such a batch, counted from the call; see :func:`grace_of`.
    :raises WatiValidationError: for a batch size, a name or a time that cannot be right.
    :raises WatiConfigurationError: for a grace that is too short, and for ``hold`` where the ledger would not know
        what is in doubt.
    """

    client: WatiClient
    template_name: str
    broadcast_name: str
    send_key: str
    ledger: Ledger
    take_apart: TakeApart
    targets: TargetReader = field(default_factory=TargetReader)
    channel: str | None = None
    scheduled_at: datetime | None = None
    send_window: SendWindow | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    suppress: Iterable[Any] = ()
    check_consent: bool = True
    consent_max_calls: int = 1_000
    dry_run: bool = False
    hold: bool = False
    unknown_grace: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or not 1 <= self.batch_size <= MAX_RECIPIENTS:
            raise WatiValidationError(
                f"batch_size is {self.batch_size!r}: give a whole number, 1 to {MAX_RECIPIENTS:,}, as WATI takes."
            )
        if self.scheduled_at is not None:
            utc_time(self.scheduled_at, "scheduled_at")
        if len(self.send_key) > _LONGEST_KEY:
            raise WatiValidationError(
                f"send_key has {len(self.send_key):,} characters: give {_LONGEST_KEY:,} at the most."
            )
        if self.hold and not self.ledger.remembers:
            raise WatiConfigurationError(
                "on_unknown is 'hold', which needs a place that remembers what is in doubt: set state_path (or "
                "[wati] state_path) to a directory that all runs and workers reach. Without one, Airflow 3.3 and "
                "later remember for a task without a send_key of its own."
            )
        self._grace = grace_of(self.unknown_grace, self.client.timeout)
        mark = hashlib.sha256(self.send_key.encode()).hexdigest()[:8]
        self._name = f"{self.broadcast_name} [{mark}-"
        self._file = SendFile()
        self._read_back = ReadBack(self.client, self.channel, mark, self._file, self._grace)
        #: Whether the rows have been read to the end; until then there are others of which nothing is told.
        self.has_all_rows = False
        # For each batch which of its campaigns this try has named.
        self._named: defaultdict[int, set[int]] = defaultdict(set)
        self._without_campaign: list[Batch] = []
        self._calls = 0
        self._earlier = 0
        self._forecast: dict[str, Any] = {}
        #: For when the call under way is to schedule its messages; None for messages at once.
        self._due: datetime | None = None
        self._scheduled_for: datetime | None = None
        self._started = time.monotonic()
        self._progress = Progress(log)

    def run(self, rows: Iterable[Row], *, sent_before: bool) -> None:
        """
        Send to everybody who has not been sent to yet; :meth:`summary` tells the rest, also after an error.

        :param rows: what to send, read to the end before the first message goes.
        :param sent_before: whether an earlier try may have sent some of them.
        :raises WatiError: when it cannot go on: nobody may be messaged now (401, 403, 429), or something was
            found before the first message that makes all of it wrong.
        """
        batches: list[Batch] = []
        # Until it is known what earlier tries did, a row that seems not to be sent may well be.
        known = not sent_before
        try:
            template, problem = self._find_template()
            self._load(rows, parameter_names(template))
            batches = self._file.plan(self.batch_size)
            self._agree(batches)
            if sent_before:
                self._look_back(batches)
                known = True
            if self._file.has(SendStatus.UNSENT):
                if problem:
                    raise problem
                self._refuse_the_past()
                self._respect_consent()
            if self.dry_run:
                self._foretell(batches, template)
            elif self._file.has(SendStatus.UNSENT):
                self._send(batches)
            self._find_campaigns()
            self._file.skip_cancelled(self._read_back.cancelled)
        except BaseException as error:
            # Also for a timeout of Airflow's, which is no Exception.
            self._explain(batches if known else None, error)
            raise

    def _agree(self, batches: Sequence[Batch]) -> None:
        """Make sure that what earlier tries sent can be found from here."""
        endpoint = self.client.endpoint
        self.ledger.agree(
            account=endpoint.base_url,
            tenant=endpoint.tenant_id,
            channel=self.channel or self.client.channel or "default",
            key=("each row's" if self._file.has_keys() else "none") if batches else None,
        )

    def _explain(self, batches: Sequence[Batch] | None, error: BaseException) -> None:
        """
        Say why rows were not attempted, or that nobody can tell.

        :param batches: None if what earlier tries did was not found out.
        """
        # Other errors than WATI's may repeat what is in a row.
        why = str(error) if isinstance(error, WatiError) else type(error).__name__
        if batches is None:
            self._file.mark_all(
                SendStatus.UNSENT,
                SendStatus.UNKNOWN,
                f"an earlier try may have sent it, and this one could not find out: {why}",
            )
            return
        self._doubt(batches)
        self._file.explain_unsent(f"not attempted: {why}")

    def _doubt(self, batches: Sequence[Batch]) -> list[Batch]:
        """Mark what earlier tries may have sent, and return the batches with such rows."""
        doubts = [
            batch
            for batch in batches
            if self.ledger.intended_at(batch.label) and self._file.has(SendStatus.UNSENT, batch)
        ]
        for batch in doubts:
            self._file.mark(batch, SendStatus.UNSENT, SendStatus.UNKNOWN, "an earlier try may have sent it")
        return doubts

    # Before the first message

    def _find_template(self) -> tuple[MessageTemplate, WatiError | None]:
        """Look the template up; what is wrong with it matters only if somebody is left to send to."""
        try:
            template = find_template(self.client, self.template_name, self.channel)
        except WatiNotFoundError as error:
            return {"id": ""}, error
        if is_approved(template):
            return template, None
        return template, WatiValidationError(
            f"Template {self.template_name!r} is {template.get('status')}, and WhatsApp takes approved ones only. "
            "Nothing was sent."
        )

    def _load(self, rows: Iterable[Row], needed: Sequence[str]) -> None:
        self._file.load(rows, Recipients(self.take_apart, self.targets, self.send_key, needed))
        self.has_all_rows = True
        self._file.suppress(self._suppressed())
        counts = self._file.counts()
        log.info(
            "Read %s rows: %s to send, %s invalid, %s skipped.",
            *(f"{counts[name]:,}" for name in ("total", "unsent", "invalid", "skipped")),
        )

    def _suppressed(self) -> Iterator[str]:
        for n, target in enumerate(self.suppress, 1):
            try:
                yield self.targets.read(target)
            except WatiValidationError as error:
                # Whoever is meant by it must not be messaged because of a typing error.
                raise WatiValidationError(
                    f"Entry {n} of suppress cannot be read: {error}. Nothing was sent."
                ) from None

    def _look_back(self, batches: Sequence[Batch]) -> None:
        """Learn who was accepted before: from the ledger what it knows, from WATI the rest."""
        log.info("Some of it may have been sent before: looking before anything is sent.")
        self.ledger.compare({batch.label: batch.fingerprint for batch in batches})
        self._read_back.look()
        unclear = {batch.number for batch in batches if not self._recall(batch)}
        if self.ledger.tells_all:
            self._read_back.read(unclear)
            for batch in batches:
                if self.ledger.intended_at(batch.label) and not self._file.has(SendStatus.UNSENT, batch):
                    self._answered(batch)
        elif self.ledger.mixed or self._file.may_show():
            self._wait_for_everybody()
            self._earlier = self._file.count_earlier()
            if self._read_back.campaigns:
                self.ledger.mix()
        accepted = self._file.counts()["accepted"]
        log.info(
            "%s messages were sent before, in %s campaigns.",
            f"{accepted:,}",
            f"{sum(map(len, self._read_back.campaigns.values())):,}",
        )

    def _recall(self, batch: Batch) -> bool:
        """Take from the ledger who of a batch was accepted; tell whether that is all there is to know."""
        not_accepted = self.ledger.not_accepted(batch.label, batch.fingerprint)
        if not_accepted is None:
            return False
        self._file.accepted_before(batch, not_accepted)
        self._without_campaign.append(batch)
        # Before somebody is sent to again, WATI's list has the last word on whether they were refused.
        return self._attribute(batch) and not not_accepted

    def _attribute(self, batch: Batch) -> bool:
        """Note the campaign of an earlier try's messages; tell whether its name alone says who is in it."""
        campaigns = self._read_back.campaigns.get(batch.number, {})
        if self.ledger.mixed or self.ledger.sent_before(batch.label) or len(campaigns) > 1:
            return False
        for broadcast in campaigns.values():
            self._file.attribute(batch, broadcast)
        return True

    def _find_campaigns(self) -> None:
        """Look once more for the campaigns of what an earlier try sent, which WATI may have hidden at first."""
        unknown = [batch for batch in self._without_campaign if self._file.lacks_campaign(batch)]
        if not unknown:
            return
        try:
            self._read_back.look()
            self._read_back.read({batch.number for batch in unknown if not self._attribute(batch)})
        except WatiError as error:
            # Everybody has their message by now; only which campaign it was in stays untold.
            log.warning("The campaigns of earlier tries could not be looked up: %s", error)

    def _wait_for_everybody(self) -> None:
        """
        Read all campaigns, as long as one may exist that WATI does not list.

        It holds for everybody who is not found, because rows may stand in other batches than in the earlier try.
        """
        # A dry run sends nobody anything, so it need not wait for the last of those who got something.
        hidden_until = datetime.now(UTC) if self.dry_run else self._hidden_until()
        filled_until = datetime.now(UTC) + self._grace
        while True:
            # Reading takes a while, and a campaign that appears meanwhile is not seen: so the time before it counts.
            looked_at = datetime.now(UTC)
            self._read_back.look()
            filling = self._read_back.read()
            if not self._file.has(SendStatus.UNSENT):
                return
            if looked_at >= (max(hidden_until, filled_until) if filling else hidden_until):
                break
            log.info(
                "More of this send may still appear in WATI's lists, until %s: looking again.%s",
                hidden_until.isoformat(timespec="seconds"),
                ""
                if self.ledger.remembers
                else " With a state_path there is no wait when nothing is in doubt.",
            )
            time.sleep(_POLL_SECONDS)
        why = self._why_nobody_can_tell(filling)
        if why:
            self._file.mark_all(SendStatus.UNSENT, SendStatus.UNKNOWN, why)
            raise WatiUnknownOutcomeError(f"{why}: nothing was sent. Try again once WATI lists them all.")
        self.ledger.resolve(nothing_sent=not self._read_back.campaigns)

    def _why_nobody_can_tell(self, filling: Container[int]) -> str | None:
        if filling:
            return "a campaign of this send lists fewer people than it has, so nobody can tell who is missing"
        if self.hold and self.ledger.lost:
            return "what earlier tries had written down is gone, and on_unknown is `hold`"
        if self.hold and not all(map(self._is_shown, self.ledger.doubts)):
            return "WATI does not show a batch whose answer was lost, and on_unknown is `hold`"
        return None

    def _is_shown(self, label: str) -> bool:
        """Tell whether WATI shows the campaign of a batch that was in doubt, with people in it."""
        return self.ledger.sent_before(label) in self._read_back.taken[int(label)]

    def _hidden_until(self) -> datetime:
        """Return until when WATI may hide a campaign, also one that it answered."""
        if self.ledger.remembers:
            last = self.ledger.last_intended
            return last + self._grace if last else datetime.now(UTC)
        # Whoever else sent under this key, or this task without a ledger, did so before now: no more is known.
        return datetime.now(UTC) + self._grace

    def _refuse_the_past(self) -> None:
        """Refuse a time gone by, also while batches wait; a Clear after everything went out never comes here."""
        if self.scheduled_at is not None and self.scheduled_at <= datetime.now(UTC):
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at.isoformat()}, which is in the past: give a later one."
            )

    def _respect_consent(self) -> None:
        """Leave out who opted out; the cheaper way of the two is taken, and its cost is logged first."""
        if not self.check_consent:
            return
        try:
            people = sum(1 for _ in self._file.people_to_ask_about())
            consent = Consent(self.client, people, self.consent_max_calls, self.channel)
            self._file.skip_opted_out(consent.look_up(self._file.people_to_ask_about()))
            self._file.refuse(consent.refused)
        except WatiPermissionError as error:
            raise WatiPermissionError(
                f"{error} The send looks up who opted out and may not: give the token the scope contactsv3:read, "
                "or leave out who opted out in the query and set check_consent=False.",
                status_code=error.status_code,
                wati_message=error.wati_message,
            ) from None

    def _foretell(self, batches: Sequence[Batch], template: MessageTemplate) -> None:
        self._doubt(batches)
        messages = self._file.count_unsent()
        calls = sum(self._file.has(SendStatus.UNSENT, batch) for batch in batches)
        self._forecast = {
            "messages": messages,
            "calls": calls,
            "seconds": self._seconds_for(calls),
            "estimated_cost": self._estimated_cost(template),
        }
        self._file.explain_unsent("dry run")
        log.info(
            "Dry run: %s messages would go in %s calls, in %s s or more.",
            f"{messages:,}",
            f"{calls:,}",
            f"{self._forecast['seconds']:,.0f}",
        )

    def _seconds_for(self, calls: int) -> float:
        return seconds_at(self.client.rate_limits[Family.TEMPLATES], calls)

    def _estimated_cost(self, template: MessageTemplate) -> float | None:
        """Ask WATI what it would cost; None where it cannot tell, which it can for contacts that it knows only."""
        total = 0.0
        try:
            for contact_ids in self._file.contact_ids():
                known = [contact_id for contact_id in contact_ids if contact_id]
                if len(known) < len(contact_ids):
                    return None
                total += self.client.estimate_campaign_cost(template["id"], known)["estimated_cost"]
        except (WatiError, KeyError) as error:
            log.warning("WATI gives no estimate of the cost: %s", error)
            return None
        return total

    # Sending

    def _send(self, batches: Sequence[Batch]) -> None:
        messages = self._file.count_unsent()
        doubts = self._doubt(batches)
        todo = [batch for batch in batches if self._file.has(SendStatus.UNSENT, batch)]
        log.info(
            "Sending template %r: %s messages in %s calls, %s s at the least.",
            self.template_name,
            f"{messages:,}",
            f"{len(todo) + len(doubts):,}",
            f"{self._seconds_for(len(todo) + len(doubts)):,.0f}",
        )
        self._progress = Progress(log, messages)
        doubts += [batch for batch in todo if not self._post(batch)]
        self._settle(doubts)

    def _post(self, batch: Batch) -> bool:
        """Send what is left of a batch; tell whether an answer came."""
        messages = self._file.unsent(batch)
        recipients = [_wire(message) for message in messages]
        sent_before, name = self._next_campaign(batch)
        intend = partial(self._intend, batch, sent_before)
        with _collector_paused(), self.client.before_sends(intend) as departure:
            try:
                result = self._call(name, recipients)
            except _NotWrittenDownError as error:
                # A call that may have taken effect is not tried again, so nothing of this one has.
                raise error.__cause__ or error from None
            except WatiUnknownOutcomeError as error:
                log.warning("No answer for %r: looking for it later. %s", name, error)
                self._calls += 1
                self._file.mark(batch, SendStatus.UNSENT, SendStatus.UNKNOWN, str(error))
                # Once more, for the time: WATI may have begun with it only now.
                self.ledger.intend(batch.label, batch.fingerprint, sent_before)
                return False
            except (WatiBadRequestError, WatiRejectedError) as error:
                log.warning("WATI refused all of %r: %s", name, error)
                self._calls += 1
                self._file.mark(batch, SendStatus.UNSENT, SendStatus.REJECTED, str(error))
            except WatiError:
                self._answered(batch)
                raise
            except BaseException as error:
                if departure.is_under_way:
                    self._calls += 1
                    why = f"{type(error).__name__} during the call"
                    self._file.mark(batch, SendStatus.UNSENT, SendStatus.UNKNOWN, why)
                else:
                    self._answered(batch)
                raise
            else:
                self._calls += 1
                self._take(batch, messages, result, name)
        self._answered(batch)
        self._progress.add(len(messages))
        return True

    def _take(self, batch: Batch, messages: Sequence[Message], result: TemplateSendResult, name: str) -> None:
        rejected = [
            (answer.error, message[0])
            for message, answer in zip(messages, result.recipients, strict=True)
            if answer.error is not None
        ]
        self._file.answered(batch, rejected, self._file.broadcast(result.broadcast_id, name))

    def _answered(self, batch: Batch) -> None:
        self.ledger.settle(batch.label, batch.fingerprint, self._file.not_accepted(batch))

    def _intend(self, batch: Batch, sent_before: int) -> None:
        """Write down that a batch leaves, if this is still the right moment for it."""
        if self._when() != self._due:
            raise _TimePassedError
        try:
            self.ledger.intend(batch.label, batch.fingerprint, sent_before)
        except Exception as error:
            raise _NotWrittenDownError from error
        self._scheduled_for = self._due or self._scheduled_for

    def _call(self, name: str, recipients: list[dict[str, Any]]) -> TemplateSendResult:
        while True:
            self._due = self._when()
            try:
                if self._due is None:
                    return self.client.send_template_messages(
                        self.template_name, name, recipients, self.channel
                    )
                return self.client.schedule_template_messages(
                    self.template_name, name, recipients, self._due, self.channel
                )
            except _TimePassedError:
                continue

    def _when(self) -> datetime | None:
        """Return for when to schedule what leaves now; None for a message at once."""
        self._refuse_the_past()
        if self.send_window is None:
            return self.scheduled_at
        wanted = self.scheduled_at or datetime.now(UTC)
        opening = self.send_window.next_opening(wanted)
        if opening == wanted:
            return self.scheduled_at
        if opening != self._due:
            log.info("Outside the send window: WATI is to send from %s on.", opening.isoformat())
        return opening

    def _next_campaign(self, batch: Batch) -> tuple[int, str]:
        """Return how often a batch was sent before, and the name of its next campaign: `3]`, `3r1]`, `3r2]`, ..."""
        before = self.ledger.sent_before(batch.label)
        known = self._read_back.known[batch.number] | self._named[batch.number]
        n = max([*known, -1 if before is None else before]) + 1
        self._named[batch.number].add(n)
        return n, f"{self._name}{batch.number}{f'r{n}' if n else ''}]"

    def _settle(self, doubts: list[Batch]) -> None:
        """Look for batches whose answer was lost, until WATI shows them or the grace is over."""
        while doubts:
            looked_at = datetime.now(UTC)
            self._read_back.look()
            filling = self._read_back.read({batch.number for batch in doubts})
            for batch in list(doubts):
                if not self._file.has(SendStatus.UNKNOWN, batch):
                    doubts.remove(batch)
                    self._answered(batch)
                elif looked_at >= self._shown_by(batch):
                    doubts.remove(batch)
                    if self._may_send_again(batch, batch.number in filling):
                        self._file.mark(batch, SendStatus.UNKNOWN, SendStatus.UNSENT)
                        if self._file.has(SendStatus.UNSENT, batch) and not self._post(batch):
                            doubts.append(batch)
            if doubts:
                time.sleep(_POLL_SECONDS)

    def _shown_by(self, batch: Batch) -> datetime:
        return (self.ledger.intended_at(batch.label) or datetime.now(UTC)) + self._grace

    def _may_send_again(self, batch: Batch, filling: bool) -> bool:
        if filling:
            reason = "its campaign lists fewer people than it has, so nobody can tell who is missing"
        elif self.hold and batch.label in self.ledger.doubts and not self._is_shown(batch.label):
            reason = "WATI does not show the batch, and on_unknown is `hold`"
        elif len(self._named[batch.number]) >= _TRIES_A_BATCH:
            reason = f"no answer came to {_TRIES_A_BATCH} calls"
        else:
            log.info("Batch %s: sending to those whom WATI does not show after the grace.", batch.number)
            return True
        self._file.mark(batch, SendStatus.UNKNOWN, SendStatus.UNKNOWN, reason)
        return False

    # What became of it

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Yield what became of each row, in order; the columns are ``SEND_COLUMNS``."""
        return self._file.outcomes()

    def summary(self) -> dict[str, Any]:
        """Count what became of everybody; the counts add up to ``total``."""
        campaigns, first = self._file.broadcasts(SHOWN_BROADCASTS)
        summary: dict[str, Any] = {
            "send_key": self.send_key,
            **self._file.counts(),
            "earlier": self._earlier,
            "broadcasts": first,
            "more_broadcasts": campaigns - len(first),
            "calls": self._calls,
            "seconds": round(time.monotonic() - self._started, 3),
            "outcomes": None,
            "problems": self._file.problems(),
        }
        if self._scheduled_for is not None:
            summary["scheduled_at"] = utc_time(self._scheduled_for, "scheduled_at")
        if self.dry_run:
            summary["dry_run"] = self._forecast
        return summary


@contextmanager
def _collector_paused() -> Iterator[None]:
    """
    Keep Python from looking for garbage while a batch is written and its answer read.

    Ten thousand people are a hundred thousand objects, none of which is garbage before the batch is done; looking
    for it in all that Airflow has loaded, each time some thousands have been added, took a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _wire(message: Message) -> dict[str, Any]:
    _, target, params, local_message_id = message
    return {"target": target, "params": marshal.loads(params), "local_message_id": local_message_id}
