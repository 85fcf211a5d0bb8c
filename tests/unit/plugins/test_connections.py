from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from sqlalchemy.exc import OperationalError

from airflow_provider_wati.plugins import _connections
from airflow_provider_wati.plugins._connections import Account, Accounts, TooManyLookupsError, account_of

SECRET = "s3cret-of-the-receiver-0123456789"
ACCOUNT = Account(SECRET.encode(), b"key", "123456")


class Connections:
    """Airflow's connections, counting the look-ups."""

    def __init__(self) -> None:
        self.known: dict[str, Account] = {"known": ACCOUNT}
        self.looked_up: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.now = 0.0

    def read(self, conn_id: str) -> Account | None:
        self.looked_up.append(conn_id)
        self.may_answer.wait(timeout=30)
        if conn_id == "broken":
            raise ValueError(SECRET)
        return self.known.get(conn_id)

    def accounts(self) -> Accounts:
        return Accounts(self.read, lambda: self.now)


def test_a_connection_is_not_read_for_each_event() -> None:
    """Known and unknown connections are read once for many events."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        for _ in range(50):
            assert await accounts.with_secret("known", SECRET) is ACCOUNT
            assert await accounts.with_secret("known", "wrong") is None
            assert await accounts.with_read_key("known", "key") is ACCOUNT
            assert await accounts.with_secret("unknown", SECRET) is None

    asyncio.run(ask())
    assert connections.looked_up == ["known", "unknown"]


def test_nothing_opens_what_is_not_there() -> None:
    """No secret fits a connection that does not exist, an empty one neither."""

    async def ask() -> None:
        accounts = Connections().accounts()
        for secret in ("", "\0", "\udc00", SECRET):
            assert await accounts.with_secret("unknown", secret) is None
            assert await accounts.with_read_key("unknown", secret) is None

    asyncio.run(ask())


def test_a_change_is_noticed() -> None:
    """A new secret is known, and the old one unknown, within 30 seconds; a removed connection too."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", SECRET)
        connections.known.clear()
        connections.now = 10
        assert await accounts.with_secret("known", SECRET)
        connections.now = 30
        assert await accounts.with_secret("known", SECRET) is None

    asyncio.run(ask())


def test_a_known_connection_does_not_wait_for_its_renewal() -> None:
    """While a connection is read again, events are taken with what was known."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", SECRET)
        connections.now = 20
        connections.may_answer.clear()
        assert await asyncio.wait_for(accounts.with_secret("known", SECRET), 30)
        connections.may_answer.set()
        await accounts._running["known"]

    asyncio.run(ask())
    assert connections.looked_up == ["known"] * 2


def test_a_guesser_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses of connections run few look-ups at once, and what is remembered of them has an end."""
    monkeypatch.setattr(_connections, "_MOST_KEPT", 5)
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", SECRET)
        connections.may_answer.clear()
        guesses = [
            asyncio.create_task(accounts.with_secret(f"guess{number}", SECRET)) for number in range(50)
        ]
        await asyncio.sleep(0.1)
        # The known one is not kept out.
        assert await asyncio.wait_for(accounts.with_secret("known", SECRET), 30)
        connections.may_answer.set()
        answers = await asyncio.gather(*guesses, return_exceptions=True)
        assert sum(isinstance(answer, TooManyLookupsError) for answer in answers) == 42
        assert len(accounts._kept) == 5
        assert "known" in accounts._kept

    asyncio.run(ask())
    assert len(connections.looked_up) == 9


def test_an_error_is_not_taken_for_a_missing_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A look-up that fails is raised and tried again, and its text, which may hold a secret, is not logged."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        for _ in range(2):
            with pytest.raises(ValueError, match=SECRET):
                await accounts.with_secret("broken", SECRET)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(ask())
    assert connections.looked_up == ["broken"] * 2
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_an_overload_does_not_tell_which_connections_receive() -> None:
    """While look-ups are crowded, a wrong secret of a known connection and an unknown connection look alike."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", "wrong") is None
        connections.now = 20
        connections.may_answer.clear()
        crowd = [asyncio.create_task(accounts.with_secret(f"guess{number}", "x")) for number in range(8)]
        await asyncio.sleep(0.1)
        for conn_id in ("known", "unknown", "no/id"):
            with pytest.raises(TooManyLookupsError):
                await accounts.with_secret(conn_id, "wrong")
        connections.may_answer.set()
        await asyncio.gather(*crowd)

    asyncio.run(ask())


def test_a_failure_does_not_tell_which_connections_receive() -> None:
    """While look-ups fail, a wrong secret of a known connection is not answered as if its connection were missing."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", "wrong") is None
        with pytest.raises(ValueError, match=SECRET):
            await accounts.with_secret("broken", "wrong")
        with pytest.raises(TooManyLookupsError):
            await accounts.with_secret("known", "wrong")
        assert await accounts.with_secret("known", SECRET) is ACCOUNT
        assert await accounts.with_secret("unknown", "wrong") is None
        assert await accounts.with_secret("known", "wrong") is None

    asyncio.run(ask())


@pytest.fixture
def failing_database(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.secrets.metastore import MetastoreBackend

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("select", {}, Exception("connection refused"))

    monkeypatch.setattr(MetastoreBackend, "get_connection", fail)


def test_a_database_that_is_down_is_not_an_unknown_connection(
    failing_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection cannot be read, that is said; where Airflow finds it elsewhere, it is used."""
    with pytest.raises(OperationalError):
        account_of("kept_in_the_database")
    monkeypatch.setenv("AIRFLOW_CONN_IN_THE_ENVIRONMENT", "http://a")
    assert account_of("in_the_environment") is None


def test_a_known_connection_is_known_again_after_an_outage() -> None:
    """A look-up that fails does not replace what is known, and leads to no answer that the connection is missing."""
    connections = Connections()

    async def ask() -> None:
        accounts = connections.accounts()
        assert await accounts.with_secret("known", SECRET)
        accounts._read = broken
        connections.now = 20
        assert await accounts.with_secret("known", SECRET)
        await asyncio.sleep(0.1)
        connections.now = 40
        with pytest.raises(OSError, match="down"):
            await accounts.with_secret("known", SECRET)
        assert accounts._kept["known"][1] is ACCOUNT

    def broken(conn_id: str) -> Account | None:
        raise OSError("down")

    asyncio.run(ask())


@pytest.mark.parametrize("conn_id", ["", "x" * 300, "a\0b", "a/b", "a\nb"])
def test_what_is_no_id_is_not_looked_up(conn_id: str) -> None:
    """What Airflow does not allow as an id costs no look-up."""
    connections = Connections()
    assert asyncio.run(connections.accounts().with_secret(conn_id, SECRET)) is None
    assert connections.looked_up == []
