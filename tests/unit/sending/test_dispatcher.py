"""One call for one batch: the intent right before the call, the result right after it, a refusal split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConnectionError,
    WatiError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiValidationError,
)
from airflow_provider_wati.sending.dispatcher import Dispatcher
from airflow_provider_wati.sending.journal import Journal
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.queue import SendQueue
from airflow_provider_wati.sending.row_mapping import RowReader, map_recipient
from airflow_provider_wati.sending.schedule import SendWindow, Timetable
from airflow_provider_wati.tables.phone_numbers import TargetReader
from tests.support.clock import FakeClock
from tests.support.sends import MemoryStore, outcomes_of, people, phone
from tests.support.wati_model import Fault, WatiModel

EVER = 1_000_000


@dataclass
class Setup:
    """A dispatcher with everything around it."""

    model: WatiModel
    store: MemoryStore
    journal: Journal
    queue: SendQueue
    dispatcher: Dispatcher

    def send(self) -> None:
        """Send all rows in one batch."""
        batch = self.queue.next_batch(10_000, 0, resend=False)
        assert batch is not None
        self.dispatcher.send(batch)

    def statuses(self) -> list[str]:
        return [outcome["status"] for outcome in outcomes_of(self.queue)]

    def reasons(self) -> list[str]:
        return [str(outcome["reason"]) for outcome in outcomes_of(self.queue)]

    def verdicts(self) -> list[list[Verdict]]:
        """What the stored journal says, call by call."""
        stored = Journal(self.store, self.model.clock)
        return [[Verdict(verdict) for verdict in entry.verdicts] for entry in stored.entries]

    def messages(self) -> list[int]:
        """How many messages each row's person got."""
        sent = {target: number for (_, target, _), number in self.model.effects().items()}
        return [sent.get(outcome["target"], 0) for outcome in outcomes_of(self.queue)]


def setup(count: int, *, window: SendWindow | None = None, at: datetime | None = None) -> Setup:
    """Have a number of people to send to."""
    clock = FakeClock()
    model, store = WatiModel(clock), MemoryStore()
    journal, queue = Journal(store, clock), SendQueue()
    queue.load(people(count), RowReader(map_recipient, TargetReader(), "key", ["name"]))
    dispatcher = Dispatcher(
        client=model.client(),
        journal=journal,
        queue=queue,
        timetable=Timetable(at, window, clock),
        template_name="order_update",
        campaign_name="orders",
        mark="0123456789abcdef",
        channel=None,
    )
    return Setup(model, store, journal, queue, dispatcher)


# Results


