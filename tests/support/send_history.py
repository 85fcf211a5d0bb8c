"""
Random histories of a bulk send, told by their seed: what can go wrong goes wrong, and promises are held against it.

A history is one or several tasks that send under one name or more, over several attempts with accidents in them, then
attempts without any until it ends. The journal, its stores, the client and the job are the real ones; WATI, Airflow's
store, the directory and the clock are in memory. What truly happened is read from the model.
"""

from __future__ import annotations

import json
import random as random_module
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.sending import row_tables as row_tables_module
from airflow_provider_wati.sending.campaign_index import mark_of
from airflow_provider_wati.sending.job import SendJob
from airflow_provider_wati.sending.journal import Start
from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.row_mapping import ColumnMapping, RowMapping, hash_of, map_recipient
from airflow_provider_wati.sending.schedule import SendWindow
from airflow_provider_wati.state import sends as sends_module
from airflow_provider_wati.state.sends import OpenedJournal, open_journal
from airflow_provider_wati.tables.outcomes import SendStatus, failure_of
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from tests.support.clock import FakeClock
from tests.support.memory_directory import MemoryFiles
from tests.support.sends import outcomes_of
from tests.support.task_context import uuid7
from tests.support.wati_model import (
    TEMPLATE,
    CampaignRecord,
    Fault,
    Lag,
    Recipient,
    WatiModel,
    some_habits,
)

Row = dict[str, Any]
#: Mark of the send, person, key.
Whom = tuple[str, str, str]

GRACE = 120.0
#: Longer than any attempt waits.
ENDLESS = 10 * GRACE
CLEAN_ATTEMPTS = 5
MOST_CALLS = 600
LONGEST_ATTEMPT = timedelta(hours=3)
_GRACE = timedelta(seconds=GRACE)


class Killed(BaseException):
    """The process is gone: nothing after this runs, and the next attempt is a new process."""


class TimedOut(BaseException):
    """What Airflow's ``execution_timeout`` raises: the process lives on, and reports what it knows."""


class MessagedTwice(AssertionError):
    """Somebody has a message twice, without the one excuse there is."""


class Untrue(AssertionError):
    """A status, a count or a green task says what is not so."""


@dataclass
class Accident:
    """What happens once, the (``after`` + 1)th time that the attempt comes to a moment."""

    moment: str = ""
    after: int = 0
    error: type[BaseException] = Killed
    happened: bool = False

    def may_happen(self, moment: str) -> None:
        """Raise what ends the attempt, if it is time for it."""
        if moment != self.moment or self.happened:
            return
        self.after -= 1
        if self.after < 0:
            self.happened = True
            raise self.error(moment)


MOMENTS = (
    "reading rows",
    "before a write",
    "after a write",
    "after a write",
    "before send",
    "after send",
    "after send",
    "before campaigns",
    "after campaigns",
    "writing outcomes",
)


def an_accident(random: Random) -> Accident:
    """Make up what ends an attempt before its time; half of them run to their end."""
    if random.random() < 0.5:
        return Accident()
    error = random.choice((Killed, Killed, TimedOut, OSError))
    moment = random.choice(MOMENTS)
    if error is OSError and moment.endswith(("send", "campaigns")):
        # ``requests`` lets none through once a call has left.
        error = TimedOut
    return Accident(moment, random.choice((0, 0, 1, 1, 2, 2, 3, 4, 5, 6)), error)


def some_faults(random: Random, targets: Sequence[str]) -> Iterator[Fault]:
    """Make up what WATI and the network do wrong in one attempt."""
    chance = random.random
    some = [target for target in targets if chance() < 0.4]
    after = chance() < 0.5
    lost = (
        {"kind": "drop", "after": after},
        {"kind": "drop", "after": after, "takes": 30.0},
        {"kind": "status", "status": random.choice((500, 502, 504, 408)), "after": after},
        {"kind": "status", "status": 503, "retry_after": random.choice((1.0, 40.0)), "after": after},
        {
            "kind": "garbage",
            "body": random.choice(("html", "empty", "truncated", "null", "envelope")),
            "after": after,
        },
        {"kind": "cut", "after": after},
    )
    refused = (
        {"kind": "refused"},
        {"kind": "no_connection", "count": 2},
        {"kind": "status", "status": random.choice((400, 401, 403))},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 429, "retry_after": GRACE / 2},
        {"kind": "errors", "targets": some, "count": random.choice((1, 9))},
        {"kind": "omit", "targets": some, "after": after},
        {"kind": "bad_row", "targets": some[:1], "count": 99},
    )
    reads = random.choice(("campaigns", "recipients", "campaign", "campaigns", "templates"))
    unreadable = (
        {"kind": "drop", "call": reads},
        {"kind": "status", "call": reads, "status": random.choice((401, 403, 404, 429, 500))},
        {"kind": "garbage", "call": reads, "body": random.choice(("html", "null"))},
    )
    for faults, likely in ((lost, 0.6), (refused, 0.4), (unreadable, 0.25)):
        while chance() < likely:
            chosen: dict[str, Any] = random.choice(faults)
            counted = {"skip": random.choice((0, 0, 0, 1, 2)), "count": random.choice((1, 1, 2, 6))}
            yield Fault(**{**counted, **chosen})


