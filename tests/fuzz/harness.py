"""
Feed odd inputs to one surface of the package, and say what came out that is neither a result nor a typed error.

A surface says what its inputs are and what is done with one; everything else is here: rounds until the time is over,
the count, and the smallest input that fails, which Hypothesis finds.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed as seeded, settings, strategies as st
from hypothesis.errors import HypothesisWarning

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from airflow_provider_wati.clock import Clock

#: Examples that Hypothesis makes under one seed; the time is looked at in between.
_EXAMPLES = 100
_PHASES = (Phase.generate, Phase.shrink)
_SHOWN_FRAMES = 4
_SHOWN_LENGTH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """
    One place where input from outside comes in.

    :param name: what the table calls it.
    :param inputs: makes one input.
    :param feed: gives an input to the package; raises what comes out, or an ``AssertionError`` for a wrong result.
    :param typed: the errors that the package documents for this place.
    :param batch: inputs in one example of Hypothesis, which takes about a millisecond whatever is in it.
    :param size: how many inputs a value counts as, such as the requests of a sequence.
    :param share: of the time, where an ordinary surface has 1.
    """

    name: str
    inputs: SearchStrategy[Any]
    feed: Callable[[Any], object]
    typed: tuple[type[Exception], ...] = (WatiError,)
    batch: int = 1
    size: Callable[[Any], int] = lambda value: 1
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """
    An input that a surface did not take.

    :param input: the smallest one that was found, as Python writes it.
    :param error: the last lines of the traceback.
    :param seed: makes the round again in which it was found.
    """

    input: str
    error: str
    seed: int


@dataclass(frozen=True, slots=True)
class Report:
    """
    What became of one surface.

    :param inputs: how many were fed until the first that failed.
    :param seconds: how long that took, without the search for a smaller input.
    """

    surface: str
    inputs: int
    seconds: float
    finding: Finding | None = None


def fuzz(
    surface: Surface,
    *,
    seed: int,
    seconds: float,
    clock: Clock = SYSTEM_CLOCK,
    examples: int = _EXAMPLES,
    phases: Sequence[Phase] = _PHASES,
) -> Report:
    """
    Feed a surface until the time is over or an input fails.

    :param seed: of the first round; each round after it counts on by one.
    :param seconds: after this time no round begins, but there is always one.
    :param clock: tells when the time is over.
    :param examples: in one round, each with a batch of inputs.
    :param phases: without ``Phase.shrink`` no smaller input is looked for.
    """
    rules = settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    feeder = _Feeder(surface, clock)
    started = clock.monotonic()
    while True:
        feeder.run(seed, rules)
        ended = clock.monotonic() if feeder.failed_at is None else feeder.failed_at
        if feeder.error is not None:
            finding = Finding(feeder.input, feeder.error, seed)
            return Report(surface.name, feeder.inputs, ended - started, finding)
        if ended - started >= seconds:
            return Report(surface.name, feeder.inputs, ended - started)
        seed += 1


class _Feeder:
    """Feeds one surface, and keeps the last failure: Hypothesis ends its search with the smallest."""

    def __init__(self, surface: Surface, clock: Clock) -> None:
        self._surface = surface
        self._clock = clock
        self.inputs = 0
        self.failed_at: float | None = None
        self.input = ""
        self.error: str | None = None

    def run(self, seed: int, rules: settings) -> None:
        """Make and feed the examples of one seed."""
        # A batch has a fixed length: an input is found and made smaller wherever in the batch it is.
        batch = st.lists(self._surface.inputs, min_size=self._surface.batch, max_size=self._surface.batch)
        try:
            with _no_logs(), warnings.catch_warnings():
                warnings.simplefilter("ignore", HypothesisWarning)  # about the length of an input
                seeded(seed)(rules(given(batch)(self._feed_all)))()
        except Exception:
            # Without a failure of ours, the mistake is in the strategy.
            if self.error is None:
                raise

    def _feed_all(self, batch: list[Any]) -> None:
        for value in batch:
            if self.failed_at is None:
                self.inputs += self._surface.size(value)
            try:
                self._surface.feed(value)
            except self._surface.typed:
                pass
            except Exception as error:
                if self.failed_at is None:
                    self.failed_at = self._clock.monotonic()
                self.input = _shortened(repr(value))
                lines = traceback.format_exception(error, limit=-_SHOWN_FRAMES)
                # Half a character in it could not be printed.
                self.error = "".join(lines).rstrip().encode("utf-8", "backslashreplace").decode()
                raise


@contextmanager
def _no_logs() -> Iterator[None]:
    """Log nothing: the warnings about odd answers would take longer than the answers."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _shortened(text: str) -> str:
    """Return a text, without its middle if it is long."""
    if len(text) <= 2 * _SHOWN_LENGTH:
        return text
    return f"{text[:_SHOWN_LENGTH]} ... {text[-_SHOWN_LENGTH:]} ({len(text):,} characters)"
