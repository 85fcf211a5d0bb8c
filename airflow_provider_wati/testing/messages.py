"""What arrived, what a test expects, and which message comes nearest to it; pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

_MAX_SHOWN = 10
_PHONE = re.compile(r"[1-9][0-9]{6,14}")
_BSUID = re.compile(r"[A-Z]{2}\.[0-9]+")
_SEPARATORS = re.compile(r"[\W_]+")
#: How much a field that differs counts against a message. A message to the same person comes nearest.
_WEIGHTS = {"phone": 4.0, "template": 3.0, "text": 2.0, "campaign": 1.0, "kind": 1.0}
_PARAM_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """
    A message that the business has sent.

    :param phone: to whom, as digits with the country code; the BSUID of somebody without a phone number.
    :param kind: ``template``, ``text``, ``interactive``, ``image``, ``document`` and so on.
    :param text: what the person reads; a template is filled in.
    :param template: the name of the template, None for another kind.
    :param params: the parameters of the template, by name.
    :param campaign: the name of the campaign in WATI, None for another kind. The provider puts a mark before it.
    :param status: how far it has come: ``pending`` (scheduled), ``sent``, ``delivered``, ``read``, ``failed`` and so on.
    :param created: when, by the sandbox's clock; of a scheduled message, when it is due.
    :param id: WATI's id.
    :param channel: the name of the channel that it came through.
    """

    phone: str
    kind: str
    text: str
    template: str | None
    params: Mapping[str, str]
    campaign: str | None
    status: str
    created: datetime
    id: str
    channel: str

    def __str__(self) -> str:
        what = f"template {self.template!r}" if self.template else self.kind
        return f"{self.phone}: {what}, {_shortened(self.text)!r} ({self.created:%H:%M:%S})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which a message is not as expected."""

    name: str
    expected: str
    actual: str
    weight: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """
    What a test expects of a message; None leaves a field open.

    :param phone: to whom, as digits.
    :param text: the whole text, or a compiled pattern that is found in it.
    :param params: parameters that the template has to have; others may be there too.
    :param campaign: text in the name of the campaign.
    """

    phone: str | None = None
    template: str | None = None
    text: str | re.Pattern[str] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    campaign: str | None = None
    kind: str | None = None

    def matches(self, message: Message) -> bool:
        """Return whether a message is as expected."""
        return next(self.differences(message), None) is None

    def differences(self, message: Message) -> Iterator[Difference]:
        """Yield the fields in which a message is not as expected."""
        for name in ("phone", "template", "kind"):
            expected, actual = getattr(self, name), getattr(message, name)
            if expected is not None and expected != actual:
                yield Difference(name, repr(expected), repr(actual), _WEIGHTS[name])
        for name, value in self.params.items():
            actual = message.params.get(name)
            if actual != value:
                shown = "not there" if actual is None else repr(actual)
                yield Difference(f"params[{name!r}]", repr(value), shown, _PARAM_WEIGHT)
        if isinstance(self.text, re.Pattern):
            if not self.text.search(message.text):
                expected = f"a text with {self.text.pattern!r}"
                yield Difference("text", expected, repr(message.text), _WEIGHTS["text"])
        elif self.text is not None and self.text != message.text:
            likeness = _likeness(self.text, message.text)
            yield Difference("text", repr(self.text), repr(message.text), _WEIGHTS["text"] * (1 - likeness))
        if self.campaign is not None and self.campaign not in (message.campaign or ""):
            expected = f"a name with {self.campaign!r}"
            yield Difference("campaign", expected, repr(message.campaign), _WEIGHTS["campaign"])

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield what is expected, field by field, as :meth:`differences` names it."""
        for name in ("phone", "template", "kind", "campaign"):
            if getattr(self, name) is not None:
                yield name, repr(getattr(self, name))
        for param, value in self.params.items():
            yield f"params[{param!r}]", repr(value)
        if self.text is not None:
            yield "text", repr(self.text.pattern if isinstance(self.text, re.Pattern) else self.text)


def person(given: str, known: Collection[str] = ()) -> str:
    """
    Return a phone number as digits, or a BSUID as it is.

    Anything else would be nobody, of whom every test could say that they received nothing.

    :param given: digits with the country code; ``+`` and separators of any kind are ignored.
    :param known: phone numbers of contacts: one that ends with what is given shows that the country code is missing.
    :raises ValueError: for what is neither, and for a phone number without its country code.
    """
    if not isinstance(given, str):
        raise ValueError(f"A phone number is a str such as '12025550143', not {type(given).__name__}.")
    if _BSUID.fullmatch(given):
        return given
    digits = _SEPARATORS.sub("", given)
    if not _PHONE.fullmatch(digits):
        raise ValueError(
            f"{given!r} is no phone number: write 7 to 15 digits that begin with the country code (without 00), or a BSUID."
        )
    if known and digits not in known:
        whole = next((each for each in tuple(known) if each.endswith(digits)), None)
        if whole is not None:
            raise ValueError(f"{given!r} lacks its country code: there is a contact {whole}.")
    return digits


def nearest(expectation: Expectation, messages: Sequence[Message]) -> Message | None:
    """Return the message with the least difference, the latest of several; None if there is none at all."""

    def distance(message: Message) -> float:
        return sum(difference.weight for difference in expectation.differences(message))

    return min(reversed(messages), key=distance, default=None)


def explain(
    expectation: Expectation, times: int | None, messages: Sequence[Message], refused: Sequence[str] = ()
) -> str:
    """
    Say why an assertion fails, with the nearest miss as a diff.

    :param times: how many messages were expected, None for one at least.
    :param messages: all that were sent.
    :param refused: calls that WATI has refused, as texts.
    """
    matching = [message for message in messages if expectation.matches(message)]
    wanted = "at least one message" if times is None else f"{times} message{'' if times == 1 else 's'}"
    lines = [f"Expected {wanted}, found {len(matching)}."]
    if matching:
        lines += ["Found:", *_list_of(matching)]
    others = [message for message in messages if message not in matching]
    if not matching or (times or 1) > len(matching):
        lines += _nearest_miss(expectation, others)
    if refused:
        lines += ["Calls that were not answered with 200:", *(f"  {call}" for call in refused[-_MAX_SHOWN:])]
    return "\n".join(lines)


def unexpected(messages: Sequence[Message]) -> str:
    """Say which messages were sent though none was expected."""
    return "\n".join(["Expected no message, found:", *_list_of(messages)])


def _nearest_miss(expectation: Expectation, others: Sequence[Message]) -> list[str]:
    miss = nearest(expectation, others)
    if miss is None:
        return ["No other message was sent." if others else "Nothing else was sent to anybody."]
    differences = {each.name: each for each in expectation.differences(miss)}
    lines = [
        f"The nearest of {len(others)} other message{'' if len(others) == 1 else 's'} "
        "(- expected, + what was sent):"
    ]
    for name, shown in expectation.fields():
        different = differences.get(name)
        if different is None:
            lines.append(f"    {name}: {shown}")
        else:
            lines += [f"  - {name}: {different.expected}", f"  + {name}: {different.actual}"]
    if expectation.text is None:
        lines.append(f"    (its text: {_shortened(miss.text)!r})")
    return lines


def _list_of(messages: Sequence[Message]) -> list[str]:
    lines = [f"  {message}" for message in messages[:_MAX_SHOWN]]
    if len(messages) > _MAX_SHOWN:
        lines.append(f"  and {len(messages) - _MAX_SHOWN} more")
    return lines


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _likeness(one: str, other: str) -> float:
    """Return how alike two texts are, from 0 to 1."""
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one[:2_000], other[:2_000], autojunk=False).ratio()
