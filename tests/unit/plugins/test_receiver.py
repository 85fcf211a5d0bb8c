from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.exc import ProgrammingError
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from airflow_provider_wati.listening.read_key import read_key
from airflow_provider_wati.listening.webhook_events import event_of
from airflow_provider_wati.plugins import _receiver, _store, _tables
from airflow_provider_wati.plugins._gate import WebhookGate
from tests.unit.plugins.conftest import SECRET, TOKEN

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_provider_wati.plugins._receiver import Receiver

ADDRESS = f"/wati/webhooks/receiving/{SECRET}"
STATUSES = "/wati/webhooks/receiving/statuses"
MESSAGE = {"eventType": "message", "id": "m1", "text": "Hello"}


@pytest.fixture
def engine(receiver: Receiver) -> Iterator[Engine]:
    """Airflow's database without the tables."""
    found = receiver.engine
    _tables._METADATA.drop_all(found)
    yield found
    _tables.create_tables(found)


@pytest.fixture
def unused(engine: Engine) -> Iterator[Receiver]:
    made = _receiver.Receiver()
    yield made
    made.stop()


@pytest.fixture
def client(unused: Receiver) -> TestClient:
    return TestClient(WebhookGate(Starlette(routes=[Mount("/wati", unused.app)])))


def has_tables(engine: Engine) -> bool:
    return bool(inspect(engine).has_table(_tables.EVENTS.name))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("wati-webhook")}


def test_an_api_server_without_a_receiving_connection_makes_nothing(
    engine: Engine, unused: Receiver, client: TestClient
) -> None:
    """The receiver is off until a connection switches it on: it makes no tables, and looks for them once."""
    looked: list[str] = []

    def note(*arguments: Any) -> None:
        looked.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    before = threads()
    unused.start()
    wait_for(lambda: bool(looked))
    for path in ("/wati/webhooks/off/guess", f"/wati/webhooks/receiving/{SECRET}x", "/wati/webhooks/off/x"):
        assert client.post(path, json=MESSAGE).status_code == 404
    assert client.get(STATUSES).status_code == 404
    time.sleep(1.5)
    event.remove(engine, "before_cursor_execute", note)
    assert not any("CREATE" in statement.upper() for statement in looked)
    assert len([statement for statement in looked if "wati_webhook" in statement]) <= 2
    assert threads() - before <= {"wati-webhook-tables"}
    assert not has_tables(engine)


@pytest.mark.parametrize("reads", [True, False])
def test_the_first_request_that_knows_a_secret_switches_it_on(
    engine: Engine, client: TestClient, reads: bool
) -> None:
    """With the secret or the read key of a connection, the tables are made."""
    if reads:
        key = {"Authorization": f"Bearer {read_key(TOKEN, 'receiving')}"}
        assert client.get(STATUSES, headers=key).json()["statuses"] == []
    else:
        assert client.post(ADDRESS, json=MESSAGE).status_code == 200
    assert has_tables(engine)


def test_full_collections_leave_the_pages_of_the_api_server_out(client: TestClient) -> None:
    """What is there when the receiver is switched on is not looked at by garbage collections, which stop all requests."""
    gc.unfreeze()
    assert client.post(ADDRESS, json=MESSAGE).status_code == 200
    assert gc.get_freeze_count() > 10_000
    gc.unfreeze()


def test_what_an_earlier_process_left_is_dispatched(engine: Engine, unused: Receiver) -> None:
    """What is pending at the start is dispatched without a request; here no DAG uses the asset."""
    _tables.create_tables(engine)
    left = _store.Received("receiving", event_of(MESSAGE), _receiver.now_in_milliseconds())
    _store.store(engine, [left])

    def states() -> list[str]:
        return [delivery.state for delivery in _store.deliveries(engine, 10)]

    assert states() == ["pending"]
    unused.start()
    wait_for(lambda: states() == ["unused"])


def test_tables_of_another_process_are_noticed(
    engine: Engine, unused: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was there before the tables takes part in dispatching later."""
    monkeypatch.setattr(_receiver, "_LOOK_EVERY", 0.05)
    unused.start()
    time.sleep(0.3)
    assert unused._dispatcher is None
    _tables.create_tables(engine)
    wait_for(lambda: unused._dispatcher is not None)


def test_a_database_user_without_the_right_to_create_tables(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each event is answered with 503, and the remedy is logged once."""
    tried = []

    def refuse(engine: Engine) -> None:
        tried.append(engine)
        raise ProgrammingError("CREATE", {}, Exception("permission denied"))

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(_tables, "create_tables", refuse)
        assert [client.post(ADDRESS, json=MESSAGE).status_code for _ in range(3)] == [503] * 3
        assert len(tried) == 1
    assert caplog.text.count("right to create tables") == 1


def test_a_right_that_is_given_later_is_used(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the database allows it, events are stored without a restart."""

    def refuse(engine: Engine) -> None:
        raise ProgrammingError("CREATE", {}, Exception("permission denied"))

    monkeypatch.setattr(_receiver, "_AFTER_REFUSAL", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(_tables, "create_tables", refuse)
        assert client.post(ADDRESS, json=MESSAGE).status_code == 503
    assert client.post(ADDRESS, json=MESSAGE).status_code == 200
