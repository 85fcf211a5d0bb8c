"""The messages of customers of one connection, polled for all its watchers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiAuthenticationError, WatiError
from airflow_provider_wati.listening.messages import MessagePoll, Page, Position, first_position
from airflow_provider_wati.state.asset_state import asset_state
from airflow_provider_wati.triggers._looks import shared_connection

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.hooks.wati import WatiHook
    from airflow_provider_wati.listening.types import InboundMessage

log = logging.getLogger(__name__)

#: The name of the position in the state of the asset.
POSITION = "wati_position"
#: Seconds after which a poll that failed is repeated; doubled each time, up to the poll interval.
_FIRST_PAUSE = 5.0
#: Seconds between two pages of one poll: an asset event may wait for the next one where the scheduler has not seen the one
#: before it yet.
_PAGE_PAUSE = 10.0
#: Seconds before the first poll, at most: the triggers that a triggerer takes over start one after the other, and one that
#: starts late does not get what was read before.
_SETTLE = 5.0


@dataclass(frozen=True, slots=True)
class Watch:
    """
    What is read, and where it is remembered; watchers with the same one share their polls.

    :param conn_id: the connection.
    :param look_back: seconds before the start of the first poll that it reads.
    :param state_path: the user's directory for state.
    """

    conn_id: str
    look_back: float
    state_path: str | None

    @property
    def asset(self) -> str:
        """The name of the asset that gets the messages, in whose state the position is kept."""
        return f"wati://{self.conn_id}/messages"


class MessageStream:
    """
    Polls one connection for ever.

    No error ends it: a poll that fails is logged and repeated, after what WATI asks for if it names a time.

    :param watch: what is read.
    :param interval: says how many seconds are between the starts of two polls.
    :param clock: the time.
    """

    def __init__(self, watch: Watch, interval: Callable[[], float], clock: Clock) -> None:
        self._watch = watch
        self._interval = interval
        self._clock = clock
        self._connection = shared_connection(watch.conn_id)
        self._state = asset_state(watch.asset, watch.state_path)
        self._failed = 0

    async def pages(self) -> AsyncIterator[Page]:
        """Yield pages; those without messages too, for their position."""
        await asyncio.sleep(min(_SETTLE, self._interval()))
        poll = MessagePoll(await self._first_position(), self._clock)
        while True:
            began = self._clock.monotonic()
            pause: float | None = None
            try:
                async for page in self._poll(poll):
                    yield page
                self._succeed()
            except WatiError as error:
                pause = self._tolerate(error, str(error), error.retry_after)
            except Exception as error:
                pause = self._tolerate(error, f"{type(error).__name__}, which is not one of WATI's", None)
            taken = self._clock.monotonic() - began
            await asyncio.sleep(max(self._interval() - taken, 0.0) if pause is None else pause)

    async def save(self, position: Position) -> None:
        """Keep a position. An error is logged: what was read since the last one comes again after a restart."""
        if self._state is None:
            return
        try:
            await self._state.aset(POSITION, position.to_json())
        except Exception as error:
            log.warning(
                "How far the messages of connection %r are read cannot be kept (%s). Messages may come again after a "
                "restart of the triggerer. An asset called %r has to be in a DAG, or state_path has to be writable.",
                self._watch.conn_id,
                type(error).__name__,
                self._watch.asset,
            )

    async def _first_position(self) -> Position:
        position: Position | None = None
        while self._state is not None:
            try:
                position = Position.from_json(await self._state.aget(POSITION))
                break
            except Exception as error:
                pause = self._tolerate(error, f"its state cannot be read ({type(error).__name__})", None)
                await asyncio.sleep(pause)
        if position is not None:
            return position
        log.info(
            "The messages of connection %r are read from %g s ago on: no earlier position is stored.",
            self._watch.conn_id,
            self._watch.look_back,
        )
        return first_position(self._clock.now(), timedelta(seconds=self._watch.look_back))

    async def _poll(self, poll: MessagePoll) -> AsyncIterator[Page]:
        hook = await self._connection.hook()
        try:
            async for page in self._read(poll, hook):
                yield page
        except WatiAuthenticationError:
            # The token may have been replaced in the connection.
            changed = await self._connection.hook(max_age=1.0)
            if changed.settings == hook.settings:
                raise
            async for page in self._read(poll, changed):
                yield page

    async def _read(self, poll: MessagePoll, hook: WatiHook) -> AsyncIterator[Page]:
        pages = _read(poll, hook)
        has_messages = False
        try:
            while (page := await self._connection.run(partial(next, pages, None))) is not None:
                if has_messages and page.messages:
                    await asyncio.sleep(_PAGE_PAUSE)
                has_messages = has_messages or bool(page.messages)
                yield page
        finally:
            # Where the trigger was cancelled meanwhile, the thread is still at it.
            with suppress(ValueError):
                pages.close()

    def _succeed(self) -> None:
        if self._failed:
            log.info("Connection %r is polled again, after %d failures.", self._watch.conn_id, self._failed)
        self._failed = 0

    def _tolerate(self, error: Exception, reason: str, retry_after: float | None) -> float:
        """Log a failure; return the seconds until the next attempt."""
        self._failed += 1
        pause: float = min(_FIRST_PAUSE * 2.0 ** min(self._failed - 1, 10), self._interval())
        pause = max(pause, retry_after or 0.0)
        log.warning(
            "Connection %r could not be polled for messages (%d in a row), and is again in %.0f s: %s",
            self._watch.conn_id,
            self._failed,
            pause,
            reason,
            exc_info=None if isinstance(error, WatiError) else error,
        )
        return pause


def _read(poll: MessagePoll, hook: WatiHook) -> Generator[Page, None, None]:
    # Nothing is kept open between two polls: they are minutes apart.
    with closing(hook.polling_client()) as client:
        yield from poll.pages(client)


class Broadcast:
    """
    One stream for all triggers of an event loop that watch the same: what Airflow 3.3 and later do themselves.

    Airflow before 3.3 does not say when it has stored an event. The position of a page is kept when the next page comes, one
    poll interval later, or ten seconds later in the same poll: the events are stored by then.

    :param stream: what is read.
    :param leave: called when the last trigger leaves.
    """

    def __init__(self, stream: MessageStream, leave: Callable[[], object]) -> None:
        self._stream = stream
        self._leave = leave
        self._queues: set[asyncio.Queue[Sequence[InboundMessage] | BaseException]] = set()
        self._task: asyncio.Task[None] | None = None

    async def messages(self) -> AsyncIterator[Sequence[InboundMessage]]:
        """Yield the messages of each page that is read from now on."""
        queue: asyncio.Queue[Sequence[InboundMessage] | BaseException] = asyncio.Queue()
        self._queues.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._queues.discard(queue)
            if not self._queues:
                self._leave()
                self._task.cancel()

    async def _run(self) -> None:
        stored: Position | None = None
        try:
            async for page in self._stream.pages():
                if stored is not None:
                    await self._stream.save(stored)
                stored = page.position
                if page.messages:
                    self._put(page.messages)
        except Exception as error:
            self._put(error)

    def _put(self, item: Sequence[InboundMessage] | BaseException) -> None:
        for queue in self._queues:
            queue.put_nowait(item)


#: By event loop and watch; each lives as long as one of its triggers.
_broadcasts: dict[tuple[object, Watch], Broadcast] = {}


def broadcast_of(watch: Watch, interval: Callable[[], float], clock: Clock) -> Broadcast:
    """
    Return what the triggers of this event loop share that watch the same.

    :param watch: what is read.
    :param interval: says how many seconds are between the starts of two polls.
    :param clock: the time.
    """
    key = (asyncio.get_running_loop(), watch)
    broadcast = _broadcasts.get(key)
    if broadcast is None:
        stream = MessageStream(watch, interval, clock)
        broadcast = _broadcasts[key] = Broadcast(stream, lambda: _broadcasts.pop(key, None))
    return broadcast
