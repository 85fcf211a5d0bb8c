"""
Where a message stands, worked out from its age when somebody asks.

A message carries one byte, its fate. Nothing has to run in the background, and a million messages cost
nothing until they are looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

SENDING_AFTER = 1.0
SENT_AFTER = 2.0
#: By this age every message has left the queue and has either reached the phone or failed.
SETTLED_AFTER = 10.0

_ORDINARY_FATES = 100
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
)

_FATE_OF = {failure: 255 - index for index, failure in enumerate(_FAILURES)}
_FAILURE_OF = {fate: failure for failure, fate in _FATE_OF.items()}

_FATE_OF_ENDING = {failure.code: fate for failure, fate in _FATE_OF.items()}
_ENDING = 6

# 37 and 100 have no common divisor: a hundred messages in a row meet every ordinary fate once.
_CYCLE = bytes(number * 37 % _ORDINARY_FATES for number in range(_ORDINARY_FATES))


def fate_of_failure(failure: Failure) -> int:
    return _FATE_OF[failure]


def fate_of_number(phone: str) -> int | None:
    """Return the fate of a number that ends in a failure code: it fails with that code (our choice)."""
    return _FATE_OF_ENDING.get(phone[-_ENDING:])


def ordinary_fates(first: int, count: int) -> bytearray:
    """Return the fates of messages ``first`` to ``first + count - 1``: the same ones after every reset."""
    offset = first % _ORDINARY_FATES
    rounds = (offset + count) // _ORDINARY_FATES + 1
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
    """

    def __init__(self, failed_share: float) -> None:
        self._courses = {
            fate: self._ordinary_course(fate, failed_share) for fate in range(_ORDINARY_FATES)
        } | {fate: _failing_course(failure) for fate, failure in _FAILURE_OF.items()}

    def standing(self, fate: int, age: float) -> Standing:
        """Return where a message of this fate stands ``age`` seconds after it was sent."""
        ages, standings = self._courses[fate]
        return standings[max(bisect_right(ages, age) - 1, 0)]

    def course_of(self, fate: int) -> list[tuple[float, Standing]]:
        """Return every standing of a fate with the age at which a message reaches it."""
        ages, standings = self._courses[fate]
        return list(zip(ages, standings, strict=True))

    @staticmethod
    def _ordinary_course(fate: int, failed_share: float) -> tuple[list[float], list[Standing]]:
        if fate < failed_share * _ORDINARY_FATES:
            return _failing_course(NOT_ON_WHATSAPP)
        course = _course_to_sent()
        delivered_after = 3.0 + fate % 7
        course.append((delivered_after, Standing("delivered")))
        if fate >= (1 - _READ_SHARE) * _ORDINARY_FATES:
            course.append((delivered_after + 5.0 + fate % 50, Standing("read")))
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
