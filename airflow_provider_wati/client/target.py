"""The target of a call: a phone number, a contact, a conversation or a WhatsApp user id."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_provider_wati.client.validation import whole_text
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers, mask_target


class TargetKind(StrEnum):
    """The shapes of target that WATI tells apart by looking at the value."""

    PHONE = "phone number"
    CONTACT_ID = "contact id"
    CONVERSATION_ID = "conversation id"
    #: A contact id and a conversation id look alike; which one a bare id is, the endpoint decides.
    OBJECT_ID = "id"
    BSUID = "BSUID"


# E.164 allows 15 digits; the shortest country code with a subscriber number has 7. No code starts with 0.
_PHONE = re.compile(r"[1-9][0-9]{6,14}")
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_BSUID = re.compile(r"[A-Z]{2}\.[0-9A-Za-z]{1,128}")
_TOO_LARGE = 10**64
_LOOKS_LIKE_A_PHONE = re.compile(r"\+?[\d\s()./-]+")


@dataclass(frozen=True, slots=True)
class Target:
    """
    One person or conversation, as WATI's endpoints want it named.

    Make one with :meth:`parse`, or with :meth:`phone`, :meth:`contact`, :meth:`conversation` and
    :meth:`bsuid` where the kind is known. ``str(target)`` is the form that goes over the wire.

    :param kind: what ``value`` is.
    :param value: the digits, the 24 hexadecimal characters or the BSUID.
    :param channel: name or number of the channel (the business's own number) that is meant.
    """

    kind: TargetKind
    value: str
    channel: str | None = None

    def __str__(self) -> str:
        return f"{self.channel}:{self.value}" if self.channel else self.value

    def __repr__(self) -> str:
        return f"Target({self.kind.value} {self.masked})"

    @property
    def masked(self) -> str:
        """The target as it may be logged."""
        return mask_numbers(str(self))

    @classmethod
    def parse(cls, target: str | Target) -> Target:
        """
        Read a target the way WATI does: by its shape.

        :param target: ``85264318722``, ``US.123124141512`` or a 24-character id, each with or without
            ``<channel name or number>:`` before it.
        :raises WatiValidationError: when it has none of these shapes; nothing is guessed or rewritten, but a
            whole number counts as its digits.
        """
        if isinstance(target, Target):
            return target
        target = _as_text(target)
        if not isinstance(target, str):
            raise WatiValidationError(
                f"A target is text, not {type(target).__name__}: write the phone number in quotes, so that no "
                "number column can turn it into 9876543210.0."
            )
        if not target.strip():
            raise WatiValidationError("A target is empty: give a phone number, a contact id or a BSUID.")
        channel, _, value = target.rpartition(":")
        if ":" in target and not channel.strip():
            raise WatiValidationError(
                f"Target {mask_target(target)!r} has an empty channel: leave the colon out for the default channel."
            )
        whole_text(channel, "The channel of a target")
        return cls(_kind_of(value), value, channel or None)

    @classmethod
    def phone(cls, number: str, channel: str | None = None) -> Target:
        """Name a person by phone number: digits only, country code first."""
        number = _as_text(number)
        return cls(_expect(_PHONE, number, TargetKind.PHONE), number, channel or None)

    @classmethod
    def contact(cls, contact_id: str, channel: str | None = None) -> Target:
        """Name a person by WATI's contact id, for the endpoints about contacts."""
        return cls(_expect(_OBJECT_ID, contact_id, TargetKind.CONTACT_ID), contact_id, channel or None)

    @classmethod
    def conversation(cls, conversation_id: str) -> Target:
        """Name one conversation by its id, for the endpoints about conversations."""
        return cls(_expect(_OBJECT_ID, conversation_id, TargetKind.CONVERSATION_ID), conversation_id)

    @classmethod
    def bsuid(cls, user_id: str, channel: str | None = None) -> Target:
        """Name a person by business-scoped WhatsApp user id, for those who hide their number."""
        return cls(_expect(_BSUID, user_id, TargetKind.BSUID), user_id, channel or None)

    def on_channel(self, channel: str | None) -> Target:
        """Put the target on a channel, unless it names one or is a conversation, which has its own."""
        if channel is None or self.channel is not None or self.kind in _CONVERSATIONS:
            return self
        return replace(self, channel=channel)


def is_phone(value: object) -> bool:
    """
    Say if a value is a phone number just as WATI wants it: 7 to 15 digits, the first not 0.

    :param value: anything.
    """
    return isinstance(value, str) and _PHONE.fullmatch(value) is not None


def _as_text(target: Any) -> Any:
    """Take a whole number for its digits: JSON and native templates make one of a phone number, and lose nothing."""
    is_number = isinstance(target, int) and not isinstance(target, bool)
    # Python writes no number of more than 4,300 digits.
    return str(target) if is_number and abs(target) < _TOO_LARGE else target


_CONVERSATIONS = frozenset({TargetKind.CONVERSATION_ID, TargetKind.OBJECT_ID})


def _kind_of(value: str) -> TargetKind:
    if _PHONE.fullmatch(value):
        return TargetKind.PHONE
    if _OBJECT_ID.fullmatch(value):
        return TargetKind.OBJECT_ID
    if _BSUID.fullmatch(value):
        return TargetKind.BSUID
    raise WatiValidationError(_complaint(value))


def _expect(shape: re.Pattern[str], value: str, kind: TargetKind) -> TargetKind:
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise WatiValidationError(
            _complaint(value)
            if kind is TargetKind.PHONE
            else f"{mask_target(value if isinstance(value, str) else type(value).__name__)!r} is not a {kind.value}."
        )
    return kind


def _complaint(value: object) -> str:
    shown = mask_target(value if isinstance(value, str) else type(value).__name__)
    if isinstance(value, str) and _LOOKS_LIKE_A_PHONE.fullmatch(value.strip()):
        digits = "".join(character for character in value if character.isdigit())
        if _PHONE.fullmatch(digits) and digits != value and "." not in value:
            return (
                f"Phone number {shown!r} must be digits only, country code first: "
                f"write it without '+', spaces or signs ({len(digits)} digits)."
            )
        return (
            f"Phone number {shown!r} must be 7 to 15 digits, country code first, not starting with 0, "
            "as in 85264318722."
        )
    return (
        f"Target {shown!r} is none of: a phone number in digits with country code (85264318722), "
        "an id of 24 hexadecimal characters, a BSUID (US.123124141512)."
    )


@dataclass(frozen=True, slots=True)
class TargetRule:
    """Which targets one group of endpoints takes."""

    endpoints: str
    kinds: frozenset[TargetKind]
    #: What a bare 24-character id stands for here.
    object_id: TargetKind
    takes_channel: bool
    remedy: str

    def check(self, target: str | Target) -> Target:
        """
        Read a target and hold it against the rule.

        :raises WatiValidationError: naming the kind, the endpoints and what to use instead.
        """
        parsed = Target.parse(target)
        if parsed.kind is TargetKind.OBJECT_ID:
            parsed = replace(parsed, kind=self.object_id)
        if parsed.kind not in self.kinds:
            raise WatiValidationError(
                f"{self.endpoints} do not take a {parsed.kind.value} ({parsed.masked}): {self.remedy}"
            )
        if parsed.channel and (not self.takes_channel or parsed.kind is TargetKind.CONVERSATION_ID):
            raise WatiValidationError(
                f"{self.endpoints} take no channel before a {parsed.kind.value} ({parsed.masked}): {self.remedy}"
            )
        return parsed


CONTACTS = TargetRule(
    "WATI's contact endpoints",
    frozenset({TargetKind.PHONE, TargetKind.CONTACT_ID, TargetKind.BSUID}),
    TargetKind.CONTACT_ID,
    takes_channel=True,
    remedy="use a phone number, a contact id or a BSUID.",
)
# WATI's pages disagree about contact ids here; the newest says no, and a contact id taken for a
# conversation id would reach somebody else.
CONVERSATIONS = TargetRule(
    "WATI's conversation and message endpoints",
    frozenset({TargetKind.PHONE, TargetKind.CONVERSATION_ID, TargetKind.BSUID}),
    TargetKind.CONVERSATION_ID,
    takes_channel=True,
    remedy="use a phone number or a BSUID (with a channel if several are in use), or a bare conversation id.",
)
CHATBOTS = TargetRule(
    "WATI's chatbot endpoint",
    frozenset({TargetKind.PHONE, TargetKind.CONTACT_ID}),
    TargetKind.CONTACT_ID,
    takes_channel=True,
    remedy="use a phone number or a contact id.",
)
RECIPIENTS = TargetRule(
    "Template sends",
    frozenset({TargetKind.PHONE, TargetKind.CONTACT_ID, TargetKind.BSUID}),
    TargetKind.CONTACT_ID,
    takes_channel=False,
    remedy="use a phone number, a contact id or a BSUID, and name the channel once for the whole send.",
)
