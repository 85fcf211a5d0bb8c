"""
Decides about people whose outcome the journal does not have.

:func:`decide` is a pure function: evidence from WATI, time and policy in, a decision out. Nothing here calls, waits or writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from airflow_provider_wati.exceptions import WatiConfigurationError

#: A call that WATI does not show within this time counts as not sent. WATI documents no figure.
DEFAULT_GRACE = timedelta(seconds=120)
#: Pause between two looks into WATI's lists.
POLL_INTERVAL = timedelta(seconds=5)
#: A campaign that goes on growing is watched for this many graces at most.
_MOST_GRACES = 5
#: WATI documents no statuses but ``processing``; these words are in use elsewhere in its product.
_CANCELLED = frozenset({"cancelled", "canceled", "stopped", "deleted"})


class Listed(Enum):
    """What WATI's lists say about one person of an open call."""

    NO = "no"
    YES = "yes"
    #: Listed, and the message failed: the person has no message.
    FAILED = "failed"
    #: The campaign was cancelled before its time.
    CANCELLED = "cancelled"
    #: Listed, but the list does not say which of several messages to the person it means.
    UNCLEAR = "unclear"
    #: Listed in a campaign that may be another mapped task's, with other parameters than the row's.
    OTHER_PARAMS = "other parameters"


class Control(Enum):
    """Whether WATI's list shows calls that WATI has answered. Only then is the absence of another call evidence."""

    #: No call of this send has been answered, so the list cannot be checked.
    NONE = "none"
    SHOWN = "shown"
    MISSING = "missing"


class Decision(Enum):
    """What to do about one person of an open call."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    SEND = "send"
    WAIT = "wait"
    HOLD = "hold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What the user and the connection say about ambiguous calls.

    :param grace: how long WATI may take to list a call that it has accepted, counted from the end of the call.
    :param timeout: how long a call waits for a connection and an answer. A request or an answer that arrives in pieces may
        take longer.
    :param hold: whether people that WATI does not list stay unknown, instead of being sent to again.
    :param waits: whether to wait for the end of the grace. A dry run does not wait.
    """

    grace: timedelta
    timeout: timedelta
    hold: bool = False
    waits: bool = True

    def latest_end(self, at: datetime, next_attempt: datetime) -> datetime:
        """
        Return the latest time at which a call without a recorded end can have ended.

        Its attempt is usually over when the next one begins. But a worker that Airflow takes for dead may still run, so the
        call gets its timeouts at least.

        :param at: the time of its intent.
        :param next_attempt: when the attempt after it began.
        """
        return max(next_attempt, at + self.timeout)

    def deadline(self, ended_at: datetime, due: datetime | None, now: datetime) -> datetime:
        """
        Return when the grace of a call ends. Until then, WATI may have accepted the call without listing it.

        WATI documents that a schedule is listed as soon as it is made. When it is due, its campaign may change, so the
        grace runs from that time too.

        :param ended_at: the latest time at which the call can have ended.
        :param due: when WATI is to send it; None for at once.
        :param now: the time of the look.
        """
        end = max(ended_at, due) if due is not None and due <= now else ended_at
        return end + self.grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    What WATI shows about one open call.

    :param deadline: the end of its grace; see :meth:`Policy.deadline`.
    :param readable: whether the lists could be read.
    :param found: whether a campaign of the call is listed.
    :param complete: whether the campaign lists everybody it holds, as far as can be seen.
    :param growing_until: until when the campaign may still grow; None if none was found.
    :param control: see :class:`Control`.
    :param resend: whether the call was itself a resend.
    :param is_unrecorded: whether no journal has the call. There may then be several such calls, so that a failed message does
        not show that the person has none.
    """

    deadline: datetime
    readable: bool = True
    found: bool = False
    complete: bool = False
    growing_until: datetime | None = None
    control: Control = Control.NONE
    resend: bool = False
    is_unrecorded: bool = False


def decide(listed: Listed, evidence: Evidence, now: datetime, policy: Policy) -> Decision:
    """
    Decide about one person of an open call.

    :param listed: what WATI's lists say about the person.
    :param evidence: what they say about the call.
    :param now: the time of the look.
    :param policy: what the user and the connection say.
    """
    if listed is Listed.YES:
        return Decision.ACCEPTED
    if listed is Listed.FAILED and not evidence.is_unrecorded:
        return Decision.REFUSED
    if listed is Listed.CANCELLED:
        return Decision.CANCELLED
    if now < evidence.deadline:
        return Decision.WAIT
    if not evidence.readable or listed in (Listed.UNCLEAR, Listed.OTHER_PARAMS):
        return Decision.UNKNOWN
    if evidence.found:
        if evidence.complete:
            if evidence.resend:
                return Decision.UNKNOWN
            # WATI's total may grow with its list, so a list as long as its total may be filled later than the grace.
            return Decision.HOLD if policy.hold else Decision.SEND
        is_over = evidence.growing_until is None or now >= evidence.growing_until
        return Decision.UNKNOWN if is_over else Decision.WAIT
    if evidence.control is Control.MISSING or evidence.resend:
        return Decision.UNKNOWN
    return Decision.HOLD if policy.hold else Decision.SEND


#: A person may be in several open calls. The decision that comes first here counts.
PRECEDENCE = (
    Decision.ACCEPTED,
    Decision.CANCELLED,
    Decision.WAIT,
    Decision.UNKNOWN,
    Decision.HOLD,
    Decision.SEND,
    Decision.REFUSED,
)


def combine(decisions: Iterable[Decision]) -> Decision:
    """Return the decision about a person who is in several open calls. SEND requires that all calls allow it."""
    return min(decisions, key=PRECEDENCE.index)


def reason_of(decision: Decision, evidence: Evidence, listed: Listed) -> str:
    """Say why a person's outcome is not known, and what to do."""
    if decision is Decision.HOLD:
        return (
            "an earlier call may have sent it, WATI does not show it, and on_unknown is 'hold': if WATI's dashboard shows "
            "that it did not go out, clear the task with on_unknown='resend_after_grace'"
        )
    if not evidence.readable:
        return (
            "an earlier call may have sent it, and WATI's campaigns cannot be read: give the token the scope "
            "campaignsv3:read, or retry later"
        )
    if listed is Listed.UNCLEAR:
        return "WATI lists a message to this person, and does not say which of several: look at the dashboard"
    if listed is Listed.OTHER_PARAMS:
        return (
            "WATI lists a message to this person with other parameters or another template, which may be another mapped "
            "task's: look at the "
            "dashboard, and send to people without a message under another send_key"
        )
    if decision is Decision.WAIT:
        return "the call may have sent it, and WATI may still show it: retry later"
    if evidence.found and not evidence.complete:
        return "its campaign lists fewer people than it holds and is still growing: retry later"
    if evidence.control is Control.MISSING:
        return (
            "WATI's list does not show an answered campaign of this send either, so that it proves nothing: look at "
            "the dashboard, and send to people without a message under another send_key"
        )
    return (
        "the answers to two calls for it were lost and WATI shows neither, so it is not sent a third time: look at "
        "the dashboard, and send to people without a message under another send_key"
    )


