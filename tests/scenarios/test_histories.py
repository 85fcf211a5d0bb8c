"""
Random histories of a send: what can go wrong goes wrong, and nobody is messaged twice.

Each history is one send over several tries, with accidents in each, then tries without any until it ends. The
sandbox is a real server; only its clock stands still, moves with every call, and is the sender's clock too, so
that minutes of waiting take no time and a seed always tells the same history.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from tenacity import wait_none

from airflow_provider_wati.client import WatiClient, transport as transport_module
from airflow_provider_wati.sandbox.control import sent_message
from airflow_provider_wati.sandbox.faults import Fault
from airflow_provider_wati.sending import (
    earlier_tries as earlier_tries_module,
    grace as grace_module,
    job as send_module,
    ledger as ledger_module,
    read_back as read_back_module,
)
from airflow_provider_wati.sending.earlier_tries import EarlierTries
from airflow_provider_wati.sending.job import TemplateSend
from airflow_provider_wati.sending.ledger import Ledger
from airflow_provider_wati.sending.read_back import ReadBack
from airflow_provider_wati.sending.row_mapping import RecipientDicts, Recipients
from airflow_provider_wati.tables.outcomes import SendStatus
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from tests.conftest import Sandbox

HISTORIES = 1_000
GRACE = 120.0
SECONDS_A_CALL = 0.9
SEND = "*/messageTemplates/send"
#: Longest time that a campaign stays out of the lists: the grace counts from before the call.
HIDDEN = GRACE - 1
#: A list that takes longer than any try waits.
ENDLESS = 10 * GRACE
CLEAN_TRIES = 4

Row = dict[str, Any]


class Killed(BaseException):
    """The process is gone: nothing after this runs, and the next try is a new process."""


class TimedOut(BaseException):
    """What Airflow's execution_timeout raises: the process lives on, and tells what it knows."""


class MessagedTwice(AssertionError):
    pass


@dataclass
class Accident:
    """What happens once, the (``after`` + 1)th time that the try comes to a moment."""

    moment: str = ""
    after: int = 0
    error: type[BaseException] = Killed

    def may_happen(self, moment: str) -> None:
        if moment != self.moment:
            return
        self.after -= 1
        if self.after < 0:
            self.moment = ""
            raise self.error(moment)


