"""
Faults on request: what should go wrong, with which calls.

This module knows the rules; ``effects`` makes things go wrong.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, field, fields
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.campaigns import Tampering

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Kind -> what it does.
KINDS = {
    "status": "answer with `status`",
    "delay": "wait `seconds`, then carry on as usual",
    "drop": "break the connection without an answer",
    "garbage": "answer 200 with something unreadable: `body` is html, empty, truncated or cut",
    "answer": "answer 200 with `answer`, laid over the real one when it is known",
    "refused_in_200": "answer 200 that says the call failed: success false or result false",
    "message_failed": "answer 200 with a message whose own status is failed",
    "redirect": "answer `status` (default 307) with `location`",
    "recipient_errors": "refuse the recipients in `numbers` with `errors`, inside a 200",
    "omit_recipients": "leave the recipients in `numbers` out of the answer; `sent` says whether they are sent",
    "slow_listing": "hide the campaign for `seconds`, or with `fill` let its recipients appear over that time",
}
#: These change what a send does; the send itself has to carry them out.
TAMPERING_KINDS = ("recipient_errors", "omit_recipients", "slow_listing")
GARBAGE_BODIES = ("html", "empty", "truncated", "cut")

_MAX_SECONDS = 86_400 * 366
_MAX_DEPTH = 50
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "dict[str, Any]": (dict,),
    "list[str]": (list,),
}


@dataclass
class Fault:
    """
    One rule. A call matches when everything that the rule names fits.

    :param kind: what happens, one of ``KINDS``.
    :param method: HTTP method, or ``*``.
    :param path: shell-style pattern for the path, without the query; ``*`` also matches slashes.
    :param contains: text that the request body must contain.
    :param skip: leave this many matching calls alone first.
    :param count: then act this many times; None is for ever.
    :param probability: act with this probability, from 0 to 1.
    :param when: ``before`` the effect (which then does not happen), or ``after`` it.
    :param seconds: wait this long, in real time; for ``slow_listing`` in the sandbox's time.
    :param status: the HTTP status of ``status`` and ``redirect``.
    :param body: exact response body of ``status``; the kind of garbage of ``garbage``.
    :param retry_after: value of a ``Retry-After`` header, in seconds.
    :param retry_after_date: write it as an HTTP date instead.
    :param location: where ``redirect`` leads.
    :param reset: ``drop`` by a TCP reset; otherwise by an orderly close.
    :param answer: JSON of ``answer``.
    :param numbers: phone numbers or targets, as the request writes them.
    :param errors: the errors of ``recipient_errors``.
    :param sent: whether ``omit_recipients`` sends to them all the same.
    :param fill: whether ``slow_listing`` fills the list of recipients gradually instead of hiding the campaign.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    contains: str = ""
    skip: int = 0
    count: int | None = None
    probability: float = 1.0
    when: str = "before"
    seconds: float = 0.0
    status: int = 500
    body: str | None = None
    retry_after: float | None = None
    retry_after_date: bool = False
    location: str = ""
    reset: bool = True
    answer: dict[str, Any] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=lambda: ["Refused on request"])
    sent: bool = False
    fill: bool = False

    id: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if self.when not in ("before", "after"):
            raise ValueError("when must be before or after")
        if self.kind == "garbage":
            self.body = self.body or "html"
            if self.body not in GARBAGE_BODIES:
                raise ValueError(f"body must be one of {', '.join(GARBAGE_BODIES)}")
        if self.kind == "redirect":
            self.status = 307 if self.status == 500 else self.status
            if not self.location:
                raise ValueError("location is required")
        if self.kind == "message_failed":
            self.when = "after"
        self.method = self.method.upper()
        self._check_values()

    def _check_values(self) -> None:
        """
        Refuse values that no answer could be made of.

        :raises ValueError: naming the value.
        """
        if not 200 <= self.status <= 599:
            raise ValueError("status must be between 200 and 599")
        for name in ("seconds", "retry_after"):
            if not 0 <= (getattr(self, name) or 0) <= _MAX_SECONDS:
                raise ValueError(f"{name} must be between 0 and {_MAX_SECONDS}")
        if self.skip < 0 or (self.count is not None and self.count < 1):
            raise ValueError("skip must be 0 or more, and count 1 or more, or left out for ever")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        for name in ("numbers", "errors"):
            if not all(isinstance(each, str) for each in getattr(self, name)):
                raise ValueError(f"{name} must be texts")
        if not (self.location.isascii() and self.location.isprintable()):
            raise ValueError("location must be of printable ASCII characters")
        if not _is_nested_up_to(_MAX_DEPTH, self.answer):
            raise ValueError(f"answer must not be nested more than {_MAX_DEPTH} levels deep")

    @property
    def used_up(self) -> bool:
        return self.count is not None and self.fired >= self.count

    def matches(self, method: str, path: str, body: bytes) -> bool:
        return (
            self.method in ("*", method)
            and fnmatchcase(path, self.path)
            and (not self.contains or self.contains.encode() in body)
        )

    def retry_after_header(self, now: float) -> dict[str, str]:
        if self.retry_after is None:
            return {}
        if self.retry_after_date:
            return {"Retry-After": formatdate(math.ceil(now + self.retry_after), usegmt=True)}
        return {"Retry-After": f"{self.retry_after:g}"}

    def tampering(self) -> Tampering:
        """Return what the send has to do differently."""
        if self.kind == "recipient_errors":
            return Tampering(errors=dict.fromkeys(self.numbers, self.errors))
        if self.kind == "omit_recipients":
            return Tampering(left_out=frozenset(self.numbers), left_out_are_sent=self.sent)
        if self.kind == "slow_listing" and self.fill:
            return Tampering(filling_seconds=self.seconds)
        if self.kind == "slow_listing":
            return Tampering(hidden_seconds=self.seconds)
        return Tampering()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _is_nested_up_to(levels: int, value: Any) -> bool:
    """Return whether a JSON value has at most so many objects and arrays within each other."""
    if not isinstance(value, dict | list):
        return True
    members = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_nested_up_to(levels - 1, member) for member in members)


