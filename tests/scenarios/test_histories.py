"""
Random histories of bulk sends: what can go wrong goes wrong, and the promises hold.

``HISTORIES=20000 pytest tests/scenarios/test_histories.py`` tells more of them than the suite does.
"""

from __future__ import annotations

import os
import random
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wati.sending import campaign_index, journal as journal_module
from airflow_provider_wati.sending.campaign_index import CampaignIndex
from airflow_provider_wati.sending.dispatcher import Dispatcher
from airflow_provider_wati.sending.evidence_reader import EvidenceReader
from airflow_provider_wati.sending.journal import RECONCILED, Entry, Journal, Start
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.numbered_calls import NumberedCalls
from airflow_provider_wati.sending.prechecks import Consent
from airflow_provider_wati.sending.reconciler import Control, GrowthWatch, Policy
from airflow_provider_wati.sending.reconciliation import Reconciliation
from airflow_provider_wati.sending.row_mapping import MessageIdentity
from airflow_provider_wati.sending.siblings import Siblings
from airflow_provider_wati.state import sends, task_context
from airflow_provider_wati.state.journal_store import DirectoryJournalStore
from tests.support.send_history import MessagedTwice, Untrue, tell

HISTORIES = int(os.environ.get("HISTORIES", "2000"))
_GROUP = 100
#: Histories in which a heart that is broken on purpose has to fail.
_SEARCHED = 1_500


@pytest.mark.parametrize("seeds", [range(n, n + _GROUP) for n in range(0, HISTORIES, _GROUP)], ids=str)
def test_nobody_is_messaged_twice_and_every_status_is_true(seeds: range) -> None:
    """Through any accidents nobody is messaged twice without the one excuse, each row's outcome is true, and all ends."""
    campaigns = sum(len(tell(seed).model.campaigns) for seed in seeds)
    assert campaigns > len(seeds), "too few of them sent anything"


# What would be wrong without this or that care: that the histories find it shows what they are worth.


def write_no_intent_down(patch: pytest.MonkeyPatch) -> None:
    """An intent is kept in memory only."""

    def record(self: Journal, people: Iterable[int], **what: Any) -> Entry:
        with pytest.MonkeyPatch.context() as unwritten:
            unwritten.setattr(Journal, "_append", lambda *_, **__: None)
            return recorded(self, people, **what)

    recorded = Journal.record_intent
    patch.setattr(Journal, "record_intent", record)
    patch.setattr(Journal, "record_result", lambda self, entry, *_, **__: None)


def take_a_lost_journal_for_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    """A journal that is gone counts as one that never was."""
    _replace_start(patch, Start.LOST, Start.NEW)


def forget_that_a_journal_was_lost(patch: pytest.MonkeyPatch) -> None:
    """Only the first attempt after a loss knows of it."""
    opened = Journal.open
    patch.setattr(Journal, "open", lambda self, person=None, **_: opened(self, person))


def trust_a_key_of_several_runs(patch: pytest.MonkeyPatch) -> None:
    """A key that others may have used counts as new."""
    _replace_start(patch, Start.UNCERTAIN, Start.NEW)


def record_ambiguous_calls_as_not_sent(patch: pytest.MonkeyPatch) -> None:
    """A call whose answer was lost counts as one that never left."""
    _replace_verdict(patch, Verdict.OPEN, Verdict.REFUSED)


def record_accepted_people_as_refused(patch: pytest.MonkeyPatch) -> None:
    """What WATI took counts as refused in the journal."""
    _replace_verdict(patch, Verdict.ACCEPTED, Verdict.REFUSED)


def record_no_result(patch: pytest.MonkeyPatch) -> None:
    """What WATI answered is not written down."""

    def record(self: Journal, entry: Entry, *_: object, **__: object) -> None:
        """Write nothing."""

    patch.setattr(Journal, "record_result", record)