def a_lag(random: Random) -> Lag:
    """Make up how late WATI shows a campaign; now and then it is later than the grace."""
    if random.random() < 0.4:
        return Lag()
    longest = random.choice((GRACE - 1, GRACE - 1, GRACE / 3, 4 * GRACE))
    first, last = sorted((random.uniform(0, longest), random.choice((longest, random.uniform(0, longest)))))
    if random.random() < 0.3:
        first = last
    return Lag(
        listed=random.choice((0.0, 0.0, random.uniform(0, longest))),
        first=first,
        last=last,
        total_grows=random.random() < 0.5,
    )


@dataclass
class People:
    """Rows that change from one attempt to the next."""

    random: Random
    keyed: bool
    own_ids: bool
    #: As it is: phone numbers of Hong Kong, of Mexico with its two spellings, contact ids, BSUIDs.
    kinds: Sequence[str]
    #: Whether rows are those of a table, with columns, or recipients as dicts.
    is_table: bool = False
    rows: list[Row] = field(default_factory=list)
    _made: int = 0

    def __post_init__(self) -> None:
        self.rows = [self._one() for _ in range(self.random.randint(1, 8))]

    def _one(self) -> Row:
        self._made += 1
        forms = {
            "phone": f"852643187{self._made:02d}",
            "mexican": f"52155123456{self._made:02d}",
            "contact": f"{self._made:024x}",
            "bsuid": f"HK.abc{self._made}",
        }
        row: Row = {
            "target": forms[self.random.choice(self.kinds)],
            "member": self.random.choice((0, 1)),
            "key": None,
        }
        if self.keyed:
            row["key"] = str(1000 + self._made)
            if self.rows and self.random.random() < 0.4:
                row["target"] = self.random.choice(self.rows)["target"]
        return row

    def change(self) -> None:
        """Let rows come, go, repeat, change places and tasks, as a query may give them the next time."""
        chance = self.random.random
        if chance() < 0.4:
            return
        if chance() < 0.4:
            self.random.shuffle(self.rows)
        if chance() < 0.4 and len(self.rows) > 1:
            self.rows.pop(self.random.randrange(len(self.rows)))
        if chance() < 0.3:
            self.rows.insert(self.random.randint(0, len(self.rows)), self._one())
        if chance() < 0.2 and self.rows:
            self.rows.append(dict(self.random.choice(self.rows)))
        if chance() < 0.15:
            bad = self._one()
            bad["wrong"] = True
            self.rows.insert(self.random.randint(0, len(self.rows)), bad)
        if chance() < 0.1 and self.rows:
            # A row that was right is wrong now, and the other way round.
            row = self.random.choice(self.rows)
            row["wrong"] = not row.get("wrong")

    def move(self) -> None:
        """Let people change their mapped task; nobody is in two of them."""
        moved = {(row["target"], row["key"]) for row in self.rows if self.random.random() < 0.3}
        for row in self.rows:
            if (row["target"], row["key"]) in moved:
                row["member"] = 1 - row["member"]

    def gather(self) -> None:
        """Let everybody be in the first mapped task."""
        for row in self.rows:
            row["member"] = 0

    def of(self, member: int | None) -> list[Row]:
        """Return the rows of a mapped task; of all for None."""
        return [row for row in self.rows if member is None or row["member"] == member]

    def as_written(self, rows: Sequence[Row]) -> list[Row]:
        """Write rows as a query or a DAG file gives them in one attempt."""
        return [self._written(row) for row in rows]

    def _written(self, row: Row) -> Row:
        target, params = row["target"], {"name": "Ada", "order_id": row["key"] or "1", "status": "packed"}
        if target.startswith("521") and self.random.random() < 0.5:
            target = target.replace("521", "52", 1)
        if target[:3] in ("852", "521") and self.random.random() < 0.2:
            target = f"+{target[:3]} {target[3:]}"
        if row.get("wrong"):
            del params["status"]
        written: Row = {"target": target, "params": params}
        if self.is_table:
            # Rows of a table have a column for each parameter.
            written = {"target": target, **params}
        if row["key"] is not None:
            spellings: tuple[Any, ...] = (
                row["key"],
                row["key"],
                int(row["key"]),
                Decimal(row["key"]) + Decimal("0.00"),
            )
            written["key"] = self.random.choice(spellings)
        if self.own_ids:
            written["local_message_id"] = f"{self.random.getrandbits(128):032x}"
        return written

    @property
    def targets(self) -> list[str]:
        """The targets as WATI gets them most of the time."""
        return sorted({row["target"] for row in self.rows})