class FaultRules:
    """The rules in force, oldest first."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._last_id = 0
        # Seeded: a test with a probability fails the same way twice.
        self._random = random.Random(131026)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._rules)

    def add(self, fault: Fault) -> Fault:
        self._last_id += 1
        fault.id = self._last_id
        self._rules.append(fault)
        return fault

    def remove(self, fault_id: int) -> bool:
        kept = [fault for fault in self._rules if fault.id != fault_id]
        found = len(kept) < len(self._rules)
        self._rules = kept
        return found

    def clear(self) -> None:
        self._rules = []

    def pick(self, method: str, path: str, body: bytes) -> tuple[Fault | None, Fault | None]:
        """
        Count the call for every rule that it matches, and return the first two rules that act on it.

        :return: one that changes what a send does, and one that spoils its answer: a campaign can be slow to
            appear and its answer be lost as well.
        """
        acting: dict[bool, Fault] = {}
        for fault in self._rules:
            if not fault.matches(method, path, body):
                continue
            fault.seen += 1
            tampers = fault.kind in TAMPERING_KINDS
            if tampers not in acting and self._acts(fault):
                fault.fired += 1
                acting[tampers] = fault
        return acting.get(True), acting.get(False)

    def _acts(self, fault: Fault) -> bool:
        return (
            fault.seen > fault.skip
            and not fault.used_up
            and (fault.probability >= 1 or self._random.random() < fault.probability)
        )


def fault_from_json(body: dict[str, Any]) -> Fault:
    """
    Read a rule from the control API.

    :raises ValueError: saying what is wrong with it.
    """
    known = {each.name: str(each.type) for each in fields(Fault) if each.init}
    unknown = body.keys() - known
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    if "kind" not in body:
        raise ValueError(f"kind is required, one of {', '.join(KINDS)}")
    for name, value in body.items():
        if type(value) not in _JSON_TYPES[known[name]]:
            raise ValueError(f"{name} must be {known[name]}")
    return Fault(**body)
