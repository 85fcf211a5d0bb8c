"""What workers read of the receiver, by the reader that they have, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.routing import Mount

from airflow_provider_wati.listening.read_key import read_key
from airflow_provider_wati.listening.received_statuses import ReceivedStatuses, ReceiverUnavailableError
from airflow_provider_wati.listening.webhook_events import event_of
from airflow_provider_wati.plugins import _store
from airflow_provider_wati.plugins._gate import WebhookGate
from airflow_provider_wati.plugins._tables import DISPATCH, EVENTS
from tests.unit.plugins.conftest import TOKEN

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver


@contextmanager
def serving(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def url(receiver: Receiver) -> Iterator[str]:
    # With the gate, as in a server that Airflow runs.
    with serving(WebhookGate(Starlette(routes=[Mount("/wati", receiver.app)]))) as address:
        yield address


def come_in(receiver: Receiver, batch: int, **body: Any) -> None:
    """Store an event, and dispatch it."""
    _store.store(receiver.engine, [_store.Received("receiving", event_of(body), 1_793_318_400_000)])
    with receiver.engine.begin() as connection:
        connection.execute(update(EVENTS).where(EVENTS.c.batch.is_(None)).values(batch=batch))
        connection.execute(update(DISPATCH).values(batch=batch))


def test_a_mark_changes_when_something_comes_in(receiver: Receiver, url: str) -> None:
    """Messages and statuses each have a mark, which other events and repeats leave as it is."""
    reader = ReceivedStatuses(url, "receiving", read_key(TOKEN, "receiving"))
    nothing = reader.news()
    come_in(receiver, 1, eventType="message", id="m1", text="Hi")
    message = reader.news()
    assert message["messages"] != nothing["messages"]
    assert message["statuses"] == nothing["statuses"]
    come_in(receiver, 2, eventType="sentMessageREAD", id="s1")
    status = reader.news()
    assert status["messages"] == message["messages"]
    assert status["statuses"] != message["statuses"]
    come_in(receiver, 3, eventType="sentMessageREAD", id="s1")
    come_in(receiver, 4, eventType="templateReviewed")
    assert reader.news() == status


def test_the_reader_reads_what_the_receiver_has_stored(receiver: Receiver, url: str) -> None:
    """The pages of the receiver are those that the reader expects, from a cursor on."""
    reader = ReceivedStatuses(url, "receiving", read_key(TOKEN, "receiving"))
    come_in(receiver, 1, eventType="templateMessageFailed", id="s1", localMessageId="a", failedCode="131026")
    [page] = reader.pages("")
    [status] = page.statuses
    told = (status["status"], status["local_message_id"], status["failed_code"])
    assert told == ("failed", "a", "131026")
    come_in(receiver, 2, eventType="sentMessageREAD", id="s2")
    come_in(receiver, 3, eventType="sentMessageREAD", id="s3")
    assert [status["id"] for status in reader.page(page.cursor, limit=1).statuses] == ["s2"]
    found = [status["id"] for again in reader.pages(page.cursor) for status in again.statuses]
    assert found == ["s2", "s3"]


@pytest.mark.parametrize("conn_id", ["off", "unknown", "receiving"])
def test_without_the_key_nothing_is_there(receiver: Receiver, url: str, conn_id: str) -> None:
    """A connection that receives nothing, an unknown one and a wrong key look alike."""
    key = read_key(TOKEN, conn_id) if conn_id != "receiving" else "wrong"
    with pytest.raises(ReceiverUnavailableError, match="404"):
        ReceivedStatuses(url, conn_id, key).news()
