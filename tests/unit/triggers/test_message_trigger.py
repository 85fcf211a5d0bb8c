"""The trigger that polls for messages of customers, against real servers, with Airflow's own shared streams where it has them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.state.asset_state import asset_state
from airflow_provider_wati.triggers import _message_stream
from airflow_provider_wati.triggers.messages import MessagesEvent, WatiMessageTrigger
from tests.conftest import NO_PACING, reads_connections_anywhere
from tests.support.scripted_server import answer, serving

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA = "12025550143"
ASSET = "wati://wati_default/messages"
needs_shared_streams = pytest.mark.skipif(
    Version(version("apache-airflow")) < Version("3.3"), reason="Airflow shares streams from 3.3 on"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> None:
    monkeypatch.setattr(_message_stream, "_SETTLE", 0.2)
    monkeypatch.setattr(_message_stream, "_FIRST_PAUSE", 0.2)


@pytest.fixture
def connected(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    connect(monkeypatch, sandbox.endpoint, sandbox.token)
    return sandbox


def connect(monkeypatch: pytest.MonkeyPatch, host: str, token: str = "t") -> None:
    extra = {**NO_PACING, "timeout": [30, 60]}
    connection = {"conn_type": "wati", "host": host, "password": token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))


def write(sandbox: Sandbox, text: str, phone: str = ADA) -> None:
    sandbox.control("POST", "/inbound", {"phone": phone, "text": text})


def trigger(state: Path | None, **arguments: Any) -> WatiMessageTrigger:
    return WatiMessageTrigger(
        **{"poll_interval": 1.0, "state_path": state and str(state), **arguments},
    )


def texts(event: Any) -> list[str]:
    assert json.loads(json.dumps(event.payload)) == event.payload
    return [message["text"] for message in event.payload["messages"]]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work(), 120)

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 # what changes is in another thread or process
        await asyncio.sleep(0.05)


def stored(state: Path) -> Any:
    found = asset_state(ASSET, str(state))
    assert found is not None
    return found.get("wati_position")


def test_a_trigger_survives_its_serialization() -> None:
    """The trigger is rebuilt from JSON, and Airflow can store it."""
    from airflow.models.trigger import Trigger

    made = WatiMessageTrigger(wati_conn_id="c", poll_interval=60, look_back=10, state_path="/state")
    path, arguments = made.serialize()
    assert json.loads(json.dumps(arguments)) == arguments
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name)(**arguments).serialize() == (path, arguments)
    assert Trigger.from_object(made).kwargs == arguments


@pytest.mark.parametrize(
    "arguments",
    [{"poll_interval": 0.5}, {"poll_interval": "300"}, {"look_back": -1}, {"poll_interval": float("nan")}],
    ids=str,
)
def test_times_that_cannot_be_right_are_refused(arguments: dict[str, Any]) -> None:
    """A wrong time is an error when the DAG is parsed, which names it."""
    with pytest.raises(WatiValidationError, match=next(iter(arguments))):
        WatiMessageTrigger(**arguments)


def test_an_event_does_not_show_its_messages() -> None:
    """Airflow logs events of triggers; texts and phone numbers are not in what it logs, and are in the payload."""
    message: Any = {"id": "m", "text": "secret", "phone_number": ADA}
    event = MessagesEvent([message])
    assert "secret" not in f"{event!r} {event}"
    assert event.model_dump() == {"payload": {"messages": [message]}}


def test_run_yields_messages_and_goes_on_after_a_restart(connected: Sandbox, tmp_path: Path) -> None:
    """Without a shared stream the trigger yields what came in, and another one goes on from the stored position."""
    write(connected, "one")

    async def first() -> None:
        events = trigger(tmp_path).run()
        assert texts(await anext(events)) == ["one"]
        write(connected, "two")
        assert texts(await anext(events)) == ["two"]
        await until(lambda: len(stored(tmp_path)["ids"]) == 16)
        await events.aclose()  # type: ignore[attr-defined] # it is a generator

    async def second() -> None:
        write(connected, "three")
        assert texts(await anext(trigger(tmp_path).run())) == ["two", "three"]

    run(first)
    run(second)


def test_without_state_a_start_looks_back(connected: Sandbox) -> None:
    """Where nothing keeps the position, each start reads from look_back on."""
    write(connected, "one")

    async def start() -> None:
        events = trigger(None).run()
        assert texts(await anext(events)) == ["one"]

    if asset_state(ASSET, None) is None:
        run(start)
        run(start)


def test_triggers_without_shared_streams_share_their_polls(connected: Sandbox, tmp_path: Path) -> None:
    """Fifty triggers of a triggerer share one poll; the shortest interval counts; the last that leaves ends the poll."""

    def polls() -> int:
        return sum(call.endswith("/conversations") for call in connected.requests())

    async def watch(each: WatiMessageTrigger, got: list[list[str]]) -> None:
        async for event in each.run():
            got.append(texts(event))

    async def work() -> None:
        got: list[list[str]] = []
        connected.control("DELETE", "/requests")
        began = time.monotonic()
        # Of an interval that is not the shortest, each would poll once in this test if it polled by itself.
        triggers = [trigger(tmp_path, poll_interval=interval) for interval in [2.0, *[3600.0] * 49]]
        tasks = [asyncio.create_task(watch(each, got)) for each in triggers]
        await asyncio.sleep(0.1)
        write(connected, "hello")
        await until(lambda: len(got) == 50)
        assert got == [["hello"]] * 50
        seen = polls()
        await until(lambda: polls() >= seen + 2)
        # A poll may start in each interval, and has two pages at most here.
        assert polls() <= 2 * ((time.monotonic() - began) / 2.0 + 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A request that is under way ends in its thread.
        while connected.requests():
            connected.control("DELETE", "/requests")
            await asyncio.sleep(3)

    run(work)


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [(401, {}, "401"), (429, {"Retry-After": "3"}, "429"), (503, {}, "503"), (403, {}, "403")],
)
def test_an_outage_is_logged_and_survived(
    status: int,
    headers: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Whatever WATI answers, the trigger logs what is wrong and goes on, later where WATI names a time."""
    talk = {"conversation_list": [{"id": "66b1fb044045cedb1f195390"}], "page_number": 1, "page_size": 100}
    message = {"id": "66b2531d4931581381944612", "owner": False, "text": "hello"}
    messages = {"message_list": [message], "page_number": 1, "page_size": 100}
    no_more: dict[str, Any] = {"message_list": [], "conversation_list": []}
    steps = [answer(status, headers=headers)] * 2
    with serving(*steps, answer(200, talk), answer(200, messages), *[answer(200, no_more)] * 50) as server:
        connect(monkeypatch, f"{server.url}/100001")

        async def work() -> float:
            began = asyncio.get_running_loop().time()
            assert texts(await anext(trigger(tmp_path).run())) == ["hello"]
            return asyncio.get_running_loop().time() - began

        seconds = run(work)
    assert says in caplog.text
    assert "'wati_default' could not be polled" in caplog.text
    if headers:
        assert seconds >= 6