def record_no_campaign_that_was_found(patch: pytest.MonkeyPatch) -> None:
    """Only the attempt that finds a campaign knows its id."""

    def record(self: Journal, entry: Entry, verdicts: Any, **what: Any) -> None:
        recorded(
            self, entry, verdicts, **what if what.get("reason") != RECONCILED else {"reason": RECONCILED}
        )

    recorded = Journal.record_result
    patch.setattr(Journal, "record_result", record)


def record_the_first_attempt_of_a_call_only(patch: pytest.MonkeyPatch) -> None:
    """A call that goes out again after a 429 has no intent of its own."""

    def record(self: Journal, people: Iterable[int], *, id: str | None = None, **what: Any) -> Entry:
        for entry in self.entries:
            if entry.intent.id == id:
                return entry
        return recorded(self, people, id=id, **what)

    recorded = Journal.record_intent
    patch.setattr(Journal, "record_intent", record)


def record_no_throttling(patch: pytest.MonkeyPatch) -> None:
    """A call that was refused for now stays open."""

    def record(self: Journal, entry: Entry, verdicts: Any, **what: Any) -> None:
        if what.get("reason") != "not_sent":
            recorded(self, entry, verdicts, **what)

    recorded = Journal.record_result
    patch.setattr(Journal, "record_result", record)


def know_people_by_their_position(patch: pytest.MonkeyPatch) -> None:
    """The journal names rows, not people."""

    def of(self: MessageIdentity, dedupe_key: str, key: str | None) -> tuple[int, str]:
        positions[self] = positions.get(self, 0) + 1
        return positions[self], named(self, dedupe_key, key)[1]

    positions: dict[MessageIdentity, int] = {}
    named = MessageIdentity.of
    patch.setattr(MessageIdentity, "of", of)


def find_no_campaign(patch: pytest.MonkeyPatch) -> None:
    """WATI's list of campaigns is not read."""
    patch.setattr(CampaignIndex, "look", lambda *_: None)


def find_campaigns_of_one_name_only(patch: pytest.MonkeyPatch) -> None:
    """A campaign is found by what the user calls it."""
    _replace_pattern(patch, lambda pattern: re.compile(pattern.replace("(?![0-9])", " orders")))


def take_a_copy_for_its_original(patch: pytest.MonkeyPatch) -> None:
    """The mark counts wherever it stands in a name."""
    _replace_pattern(patch, lambda pattern: SimpleNamespace(match=re.compile(pattern).search))


def take_a_growing_campaign_for_complete(patch: pytest.MonkeyPatch) -> None:
    """The first look at a list counts as the last."""
    patch.setattr(GrowthWatch, "is_complete", lambda *_: True)
    patch.setattr(campaign_index.FoundCampaign, "is_complete", lambda *_: True)


def forget_when_a_schedule_is_due(patch: pytest.MonkeyPatch) -> None:
    """A schedule of a lost journal counts as complete before it is sent."""

    def is_complete(
        self: campaign_index.FoundCampaign, grace: timedelta, due: datetime | None = None
    ) -> bool:
        return self.growth.is_complete(grace)

    patch.setattr(campaign_index.FoundCampaign, "is_complete", is_complete)


def wait_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """What is not shown at once counts as not sent."""
    patch.setattr(Policy, "deadline", lambda self, at, *_: at)


def give_a_lost_journal_no_grace(patch: pytest.MonkeyPatch) -> None:
    """What was sent a moment before the journal was lost counts as shown already."""

    def deadline(self: NumberedCalls, call: int, now: datetime) -> datetime:
        return deadline_of(self, call, now) if self.entry(call) is not None else self.started

    deadline_of = NumberedCalls.deadline
    patch.setattr(NumberedCalls, "deadline", deadline)


def name_messages_differently_in_each_attempt(patch: pytest.MonkeyPatch) -> None:
    """The id of a message does not depend on person and key."""
    _replace_ids(patch, lambda _: f"{random.getrandbits(128):032x}")


