"""
Random histories of a single send, told by their seed: what can go wrong goes wrong, and promises are held against it.

A history is one task, or several that are mapped, in a loop, under a shared key or in two deployments, over several
attempts with accidents in them, then attempts without any until it ends. The operators, the journal, its stores and the
client are the real ones; WATI, Airflow's store, the directory and the clock are in memory.
"""

from __future__ import annotations

import logging
import random as random_module
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiUnknownOutcomeError
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import WatiCreateContactOperator
from airflow_provider_wati.operators.messages import (
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
    WatiSendTextOperator,
)
from airflow_provider_wati.sending import single as single_module
from airflow_provider_wati.state import sends as sends_module
from airflow_provider_wati.state.directory import StateDirectory
from tests.support.clock import FakeClock
from tests.support.memory_directory import MemoryFiles
from tests.support.send_history import (
    Accident,
    Killed,
    MessagedTwice,
    Task,
    TaskStore,
    TimedOut,
    Untrue,
    quick,
)
from tests.support.wati_model import ALWAYS, SENDS, Fault, Habits, Lag, SentMessage, WatiModel

GRACE = timedelta(seconds=120)
#: Longer than any attempt waits.
ENDLESS = 10 * GRACE
CLEAN_ATTEMPTS = 4
#: Calls of one attempt at the most: six looks at each of three calls.
MOST_CALLS = 400
KINDS = ("text", "text", "text", "file", "file_url", "bare_file", "buttons", "list", "chatbot", "contact")
MOMENTS = ("before a write", "after a write", "before send", "after send", "before look", "after look")
#: A store that cannot be written ends an attempt, and a socket that breaks does not: the client says so.
WRITES = MOMENTS[:2]
PEOPLE = tuple(f"852643187{n:02d}" for n in range(4))


class WorkerClock(FakeClock):
    """
    The clock of a worker, which may differ from WATI's.

    :param true: WATI's.
    :param ahead: seconds.
    """

    def __init__(self, true: FakeClock, ahead: float) -> None:
        super().__init__()
        self._true = true
        self._ahead = timedelta(seconds=ahead)

    def now(self) -> datetime:
        return self._true.now() + self._ahead

    def monotonic(self) -> float:
        return self._true.monotonic()

    def sleep(self, seconds: float) -> None:
        self._true.sleep(seconds)


@dataclass
class Effect:
    """
    Something that truly happened to a person.

    :param send: account, name of the send, person.
    :param content: what the task was asked to send.
    :param attempt: the number of the attempt that did it.
    """

    send: tuple[str, ...]
    content: str
    message: SentMessage
    attempt: int


@dataclass
class Account:
    """One WATI account and the deployment that uses it."""

    name: str
    model: WatiModel
    client: Any
    tasks: list[Task] = field(default_factory=list)


@dataclass
class Attempt:
    """What is known about one attempt, besides what it says."""

    number: int
    account: Account
    task: Task
    person: str
    content: str
    began: datetime
    on_unknown: str = "fail"
    #: When each look began.
    looks: list[datetime] = field(default_factory=list)


def some_faults(random: Random, fails_often: bool) -> Iterator[Fault]:
    """Make up what WATI and the network do wrong in one attempt."""
    chance = random.random
    after = chance() < 0.6
    fails = after and chance() < (0.5 if fails_often else 0.1)
    lost = (
        {"kind": "drop", "after": after, "fails": fails},
        {"kind": "drop", "after": after, "takes": random.choice((30.0, 90.0)), "late": True},
        {"kind": "status", "status": random.choice((500, 502, 504, 408)), "after": after},
        {"kind": "status", "status": 503, "retry_after": random.choice((1.0, 40.0)), "after": after},
        {"kind": "garbage", "body": random.choice(("html", "empty", "null", "envelope")), "after": after},
        {"kind": "cut", "after": after, "fails": fails},
    )
    refused = (
        {"kind": "refused"},
        {"kind": "no_connection", "count": 2},
        {"kind": "status", "status": random.choice((400, 401, 403))},
        {"kind": "status", "status": 429, "count": random.choice((1, 3))},
        {"kind": "status", "status": 429, "retry_after": 50.0},
    )
    reads = random.choice(("messages", "conversations", "channels", "contact", "chatbots"))
    unreadable = (
        {"kind": "drop", "call": reads, "count": 9},
        {"kind": "status", "call": reads, "status": random.choice((403, 429, 500)), "count": 9},
        {"kind": "garbage", "call": reads, "body": random.choice(("html", "null"))},
    )
    for faults, likely in ((lost, 0.6), (refused, 0.35)):
        while chance() < likely:
            chosen: dict[str, Any] = random.choice(faults)
            for call in sorted(SENDS - {"send"}):
                yield Fault(**{"skip": random.choice((0, 0, 0, 1)), "call": call, **chosen})
    if chance() < 0.15:
        yield Fault(**random.choice(unreadable))