def test_an_accepted_call_is_recorded_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The intent is in the store when the call leaves, and its result when it is over."""
    sent = setup(3)
    seen: list[list[list[Verdict]]] = []
    sent.model.on_moment = lambda moment: seen.append(sent.verdicts())
    sent.send()
    opened, accepted = [[Verdict.OPEN] * 3], [[Verdict.ACCEPTED] * 3]
    assert seen == [opened, opened]
    assert sent.verdicts() == accepted
    assert sent.statuses() == ["accepted"] * 3
    [entry] = sent.journal.entries
    assert entry.campaign_id == sent.model.campaigns[0].id
    assert sent.model.campaigns[0].name == f"0123456789abcdef-{entry.intent.id} orders"
    assert (sent.dispatcher.calls, sent.dispatcher.breaker.lost_in_a_row) == (1, 0)


def test_refused_and_omitted_recipients_of_an_answer() -> None:
    """A refusal inside a 200 is final, and a recipient left out of the answer waits for evidence."""
    sent = setup(4)
    sent.model.faults = [Fault("errors", targets=[phone(1)])]
    sent.send()
    assert sent.statuses() == ["accepted", "rejected", "accepted", "accepted"]
    assert "not on WhatsApp" in sent.reasons()[1]
    sent = setup(4)
    sent.model.faults = [Fault("omit", targets=[phone(2)], after=True)]
    sent.send()
    assert sent.statuses() == ["accepted", "accepted", "unknown", "accepted"]
    assert "left the recipient out" in sent.reasons()[2]
    assert sent.verdicts() == [[Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.OPEN, Verdict.ACCEPTED]]
    assert sent.queue.pending_calls() == {0}


AMBIGUOUS = [
    Fault("drop"),
    Fault("drop", after=True),
    Fault("drop", after=True, takes=30),
    Fault("status", status=500, after=True),
    Fault("status", status=502),
    Fault("status", status=503, after=True, retry_after=7),
    Fault("status", status=408),
    Fault("garbage", after=True),
    Fault("garbage", body="empty", after=True),
    Fault("garbage", body="no_recipients", after=True),
    Fault("cut", after=True),
]


@pytest.mark.parametrize("fault", AMBIGUOUS, ids=lambda fault: f"{fault.kind} {fault.status} {fault.after}")
def test_an_ambiguous_call_leaves_its_people_open_and_is_not_repeated(fault: Fault) -> None:
    """Whatever answer says nothing, a 503 with Retry-After too, the call goes out once."""
    sent = setup(3)
    sent.model.faults = [replace(fault)]
    sent.send()
    assert sent.model.calls == ["send"]
    assert sent.statuses() == ["unknown"] * 3
    assert sent.verdicts() == [[Verdict.OPEN] * 3]
    assert (sent.dispatcher.calls, sent.dispatcher.breaker.lost_in_a_row) == (1, 1)
    assert sent.journal.entries[0].ended_at == sent.model.clock.now()
    assert max(sent.messages()) <= 1


def test_an_answer_ends_the_row_of_lost_ones() -> None:
    """Lost answers count only if they come one after the other."""
    sent = setup(6)
    sent.model.faults = [Fault("drop"), Fault("drop", skip=1)]
    after = 0
    lost = []
    while batch := sent.queue.next_batch(2, after, resend=False):
        sent.dispatcher.send(batch)
        after = batch.rows[-1]
        lost.append(sent.dispatcher.breaker.lost_in_a_row)
    assert lost == [1, 0, 1]


def test_a_429_is_repeated_and_its_intent_taken_back_meanwhile() -> None:
    """Until the call leaves again nobody is open, and all its attempts are one entry."""
    sent = setup(3)
    sent.model.faults = [Fault("status", status=429, retry_after=7, count=2)]
    seen = []
    sent.model.on_moment = lambda moment: seen.append(sent.verdicts()[0][0])
    sent.send()
    assert sent.model.calls == ["send"] * 3
    assert seen == [Verdict.OPEN] * 6
    assert sent.verdicts() == [[Verdict.ACCEPTED] * 3]
    assert len(sent.journal.entries) == 1
    assert sent.dispatcher.calls == 1
    assert sent.messages() == [1, 1, 1]
    assert [sleep for sleep in sent.model.clock.sleeps if sleep] == [7, 7]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=401), WatiAuthenticationError),
        (Fault("status", status=403), WatiPermissionError),
        (Fault("status", status=429, count=EVER), WatiRateLimitError),
        (Fault("no_connection", count=EVER), WatiConnectionError),
    ],
    ids=["401", "403", "429", "no connection"],
)
def test_what_never_took_effect_is_no_call_and_ends_the_attempt(fault: Fault, error: type[WatiError]) -> None:
    """No row is rejected or unknown when nothing can be sent now: each stays to be sent."""
    sent = setup(3)
    sent.model.faults = [replace(fault)]
    with pytest.raises(error):
        sent.send()
    assert sent.statuses() == ["unsent"] * 3
    assert sent.verdicts() == [[Verdict.REFUSED] * 3]
    assert sent.dispatcher.calls == 0


def test_a_journal_that_refuses_the_intent_keeps_the_call_back() -> None:
    """Nothing leaves that is not written down."""
    sent = setup(3)
    sent.store.fails_after = 0
    with pytest.raises(OSError, match="full"):
        sent.send()
    sent.dispatcher.abandon("OSError during the call")
    assert sent.model.calls == []
    assert sent.statuses() == ["unsent"] * 3
    assert sent.dispatcher.calls == 0


def test_an_attempt_that_ends_during_the_call_leaves_its_people_unknown() -> None:
    """A timeout of Airflow's between call and answer is like a lost answer."""
    sent = setup(3)

    def die(moment: str) -> None:
        if moment == "after send":
            raise KeyboardInterrupt

    sent.model.on_moment = die
    with pytest.raises(KeyboardInterrupt):
        sent.send()
    sent.dispatcher.abandon("KeyboardInterrupt during the call")
    assert sent.statuses() == ["unknown"] * 3
    assert sent.reasons() == ["KeyboardInterrupt during the call"] * 3
    assert sent.verdicts() == [[Verdict.OPEN] * 3]
    assert sent.dispatcher.calls == 1


