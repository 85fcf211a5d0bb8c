"""
Random histories of single sends: what can go wrong goes wrong, and the promises hold.

``HISTORIES=10000 pytest tests/scenarios/test_single_histories.py`` tells more of them than the suite does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_wati.sending import single as single_module
from airflow_provider_wati.sending.conversation_index import ConversationIndex, MessageContent, Search
from airflow_provider_wati.sending.earlier_calls import AmbiguousCall, EarlierCalls
from airflow_provider_wati.sending.journal import Entry, Journal
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.reconciler import Decision, Evidence, Listed, Policy, decide
from airflow_provider_wati.state import sends as sends_module
from tests.support.send_history import MessagedTwice, Untrue
from tests.support.single_history import tell

HISTORIES = int(os.environ.get("HISTORIES", "1000"))
_GROUP = 100
#: Histories in which a send that is broken on purpose has to fail.
_SEARCHED = 1_000


@pytest.mark.parametrize("seeds", [range(n, n + _GROUP) for n in range(0, HISTORIES, _GROUP)], ids=str)
def test_nobody_is_sent_to_twice_and_green_is_true(seeds: range) -> None:
    """Through any accidents nobody is sent to twice without the one excuse, green means that it happened, and all ends."""
    effects = sum(len(tell(seed).effects) for seed in seeds)
    assert effects > len(seeds), "too few of them sent anything"


@pytest.mark.parametrize("seed", [16406, 17612])
def test_a_long_call_whose_end_was_not_written_down_is_waited_for(seed: int) -> None:
    """The attempt dies after a call of 90 seconds, and WATI hides what it took for as long as the grace allows."""
    assert len(tell(seed).effects) > 0


# What would be wrong without this or that care: that the histories find it shows what they are worth.


def write_no_intent(patch: pytest.MonkeyPatch) -> None:
    """An intent is kept in memory only."""

    def record(self: Journal, people: Iterable[int], **what: Any) -> Entry:
        with pytest.MonkeyPatch.context() as unwritten:
            unwritten.setattr(Journal, "_append", lambda *_, **__: None)
            return recorded(self, people, **what)

    recorded = Journal.record_intent
    patch.setattr(Journal, "record_intent", record)
    patch.setattr(Journal, "record_result", lambda self, entry, *_, **__: None)


def wait_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """What WATI does not show at once counts as not sent."""

    def deadline(self: Policy, at: datetime, *_: object) -> datetime:
        return at

    patch.setattr(Policy, "deadline", deadline)


def wait_from_the_beginning_of_a_call(patch: pytest.MonkeyPatch) -> None:
    """The grace runs while the call is still under way (A1)."""

    def open_call(self: EarlierCalls, entry: Entry) -> AmbiguousCall:
        return replace(made(self, entry), deadline=entry.intent.at + self.policy.grace)

    made = EarlierCalls._open_call
    patch.setattr(EarlierCalls, "_open_call", open_call)


def wait_for_no_lost_journal(patch: pytest.MonkeyPatch) -> None:
    """A journal that is gone costs one look."""
    patch.setattr(EarlierCalls, "_unrecorded_until", lambda self: self.task.run_began)


def look_since_the_attempt_only(patch: pytest.MonkeyPatch) -> None:
    """Without a journal, what was sent before this attempt is not looked for."""
    patch.setattr(ConversationIndex, "_earliest", lambda self, since: self._client._transport._clock.now())


def erase_by_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """A call that was refused is the last word about all before it (A5)."""

    def calls(self: EarlierCalls) -> Iterable[AmbiguousCall]:
        last = self._own[-1] if self._own else None
        if last is not None and self._verdict_of(last) is Verdict.REFUSED:
            return iter(())
        return found(self)

    found = EarlierCalls.ambiguous
    patch.setattr(EarlierCalls, "ambiguous", calls)


def take_another_person_s_entry(patch: pytest.MonkeyPatch) -> None:
    """The journal of a task counts, whoever it is about (A2)."""
    patch.setattr(EarlierCalls, "_own", property(lambda self: list(self.journal.entries)))
    patch.setattr(EarlierCalls, "_verdict_of", lambda self, entry: Verdict(entry.verdicts[0]))


def trust_the_store_of_another_person(patch: pytest.MonkeyPatch) -> None:
    """A mapped task that was about somebody else before sends at once (A2)."""
    patch.setattr(EarlierCalls, "_has_moved", False)


def share_journals_between_accounts(patch: pytest.MonkeyPatch) -> None:
    """Two deployments under one directory read each other's journals (A3)."""
    open_journal = sends_module.open_journal

    def opened(context: Any, **how: Any) -> Any:
        return open_journal(context, **{**how, "account": "any"})

    patch.setattr("airflow_provider_wati.operators._single_send.open_journal", opened)