class Store:
    """Stands in for Airflow's: what it holds has gone through JSON, and outlives the process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.accident = Accident()

    def get(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        self.accident.may_happen("before the ledger is written")
        self.values[key] = json.dumps(value)
        self.accident.may_happen("after the ledger is written")


class UnluckyClient:
    """A client in a process that may die around a call."""

    def __init__(self, client: WatiClient, accident: Accident) -> None:
        self._client = client
        self._accident = accident

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_template_messages(self, *args: Any) -> Any:
        self._accident.may_happen("before the call")
        result = self._client.send_template_messages(*args)
        self._accident.may_happen("after the call")
        return result

    def iter_campaigns(self, channel: str | None) -> Any:
        self._accident.may_happen("before looking")
        return self._client.iter_campaigns(channel)


MOMENTS = (
    "while rows are read",
    "before the ledger is written",
    "after the ledger is written",
    "before the call",
    "after the call",
    "after the call",
    "before looking",
    "while outcomes are written",
)


def an_accident(random: Random) -> Accident:
    if random.random() < 0.5:
        return Accident()
    error = random.choice((Killed, Killed, TimedOut, OSError))
    return Accident(random.choice(MOMENTS), random.choice((0, 0, 1, 1, 2, 3, 5)), error)


def some_faults(random: Random, numbers: list[str]) -> Iterator[Fault]:
    """What WATI and the network do wrong in one try."""
    chance = random.random
    some = [number for number in numbers if chance() < 0.5]
    lost: list[dict[str, Any]] = [
        {"kind": "drop", "when": "before", "reset": chance() < 0.5},
        {"kind": "drop", "when": "after", "reset": chance() < 0.5},
        {"kind": "status", "status": 500, "when": "before"},
        {"kind": "status", "status": 500, "when": "after"},
        {"kind": "garbage", "when": "after", "body": random.choice(("html", "empty", "truncated", "cut"))},
    ]
    refused: list[dict[str, Any]] = [
        {"kind": "refused_in_200"},
        {"kind": "status", "status": random.choice((400, 401, 403, 429))},
        {"kind": "status", "status": 429, "retry_after": GRACE / 2},
        {"kind": "recipient_errors", "numbers": some},
        {"kind": "omit_recipients", "numbers": some},
    ]
    unreadable: list[dict[str, Any]] = [
        {"kind": "drop", "path": "*/broadcasts*"},
        {"kind": "status", "path": "*/broadcasts*", "status": random.choice((401, 404, 429, 500))},
        {"kind": "garbage", "path": "*/broadcasts*"},
        {"kind": "status", "path": "*/messageTemplates", "status": random.choice((401, 500))},
    ]
    if chance() < 0.1:
        # A call that waits for long before it leaves.
        yield Fault("status", path=SEND, status=429, retry_after=GRACE / 2, count=1)
    for faults, likely in ((lost, 0.6), (refused, 0.4), (unreadable, 0.25)):
        while chance() < likely:
            skip, count = random.choice((0, 0, 0, 1, 2)), random.choice((1, 1, 2, 4))
            yield Fault(**{"path": SEND, **random.choice(faults)}, skip=skip, count=count)
    if chance() < 0.5:
        # Last, because of two faults that change a send the older one acts.
        fill = chance() < 0.4
        longest = random.choice((HIDDEN, ENDLESS)) if fill else HIDDEN
        seconds = random.choice((longest, random.uniform(longest / 4, longest)))
        yield Fault("slow_listing", path=SEND, skip=random.choice((0, 0, 1)), seconds=seconds, fill=fill)


@dataclass
class People:
    """Rows that change from one try to the next."""

    random: Random
    keyed: bool
    #: How they change though they stay the same: numbers in another spelling, ids of their own in each try.
    habits: Collection[str] = ()
    rows: list[Row] = field(default_factory=list)
    _made: int = 0

    def __post_init__(self) -> None:
        self.rows = [self._one() for _ in range(self.random.randint(1, 7))]

    def _one(self) -> Row:
        self._made += 1
        number = (
            f"52155123456{self._made:02d}" if "two spellings" in self.habits else f"852643187{self._made:02d}"
        )
        if self.keyed and self.rows and self.random.random() < 0.4:
            number = self.random.choice(self.rows)["target"]
        order = str(1000 + self._made) if self.keyed else "1000"
        params = {"name": "Ada", "order_id": order, "status": "packed"}
        return {"target": number, "params": params}

    def change(self) -> None:
        """Let rows come, go, repeat and change places, as a query may give them the next time."""
        chance = self.random.random
        if chance() < 0.5:
            return
        if chance() < 0.4:
            self.random.shuffle(self.rows)
        if chance() < 0.4 and len(self.rows) > 1:
            self.rows.pop(self.random.randrange(len(self.rows)))
        if chance() < 0.3:
            self.rows.insert(self.random.randint(0, len(self.rows)), self._one())
        if chance() < 0.2:
            self.rows.append(self.random.choice(self.rows))
        if chance() < 0.2:
            bad = self._one()
            if chance() < 0.5:
                bad["target"] = "12"
            else:
                bad["params"] = {**bad["params"], "status": None}
            self.rows.insert(self.random.randint(0, len(self.rows)), bad)

    def as_written_now(self) -> Iterator[Row]:
        """Write the rows as a query or a DAG file gives them in one try."""
        for row in self.rows:
            target, own_id = row["target"], {}
            if "two spellings" in self.habits and self.random.random() < 0.5:
                target = target.replace("521", "52", 1)
            if "ids of their own" in self.habits:
                own_id = {"local_message_id": f"{self.random.getrandbits(128):032x}"}
            yield {**row, "target": target, **own_id}

    @property
    def numbers(self) -> list[str]:
        return sorted({row["target"] for row in self.rows})


def is_right(row: Row) -> bool:
    return row["target"] != "12" and row["params"]["status"] is not None


def whom(row: Row) -> tuple[str, str]:
    return dedupe_key_of(row["target"]), f"Hi Ada, your order {row['params']['order_id']} is packed."


class History:
    """
    One send, told by its seed.

    :param settings: what is the same in all histories, for those that are broken on purpose.
    """

    def __init__(self, sandbox: Sandbox, client: WatiClient, seed: int, **settings: Any) -> None:
        sandbox.reset()
        sandbox.workspace.clock.freeze()
        self.sandbox = sandbox
        self.client = client
        self.random = Random(seed)
        keyed = self.random.random() < 0.3
        habits = ["two spellings"] if self.random.random() < 0.2 else []
        # With a key, it takes the same id in each try to find a message again.
        if not keyed and self.random.random() < 0.2:
            habits.append("ids of their own")
        self.people = People(self.random, keyed, habits)
        self.memory = self.random.choice(("task", "task", "task", "directory", "none"))
        # Only a key that the user gave is shared by several runs.
        self.given_key = self.random.random() < 0.3
        remembers = self.memory == "directory" or (self.memory == "task" and not self.given_key)
        self.hold = remembers and self.random.random() < 0.2
        self.settings = settings
        self.batch_size = self.random.randint(1, 4)
        self.store = Store()
        self.tries = 0

    def tell(self) -> None:
        runs = self.random.choice((1, 2)) if self.given_key else 1
        for run in range(runs):
            self.tries = 0
            if self.memory != "directory":
                self.store = Store()
            for _ in range(self.random.randint(1, 3)):
                faults = some_faults(self.random, self.people.numbers)
                if self.attempt(an_accident(self.random), faults) and self.random.random() < 0.7:
                    break
                self._pass(self.random.choice((0.0, 0.0, 0.0, 10.0, GRACE)))
                self.people.change()
                if self.random.random() < 0.15:
                    self.store = Store()  # somebody emptied it
                if self.random.random() < 0.2:
                    self.batch_size = self.random.randint(1, 4)
            if run < runs - 1 and self.random.random() < 0.5:
                continue  # the first run failed for good
            self._end()

    def _end(self) -> None:
        self._pass(self.random.choice((0.0, ENDLESS)))
        for _ in range(CLEAN_TRIES):
            if self.attempt(Accident()):
                break
            self._pass(ENDLESS)
        else:
            assert self.hold, "it does not come to an end"

    def _pass(self, seconds: float) -> None:
        self.sandbox.workspace.clock.advance(seconds)

    def attempt(self, accident: Accident, faults: Iterable[Fault] = ()) -> bool:
        """Run one try and hold what it says against what the sandbox shows; tell whether all is done."""
        self.tries += 1
        rows = list(self.people.as_written_now())
        self.sandbox.workspace.faults.clear()
        for fault in faults:
            self.sandbox.workspace.faults.add(fault)
        self.store.accident = accident
        try:
            job = self._job(accident)
        except (Killed, TimedOut, OSError):
            return False

        def read() -> Iterator[Row]:
            for row in rows:
                accident.may_happen("while rows are read")
                yield row

        failed = False
        try:
            try:
                job.run(read(), sent_before=self.tries > 1 or job.ledger.may_have_sent)
            except (Exception, TimedOut):
                failed = True
            outcomes = []
            for outcome in job.outcomes():
                accident.may_happen("while outcomes are written")
                outcomes.append(outcome)
            summary = job.summary()
        except (Killed, TimedOut, OSError):
            self._nobody_twice()
            return False
        self._truthful(rows, outcomes, summary, failed=failed)
        open_ends = sum(summary[status] for status in ("unsent", "unknown", "rejected"))
        return not failed and open_ends == 0

    def _job(self, accident: Accident) -> TemplateSend:
        store = None if self.memory == "none" else self.store
        ledger = Ledger(store, "key", others=self.given_key, shared=self.memory == "directory")
        ledger.open(tried_before=self.tries > 1)
        unlucky: Any = UnluckyClient(self.client, accident)
        return TemplateSend(
            **{
                "client": unlucky,
                "template_name": "order_update",
                "broadcast_name": self.random.choice(("orders", "orders", "more orders")),
                "send_key": "key",
                "ledger": ledger,
                "take_apart": RecipientDicts("order_id" if self.people.keyed else None),
                "batch_size": self.batch_size,
                "check_consent": False,
                "hold": self.hold,
                "unknown_grace": timedelta(seconds=GRACE),
                **self.settings,
            }
        )

    def _messages(self) -> Counter[tuple[str, str]]:
        """What people got."""
        workspace = self.sandbox.workspace
        sent = [sent_message(workspace, number) for number in workspace.state.sent()]
        return Counter((dedupe_key_of(message["phone"]), message["text"]) for message in sent)

    def _nobody_twice(self) -> Counter[tuple[str, str]]:
        messages = self._messages()
        twice = {person for person, count in messages.items() if count > 1}
        if twice:
            raise MessagedTwice(f"try {self.tries}: {sorted(twice)}")
        return messages

    def _truthful(
        self, rows: list[Row], outcomes: list[dict[str, Any]], summary: dict[str, Any], *, failed: bool
    ) -> None:
        messages = self._nobody_twice()
        assert len(json.dumps(summary)) < 16_000
        assert summary["total"] == sum(summary[status] for status in SendStatus) == len(outcomes)
        assert Counter(outcome["status"] for outcome in outcomes) == Counter(
            {status.value: summary[status] for status in SendStatus if summary[status]}
        )
        assert len(outcomes) == len(rows) or failed
        first: set[tuple[str, str]] = set()
        for n, (row, outcome) in enumerate(zip(rows, outcomes, strict=False), 1):
            status, person = outcome["status"], whom(row)
            where = f"try {self.tries}, row {n}: {outcome}, got {messages[person]}"
            assert outcome["row"] == n, where
            if not is_right(row):
                assert (status, messages[person]) == ("invalid", 0), where
            elif person in first:
                assert status == "skipped", where
            elif status == "accepted":
                assert messages[person] == 1, where
            elif status in ("rejected", "unsent"):
                assert messages[person] == 0, where
            else:
                assert status == "unknown", where
            assert status == "accepted" or outcome["reason"], where
            if is_right(row):
                first.add(person)
        if not failed and summary["earlier"]:
            assert summary["earlier"] <= len(messages.keys() - first)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose clock is the sender's too, and moves with each call that arrives."""
    servers: list[Sandbox] = []

    def wrap(app: Any) -> Any:
        async def slow(scope: Any, receive: Any, send: Any) -> None:
            servers[0].workspace.clock.advance(SECONDS_A_CALL)
            await app(scope, receive, send)

        return slow

    class SandboxTime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(servers[0].workspace.clock.now(), tz)

    def sleep(seconds: float) -> None:
        servers[0].workspace.clock.advance(seconds)

    with Sandbox(wrap=wrap) as server, pytest.MonkeyPatch.context() as patch:
        assert isinstance(server, Sandbox)
        servers.append(server)
        for module in (send_module, earlier_tries_module, ledger_module, read_back_module):
            patch.setattr(module, "datetime", SandboxTime)
        patch.setattr(grace_module, "POLL_SECONDS", GRACE / 2)
        for module in (send_module, grace_module, transport_module):
            patch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
        patch.setattr(
            "airflow_provider_wati.client.transport.wait_exponential_jitter", lambda **_: wait_none()
        )
        yield server


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> WatiClient:
    return sandbox.client(max_tries=2)


