"""A single send over several attempts, against a world that counts what was done to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConfigurationError,
    WatiRateLimitError,
    WatiUnknownOutcomeError,
)
from airflow_provider_wati.sending.conversation_index import Search, Sighting
from airflow_provider_wati.sending.earlier_calls import EarlierCalls
from airflow_provider_wati.sending.journal import Journal, Start, StoreLimits, start_of
from airflow_provider_wati.sending.reconciler import Listed, Policy
from airflow_provider_wati.sending.single import SingleSend
from airflow_provider_wati.sending.task_facts import TaskFacts
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import SendHooks

ADA, BEN = 1, 2
GRACE, LONGEST = timedelta(seconds=120), timedelta(seconds=35)
#: Longer than anything is waited for.
NEVER = timedelta(days=1)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Message:
    """A message that a person has got."""

    id: str
    person: int
    content: str
    at: datetime
    shown_at: datetime
    failed: bool = False


@dataclass
class World:
    """WATI and the time. What the next calls do is in ``calls``; all others are answered."""

    clock: FakeClock = field(default_factory=FakeClock)
    messages: list[Message] = field(default_factory=list)
    looks: list[Search] = field(default_factory=list)
    unreadable: bool = False
    unclear: bool = False

    def sent_to(self, person: int = ADA) -> int:
        """How many messages a person has got."""
        return sum(message.person == person and not message.failed for message in self.messages)

    def show(self, person: int, search: Search) -> Sighting:
        """Look as the conversation index does."""
        self.looks.append(search)
        if self.unclear:
            return Sighting(Listed.UNCLEAR)
        shown = [
            each
            for each in self.messages
            if each.person == person
            and each.content == search.content
            and each.at >= search.since
            and each.shown_at <= self.clock.now()
            and each.id not in search.known_ids
        ]
        shown.sort(key=lambda each: each.failed)
        if not shown:
            return Sighting(Listed.NO, readable=not self.unreadable)
        message: Any = {"id": shown[0].id}
        return Sighting(Listed.FAILED if shown[0].failed else Listed.YES, message)


@dataclass(kw_only=True)
class Call:
    """
    What one call does.

    :param effect: whether the person gets the message.
    :param error: what the client raises.
    :param hidden: how long WATI hides the message.
    :param takes: how long the call takes.
    :param failed: whether the message fails later.
    """

    effect: bool = True
    error: BaseException | None = None
    hidden: timedelta = timedelta(0)
    takes: timedelta = timedelta(seconds=1)
    failed: bool = False


def lost(**how: Any) -> Call:
    """A call without an answer."""
    return Call(error=WatiUnknownOutcomeError("lost"), **how)


def refused(error: BaseException | None = None) -> Call:
    """A call that WATI refuses."""
    return Call(effect=False, error=error or WatiRateLimitError("429"))


@dataclass
class Task:
    """One task over its attempts."""

    world: World
    store: MemoryStore = field(default_factory=MemoryStore)
    settings: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0

    def attempt(
        self,
        *calls: Call,
        person: int = ADA,
        content: str = "text 1",
        start: Start | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Run one attempt; each of its calls does what ``calls`` say."""
        self.attempts += 1
        plan = list(calls)
        clock = self.world.clock
        journal = Journal(self.store, clock)
        begin = start or start_of(
            has_journal=journal.exists, is_lost=journal.is_lost, may_have_run=self.attempts > 1
        )
        journal.open(person, start=begin)

        def act(hooks: SendHooks) -> dict[str, Any]:
            if not hooks.before_send():
                raise AssertionError("the call was withdrawn")
            call = plan.pop(0) if plan else Call()
            clock.advance(call.takes)
            if call.effect:
                now = clock.now()
                message = Message(
                    f"m{len(self.world.messages)}", person, content, now, now + call.hidden, call.failed
                )
                self.world.messages.append(message)
            if isinstance(call.error, (WatiBadRequestError, WatiRateLimitError)):
                hooks.not_sent()
            if call.error is not None:
                raise call.error
            return {"id": self.world.messages[-1].id}

        given = {**self.settings, **settings}
        look: Any = given.pop("look", lambda search: self.world.show(person, search))
        facts = {
            name: given.pop(name) for name in ("is_mapped", "is_new_member", "is_cleared") if name in given
        }
        earlier = EarlierCalls(
            journal=journal,
            start=begin,
            began=clock.now(),
            person=person,
            content=content,
            policy=Policy(grace=GRACE, timeout=LONGEST),
            task=TaskFacts(run_began=clock.now() - timedelta(hours=1), **facts),
            is_shown=look is not None,
        )
        return SingleSend(earlier=earlier, act=act, look=look, detail_of=dict, clock=clock, **given).run()

    def fails(self, error: type[BaseException], *calls: Call, **settings: Any) -> str:
        """Run one attempt that fails; return what its error says."""
        with pytest.raises(error) as raised:
            self.attempt(*calls, **settings)
        return str(raised.value)


