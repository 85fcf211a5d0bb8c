"""Pacing, as the server at the other end sees it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.endpoint import Endpoint
from airflow_provider_wati.client.rate_limit import EndpointGroup, Pacer, own_directory, rate_limits_of
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sandbox.settings import Settings
from tests.conftest import Sandbox
from tests.support.clock import FakeClock
from tests.support.scripted_server import ScriptedServer, answer, serving

if TYPE_CHECKING:
    import socket

    from airflow_provider_wati.clock import Clock

NUMBER = "85264318722"
EVERYTHING = {
    "id": "1",
    "credit": 1,
    "templates": [],
    "broadcasts": [],
    "message": {"id": "1"},
    "result": True,
}
#: Seconds by which a busy machine may delay a call on its way to the server.
_DELAY = 0.5


class Counter(ScriptedServer):
    """Answers everything, and knows when each call came."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.clock: Clock = SYSTEM_CLOCK
        super().__init__([self._note])

    def _note(self, connection: socket.socket) -> bool:
        self.times.append(self.clock.monotonic())
        return answer(200, EVERYTHING)(connection)

    def most_within(self, seconds: float) -> int:
        """The most calls that any window of that length has seen; by the system's clock, less a delay."""
        times = sorted(self.times)
        window = seconds - (_DELAY if self.clock is SYSTEM_CLOCK else 1e-6)
        return max(sum(start <= each < start + window for each in times) for start in times)


@pytest.fixture
def counter() -> Iterator[Counter]:
    server = Counter()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the counts of a test in a directory of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def client_of(server: ScriptedServer, **settings: Any) -> WatiClient:
    return WatiClient(f"{server.url}/100001", "token", **{"max_tries": 1, **settings})


def test_no_window_sees_more_than_the_limit_and_no_time_is_wasted(counter: Counter) -> None:
    """Any window of the limit's length holds as many calls as the limit allows, and not one less."""
    clock = counter.clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [5, 0.5]}, clock=clock)
    for _ in range(18):
        wati.get_contact(NUMBER)
    assert len(counter.times) == 18
    assert counter.most_within(0.5) == 5
    # Eighteen calls are three full windows and a part of the fourth.
    assert 1.5 <= clock.monotonic() - 1000 < 1.7


def test_a_burst_after_a_slow_start_is_held_to_the_window(counter: Counter) -> None:
    """The window slides: it does not start over with the clock."""
    clock = counter.clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [4, 0.6]}, clock=clock)
    for _ in range(2):
        wati.get_contact(NUMBER)
        clock.sleep(0.25)
    for _ in range(6):
        wati.get_contact(NUMBER)
    assert counter.most_within(0.6) == 4


def test_pacing_takes_its_time_from_the_clock(counter: Counter) -> None:
    """Calls beyond the limit pause on the client's clock until the window has passed, and no longer."""
    clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [3, 60]}, clock=clock)
    for _ in range(7):
        wati.get_contact(NUMBER)
    assert len(counter.times) == 7
    assert clock.sleeps
    assert 120 <= clock.monotonic() - 1000 < 123


def test_each_family_has_a_limit_of_its_own(counter: Counter) -> None:
    """A group that has used up its limit holds no other group back."""
    clock = FakeClock()
    wati = client_of(counter, rate_limits={"*": [2, 30], "other": None}, clock=clock)
    for _ in range(2):
        wati.get_contact(NUMBER)
        wati.send_text(NUMBER, "Hello")
        wati.get_template("abc")
        wati.get_campaign("abc")
    for _ in range(10):
        wati.get_credits()
    assert clock.sleeps == []
    assert len(counter.times) == 18


def test_calls_of_one_family_share_its_limit(counter: Counter) -> None:
    """Calls of different endpoints of one group count together."""
    counter.clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [3, 0.5]}, clock=counter.clock)
    for _ in range(3):
        wati.get_contact(NUMBER)
        wati.create_contact(NUMBER, "Bob")
        wati.assign_teams(NUMBER, ["Billing"])
    assert counter.most_within(0.5) == 3