@pytest.mark.parametrize("seeds", [range(n, n + 100) for n in range(0, HISTORIES, 100)], ids=str)
def test_nobody_is_messaged_twice_and_every_row_is_told_truthfully(
    sandbox: Sandbox, client: WatiClient, seeds: range
) -> None:
    campaigns = sum(tell(sandbox, client, seed) for seed in seeds)
    assert campaigns > len(seeds), "too few of them sent anything"


def tell(sandbox: Sandbox, client: WatiClient, seed: int) -> int:
    """Live through a history; return how many campaigns it made, each history beginning with none."""
    try:
        History(sandbox, client, seed).tell()
    except AssertionError as error:
        error.add_note(f"This is history {seed}.")
        raise
    return len(sandbox.state.broadcasts)


@pytest.mark.parametrize(("change", "quick_reads"), [(list, 1), (reversed, 0)])
def test_a_campaign_that_appears_while_others_are_read_is_not_overlooked(
    sandbox: Sandbox,
    client: WatiClient,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[..., Iterable[Row]],
    quick_reads: int,
) -> None:
    def read_for_long(self: ReadBack, *batches: Any, **how: Any) -> set[int]:
        filling = read(self, *batches, **how)
        durations.append(GRACE if len(durations) >= quick_reads else 0)
        sandbox.workspace.clock.advance(durations[-1])
        return filling

    durations: list[float] = []
    read = ReadBack.read
    monkeypatch.setattr(ReadBack, "read", read_for_long)
    history = History(sandbox, client, seed=0)
    history.memory, history.given_key, history.hold, history.batch_size = "task", False, False, 1
    params = {"name": "Ada", "order_id": "1000", "status": "packed"}
    history.people.rows = [{"target": f"8526431870{n}", "params": params} for n in range(3)]
    hide = Fault("slow_listing", path=SEND, seconds=HIDDEN)
    assert not history.attempt(Accident("after the call", after=1), [hide])
    history.people.rows = list(change(history.people.rows))
    assert history.attempt(Accident())


