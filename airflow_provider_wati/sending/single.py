"""One message, one chatbot start or one new contact: at most once, on the same journal as bulk sends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.types import SendHooks
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiUnknownOutcomeError
from airflow_provider_wati.sending.conversation_index import Search, Sighting
from airflow_provider_wati.sending.journal import RECONCILED, Entry, Start
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.reconciler import (
    POLL_INTERVAL,
    Decision,
    Evidence,
    Listed,
    Policy,
    combine,
    decide,
)

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.journal import Journal

log = logging.getLogger(__name__)

Detail = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousCall:
    """
    A call that may have sent it.

    :param since: when it may have left.
    :param deadline: until when WATI may hide it.
    :param until: when it was made at the latest.
    :param content: the fingerprint of what it sent.
    :param resend: whether an earlier call may have sent it too.
    :param entry: its entry in this journal; None if it has none.
    :param is_unrecorded: whether no journal knows it, so that there may be several.
    """

    since: datetime
    deadline: datetime
    until: datetime
    content: str
    resend: bool = False
    entry: Entry | None = None
    is_unrecorded: bool = False


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a look has shown about one call."""

    call: AmbiguousCall
    sighting: Sighting
    decision: Decision


@dataclass(kw_only=True)
class SingleSend:
    """
    One send to one person, for one attempt of a task.

    :param journal: what earlier attempts have done.
    :param start: what this attempt knows about them.
    :param person: the hash of the person.
    :param content: a fingerprint of what is sent.
    :param act: sends, and returns WATI's answer.
    :param look: says what WATI shows of it; None where WATI shows nothing.
    :param detail_of: takes what identifies the thing from an answer or from what was found, and nothing of what it says.
    :param policy: how long to look.
    :param clock: the time.
    :param run_began: the earliest time of an attempt without a journal.
    :param is_mapped: whether the task is mapped, so that the person may have been in another of its tasks before.
    :param is_new_member: whether this mapped task was not there before its run was cleared.
    :param is_cleared: whether the task may have been cleared.
    :param is_upload: whether the call may take longer than the timeouts, as long as bytes go out.
    :param acts_when_unknown: whether to send though it stays unknown whether an earlier attempt has.
    """

    journal: Journal
    start: Start
    person: int
    content: str
    act: Callable[[SendHooks], Any]
    look: Callable[[Search], Sighting] | None
    detail_of: Callable[[Any], Detail]
    policy: Policy
    clock: Clock
    run_began: datetime
    is_mapped: bool = False
    is_new_member: bool = False
    is_cleared: bool = False
    is_upload: bool = False
    acts_when_unknown: bool = False
    _entry: Entry | None = field(default=None, init=False)
    _began: datetime = field(init=False)

    def run(self) -> Detail:
        """
        Send, unless an earlier attempt has.

        :return: what identifies the message, of this attempt or of the earlier one.
        :raises WatiUnknownOutcomeError: when it stays unknown whether an earlier attempt has sent it; nothing is sent.
        :raises WatiConfigurationError: when the send key was used for other content.
        """
        self._began = self.clock.now()
        accepted = self._accepted()
        if accepted is not None:
            log.info("An earlier attempt sent it: nothing is sent again.")
            return accepted
        calls = [*self._ambiguous_calls()]
        if not calls:
            return self._send(resend=False)
        findings = self._look_until_decided(calls)
        found = next((each for each in findings if each.decision is Decision.ACCEPTED), None)
        if found is not None:
            return self._record_found(found)
        self._raise_if_unknown(findings)
        return self._send(resend=self._close(findings))

    # What the journal knows

    @cached_property
    def _own(self) -> list[Entry]:
        """The calls of this task about the person."""
        return [entry for entry in self.journal.entries if self.person in entry.intent.people]

    @cached_property
    def _others(self) -> list[Entry]:
        """The calls of the other mapped tasks about the person, as far as they are within reach."""
        if not self.is_mapped:
            return []
        return [entry for entry in self.journal.siblings() if self.person in entry.intent.people]

    @cached_property
    def _has_moved(self) -> bool:
        """Whether another mapped task may have been about the person in an earlier attempt."""
        if not self.is_mapped or self.start is Start.NEW:
            return False
        moved = any(opening.person not in (None, self.person) for opening in self.journal.openings)
        if moved or self.start is Start.LOST:
            return True
        if self.journal.limits.has_siblings:
            return self.journal.was_elsewhere(self.person)
        # Where the person was while this task was not run, only WATI shows.
        return self.is_cleared and self.look is not None

    @cached_property
    def _has_changed(self) -> bool:
        """Whether this mapped task had another message to the person before, which may have changed places too."""
        return self.is_mapped and any(entry.intent.content != self.content for entry in self._own)

    @cached_property
    def _relevant_others(self) -> list[Entry]:
        """
        The calls of other mapped tasks that may have sent what is to be sent.

        A person may be in several mapped tasks, with a message each. Where the person has moved and none of the calls
        sent this content, it may have changed since, so that each of them may be the one.
        """
        if not (self._has_moved or self._has_changed or self.start is Start.UNCERTAIN):
            return []
        same = [entry for entry in self._others if entry.intent.content == self.content]
        return self._others if self._has_moved and not same else same

    def _accepted(self) -> Detail | None:
        """Return the result of an earlier attempt, if one was answered."""
        accepted = self._accepted_in(self._own)
        if not any(entry.intent.content == self.content for entry in accepted):
            accepted += self._accepted_in(self._relevant_others)
        for entry in accepted:
            if entry.intent.content == self.content:
                return dict(entry.detail or {})
        if accepted:
            raise _other_content()
        return None

    def _accepted_in(self, entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if self._verdict_of(entry) is Verdict.ACCEPTED]

    def _verdict_of(self, entry: Entry) -> Verdict:
        # A bulk send under the same key has many people in a call.
        return Verdict(entry.verdicts[entry.intent.people.index(self.person)])

    # What is ambiguous

    def _ambiguous_calls(self) -> Iterator[AmbiguousCall]:
        """Yield the calls that may have sent it. A later refusal takes none of them away."""
        if self._is_out_of_reach:
            deadline = self._unrecorded_until() + self.policy.grace
            yield AmbiguousCall(
                since=self.run_began,
                deadline=deadline,
                until=deadline + self.policy.grace,
                content=self.content,
                is_unrecorded=True,
            )
        for entry in self._own:
            verdict = self._verdict_of(entry)
            if verdict is Verdict.OPEN:
                yield self._open_call(entry, entry)
            elif verdict is Verdict.CLOSED_UNRESOLVED:
                yield self._closed_call(entry)
        for entry in self._relevant_others:
            verdict = self._verdict_of(entry)
            if verdict is Verdict.OPEN:
                yield self._open_call(entry, None)
            elif verdict is Verdict.CLOSED_UNRESOLVED:
                yield self._closed_call(entry)

    @cached_property
    def _is_out_of_reach(self) -> bool:
        """Whether a call may have sent it of which no journal within reach knows."""
        if self.start is not Start.LOST:
            return (self._has_moved or self._has_changed) and not self.journal.limits.has_siblings
        if self.is_new_member and self.journal.siblings_are_intact():
            # They know what was sent to the person before.
            return False
        return True

    def _unrecorded_until(self) -> datetime:
        """Return when the last call without a record was over: nobody was sent to without one since."""
        until = self._began
        for opening in reversed(self.journal.openings):
            if self.is_mapped and opening.person != self.person:
                break  # another mapped task may have had the person then
            until = opening.at
        return until

    def _open_call(self, entry: Entry, own: Entry | None) -> AmbiguousCall:
        at, ended_at = entry.intent.at, entry.ended_at
        if ended_at is None and self.is_upload:
            # How long it was under way is not known, only that its attempt was over when the next one began.
            later = (opening.at for opening in self.journal.openings if opening.at > at)
            ended_at = max(min(later, default=self._began), at + self.policy.longest_call)
        deadline = self.policy.deadline(at, ended_at, None, self._began)
        return AmbiguousCall(
            since=at,
            deadline=deadline,
            # WATI may have made it later than it may show it, but not hours later.
            until=deadline + self.policy.grace,
            content=entry.intent.content,
            resend=entry.intent.resend,
            entry=own,
        )

    def _closed_call(self, entry: Entry) -> AmbiguousCall:
        """Return a call whose grace was waited for: WATI may show it by now all the same."""
        call = self._open_call(entry, None)
        return replace(call, deadline=call.since, resend=False)

    # Looking

    def _look_until_decided(self, calls: list[AmbiguousCall]) -> list[_Finding]:
        """Look until each call is decided, more and more seldom: each look costs several calls of the quota."""
        deadline = max(call.deadline for call in calls)
        pause = POLL_INTERVAL
        while True:
            findings = self._look(calls)
            decision = combine(finding.decision for finding in findings)
            if decision is not Decision.WAIT or self.acts_when_unknown or self.look is None:
                return findings
            log.info(
                "An earlier attempt may have sent it: looking until %s.",
                deadline.isoformat(timespec="seconds"),
            )
            left = max(deadline - self.clock.now(), timedelta(milliseconds=10))
            self.clock.sleep(min(pause, left).total_seconds())
            pause *= 2

    def _look(self, calls: list[AmbiguousCall]) -> list[_Finding]:
        findings = []
        for call in calls:
            # Before the look: what appears while it goes on is not seen by it.
            now = self.clock.now()
            search = Search(
                since=call.since, until=call.until, content=call.content, known_ids=self._known_ids
            )
            sighting = Sighting(Listed.UNCLEAR) if self.look is None else self.look(search)
            evidence = Evidence(deadline=call.deadline, readable=sighting.readable, resend=call.resend)
            listed = sighting.listed
            if listed is Listed.FAILED and (call.is_unrecorded or now < call.deadline):
                # It accounts for one call, which need not be this one while WATI may hide others.
                listed = Listed.NO
            findings.append(_Finding(call, sighting, decide(listed, evidence, now, self.policy)))
        return findings

    @cached_property
    def _known_ids(self) -> frozenset[str]:
        """Ids of messages that other calls account for: they failed, or are those of other mapped tasks."""
        # What another task has found under this content may be ours.
        others = (
            entry
            for entry in self._others
            if entry.intent.content != self.content or not (entry.is_reconciled or entry.intent.is_found)
        )
        details = (entry.detail or {} for entry in (*self._own, *others))
        return frozenset(str(detail["id"]) for detail in details if detail.get("id"))

    def _record_found(self, found: _Finding) -> Detail:
        detail = self.detail_of(found.sighting.message)
        self._record_evidence(found, Verdict.ACCEPTED, detail)
        if found.call.content != self.content:
            raise _other_content()
        log.info("WATI shows what an earlier attempt sent: nothing is sent again.")
        return detail

    def _record_evidence(self, finding: _Finding, verdict: Verdict, detail: Detail) -> None:
        """Write down what became of a call, with the message by which that was seen."""
        entry = finding.call.entry or self.journal.record_intent([self.person], content=finding.call.content)
        position = [entry.intent.people.index(self.person)]
        self.journal.record_result(entry, {verdict: position}, reason=RECONCILED, detail=detail)

    def _close(self, findings: list[_Finding]) -> bool:
        """Write down that it may be sent; return whether it may then be sent for the second time."""
        resend = False
        for finding in findings:
            entry, message = finding.call.entry, finding.sighting.message
            if finding.decision is Decision.REFUSED:
                self._record_evidence(finding, Verdict.REFUSED, self.detail_of(message))
                continue
            resend = True
            if entry is not None:
                self.journal.close_unresolved(entry, [entry.intent.people.index(self.person)])
        return resend

    def _raise_if_unknown(self, findings: list[_Finding]) -> None:
        decision = combine(finding.decision for finding in findings)
        if decision in (Decision.SEND, Decision.REFUSED) or self.acts_when_unknown:
            return
        finding = next(each for each in findings if each.decision is decision)
        if not finding.sighting.readable:
            why = "and WATI cannot be read"
        elif self.look is None:
            why = "and WATI does not show such a thing"
        elif finding.sighting.listed is Listed.UNCLEAR:
            why = "and WATI does not show enough to say"
        else:
            why = "it was sent again once already, and WATI shows neither"
        raise WatiUnknownOutcomeError(
            f"An earlier attempt may have sent it (since {finding.call.since:%Y-%m-%d %H:%M:%S %Z}), {why}. It is not sent "
            "again. Look at the conversation; if it is not there, send it under another send_key."
        )

    # Sending

    def _send(self, *, resend: bool) -> Detail:
        call_id = self.journal.new_call()

        def before_send() -> bool:
            self._entry = self.journal.record_intent(
                [self.person], id=call_id, content=self.content, resend=resend
            )
            return True

        try:
            answer = self.act(SendHooks(before_send=before_send, not_sent=self._not_sent))
        except WatiUnknownOutcomeError:
            # With its time: WATI may have begun with the call only at its end.
            self._record({Verdict.OPEN: None}, "ambiguous")
            raise
        detail = self.detail_of(answer)
        self._record({Verdict.ACCEPTED: None}, None, detail)
        return detail

    def _not_sent(self) -> None:
        self._record({Verdict.REFUSED: None}, "not_sent")

    def _record(
        self, verdicts: Mapping[Verdict, None], reason: str | None, detail: Detail | None = None
    ) -> None:
        if self._entry is not None:
            self.journal.record_result(self._entry, verdicts, reason=reason, detail=detail)


def _other_content() -> WatiConfigurationError:
    return WatiConfigurationError(
        "Under this send_key the person has got other content already, so this one is not sent. Give another send_key to "
        "send it too; the default one is made of DAG, run, task and map index."
    )
