"""One pace for several hosts, kept in a real Redis and a real PostgreSQL."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_wati.client import SendHooks, WatiClient, rate_storage
from airflow_provider_wati.client.endpoint import Endpoint
from airflow_provider_wati.client.rate_limit import EndpointGroup, Pacer, rate_limits_of
from airflow_provider_wati.client.rate_storage import SharedPace, StorageUrl, secrets_in
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiConnectionError, WatiError
from tests.support.clock import FakeClock
from tests.support.postgres import PostgresUnavailableError, running_postgres
from tests.support.redis_server import RedisUnavailableError, running_redis
from tests.support.scripted_server import Step, answer, reset, serving

KINDS = ("redis", "psycopg2", "psycopg")
NUMBER = "85264318722"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    try:
        with running_redis() as url:
            yield url
    except RedisUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    try:
        with running_postgres() as url:
            yield url
    except PostgresUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty storage, for each kind and each driver."""
    if request.param == "redis":
        import redis

        found: str = request.getfixturevalue("redis_url")
        redis.Redis.from_url(found).flushall()
        return found
    driver = pytest.importorskip(request.param)

    def only_this_one(name: str) -> Any:
        return driver if name in ("psycopg", "psycopg2") else import_module(name)

    monkeypatch.setattr(rate_storage, "import_module", only_this_one)
    found = request.getfixturevalue("postgres_url")
    with driver.connect(found) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS wati_rate_limit_calls")
    return found


def pace_of(url: str, clock: Any = SYSTEM_CLOCK, account: str = "a") -> SharedPace:
    return SharedPace(StorageUrl.parse(url), account, clock)


def taken_at(url: str) -> list[float]:
    """When the counted calls were made, in seconds."""
    if url.startswith("redis"):
        import redis

        client: Any = redis.Redis.from_url(url)
        return [
            score / 1e6 for key in client.keys() for _, score in client.zrange(key, 0, -1, withscores=True)
        ]
    import psycopg2

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM called_at) FROM wati_rate_limit_calls ORDER BY called_at")
        return [float(at) for (at,) in cursor.fetchall()]


def count_of_the_future(url: str, key: str, seconds: float) -> None:
    """Put a call into the storage that is counted ahead of its clock."""
    at = time.time() + seconds
    if url.startswith("redis"):
        import redis

        redis.Redis.from_url(url).zadd(key, {"later": at * 1e6})
        return
    import psycopg2

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO wati_rate_limit_calls VALUES ('later', %s, to_timestamp(%s))", (key, at))


def test_hosts_share_a_limit_and_not_their_clocks(url: str) -> None:
    """Callers whose clocks are a day apart share the places of a limit; the next one is told how long to wait."""
    ahead = FakeClock()
    ahead.advance(86_400)
    hosts = [pace_of(url), pace_of(url, FakeClock()), pace_of(url, ahead)]
    assert [host.take("templates", (3, 600), 600) for host in hosts] == [0, 0, 0]
    for host in hosts:
        assert 0 < host.take("templates", (3, 600), 600) <= 600
        host.close()


def test_accounts_groups_and_limits_are_counted_apart(url: str) -> None:
    """A count that is used up holds no other account, group or limit back."""
    for account, group, limit in (
        ("a", "templates", (1, 600.0)),
        ("b", "templates", (1, 600.0)),
        ("a", "contacts", (1, 600.0)),
        ("a", "templates", (1, 601.0)),
    ):
        pace = pace_of(url, account=account)
        assert pace.take(group, limit, 600) == 0
        assert pace.take(group, limit, 600) > 0
        pace.close()


def test_a_place_is_free_again_after_the_span_and_not_before(url: str) -> None:
    """A caller that waits as long as it is told gets a place, and no two calls are closer than the limit."""
    pace = pace_of(url)
    began = time.monotonic()
    assert pace.take("templates", (2, 1), 1) == 0
    assert pace.take("templates", (2, 1), 1) == 0
    while wait := pace.take("templates", (2, 1), 1):
        assert 0 < wait <= 1
        time.sleep(wait)
    assert time.monotonic() - began >= 1
    pace.close()