def has_params(listed: Mapping[str, str], row: Mapping[str, str]) -> bool:
    """
    Return whether a listed message has the parameters of a row. WATI may list more parameters than were sent.

    :param listed: the parameters that WATI lists; empty where it does not show them.
    :param row: the parameters of the row.
    """
    return all(listed.get(name) == value for name, value in row.items())


@dataclass(slots=True)
class GrowthWatch:
    """
    Watches the list of recipients of one campaign, which grows after the call. A list that stopped growing is complete.

    :param first_seen: the time of the first look.
    """

    first_seen: datetime
    listed: int = -1
    total: int = -1
    changed_at: datetime | None = None
    looked_at: datetime | None = None
    looks_unchanged: int = 0

    def look(self, listed: int, total: int, now: datetime) -> None:
        """
        Store what one look shows.

        :param listed: people in the list.
        :param total: WATI's own count of them.
        :param now: when the look began.
        """
        self.looked_at = now
        if (listed, total) == (self.listed, self.total):
            self.looks_unchanged += 1
        else:
            self.listed, self.total, self.changed_at, self.looks_unchanged = listed, total, now, 0

    def is_complete(self, grace: timedelta) -> bool:
        """
        Return whether the list holds everybody: it is as long as its total and did not grow between two looks.

        WATI does not say whether the total counts refused people; a list that is as short after a whole grace counts as
        complete too, and so does one that stays empty. Only the looks count, not the time since the last one.
        """
        if self.changed_at is None or self.looked_at is None:
            return False
        if self.is_full and self.looks_unchanged:
            return True
        return self.looked_at - self.changed_at >= grace

    @property
    def is_full(self) -> bool:
        """Whether the list is as long as WATI's total, and not empty."""
        return self.listed >= max(self.total, 1)

    def growing_until(self, grace: timedelta) -> datetime:
        """Return until when the list may still grow; after that it is not waited for."""
        return min((self.changed_at or self.first_seen) + grace, self.first_seen + _MOST_GRACES * grace)


def is_cancelled(status: object) -> bool:
    """Return whether the status of a campaign says that it was cancelled."""
    return str(status or "").strip().casefold() in _CANCELLED


def policy_of(
    given: timedelta | None, timeout: tuple[float, float], *, hold: bool = False, waits: bool = True
) -> Policy:
    """
    Make the policy of a send.

    :param given: the user's grace; if left out, 120 seconds, or more where a call may take as long.
    :param timeout: seconds that the client waits for a connection and for an answer.
    :param hold: see :class:`Policy`.
    :param waits: see :class:`Policy`.
    :raises WatiConfigurationError: for a grace that ends while the call may still be under way.
    """
    longest = timedelta(seconds=sum(timeout))
    if given is None:
        grace = DEFAULT_GRACE if longest < DEFAULT_GRACE else longest + DEFAULT_GRACE
    elif given <= longest:
        raise WatiConfigurationError(
            f"unknown_grace is {given.total_seconds():g} s, and a call may take {longest.total_seconds():g} s (the "
            "timeouts of the connection): give a longer grace, or a call that is under way could be taken for lost."
        )
    else:
        grace = given
    return Policy(grace=grace, timeout=longest, hold=hold, waits=waits)