class TaskStore:
    """Stands in for Airflow's store of a task: what it holds has gone through JSON, and outlives the process."""

    def __init__(self, on_write: Callable[[str], None]) -> None:
        self.values: dict[str, str] = {}
        self._on_write = on_write

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        self._on_write("before a write")
        self.values[key] = json.dumps(value)
        self._on_write("after a write")


@dataclass
class Task:
    """
    A task instance, as Airflow counts its attempts.

    :param store: Airflow's store of it; None before Airflow 3.3.
    :param member: the map index; None if it is not mapped.
    :param loop: the iteration of a task loop; None outside one.
    """

    run: int
    store: TaskStore | None
    retries: int
    member: int | None = None
    loop: int | None = None
    try_number: int = 0
    max_tries: int = 0
    reschedules: int = 0
    #: How often the run was cleared, as far as Airflow counts it.
    clears: int = 0
    made: datetime | None = None

    def __post_init__(self) -> None:
        self.max_tries = self.retries

    def context(self) -> Any:
        """Return the context as Airflow gives it to ``execute``."""
        context: dict[str, Any] = {
            "ti": SimpleNamespace(
                dag_id="dag",
                run_id=f"run{self.run}",
                task_id="task",
                map_index=-1 if self.member is None else self.member,
                try_number=self.try_number,
                max_tries=self.max_tries,
                task=SimpleNamespace(retries=self.retries),
                id=self.made and uuid7(self.made),
            ),
            "dag_run": SimpleNamespace(clear_number=self.clears),
            "task_reschedule_count": self.reschedules,
        }
        if self.store is not None:
            context["task_state_store"] = self.store
        if self.loop is not None:
            context["loop"] = SimpleNamespace(index=self.loop)
        return context


@dataclass
class Effect:
    """A message that somebody truly got: the campaign, and the person in it."""

    campaign: CampaignRecord
    recipient: Recipient

    @property
    def shown_at(self) -> datetime:
        """Since when WATI shows it."""
        return max(self.campaign.shown_at, self.recipient.listed_at)

    def is_hidden_from(self, now: datetime) -> bool:
        """Return whether WATI hides it for longer than is waited; a schedule is listed as soon as it is made."""
        if self.campaign.due is not None and now < self.campaign.due:
            return self.campaign.shown_at > self.campaign.at + _GRACE
        return self.shown_at > self.begins + _GRACE

    @property
    def begins(self) -> datetime:
        """From when on WATI can show it."""
        return max(self.campaign.at, self.campaign.due or self.campaign.at)


@dataclass
class Attempt:
    """What is known about one attempt, besides what it says."""

    task: Task
    rows: list[Row]
    started: datetime
    #: How many campaigns there were before it.
    campaigns_before: int
    start: Start = Start.NEW
    #: Hashes of the people whom the journal knew as accepted when it began.
    accepted_before: frozenset[int] = frozenset()
    hold: bool = False
    failed: BaseException | None = None
    #: Whether a later attempt began before this one ended.
    overtaken: bool = False