# What would be wrong if the sender did not take this or that care: that the histories find it shows what they
# are worth.


def write_no_intent_down(patch: pytest.MonkeyPatch) -> None:
    def intend(self: Ledger, *batch: str) -> None:
        with pytest.MonkeyPatch.context() as unwritten:
            unwritten.setattr(self, "_save", lambda **_: None)
            written(self, *batch)

    written = Ledger.intend
    patch.setattr(Ledger, "intend", intend)


def take_a_lost_ledger_for_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "open", lambda *_, **__: None)


def settle_as_if_never_sent(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Ledger, batch: str, *_: object, **__: object) -> None:
        self._batches.pop(batch, None)
        self._unclear.pop(batch, None)
        self._save()

    patch.setattr(Ledger, "settle", settle)


def settle_as_if_all_were_rejected(patch: pytest.MonkeyPatch) -> None:
    settle = Ledger.settle
    patch.setattr(Ledger, "settle", lambda self, *batch, **_: settle(self, *batch[:2], range(9)))


def forget_the_time_of_the_last_call(patch: pytest.MonkeyPatch) -> None:
    save = Ledger._save

    def forget(self: Ledger, **how: Any) -> None:
        last, self.last_intended = self.last_intended, None
        save(self, **how)
        self.last_intended = last

    patch.setattr(Ledger, "_save", forget)


