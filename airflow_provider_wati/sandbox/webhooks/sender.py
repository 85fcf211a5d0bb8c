"""Sends deliveries in the background of the server, a few at a time, and never holds up a request."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.webhooks.deliveries import Outcome
from airflow_provider_wati.sandbox.webhooks.post import Destination, Line

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_wati.sandbox.model.records import Webhook
    from airflow_provider_wati.sandbox.webhooks.deliveries import Deliveries, Delivery, Lane
    from airflow_provider_wati.sandbox.workspace import Workspace

log: logging.Logger = logging.getLogger(__name__)

#: How often the clock is looked at while somebody is subscribed: a test may move it at any time.
_LOOK_SECONDS = 0.05
_IDLE_SECONDS = 0.5
#: How many requests are under way at once, over all subscriptions.
_MOST_AT_ONCE = 64


#: What sends a lane, by subscription and lane.
Lanes = dict[tuple[int, int], asyncio.Task[None]]


class Sender:
    """
    The background task; a context manager that ends it with everything that it has begun.

    :param workspace: whose deliveries it sends; a reset gives the workspace new ones.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._new = asyncio.Event()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._deliveries = workspace.deliveries
        self._lanes: Lanes = {}
        self._refused: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Sender:
        self._loop = asyncio.get_running_loop()
        self._workspace.on_webhook_work = self._wake
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._workspace.on_webhook_work = None
        tasks = [task for task in (self._task, *self._lanes.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        """Look for work now; may be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed meanwhile
                self._loop.call_soon_threadsafe(self._new.set)

    async def _run(self) -> None:
        while True:
            self._new.clear()
            try:
                self._look()
            except Exception:
                # The sandbox goes on answering; an event that cannot be told must not stop all others.
                log.exception("Webhook events could not be worked out.")
            pause = _LOOK_SECONDS if self._has_subscribers() else _IDLE_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._new.wait()

    def _has_subscribers(self) -> bool:
        return any(webhook.status == "Enabled" for webhook in self._workspace.state.webhooks)

    def _look(self) -> None:
        """Work out what is due, and begin to send what nobody is sending."""
        self._workspace.advance()
        deliveries = self._workspace.deliveries
        if deliveries is not self._deliveries:
            # A reset: what hangs must not stand in the way of what comes.
            for task in self._lanes.values():
                task.cancel()
            self._deliveries, self._lanes = deliveries, {}
        deliveries.release(self._workspace.clock.now())
        for key, lane in list(deliveries.lanes.items()):
            if lane and lane[0].webhook.status == "Enabled" and key not in self._lanes:
                task = asyncio.create_task(self._send_all(deliveries, lane))
                self._lanes[key] = task
                task.add_done_callback(partial(self._lane_ended, self._lanes, key))

    def _lane_ended(self, lanes: Lanes, key: tuple[int, int], task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("A webhook event could not be sent.", exc_info=task.exception())
        del lanes[key]
        # More may have come while it ended.
        self._new.set()

    async def _send_all(self, deliveries: Deliveries, lane: Lane) -> None:
        """Send one after another until the lane is empty, its subscription is off, or a reset has taken its place."""
        settings = self._workspace.settings
        async with Line(any_host=settings.webhooks_to_any_host) as line:
            while lane and lane[0].webhook.status == "Enabled" and self._workspace.deliveries is deliveries:
                async with self._slots:
                    await self._send(deliveries, deliveries.begin(lane), line)

    async def _send(self, deliveries: Deliveries, delivery: Delivery, line: Line) -> None:
        try:
            body = json.dumps(delivery.event.payload(), ensure_ascii=False).encode("utf-8", "replace")
            outcome = await line.post(delivery.webhook.url, body, self._workspace.settings.webhook_timeout)
        except Exception:
            # One event that cannot be sent must not end the lane.
            log.exception("Webhook %s, delivery %d could not be sent.", delivery.webhook.id, delivery.number)
            outcome = Outcome(error="the sandbox could not send it")
        deliveries.finish(delivery, outcome)
        if outcome.refused:
            self._warn(delivery.webhook, outcome.error or "")
        elif not outcome.is_received:
            log.debug(
                "Webhook %s, delivery %d, attempt %d: %s",
                delivery.webhook.id,
                delivery.number,
                delivery.attempts,
                outcome.error or outcome.status,
            )

    def _warn(self, webhook: Webhook, reason: str) -> None:
        """Say once per receiver that nothing is sent to it; the path of its URL may hold a secret."""
        origin = Destination.of(webhook.url).origin
        if origin not in self._refused:
            self._refused.add(origin)
            log.warning("Webhook %s: nothing is sent to %s. %s.", webhook.id, origin, reason)
