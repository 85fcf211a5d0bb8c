"""Everything that one sandbox server holds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.clock import Clock
from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.faults import FaultRules
from airflow_provider_wati.sandbox.limits import RateLimiter
from airflow_provider_wati.sandbox.seed import plant
from airflow_provider_wati.sandbox.state import State
from airflow_provider_wati.sandbox.status import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wati.sandbox.settings import Settings

_REQUESTS_KEPT = 10_000
_EVERY_SCOPE = frozenset({"api"})


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """
    One API request for the log: never its token, never its body.

    :param status: None when the connection was dropped without an answer.
    """

    time: float
    method: str
    path: str
    query: str
    status: int | None
    milliseconds: float
    fault: str | None


class Workspace:
    """
    One WATI workspace with the controls around it.

    :param token: the access token that may do everything.
    :param settings: the choices at the start; a reset goes back to them.
    """

    def __init__(self, token: str, settings: Settings) -> None:
        self._token = token
        self._first_settings = settings
        self.clock = Clock()
        self.reset()

    def reset(self, *, seed: bool = True) -> None:
        """Go back to the beginning: data, clock, faults, tokens, settings and request log."""
        self.clock = Clock()
        self.tokens: dict[str, frozenset[str]] = {self._token: _EVERY_SCOPE}
        self.faults = FaultRules()
        self.limiter = RateLimiter()
        self.requests: deque[SeenRequest] = deque(maxlen=_REQUESTS_KEPT)
        self.state = State(self.clock)
        plant(self.state, people=seed)
        self.change_settings(self._first_settings)

    def change_settings(self, settings: Settings) -> None:
        self.settings = settings
        self.state.speed = settings.speed
        self.state.timeline = Timeline(settings.failed_share)

    def add_token(self, token: str, scopes: Iterable[str]) -> None:
        self.tokens[token] = frozenset(scopes)

    def missing(self, message: str) -> ApiError:
        """Return the refusal for an unknown id; WATI does not document its status."""
        return ApiError(self.settings.missing_status, message)