def write_down_the_first_try_of_a_call_only(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def before_sends(self: WatiClient, write_down: Callable[[], None]) -> Iterator[None]:
        written: list[None] = []
        with before(self, lambda: written or written.append(write_down())):
            yield

    before = WatiClient.before_sends
    patch.setattr(WatiClient, "before_sends", before_sends)


def notice_no_changed_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "compare", lambda *_: None)


def trust_a_key_of_several_runs(patch: pytest.MonkeyPatch) -> None:
    def start(self: Ledger, store: Any, key: str, **_: Any) -> None:
        started(self, store, key)

    started = Ledger.__init__
    patch.setattr(Ledger, "__init__", start)


def find_no_campaign(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadBack, "look", lambda _: None)


def take_a_filling_list_for_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadBack, "_read", lambda self, *args, read=ReadBack._read: read(self, *args) or True)


def wait_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EarlierTries, "_hidden_until", lambda _: ledger_module.datetime.min.replace(tzinfo=UTC))
    patch.setattr(TemplateSend, "_shown_by", lambda *_: ledger_module.datetime.min.replace(tzinfo=UTC))


def name_messages_anew_in_each_try(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recipients, "_id_of", lambda *_: uuid4().hex)


def find_campaigns_of_one_name_only(patch: pytest.MonkeyPatch) -> None:
    def start(self: ReadBack, *args: Any) -> None:
        started(self, *args)
        self._name = re.compile(self._name.pattern.replace(".*", "orders ", 1))

    started = ReadBack.__init__
    patch.setattr(ReadBack, "__init__", start)


BROKEN: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    write_no_intent_down,
    take_a_lost_ledger_for_an_empty_one,
    settle_as_if_never_sent,
    settle_as_if_all_were_rejected,
    forget_the_time_of_the_last_call,
    write_down_the_first_try_of_a_call_only,
    notice_no_changed_rows,
    trust_a_key_of_several_runs,
    find_no_campaign,
    take_a_filling_list_for_full,
    wait_for_nothing,
    name_messages_anew_in_each_try,
    find_campaigns_of_one_name_only,
)


@pytest.mark.parametrize("break_it", BROKEN)
def test_a_sender_that_is_broken_on_purpose_messages_somebody_twice(
    sandbox: Sandbox, client: WatiClient, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    def tell_all() -> None:
        for seed in range(HISTORIES):
            try:
                tell(sandbox, client, seed)
            except MessagedTwice:
                raise
            except AssertionError:
                continue  # it says what is untrue, which is not what is looked for here

    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        with pytest.raises(MessagedTwice):
            tell_all()
