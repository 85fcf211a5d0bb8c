from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from airflow_provider_wati.listening.read_key import read_key
from airflow_provider_wati.plugins import _store
from airflow_provider_wati.plugins._gate import WebhookGate
from airflow_provider_wati.plugins._tables import DISPATCH, EVENTS
from airflow_provider_wati.plugins._writer import LONGEST_QUEUE
from tests.unit.plugins.conftest import SECRET, TOKEN

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver

ADDRESS = f"/wati/webhooks/receiving/{SECRET}"
MESSAGE = {"eventType": "message", "id": "m1", "text": "Hello", "waId": "12025550143", "tenantId": "123456"}
NOT_FOUND = (404, '{"detail":"Not Found"}')


@pytest.fixture
def client(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    from airflow_provider_wati.plugins import _dispatcher

    # What is stored stays as it came in.
    monkeypatch.setattr(_dispatcher, "has_work", lambda session: False)
    return TestClient(WebhookGate(Starlette(routes=[Mount("/wati", receiver.app)])))


def stored(receiver: Receiver) -> list[Any]:
    with receiver.engine.connect() as connection:
        return list(connection.execute(select(EVENTS).order_by(EVENTS.c.id)))


def test_an_event_is_stored_before_it_is_answered(client: TestClient, receiver: Receiver) -> None:
    """When the answer comes, the event is in the table."""
    response = client.post(ADDRESS, json=MESSAGE)
    assert (response.status_code, response.json()) == (200, {"detail": "Stored"})
    [row] = stored(receiver)
    assert (row.conn_id, row.kind, row.state, row.duplicates) == ("receiving", "message", "pending", 0)
    assert json.loads(row.record)["text"] == "Hello"


def test_a_repeat_is_one_event(client: TestClient, receiver: Receiver) -> None:
    """What WATI sends again is answered alike, stored once and counted."""
    for _ in range(3):
        assert client.post(ADDRESS, json=MESSAGE).status_code == 200
    assert client.post(ADDRESS, json={**MESSAGE, "id": "m2"}).status_code == 200
    assert [(json.loads(row.record)["id"], row.duplicates) for row in stored(receiver)] == [
        ("m1", 2),
        ("m2", 0),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/wati/webhooks/receiving/wrong-wrong-wrong-wrong-wrong",
        f"/wati/webhooks/receiving/{SECRET}x",
        f"/wati/webhooks/receiving/{SECRET}/",
        f"/wati/webhooks/unknown/{SECRET}",
        f"/wati/webhooks/off/{SECRET}",
        "/wati/webhooks/off/",
        "/wati/webhooks/short/short",
        f"/wati/webhooks/other_type/{SECRET}",
        f"/wati/webhooks/%00/{SECRET}",
        f"/wati/webhooks/{'x' * 300}/{SECRET}",
        "/wati/webhooks/receiving/statuses",
    ],
)
def test_whatever_is_not_there_looks_alike(client: TestClient, receiver: Receiver, path: str) -> None:
    """A wrong secret, an unknown connection, one that receives nothing and one of another type have one answer."""
    response = client.post(path, json=MESSAGE)
    if not path.endswith("/statuses"):
        assert (response.status_code, response.text) == NOT_FOUND
    assert response.status_code in (404, 405)
    assert stored(receiver) == []


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"not json", "application/json", 400),
        (b"", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "application/json", 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "application/json", 400),
        (b'{"id": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b'{"a": "' + b"x" * 1_000_000 + b'"}', "application/json", 413),
        (b"{}", "application/json; charset=utf-8", 200),
        (b"{}", "application/cloudevents+json", 200),
        (b'{"eventType": "brand new", "id": NaN}', "application/json", 200),
        (b'{"eventType": "message", "id": {"a": 1}, "text": 5}', "application/json", 200),
        (b'{"eventType": "message", "id": "m", "text": "\\ud83d"}', "application/json", 200),
        (b'{"eventType": "message", "id": "m", "tenantId": "999"}', "application/json", 403),
        (b'{"eventType": "message", "id": "m", "tenantId": 123456}', "application/json", 200),
    ],
)
def test_each_body_has_its_answer(
    client: TestClient, receiver: Receiver, content: bytes, content_type: str, status: int
) -> None:
    """Bodies that are too large, no JSON or another tenant's are refused; unknown events are kept."""
    response = client.post(ADDRESS, content=content, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text
    assert len(stored(receiver)) == (status == 200)


def test_a_body_without_a_length_is_limited_too(client: TestClient) -> None:
    """A body that is sent in pieces is refused as soon as it is too large."""
    response = client.post(ADDRESS, content=(b"x" * 100_000 for _ in range(20)))
    assert response.status_code == 413


def test_too_many_waiting_events_are_sent_away(
    client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is too long is answered with 503, after which WATI sends again."""
    monkeypatch.setattr("airflow_provider_wati.plugins._writer.LONGEST_QUEUE", 0)
    response = client.post(ADDRESS, json=MESSAGE)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert LONGEST_QUEUE > 0


def test_a_failing_database_is_said_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the event cannot be stored, the answer is 503, and nothing of the event is logged."""

    def fail(*_: object) -> None:
        raise ValueError("Hello 12025550143")

    monkeypatch.setattr(_store, "store", fail)
    monkeypatch.setattr("airflow_provider_wati.plugins._writer._PAUSE", 0)
    with caplog.at_level(logging.DEBUG):
        assert client.post(ADDRESS, json=MESSAGE).status_code == 503
    assert "ValueError" in caplog.text
    assert not any(part in caplog.text for part in ("Hello", "12025550143", SECRET))


def test_a_connection_that_cannot_be_read_is_not_missing(client: TestClient, receiver: Receiver) -> None:
    """While Airflow cannot say whether the connection exists, WATI is told to send again."""

    def fail(conn_id: str) -> None:
        raise OSError("down")

    receiver.accounts._read = fail
    response = client.post(ADDRESS, json=MESSAGE)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert client.get("/wati/webhooks/receiving/statuses", headers=KEY).status_code == 503


def test_an_unexpected_error_is_not_raised_to_the_server(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong is answered with 500, and its text is not logged."""

    def fail(body: object) -> None:
        raise RuntimeError(str(body))

    monkeypatch.setattr("airflow_provider_wati.plugins._app.event_of", fail)
    assert client.post(ADDRESS, json=MESSAGE).status_code == 500
    assert "RuntimeError" in caplog.text
    assert "Hello" not in caplog.text


STATUS = {"eventType": "sentMessageREAD", "whatsappMessageId": "wamid.X", "timestamp": "1793318400"}
KEY = {"Authorization": f"Bearer {read_key(TOKEN, 'receiving')}"}


def test_statuses_are_read_page_by_page(client: TestClient, receiver: Receiver) -> None:
    """Workers read statuses in the order of their dispatch, each once, and later ones from the same cursor."""
    for number in range(5):
        client.post(ADDRESS, json={**STATUS, "id": f"s{number}"})
    client.post(ADDRESS, json=MESSAGE)

    def give(batch: int, ids: tuple[int, ...]) -> None:
        with receiver.engine.begin() as connection:
            connection.execute(update(EVENTS).where(EVENTS.c.id.in_(ids)).values(batch=batch))
            connection.execute(update(DISPATCH).values(batch=batch))

    numbers = [row.id for row in stored(receiver)]
    assert client.get("/wati/webhooks/receiving/statuses", headers=KEY).json()["statuses"] == []
    # The last ones were dispatched first.
    give(1, tuple(numbers[3:]))
    give(2, tuple(numbers[:3]))
    cursor, found = "", []
    while True:
        page = client.get(f"/wati/webhooks/receiving/statuses?after={cursor}&limit=2", headers=KEY).json()
        found += [(status["id"], status["status"]) for status in page["statuses"]]
        cursor = page["cursor"]
        if not page["more"]:
            break
    assert found == [(f"s{number}", "read") for number in (3, 4, 0, 1, 2)]
    last = client.get(f"/wati/webhooks/receiving/statuses?after={cursor}", headers=KEY).json()
    assert last == {"statuses": [], "cursor": cursor, "more": False}


@pytest.mark.parametrize(
    ("conn_id", "headers"),
    [
        ("receiving", {}),
        ("receiving", {"Authorization": "Bearer wrong"}),
        ("receiving", {"Authorization": f"Basic {read_key(TOKEN, 'receiving')}"}),
        ("receiving", {"Authorization": f"Bearer {read_key(TOKEN, 'off')}"}),
        ("off", {"Authorization": f"Bearer {read_key(TOKEN, 'off')}"}),
        ("unknown", {"Authorization": f"Bearer {read_key(TOKEN, 'unknown')}"}),
    ],
)
def test_statuses_need_the_read_key(client: TestClient, conn_id: str, headers: dict[str, str]) -> None:
    """Without the key of this connection nothing is there."""
    response = client.get(f"/wati/webhooks/{conn_id}/statuses", headers=headers)
    assert (response.status_code, response.text) == NOT_FOUND


@pytest.mark.parametrize(
    "query", ["after=x", "after=1", "after=1.-1", "limit=0", "limit=x", f"after={'9' * 50}.1", "after=x.1.1"]
)
def test_a_cursor_that_is_none(client: TestClient, query: str) -> None:
    """A cursor or limit that cannot be one is refused."""
    assert client.get(f"/wati/webhooks/receiving/statuses?{query}", headers=KEY).status_code == 400


def test_the_page_is_closed_to_strangers(client: TestClient) -> None:
    """Who is not logged in to Airflow sees no deliveries."""
    assert client.get("/wati/deliveries").status_code == 401