TAKE = """
import sys
from airflow_provider_wati.client.rate_storage import SharedPace, StorageUrl
from airflow_provider_wati.clock import SYSTEM_CLOCK
pace = SharedPace(StorageUrl.parse(sys.argv[1]), "a", SYSTEM_CLOCK)
sys.stdin.read()
print(sum(pace.take("templates", (25, 600), 600) == 0 for _ in range(20)))
"""


@pytest.mark.parametrize("isolation", ["", "repeatable read"])
def test_processes_that_come_at_once_get_no_place_too_many(isolation: str, url: str) -> None:
    """
    Of 80 calls of four processes at one time, also the first ever, exactly as many get a place as there are.

    Also where transactions see by default what was there before they had the lock.
    """
    if isolation:
        postgres_only(url).close()
        url += "&options=" + quote(
            f"-c default_transaction_isolation={isolation.replace(' ', chr(92) + ' ')}"
        )
    command = [sys.executable, "-c", TAKE, url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    counts = [int(process.stdout.read()) for process in processes if process.stdout is not None]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert sum(counts) == 25


def test_a_clock_of_the_storage_that_was_set_back_does_not_block_calls(url: str) -> None:
    """Counts of the future are dropped, and the limit holds from then on."""
    pace = pace_of(url)
    key = "airflow-provider-wati:a:templates:1:600"
    assert pace.take("contacts", (1, 600), 600) == 0  # makes the table
    count_of_the_future(url, key, 86_400)
    assert pace.take("templates", (1, 600), 600) == 0
    assert pace.take("templates", (1, 600), 600) > 0
    pace.close()


def test_a_call_that_leaves_late_counts_from_then_on(url: str) -> None:
    """What is held up between its place and its departure is counted at its departure; what leaves at once costs no look."""
    clock = FakeClock()
    pace = pace_of(url, clock)
    pace.recount()
    assert pace.take("templates", (3, 600), 600) == 0
    [before] = taken_at(url)
    pace.recount()
    assert taken_at(url) == [before]
    clock.advance(1)
    pace.recount()
    [after] = taken_at(url)
    assert after > before
    pace.close()


def test_a_client_counts_a_call_when_its_intent_is_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client takes a place in the storage, and moves it when writing down what is about to leave took a while."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    seen: list[list[float]] = []

    def slowly() -> bool:
        seen.append(taken_at(url))
        time.sleep(0.1)
        return True

    with serving(answer(200, {"result": True, "message": {"id": "1"}})) as server:
        wati = WatiClient(f"{server.url}/100001", "token", rate_limit_storage=url, timeout=10)
        wati.send_text(NUMBER, "Hello", hooks=SendHooks(before_send=slowly, not_sent=lambda: None))
        wati.close()
    [[before]], [after] = seen, taken_at(url)
    assert after - before >= 0.1
    # No count of this host's own.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [answer(200, {"result": True, "message": {"id": "1"}}), answer(400), reset])
def test_a_client_counts_a_call_again_when_its_answer_took_a_while(url: str, end: Step) -> None:
    """WATI counts a call when it arrives, which is not after its answer: nothing may leave as if it had arrived sooner."""
    departed: list[float] = []

    def slowly(connection: socket.socket) -> bool:
        departed.extend(taken_at(url))
        time.sleep(0.1)
        return end(connection)

    with serving(slowly) as server:
        wati = WatiClient(f"{server.url}/100001", "token", rate_limit_storage=url, timeout=10)
        with suppress(WatiError):
            wati.send_text(NUMBER, "Hello")
        wati.close()
    [before], [after] = departed, taken_at(url)
    assert after - before >= 0.1


def test_no_limit_asks_no_storage(url: str) -> None:
    """Calls without a limit touch the storage neither before they leave nor afterwards."""
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth", {"*": None}), FakeClock(), url)
    pacer.wait(EndpointGroup.TEMPLATES)
    pacer.recount(EndpointGroup.TEMPLATES)
    pacer.close()
    if url.startswith("redis"):
        assert taken_at(url) == []


def test_a_pacer_waits_on_its_clock(url: str) -> None:
    """A call beyond the limit pauses for what the storage says and a little more, and is then tried again."""

    class Emptying(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            count = taken_at(url)
            assert len(count) == 2
            if url.startswith("redis"):
                import redis

                redis.Redis.from_url(url).flushall()
            else:
                import psycopg2

                with psycopg2.connect(url) as connection, connection.cursor() as cursor:
                    cursor.execute("DELETE FROM wati_rate_limit_calls")

    clock = Emptying()
    pacer = Pacer(Endpoint("http://127.0.0.1:1"), rate_limits_of("growth", {"*": [2, 600]}), clock, url)
    for _ in range(3):
        pacer.wait(EndpointGroup.TEMPLATES)
    [paused] = clock.sleeps
    assert 0 < paused < 620
    pacer.close()


def test_a_fork_opens_a_connection_of_its_own(url: str) -> None:
    """Parent and child count in one storage over two connections."""
    pacer = Pacer(
        Endpoint("http://127.0.0.1:1"), rate_limits_of("growth", {"*": [9, 600]}), SYSTEM_CLOCK, url
    )
    pacer.wait(EndpointGroup.TEMPLATES)
    child = os.fork()
    if child == 0:
        try:
            for _ in range(2):
                pacer.wait(EndpointGroup.TEMPLATES)
            os._exit(0)
        finally:
            os._exit(1)
    pacer.wait(EndpointGroup.TEMPLATES)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pacer.wait(EndpointGroup.TEMPLATES)
    assert len(taken_at(url)) == 5
    pacer.close()


def failing(pace: SharedPace, times: int) -> None:
    """Let the storage fail, as while it restarts."""
    storage: Any = pace._opened()
    take: Callable[..., float] = storage.take

    def fail(*arguments: Any) -> float:
        nonlocal times
        times -= 1
        if times >= 0:
            raise storage.errors[0]("it is loading its data")
        return take(*arguments)

    storage.take = fail


def test_a_storage_that_restarts_is_waited_for(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A storage that fails for a while is tried again with longer pauses, which the log says."""
    clock = FakeClock()
    pace = pace_of(url, clock)
    failing(pace, 3)
    caplog.set_level(logging.WARNING)
    assert pace.take("templates", (1, 600), 600) == 0
    assert clock.sleeps == [1, 2, 4]
    assert caplog.text.count("is tried again: it is loading its data") == 3
    pace.close()


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_storage_that_is_gone_fails_the_call_and_soon_the_next(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a minute the call fails with the remedy and without the password; the next one does not wait again."""
    clock = FakeClock()
    pace = pace_of(f"{scheme}://user:a-password@127.0.0.1:1/0", clock)
    with pytest.raises(
        WatiConnectionError, match=r"at 127\.0\.0\.1:1.*The call was not made\. Let all workers"
    ) as caught:
        pace.take("templates", (1, 600), 600)
    assert 30 < sum(clock.sleeps) <= 60
    before = len(clock.sleeps)
    with pytest.raises(WatiConnectionError):
        pace.take("templates", (1, 600), 600)
    assert len(clock.sleeps) == before
    assert "a-password" not in str(caught.value) + caplog.text + repr(pace._url)


def ended(work: Callable[[], Any]) -> Any:
    """Return what a call returns, or raise what it raises; one that has no end fails."""
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    # A daemon: pytest would wait for one that has no end.
    threading.Thread(target=run, daemon=True).start()
    return result.result(timeout=60)


@contextmanager
def frozen(pace: SharedPace) -> Iterator[None]:
    """Stop the server of a storage, or the part of it that serves this connection: it answers nothing and closes nothing."""
    storage: Any = pace._opened()
    if isinstance(storage, rate_storage.RedisStorage):
        pid = storage._clients[0].info("server")["process_id"]
    else:
        pid = storage._connection.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_freezes_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call waits for an answer without end: the connection is closed, and another one is tried for a minute."""
    monkeypatch.setattr(rate_storage, "_ANSWER_SECONDS", 0.2)
    clock = FakeClock()
    pace = pace_of(url, clock)
    assert pace.take("templates", (9, 600), 600) == 0
    with frozen(pace):
        if url.startswith("redis"):
            with pytest.raises(WatiConnectionError, match="cannot be used"):
                ended(lambda: pace.take("templates", (9, 600), 600))
        else:
            assert ended(lambda: pace.take("templates", (9, 600), 600)) == 0
    assert clock.sleeps
    pace.close()


def test_a_departure_does_not_wait_for_a_server_that_freezes(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Between intent and call, the storage has about a second, however long its other answers may take."""
    monkeypatch.setattr(rate_storage, "_ANSWER_SECONDS", 3_600.0)
    monkeypatch.setattr(rate_storage, "_RECOUNT_SECONDS", 0.2)
    clock = FakeClock()
    pace = pace_of(url, clock)

    def leave() -> None:
        pace.take("templates", (9, 600), 600)
        clock.advance(1)
        with frozen(pace):
            pace.recount()

    ended(leave)
    assert "missed a call" in caplog.text
    assert clock.sleeps == []
    pace.close()


def postgres_only(url: str) -> Any:
    """Return a connection to the PostgreSQL of a test, which others than a PostgreSQL have no reason to run."""
    if url.startswith("redis"):
        pytest.skip("about locks and users of PostgreSQL")
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


def test_a_worker_that_is_gone_holds_no_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that vanishes within its transaction, without a word to the server, holds the others up for a moment only."""
    postgres_only(url).close()
    monkeypatch.setattr(rate_storage, "_ANSWER_SECONDS", 0.3)
    # Else the worker that is to vanish would end its connection itself.
    monkeypatch.setattr(rate_storage, "_GRACE_SECONDS", 3_600.0)
    gone: Any = pace_of(url)._opened()
    gone._connection = gone._connect()
    with ExitStack() as held:
        cursor = held.enter_context(gone._transaction(gone._connection, 0.3))
        gone._take(cursor, "airflow-provider-wati:a:templates:9:600", "place", 9, 600)
        pace = pace_of(url, FakeClock())
        assert ended(lambda: pace.take("templates", (9, 600), 600)) == 0
        held.pop_all()
    assert len(taken_at(url)) == 1
    pace.close()


def test_the_first_connection_does_not_wait_without_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that somebody holds while the table is to be made ends in an error."""
    monkeypatch.setattr(rate_storage, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(rate_storage, "_GRACE_SECONDS", 3_600.0)
    holder = postgres_only(url)
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (rate_storage._lock_number("wati_rate_limit_calls"),))
    pace = pace_of(url, FakeClock())
    try:
        with pytest.raises(WatiConnectionError, match="statement timeout"):
            ended(lambda: pace.take("templates", (9, 600), 600))
    finally:
        holder.close()
    pace.close()


def test_a_user_who_may_not_create_tables_uses_one(url: str) -> None:
    """A table that somebody else has made needs no right to make one."""
    owner = postgres_only(url)
    pace = pace_of(url)
    pace.take("contacts", (9, 600), 600)
    with owner.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS limited")
        cursor.execute("CREATE ROLE limited LOGIN")
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        cursor.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON wati_rate_limit_calls TO limited")
    limited = pace_of(url.replace("postgres:@", "limited:@"), FakeClock())
    try:
        assert limited.take("templates", (9, 600), 600) == 0
    finally:
        limited.close()
        pace.close()
        with owner.cursor() as cursor:
            cursor.execute("DROP OWNED BY limited")
            cursor.execute("DROP ROLE limited")
        owner.close()


def test_an_answer_that_is_lost_costs_no_place(url: str) -> None:
    """A call whose place was counted, and whose answer did not arrive, is not counted twice when it asks again."""
    storage: Any = pace_of(url)._opened()
    for _ in range(2):
        assert storage.take("k", "place", 1, 600) == 0
    assert storage.take("k", "another", 1, 600) > 0
    assert len(taken_at(url)) == 1
    storage.close()


def test_a_call_that_was_held_up_beyond_the_span_is_counted(url: str) -> None:
    """A place that is forgotten by the time its call leaves is taken again, so that the next calls wait for it."""
    clock = FakeClock()
    pace = pace_of(url, clock)
    assert pace.take("templates", (1, 600), 600) == 0
    storage: Any = pace._opened()
    if url.startswith("redis"):
        storage._clients[0].flushall()
    else:
        with storage._connection.cursor() as cursor:
            cursor.execute("DELETE FROM wati_rate_limit_calls")
            storage._connection.commit()
    clock.advance(1)
    pace.recount()
    assert pace.take("templates", (1, 600), 600) > 0
    if url.startswith("redis"):
        assert all(storage._clients[0].ttl(key) > 0 for key in storage._clients[0].keys())
    pace.close()


@pytest.mark.parametrize("option", ["socket_timeout=secret", "secret=1", "retry_on_timeout=secret&x=y"])
def test_an_option_that_redis_does_not_have_is_refused(option: str) -> None:
    """A wrong option of the URL is an error about the connection, which does not repeat it."""
    pytest.importorskip("redis")
    with pytest.raises(WatiConfigurationError, match=r"option after the \?") as caught:
        pace_of(f"redis://127.0.0.1:1/0?{option}").take("templates", (1, 1), 1)
    assert "secret" not in str(caught.value)


def test_an_error_shows_the_password_in_no_spelling() -> None:
    """Drivers repeat parts of the URL, as they are written or as they are meant."""
    url = "postgresql://u:one%40one@h/db?password=two%2Ftwo&sslpassword=three#part"
    assert secrets_in(url) == ["one%40one", "two%2Ftwo", "one@one", "two/two", "three"]
    told = pace_of(url)._told(ValueError("one@one, one%40one, two/two and three are wrong"))
    assert told == "***, ***, *** and *** are wrong"
    assert secrets_in("redis://h/0") == secrets_in("nonsense") == []


def test_a_departure_that_cannot_be_counted_goes_on_with_a_warning(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing waits between the intent and the call: a storage that fails there is reported, and the call leaves."""
    clock = FakeClock()
    pace = pace_of(url, clock)
    pace.take("templates", (1, 600), 600)
    storage: Any = pace._opened()

    def fail(*_: Any) -> None:
        raise storage.errors[0]("gone")

    storage.move = fail
    clock.advance(1)
    pace.recount()
    assert clock.sleeps == []
    assert "missed a call: gone" in caplog.text
    pace.close()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("redis://r.invalid", r"airflow-provider-wati\[redis\]"), ("postgresql://p.invalid/db", r"airflow-provider-wati\[postgres\]")],
)  # fmt: skip
def test_a_missing_driver_is_named(url: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver, the error says what to install."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(rate_storage, "import_module", missing)
    with pytest.raises(WatiConfigurationError, match=remedy):
        pace_of(url).take("templates", (1, 1), 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("redis://r.example.com:6379/0", "Redis at r.example.com:6379"),
        ("rediss://:secret@r.example.com", "Redis at r.example.com"),
        ("postgresql+psycopg2://u:secret@db.example.com/airflow", "PostgreSQL at db.example.com"),
        ("postgres:///airflow?host=/run/postgresql", "PostgreSQL at this machine"),
        ("redis:///0", "Redis at this machine"),
        ("redis://[::1]:6379/0", "Redis at [::1]:6379"),
        ("postgresql://u:secret@a:5432,b:5433/db?x=@", "PostgreSQL at a:5432,b:5433"),
    ],
)
def test_a_url_is_known_by_its_scheme_and_shown_without_its_password(text: str, name: str) -> None:
    """Redis and PostgreSQL are told apart, and neither repr nor name has the password."""
    url = StorageUrl.parse(text)
    assert url.name == name
    assert "secret" not in repr(url)
    # As the drivers read it: they know the URL by its two slashes.
    assert url.url == text.replace("+psycopg2", "")
    assert url.is_redis == text.startswith("redis")


@pytest.mark.parametrize(
    "text",
    ["", "secret", "http://secret", "mysql://secret/db", "redis://[secret", "redis://h:secret/0",
     # The password has a character that begins another part.
     "postgresql://u:1@secret@h/db", "postgresql://u:1/secret@h/db", "postgresql://u:1#secret@h/db",
     "postgresql://u:1?secret@h/db", "redis://:1/secret@h/0"],
)  # fmt: skip
def test_what_is_no_storage_is_refused_without_repeating_it(text: str) -> None:
    """Another URL is refused when the client is made, and the error does not hold it."""
    with pytest.raises(WatiConfigurationError, match="such as redis://") as caught:
        WatiClient("http://127.0.0.1:1/1", "token", rate_limit_storage=text)
    assert "secret" not in str(caught.value)
