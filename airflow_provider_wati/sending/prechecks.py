"""What can be known before anybody is messaged: the template, its parameters, and who does not want messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiNotFoundError,
    WatiValidationError,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact, MessageTemplate


log = logging.getLogger(__name__)

# WhatsApp refuses the whole message for these (error 132018 among others); more than four is a run.
_NOT_IN_A_PARAMETER = re.compile(r"[\r\n\t]| {5,}")
# The same, and what is empty: one look tells that a value is right, which nearly all are.
_SUSPECT = re.compile(rf"{_NOT_IN_A_PARAMETER.pattern}|\A\s*\Z")
_CONTACTS_A_CALL = 100
APPROVED = "APPROVED"


def find_template(client: WatiClient, template_name: str, channel: str | None = None) -> MessageTemplate:
    """
    Look a template up by its name; of several with that name (in several languages, say) an approved one.

    :param channel: name or number of the channel; the client's, else WATI's default, if left out.
    :raises WatiNotFoundError: when the channel has none of that name.
    """
    named = [each for each in client.iter_templates(channel) if each.get("name") == template_name]
    if not named:
        raise WatiNotFoundError(
            f"WATI has no template {template_name!r} on the channel {channel or client.channel or 'default'!r}."
        )
    approved = [each for each in named if is_approved(each)]
    return (approved or named)[0]


def is_approved(template: MessageTemplate) -> bool:
    """Tell whether a template may be sent."""
    return (template.get("status") or "").upper() == APPROVED


def parameter_names(template: MessageTemplate) -> list[str]:
    """Return the names that each message must give a value for."""
    return [str(param["name"]) for param in template.get("custom_params") or [] if param.get("name")]


def parameter_complaint(params: Mapping[str | None, str | None], needed: Sequence[str]) -> str | None:
    """
    Say what is wrong with the parameters of one message; None if nothing is.

    :param params: the values, None where there is none.
    :param needed: the names that must be there.
    """
    missing = [name for name in needed if name not in params]
    if missing:
        return f"parameter {missing[0]!r} is missing" + (
            f", and {len(missing) - 1} more" if missing[1:] else ""
        )
    for name, value in params.items():
        if not name:
            return "a parameter has no name"
        if value is None:
            return f"parameter {name!r} is NULL"
        if _SUSPECT.search(value):
            if not value.strip():
                return f"parameter {name!r} is empty"
            return f"parameter {name!r} has a line break, a tab or more than four spaces in a row"
    return None


class Consent:
    """
    Look up who does not want to be messaged: contacts whose ``allow_broadcast`` is false.

    :param client: the account.
    :param people: how many targets are asked about; a number that has two spellings is two of them.
    :param max_calls: how many calls the look-up may take.
    :param channel: name or number of the channel that the messages go from.
    :raises WatiValidationError: when it would take more, before any of them.
    """

    def __init__(self, client: WatiClient, people: int, max_calls: int, channel: str | None = None) -> None:
        self._client = client
        self._channel = channel
        #: Of whom WATI would not say, and why.
        self.refused: dict[str, str] = {}
        pages = client.count_contacts() // _CONTACTS_A_CALL + 1 if people > 1 else people
        self.by_listing = pages < people
        #: Calls that it takes, the one that counted the contacts left out.
        self.calls = min(pages, people)
        if self.calls > max_calls:
            raise WatiValidationError(
                f"Looking up who opted out takes {self.calls:,} calls for {people:,} targets, and consent_max_calls "
                f"is {max_calls:,}. Nothing was sent. Raise it, or leave out who opted out in the query and set "
                "check_consent=False."
            )
        log.info(
            "Looking up who opted out: %s calls, %s.",
            f"{self.calls:,}",
            "listing all contacts" if self.by_listing else "one for each target",
        )

    def look_up(self, targets: Iterable[str]) -> Iterator[tuple[str, str, bool]]:
        """
        Yield what WATI knows: target, contact id, and whether that contact opted out.

        Whom WATI does not know has not opted out, and is left out.

        :param targets: the people; a listing tells of all contacts, whoever is asked about.
        """
        if self.by_listing:
            for contact in self._client.iter_contacts():
                phone = (contact.get("phone") or "").lstrip("+")
                for target in {contact["id"], contact.get("wa_id"), phone, contact.get("bsuid")} - {None, ""}:
                    yield str(target), contact["id"], _opted_out(contact)
            return
        for target in targets:
            try:
                contact = self._client.get_contact(Target.parse(target).on_channel(self._channel))
            except WatiNotFoundError:
                continue
            except (WatiBadRequestError, WatiConflictError) as error:
                self.refused[target] = f"who opted out could not be looked up: {error}"
            else:
                yield target, contact["id"], _opted_out(contact)


def _opted_out(contact: Contact) -> bool:
    return contact.get("allow_broadcast") is False