@reads_connections_anywhere
def test_a_missing_connection_is_logged_and_found_later(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A connection that does not exist yet is named in the log, and used once it is there."""
    write(sandbox, "hello")

    async def work() -> None:
        event: Any = asyncio.ensure_future(anext(trigger(tmp_path).run()))
        await until(lambda: "Connection 'wati_default' does not exist in the triggerer" in caplog.text)
        connect(monkeypatch, sandbox.endpoint, sandbox.token)
        assert texts(await event) == ["hello"]

    run(work)


def test_the_loop_is_never_held_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While WATI does not answer, the event loop, which belongs to all triggers, goes on."""
    asked, may_answer = threading.Event(), threading.Event()
    answered_in_time: list[bool] = []

    def slow(connection: socket.socket) -> bool:
        asked.set()
        answered_in_time.append(may_answer.wait(30))
        return answer(200, {"conversation_list": [], "page_number": 1, "page_size": 100})(connection)

    async def work() -> None:
        event = asyncio.ensure_future(anext(trigger(tmp_path).run()))
        await until(asked.is_set)
        # A loop that is held up does not come here before the server gives up.
        may_answer.set()
        await until(lambda: len(answered_in_time) > 1)
        event.cancel()
        await asyncio.gather(event, return_exceptions=True)

    with serving(slow) as server:
        connect(monkeypatch, server.url)
        run(work)
    assert all(answered_in_time)


class Manager:
    """Airflow's manager of shared streams, and what the triggerer does with it."""

    def __init__(self) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager(ack_timeout=30.0)
        self.events: dict[int, list[list[str]]] = {}
        self.seqs: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, id: int, each: WatiMessageTrigger) -> None:
        self._tasks.append(asyncio.create_task(self._run(id, each)))

    async def _run(self, id: int, each: WatiMessageTrigger) -> None:
        key = each.shared_stream_key()
        stream: AsyncIterator[Any] = self.manager.subscribe(trigger_id=id, trigger=each, key=key)
        async for event in each.filter_shared_stream(stream):
            seq = self.manager.bind_pending_event(trigger_id=id, key=key)
            assert seq is not None
            self.events.setdefault(id, []).append(texts(event))
            self.seqs.append(seq)

    def store(self) -> None:
        """Say that the events are stored."""
        self.manager.confirm_persisted(self.seqs)
        self.seqs.clear()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.manager.stop_all()


