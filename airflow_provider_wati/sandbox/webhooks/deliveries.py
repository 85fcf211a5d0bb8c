"""
Deliveries: one event for one subscription, from its creation to its end.

An answer of 200 ends a delivery. Anything else is tried again up to 144 times at intervals of ten minutes, and a
subscription with more than 100 failures in a row is ``Defective`` (all documented). Our choice: an interval runs by the
sandbox's clock and its speed, from one attempt to the next that is due, so that a clock moved by a day is followed by a
day's attempts; what is waiting for a subscription that is disabled or defective waits until it is enabled again; what
happens meanwhile is not sent at all.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_wati.sandbox.model.records import Channel, Webhook
    from airflow_provider_wati.sandbox.settings import Settings

log: logging.Logger = logging.getLogger(__name__)

RETRIES = 144
RETRY_SECONDS = 600.0
#: With more failures in a row than this a subscription is defective.
MAX_FAILURES = 100
#: How long a delivery out of order is held back, in seconds at speed 1 (our choice).
HOLD_SECONDS = 30.0
#: How many deliveries of one subscription are under way at once; those about one person go one after another.
LANES = 8
#: Statuses of campaigns wait to become deliveries while more than this are waiting.
MANY_WAITING = 20_000
#: More than this are not kept: the newest are counted as dropped.
MOST_WAITING = 200_000
KEPT = 10_000


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    SENDING = "sending"
    #: Answered with 200.
    DELIVERED = "delivered"
    #: Not answered with 200, and due again later.
    RETRYING = "retrying"
    #: Tried as often as WATI tries.
    FAILED = "failed"
    #: Never sent, because the URL leads to another machine.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened.

    :param type: its ``eventType``.
    :param key: what it is about; events with the same key keep their order.
    :param payload: makes the body when it is sent, so that a long queue is not a queue of bodies.
    """

    type: str
    key: int
    payload: Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How an attempt ended.

    :param status: of the answer; None without one.
    :param error: why there is no answer of 200.
    :param refused: the URL leads to another machine, and nothing was sent.
    """

    status: int | None = None
    error: str | None = None
    refused: bool = False

    @property
    def is_received(self) -> bool:
        return self.status == 200


@dataclass(slots=True, eq=False)
class Delivery:
    """
    One event on its way to one URL.

    :param due: when the present interval began to count, by the sandbox's clock.
    """

    number: int
    webhook: Webhook
    event: Event
    created: float
    due: float
    is_repeat: bool = False
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    status: int | None = None
    error: str | None = None

    @property
    def lane(self) -> int:
        return self.event.key % LANES


def state_after(delivery: Delivery, outcome: Outcome) -> DeliveryState:
    """Return where a delivery stands after one more attempt; ``attempts`` counts that attempt already."""
    if outcome.refused:
        return DeliveryState.REFUSED
    if outcome.is_received:
        return DeliveryState.DELIVERED
    return DeliveryState.RETRYING if delivery.attempts <= RETRIES else DeliveryState.FAILED


Lane = deque[Delivery]


class Deliveries:
    """
    Every delivery of the workspace: those that are ready, those that wait for their time, and the latest 10,000.

    It is changed from the server's event loop only; a reset replaces it.
    """

    def __init__(self, webhooks: Callable[[], Iterable[Webhook]], settings: Settings) -> None:
        self._webhooks = webhooks
        self._settings = settings
        self._random = random.Random(131026)
        self._numbers = 0
        self._later: Agenda[Delivery] = Agenda(settings.speed)
        self.lanes: dict[tuple[int, int], Lane] = {}
        self._latest: OrderedDict[int, Delivery] = OrderedDict()
        self.waiting: int = 0
        self.dropped: int = 0
        self.under_way: int = 0
        #: Called when there is something new to send.
        self.wake: Callable[[], None] = lambda: None

    @property
    def is_crowded(self) -> bool:
        """Whether statuses of campaigns have to wait before they become deliveries."""
        return self.waiting >= MANY_WAITING

    def is_quiet(self, now: float) -> bool:
        """Return whether everything that may be sent by now has been sent."""
        return (
            self.under_way == 0
            and self._later.next_due() > now
            and not any(lane and lane[0].webhook.status == "Enabled" for lane in self.lanes.values())
        )

    def subscribers(self, names: Iterable[str], channel: Channel) -> list[tuple[Webhook, str]]:
        """Return who is subscribed on a channel to any of these names, and to which of them."""
        wanted = tuple(names)
        return [
            (webhook, name)
            for webhook in self._webhooks()
            if webhook.status == "Enabled" and webhook.channel is channel
            for name in wanted
            if name in webhook.event_types
        ]

    def add(self, webhook: Webhook, event: Event, now: float) -> Delivery | None:
        """Make a delivery, and by chance one more or a late one; None when too many are waiting already."""
        if self.waiting >= MOST_WAITING:
            if not self.dropped:
                log.warning("Webhook events are dropped: %d deliveries are waiting.", self.waiting)
            self.dropped += 1
            return None
        delivery = self._make(webhook, event, now)
        if self._happens(self._settings.webhook_reordering):
            self._later.add(now, self._random.uniform(1.0, HOLD_SECONDS), delivery)
        else:
            self._queue(delivery)
        if self._happens(self._settings.webhook_duplicates):
            again = self._make(webhook, event, now)
            again.is_repeat = True
            self._queue(again)
        self.wake()
        return delivery

    def redeliver(self, delivery: Delivery, now: float) -> Delivery:
        """Send an event once more, as a delivery of its own."""
        again = self._make(delivery.webhook, delivery.event, now)
        again.is_repeat = True
        self._queue(again)
        self.wake()
        return again

    def release(self, now: float) -> None:
        """Move what is due now into the lanes."""
        while (popped := self._later.pop_due(now)) is not None:
            due, delivery = popped
            delivery.due = due
            self._queue(delivery)

    def next_due(self) -> float:
        """Return when the next delivery is due, by the sandbox's clock; infinity when none waits for its time."""
        return self._later.next_due()

    def begin(self, lane: Lane) -> Delivery:
        """Take the next delivery of a lane; ``finish`` says how that ended."""
        delivery = lane.popleft()
        delivery.state = DeliveryState.SENDING
        self.under_way += 1
        return delivery

    def finish(self, delivery: Delivery, outcome: Outcome) -> None:
        """Note how an attempt ended, for the delivery and for its subscription."""
        self.under_way -= 1
        delivery.attempts += not outcome.refused
        delivery.status, delivery.error = outcome.status, outcome.error
        delivery.state = state_after(delivery, outcome)
        if delivery.state is DeliveryState.RETRYING:
            self._later.add(delivery.due, RETRY_SECONDS, delivery)
        else:
            self.waiting -= 1
        if not outcome.refused:
            _count(delivery.webhook, outcome)

    def change_settings(self, settings: Settings) -> None:
        self._settings = settings
        self._later.set_speed(settings.speed)

    def find(self, number: int) -> Delivery | None:
        return self._latest.get(number)

    def latest(self) -> Iterator[Delivery]:
        """Yield the deliveries that are kept, newest first."""
        return reversed(self._latest.values())

    def count_by_state(self) -> Counter[str]:
        """Count the deliveries that are kept, by state."""
        return Counter(str(each.state) for each in self._latest.values())

    def _make(self, webhook: Webhook, event: Event, now: float) -> Delivery:
        self._numbers += 1
        delivery = Delivery(self._numbers, webhook, event, now, now)
        self.waiting += 1
        self._latest[delivery.number] = delivery
        if len(self._latest) > KEPT:
            self._latest.popitem(last=False)
        return delivery

    def _queue(self, delivery: Delivery) -> None:
        if delivery.attempts == 0:
            delivery.state = DeliveryState.WAITING
        self.lanes.setdefault((delivery.webhook.number, delivery.lane), deque()).append(delivery)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share


def _count(webhook: Webhook, outcome: Outcome) -> None:
    """Count failures in a row; one too many makes a subscription defective, and WATI writes an e-mail (documented)."""
    if outcome.is_received:
        webhook.failures = 0
        return
    webhook.failures += 1
    if webhook.failures > MAX_FAILURES and webhook.status == "Enabled":
        webhook.status = "Defective"
        webhook.is_owner_told = True
        log.warning(
            "Webhook %s is Defective after %d failures in a row. Enable it again once its receiver works.",
            webhook.id,
            webhook.failures,
        )