@pytest.fixture
def world() -> World:
    """A world of the test's own."""
    return World()


@pytest.fixture
def task(world: World) -> Task:
    """A task in it."""
    return Task(world)


def test_a_first_attempt_sends_without_a_look(task: Task, world: World) -> None:
    """A new send costs no call beside its own."""
    assert task.attempt() == {"id": "m0"}
    assert (world.sent_to(), world.looks) == (1, [])


def test_an_accepted_message_is_returned(task: Task, world: World) -> None:
    """A later attempt returns the first result, without a call."""
    first = task.attempt()
    assert task.attempt() == first
    assert (world.sent_to(), world.looks) == (1, [])


def test_other_content_after_an_acceptance_is_refused(task: Task, world: World) -> None:
    """A send key that was used for other content is an error, and nothing is sent."""
    task.attempt()
    assert "Give another send_key" in task.fails(WatiConfigurationError, content="text 2")
    assert world.sent_to() == 1


@pytest.mark.parametrize("hidden", [0, 30, 119])
def test_a_lost_answer_is_found_within_the_grace(hidden: int, task: Task, world: World) -> None:
    """What WATI shows within the grace is found by the next attempt, and not sent again."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=hidden)))
    assert task.attempt() == {"id": "m0"}
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


def test_the_grace_counts_from_the_end_of_the_call(task: Task, world: World) -> None:
    """A call that took long is waited for as long as a short one, from its end on (A1)."""
    task.fails(WatiUnknownOutcomeError, lost(takes=timedelta(minutes=5), hidden=timedelta(seconds=119)))
    task.attempt()
    assert world.sent_to() == 1


def test_what_never_appears_is_sent_once_more(task: Task, world: World) -> None:
    """After the grace without contrary evidence the message is sent again, once."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    before = world.clock.now()
    task.attempt()
    assert world.clock.now() - before >= GRACE
    assert world.sent_to() == 1


def test_a_third_call_is_never_made(task: Task, world: World) -> None:
    """Where the answer to the resend is lost too, nothing is sent any more until a person has looked."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    for _ in range(3):
        said = task.fails(WatiUnknownOutcomeError)
        world.clock.advance(GRACE)
    assert "sent again once already" in said
    assert world.sent_to() == 1


@pytest.mark.parametrize("error", [WatiRateLimitError("429"), WatiBadRequestError("400")])
def test_a_refusal_costs_no_look(error: Exception, task: Task, world: World) -> None:
    """A call that certainly had no effect leaves nothing ambiguous behind."""
    task.fails(type(error), refused(error))
    task.attempt()
    assert (world.sent_to(), world.looks) == (1, [])


def test_a_refusal_erases_no_older_ambiguous_call(task: Task, world: World) -> None:
    """The first call takes effect late, the resend is refused: the third attempt looks again and finds it (A5)."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=GRACE + timedelta(seconds=30)))
    task.fails(WatiRateLimitError, refused())
    world.clock.advance(60)
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


def test_a_refused_resend_does_not_make_room_for_a_third_call(task: Task, world: World) -> None:
    """A refusal between two ambiguous calls does not set the count of resends back."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    task.fails(WatiRateLimitError, refused())
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    task.fails(WatiUnknownOutcomeError)
    assert world.sent_to() == 1


def test_an_unclear_message_is_neither_sent_again_nor_green(task: Task, world: World) -> None:
    """Where WATI does not show enough, the send stays unknown: at most once wins."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    world.unclear = True
    for _ in range(2):
        assert "does not show enough" in task.fails(WatiUnknownOutcomeError)
    assert world.sent_to() == 1


