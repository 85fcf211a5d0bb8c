"""Template sends: many people, one message each, whatever happens in between."""

from __future__ import annotations

import gc
import hashlib
import logging
import marshal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.rate_limit import EndpointGroup, seconds_at
from airflow_provider_wati.client.validation import MAX_RECIPIENTS, utc_time
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
from airflow_provider_wati.sending import grace
from airflow_provider_wati.sending.earlier_tries import EarlierTries
from airflow_provider_wati.sending.prechecks import Consent, find_template, is_approved, parameter_names
from airflow_provider_wati.sending.queue import Batch, Message, SendFile
from airflow_provider_wati.sending.read_back import ReadBack
from airflow_provider_wati.sending.row_mapping import Recipients, TakeApart
from airflow_provider_wati.sending.schedule import Timetable
from airflow_provider_wati.tables.outcomes import DRY_RUN, SHOWN_BROADCASTS, SendStatus
from airflow_provider_wati.tables.phone_numbers import TargetReader
from airflow_provider_wati.tables.progress import Progress

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import MessageTemplate, TemplateSendResult
    from airflow_provider_wati.sending.ledger import Ledger
    from airflow_provider_wati.sending.schedule import SendWindow
    from airflow_provider_wati.tables.readers import Row


log = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE = 1_000
#: What becomes of a batch whose answer was lost and that WATI does not show within the grace.
ON_UNKNOWN = ("resend_after_grace", "hold")
# A batch whose answers are lost this often in one try is left for the next one.
_TRIES_A_BATCH = 3
_LONGEST_KEY = 1_000


class _NotWrittenDownError(Exception):
    """What is about to be sent could not be written down, so it is not sent."""