@pytest.mark.parametrize("fault", [Fault("status", status=429, retry_after=9), Fault("no_connection")])
def test_an_attempt_that_ends_while_a_call_waits_leaves_nobody_unknown(fault: Fault) -> None:
    """A call that certainly did not take effect is not called unknown because the attempt ends."""
    sent = setup(3)
    sent.model.faults = [replace(fault)]

    def die(seconds: float) -> None:
        raise KeyboardInterrupt

    sent.model.clock.sleep = die  # type: ignore[method-assign] # the pause before the next attempt
    with pytest.raises(KeyboardInterrupt):
        sent.send()
    sent.dispatcher.abandon("KeyboardInterrupt during the call")
    assert sent.statuses() == ["unsent"] * 3
    assert sent.dispatcher.calls == 0


# Splitting


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1_000])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_row_that_draws_a_400_costs_twice_the_logarithm_of_calls(count: int, place: str) -> None:
    """The batch is halved until the row stands alone, and everybody else is accepted once."""
    sent = setup(count)
    bad = {"first": 0, "middle": count // 2, "last": count - 1}[place]
    sent.model.faults = [Fault("bad_row", targets=[phone(bad)], count=EVER)]
    sent.send()
    expected = ["accepted"] * count
    expected[bad] = "rejected"
    assert sent.statuses() == expected
    assert sent.messages() == [int(n != bad) for n in range(count)]
    assert len(sent.model.calls) <= 2 * math.ceil(math.log2(count)) + 1


@pytest.mark.parametrize("bad", [[0, 1], [0, 63], [5, 6, 40, 41, 63], list(range(0, 64, 7))], ids=str)
def test_several_rows_that_draw_a_400_stand_alone_at_the_end(bad: list[int]) -> None:
    """Each bad row costs about twice the logarithm, and no good row is rejected."""
    sent = setup(64)
    sent.model.faults = [Fault("bad_row", targets=[phone(n) for n in bad], count=EVER)]
    sent.send()
    assert sent.statuses() == ["rejected" if n in bad else "accepted" for n in range(64)]
    assert sent.messages() == [int(n not in bad) for n in range(64)]
    assert len(sent.model.calls) <= len(bad) * 13 + 2


@pytest.mark.parametrize("count", [2, 3, 4, 10, 1_000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["status", "refused"])
def test_a_refusal_meant_for_all_costs_a_bounded_number_of_calls(count: int, kind: str) -> None:
    """A template error, say, is not asked about row by row."""
    sent = setup(count)
    sent.model.faults = [Fault(kind, status=400, count=EVER)]
    sent.send()
    assert set(sent.statuses()) <= {"rejected", "unsent"}
    assert sent.statuses()[0] == sent.statuses()[-1] == "rejected"
    assert len(sent.model.calls) <= 22
    assert sent.messages() == [0] * count
    assert all(verdict is Verdict.REFUSED for call in sent.verdicts() for verdict in call)


@pytest.mark.parametrize("good", [[63], [40, 63], list(range(10, 64))], ids=str)
def test_rows_behind_a_beginning_full_of_bad_ones_are_sent(good: list[int]) -> None:
    """Bad rows in a row keep nobody from the message, as long as the last row is right."""
    sent = setup(64)
    bad = [n for n in range(64) if n not in good]
    sent.model.faults = [Fault("bad_row", targets=[phone(n) for n in bad], count=EVER)]
    sent.send()
    assert [n for n, status in enumerate(sent.statuses()) if status == "accepted"] == good
    assert set(sent.statuses()) <= {"accepted", "rejected", "unsent"}
    assert sent.messages() == [int(n in good) for n in range(64)]


@pytest.mark.parametrize(("count", "good"), [(69, 17), (11, 0)])
def test_samples_are_taken_of_the_last_rows_of_a_batch(count: int, good: int) -> None:
    """Where the refusals reach their number with one or two rows left, each of these is asked about and rejected."""
    sent = setup(count)
    sent.model.faults = [Fault("bad_row", targets=[phone(n) for n in range(good, count)], count=EVER)]
    sent.send()
    assert sent.statuses() == ["accepted"] * good + ["rejected"] * (count - good)


def test_a_400_in_the_middle_of_a_split_that_is_lost_stays_open() -> None:
    """Half of a split batch whose answer is lost waits for evidence; the rest goes on."""
    sent = setup(4)
    sent.model.faults = [Fault("status", status=400, count=1), Fault("drop", after=True, count=1)]
    sent.send()
    assert sent.statuses() == ["unknown", "unknown", "accepted", "accepted"]
    assert sent.verdicts() == [
        [Verdict.REFUSED] * 4,
        [Verdict.OPEN] * 2,
        [Verdict.ACCEPTED] * 2,
    ]
    assert sent.messages() == [1, 1, 1, 1]


# Times


def test_a_schedule_is_asked_for_at_its_time() -> None:
    """The intent holds the due time that WATI is told."""
    due = FakeClock().now() + timedelta(hours=2)
    sent = setup(2, at=due)
    sent.send()
    assert sent.journal.entries[0].intent.due == sent.model.campaigns[0].due == due
    assert sent.dispatcher.scheduled_for == due


def test_a_window_that_closes_while_the_call_waits_withdraws_it() -> None:
    """A call that would leave outside the window is made again as a schedule, before anything is written."""
    sent = setup(2, window=SendWindow.parse(("06:00", "06:21", "UTC")))
    wait: Callable[..., Any] = sent.dispatcher.client._transport._pacer.wait

    def slow(group: Any) -> None:
        wait(group)
        if not sent.model.calls and sent.model.clock.now().minute == 20:
            sent.model.clock.advance(60)

    sent.dispatcher.client._transport._pacer.wait = slow  # type: ignore[method-assign] # a turn that comes late
    sent.send()
    assert sent.statuses() == ["accepted", "accepted"]
    [campaign] = sent.model.campaigns
    assert campaign.due == datetime.fromisoformat("2026-11-04T06:00:00+00:00")
    assert sent.verdicts() == [[Verdict.ACCEPTED] * 2]
    assert (len(sent.journal.entries), sent.dispatcher.calls) == (1, 1)


def test_a_time_that_passes_while_the_call_waits_is_refused() -> None:
    """What was to be sent at a time that is past is not sent at once instead."""
    sent = setup(2, at=FakeClock().now() + timedelta(seconds=5))
    sent.model.faults = [Fault("status", status=429, retry_after=10)]
    with pytest.raises(WatiValidationError, match="in the past"):
        sent.send()
    sent.dispatcher.abandon("WatiValidationError during the call")
    assert sent.statuses() == ["unsent"] * 2
    assert sent.model.calls == ["send"]
    assert sent.messages() == [0, 0]


def test_a_row_that_was_refused_is_rejected_also_when_the_journal_is_full() -> None:
    """What WATI answered counts for this attempt, and the call is counted once."""
    sent = setup(2)
    sent.model.faults = [Fault("errors", targets=[phone(0)])]
    sent.store.fails_after = 1
    with pytest.raises(OSError, match="full"):
        sent.send()
    sent.dispatcher.abandon("OSError during the call")
    assert sent.statuses() == ["rejected", "accepted"]
    assert sent.dispatcher.calls == 1


def test_an_attempt_that_ends_as_its_intent_is_recorded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout between the second intent of a call and the call leaves nobody unknown."""

    class TimeoutOfAirflow(BaseException):
        pass

    def record(self: Journal, *what: Any, **more: Any) -> Any:
        entry = recorded(self, *what, **more)
        if len(records := [*intents, entry]) == 2:
            raise TimeoutOfAirflow
        intents[:] = records
        return entry

    intents: list[Any] = []
    recorded = Journal.record_intent
    monkeypatch.setattr(Journal, "record_intent", record)
    sent = setup(1)
    sent.model.faults = [Fault("status", status=429, retry_after=1.0)]
    with pytest.raises(TimeoutOfAirflow):
        sent.send()
    sent.dispatcher.abandon("TimeoutOfAirflow during the call")
    assert sent.statuses() == ["unsent"]


def test_a_schedule_that_is_refused_is_none() -> None:
    """The summary names the time of schedules that WATI has."""
    sent = setup(1, at=FakeClock().now() + timedelta(hours=1))
    sent.model.faults = [Fault("status", status=400, count=EVER)]
    sent.send()
    assert sent.dispatcher.scheduled_for is None
