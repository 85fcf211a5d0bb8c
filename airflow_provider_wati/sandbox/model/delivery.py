"""
What becomes of messages: which fail and why, how many arrive, are read and answered, and how soon.

Everything follows from a seed and the running number of a message, so the same calls end the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.status import ORDINARY_FATES, UsualPace, fate_of_code, ordinary_fates

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.status import Pace

#: Each row of this many messages has the failures in exactly their shares, to a tenth of a percent.
BLOCK = 1000
#: Have no divisor in common with the number of fates, so that who is quick to receive is not quick to read.
_DELIVERY_STEP, _READ_STEP = 37, 61


class MessageKind(StrEnum):
    """What WhatsApp's rules tell apart."""

    SESSION = "session"
    TEMPLATE = "template"
    MARKETING = "marketing"


class Affected(StrEnum):
    """Which messages a failure strikes."""

    ALL = "all"
    #: Messages inside the 24-hour window.
    SESSION = "session"
    #: Templates of every category.
    TEMPLATES = "templates"
    #: Templates of the category MARKETING.
    MARKETING = "marketing"

    def strikes(self, kind: MessageKind) -> bool:
        if self is Affected.TEMPLATES:
            return kind is not MessageKind.SESSION
        return self is Affected.ALL or self.value == kind.value


@dataclass(frozen=True)
class FailureShare:
    """
    One way to fail.

    :param code: one of ``status.FAILURE_CODES``.
    :param share: part of the messages that it strikes, from 0 to 1.
    :param affects: which messages it strikes.
    """

    code: str
    share: float
    affects: Affected = Affected.ALL


@dataclass(frozen=True)
class Range:
    """
    Seconds from the quickest to the slowest; most are nearer to the quickest, as with people.

    :param least: more than 0.
    :param most: at least as much.
    """

    least: float
    most: float

    def at(self, part: float) -> float:
        """Return the seconds of one who is slower than this part of all, from 0 to 1."""
        return float(self.least * (self.most / self.least) ** part)


@dataclass(frozen=True)
class Rates:
    """
    How far messages get and how soon.

    :param delivered: part of the messages without a failure that reach the phone; the others stay ``sent``.
    :param read: part of the delivered ones that are read.
    :param replied: part of the read campaign messages that are answered.
    :param delivered_after: seconds from the send.
    :param read_after: seconds from the delivery.
    :param replied_after: seconds from the reading.
    :param replies: what customers answer, each as often as the others; the buttons of a template count as such too.
    """

    delivered: float = 1.0
    read: float = 0.6
    replied: float = 0.0
    delivered_after: Range = Range(3, 9)
    read_after: Range = Range(5, 54)
    replied_after: Range = Range(20, 600)
    replies: tuple[str, ...] = ("Thank you!",)

    @property
    def _never_delivered(self) -> int:
        return round((1 - self.delivered) * ORDINARY_FATES)

    def is_read(self, fate: int) -> bool:
        delivered = ORDINARY_FATES - self._never_delivered
        return ORDINARY_FATES - round(self.read * delivered) <= fate < ORDINARY_FATES


@dataclass(frozen=True)
class RatedPace:
    """The pace that rates make; the fates that get furthest have the highest numbers."""

    rates: Rates

    def delivered_after(self, fate: int) -> float | None:
        if fate < self.rates._never_delivered:
            return None
        return self.rates.delivered_after.at(fate * _DELIVERY_STEP % ORDINARY_FATES / ORDINARY_FATES)

    def read_after(self, fate: int) -> float | None:
        delivered = self.delivered_after(fate)
        if delivered is None or not self.rates.is_read(fate):
            return None
        return delivered + self.rates.read_after.at(fate * _READ_STEP % ORDINARY_FATES / ORDINARY_FATES)


@dataclass(frozen=True)
class Delivery:
    """
    What becomes of messages that nothing else decides about.

    :param seed: another one gives other fates. None is the usual even order without failures and answers.
    :param failures: how messages fail; the shares of one kind of message make up 1 at most.
    :param rates: how far the others get.
    """

    seed: int | None = None
    failures: tuple[FailureShare, ...] = ()
    rates: Rates = field(default_factory=Rates)

    @property
    def pace(self) -> Pace:
        return UsualPace() if self.seed is None else RatedPace(self.rates)

    def fates(self, first: int, count: int, kind: MessageKind) -> bytearray:
        """Return the fates of messages ``first`` to ``first + count - 1``, all of one kind."""
        if self.seed is None:
            return ordinary_fates(first, count)
        end, fates = first + count, bytearray()
        for block in range(first // BLOCK, (end - 1) // BLOCK + 1):
            start = block * BLOCK
            fates += _block_of_fates(self.seed, self.failures, kind, block)[
                max(first - start, 0) : end - start
            ]
        return fates


@lru_cache(maxsize=64)
def _block_of_fates(seed: int, failures: tuple[FailureShare, ...], kind: MessageKind, block: int) -> bytes:
    fates = bytearray()
    for failure in failures:
        if failure.affects.strikes(kind):
            fates += bytes([fate_of_code(failure.code)]) * round(failure.share * BLOCK)
    ordinary = BLOCK - len(fates)
    fates += bytes(number * ORDINARY_FATES // ordinary for number in range(ordinary))
    shuffled = list(fates)
    Random(f"{seed} {block}").shuffle(shuffled)
    return bytes(shuffled)
