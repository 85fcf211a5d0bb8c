"""What a replay has found: each run with a crash, held against the run without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from airflow_provider_wati.testing._histories import CallSite, Crash, Outcome
from airflow_provider_wati.testing.messages import Message

_MAX_SHOWN = 5

Key = Callable[[Message], Hashable]


class ReplayError(AssertionError):
    """A replay has found somebody who was messaged twice or forgotten, or could not be made."""


@dataclass(frozen=True, slots=True)
class History:
    """
    One run with one crash, held against the run without.

    :param crash: how it crashed.
    :param call: where.
    :param twice: people who got more than without the crash, in words.
    :param forgotten: people who got less, and contacts that are not as they should be, in words.
    :param stopped: tasks that have not succeeded in the end, with what they said.
    :param steps: what happened, in words.
    """

    crash: Crash
    call: CallSite
    twice: tuple[str, ...]
    forgotten: tuple[str, ...]
    stopped: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nobody was messaged twice or forgotten."""
        return not self.twice and not self.forgotten

    def __str__(self) -> str:
        lines = [f"{self.crash.name}: {self.crash.value}", str(self.call)]
        lines += [f"  then: {step}" for step in self.steps]
        lines += [f"  TWICE: {text}" for text in self.twice[:_MAX_SHOWN]]
        lines += [f"  FORGOTTEN: {text}" for text in self.forgotten[:_MAX_SHOWN]]
        lines += [f"  stopped: {text}" for text in self.stopped]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What a replay has found.

    :param name: of the DAG.
    :param calls: the call sites of the run without a crash, in order.
    :param messages: what people get in the run without a crash.
    :param histories: one for each crash, in order.
    :param seconds: how long it took.
    """

    name: str
    calls: tuple[CallSite, ...]
    messages: tuple[Message, ...]
    histories: tuple[History, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def bad(self) -> tuple[History, ...]:
        """The histories in which somebody was messaged twice or forgotten."""
        return tuple(history for history in self.histories if not history.is_good)

    @property
    def twice(self) -> int:
        """How many people were messaged twice, over all histories."""
        return sum(len(history.twice) for history in self.histories)

    @property
    def forgotten(self) -> int:
        """How many people were forgotten, over all histories."""
        return sum(len(history.forgotten) for history in self.histories)

    def __str__(self) -> str:
        lines = [
            f"Replay of {self.name}: {len(self.calls)} calls, {len(self.histories)} crashes, "
            f"{self.twice} twice, {self.forgotten} forgotten ({self.seconds:.1f} s)."
        ]
        lines += [f"\n{history}" for history in self.bad[:_MAX_SHOWN]]
        if len(self.bad) > _MAX_SHOWN:
            lines.append(f"\nand {len(self.bad) - _MAX_SHOWN} more")
        return "\n".join(lines)


def compare(plain: Outcome, crashed: Outcome, crash: Crash, key: Key, may_stop: Collection[str]) -> History:
    """
    Hold a run with a crash against the one without.

    :raises ReplayError: when it could not be run.
    """
    if crashed.broken is not None or crashed.struck is None:
        reason = crashed.broken or "it has not come to the call: its calls differ from run to run"
        raise ReplayError(f"A run that was to crash ({crash.value}) could not be made: {reason}")
    if crash is not Crash.DROPPED and not crashed.was_killed:
        raise ReplayError(
            f"A run that was to crash ({crash.value}) has not: nothing was killed at {crashed.struck}"
        )
    expected, got = (_count(key, each.messages) for each in (plain, crashed))
    # A message that has failed has reached nobody, so that one in its place is no second one.
    arrived = _count(key, [message for message in crashed.messages if message.status != "failed"])
    shown = {key(message): str(message) for message in (*plain.messages, *crashed.messages)}
    stopped = tuple(
        f"{name} ({crashed.states[name]}): {crashed.errors.get(name, 'it was not run')}"
        for name in crashed.failed
    )
    has_reason = bool(crashed.failed) and all(
        _task_id(name) in may_stop or crashed.states[name] == "upstream_failed" for name in crashed.failed
    )
    # What the tasks that have stopped would have sent is not forgotten; what others had to send is.
    excused = set(crashed.failed) if has_reason else set()
    due = _count(
        key,
        [
            message
            for message, sender in zip(plain.messages, plain.senders, strict=True)
            if sender not in excused
        ],
    )
    forgotten = [
        f"{shown[each]}: {got[each]} instead of {count}" for each, count in due.items() if got[each] < count
    ]
    if not has_reason:
        forgotten += _differences(plain, crashed)
        forgotten += [f"task {text}" for text in stopped]
    twice = [
        f"{shown[each]}: {count} instead of {expected[each]}"
        for each, count in arrived.items()
        if count > expected[each]
    ]
    phones = Counter(contact.phone for contact in crashed.contacts)
    twice += [f"contact {phone} was created {count} times" for phone, count in phones.items() if count > 1]
    return History(crash, crashed.struck, tuple(twice), tuple(forgotten), stopped, tuple(crashed.steps))


def _differences(plain: Outcome, crashed: Outcome) -> Iterator[str]:
    """Yield the contacts that are not as they are without a crash."""
    got = {contact.phone: contact for contact in crashed.contacts}
    for contact in plain.contacts:
        if contact.phone not in got:
            yield f"contact {contact.phone} was not created"
        elif got[contact.phone] != contact:
            yield f"contact {contact.phone} is {got[contact.phone]} instead of {contact}"


def _count(key: Key, messages: Iterable[Message]) -> Counter[Hashable]:
    return Counter(found for found in map(key, messages) if found is not None)


def everything(message: Message) -> Hashable:
    """Return what makes two messages the same, unless the test has a key of its own."""
    params = tuple(sorted(message.params.items()))
    return (message.phone, message.kind, message.template, params, message.text, message.channel)


def _task_id(name: str) -> str:
    return name.partition("[")[0]