def test_an_unreadable_conversation_proves_nothing(task: Task, world: World) -> None:
    """Absence counts only where everything that may hold the message could be read."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    world.unreadable = True
    assert "cannot be read" in task.fails(WatiUnknownOutcomeError)
    assert world.sent_to() == 1


def test_a_message_that_failed_is_sent(task: Task, world: World) -> None:
    """A message that WATI lists as failed has not arrived: it is sent, and this is not yet the resend."""
    task.fails(WatiUnknownOutcomeError, lost(failed=True))
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    task.attempt()
    assert world.sent_to() == 1


def test_a_failed_message_counts_for_one_call_only(task: Task, world: World) -> None:
    """The failure of the first message says nothing of the second one, which WATI still hides."""
    task.fails(WatiUnknownOutcomeError, lost(failed=True))
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)))
    task.settings["look"] = lambda search: world.show(ADA, earlier(search))
    assert task.attempt() == {"id": "m1"}
    assert world.sent_to() == 1


def earlier(search: Search) -> Search:
    """Look a minute further back, as for clocks that differ."""
    return replace(search, since=search.since - timedelta(minutes=1))


def test_a_resend_that_failed_says_nothing_of_the_first_call(task: Task, world: World) -> None:
    """The first call had no effect and the second message failed: it is sent, and not held as unclear."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    world.clock.advance(3600)
    task.fails(WatiUnknownOutcomeError, lost(failed=True))
    task.settings["look"] = lambda search: young_is_unclear(world.show(ADA, search), search, world)
    task.attempt()
    assert world.sent_to() == 1


def young_is_unclear(sighting: Sighting, search: Search, world: World) -> Sighting:
    """Say as the index does that a message from after the time of a call may be somebody else's."""
    found = [each for each in world.messages if sighting.message and each.id == sighting.message["id"]]
    return Sighting(Listed.UNCLEAR, sighting.message) if found and found[0].at > search.until else sighting


def test_a_failed_message_of_somebody_else_does_not_end_the_grace(task: Task, world: World) -> None:
    """Another sender's same message failed, and this one is still hidden: it is waited for."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)))
    now = world.clock.now()
    world.messages.append(Message("other", ADA, "text 1", now, now, failed=True))
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


@pytest.mark.parametrize("effect", [True, False])
def test_an_attempt_that_died_is_looked_for(effect: bool, task: Task, world: World) -> None:
    """A process that is gone in the middle of its call leaves an open entry, which is reconciled."""
    task.fails(Killed, Call(error=Killed(), effect=effect, hidden=timedelta(seconds=50)))
    task.attempt()
    assert world.sent_to() == 1


@pytest.mark.parametrize("takes", [timedelta(seconds=90), timedelta(minutes=20)])
def test_a_long_call_that_died_is_waited_for_from_the_next_attempt_on(
    takes: timedelta, task: Task, world: World
) -> None:
    """How long a call was under way is not known, so the grace runs from the attempt after it (A1)."""
    task.fails(Killed, Call(error=Killed(), takes=takes, hidden=timedelta(seconds=100)))
    task.attempt()
    assert world.sent_to() == 1


def test_other_content_of_an_open_call_is_looked_for_first(task: Task, world: World) -> None:
    """A text with the time in it: the first one arrived, so the second one is an error and not a second message."""
    task.fails(WatiUnknownOutcomeError, lost())
    task.fails(WatiConfigurationError, content="text 2")
    task.fails(WatiConfigurationError, content="text 2")
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


def test_another_person_is_another_send(task: Task, world: World) -> None:
    """An entry about somebody else proves nothing: a target that changes between attempts gets its own message."""
    task.attempt(person=BEN)
    task.attempt(person=ADA)
    assert (world.sent_to(ADA), world.sent_to(BEN)) == (1, 1)


# The journal is gone


def test_a_lost_journal_waits_for_the_grace(task: Task, world: World) -> None:
    """Without a journal the run's whole time is looked through, until the grace is over."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)))
    task.store = MemoryStore()
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


