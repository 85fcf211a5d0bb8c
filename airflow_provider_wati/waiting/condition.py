"""What sensors and triggers share: a condition, one look at it, and which errors end the wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_wati import exceptions
from airflow_provider_wati.exceptions import (
    WatiConnectionError,
    WatiError,
    WatiRateLimitError,
    WatiResponseError,
    WatiServerError,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock

#: Errors that the next look may not meet: WATI is down, slow, busy, or answers what cannot be read.
TRANSIENT = (WatiConnectionError, WatiServerError, WatiRateLimitError, WatiResponseError)
#: Looks in a row that may fail so; the next failure ends the wait with that error.
MAX_FAILED_LOOKS = 5
#: Seconds between two looks: 288 a day, of a quota of 10,000 calls a month on the plan Growth.
POKE_INTERVAL = 300.0
#: Seconds after the deadline at which Airflow ends the deferral itself, because no triggerer has done so.
TRIGGERER_LATE = 60.0


class Verdict(StrEnum):
    """What a look says about the wait."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one look at WATI shows.

    :param verdict: whether the wait goes on.
    :param reason: one sentence for the log, or for the error of a failed wait; phone numbers masked.
    :param result: what the sensor returns if the wait ends here, plain JSON.
    :param is_shown: whether WATI has shown what was looked at; False proves nothing about what is waited for.
    """

    verdict: Verdict
    reason: str
    result: dict[str, Any] = field(default_factory=dict)
    is_shown: bool = True


class Condition(Protocol):
    """What is waited for: a dataclass whose fields are plain JSON, so that a trigger can be rebuilt from them."""

    #: Kinds of received events without which nothing changes: ``messages``, ``statuses``; none where that is not known.
    news: ClassVar[tuple[str, ...]]

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """
        Read WATI once, and say how it stands.

        :param client: the account.
        :param clock: the time.
        :raises WatiError: one of ``TRANSIENT`` where the next look may succeed; any other ends the wait.
        """
        ...

    def unseen(self) -> dict[str, Any]:
        """Return the result of a wait that ends without one successful look."""
        ...


def time_of(text: object) -> datetime | None:
    """Read a time in ISO 8601; one without a zone is in UTC. None for anything else."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def error_of(event: Mapping[str, Any]) -> WatiError:
    """
    Return the error that a trigger met, so that a retry policy sees the same one in each mode.

    :param event: ``error`` is the name of its class; one that is not of :mod:`airflow_provider_wati.exceptions` is a
        ``WatiError``. ``reason`` is what it says; ``status_code`` and ``retry_after`` are its own.
    """
    found = getattr(exceptions, str(event.get("error")), WatiError)
    kind = found if isinstance(found, type) and issubclass(found, WatiError) else WatiError
    return kind(
        str(event.get("reason")), status_code=event.get("status_code"), retry_after=event.get("retry_after")
    )
