"""One message, one chatbot start or one new contact: at most once, on the same journal as bulk sends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.types import SendHooks
from airflow_provider_wati.exceptions import WatiUnknownOutcomeError
from airflow_provider_wati.sending.conversation_index import Search, Sighting
from airflow_provider_wati.sending.earlier_calls import (
    AmbiguousCall,
    Detail,
    EarlierCalls,
    other_content_error,
)
from airflow_provider_wati.sending.journal import RECONCILED, Entry
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.reconciler import (
    POLL_INTERVAL,
    Decision,
    Evidence,
    Listed,
    combine,
    decide,
)

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.journal import Journal

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a look shows about one call."""

    call: AmbiguousCall
    sighting: Sighting
    decision: Decision


@dataclass(kw_only=True)
class SingleSend:
    """
    One send to one person, for one attempt of a task.

    :param earlier: the calls of earlier attempts.
    :param act: sends, and returns WATI's answer.
    :param look: looks in WATI for the effect of an earlier call; None where WATI's API shows none.
    :param detail_of: returns the identifying fields of an answer, or of a message that was found, without its content.
    :param clock: the time.
    :param acts_when_unknown: whether to send even if the outcome of an earlier call stays unknown.
    """

    earlier: EarlierCalls
    act: Callable[[SendHooks], Any]
    look: Callable[[Search], Sighting] | None
    detail_of: Callable[[Any], Detail]
    clock: Clock
    acts_when_unknown: bool = False
    _entry: Entry | None = field(default=None, init=False)

    @property
    def _journal(self) -> Journal:
        return self.earlier.journal

    def run(self) -> Detail:
        """
        Send, unless an earlier attempt has.

        :return: what identifies the message, of this attempt or of the earlier one.
        :raises WatiUnknownOutcomeError: when it stays unknown whether an earlier attempt has sent it; nothing is sent.
        :raises WatiConfigurationError: when the send key was used for other content.
        """
        accepted = self.earlier.accepted()
        if accepted is not None:
            log.info("An earlier attempt sent it: nothing is sent again.")
            return accepted
        calls = [*self.earlier.ambiguous()]
        if not calls:
            return self._send(resend=False)
        findings = self._look_until_decided(calls)
        deciding = _deciding(findings)
        if deciding.decision is Decision.ACCEPTED:
            return self._record_found(deciding)
        if deciding.decision not in (Decision.SEND, Decision.REFUSED) and not self.acts_when_unknown:
            raise self._unknown_error(deciding)
        return self._send(resend=self._close(findings))

    # Looking

    def _look_until_decided(self, calls: list[AmbiguousCall]) -> list[_Finding]:
        """Look until each call is decided. The pauses grow, because each look costs several calls of the quota."""
        deadline = max(call.deadline for call in calls)
        pause = POLL_INTERVAL
        while True:
            findings = self._look(calls)
            is_decided = _deciding(findings).decision is not Decision.WAIT
            if is_decided or self.acts_when_unknown or self.look is None:
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
        known_ids = set(self.earlier.known_ids)
        for call in sorted(calls, key=lambda call: call.since, reverse=True):
            # Taken before the look, which may miss a message that appears while it reads.
            now = self.clock.now()
            search = Search(
                since=call.since, until=call.until, content=call.content, known_ids=frozenset(known_ids)
            )
            sighting = Sighting(Listed.UNCLEAR) if self.look is None else self.look(search)
            evidence = Evidence(
                deadline=call.deadline,
                readable=sighting.readable,
                resend=call.resend,
                is_unrecorded=call.is_unrecorded,
            )
            listed = sighting.listed
            if listed is Listed.FAILED and sighting.message is not None:
                # It accounts for one call, which need not be this one while WATI may hide others.
                known_ids.add(str(sighting.message.get("id")))
                listed = Listed.NO if now < call.deadline else listed
            findings.append(_Finding(call, sighting, decide(listed, evidence, now, self.earlier.policy)))
        return findings

    def _record_found(self, found: _Finding) -> Detail:
        detail = self.detail_of(found.sighting.message)
        self._record_evidence(found, Verdict.ACCEPTED, detail)
        if found.call.content != self.earlier.content:
            raise other_content_error()
        log.info("WATI shows what an earlier attempt sent: nothing is sent again.")
        return detail

    def _record_evidence(self, finding: _Finding, verdict: Verdict, detail: Detail) -> None:
        """Record the outcome of a call, with the message that is the evidence."""
        entry = finding.call.entry or self._journal.record_intent(
            [self.earlier.person], content=finding.call.content
        )
        position = [self.earlier.position_in(entry)]
        self._journal.record_result(entry, {verdict: position}, reason=RECONCILED, detail=detail)

    def _close(self, findings: list[_Finding]) -> bool:
        """Record that the earlier calls are closed, and return whether the next call counts as a resend."""
        resend = False
        for finding in findings:
            entry, message = finding.call.entry, finding.sighting.message
            if finding.decision is Decision.REFUSED:
                self._record_evidence(finding, Verdict.REFUSED, self.detail_of(message))
                continue
            resend = True
            if entry is not None:
                self._journal.close_unresolved(entry, [self.earlier.position_in(entry)])
        return resend

    def _unknown_error(self, finding: _Finding) -> WatiUnknownOutcomeError:
        if not finding.sighting.readable:
            why = "and WATI cannot be read"
        elif self.look is None:
            why = "and WATI does not show such a thing"
        elif finding.sighting.listed is Listed.UNCLEAR:
            why = "and WATI does not show enough to say"
        else:
            why = "it was sent again once already, and WATI shows neither"
        # Where WATI shows nothing, the operator names the way out.
        remedy = (
            " Look at the conversation; if it is not there, send it under another send_key."
            if self.look
            else ""
        )
        return WatiUnknownOutcomeError(
            f"An earlier attempt may have sent it (since {finding.call.since:%Y-%m-%d %H:%M:%S %Z}), {why}. It is not sent "
            f"again.{remedy}"
        )

    # Sending

    def _send(self, *, resend: bool) -> Detail:
        call_id = self._journal.new_call()

        def before_send() -> bool:
            self._entry = self._journal.record_intent(
                [self.earlier.person], id=call_id, content=self.earlier.content, resend=resend
            )
            return True

        try:
            answer = self.act(
                SendHooks(before_send=before_send, not_sent=lambda: self._record(Verdict.REFUSED, "not_sent"))
            )
        except WatiUnknownOutcomeError:
            # The record has the end of the call, from which the grace counts: WATI may process it as late as that.
            self._record(Verdict.OPEN, "ambiguous")
            raise
        detail = self.detail_of(answer)
        self._record(Verdict.ACCEPTED, detail=detail)
        return detail

    def _record(self, verdict: Verdict, reason: str | None = None, detail: Detail | None = None) -> None:
        """Record the outcome of the call, if it has an intent."""
        if self._entry is not None:
            self._journal.record_result(self._entry, {verdict: None}, reason=reason, detail=detail)


def _deciding(findings: list[_Finding]) -> _Finding:
    """Return the finding that decides about all calls."""
    decision = combine(finding.decision for finding in findings)
    return next(finding for finding in findings if finding.decision is decision)