def ignore_that_a_mapped_task_is_late(patch: pytest.MonkeyPatch) -> None:
    """A mapped task that comes with a Clear counts as new where Airflow does not count the Clear."""
    patch.setattr("airflow_provider_wati.state.sends._is_made_after", lambda *_: False)


def take_unclear_for_absent(patch: pytest.MonkeyPatch) -> None:
    """A message of which WATI lists too little counts as another one."""
    compare = MessageContent.compare

    def compared(self: MessageContent, message: Any) -> Listed:
        listed = compare(self, message)
        return Listed.NO if listed is Listed.UNCLEAR else listed

    patch.setattr(MessageContent, "compare", compared)


def take_unclear_for_accepted(patch: pytest.MonkeyPatch) -> None:
    """A message of which WATI lists too little counts as this one."""

    def decided(listed: Listed, evidence: Evidence, now: datetime, policy: Policy) -> Decision:
        return decide(Listed.YES if listed is Listed.UNCLEAR else listed, evidence, now, policy)

    patch.setattr(single_module, "decide", decided)


def take_words_for_the_message(patch: pytest.MonkeyPatch) -> None:
    """A text that contains the body counts as the message (A6)."""
    compare = MessageContent.compare

    def compared(self: MessageContent, message: Any) -> Listed:
        if self.text and self.text in str(message.get("text")):
            return Listed.YES
        return compare(self, message)

    patch.setattr(MessageContent, "compare", compared)


def resend_without_limit(patch: pytest.MonkeyPatch) -> None:
    """A resend is forgotten, so that each attempt allows another one."""
    record = Journal.record_intent

    def recorded(self: Journal, people: Iterable[int], **what: Any) -> Entry:
        return record(self, people, **{**what, "resend": False})

    patch.setattr(Journal, "record_intent", recorded)


def read_the_newest_conversation_only(patch: pytest.MonkeyPatch) -> None:
    """A conversation that was solved since is not read (A6)."""
    patch.setattr(ConversationIndex, "_conversations", lambda self: iter([(self._target, True)]))


def trust_the_worker_s_clock(patch: pytest.MonkeyPatch) -> None:
    """The clocks of WATI and the worker are taken for the same (A6)."""

    def look(self: ConversationIndex, search: Search) -> Any:
        self._client._transport.server_clock_offset = None
        return looked(self, search)

    looked = ConversationIndex.look
    patch.setattr(ConversationIndex, "look", look)
    patch.setattr("airflow_provider_wati.client.transport.Transport._compare_clocks", lambda *_: None)


def ignore_what_cannot_be_read(patch: pytest.MonkeyPatch) -> None:
    """A conversation that cannot be read counts as read."""

    def look(self: ConversationIndex, search: Search) -> Any:
        return replace(looked(self, search), readable=True)

    looked = ConversationIndex.look
    patch.setattr(ConversationIndex, "look", look)


Break = Callable[[pytest.MonkeyPatch], None]
#: What is broken, and the history at which the search begins: one that fails, while histories stay as they are.
TWICE: tuple[tuple[Break, int], ...] = (
    (write_no_intent, 0),
    (wait_for_nothing, 7),
    (wait_from_the_beginning_of_a_call, 77),
    (wait_for_no_lost_journal, 15),
    (look_since_the_attempt_only, 5),
    (erase_by_a_refusal, 2),
    (trust_the_store_of_another_person, 15),
    (ignore_that_a_mapped_task_is_late, 204),
    (take_unclear_for_absent, 26),
    (resend_without_limit, 280),
    (read_the_newest_conversation_only, 38),
    (trust_the_worker_s_clock, 12),
    (ignore_what_cannot_be_read, 26),
)
UNTRUE: tuple[tuple[Break, int], ...] = (
    (take_another_person_s_entry, 51),
    (share_journals_between_accounts, 18),
    (take_unclear_for_accepted, 46),
    (take_words_for_the_message, 26),
)


@pytest.mark.parametrize(("break_it", "seed"), TWICE)
def test_a_send_that_is_broken_on_purpose_sends_twice(break_it: Break, seed: int) -> None:
    """Each care that is taken away lets somebody be sent to twice in one of the histories."""
    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        assert finds(MessagedTwice, seed)


@pytest.mark.parametrize(("break_it", "seed"), UNTRUE)
def test_a_send_that_is_broken_on_purpose_is_green_for_nothing(break_it: Break, seed: int) -> None:
    """Each care that is taken away lets a task be green in one of the histories though nothing has happened."""
    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        assert finds(Untrue, seed, "green, and nothing has happened")


def finds(broken: type[AssertionError], first: int, said: str = "") -> bool:
    """Return whether one of the histories breaks a promise."""
    for seed in (*range(first, _SEARCHED), *range(first)):
        try:
            tell(seed)
        except AssertionError as error:
            if isinstance(error, broken) and said in str(error):
                return True
        except (LookupError, TypeError, ValueError):
            continue  # what is broken may break in another way first
    return False
