"""The triggers that wait for a message from a person, and the one that polls for messages of all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.listening.types import MESSAGES
from airflow_provider_wati.triggers._base import Ending, WatiTrigger
from airflow_provider_wati.waiting.messages import AnswerCondition, ReplyCondition

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_wati.listening.types import InboundMessage
    from airflow_provider_wati.triggers._message_stream import MessageStream, Watch
    from airflow_provider_wati.waiting.condition import Condition


class WatiReplyTrigger(WatiTrigger):
    """
    Wait for a message from a person. A sensor makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.ReplyCondition`.
    """

    condition_type: ClassVar[Callable[..., Condition]] = ReplyCondition


class WatiAnswerTrigger(WatiTrigger):
    """
    Wait for the answer to a question with buttons. An operator makes it; a DAG need not.

    The parameters and the event are those of :class:`.WatiTrigger`; ``condition`` has the fields of
    :class:`.AnswerCondition`. The event also has ``condition`` and ``deadline``.
    """

    condition_type: ClassVar[Callable[..., Condition]] = AnswerCondition

    def _event(self, ending: Ending, reason: str) -> dict[str, Any]:
        # What the deferral hands over gets lost in `dag.test()`, and the operator looks once more after a timeout.
        waited_for = {"condition": asdict(self.condition), "deadline": self.deadline}  # type: ignore[call-overload] # conditions are dataclasses
        return {**super()._event(ending, reason), **waited_for}


class WatiMessageTrigger(BaseEventTrigger):
    """
    Poll WATI for messages of customers, for an asset's ``AssetWatcher``; :func:`.messages_asset` makes both.

    The asset is called ``wati://{wati_conn_id}/messages``. Its events hold what :func:`.new_messages` reads. All watchers of a connection
    share their polls. The trigger never ends: a poll that fails is logged and repeated.

    :param wati_conn_id: the connection of type ``wati``, which must exist in the triggerer too.
    :param poll_interval: seconds between two polls, 1 at least. Where the watchers of a connection differ, the shortest
        counts. A poll without news costs two calls.
    :param look_back: seconds before the first poll from which on messages count; later polls go on where the last one ended.
    :param state_path: a directory or object-storage URI that keeps how far the messages are read; else the option
        ``[wati] state_path`` counts, else Airflow's store of the asset. Airflow 3.1 and 3.2 have no such store: without a directory, each start
        of the trigger reads from ``look_back`` on.
    :raises WatiValidationError: when a time is not a number of seconds, or too short.
    """

    #: Where times come from; tests put another one here.
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    #: The triggers of this process.
    _watching: ClassVar[WeakSet[WatiMessageTrigger]] = WeakSet()

    def __init__(
        self,
        *,
        wati_conn_id: str = "wati_default",
        poll_interval: float = 300.0,
        look_back: float = 3600.0,
        state_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call] # Airflow has no type for it
        self.wati_conn_id = wati_conn_id
        self.poll_interval: float = _seconds("poll_interval", poll_interval, least=1.0)
        self.look_back: float = _seconds("look_back", look_back, least=0.0)
        self.state_path = state_path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wati_conn_id": self.wati_conn_id,
            "poll_interval": self.poll_interval,
            "look_back": self.look_back,
            "state_path": self.state_path,
        }

    def shared_stream_key(self) -> Hashable:
        """Return what triggers have in common that share a stream (Airflow 3.3 and later)."""
        return ("airflow_provider_wati messages", self._watch)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return what reads for all triggers of a stream (Airflow 3.3 and later)."""
        from airflow_provider_wati.triggers._message_producer import MessageProducer

        return MessageProducer(cls(**kwargs)._stream)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Sequence[InboundMessage]]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each page with messages."""
        self._watching.add(self)
        async for messages in shared_stream:
            if messages:
                yield MessagesEvent(messages)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll without a shared stream of Airflow: 3.1 and 3.2. The triggers of a triggerer share their polls all the same."""
        from airflow_provider_wati.triggers._message_stream import broadcast_of

        self._watching.add(self)
        async for messages in broadcast_of(self._watch, self._shortest_interval, self.clock).messages():
            yield MessagesEvent(messages)

    @property
    def _watch(self) -> Watch:
        from airflow_provider_wati.triggers._message_stream import Watch

        return Watch(self.wati_conn_id, self.look_back, self.state_path)

    def _stream(self) -> MessageStream:
        from airflow_provider_wati.triggers._message_stream import MessageStream

        return MessageStream(self._watch, self._shortest_interval, self.clock)

    def _shortest_interval(self) -> float:
        return min(
            (each.poll_interval for each in self._watching if each._watch == self._watch),
            default=self.poll_interval,
        )


class MessagesEvent(TriggerEvent):
    """
    An event with messages. Airflow writes events to the log of the triggerer, where messages do not belong.

    :param messages: of customers.
    """

    def __init__(self, messages: Sequence[InboundMessage]) -> None:
        super().__init__({MESSAGES: list(messages)})  # type: ignore[no-untyped-call] # Airflow has no type for it

    def __repr__(self) -> str:
        """Say how many messages there are."""
        return f"TriggerEvent<{len(self.payload[MESSAGES])} messages>"

    __str__ = __repr__


def _seconds(name: str, value: float, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise WatiValidationError(f"{name} is {value!r}: give seconds, {least:g} at least.")
    return float(value)