@needs_shared_streams
def test_the_position_moves_once_the_events_are_stored(connected: Sandbox, tmp_path: Path) -> None:
    """As long as one watcher's event is not stored, a restart brings the messages again; afterwards it does not."""
    write(connected, "one")

    async def work() -> None:
        manager = Manager()
        manager.start(1, trigger(tmp_path))
        manager.start(2, trigger(tmp_path, poll_interval=1.5))
        await until(lambda: len(manager.events) == 2)
        await asyncio.sleep(3)
        assert stored(tmp_path) is None
        await manager.stop()

        manager = Manager()
        manager.start(1, trigger(tmp_path))
        await until(lambda: manager.events == {1: [["one"]]})
        manager.store()
        await until(lambda: stored(tmp_path) is not None)
        await manager.stop()

        manager = Manager()
        write(connected, "two")
        manager.start(1, trigger(tmp_path))
        await until(lambda: manager.events == {1: [["two"]]})
        await manager.stop()

    run(work)


@needs_shared_streams
@pytest.mark.parametrize("counts", [(1, 1), (0, 0)], ids=["one has not got it", "nobody was there"])
def test_an_event_that_is_not_stored_ends_the_stream(tmp_path: Path, counts: tuple[int, int]) -> None:
    """A page that a watcher has not got is read again: the position stays before it, and the stream is opened again."""
    from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

    from airflow_provider_wati.exceptions import WatiError
    from airflow_provider_wati.listening.messages import Position
    from airflow_provider_wati.triggers._message_producer import MessageProducer

    good, bad, later = (
        Position(since=f"2026-11-26T0{n}:00:00Z", floor="2026-11-26T00:00:00Z") for n in range(3)
    )
    saved: list[Position] = []

    class Stream:
        async def save(self, position: Position) -> None:
            saved.append(position)

    producer = MessageProducer(lambda: None)  # type: ignore[arg-type, return-value] # never opened
    producer._stream = Stream()  # type: ignore[assignment] # all that is used of it
    batch = [
        AdvanceItem(good, AdvanceOutcome(acked=2, failed=0)),
        AdvanceItem(bad, AdvanceOutcome(acked=counts[0], failed=counts[1])),
        AdvanceItem(later, AdvanceOutcome(acked=2, failed=0)),
    ]
    with pytest.raises(WatiError, match="read again"):
        asyncio.run(producer.advance(batch))
    assert saved == [good]
