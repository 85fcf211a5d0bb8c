"""How far a campaign has come: counts of its recipients, and the one verdict that all modes of waiting share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_wati.client.responses import has_failed, has_left
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.waiting.condition import Verdict

#: Added to each comparison of shares, because 0.1 has no exact binary form.
_ROUNDING = 1e-9
_STOPPED = frozenset({"stopped", "cancelled", "canceled"})
_NOT_YET = frozenset({"pending", "queued", "scheduled", "processing", "sending"})


class Stage(StrEnum):
    """The stages of a message, in order; each implies those before it."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    REPLIED = "replied"


_STAGES = tuple(Stage)


@dataclass(frozen=True, slots=True)
class Goal:
    """
    What a campaign is waited for.

    :param until: the stage that recipients have to reach.
    :param share: the part of the recipients that must have finished (reached the stage, or failed), above 0 and up to 1.
    :param failure_threshold: the part of the recipients that may fail, from 0 to 1.
    :raises WatiValidationError: when one of these is out of its range.
    """

    until: Stage
    share: float = 1.0
    failure_threshold: float = 0.0

    def __post_init__(self) -> None:
        if not _is_number(self.share) or not 0 < self.share <= 1:
            raise WatiValidationError(f"share is {self.share!r}: give a number above 0 and up to 1.")
        if not _is_number(self.failure_threshold) or not 0 <= self.failure_threshold <= 1:
            raise WatiValidationError(
                f"failure_threshold is {self.failure_threshold!r}: give a number from 0 to 1."
            )


def stage_of(until: object) -> Stage:
    """
    Return the stage of a name.

    :raises WatiValidationError: when there is none of that name.
    """
    try:
        return Stage(until)  # type: ignore[arg-type] # it refuses what is no name of a stage
    except ValueError:
        raise WatiValidationError(f"until is {until!r}: give one of {', '.join(Stage)}.") from None


@dataclass(frozen=True, slots=True)
class Tally:
    """
    How many recipients stand where; the others are not finished yet.

    :param total: all recipients.
    :param reached: those at the stage or beyond.
    :param failed: those that never reach it.
    """

    total: int
    reached: int
    failed: int

    def of_at_least(self, total: int) -> Tally:
        """Return the tally with those who are not listed yet as not finished."""
        return Tally(max(self.total, total), self.reached, self.failed)


def judge(tally: Tally, goal: Goal) -> Verdict:
    """
    Say whether the wait for a campaign is over: the one rule for all modes.

    Too many failures end the wait at once, because a failure is final. So does a failure of everybody, whatever the
    threshold is: a success means that somebody was reached.

    :param tally: how far the campaign is.
    :param goal: what it is waited for.
    """
    if tally.total <= 0:
        return Verdict.WAITING
    too_many = tally.failed > goal.failure_threshold * tally.total + _ROUNDING
    if too_many or tally.failed >= tally.total:
        return Verdict.FAILED
    finished = tally.reached + tally.failed
    return Verdict.DONE if finished >= goal.share * tally.total - _ROUNDING else Verdict.WAITING


def tally_of_statuses(statuses: Mapping[str, int], until: Stage, *, is_cancelled: bool = False) -> Tally:
    """
    Count recipients by the words of WATI's list. A word that is not known is not finished yet.

    :param statuses: how many recipients have each status, in any case.
    :param until: the stage.
    :param is_cancelled: whether the campaign was taken back, so that what has not left never will.
    """
    reached = failed = 0
    reaching = frozenset(_from(until))
    for status, count in statuses.items():
        word = _plain(status)
        if word in reaching:
            reached += count
        elif has_failed(word) or word in _STOPPED or (is_cancelled and not has_left(word)):
            failed += count
    return Tally(sum(statuses.values()), reached, failed)


def unknown_statuses(statuses: Mapping[str, int]) -> dict[str, int]:
    """Return the words of WATI's list that are not known, with their counts."""
    known = {*_STAGES, *_STOPPED, *_NOT_YET}
    return {
        word: n for word, n in statuses.items() if _plain(word) not in known and not has_failed(_plain(word))
    }


#: The counters of a campaign's statistics, without their ``total_``.
_COUNTERS = ("pending", "queued", "sending", *_STAGES, "failed", "stopped")


def counters_of(statistics: object, *, is_cancelled: bool = False) -> Counter[str] | None:
    """
    Read the counters of a campaign's statistics.

    :param statistics: as WATI gives them.
    :param is_cancelled: whether the campaign was taken back: what has not begun then counts as ``stopped``.
    :return: the counters without ``total_``; None where they cannot be used, or leave out some of a cancelled campaign.
    """
    if not isinstance(statistics, Mapping):
        return None
    counters: Counter[str] = Counter()
    for name in ("recipients", *_COUNTERS):
        value = statistics.get(f"total_{name}")
        number = 0 if value is None and name != "recipients" else value
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            return None
        counters[name] = number
    if is_cancelled:
        left = max(counters[stage] for stage in _STAGES)
        if left + sum(counters[name] for name in _COUNTERS if name not in _STAGES) < counters["recipients"]:
            # Some may be in no counter: whether they have left, only the list of recipients tells.
            return None
        counters["stopped"] += counters.pop("pending") + counters.pop("queued")
    return counters


def readings_of(counters: Mapping[str, int], until: Stage) -> list[Tally]:
    """
    Return what the counters can mean.

    WATI does not document whether a message that was read also counts as delivered and as sent (cumulative) or under its
    latest stage only (exclusive). Each reading that the numbers do not contradict is returned; where these lead to
    different verdicts, only the list of recipients tells.

    :param counters: of one campaign, or the sums of several.
    :param until: the stage.
    """
    total, failed = counters["recipients"], counters["failed"] + counters["stopped"]
    stages = [counters[stage] for stage in _STAGES]
    before = counters["pending"] + counters["queued"] + counters["sending"]
    is_funnel = all(later <= earlier for earlier, later in zip(stages, stages[1:], strict=False))
    readings = []
    if before + sum(stages) + failed <= total:
        readings.append(Tally(total, sum(counters[stage] for stage in _from(until)), failed))
    if is_funnel and before + counters[Stage.SENT] + failed <= total:
        readings.append(Tally(total, counters[until], failed))
    return readings


def judge_readings(readings: Iterable[Tally], goal: Goal) -> tuple[Verdict, Tally] | None:
    """
    Return the verdict on which all readings agree, with the reading that counts fewest; None where they do not.

    :param readings: what :func:`readings_of` gives.
    :param goal: what is waited for.
    """
    tallies = sorted(readings, key=lambda tally: tally.reached)
    verdicts = {judge(tally, goal) for tally in tallies}
    return (verdicts.pop(), tallies[0]) if len(verdicts) == 1 else None


def _from(until: Stage) -> tuple[Stage, ...]:
    return _STAGES[_STAGES.index(until) :]


def _plain(word: object) -> str:
    return str(word or "").strip().casefold()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
