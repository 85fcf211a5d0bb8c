"""
Whether a send goes on as the one that it began as: with its template, its channel and its use of keys.

Pure: the journal or WATI says how it began, and what neither of them says is no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal_codec import Verdict

if TYPE_CHECKING:
    from airflow_provider_wati.sending.journal import Entry


class NotKnown(Enum):
    """Stands for what neither the journal nor WATI says; no channel is WATI's default one, so None is a value."""

    NOT_KNOWN = "not known"


NOT_KNOWN = NotKnown.NOT_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """
    What must stay the same for the people of a send to be comparable.

    :param template: the name of the template.
    :param channel: the channel; None for WATI's default.
    :param keyed: whether rows have keys.
    """

    template: str | NotKnown = NOT_KNOWN
    channel: str | None | NotKnown = NOT_KNOWN
    keyed: bool | NotKnown = NOT_KNOWN


@dataclass(frozen=True, slots=True)
class Difference:
    """
    The first trait in which a send is another one than before.

    :param what: what an error calls the trait.
    :param before: how the send began.
    :param now: how it is meant to go on.
    """

    what: str
    before: str | bool | None | NotKnown
    now: str | bool | None | NotKnown


def difference(before: Traits, now: Traits) -> Difference | None:
    """Return the first trait that is known of both and differs; None if there is none."""
    for each in (
        Difference("template", before.template, now.template),
        Difference("channel", before.channel, now.channel),
        Difference("use of keys", before.keyed, now.keyed),
    ):
        if NOT_KNOWN not in (each.before, each.now) and each.before != each.now:
            return each
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SameSend:
    """
    Refuses to go on with a send that has begun as another one: its people could not be compared.

    :param send_key: the name of the send.
    :param now: how it is meant to go on.
    :param templates: the names of the templates that WATI lists, by id.
    :param has_parts: whether mapped tasks share the mark of the send, each with traits of its own, so that a campaign with
        others may be another task's.
    """

    send_key: str
    now: Traits
    templates: Mapping[str, str] = field(default_factory=dict)
    has_parts: bool = False

    def check(self, entries: Iterable[Entry]) -> None:
        """
        Refuse to go on with a send that has begun as another one by the journals.

        :param entries: the calls of its tasks that are to be like those of this one.
        :raises WatiConfigurationError: when a call that may have reached somebody differs from this send.
        """
        for entry in entries:
            intent = entry.intent
            # WATI may still show a call that was closed without evidence.
            may_appear = intent.campaign_name is not None and Verdict.CLOSED_UNRESOLVED in entry.verdicts
            if Verdict.ACCEPTED in entry.verdicts or entry.is_open or may_appear:
                self.refuse_other(Traits(template=intent.content, channel=intent.channel, keyed=intent.keyed))

    def refuse_other(self, before: Traits) -> None:
        """
        Refuse another send than the one that has begun.

        :param before: what is known of it.
        :raises WatiConfigurationError: when it differs from this one.
        """
        found = difference(before, self.now)
        if found is not None:
            raise WatiConfigurationError(
                f"The send key {self.send_key!r} was used with another {found.what} ({found.before!r}, now "
                f"{found.now!r}), so its people cannot be compared. Nothing was sent. Change it back, or give "
                "another send_key, under which all rows are sent."
            )

    def template_traits(self, template_id: str) -> Traits:
        """
        Return what the template of a campaign says.

        A template that is not listed may be an earlier version of this one, so only the id of another one counts.

        :param template_id: as WATI lists it; empty if it does not.
        """
        return Traits(template=self.templates.get(template_id, NOT_KNOWN))

    def is_another_template(self, template_id: str) -> bool:
        """Return whether a campaign is known to be of another template; the parameter is that of :meth:`template_traits`."""
        return difference(self.template_traits(template_id), self.now) is not None