def test_each_attempt_of_a_call_counts(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated attempt counts against the limit as the first one does."""
    counter.script = [counter.script[0], answer(503, headers={"Retry-After": "0"}), counter.script[0]]
    noted: list[float] = []
    refuse = counter.script[1]

    def note(connection: socket.socket) -> bool:
        noted.append(counter.clock.monotonic())
        return refuse(connection)

    counter.script[1] = note
    counter.clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [2, 0.6]}, max_tries=3, clock=counter.clock)
    wati.get_contact(NUMBER)
    wati.get_contact(NUMBER)
    counter.times = sorted([*counter.times, *noted])
    assert len(counter.times) == 3
    assert counter.most_within(0.6) == 2


def test_two_accounts_do_not_share(counter: Counter) -> None:
    """The calls of one account leave the limit of another alone."""
    clock = FakeClock()
    for tenant in ("1", "2"):
        wati = WatiClient(f"{counter.url}/{tenant}", "token", rate_limits={"contacts": [2, 30]}, clock=clock)
        wati.get_contact(NUMBER)
        wati.get_contact(NUMBER)
    assert clock.sleeps == []


@pytest.mark.slow
def test_threads_share_a_client_s_limit(counter: Counter) -> None:
    """Clients in several threads keep one limit together."""
    clients = [client_of(counter, rate_limits={"contacts": [4, 1.5]}) for _ in range(3)]
    threads = [
        threading.Thread(target=lambda wati=wati: [wati.get_contact(NUMBER) for _ in range(4)])
        for wati in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counter.times) == 12
    assert counter.most_within(1.5) <= 4


SIX_CALLS = """
import sys
from airflow_provider_wati.client import WatiClient
# What is loaded by the first call of all must not delay the first that counts.
WatiClient(sys.argv[2], "token", rate_limits={"*": None}).get_credits()
wati = WatiClient(sys.argv[1], "token", rate_limits={"contacts": [4, 2.0]})
for _ in range(6):
    wati.get_contact("85264318722")
"""


@pytest.mark.slow
def test_two_processes_share_the_limit(counter: Counter) -> None:
    """Two processes of a host keep one limit together."""
    with serving(answer(200, EVERYTHING)) as other:
        command = [sys.executable, "-c", SIX_CALLS, f"{counter.url}/100001", other.url]
        processes = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(counter.times) == 12
    assert counter.most_within(2.0) <= 4


def test_no_limit_is_no_wait_and_no_file(counter: Counter, tmp_path: Path) -> None:
    """Without limits nothing waits and nothing is written."""
    clock = FakeClock()
    wati = client_of(counter, rate_limits={"*": None}, clock=clock)
    for _ in range(60):
        wati.get_contact(NUMBER)
    assert clock.sleeps == []
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_look_into_the_directory(counter: Counter, tmp_path: Path) -> None:
    """The counts are private, and hold neither account, number nor token."""
    client_of(counter).get_contact(NUMBER)
    [directory] = tmp_path.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    files = [path.name for path in directory.iterdir()]
    assert any(name.startswith("pace-") for name in files)
    # What is kept tells nothing: neither the account nor whom a call was about.
    kept = b"".join(path.read_bytes() for path in directory.iterdir()) + "".join(files).encode()
    for secret in (b"100001", NUMBER.encode(), b"token"):
        assert secret not in kept


def test_where_no_file_can_be_kept_this_process_keeps_the_limit(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only disk leaves the limit to the process, and a warning says so."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    caplog.set_level(logging.WARNING)
    counter.clock = FakeClock()
    wati = client_of(counter, rate_limits={"contacts": [3, 0.4]}, clock=counter.clock)
    for _ in range(7):
        wati.get_contact(NUMBER)
    assert counter.most_within(0.4) == 3
    assert [record.message for record in caplog.records] == [
        "WATI's contacts limit is kept by this process alone: read-only file system"
    ]


def the_directory(tmp_path: Path) -> Path:
    return tmp_path / f"airflow-provider-wati-{os.getuid()}"


def link_to_a_directory_of_ours(directory: Path) -> None:
    (directory.parent / "home").mkdir()
    directory.symlink_to(directory.parent / "home")


def open_to_all(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def open_to_the_group(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o770)


def link_as_the_file(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    victim = directory.parent / "airflow.db"
    victim.touch()
    account = WatiClient("http://127.0.0.1:1/100001", "token")._transport._pacer._account
    (directory / f"pace-{account}.sqlite").symlink_to(victim)


@pytest.mark.parametrize(
    "prepare", [link_to_a_directory_of_ours, open_to_all, open_to_the_group, link_as_the_file, Path.touch]
)
def test_a_directory_that_others_can_change_is_refused(
    prepare: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts are written to no link and to no directory that others can write: the process keeps the limit."""
    prepare(the_directory(tmp_path))
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    clock = FakeClock()
    caplog.set_level(logging.WARNING)
    pacer = WatiClient(
        "http://127.0.0.1:1/100001", "token", rate_limits={"contacts": [3, 60]}, clock=clock
    )._transport._pacer
    for _ in range(4):
        pacer.wait(EndpointGroup.CONTACTS)
    assert clock.monotonic() - 1000 >= 60
    assert "kept by this process alone" in caplog.text
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that somebody else made is refused with the remedy."""
    own_directory(tmp_path)
    ours = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: ours + 1)
    (tmp_path / f"airflow-provider-wati-{ours}").rename(the_directory(tmp_path))
    with pytest.raises(PermissionError, match="belongs to another user.*TMPDIR"):
        own_directory(tmp_path)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_clock_set_back_does_not_block_calls(
    in_memory: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts of the future are dropped with a warning, and the limit holds from then on."""
    if in_memory:
        open_to_all(the_directory(tmp_path))
    clock = FakeClock()
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth", {"contacts": [3, 60]}), clock)
    for _ in range(3):
        pacer.wait(EndpointGroup.CONTACTS)
    caplog.clear()
    clock.advance(-86_400)
    for _ in range(3):
        pacer.wait(EndpointGroup.CONTACTS)
    assert clock.sleeps == []
    assert [(record.levelname, "clock of this machine was set back by 86400 s" in record.message) for record in caplog.records] == [
        ("WARNING", True)
    ]  # fmt: skip
    pacer.wait(EndpointGroup.CONTACTS)
    assert 60 <= sum(clock.sleeps) < 62


def not_a_database(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def run_sql(statement: str) -> Callable[[Path], None]:
    def prepare(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"DROP TABLE IF EXISTS contacts_3_60000; {statement}")

    return prepare


_TABLE = "CREATE TABLE contacts_3_60000"
DAMAGES = {
    "no database": not_a_database,
    "another column": run_sql(f"{_TABLE} (a, b)"),
    "a column that must be filled": run_sql(f"{_TABLE} (name, item_timestamp, other NOT NULL)"),
    "a unique column": run_sql(f"{_TABLE} (name UNIQUE, item_timestamp)"),
    "a view": run_sql("CREATE VIEW contacts_3_60000 AS SELECT 1 AS name, 2 AS item_timestamp"),
    "texts for times": run_sql(
        f"{_TABLE} (name, item_timestamp); INSERT INTO contacts_3_60000 VALUES ('a','b'),('a','b'),('a','b')"
    ),
    "no times": run_sql(
        f"{_TABLE} (name, item_timestamp); INSERT INTO contacts_3_60000 VALUES ('a', X'00'),('a', X'00'),('a', X'00')"
    ),
}


@pytest.mark.parametrize("when", ["before it is opened", "while it is open"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced(
    damage: str, when: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that another program wrote is replaced with a warning, and the limit holds."""
    limits = rate_limits_of("growth", {"contacts": [3, 60]})
    endpoint, clock = Endpoint("http://127.0.0.1:1"), FakeClock()
    first = Pacer(endpoint, limits, clock)
    first.wait(EndpointGroup.CONTACTS)
    [path] = tmp_path.glob("*/pace-*.sqlite")
    if when == "before it is opened":
        first.close()
    caplog.set_level(logging.WARNING)
    DAMAGES[damage](path)
    clock.advance(61)
    # One more than two windows hold, and one for a place that was taken in the damaged file.
    for _ in range(8):
        first.wait(EndpointGroup.CONTACTS)
    assert sum(clock.sleeps) >= 120
    # What is written over an open file, SQLite may not notice: it works with its log beside it.
    is_noticed = (damage, when) != ("no database", "while it is open")
    assert ("is damaged and is replaced" in caplog.text) >= is_noticed
    assert "alone" not in caplog.text
    # Another process shares the new file.
    second = Pacer(endpoint, limits, clock)
    before = sum(clock.sleeps)
    for _ in range(3):
        second.wait(EndpointGroup.CONTACTS)
    assert sum(clock.sleeps) > before


def test_a_file_in_use_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is sound and cannot be written now is left alone."""
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth"), FakeClock())
    pacer.wait(EndpointGroup.CONTACTS)
    [path] = tmp_path.glob("*/pace-*.sqlite")
    before = path.stat().st_ino

    def locked(*_: object) -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    monkeypatch.setattr("pyrate_limiter.SQLiteBucket.put", locked)
    pacer.wait(EndpointGroup.CONTACTS)
    assert "kept by this process alone: database is locked" in caplog.text
    assert path.stat().st_ino == before


def test_a_pacer_after_a_fork_shares_the_limit_with_its_parent() -> None:
    """Parent and child count together, and neither uses the open file of the other."""
    clock = FakeClock()
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth", {"contacts": [3, 60]}), clock)
    pacer.wait(EndpointGroup.CONTACTS)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            pacer.wait(EndpointGroup.CONTACTS)
            pacer.close()
            pacer.wait(EndpointGroup.CONTACTS)
            status = 0 if not clock.sleeps else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    pacer.wait(EndpointGroup.CONTACTS)
    assert sum(clock.sleeps) >= 60


def test_a_fork_while_another_thread_holds_the_lock_does_not_hang_the_child() -> None:
    """The lock of a thread that the child does not have is not waited for."""
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth"), FakeClock())
    pacer.wait(EndpointGroup.CONTACTS)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pacer._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            pacer.wait(EndpointGroup.CONTACTS)
        finally:
            os._exit(0)
    ended = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert ended == 0


@pytest.mark.slow
def test_at_wati_s_limit_no_429_is_drawn() -> None:
    """The sandbox counts as strictly as WATI can: any ten seconds, the whole workspace."""
    with Sandbox(settings=Settings(plan="growth")) as sandbox:
        wati = WatiClient(sandbox.endpoint, sandbox.token, max_tries=1)
        began = time.monotonic()
        for _ in range(12):
            wati.get_contact("12025550143")
        # The second window would end after 20 s.
        assert 10 <= time.monotonic() - began < 20
        for _ in range(30):
            wati.get_template("6929b2c3de3b1a7000000001")
        statuses = [seen.status for seen in sandbox.workspace.requests]
    assert statuses == [200] * 42


def test_without_pacing_the_sandbox_does_refuse() -> None:
    """The sandbox would refuse what the pace prevents."""
    with Sandbox(settings=Settings(plan="growth")) as sandbox:
        wati = WatiClient(sandbox.endpoint, sandbox.token, rate_limits={"*": None}, max_tries=1)
        for _ in range(10):
            wati.get_contact("12025550143")
        with pytest.raises(Exception, match="429"):
            wati.get_contact("12025550143")


@pytest.mark.parametrize(("plan", "templates"), [("growth", 30), ("pro", 60), ("business", 100)])
def test_a_plan_has_the_limits_that_wati_publishes(plan: str, templates: int) -> None:
    """Each plan has the published limits."""
    limits = rate_limits_of(plan)
    assert limits == {
        EndpointGroup.CONTACTS: (10, 10.0),
        EndpointGroup.CONVERSATIONS: (10, 10.0),
        EndpointGroup.TEMPLATES: (templates, 10.0),
        EndpointGroup.CAMPAIGNS: (10, 10.0),
        EndpointGroup.OTHER: (10, 10.0),
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"templates": [5, 1]}, {"templates": (5, 1.0), "contacts": (10, 10.0)}),
        ({"contacts": None}, {"contacts": None, "other": (10, 10.0), "templates": (30, 10.0)}),
        ({"*": None}, dict.fromkeys(EndpointGroup, None)),
        ({"*": [7, 2]}, dict.fromkeys(EndpointGroup, (7, 2.0))),
        ({"*": None, "contacts": (3, 0.5)}, {**dict.fromkeys(map(str, EndpointGroup)), "contacts": (3, 0.5)}),
        ({"contacts": ["3", "0.5"]}, {"contacts": (3, 0.5)}),
        ({}, {"contacts": (10, 10.0)}),
        (None, {"contacts": (10, 10.0)}),
    ],
)
def test_settings_take_the_place_of_published_limits(settings: Any, expected: dict[str, Any]) -> None:
    """Limits that are set replace the published ones."""
    limits = rate_limits_of("growth", settings)
    assert {group: limits[EndpointGroup(group)] for group in expected} == expected


@pytest.mark.parametrize(
    ("plan", "settings", "says"),
    [
        ("enterprise", None, "Plan 'enterprise' is not one of growth, pro, business"),
        (
            "growth",
            {"contact": [1, 1]},
            "a group that does not exist: known are contacts, .* and \\* for all",
        ),
        (
            "growth",
            {"contacts": [0, 1]},
            "rate_limits\\['contacts'\\] is not a limit: give \\[calls, seconds\\]",
        ),
        ("growth", {"contacts": [1, 0]}, "give \\[calls, seconds\\], as in \\[10, 10\\], or null"),
        ("growth", {"contacts": [-1, 1]}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": [1]}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": [1, 2, 3]}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": 10}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": "ten"}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": [1, float("inf")]}, "give \\[calls, seconds\\]"),
        ("growth", {"contacts": [1, float("nan")]}, "give \\[calls, seconds\\]"),
        ("growth", {"*": [0, 0]}, "rate_limits\\['\\*'\\]"),
    ],
)
def test_a_limit_that_does_not_exist_is_named(plan: str, settings: Any, says: str) -> None:
    """A plan, group or limit that does not exist is a configuration error that names it."""
    with pytest.raises(WatiConfigurationError, match=says):
        rate_limits_of(plan, settings)
