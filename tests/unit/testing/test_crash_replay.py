from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airflow_provider_wati.testing import CallSite, Crash, Message, ReplayError
from airflow_provider_wati.testing._comparison import compare
from airflow_provider_wati.testing._histories import ContactState, Outcome
from airflow_provider_wati.testing.crash_replay import plan

ADA = Message(
    phone="12025550143",
    kind="text",
    text="Hello",
    template=None,
    params={},
    campaign=None,
    status="sent",
    created=datetime(2026, 11, 3, tzinfo=UTC),
    id="1",
    channel="Default",
)
BEN = replace(ADA, phone="12025550144")
WRITE = CallSite(1, "POST", "/conversations/messages/text", "send, attempt 1", "dags/shop.py:3 in send")
READ = replace(WRITE, number=2, method="GET", site="dags/shop.py:4 in send")
CONTACT = ContactState("12025550143", "Ada", (), (), True, ())


def outcome(
    *messages: Message, state: str = "success", contacts: tuple[ContactState, ...] = (CONTACT,)
) -> Outcome:
    return Outcome(
        calls=[WRITE],
        states={"send": state},
        errors={} if state == "success" else {"send": "WatiError: no"},
        messages=list(messages),
        senders=["send"] * len(messages),
        contacts=list(contacts),
        struck=WRITE,
        was_killed=True,
    )


def kinds(calls: list[CallSite], only: str | None = None) -> list[tuple[int, str]]:
    return [(strike.number, strike.crash.name) for strike in plan(calls, only)]


def test_a_write_crashes_in_every_way_and_a_read_in_one() -> None:
    """Each call that writes gets all crashes, a line that reads gets one, and the last call of a task one more."""
    ways = ["BEFORE", "UNANSWERED", "ANSWERED", "DROPPED"]
    assert kinds([WRITE, READ, replace(READ, number=3)]) == [
        *((1, way) for way in ways),
        (2, "ANSWERED"),
        (3, "RETURNED"),
    ]


def test_every_call_crashes_in_every_way_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """With WATI_REPLAY=all no call and no way is left out."""
    monkeypatch.setenv("WATI_REPLAY", "all")
    assert len(kinds([WRITE, READ, replace(READ, number=3)])) == 13


def test_only_the_calls_of_one_task_crash() -> None:
    """Of a task that is replayed, also of a mapped one, only its own calls crash; a trigger does not return."""
    other = replace(WRITE, number=2, task="other[0], attempt 1")
    trigger = replace(READ, number=3, task="other, its trigger", is_in_task=False)
    assert {number for number, _ in kinds([WRITE, other, trigger], "other")} == {2, 3}
    assert (3, "RETURNED") not in kinds([WRITE, other, trigger], "other")


def test_a_call_after_the_return_takes_nothing_from_the_task() -> None:
    """A task returns after its own last call, also if a callback calls later, and also one that is called a trigger."""
    callback = replace(WRITE, number=2, is_in_task=False)
    assert [number for number, way in kinds([WRITE, callback]) if way == "RETURNED"] == [1]
    named = replace(WRITE, task="trigger_reminder, attempt 1")
    assert (1, "RETURNED") in kinds([named])


def judged(crashed: Outcome, *may_stop: str) -> tuple[int, int]:
    history = compare(outcome(ADA, BEN), crashed, Crash.BEFORE, lambda message: message.phone, may_stop)
    return len(history.twice), len(history.forgotten)


@pytest.mark.parametrize(
    ("crashed", "twice", "forgotten"),
    [
        (outcome(BEN, ADA), 0, 0),
        (outcome(ADA, ADA, BEN), 1, 0),
        (outcome(ADA), 0, 1),
        (outcome(ADA, ADA), 1, 1),
        (outcome(ADA, BEN, replace(ADA, phone="1")), 1, 0),
        (outcome(ADA, BEN, state="failed"), 0, 1),
        (outcome(ADA, BEN, contacts=(CONTACT, CONTACT)), 1, 0),
        (outcome(ADA, BEN, contacts=()), 0, 1),
        (outcome(ADA, BEN, contacts=(replace(CONTACT, name="Eva"),)), 0, 1),
    ],
)
def test_a_run_with_a_crash_is_held_against_the_one_without(
    crashed: Outcome, twice: int, forgotten: int
) -> None:
    """More than without the crash is twice, less is forgotten; so are a failed run and other contacts."""
    assert judged(crashed) == (twice, forgotten)


def test_a_task_that_may_stop_forgets_nobody_and_still_must_not_repeat() -> None:
    """What a task that may stop leaves out is not forgotten; a message that came twice is twice all the same."""
    assert judged(outcome(ADA, state="failed"), "send") == (0, 0)
    assert judged(outcome(ADA, ADA, state="failed"), "send") == (1, 0)
    assert judged(outcome(ADA, state="failed"), "other") == (0, 2)


def test_a_task_that_may_stop_does_not_excuse_another_one() -> None:
    """What another task had to send is forgotten all the same, and so is that of another map index."""
    plain, crashed = outcome(ADA, BEN), outcome(state="failed")
    for other in ("tell", "send[1]"):
        plain.senders = ["send", other]
        history = compare(plain, crashed, Crash.BEFORE, lambda message: message.phone, {"send"})
        [forgotten] = history.forgotten
        assert BEN.phone in forgotten


def test_a_message_that_failed_is_no_first_one() -> None:
    """A message that has failed reached nobody, so one in its place is not twice; two that arrived are."""
    failed = replace(ADA, status="failed")
    table = [((failed, failed), 0), ((failed, ADA), 0), ((ADA, ADA), 1)]
    for plain in (outcome(failed), outcome(ADA)):
        for messages, twice in table:
            history = compare(plain, outcome(*messages), Crash.BEFORE, lambda message: message.phone, ())
            assert (len(history.twice), len(history.forgotten)) == (twice, 0)


def test_a_message_without_a_key_does_not_count() -> None:
    """An alert that a key leaves out is neither twice nor forgotten."""
    history = compare(
        outcome(ADA),
        outcome(ADA, BEN),
        Crash.DROPPED,
        lambda each: None if each.phone == BEN.phone else 1,
        (),
    )
    assert history.is_good


def test_a_run_that_could_not_be_made_is_an_error() -> None:
    """A run that broke, or did not come to the call, proves nothing, and says so."""
    broken = outcome(ADA)
    broken.broken = "no disk"
    with pytest.raises(ReplayError, match="no disk"):
        judged(broken)
    elsewhere = outcome(ADA)
    elsewhere.struck = None
    with pytest.raises(ReplayError, match="its calls differ"):
        judged(elsewhere)


def test_a_crash_that_did_not_happen_is_an_error() -> None:
    """A run whose process was not killed proves nothing; only a lost connection kills none."""
    survived = outcome(ADA, BEN)
    survived.was_killed = False
    with pytest.raises(ReplayError, match="nothing was killed at call 1"):
        judged(survived)
    assert compare(outcome(ADA, BEN), survived, Crash.DROPPED, lambda message: message.phone, ()).is_good
