from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from airflow_provider_wati.listening.webhook_events import event_of
from airflow_provider_wati.plugins import _writer
from airflow_provider_wati.plugins._store import Received
from airflow_provider_wati.plugins._writer import NotStoredError, Writer, WriterIsBusyError


def received(number: int) -> Received:
    return Received("c", event_of({"eventType": "message", "id": f"m{number}"}), number)


class Database:
    """Takes events when it is told to, and remembers the transactions."""

    def __init__(self, failures: int = 0) -> None:
        self.transactions: list[list[int]] = []
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self._failures = failures

    def store(self, events: Sequence[Received]) -> None:
        self.entered.set()
        self.may_go_on.wait(timeout=60)
        if self._failures:
            self._failures -= 1
            raise OSError("locked")
        self.transactions.append([event.received for event in events])


def test_what_comes_together_is_one_transaction() -> None:
    """Requests that wait for the database are stored by one transaction, and each is answered after it."""
    database = Database()
    writer = Writer(database.store)
    writer.start()

    async def send() -> None:
        first = asyncio.create_task(writer.write(received(0)))
        await asyncio.to_thread(database.entered.wait, 60)
        others = [asyncio.create_task(writer.write(received(number))) for number in range(1, 20)]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in (first, *others))
        database.may_go_on.set()
        await asyncio.gather(first, *others)

    asyncio.run(send())
    writer.stop()
    assert database.transactions == [[0], list(range(1, 20))]


def test_a_database_that_comes_back_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is stored once the database takes it; nobody is told of the failures before."""
    monkeypatch.setattr(_writer, "_PAUSE", 0)
    database = Database(failures=2)
    database.may_go_on.set()
    writer = Writer(database.store)
    writer.start()
    asyncio.run(writer.write(received(1)))
    writer.stop()
    assert database.transactions == [[1]]


def test_a_database_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that cannot be stored is not said to be, and the next one is."""
    monkeypatch.setattr(_writer, "_PAUSE", 0)
    database = Database(failures=5)
    database.may_go_on.set()
    writer = Writer(database.store)
    writer.start()
    with pytest.raises(NotStoredError):
        asyncio.run(writer.write(received(1)))
    asyncio.run(writer.write(received(2)))
    writer.stop()
    assert database.transactions == [[2]]


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue does not grow without bound, and what was taken in is stored."""
    monkeypatch.setattr(_writer, "LONGEST_QUEUE", 3)
    database = Database()
    writer = Writer(database.store)

    async def send() -> list[object]:
        tasks = [asyncio.create_task(writer.write(received(number))) for number in range(5)]
        await asyncio.sleep(0.1)
        writer.start()
        database.may_go_on.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    answers = asyncio.run(send())
    writer.stop()
    assert [isinstance(answer, WriterIsBusyError) for answer in answers] == [False] * 3 + [True] * 2
    assert database.transactions == [[0, 1, 2]]