def some_habits(random: Random) -> Habits:
    """Make up what WATI lists of messages; most accounts list all there is."""
    plain = random.random() < 0.5
    if plain:
        return Habits()
    forms: list[Callable[[str], str]] = [
        str,
        str.strip,
        lambda text: text.replace("\n", "\r\n"),
        "{} ".format,
    ]
    return Habits(
        failed_word=random.choice(("FAILED", "Undelivered")),
        page_size=random.choice((100, 100, 100, 2)),
        files_as=random.choice(("family", "document", "voice")),
        file_text=random.choice(("caption", "caption", "name", "null")),
        interactive_text=random.choice(("full", "body", "null")),
        text_form=random.choice(forms),
        messages_newest_first=random.random() < 0.6,
    )


def a_lag(random: Random) -> Lag:
    """Make up how late WATI shows a message; now and then it is later than the grace."""
    longest = random.choice((0.0, 0.0, 40.0, 119.0, 119.0, 400.0, ALWAYS.total_seconds()))
    return Lag(first=random.uniform(longest / 2, longest))


@cache
def _pdf() -> str:
    path = Path(tempfile.mkdtemp(prefix="wati-tests-")) / "a.pdf"
    path.write_bytes(b"%PDF-1.4")
    return str(path)


class SingleHistory:
    """
    One history.

    :param seed: tells it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        random_module.seed(seed)
        chance = random.random
        self.clock = FakeClock()
        self.worker = WorkerClock(self.clock, random.choice((0, 0, 0, 120, -120)))
        self.accident = Accident()
        self.files = MemoryFiles(on_write=self._moment)
        self.kind = random.choice(KINDS)
        self.shape = random.choice(("plain", "plain", "plain", "mapped", "mapped", "own key", "loop"))
        if self.kind == "contact" and self.shape == "own key":
            self.shape = "plain"
        self.has_directory = self.shape == "own key" or chance() < 0.45
        #: Airflow 3.3 and later; loops are those of 3.4.
        self.has_store = chance() < (0.5 if self.has_directory else 0.85) or self.shape == "loop"
        #: Airflow 3.4: a Clear discards the store unless told otherwise.
        self.discards = chance() < 0.5
        self.retries = 3 if self.has_directory or self.has_store else 0
        #: Whether Airflow counts a Clear of mapped tasks; 3.1 does not while their run goes on.
        self.counts_clears = not (self.shape == "mapped" and self.has_directory) or seed % 2 > 0
        self.on_unknown = "start" if chance() < 0.2 else "fail"
        #: Whether messages fail often after WATI has taken them.
        self.fails_often = chance() < 0.2
        #: Whether the content has the time in it.
        self.changes = self.kind == "text" and chance() < 0.1
        self.accounts = [self._account("dev")]
        if self.has_directory and chance() < 0.3:
            self.accounts.append(self._account("prod"))
        self.people = list(PEOPLE[: random.choice((2, 3))]) if self.shape == "mapped" else [PEOPLE[0]]
        #: Whether the target is the conversation in place of the person.
        self.by_conversation = self.kind not in ("chatbot", "contact") and chance() < 0.4
        self.effects: list[Effect] = []
        self.attempts = 0
        self.current: Attempt | None = None
        #: How often the journal of a send was discarded, and the attempt before which it was the last time.
        self.discarded: Counter[str] = Counter()
        self.discarded_at: dict[str, int] = {}
        #: Sends of which an attempt was green, with its number.
        self.green: dict[tuple[tuple[str, ...], str], int] = {}
        self.began = self.clock.now()
        self.run_after = self.began - timedelta(seconds=random.choice((0, 0, 3600)))
        #: Whether somebody else has sent the very same message once.
        self.has_identical = False
        self._contents = 0

    def _account(self, name: str) -> Account:
        model = WatiModel(self.clock, some_habits(self.random))
        model.on_moment = self._model_moment
        if self.random.random() < 0.8:
            model.channels = model.channels[:1]
        for person in PEOPLE:
            model.talk_with(person)
        client = model.client(clock=self.worker, max_tries=self.random.choice((1, 2)))
        return Account(name, model, client)

    # The story

    def tell(self) -> None:
        """Live through it."""
        runs = self.random.choice((1, 2)) if self.shape == "own key" else 1
        for run in range(runs):
            self._begin(run)
            for _ in range(self.random.randint(1, 4)):
                done = True
                for account in self.accounts:
                    for task in list(account.tasks):
                        done = self._troubled(account, task) and done
                if done and self.random.random() < 0.6:
                    break
                if self.random.random() < 0.4:
                    self._clear()
            self._end()

    def _begin(self, run: int) -> None:
        # What somebody else sent before the run began is not this send's.
        self.clock.advance(timedelta(minutes=10))
        if self.random.random() < 0.3:
            self.has_identical = True
            for account in self.accounts:
                self._others_write(account, identical=True)
            self.clock.advance(timedelta(minutes=10))
            self.run_after = self.clock.now()
        self.began = self.clock.now()
        count = len(self.people)
        for account in self.accounts:
            if self.shape == "mapped":
                account.tasks = [self._task(run, member=n) for n in range(count)]
            elif self.shape == "loop":
                account.tasks = [self._task(run, loop=n) for n in (0, 1)]
            else:
                account.tasks = [self._task(run)]

    def _task(self, run: int, **where: int) -> Task:
        store = TaskStore(self._moment) if self.has_store else None
        return Task(run, store, self.retries, **where, made=self.worker.now())

    def _between(self, account: Account) -> None:
        """Let time pass, people write and agents work."""
        chance = self.random.random
        self.clock.advance(self.random.choice((0, 0, 0, 5, 60, 119, 1200)))
        if chance() < 0.3:
            self._others_write(account)
        model = account.model
        if chance() < 0.1 and not self.by_conversation:
            for talk in model.talks:
                talk.solved = True
            for person in PEOPLE:
                model.talk_with(person, self.random.choice([str(each["name"]) for each in model.channels]))

    def _others_write(self, account: Account, *, identical: bool = False) -> None:
        """Let an agent and a customer write, with the words of the message in it, or in another kind."""
        now = self.clock.now().isoformat()
        body = self._content(PEOPLE[0])
        words = body if identical else f"As I said: {body}. Yes or No?"
        kind = "text" if not identical else {"text": "text"}.get(self.kind, "interactive")
        for talk in account.model.talks:
            entries = account.model.odd_messages.setdefault(talk.id, [])
            said = {"created": now, "type": kind, "owner": True, "status": "READ"}
            entries.append({"id": f"o{len(entries)}{talk.id}", "text": words, **said})
            entries.append(
                {"id": f"i{len(entries)}{talk.id}", "text": body, **said, "type": "text", "owner": False}
            )
            entries.append({"id": None, "created": now, "event_type": "ticket", "type": None, "text": None})

    def _clear(self) -> None:
        """Clear all tasks, as after a change upstream: people may be in other mapped tasks then."""
        chance = self.random.random
        self.clock.advance(20)
        if self.shape == "mapped":
            self.random.shuffle(self.people)
            if chance() < 0.3:
                absent = [person for person in PEOPLE if person not in self.people]
                self.people += absent[:1]
                if not self.counts_clears:
                    self.random.shuffle(self.people)
        for account in self.accounts:
            if self.shape == "mapped":
                run = account.tasks[0].run
                clears = account.tasks[0].clears
                new = range(len(account.tasks), len(self.people))
                account.tasks += [self._task(run, member=n) for n in new]
                for task in account.tasks[-len(new) :] if new else ():
                    task.clears = clears
            for task in account.tasks:
                task.clears += self.counts_clears
                task.reschedules = 0
                if task.loop and self.discards:
                    task.try_number, task.max_tries = 0, task.retries
                else:
                    task.max_tries = task.try_number + task.retries if task.try_number else task.retries
                if not self.has_directory and (task.store is None or (self.discards and task.store.values)):
                    self._note_discarded(account)
                if task.store is not None and self.discards:
                    task.store.values.clear()
        if self.has_directory and chance() < 0.06 and self.shape != "own key" and self.counts_clears:
            # An own key has nothing else to go by, so that its directory must not be emptied.
            self.files.files.clear()
            for account in self.accounts:
                self._note_discarded(account)
        if chance() < 0.5:
            self.began = self.clock.now()

    def _note_discarded(self, account: Account) -> None:
        self.discarded[account.name] += 1
        self.discarded_at[account.name] = self.attempts

    def _troubled(self, account: Account, task: Task) -> bool:
        self._between(account)
        if self.random.random() < 0.06 and (task.member is None or self.counts_clears):
            # The worker is evicted before the task begins.
            task.try_number += 1
            return False
        account.model.faults = list(some_faults(self.random, self.fails_often))
        account.model.lags = [a_lag(self.random) for _ in range(3)]
        if self.kind == "contact":
            # A contact that WATI never shows would leave the task without its result.
            account.model.lags = [Lag(first=min(lag.first, 400.0)) for lag in account.model.lags]
        accident = Accident()
        # A late mapped task is known by its first attempt, if that opens its journal.
        opens = self.counts_clears or task.try_number > 0
        if self.random.random() < 0.5 and opens:
            error = self.random.choice((Killed, Killed, TimedOut, OSError))
            moment = self.random.choice(WRITES if error is OSError else MOMENTS)
            accident = Accident(moment, self.random.choice((0, 0, 1, 1, 2, 3)), error)
        return self.attempt(account, task, accident)

    def _end(self) -> None:
        """Let everything be well until the send ends, or says for good that it cannot know."""
        for account in self.accounts:
            account.model.faults = []
            account.model.lags = [Lag()]
            for task in account.tasks:
                for _ in range(CLEAN_ATTEMPTS):
                    if self.attempt(account, task, Accident()):
                        break
                    self.clock.advance(ENDLESS)
                else:
                    self._check_that_it_cannot_end(account, task)

    # An attempt

    def attempt(self, account: Account, task: Task, accident: Accident) -> bool:
        """Run one attempt and hold what it says against what is so; return whether it is green."""
        if task.try_number and task.store is not None and self.random.random() < 0.2:
            task.reschedules += 1
        else:
            task.try_number, task.reschedules = task.try_number + 1, 0
            if task.try_number > 1:
                task.made = self.worker.now()
        self.attempts += 1
        self.accident = accident
        member = task.member or 0
        if member >= len(self.people):
            return True  # the mapped task is gone
        person = self.people[member]
        attempt = Attempt(self.attempts, account, task, person, self._content(person), self.clock.now())
        attempt.on_unknown = self.on_unknown
        self.current = attempt
        account.model.calls.clear()
        before = len(account.model.messages)
        error: BaseException | None = None
        try:
            self._execute(attempt)
        except (Killed, TimedOut, OSError, WatiError, AirflowFailException) as raised:
            error = raised
        self.accident = Accident()
        for message in account.model.messages[before:]:
            self._judge(attempt, message)
        if len(account.model.calls) > MOST_CALLS:
            raise Untrue(f"history {self.seed}: {len(account.model.calls)} calls in one attempt")
        self.last_error = error
        if error is None:
            self._check_green(attempt)
        return error is None

    def _execute(self, attempt: Attempt) -> None:
        task = attempt.task
        context = task.context()
        context["dag_run"] = SimpleNamespace(
            clear_number=task.clears, start_date=self.began, run_after=self.run_after, run_type="manual"
        )
        operator = self._operator(attempt)
        operator.__dict__["hook"] = SimpleNamespace(
            client=attempt.account.client, account=attempt.account.name
        )
        operator.__dict__["clock"] = self.worker
        execute: Any = type(operator).execute
        # Airflow wraps it with a warning for calls outside of a task.
        getattr(execute, "__wrapped__", execute)(operator, context)

    def _operator(self, attempt: Attempt) -> WatiOperator:
        target = attempt.person
        if self.by_conversation:
            target = next(talk.id for talk in attempt.account.model.talks if talk.person == target)
        given: dict[str, Any] = {"task_id": "task", "target": target}
        if self.shape == "own key":
            given["send_key"] = "welcome"
        content = attempt.content
        if self.kind == "text":
            return WatiSendTextOperator(text=content, **given)
        if self.kind == "file":
            return WatiSendFileOperator(path=_pdf(), caption=content, **given)
        if self.kind == "file_url":
            return WatiSendFileUrlOperator(file_url="https://x.example/map.png", caption=content, **given)
        if self.kind == "bare_file":
            url = self.random.choice(("https://x.example/a.pdf?a", "https://x.example/a.pdf?b"))
            return WatiSendFileUrlOperator(file_url=url, **given)
        if self.kind == "buttons":
            return WatiSendButtonsOperator(body=content, buttons=["Yes", "No"], header="Order 7", **given)
        if self.kind == "list":
            sections = [{"rows": [{"title": "10:00"}]}]
            return WatiSendListOperator(body=content, button_text="Choose", sections=sections, **given)
        if self.kind == "chatbot":
            return WatiStartChatbotOperator(chatbot_id="bot1", on_unknown=attempt.on_unknown, **given)  # type: ignore[arg-type] # a text
        del given["target"]
        return WatiCreateContactOperator(phone_number=attempt.person, name=content, **given)

    def _content(self, person: str) -> str:
        if self.changes:
            self._contents += 1
            return f"Hello {person}\nIt is {self._contents // 2}"
        return f"Hello {person}\nToday?"

    def _moment(self, moment: str) -> None:
        self.accident.may_happen(moment)

    def _model_moment(self, moment: str) -> None:
        when, _, call = moment.partition(" ")
        self.accident.may_happen(f"{when} {'send' if call in SENDS else 'look'}")

    def looked(self) -> None:
        """Note that a look begins."""
        if self.current is not None:
            self.current.looks.append(self.clock.now())

    # What is so

    def _send(self, attempt: Attempt) -> tuple[str, ...]:
        if self.shape == "own key":
            name = "welcome"
        elif self.shape == "loop":
            name = f"loop {attempt.task.loop}"
        else:
            name = f"run {attempt.task.run}"
        return attempt.account.name, name, attempt.person

    def _judge(self, attempt: Attempt, message: SentMessage) -> None:
        """Hold an effect against those that the person had before."""
        if message.target != attempt.person:
            raise Untrue(f"history {self.seed}: {message.target} in place of {attempt.person}")
        effect = Effect(self._send(attempt), attempt.content, message, attempt.number)
        earlier = [each for each in self.effects if each.send == effect.send]
        self.effects.append(effect)
        if message.failed:
            return
        delivered = [each for each in earlier if not each.message.failed]
        if not delivered or (self.kind == "chatbot" and attempt.on_unknown == "start"):
            return
        said = f"history {self.seed}, attempt {attempt.number}, {effect.send}, {message.at}"
        if len(delivered) > self._most(attempt):
            raise MessagedTwice(f"{said}: {len(delivered) + 1} times")
        for first in delivered:
            self._excuse(attempt, effect, first, said)

    def _most(self, attempt: Attempt) -> float:
        """Return how many messages a person may have before another one is sent."""
        has_memory = self.has_directory or self.has_store
        if not has_memory or (self.changes and self._may_be_out_of_reach(attempt)):
            return float("inf")  # nothing remembers them, or nothing says what they were
        # The store of a mapped task does not know of those that sent to the person before a Clear.
        moves = attempt.task.clears if self.shape == "mapped" and not self.has_directory else 0
        return 1 + self.discarded[attempt.account.name] + moves

    def _may_be_out_of_reach(self, attempt: Attempt) -> bool:
        """Return whether the journal of an earlier call may be gone, or be that of another mapped task."""
        return not self.has_directory or bool(self.discarded[attempt.account.name])

    def _excuse(self, attempt: Attempt, second: Effect, first: Effect, said: str) -> None:
        """Accept a second message only if WATI hid the first one for longer than is waited, and nothing spoke for it."""
        if self.kind == "chatbot":
            raise MessagedTwice(f"{said}: WATI shows no start of a chatbot")
        if self.changes and self._may_be_out_of_reach(attempt):
            return  # where its journal is out of reach, nothing says what was sent
        green = self.green.get((first.send, first.content))
        knows = green is not None and green > self.discarded_at.get(attempt.account.name, 0)
        if knows and (self.has_directory or (self.has_store and self.shape != "mapped")):
            raise MessagedTwice(f"{said}: the journal knew it")
        if self.shape == "loop" and any(each.message.failed for each in self.effects):
            return  # the failed message of another iteration looks like that of this one
        if not attempt.looks:
            raise MessagedTwice(f"{said}: without a look")
        if first.message.listed_at <= attempt.looks[-1]:
            raise MessagedTwice(f"{said}: WATI showed it at {first.message.listed_at}")
        if second.message.at < first.message.at + GRACE:
            raise MessagedTwice(f"{said}: within the grace")

    def _check_green(self, attempt: Attempt) -> None:
        send = self._send(attempt)
        happened = [
            each
            for each in self.effects
            if each.send == send and each.content == attempt.content and not each.message.failed
        ]
        if not happened and not self._is_taken_for_ours(attempt):
            raise Untrue(
                f"history {self.seed}, attempt {attempt.number}, {send}: green, and nothing has happened"
            )
        self.green[send, attempt.content] = attempt.number

    def _is_taken_for_ours(self, attempt: Attempt) -> bool:
        """Return whether another effect looks like this one in WATI; a create asks for no more than a contact."""
        contacts = attempt.account.model.contacts.values()
        if self.kind == "contact":
            return any(each["wa_id"] == attempt.person for each in contacts)
        # Iterations of a loop that say the same to one person look alike in WATI.
        same = [each for each in self.effects if each.send[::2] == self._send(attempt)[::2]]
        return self.shape == "loop" and any(each.content == attempt.content for each in same)

    # It ends

    def _check_that_it_cannot_end(self, account: Account, task: Task) -> None:
        """Accept that a send does not end only where it cannot be known whether it has happened."""
        error = self.last_error
        said = str(error)
        habits = account.model.habits
        unclear = (
            habits.file_text != "caption" or habits.interactive_text == "null" or habits.files_as != "family"
        )
        excuses = {
            "does not show such a thing": self.kind == "chatbot",
            "sent again once already": True,
            "does not show enough": unclear
            or self.has_identical
            or self.shape == "loop"
            or self.kind in ("buttons", "list"),
            "a message with other content": self.changes,
        }
        if "already exists" in said and self.current is not None and self._is_taken_for_ours(self.current):
            return  # another iteration has created the contact
        if isinstance(error, (WatiUnknownOutcomeError, WatiConfigurationError, AirflowFailException)):
            if any(words in said and is_so for words, is_so in excuses.items()):
                return
        raise Untrue(f"history {self.seed}: it does not come to an end: {error!r}")


def tell(seed: int) -> SingleHistory:
    """
    Live through a history.

    :raises AssertionError: when a promise is broken; it names the history.
    """
    history = SingleHistory(seed)
    look = single_module.SingleSend._look

    def noted(self: Any, calls: Any) -> Any:
        history.looked()
        return look(self, calls)

    def directory(_: object) -> StateDirectory | None:
        return StateDirectory("mem://state") if history.has_directory else None

    logging.disable(logging.CRITICAL)
    try:
        with pytest.MonkeyPatch.context() as patch, quick(patch):
            patch.setattr(single_module.SingleSend, "_look", noted)
            # Half as many looks as there would be, the last one after the grace as well.
            patch.setattr(single_module, "POLL_INTERVAL", GRACE / 4)
            patch.setattr(WatiOperator, "log", logging.getLogger("tests"))
            patch.setattr(sends_module, "state_directory", directory)
            history.files.install(patch)
            history.tell()
    except BaseException as error:
        error.add_note(f"This is history {seed}.")
        raise
    finally:
        logging.disable(logging.NOTSET)
    return history
