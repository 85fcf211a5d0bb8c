"""What all WATI triggers share: looks until the condition holds, fails, or the deadline is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiRateLimitError
from airflow_provider_wati.triggers._looks import (
    SharedCondition,
    UnreadableConnectionError,
    shared_condition,
)
from airflow_provider_wati.waiting.condition import MAX_FAILED_LOOKS, TRANSIENT, Condition, Verdict
from airflow_provider_wati.waiting.resting import LONGEST_REST

#: Seconds between two looks, at least.
_SHORTEST_PAUSE = 1.0
#: Seconds that a look may take beyond the deadline.
LAST_LOOK_SECONDS = 30.0
#: The part of the poll interval during which the look of another trigger that waits for the same counts. Less than the
#: shortest pause, so that a trigger never takes its own look for a new one.
_SHARED_PART = 0.5


class Ending(StrEnum):
    """How a wait in the triggerer ends: the ``status`` of its event."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ERROR = "error"


class WatiTrigger(BaseTrigger):
    """
    Base of the triggers: looks at WATI now and then, and ends with exactly one event.

    The event is a dict of plain JSON: ``status`` (``done``, ``failed``, ``timeout`` or ``error``), ``reason``, ``result``,
    and for an error ``error``, the name of a class of :mod:`airflow_provider_wati.exceptions`, with its ``status_code`` and
    ``retry_after``.

    :param wati_conn_id: the connection of type ``wati``, which must exist in the triggerer too.
    :param deadline: when the wait ends, ISO 8601 with a time zone: a triggerer that takes over keeps it.
    :param poll_interval: seconds between two looks on average, 1 at least.
    :param condition: the fields of what is waited for, plain JSON.
    """

    condition_type: ClassVar[Callable[..., Condition]]
    #: Where times come from; tests put another one here.
    clock: ClassVar[Clock] = SYSTEM_CLOCK

    def __init__(
        self, *, wati_conn_id: str, deadline: str, poll_interval: float, condition: Mapping[str, Any]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow has no type for it
        self.wati_conn_id = wati_conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.condition: Condition = self.condition_type(**condition)
        self._result = self.condition.unseen()
        self._failed_looks = 0

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wati_conn_id": self.wati_conn_id,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "condition": asdict(self.condition),  # type: ignore[call-overload] # conditions are dataclasses
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call] # Airflow has no type for it

    async def _wait(self) -> dict[str, Any]:
        deadline = datetime.fromisoformat(self.deadline)
        shared = shared_condition(self.condition, self.wati_conn_id, self.clock)
        # The sensor has just looked; and the triggers that start together (a triggerer takes over) spread out.
        pause = random.uniform(0, self.poll_interval)
        while True:
            await asyncio.sleep(min(max(pause, _SHORTEST_PAUSE), self._seconds_to(deadline)))
            pause = self.poll_interval * random.uniform(0.8, 1.2)
            seconds = self._seconds_to(deadline)
            # The last look is the trigger's own.
            max_age = self.poll_interval * _SHARED_PART if seconds > 0 else 0.0
            rest = self.poll_interval * LONGEST_REST if seconds > 0 else 0.0
            try:
                event = await asyncio.wait_for(self._look(shared, max_age, rest), seconds + LAST_LOOK_SECONDS)
            except TimeoutError:
                event = None
            except WatiRateLimitError as error:
                event = self._tolerate(error)
                pause = max(pause, error.retry_after or 0)
            except (*TRANSIENT, UnreadableConnectionError) as error:
                event = self._tolerate(error)
            except WatiError as error:
                event = self._error(error)
            if event is not None:
                return event
            if self.clock.now() >= deadline:
                return self._event(
                    Ending.TIMEOUT, f"The wait is over at {self.deadline}: no look found its end."
                )

    def _seconds_to(self, deadline: datetime) -> float:
        return max((deadline - self.clock.now()).total_seconds(), 0.0)

    async def _look(self, shared: SharedCondition, max_age: float, rest: float) -> dict[str, Any] | None:
        """Look once; return the event that ends the wait, or None."""
        look = await shared.look(max_age, rest)
        self._failed_looks = 0
        self._result = look.result
        self.log.info("%s", look.reason)
        if look.verdict is Verdict.WAITING:
            return None
        return self._event(Ending.DONE if look.verdict is Verdict.DONE else Ending.FAILED, look.reason)

    def _tolerate(self, error: WatiError) -> dict[str, Any] | None:
        """Count a look that failed; return an event once there were too many in a row."""
        self._failed_looks += 1
        if self._failed_looks > MAX_FAILED_LOOKS:
            return self._error(error)
        self.log.warning("A look failed (%s of %s in a row): %s", self._failed_looks, MAX_FAILED_LOOKS, error)
        return None

    def _error(self, error: WatiError) -> dict[str, Any]:
        kind = WatiConfigurationError if isinstance(error, UnreadableConnectionError) else type(error)
        return {
            **self._event(Ending.ERROR, str(error)),
            "error": kind.__name__,
            "status_code": error.status_code,
            "retry_after": error.retry_after,
        }

    def _event(self, ending: Ending, reason: str) -> dict[str, Any]:
        return {"status": ending.value, "reason": reason, "result": self._result}