class _TimePassedError(Exception):
    """While a call waited for its turn, the time came at which it has to be another call."""


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
    :param unknown_grace: how long to look for such a batch, counted from the call; see
        :func:`airflow_provider_wati.sending.grace.grace_of`.
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
        self._grace = grace.grace_of(self.unknown_grace, self.client.timeout)
        mark = hashlib.sha256(self.send_key.encode()).hexdigest()[:8]
        self._name = f"{self.broadcast_name} [{mark}-"
        self._file = SendFile()
        self._read_back = ReadBack(self.client, self.channel, mark, self._file, self.ledger, self._grace)
        self._earlier = EarlierTries(
            ledger=self.ledger,
            read_back=self._read_back,
            file=self._file,
            grace=self._grace,
            hold=self.hold,
            waits=not self.dry_run,
        )
        self._timetable = Timetable(self.scheduled_at, self.send_window)
        #: Whether the rows have been read to the end; until then there are others of which nothing is told.
        self.has_all_rows = False
        # For each batch which of its campaigns this try has named.
        self._named: defaultdict[int, set[int]] = defaultdict(set)
        self._calls = 0
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
                self._earlier.learn(batches)
                known = True
            if self._file.has(SendStatus.UNSENT):
                if problem:
                    raise problem
                self._timetable.refuse_the_past()
                self._respect_consent()
            if self.dry_run:
                self._foretell(batches, template)
            elif self._file.has(SendStatus.UNSENT):
                self._send(batches)
            self._earlier.find_campaigns()
        except BaseException as error:
            # Also for a timeout of Airflow's, which is no Exception.
            self._explain(batches if known else None, error)
            raise
        finally:
            self._file.skip_cancelled(self._read_back.cancelled)

    def close(self) -> None:
        """Throw the rows away; nothing can be asked any more."""
        self._file.close()

    def _agree(self, batches: Sequence[Batch]) -> None:
        """Make sure that what earlier tries sent can be found from here."""
        endpoint = self.client.endpoint
        self.ledger.agree(
            account=endpoint.base_url,
            tenant=endpoint.tenant_id,
            channel=self.channel or self.client.channel or "default",
            key=("each row's" if self._file.has_keys else "none") if batches else None,
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
        self._file.explain_unsent(DRY_RUN)
        log.info(
            "Dry run: %s messages would go in %s calls, in %s s or more.",
            f"{messages:,}",
            f"{calls:,}",
            f"{self._forecast['seconds']:,.0f}",
        )

    def _seconds_for(self, calls: int) -> float:
        return seconds_at(self.client.rate_limits[EndpointGroup.TEMPLATES], calls)

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
        sent_before, name = self._next_campaign(batch)
        intend = partial(self._intend, batch, sent_before)
        with _collector_paused(), self.client.before_sends(intend) as departure:
            try:
                result = self._call(name, [_wire(message) for message in messages])
            except _NotWrittenDownError as error:
                # A call that may have taken effect is not tried again, so nothing of this one has.
                raise error.__cause__ or error from None
            except WatiUnknownOutcomeError as error:
                log.warning(
                    "No answer for %r: looking for it, when the others have gone, for %.0f s. %s",
                    name,
                    self._grace.total_seconds(),
                    error,
                )
                self._calls += 1
                self._file.mark(batch, SendStatus.UNSENT, SendStatus.UNKNOWN, str(error))
                # Once more, for the time: WATI may have begun with it only now.
                self.ledger.intend(batch.label, batch.fingerprint, sent_before)
                return False
            except (WatiBadRequestError, WatiRejectedError) as error:
                log.warning("WATI refused all of %r: %s", name, error)
                self._calls += 1
                self._file.mark(batch, SendStatus.UNSENT, SendStatus.REJECTED, str(error))
                reached_nobody = True
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
                reached_nobody = self._take(batch, messages, result, name)
        self._answered(batch, reached_nobody=reached_nobody)
        self._progress.add(len(messages))
        return True

    def _take(self, batch: Batch, messages: Sequence[Message], result: TemplateSendResult, name: str) -> bool:
        """Note WATI's answer; tell whether it accepted nobody."""
        rejected = [
            (answer.error, message[0])
            for message, answer in zip(messages, result.recipients, strict=True)
            if answer.error is not None
        ]
        self._file.answered(batch, rejected, self._file.broadcast(result.broadcast_id, name, batch.number))
        return len(rejected) == len(messages)

    def _answered(self, batch: Batch, *, reached_nobody: bool = False) -> None:
        self.ledger.settle(
            batch.label, batch.fingerprint, self._file.not_accepted(batch), reached_nobody=reached_nobody
        )

    def _intend(self, batch: Batch, sent_before: int) -> None:
        """Write down that a batch leaves, if this is still the right moment for it."""
        if self._timetable.due() != self._due:
            raise _TimePassedError
        try:
            self.ledger.intend(batch.label, batch.fingerprint, sent_before)
        except Exception as error:
            raise _NotWrittenDownError from error
        self._scheduled_for = self._due or self._scheduled_for

    def _call(self, name: str, recipients: list[dict[str, Any]]) -> TemplateSendResult:
        while True:
            before, self._due = self._due, self._timetable.due()
            if self._due not in (before, self.scheduled_at):
                log.info("Outside the send window: WATI is to send from %s on.", self._due)
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
            over = [batch for batch in doubts if looked_at >= self._shown_by(batch)]
            self._read_back.look()
            filling = self._read_back.read({batch.number for batch in doubts}, anew=bool(over))
            for batch in list(doubts):
                if not self._file.has(SendStatus.UNKNOWN, batch):
                    log.info("Batch %s: WATI shows that all of it was accepted.", batch.number)
                    doubts.remove(batch)
                    self._answered(batch)
                elif batch in over:
                    doubts.remove(batch)
                    if self._may_send_again(batch, batch.number in filling):
                        self._file.mark(batch, SendStatus.UNKNOWN, SendStatus.UNSENT)
                        if self._file.has(SendStatus.UNSENT, batch) and not self._post(batch):
                            doubts.append(batch)
            if doubts:
                grace.pause()

    def _shown_by(self, batch: Batch) -> datetime:
        return (self.ledger.intended_at(batch.label) or datetime.now(UTC)) + self._grace

    def _may_send_again(self, batch: Batch, filling: bool) -> bool:
        if filling:
            reason = "its campaign lists fewer people than it has, so nobody can tell who is missing"
        elif self._earlier.is_held(batch.label):
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
            "earlier": self._earlier.count,
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