def test_a_lost_journal_is_looked_behind_by_each_later_attempt(task: Task, world: World) -> None:
    """An attempt that dies while it looks does not hide from the next one how far back it has to look."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)))
    world.clock.advance(90)
    task.store = MemoryStore()

    def die(search: Search) -> Sighting:
        raise Killed

    task.fails(Killed, look=die)
    assert task.attempt() == {"id": "m0"}
    assert world.sent_to() == 1


def test_a_lost_journal_allows_one_call(task: Task, world: World) -> None:
    """The send after a lost journal counts as the resend: where its answer is lost too, there is no third."""
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    task.store = MemoryStore()
    task.fails(WatiRateLimitError, refused())
    task.fails(WatiUnknownOutcomeError, lost(hidden=NEVER))
    task.fails(WatiUnknownOutcomeError)
    assert world.sent_to() == 2


def test_a_failed_message_says_nothing_of_other_calls_without_a_journal(task: Task, world: World) -> None:
    """The first call failed and the second one is hidden: without their journal, both may have been made."""
    task.fails(WatiUnknownOutcomeError, lost(failed=True))
    task.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)))
    task.store = MemoryStore()
    assert task.attempt() == {"id": "m1"}
    assert world.sent_to() == 1


def test_a_first_send_under_an_own_key_looks_at_nothing(task: Task, world: World) -> None:
    """A key of the user's own has its journal in the state path: where it has none, nothing was sent (A4)."""
    world.messages.append(Message("other", ADA, "text 1", world.clock.now(), world.clock.now()))
    task.attempt(start=Start.UNCERTAIN)
    assert (world.sent_to(), world.looks) == (2, [])


# Mapped tasks


def mapped(world: World, count: int = 2, *, has_siblings: bool = True) -> list[Task]:
    """Make mapped tasks; with siblings they read each other's journals, as under a state path."""
    stores = [MemoryStore(limits=StoreLimits(has_siblings=has_siblings)) for _ in range(count)]
    for store in stores:
        store.siblings = Siblings(store, stores if has_siblings else [])
    return [Task(world, store, {"is_mapped": True}) for store in stores]


class Siblings(list[str]):
    """The records of all stores but one, as they are when they are read."""

    def __init__(self, own: MemoryStore, stores: list[MemoryStore]) -> None:
        super().__init__()
        self._others = [store for store in stores if store is not own]

    def __iter__(self) -> Iterator[str]:
        return (text for store in self._others for text in store.records)


with_or_without_siblings = pytest.mark.parametrize("has_siblings", [True, False], ids=["state_path", "store"])


@with_or_without_siblings
def test_people_who_change_their_mapped_task_have_one_message_each(world: World, has_siblings: bool) -> None:
    """Ada was sent to, Ben got a 429; then they change places: Ada gets nothing more, and Ben his message (A2)."""
    first, second = mapped(world, has_siblings=has_siblings)
    first.attempt(person=ADA)
    second.fails(WatiRateLimitError, refused(), person=BEN)
    first.attempt(person=BEN)
    second.attempt(person=ADA)
    assert (world.sent_to(ADA), world.sent_to(BEN)) == (1, 1)
    assert (world.looks == []) is has_siblings


@with_or_without_siblings
def test_an_open_call_of_another_mapped_task_is_waited_for(world: World, has_siblings: bool) -> None:
    """The answer about Ada was lost in the other mapped task: the task that has her now waits for the grace too."""
    first, second = mapped(world, has_siblings=has_siblings)
    second.attempt(person=BEN)
    first.fails(WatiUnknownOutcomeError, lost(hidden=timedelta(seconds=100)), person=ADA)
    assert second.attempt(person=ADA) == {"id": "m1"}
    assert world.sent_to(ADA) == 1


def test_an_open_resend_of_another_mapped_task_is_the_last_call(world: World) -> None:
    """The count of resends goes with the person from one mapped task to the other."""
    first, second = mapped(world)
    second.attempt(person=BEN)
    first.fails(WatiUnknownOutcomeError, lost(effect=False), person=ADA)
    first.fails(WatiUnknownOutcomeError, lost(hidden=NEVER), person=ADA)
    second.fails(WatiUnknownOutcomeError, person=ADA)
    assert world.sent_to(ADA) == 1


def test_a_mapped_task_that_is_new_trusts_the_journals_of_the_others(world: World) -> None:
    """In a cleared run a task that was not there before learns from the others' journals, without a look."""
    first, second, third = mapped(world, 3)
    first.attempt(person=ADA)
    assert second.attempt(person=ADA, start=Start.LOST, is_new_member=True) == {"id": "m0"}
    third.attempt(person=BEN, start=Start.LOST, is_new_member=True)
    assert (world.sent_to(ADA), world.sent_to(BEN), world.looks) == (1, 1, [])