class History:
    """
    One history.

    :param seed: tells it.
    :param hide_channel: the share of accounts whose list shows nothing for a channel.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        random_module.seed(seed)
        self.clock = FakeClock()
        chance = random.random
        self.accident = Accident()
        self.model = WatiModel(self.clock, some_habits(random))
        self.model.on_moment = self._moment
        self.model.on_spoilt = self._spoilt
        self.client = self.model.client(max_tries=random.choice((1, 2, 3)))
        self.files = MemoryFiles(on_write=self._moment)
        self.shape = random.choice(
            ("plain", "plain", "plain", "own key", "own key", "mapped", "mapped", "loop")
        )
        self.people = People(
            random,
            keyed=chance() < 0.3,
            own_ids=chance() < 0.15,
            kinds=random.choice((["phone"], ["phone"], ["mexican"], ["phone", "contact", "bsuid"])),
        )
        self.people.is_table = seed % 2 == 0 and not self.people.own_ids
        #: Whether the tasks that share a key are mapped.
        self.is_own_and_mapped = self.shape == "own key" and seed % 4 == 3
        self.has_directory = self.shape == "own key" or chance() < 0.4
        #: Airflow 3.3 and later.
        self.has_store = chance() < (0.5 if self.has_directory else 0.8)
        #: Airflow 3.4: a Clear discards the store unless told otherwise.
        self.discards = chance() < 0.5
        self.retries = 3 if self.has_directory or self.has_store else 0
        #: Whether Airflow counts a Clear of mapped tasks; 3.1 does not while their run goes on.
        self.counts_clears = not (self.shape == "mapped" and self.has_directory) or seed % 3 > 0
        self.hold = chance() < 0.15
        self.batch_size = random.randint(1, 4)
        self.timing = random.choice(("now", "now", "now", "now", "scheduled", "window"))
        self.opted_out = self._contacts() if chance() < 0.15 else None
        #: The channel that is sent from; now and then WATI's list does not know it by that name.
        self.channel = "Support" if chance() < 0.1 else None
        if self.channel is not None and chance() < 0.5:
            self.model.habits = replace(self.model.habits, hides_channel=True)
        self.tasks: list[Task] = []
        self._late: Task | None = None
        #: People about whom something was ambiguous.
        self.ambiguous: set[Whom] = set()
        #: How often the journal of a send was discarded, by mark.
        self.discarded: Counter[str] = Counter()
        #: Messages that WATI confirmed to an attempt that ran to its end, by campaign id and recipient id.
        self.confirmed: set[tuple[str, str]] = set()
        self.judged: Counter[Whom] = Counter()
        self.current: Attempt | None = None
        #: What else goes on at a moment.
        self._meanwhile: Callable[[str], None] | None = None

    # The story

    def tell(self) -> None:
        """Live through it."""
        for run in range(self.random.choice((1, 2, 2)) if self.shape == "own key" else 1):
            self.tasks = self._tasks(run)
            for _ in range(self.random.randint(1, 3)):
                done = True
                for task in list(self.tasks):
                    self._one_day()
                    done = self._troubled(task) and done
                if done and self.random.random() < 0.6:
                    break
                self._something_happens()
            if self.random.random() < 0.5 or self.shape != "own key":
                self._end()

    def _tasks(self, run: int) -> list[Task]:
        def task(**where: int) -> Task:
            store = TaskStore(self._moment) if self.has_store else None
            return Task(run, store, self.retries, **where, made=self.clock.now())

        if self.is_own_and_mapped:
            if run:
                self.people.move()
            return [task(member=0), task(member=1)]
        if self.shape == "mapped":
            if self.random.random() < 0.3 or not self.counts_clears:
                # The second one comes with a Clear.
                self._late = task(member=1)
                self.people.gather()
                return [task(member=0)]
            return [task(member=0), task(member=1)]
        if self.shape == "loop":
            return [task(loop=0), task(loop=1)]
        return [task()]

    def _one_day(self) -> None:
        """Let time pass and people tidy the dashboard up between two attempts."""
        chance = self.random.random
        self._pass(self.random.choice((0.0, 0.0, 0.0, 10.0, GRACE, ENDLESS)))
        campaigns = [each for each in self.model.campaigns if not each.copy]
        if campaigns and chance() < 0.08:
            self.model.delete(self.random.choice(campaigns))
        scheduled = [each for each in campaigns if each.due is not None and self.clock.now() < each.due]
        if scheduled and chance() < 0.2:
            self.model.cancel(self.random.choice(scheduled))
        if campaigns and chance() < 0.08:
            campaign = self.random.choice(campaigns)
            self.model.copy(campaign, self.people.targets)

    def _something_happens(self) -> None:
        """Change rows and settings; somebody may clear tasks, with or without their state."""
        chance = self.random.random
        self.people.change()
        if chance() < 0.3:
            self.batch_size = self.random.randint(1, 4)
        if chance() < (0.3 if self.counts_clears else 0.8):
            self._clear()
        if self.has_directory and chance() < 0.06 and self.counts_clears:
            self._empty_directory()

    def _clear(self) -> None:
        """Clear all tasks, as after a change upstream: people may be in other mapped tasks then."""
        self._pass(20.0)
        if self._late is not None:
            self._late.made = self.clock.now()
            self.tasks.append(self._late)
            self._late = None
        self.people.move()
        for task in self.tasks:
            task.clears += self.counts_clears
            task.reschedules = 0
            if task.loop and self.discards:
                # 3.4 makes the later iterations as if they had never been.
                task.try_number, task.max_tries = 0, task.retries
            else:
                task.max_tries = task.try_number + task.retries if task.try_number else task.retries
            if task.store is not None and self.discards:
                if not self.has_directory:
                    self.discarded[self._mark(task)] += bool(task.store.values)
                task.store.values.clear()

    def _empty_directory(self) -> None:
        if any("/wati_send_" in path for path in self.files.files):
            for mark in {self._mark(task) for task in self.tasks}:
                self.discarded[mark] += 1
        self.files.files.clear()

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def _troubled(self, task: Task) -> bool:
        if self.random.random() < 0.08 and (task.member is None or self.counts_clears):
            # The worker is evicted before the task begins.
            task.try_number += 1
            return False
        self.model.faults = list(some_faults(self.random, self.people.targets))
        self.model.lags = [a_lag(self.random) for _ in range(3)]
        if self.has_directory and self.shape == "plain" and self.random.random() < 0.2:
            self._overtake(task)
            return False
        # A late mapped task is known by its first attempt, if that opens its journal.
        opens = self.counts_clears or task.try_number > 0
        return self.attempt(task, an_accident(self.random) if opens else Accident())

    def _overtake(self, task: Task) -> None:
        """Let Airflow take an attempt for dead that lives on: the next one runs while it is about to write."""
        before = self.random.randint(1, 5)

        def may_begin(moment: str) -> None:
            nonlocal before
            before -= moment in ("before a write", "after a write")
            if before == 0:
                before = -1
                older, accident, self._meanwhile = self.current, self.accident, None
                self.attempt(task, Accident())
                self.current, self.accident = older, accident
                if older is not None:
                    older.overtaken = True

        self._meanwhile = may_begin
        self.attempt(task, Accident())
        self._meanwhile = None

    def _end(self) -> None:
        """Let everything be well until the send ends, or say for good that it cannot know."""
        self.model.faults = []
        self.model.lags = [Lag()]
        self._pass(self.random.choice((0.0, ENDLESS)))
        for task in self.tasks:
            for _ in range(CLEAN_ATTEMPTS):
                if self.attempt(task, Accident(), clean=True):
                    break
                self._pass(ENDLESS)
            else:
                self._check_that_it_cannot_end(task)

    # An attempt

    def attempt(self, task: Task, accident: Accident, *, clean: bool = False) -> bool:
        """Run one attempt and hold what it says against what is so; return whether all is done."""
        if task.try_number and task.store is not None and self.random.random() < 0.2:
            task.reschedules += 1
        else:
            task.try_number, task.reschedules = task.try_number + 1, 0
            if task.try_number > 1:
                task.made = self.clock.now()
        if task.store is None and not self.has_directory:
            # What an attempt knew is gone with it.
            self.discarded[self._mark(task)] += task.try_number > 1 or task.reschedules > 0 or task.clears > 0
        self.accident = accident
        rows = self.people.of(task.member)
        attempt = Attempt(task, rows, self.clock.now(), len(self.model.campaigns))
        attempt.hold = self.hold
        self.current = attempt
        self.model.calls.clear()
        done = self._run(attempt)
        self._note_accident(attempt)
        self._nobody_twice(attempt)
        if len(self.model.calls) > MOST_CALLS:
            raise Untrue(f"{len(self.model.calls)} calls in one attempt")
        if self.clock.now() - attempt.started > LONGEST_ATTEMPT:
            raise Untrue(f"an attempt that took {self.clock.now() - attempt.started}")
        self._confirm(attempt, intact=not accident.happened)
        return done

    def _run(self, attempt: Attempt) -> bool:
        written = self.people.as_written(attempt.rows)
        try:
            job = self._job(attempt)
        except (Killed, TimedOut, OSError):
            return False
        except WatiError as error:
            if attempt.overtaken:
                return False
            raise Untrue(f"it cannot begin: {error}") from error

        def read() -> Iterator[Row]:
            for row in written:
                self._moment("reading rows")
                yield row

        try:
            job.run(read())
        except Killed:
            job.close()
            return False
        except (WatiError, OSError, TimedOut) as error:
            attempt.failed = error
        try:
            outcomes = []
            for outcome in outcomes_of(job):
                self._moment("writing outcomes")
                outcomes.append(outcome)
        except (Killed, TimedOut, OSError):
            job.close()
            return False
        self._note_accident(attempt)
        summary = job.summary()
        has_all = job.has_all_rows
        job.close()
        if attempt.overtaken:
            # It stops; what the later one did is not for it to say.
            return False
        self._check_statuses(attempt, written, outcomes, summary, has_all=has_all)
        self._last = outcomes
        green = attempt.failed is None and failure_of(summary, 0.0) is None
        return green or (attempt.failed is None and not any(summary[name] for name in _NOT_DONE))

    def _note_accident(self, attempt: Attempt) -> None:
        if self.accident.happened:
            self.ambiguous.update(self._whom(attempt.task, row) for row in attempt.rows)

    def _job(self, attempt: Attempt) -> SendJob:
        opened = self._open(attempt.task)
        attempt.start = opened.start
        attempt.campaigns_before = len(self.model.campaigns)
        attempt.accepted_before = frozenset(
            person
            for entry in (*opened.journal.entries, *opened.journal.siblings())
            for person in entry.people(Verdict.ACCEPTED)
        )
        settings: dict[str, Any] = {}
        if self.timing == "scheduled":
            settings["scheduled_at"] = self.clock.now() + timedelta(minutes=20)
        elif self.timing == "window":
            settings["send_window"] = SendWindow.parse(("06:30", "05:30", "UTC"))
        return SendJob(
            client=self.client,
            template_name=TEMPLATE,
            campaign_name=self.random.choice(("orders", "orders", "more orders & offers")),
            send_key=opened.identity.send_key,
            family=opened.identity.family,
            journal=opened.journal,
            start=opened.start,
            mapping=self._mapping(),
            task=opened.task,
            batch_size=self.batch_size,
            check_consent=self.opted_out is not None,
            channel=self.channel,
            hold=self.hold,
            unknown_grace=_GRACE,
            clock=self.clock,
            **settings,
        )

    def _mapping(self) -> RowMapping:
        if not self.people.is_table:
            return map_recipient
        return ColumnMapping(
            target_column="target",
            param_columns={name: name for name in ("name", "order_id", "status")},
            key_column="key" if self.people.keyed else None,
        )

    def _open(self, task: Task) -> OpenedJournal:
        return open_journal(
            task.context(),
            send_key="welcome" if self.shape == "own key" else None,
            account="account",
            state_path="mem://state" if self.has_directory else None,
            clock=self.clock,
        )

    def _moment(self, moment: str) -> None:
        if self._meanwhile is not None:
            self._meanwhile(moment)
        self.accident.may_happen(moment)

    def _contacts(self) -> set[str]:
        """Make contacts of the people, some of whom have opted out."""
        opted_out = set()
        for n, target in enumerate(self.people.targets):
            opted_out |= {dedupe_key_of(target)} if self.random.random() < 0.3 else set()
            self.model.contacts[f"c{n}"] = {
                "id": target if len(target) == 24 else f"{n:023x}f",
                "wa_id": target if "." not in target else None,
                "bsuid": target if "." in target else None,
                "allow_broadcast": dedupe_key_of(target) not in opted_out,
            }
        return opted_out

    # What is so

    def _mark(self, task: Task) -> str:
        family = "welcome" if self.shape == "own key" else f"dag/run{task.run}/task"
        return mark_of(family if task.loop is None else f"{family}/loop {task.loop}")

    def _whom(self, task: Task, row: Mapping[str, Any]) -> Whom:
        return self._mark(task), dedupe_key_of(row["target"]), row["key"] or "1"

    def _spoilt(self, recipients: list[Mapping[str, Any]]) -> None:
        for recipient in recipients:
            target = str(recipient.get("target") or recipient["phone_number"])
            params = {param["name"]: param["value"] for param in recipient["custom_params"]}
            if self.current is not None:
                self.ambiguous.add((self._mark(self.current.task), dedupe_key_of(target), params["order_id"]))

    def _effects(self) -> dict[Whom, list[Effect]]:
        effects: dict[Whom, list[Effect]] = defaultdict(list)
        for campaign in self.model.campaigns:
            for recipient in campaign.recipients:
                if campaign.is_sent(recipient):
                    whom = campaign.name[:16], dedupe_key_of(recipient.target), recipient.params["order_id"]
                    effects[whom].append(Effect(campaign, recipient))
        return effects

    def _addressed(self) -> set[Whom]:
        """Return who is in a campaign, whatever became of it."""
        return {
            (campaign.name[:16], dedupe_key_of(each.target), each.params["order_id"])
            for campaign in self.model.campaigns
            for each in campaign.recipients
        }

    def _confirm(self, attempt: Attempt, *, intact: bool) -> None:
        """Note whom an attempt that kept its journal got confirmed."""
        if not intact:
            return
        for campaign in self.model.campaigns[attempt.campaigns_before :]:
            if campaign.answered and not campaign.copy:
                self.confirmed.update(
                    (campaign.id, each.id)
                    for each in campaign.recipients
                    if not (each.refused or each.omitted)
                )

    # Nobody twice

    def _nobody_twice(self, attempt: Attempt) -> None:
        new = {campaign.id for campaign in self.model.campaigns[attempt.campaigns_before :]}
        for whom, effects in self._effects().items():
            for n, effect in enumerate(effects):
                if effect.campaign.id in new:
                    self._judge(attempt, whom, effect, effects[:n])

    def _judge(self, attempt: Attempt, whom: Whom, second: Effect, earlier: list[Effect]) -> None:
        """Hold a message against those that the person had before."""
        if not earlier:
            return
        said = f"history {self.seed}, {attempt.start}, {whom}, {second.campaign.at}"
        mark, person, order = whom
        hashed = hash_of(person, order if self.people.keyed else None)
        if hashed in attempt.accepted_before:
            raise MessagedTwice(f"{said}: the journal knew it")
        if len(earlier) > 1 + self.discarded[mark] + (not self._could_read(attempt)):
            raise MessagedTwice(f"{said}: {len(earlier) + 1} times")
        for first in earlier:
            if not self.discarded[mark] and (first.campaign.id, first.recipient.id) in self.confirmed:
                if self._could_read(attempt):
                    raise MessagedTwice(f"{said}: WATI had confirmed it")
            self._excuse(attempt, second, first, said)

    def _could_read(self, attempt: Attempt) -> bool:
        """Return whether the journals of all that sends are within reach of an attempt."""
        return attempt.task.member is None or self.has_directory

    def _excuse(self, attempt: Attempt, second: Effect, first: Effect, said: str) -> None:
        """Accept a second message only if WATI hid the first one for longer than is waited, and nothing spoke for it."""
        grace_is_waited = not self._is_of_others(attempt)
        # A schedule is listed as soon as it is made, and names people when it is due. One that is not listed within the
        # grace may be taken for lost.
        is_early = first.campaign.due is not None and first.campaign.shown_at > first.campaign.at + _GRACE
        begins = first.campaign.at if is_early else first.begins
        shown_at = first.campaign.shown_at if is_early else first.shown_at
        looked_until = begins + _GRACE if grace_is_waited else min(begins + _GRACE, attempt.started)
        if shown_at <= looked_until:
            raise MessagedTwice(f"{said}: WATI showed it at {shown_at}")
        if not grace_is_waited:
            return
        if second.campaign.at < looked_until:
            raise MessagedTwice(f"{said}: within the grace")
        at, listed = self.model.listing_before(second.campaign.at)
        if attempt.hold and first.campaign.id not in listed:
            raise MessagedTwice(f"{said}: on_unknown is 'hold'")
        reads = [read for read in first.campaign.reads if attempt.started <= read[0] <= second.campaign.at]
        if len(reads) > 1 and reads[-1][1:] != reads[-2][1:] and first.campaign.id in listed:
            raise MessagedTwice(f"{said}: the campaign was growing")
        if (
            at >= attempt.started
            and first.campaign.id not in listed
            and not self.discarded[second.campaign.name[:16]]
        ):
            self._check_control(attempt, second, listed, said)

    def _is_of_others(self, attempt: Attempt) -> bool:
        """Return whether an attempt cannot know that others have sent: no grace is waited then."""
        return attempt.start is Start.UNCERTAIN

    def _check_control(self, attempt: Attempt, second: Effect, listed: frozenset[str], said: str) -> None:
        """Absence proves nothing while the list does not even show the latest campaign that WATI has confirmed."""
        mark, begin = self._mark(attempt.task), attempt.campaigns_before
        looked_at, _ = self.model.listing_before(second.campaign.at)
        confirmed = [
            campaign
            for n, campaign in enumerate(self.model.campaigns)
            if campaign.name.startswith(mark) and campaign.at <= looked_at and campaign is not second.campaign
            if any(id == campaign.id for id, _ in self.confirmed) or (n >= begin and campaign.answered)
            if not all(each.refused or each.omitted for each in campaign.recipients)
        ]
        if confirmed and self.shape != "mapped" and confirmed[-1].id not in listed:
            raise MessagedTwice(f"{said}: the list did not show {confirmed[-1].id} either")

    # Every status true

    def _check_statuses(
        self,
        attempt: Attempt,
        written: list[Row],
        outcomes: list[dict[str, Any]],
        summary: dict[str, Any],
        *,
        has_all: bool,
    ) -> None:
        counts = Counter(outcome["status"] for outcome in outcomes)
        if summary["total"] != len(outcomes) or any(summary[each] != counts[each] for each in SendStatus):
            raise Untrue(f"the counts do not add up: {summary}")
        if len(outcomes) != len(written) and attempt.failed is None:
            raise Untrue(f"{len(outcomes)} outcomes for {len(written)} rows")
        if len(json.dumps(summary)) > 16_000:
            raise Untrue("the summary is too long for an XCom")
        effects, mark = self._effects(), self._mark(attempt.task)
        taken: set[Whom] = set()
        for n, (row, outcome) in enumerate(zip(attempt.rows, outcomes, strict=False), 1):
            whom = self._whom(attempt.task, row)
            where = f"history {self.seed}, {attempt.start}, row {n}: {outcome}, got {len(effects[whom])}"
            if outcome["row"] != n or (outcome["status"] == "accepted") is bool(outcome["reason"]):
                raise Untrue(f"{where}: its number or its reason is wrong")
            # Of several rows for one person, one stands for the message.
            others = taken | {self._whom(attempt.task, other) for other in attempt.rows if other is not row}
            about = taken if outcome["status"] != "invalid" else others
            if not self._is_true(attempt, whom, row, outcome, effects[whom], about, has_all=has_all):
                raise Untrue(where)
            if not row.get("wrong") or outcome["status"] == "accepted":
                taken.add(whom)
        if attempt.failed is None and summary["earlier"] > len(
            {each for each in self._addressed() if each[0] == mark} - taken
        ):
            raise Untrue(f"{summary['earlier']} earlier messages")

    def _is_true(
        self,
        attempt: Attempt,
        whom: Whom,
        row: Row,
        outcome: dict[str, Any],
        effects: list[Effect],
        taken: set[Whom],
        *,
        has_all: bool,
    ) -> bool:
        status, reason = outcome["status"], outcome["reason"] or ""
        if whom in taken and has_all:
            return bool(status == "skipped" or row.get("wrong"))
        if status == "invalid" and not (row.get("wrong") and outcome["target"]):
            return bool(row.get("wrong"))
        if effects and whom[1] in (self.opted_out or ()):
            return False
        if status == "accepted":
            return outcome["campaign_id"] in self._campaigns_of(whom)
        if status == "skipped":
            return whom[1] in (self.opted_out or ()) or self._was_cancelled(whom)
        if status in ("rejected", "unsent", "invalid"):
            # What WATI hid for longer than the grace may be sent again, and refused then.
            now = self.clock.now()
            hidden = all(each.is_hidden_from(now) for each in effects)
            is_lost = whom in self.ambiguous or self.discarded[whom[0]] > 0 or not self._could_read(attempt)
            return not effects or (hidden and is_lost) or self._is_of_others(attempt)
        if attempt.start in (Start.LOST, Start.UNCERTAIN) or (
            self.shape == "mapped" and attempt.task.try_number + attempt.task.reschedules > 1
        ):
            return bool(status == "unknown")
        not_read = attempt.failed is not None and "could not find out" in reason
        return bool(status == "unknown") and (whom in self.ambiguous or not_read)

    def _campaigns_of(self, whom: Whom) -> set[str]:
        """Return the ids of the campaigns that hold a message which was sent, or would have been."""
        return {
            campaign.id
            for campaign in self.model.campaigns
            if campaign.name.startswith(whom[0])
            for recipient in campaign.recipients
            if dedupe_key_of(recipient.target) == whom[1] and recipient.params["order_id"] == whom[2]
            if campaign.is_sent(recipient) or campaign.cancelled_at is not None
        }

    def _was_cancelled(self, whom: Whom) -> bool:
        return any(
            campaign.cancelled_at is not None
            and campaign.name.startswith(whom[0])
            and dedupe_key_of(recipient.target) == whom[1]
            for campaign in self.model.campaigns
            for recipient in campaign.recipients
        )

    # It ends

    def _check_that_it_cannot_end(self, task: Task) -> None:
        """Accept that a send does not end only for rows that are unknown for good, for a reason that is so."""
        for outcome in self._last:
            if outcome["status"] in ("accepted", "skipped", "invalid"):
                continue
            reason = outcome["reason"] or ""
            hidden = (
                any(campaign.hidden for campaign in self.model.campaigns) or self.model.habits.hides_channel
            )
            excuses = {
                "on_unknown is 'hold'": self.hold,
                "is not sent a third time": True,
                # Nothing is sent again, so only WATI can end it.
                "it was not sent again: parameter 'status' is missing": True,
                "it was not sent again: opted out": self.opted_out is not None,
                "does not show an answered campaign": hidden,
                "with other parameters": self.shape == "mapped" or self.is_own_and_mapped,
                "does not say which of several": self.people.keyed
                and (self.people.own_ids or not self.model.habits.echoes_ids or self.shape == "mapped"),
            }
            if outcome["status"] == "unsent" or not any(
                is_so for words, is_so in excuses.items() if words in reason
            ):
                raise Untrue(f"history {self.seed}: it does not come to an end: {outcome}")


_NOT_DONE = ("unsent", "unknown", "rejected")


def _scratch_db() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1_000)
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _request(session: requests.Session, method: str, url: str, **what: Any) -> requests.Response:
    """Give a request to the adapter without all that ``requests`` does for a real one, which takes most of the time."""
    request = requests.PreparedRequest()
    request.method, request.body = method, what["data"]
    request.url = url if not what["params"] else f"{url}?{urlencode(what['params'])}"
    return session.get_adapter(url).send(request)


@contextmanager
def quick(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep scratch databases in memory, prepare no requests, and draw the names of attempts from the seed."""
    patch.setattr(row_tables_module, "open_scratch_db", _scratch_db)
    patch.setattr(requests.Session, "request", _request)
    patch.setattr(
        sends_module,
        "secrets",
        SimpleNamespace(token_hex=lambda size: f"{random_module.getrandbits(8 * size):0{2 * size}x}"),
    )
    yield


def tell(seed: int) -> History:
    """
    Live through a history.

    :raises AssertionError: when a promise is broken; it names the history.
    """
    history = History(seed)
    try:
        with pytest.MonkeyPatch.context() as patch, quick(patch):
            history.files.install(patch)
            history.tell()
    except BaseException as error:
        error.add_note(f"This is history {seed}.")
        raise
    return history