def ignore_other_ids_of_the_send(patch: pytest.MonkeyPatch) -> None:
    """Ids of one send do not begin alike, so that another message to a person counts as this one."""
    _replace_ids(patch, lambda id: id[8:] + id[:8])


def ignore_the_control(patch: pytest.MonkeyPatch) -> None:
    """Absence counts although the list does not show an answered campaign either."""
    patch.setattr(EvidenceReader, "_control", lambda *_: Control.NONE)


def forget_that_it_was_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A second call for a person counts as the first."""
    recorded = Journal.record_intent
    patch.setattr(
        Journal,
        "record_intent",
        lambda self, people, **what: recorded(self, people, **{**what, "resend": False}),
    )


def count_failed_people_as_accepted(patch: pytest.MonkeyPatch) -> None:
    """The status of a listed recipient is not read."""
    patch.setattr(campaign_index, "has_failed", lambda _: False)


def record_nobody_who_was_found(patch: pytest.MonkeyPatch) -> None:
    """People whom WATI shows after a loss are not written down."""
    patch.setattr(Reconciliation, "_record_found", lambda *_: None)


def record_found_people_in_two_steps(patch: pytest.MonkeyPatch) -> None:
    """Between the intent and the result of found people there is room for an accident."""

    def record(
        self: Journal, people: Iterable[int], *, campaign_id: str | None, verdict: Verdict, **what: Any
    ) -> None:
        entry = self.record_intent(array("q", people), **what)
        self.record_result(entry, {verdict: None}, campaign_id=campaign_id)

    patch.setattr(Journal, "record_found", record)


def ignore_the_fence(patch: pytest.MonkeyPatch) -> None:
    """An attempt that was overtaken goes on."""
    patch.setattr(DirectoryJournalStore, "_check_fence", lambda _: None)


def ignore_hold(patch: pytest.MonkeyPatch) -> None:
    """What is not shown is sent again although ``on_unknown`` is ``hold``."""
    made = Policy.__init__
    patch.setattr(Policy, "__init__", lambda self, **what: made(self, **{**what, "hold": False}))


def ignore_other_mapped_tasks(patch: pytest.MonkeyPatch) -> None:
    """The journals of other mapped tasks are not read."""
    patch.setattr(Journal, "siblings", lambda _: [])


def ignore_that_people_have_moved(patch: pytest.MonkeyPatch) -> None:
    """Nobody is taken to have been in another mapped task."""
    patch.setattr(Siblings, "may_have_had_people", False)


def ignore_that_a_run_was_cleared(patch: pytest.MonkeyPatch) -> None:
    """Later iterations of a loop count as new after a Clear."""
    patch.setattr(task_context, "is_new_in_cleared_run", lambda _: False)


def ignore_that_a_mapped_task_is_late(patch: pytest.MonkeyPatch) -> None:
    """A mapped task that comes with a Clear counts as new where Airflow does not count the Clear."""
    patch.setattr(sends, "_is_made_after", lambda *_: False)


def leave_a_call_that_is_broken_off_unsent(patch: pytest.MonkeyPatch) -> None:
    """A timeout during a call leaves its people as not attempted."""
    patch.setattr(Dispatcher, "abandon", lambda *_: None)


def ignore_consent(patch: pytest.MonkeyPatch) -> None:
    """Nobody is asked who opted out."""
    patch.setattr(Consent, "apply", lambda _: None)


def _replace_start(patch: pytest.MonkeyPatch, true: Start, false: Start) -> None:
    def start_of(**what: bool) -> Start:
        start = decided(**what)
        return false if start is true else start

    decided = journal_module.start_of
    patch.setattr(sends, "start_of", start_of)


def _replace_verdict(patch: pytest.MonkeyPatch, true: Verdict, false: Verdict) -> None:
    def record(self: Journal, entry: Entry, verdicts: Mapping[Verdict, Any], **what: Any) -> None:
        recorded(
            self,
            entry,
            {false if verdict is true else verdict: who for verdict, who in verdicts.items()},
            **what,
        )

    recorded = Journal.record_result
    patch.setattr(Journal, "record_result", record)


def _replace_ids(patch: pytest.MonkeyPatch, change: Callable[[str], str]) -> None:
    def of(self: MessageIdentity, dedupe_key: str, key: str | None) -> tuple[int, str]:
        person, id = named(self, dedupe_key, key)
        return person, change(id)

    named = MessageIdentity.of
    patch.setattr(MessageIdentity, "of", of)


def _replace_pattern(patch: pytest.MonkeyPatch, compile: Callable[[str], Any]) -> None:
    patch.setattr(campaign_index, "re", SimpleNamespace(compile=compile, escape=re.escape))


#: What is broken, how it shows, and the history to begin with: the first one that showed it when this was written.
_BROKEN: tuple[tuple[Callable[[pytest.MonkeyPatch], None], type[AssertionError], int], ...] = (
    (write_no_intent_down, MessagedTwice, 1),
    (take_a_lost_journal_for_an_empty_one, MessagedTwice, 19),
    (forget_that_a_journal_was_lost, MessagedTwice, 3),
    (trust_a_key_of_several_runs, MessagedTwice, 381),
    (record_ambiguous_calls_as_not_sent, MessagedTwice, 13),
    (record_accepted_people_as_refused, MessagedTwice, 0),
    (record_no_result, Untrue, 1),
    (record_no_campaign_that_was_found, Untrue, 11),
    (record_the_first_attempt_of_a_call_only, MessagedTwice, 38),
    (record_no_throttling, Untrue, 44),
    (know_people_by_their_position, MessagedTwice, 28),
    (find_no_campaign, MessagedTwice, 1),
    (find_campaigns_of_one_name_only, MessagedTwice, 3),
    (take_a_copy_for_its_original, Untrue, 76),
    (take_a_growing_campaign_for_complete, MessagedTwice, 28),
    (forget_when_a_schedule_is_due, MessagedTwice, 28),
    (wait_for_nothing, MessagedTwice, 38),
    (give_a_lost_journal_no_grace, MessagedTwice, 126),
    (name_messages_differently_in_each_attempt, Untrue, 19),
    (ignore_other_ids_of_the_send, Untrue, 76),
    (ignore_the_control, MessagedTwice, 774),
    (forget_that_it_was_sent_again, MessagedTwice, 63),
    (count_failed_people_as_accepted, Untrue, 444),
    (record_nobody_who_was_found, MessagedTwice, 439),
    (record_found_people_in_two_steps, MessagedTwice, 250),
    (ignore_the_fence, MessagedTwice, 84),
    (ignore_hold, MessagedTwice, 43),
    (ignore_other_mapped_tasks, MessagedTwice, 35),
    (ignore_that_people_have_moved, MessagedTwice, 17),
    (ignore_that_a_run_was_cleared, MessagedTwice, 28),
    (ignore_that_a_mapped_task_is_late, MessagedTwice, 135),
    (leave_a_call_that_is_broken_off_unsent, Untrue, 36),
    (ignore_consent, Untrue, 33),
)


@pytest.mark.parametrize(
    ("break_it", "failure", "first"), _BROKEN, ids=[each.__name__ for each, *_ in _BROKEN]
)
def test_the_histories_find_a_heart_that_is_broken_on_purpose(
    break_it: Callable[[pytest.MonkeyPatch], None], failure: type[AssertionError], first: int
) -> None:
    """Each care that the heart takes is needed: without it a history fails."""

    def search() -> None:
        for seed in range(first, first + _SEARCHED):
            try:
                tell(seed)
            except failure:
                raise
            except AssertionError:
                continue  # it fails in another way, which is not what is looked for here

    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        with pytest.raises(failure):
            search()