def test_a_mapped_task_that_is_new_looks_where_the_journals_are_gone(world: World) -> None:
    """Journals that were begun after all of them were discarded say nothing about what was sent before."""
    first, second = mapped(world)
    first.attempt(person=ADA)
    first.store.records.clear()
    first.attempt(person=BEN)
    assert second.attempt(person=ADA, start=Start.LOST, is_new_member=True) == {"id": "m0"}
    assert world.sent_to(ADA) == 1


def test_two_messages_to_one_person_may_change_places(world: World) -> None:
    """Each is known by its content, also where one of them was refused at first."""
    first, second, third = mapped(world, 3)
    first.attempt(content="text 1")
    second.fails(WatiRateLimitError, refused(), content="text 2")
    third.attempt(person=BEN)
    third.attempt(content="text 2")
    first.attempt(content="text 2")
    second.attempt(content="text 1")
    assert world.sent_to() == 2


def test_a_person_who_has_moved_does_not_get_changed_content_as_well(world: World) -> None:
    """A text with the time in it: the other mapped task has sent another one, which may be this message."""
    first, second = mapped(world)
    first.attempt(content="It is 10:00")
    second.attempt(person=BEN)
    second.fails(WatiConfigurationError, content="It is 10:05")
    assert world.sent_to() == 1


def test_two_messages_to_one_person_under_an_own_key(world: World) -> None:
    """Mapped tasks of a first run under a key of the user's do not take each other's messages for changed ones."""
    first, second = mapped(world)
    first.attempt(content="text 1", start=Start.UNCERTAIN)
    second.attempt(content="text 2", start=Start.UNCERTAIN)
    assert world.sent_to() == 2


def test_the_same_text_to_one_person_in_two_mapped_tasks_is_two_messages(world: World) -> None:
    """The message of the other mapped task is accounted for, so it is not taken for the one whose answer was lost."""
    first, second = mapped(world)
    second.fails(WatiUnknownOutcomeError, lost(effect=False), person=ADA)
    first.attempt(person=ADA)
    second.attempt(person=ADA)
    assert world.sent_to(ADA) == 2


# What WATI does not show


def test_what_wati_does_not_show_stays_unknown(task: Task, world: World) -> None:
    """A chatbot start whose answer was lost is not made again, and nothing is waited for."""
    task.fails(WatiUnknownOutcomeError, lost(), look=None)
    before = world.clock.now()
    assert "does not show such a thing" in task.fails(WatiUnknownOutcomeError, look=None)
    assert (world.sent_to(), world.clock.now()) == (1, before)


def test_the_user_may_have_it_sent_all_the_same(task: Task, world: World) -> None:
    """``acts_when_unknown`` sends at once, though WATI does not show whether the first call had its effect."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False), look=None)
    task.attempt(look=None, acts_when_unknown=True)
    task.attempt(look=None, acts_when_unknown=True)
    assert world.sent_to() == 1


def test_a_chatbot_that_was_refused_is_started_by_the_next_attempt(task: Task, world: World) -> None:
    """A refusal is no reason to hold a start, also where WATI shows none."""
    task.fails(WatiBadRequestError, refused(WatiBadRequestError("400")), look=None)
    task.attempt(look=None)
    assert world.sent_to() == 1


# Writing


def test_the_intent_is_written_before_the_call(task: Task) -> None:
    """An intent that cannot be written withdraws the call."""
    task.store.fails_after = 1
    task.fails(OSError)
    assert task.world.sent_to() == 0


def test_a_result_that_cannot_be_written_is_looked_for(task: Task, world: World) -> None:
    """The message went out and the journal does not know: the next attempt finds it."""
    task.store.fails_after = 2
    task.fails(OSError)
    task.store.fails_after = None
    task.attempt()
    assert world.sent_to() == 1


def test_looks_become_rarer(task: Task, world: World) -> None:
    """Waiting for the whole grace costs six looks, the last one after its end."""
    task.fails(WatiUnknownOutcomeError, lost(effect=False))
    task.attempt()
    assert [round(pause) for pause in world.clock.sleeps] == [5, 10, 20, 40, 45]
    assert len(world.looks) == 6
