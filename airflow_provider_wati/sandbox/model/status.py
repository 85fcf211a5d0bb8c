"""
Where a message stands, worked out from its age when somebody asks.

A message carries one byte, its fate. Nothing has to run in the background, and a million messages cost
nothing until they are looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

SENDING_AFTER = 1.0
SENT_AFTER = 2.0
#: By this age every message has left the queue and has either reached the phone or failed.
SETTLED_AFTER = 10.0

_READ_SHARE = 0.6
_FAILED_AFTER = 4.0


@dataclass(frozen=True)
class Failure:
    """
    Why a message failed.

    :param code: WhatsApp's error code, as WATI's ``failedCode``.
    :param detail: as WATI's ``failedDetail``.
    """

    code: str
    detail: str


NOT_ON_WHATSAPP = Failure("131026", "Message undeliverable")
WRONG_PARAMETERS = Failure("132000", "Number of parameters does not match the expected number of params")
UNCLEAN_PARAMETER = Failure(
    "132018", "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
)
_FAILURES = (
    NOT_ON_WHATSAPP,
    WRONG_PARAMETERS,
    UNCLEAN_PARAMETER,
    Failure("131047", "Re-engagement message"),
    Failure("131049", "This message was not delivered to maintain healthy ecosystem engagement"),
    Failure("130472", "User's number is part of an experiment"),
    Failure("131000", "Something went wrong"),
    Failure("131048", "Spam rate limit hit"),
    Failure("131050", "User has stopped receipt of marketing messages"),
    Failure("131053", "Media upload error"),
)
#: Every code that a message can fail with.
FAILURE_CODES = tuple(failure.code for failure in _FAILURES)

_FATE_OF = {failure: 255 - index for index, failure in enumerate(_FAILURES)}
_FAILURE_OF = {fate: failure for failure, fate in _FATE_OF.items()}

_FATE_OF_ENDING = {failure.code: fate for failure, fate in _FATE_OF.items()}
_ENDING = 6
#: An ordinary fate is a number below this; each is as frequent as the others.
ORDINARY_FATES = 100

# 37 and 100 have no common divisor: a hundred messages in a row meet every ordinary fate once.
_CYCLE = bytes(number * 37 % ORDINARY_FATES for number in range(ORDINARY_FATES))


def fate_of_failure(failure: Failure) -> int:
    return _FATE_OF[failure]


def fate_of_code(code: str) -> int:
    """Return the fate of a message that fails with a code of ``FAILURE_CODES``."""
    return _FATE_OF_ENDING[code]


def fate_of_number(phone: str) -> int | None:
    """Return the fate of a number that ends in a failure code: it fails with that code (our choice)."""
    return _FATE_OF_ENDING.get(phone[-_ENDING:])


def ordinary_fates(first: int, count: int) -> bytearray:
    """Return the fates of messages ``first`` to ``first + count - 1``: the same ones after every reset."""
    offset = first % ORDINARY_FATES
    rounds = (offset + count) // ORDINARY_FATES + 1
    return bytearray((_CYCLE * rounds)[offset : offset + count])


@dataclass(frozen=True)
class Standing:
    """A status in WATI's lower-case spelling, and the failure if it is ``failed``."""

    status: str
    failure: Failure | None = None


PENDING = Standing("pending")
STOPPED = Standing("stopped")
REPLIED = Standing("replied")


class Timeline:
    """
    The course of every fate.

    :param failed_share: part of the ordinary fates that end in ``failed``.
    :param pace: how far and how soon the others get.
    """

    def __init__(self, failed_share: float, pace: Pace | None = None) -> None:
        pace = pace or UsualPace()
        self._courses = {
            fate: _ordinary_course(fate, failed_share, pace) for fate in range(ORDINARY_FATES)
        } | {fate: _failing_course(failure) for fate, failure in _FAILURE_OF.items()}
        arrivals = [pace.delivered_after(fate) or 0.0 for fate in range(ORDINARY_FATES)]
        #: By this age every message has left the queue and has reached the phone or failed, but those that never do.
        self.settled_after: float = max(SETTLED_AFTER, *arrivals)
        #: After this age nothing changes any more.
        self.longest: float = max(ages[-1] for ages, _ in self._courses.values())

    def standing(self, fate: int, age: float) -> Standing:
        """Return where a message of this fate stands ``age`` seconds after it was sent."""
        ages, standings = self._courses[fate]
        return standings[max(bisect_right(ages, age) - 1, 0)]

    def course_of(self, fate: int) -> list[tuple[float, Standing]]:
        """Return every standing of a fate with the age at which a message reaches it."""
        ages, standings = self._courses[fate]
        return list(zip(ages, standings, strict=True))


class Pace(Protocol):
    """How far and how soon messages of each ordinary fate get."""

    def delivered_after(self, fate: int) -> float | None:
        """Return the age in seconds at which it reaches the phone; None for never."""

    def read_after(self, fate: int) -> float | None:
        """Return the age in seconds at which it is read; None for never."""


class UsualPace:
    """Everything arrives within ten seconds, and six in ten are read within about a minute."""

    def delivered_after(self, fate: int) -> float:
        return 3.0 + fate % 7

    def read_after(self, fate: int) -> float | None:
        is_read = fate >= (1 - _READ_SHARE) * ORDINARY_FATES
        return self.delivered_after(fate) + 5.0 + fate % 50 if is_read else None


def _ordinary_course(fate: int, failed_share: float, pace: Pace) -> tuple[list[float], list[Standing]]:
    if fate < failed_share * ORDINARY_FATES:
        return _failing_course(NOT_ON_WHATSAPP)
    course = _course_to_sent()
    delivered, read = pace.delivered_after(fate), pace.read_after(fate)
    if delivered is not None:
        course.append((delivered, Standing("delivered")))
    if read is not None:
        course.append((read, Standing("read")))
    return _split(course)


def _course_to_sent() -> list[tuple[float, Standing]]:
    return [
        (0.0, Standing("queued")),
        (SENDING_AFTER, Standing("sending")),
        (SENT_AFTER, Standing("sent")),
    ]


def _failing_course(failure: Failure) -> tuple[list[float], list[Standing]]:
    return _split([*_course_to_sent(), (_FAILED_AFTER, Standing("failed", failure))])


def _split(course: list[tuple[float, Standing]]) -> tuple[list[float], list[Standing]]:
    return [age for age, _ in course], [standing for _, standing in course]
