"""Everything that one sandbox server holds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.faults.rules import FaultRules
from airflow_provider_wati.sandbox.model.clock import Clock
from airflow_provider_wati.sandbox.model.limits import RateLimiter
from airflow_provider_wati.sandbox.model.replies import Replies
from airflow_provider_wati.sandbox.model.seed import plant
from airflow_provider_wati.sandbox.model.state import State
from airflow_provider_wati.sandbox.model.status import Timeline
from airflow_provider_wati.sandbox.webhooks.deliveries import Deliveries
from airflow_provider_wati.sandbox.webhooks.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_wati.sandbox.scenarios import Scenario
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
    :param scenario: what a fresh one contains; by default the small shop of ``seed``.
    """

    def __init__(self, token: str, settings: Settings, scenario: Scenario | None = None) -> None:
        self._token = token
        self._first_settings = settings
        self._scenario = scenario
        self.settings: Settings = settings
        #: Called when there are webhooks to send; set by what sends them.
        self.on_webhook_work: Callable[[], None] | None = None
        #: Counts the calls that may have changed something, so that the page can tell whether it is up to date.
        self.revision = 0
        self.clock: Clock = Clock()
        self.reset()

    def reset(self, *, seed: bool = True) -> None:
        """Go back to the beginning: data, clock, faults, tokens, settings, webhooks and request log."""
        state = State(Clock())
        if self._scenario is None:
            plant(state, people=seed)
        else:
            self._scenario.plant(state, people=seed)
        self.adopt(state)

    def adopt(self, state: State) -> None:
        """Go on with this data and its clock, and with nothing else of what was before."""
        self.clock = state.clock
        self.tokens: dict[str, frozenset[str]] = {self._token: _EVERY_SCOPE}
        self.faults: FaultRules = FaultRules()
        self.limiter: RateLimiter = RateLimiter()
        self.requests: deque[SeenRequest] = deque(maxlen=_REQUESTS_KEPT)
        deliveries = Deliveries(lambda: state.webhooks, self._first_settings)
        deliveries.wake = self.look_for_webhooks
        # After the seed, which is nothing that happens.
        recorder = Recorder(state, deliveries)
        state.listener = recorder
        self.replies: Replies = Replies(state)
        state.on_campaign = self.replies.plan
        self.state: State = state
        self.deliveries: Deliveries = deliveries
        self.recorder: Recorder = recorder
        self.change_settings(self._first_settings)

    def change_settings(self, settings: Settings) -> None:
        self.settings = settings
        self.state.speed = settings.speed
        self.state.timeline = Timeline(settings.failed_share, self.state.delivery.pace)
        self.replies.change_speed(settings.speed)
        self.recorder.courses.change(settings.speed)
        self.deliveries.change_settings(settings)
        self.look_for_webhooks()

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        self.state.start_due_broadcasts()
        self.recorder.advance()
        # An answer ends what webhooks tell of a message, so what came before it is told first.
        if not self.deliveries.is_crowded:
            self.replies.advance()

    def look_for_webhooks(self) -> None:
        """Have webhooks sent that are due now."""
        if self.on_webhook_work is not None:
            self.on_webhook_work()

    def add_token(self, token: str, scopes: Iterable[str]) -> None:
        self.tokens[token] = frozenset(scopes)

    def missing(self, message: str) -> ApiError:
        """Return the refusal for an unknown id; WATI does not document its status."""
        return ApiError(self.settings.missing_status, message)
