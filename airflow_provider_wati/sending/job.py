"""A template send: many people, one message each, through any accident in between."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.validation import MAX_RECIPIENTS, utc_time
from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock
from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiError,
    WatiPermissionError,
    WatiValidationError,
)
from airflow_provider_wati.sending.campaign_index import CampaignIndex, mark_of
from airflow_provider_wati.sending.dispatcher import Dispatcher
from airflow_provider_wati.sending.estimate import estimate_of, seconds_of
from airflow_provider_wati.sending.evidence_reader import EvidenceReader
from airflow_provider_wati.sending.journal import Start
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.numbered_calls import (
    LOST_CALLS,
    OTHERS_CALLS,
    CallKind,
    NumberedCalls,
    kind_of,
)
from airflow_provider_wati.sending.prechecks import Consent, TemplateCheck, check_template
from airflow_provider_wati.sending.queue import SendQueue
from airflow_provider_wati.sending.reconciler import Decision, policy_of
from airflow_provider_wati.sending.reconciliation import Reconciliation
from airflow_provider_wati.sending.row_mapping import RowReader
from airflow_provider_wati.sending.same_send import NOT_KNOWN, SameSend, Traits
from airflow_provider_wati.sending.schedule import Timetable
from airflow_provider_wati.sending.siblings import Siblings
from airflow_provider_wati.sending.task_facts import TaskFacts
from airflow_provider_wati.tables.outcomes import SHOWN_CAMPAIGNS
from airflow_provider_wati.tables.phone_numbers import TargetReader
from airflow_provider_wati.tables.progress import Progress

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.sending.journal import Journal
    from airflow_provider_wati.sending.row_mapping import RowMapping
    from airflow_provider_wati.sending.schedule import SendWindow
    from airflow_provider_wati.tables.sharding import Shard
    from airflow_provider_wati.tables.values import Row

log: logging.Logger = logging.getLogger(__name__)

#: What becomes of a call whose answer was lost and that WATI does not show within the grace.
ON_UNKNOWN = ("resend_after_grace", "hold")
_LONGEST_KEY = 1_000
_ANSWERS_LOST = (
    "not attempted: the answers to several calls in a row were lost, and none of them is shown by WATI yet"
)
_ALL_REFUSED = "not attempted: WATI refuses the batches before it, whose rows have the reason"


@dataclass(kw_only=True)
class SendJob:
    """
    One template to many people, for one attempt of a task.

    :param client: the account that sends.
    :param template_name: the exact name of the template.
    :param campaign_name: what the campaigns are called, after the mark that tells the send.
    :param send_key: names the send, in 1,000 characters at most; the same key finds again what went out under it.
    :param family: the send key without the map index, which mapped tasks share; the send key if left out.
    :param journal: what earlier attempts have done.
    :param start: what this attempt knows about them.
    :param mapping: finds target and parameters in a row.
    :param targets: reads phone numbers.
    :param shard: the part of the people that this attempt sends to; all if left out.
    :param had_other_shards: whether other mapped tasks have had another number of shards.
    :param task: what Airflow says about the task.
    :param channel: name or number to send from.
    :param scheduled_at: when WATI is to send it, with a time zone; now if left out.
    :param send_window: the hours in which people may be messaged; what falls outside is scheduled.
    :param batch_size: people per call, 1 to 10,000, which is WATI's limit.
    :param suppress: targets that get nothing.
    :param check_consent: whether to look up who opted out.
    :param consent_max_calls: how many calls that may take.
    :param dry_run: whether to do everything but send.
    :param hold: whether people of a call that WATI does not show stay unknown, and are not sent to again.
    :param unknown_grace: how long to look for such a call; see :func:`.policy_of`.
    :param clock: the time.
    :raises WatiValidationError: for a batch size, a name or a time that cannot be right.
    :raises WatiConfigurationError: for a grace that is too short.
    """

    client: WatiClient
    template_name: str
    campaign_name: str
    send_key: str
    journal: Journal
    start: Start
    mapping: RowMapping
    family: str | None = None
    targets: TargetReader = field(default_factory=TargetReader)
    shard: Shard | None = None
    had_other_shards: bool = False
    task: TaskFacts = TaskFacts()
    channel: str | None = None
    scheduled_at: datetime | None = None
    send_window: SendWindow | None = None
    batch_size: int = 1_000
    suppress: Iterable[Any] = ()
    check_consent: bool = True
    consent_max_calls: int = 1_000
    dry_run: bool = False
    hold: bool = False
    unknown_grace: timedelta | None = None
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or not 1 <= self.batch_size <= MAX_RECIPIENTS:
            raise WatiValidationError(
                f"batch_size is {self.batch_size!r}: give a whole number, 1 to {MAX_RECIPIENTS:,}, as WATI takes."
            )
        # First: a time at the end of the calendar has no UTC.
        self._timetable = Timetable(self.scheduled_at, self.send_window, self.clock)
        if self.scheduled_at is not None:
            utc_time(self.scheduled_at, "scheduled_at")
        if len(self.send_key) > _LONGEST_KEY:
            raise WatiValidationError(
                f"send_key has {len(self.send_key):,} characters: give {_LONGEST_KEY:,} at the most."
            )
        self.channel = self.channel or self.client.channel
        self._policy = policy_of(
            self.unknown_grace, self.client.timeout, hold=self.hold, waits=not self.dry_run
        )
        self._began = self.clock.now()
        self._family = self.family or self.send_key
        self._mark = mark_of(self._family)
        self._queue = SendQueue()
        self._queue.compares_params = self.task.is_mapped
        self._dispatcher = Dispatcher(
            client=self.client,
            journal=self.journal,
            queue=self._queue,
            timetable=self._timetable,
            template_name=self.template_name,
            campaign_name=self.campaign_name,
            mark=self._mark,
            channel=self.channel,
            records_params=self._has_siblings_with_messages_of_their_own,
        )
        self._consent = Consent(self.client, self._queue, self.consent_max_calls, self.channel)
        #: Whether the rows have been read to the end; until then there are others of which nothing is told.
        self.has_all_rows: bool = False
        self._template = TemplateCheck()
        self._estimate: dict[str, Any] = {}
        self._started = self.clock.monotonic()

    @property
    def _has_siblings_with_messages_of_their_own(self) -> bool:
        """Whether other tasks of the send read this journal, and may have another message for the same person."""
        is_one_message = self.task.is_shared or self.shard is not None
        return self.task.is_mapped and not is_one_message and self.journal.limits.has_siblings

    def run(self, rows: Iterable[Row]) -> None:
        """
        Send to everybody who has no message yet; :meth:`summary` has the rest, also after an error.

        :param rows: what to send, read to the end before the first message leaves.
        :raises WatiError: when it cannot go on: nobody may be messaged now (401, 403, 429), or something was
            found before the first message that makes all of it wrong.
        """
        looked_up = False
        try:
            self._template = check_template(self.client, self.template_name, self.channel)
            self._load(rows)
            siblings, same_send = self._siblings(), self._same_send()
            # What the journals do not know is compared with what WATI shows.
            same_send.check([*self.journal.entries, *siblings.comparable_calls])
            self._reconciliation = self._prepare_reconciliation(same_send, siblings)
            self._look_up(siblings)
            looked_up = True
            self._queue.add_suppressed(self._suppressed())
            if self.dry_run:
                self._check_unsent()
                self._estimate = estimate_of(
                    self.client, self._queue, self._template.template, self._people_per_call
                )
            else:
                self._dispatch_all()
        except BaseException as error:
            # A timeout of Airflow's is no Exception, and what was done by then is done.
            self._explain(error, looked_up=looked_up)
            raise

    def close(self) -> None:
        """Delete the rows; nothing can be asked any more."""
        self._queue.close()

    # Before the first message

    def _load(self, rows: Iterable[Row]) -> None:
        reader = RowReader(self.mapping, self.targets, self._family, self._template.required, self.shard)
        self._queue.load(rows, reader)
        self.has_all_rows = True
        counts = self._queue.counts()
        log.info(
            "Read %s rows: %s to send, %s invalid, %s skipped.",
            *(f"{counts[name]:,}" for name in ("total", "unsent", "invalid", "skipped")),
        )

    def _suppressed(self) -> Iterator[str]:
        for n, target in enumerate(self.suppress, 1):
            try:
                yield self.targets.read(target)
            except WatiValidationError as error:
                # The person it means must not be messaged because of a typing error.
                raise WatiValidationError(
                    f"Entry {n} of suppress cannot be read: {error}. Nothing was sent."
                ) from None

    def _refuse_more_than_the_store_holds(self) -> None:
        limits = self.journal.limits
        if limits.people is None or self.dry_run:
            return
        self._queue.skip_suppressed()
        counts = self._queue.counts()
        people = counts["total"] - counts["invalid"] - counts["skipped"]
        if people > limits.people:
            raise WatiConfigurationError(
                f"The send has {people:,} people, and its journal can hold {limits.people:,}. Nothing was sent. "
                f"{limits.remedy}"
            )

    def _siblings(self) -> Siblings:
        return Siblings(
            journal=self.journal,
            queue=self._queue,
            start=self.start,
            task=self.task,
            content=self.template_name,
            channel=self.channel,
            is_sharded=self.shard is not None,
            had_other_shards=self.had_other_shards,
        )

    def _same_send(self) -> SameSend:
        """Say what the send is now."""
        return SameSend(
            send_key=self.send_key,
            now=Traits(
                template=self.template_name,
                channel=self.channel,
                keyed=self._queue.has_keys if self._queue.has_rows else NOT_KNOWN,
            ),
            templates=self._template.names,
            # Under a key of the user's own, all tasks have one template.
            has_parts=self.task.is_mapped and not self.task.is_shared,
        )

    def _prepare_reconciliation(self, same_send: SameSend, siblings: Siblings) -> Reconciliation:
        calls = NumberedCalls(
            journal=self.journal,
            siblings=siblings.relevant_calls,
            others_may_hide=siblings.may_hide_calls,
            policy=self._policy,
            started=self._began,
        )
        reader = EvidenceReader(
            calls=calls,
            queue=self._queue,
            index=CampaignIndex(self.client, self.channel, self._mark, self.clock, self.targets.region),
            policy=self._policy,
            same_send=same_send,
            known_calls=siblings.known_calls,
        )
        return Reconciliation(
            journal=self.journal,
            calls=calls,
            queue=self._queue,
            reader=reader,
            policy=self._policy,
            clock=self.clock,
            content=self.template_name,
            channel=self.channel,
        )

    def _look_up(self, siblings: Siblings) -> None:
        """Find out who has the message already."""
        self._reconciliation.look_up(siblings.other_params)
        if self.start is Start.LOST:
            log.warning(
                "%s, so WATI alone shows what was sent. It is given %.0f s.",
                "Other mapped tasks may have had these people before this one was made"
                if self.task.is_new_member
                else "The journal of the earlier attempts is gone",
                self._policy.grace.total_seconds(),
            )
            self._queue.await_all(LOST_CALLS, known_too=False)
        elif self.start is Start.UNCERTAIN or siblings.may_hide_calls:
            self._queue.await_all(OTHERS_CALLS)
            self._reconciliation.run()
        else:
            self._reconciliation.await_absent()
        is_settled = all(kind_of(call) is CallKind.OWN for call in self._queue.pending_calls())
        if is_settled and not self._queue.has_undecided_params:
            siblings.record_people()
        if self.dry_run:
            self._reconciliation.run()
        accepted = self._queue.count_accepted()
        if accepted:
            log.info("%s messages were sent before.", f"{accepted:,}")
        self._warn_of_other_times()

    def _warn_of_other_times(self) -> None:
        """Log for when WATI has the messages of earlier calls, if ``scheduled_at`` is another time by now."""
        if self.scheduled_at is None:
            return
        accepted = (entry.intent for entry in self.journal.entries if Verdict.ACCEPTED in entry.verdicts)
        times = {intent.due for intent in accepted if intent.due is not None}
        for due in sorted(time for time in times if time > self.clock.now() and time != self.scheduled_at):
            log.warning(
                "Earlier calls have scheduled messages for %s, and scheduled_at is %s: they keep their time. To change it, "
                "cancel their campaigns, and send under another send_key.",
                due,
                self.scheduled_at,
            )

    def _check_unsent(self) -> None:
        """Check what is about to be sent; also what reconciliation has released, of which nothing was checked before."""
        self._queue.skip_suppressed()
        if self._queue.count_unsent():
            self._refuse_more_than_the_store_holds()
            self._template.refuse_unsendable()
            self._timetable.refuse_the_past()
            self._respect_consent()

    def _respect_consent(self) -> None:
        """Skip who opted out; the cheaper way of the two is taken, and its cost is logged first."""
        if not self.check_consent:
            return
        try:
            self._consent.apply()
        except WatiPermissionError as error:
            raise WatiPermissionError(
                f"{error} The send looks up who opted out and may not: give the token the scope contactsv3:read, "
                "or leave out who opted out in the query and set check_consent=False.",
                status_code=error.status_code,
                wati_message=error.wati_message,
            ) from None

    @property
    def _people_per_call(self) -> int:
        return min(self.batch_size, self.journal.limits.people_per_entry or self.batch_size)

    # Sending

    def _dispatch_all(self) -> None:
        """Send, reconcile, send what reconciliation releases, until nothing is left to do in this attempt."""
        breaker = self._dispatcher.breaker
        while True:
            try:
                self._check_unsent()
            except WatiError:
                # What earlier calls have sent does not depend on what may be sent now.
                self._reconciliation.run()
                raise
            self._dispatch()
            # Reconciliation ends at the first evidence only if another call may leave with it or without it.
            may_try = breaker.is_open and not breaker.has_failed
            decided = self._reconciliation.run(patient=not may_try or not self._queue.count_unsent())
            has_evidence = bool(decided.keys() & {Decision.ACCEPTED, Decision.REFUSED})
            if breaker.is_open and (may_try or has_evidence):
                breaker.retry(has_evidence=has_evidence)
                may_send = True
            else:
                may_send = Decision.SEND in decided and not breaker.is_open
            if not may_send or not self._queue.count_unsent():
                break
        self._queue.explain_unsent(_ALL_REFUSED if self._dispatcher.is_refused else _ANSWERS_LOST)

    def _dispatch(self) -> None:
        """Send what is unsent: first those who cannot have a message, then those who may."""
        messages = self._queue.count_unsent()
        if not messages:
            return
        calls = -(-messages // self._people_per_call)
        log.info(
            "Sending template %r: %s messages in %s calls, %s s at the least.",
            self.template_name,
            f"{messages:,}",
            f"{calls:,}",
            f"{seconds_of(self.client, calls):,.0f}",
        )
        progress = Progress(log, messages)
        for resend in (False, True):
            after = 0
            while not self._dispatcher.is_stopped:
                batch = self._queue.next_batch(self._people_per_call, after, resend=resend)
                if batch is None:
                    break
                self._dispatcher.send(batch)
                after = batch.rows[-1]
                progress.add(len(batch))

    def _explain(self, error: BaseException, *, looked_up: bool) -> None:
        """Say why rows were not attempted, or that it is not known whether they were."""
        # Other errors than WATI's may repeat what is in a row.
        why = str(error) if isinstance(error, WatiError) else type(error).__name__
        self._dispatcher.abandon(f"{type(error).__name__} during the call")
        if isinstance(error, WatiConfigurationError):
            self._queue.explain_waiting(
                f"an earlier attempt may have sent it, and nothing was compared: {why}"
            )
        if looked_up or (self.start is Start.NEW and not self.had_other_shards):
            self._queue.explain_unsent(f"not attempted: {why}")
        else:
            self._queue.doubt_unsent(
                f"an earlier attempt may have sent it, and this one could not find out: {why}"
            )

    # What became of it

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield what became of each row, in order, as ``SEND_COLUMNS`` names it."""
        return self._queue.outcome_rows()

    def summary(self) -> dict[str, Any]:
        """Count what became of everybody; the counts add up to ``total``."""
        campaigns, first = self._queue.campaigns(SHOWN_CAMPAIGNS)
        summary: dict[str, Any] = {
            "send_key": self.send_key,
            **self._queue.counts(),
            "earlier": self._queue.count_earlier(),
            "campaigns": first,
            "more_campaigns": campaigns - len(first),
            "calls": self._dispatcher.calls,
            "seconds": round(self.clock.monotonic() - self._started, 3),
            "outcomes": None,
            "problems": self._queue.problems(),
        }
        if self._dispatcher.scheduled_for is not None:
            summary["scheduled_at"] = utc_time(self._dispatcher.scheduled_for, "scheduled_at")
        if self.dry_run:
            summary["estimate"] = self._estimate
        return summary
