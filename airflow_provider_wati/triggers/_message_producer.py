"""The shared stream of messages, for Airflow 3.3 and later. Earlier ones have no such streams, and do not import this."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_wati.exceptions import WatiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wati.listening.messages import Position
    from airflow_provider_wati.listening.types import InboundMessage
    from airflow_provider_wati.triggers._message_stream import MessageStream


class MessageProducer(SharedStreamProducer):
    """
    Reads for all watchers of a connection, and moves its position once Airflow has stored their events.

    :param open: makes the stream, in the event loop.
    """

    def __init__(self, open: Callable[[], MessageStream]) -> None:
        self._open = open
        self._stream: MessageStream | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Sequence[InboundMessage], Position]]:
        """Yield the messages of each page, and the position after them."""
        self._stream = self._open()
        async for page in self._stream.pages():
            yield page.messages, page.position

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Keep the position after the pages whose events are stored.

        :raises WatiError: when an event is not stored. Airflow then ends the stream for all watchers and opens it again,
            which reads from the last position on.
        """
        stored: Position | None = None
        lost = False
        for item in batch:
            # An event that nobody was there for has no counts at all.
            taken = item.outcome.acked or item.outcome.rejected
            lost = lost or bool(item.outcome.failed) or not taken
            if not lost:
                stored = item.broker_payload
        if stored is not None and self._stream is not None:
            await self._stream.save(stored)
        if lost:
            raise WatiError("Airflow has not stored an event with messages: they are read again.")
