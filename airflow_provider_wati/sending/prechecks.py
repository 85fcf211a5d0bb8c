"""Checks before the first message: the template, its parameters, and the consent of the people."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiValidationError,
)
from airflow_provider_wati.tables.phone_numbers import normal_form

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact, MessageTemplate
    from airflow_provider_wati.sending.queue import SendQueue


log: logging.Logger = logging.getLogger(__name__)

# WhatsApp refuses a message whose parameter has a line break, a tab or more than four spaces in a row (error 132018, for example).
_NOT_IN_A_PARAMETER = re.compile(r"[\r\n\t]| {5,}")
# These, and empty values: one search passes nearly every value.
_SUSPECT = re.compile(rf"{_NOT_IN_A_PARAMETER.pattern}|\A\s*\Z")
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_CONTACTS_A_CALL = 100
#: Look-ups of single contacts that fail while none succeeds, before it counts as an outage.
_MOST_FAILURES = 3


def find_template(
    client: WatiClient, template_name: str, channel: str | None = None
) -> MessageTemplate | WatiNotFoundError:
    """
    Look a template up by its name; of several with that name (in several languages, say) an approved one.

    :param client: the account.
    :param template_name: the exact name.
    :param channel: name or number of the channel; the client's, else WATI's default, if left out.
    :return: the template, or the error that says that the channel has none of that name.
    """
    return _choose(client.iter_templates(channel), client, template_name, channel)


def check_template(client: WatiClient, template_name: str, channel: str | None = None) -> TemplateCheck:
    """Look a template up, and note how the others are called; the parameters are those of :func:`find_template`."""
    listed = list(client.iter_templates(channel))
    names = {str(each["id"]): str(each["name"]) for each in listed if each.get("id") and each.get("name")}
    return TemplateCheck(_choose(listed, client, template_name, channel), names)


def _choose(
    listed: Iterable[MessageTemplate], client: WatiClient, template_name: str, channel: str | None
) -> MessageTemplate | WatiNotFoundError:
    named = [each for each in listed if each.get("name") == template_name]
    if not named:
        return WatiNotFoundError(
            f"WATI has no template {template_name!r} on the channel {channel or client.channel or 'default'!r}."
        )
    approved = [each for each in named if is_approved(each)]
    return (approved or named)[0]


def is_approved(template: MessageTemplate) -> bool:
    """Return whether a template may be sent."""
    return str(template.get("status") or "").strip().upper() == "APPROVED"


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """
    The template of a send, and what is wrong with it. An error counts only if rows are left to send.

    :param found: the template, or the error that says that there is none; None before the look-up.
    :param names: the names of all templates that WATI lists, by id.
    """

    found: MessageTemplate | WatiNotFoundError | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def template(self) -> MessageTemplate | None:
        """The template, if there is one."""
        return None if isinstance(self.found, WatiNotFoundError) else self.found

    @property
    def required(self) -> list[str]:
        """The parameters that each message must give a value for."""
        return [] if self.template is None else parameter_names(self.template)

    def refuse_unsendable(self) -> None:
        """
        Refuse a template that WhatsApp does not take.

        :raises WatiNotFoundError: when there is none of that name.
        :raises WatiValidationError: when it is not approved.
        """
        if isinstance(self.found, WatiNotFoundError):
            raise self.found
        if self.template is not None and not is_approved(self.template):
            raise WatiValidationError(
                f"Template {self.template.get('name')!r} is {self.template.get('status')}, and WhatsApp takes "
                "approved ones only. Nothing was sent."
            )


def parameter_names(template: MessageTemplate) -> list[str]:
    """
    Return the parameters that a template's text uses: body, header and the URLs of buttons.

    WATI may list stale names beyond these; they are reported, not required. Where WATI gives no text with
    parameters, the listed names count.
    """
    params: Any = template.get("custom_params")
    listed = [
        str(param["name"])
        for param in (params if isinstance(params, list) else [])
        if isinstance(param, Mapping) and param.get("name")
    ]
    texts = [
        template.get("body_original") or template.get("body"),
        template.get("header"),
        template.get("buttons"),
    ]
    used = list(dict.fromkeys(name for text in texts for name in _placeholders(text)))
    if not used:
        return listed
    stale = sorted(set(listed) - set(used))
    if stale:
        log.warning(
            "WATI lists parameters of template %r that its text does not use; they are not required: %s.",
            template.get("name"),
            ", ".join(map(repr, stale)),
        )
    return used


def _placeholders(part: Any) -> Iterator[str]:
    """Yield the names in ``{{...}}`` in a text, or in any text of a nested value."""
    if isinstance(part, str):
        yield from _PLACEHOLDER.findall(part)
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _placeholders(value)
    elif isinstance(part, Sequence):
        for value in part:
            yield from _placeholders(value)


def parameter_problem(params: Mapping[str | None, str | None], required: Sequence[str]) -> str | None:
    """
    Say what is wrong with the parameters of one message; None if nothing is.

    :param params: the values, None where there is none.
    :param required: the names that must be there.
    """
    missing = [name for name in required if name not in params]
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

    All contacts are listed, or each person is looked up, whichever takes fewer calls. A listing is complete only if it
    has as many contacts as WATI counts before and after it: contacts that move between two pages would be missed.

    :param client: the account.
    :param queue: the rows; people who opted out are skipped there.
    :param max_calls: how many calls all of it may take.
    :param channel: name or number of the channel that the messages go from.
    """

    def __init__(
        self, client: WatiClient, queue: SendQueue, max_calls: int, channel: str | None = None
    ) -> None:
        self._client = client
        self._queue = queue
        self._max_calls = max_calls
        self._channel = channel
        self._calls = 0

    def apply(self) -> None:
        """
        Skip people who opted out, and reject rows whose consent WATI does not tell.

        :raises WatiValidationError: when it takes more calls than allowed; nothing is sent.
        :raises WatiError: when WATI cannot be asked now.
        """
        if self._people(1):
            self._look_up()
        self._queue.end_of_consent()

    def _people(self, most: int | None = None) -> int:
        """Count the people to ask about, up to a limit: counting all people of a large send takes its time."""
        return sum(1 for _ in islice(self._queue.people_to_ask_about(), most))

    def _look_up(self) -> None:
        if self._people(2) > 1:
            count = self._count()
            # One call to count again after the listing.
            calls = count // _CONTACTS_A_CALL + 2
            if calls < self._people(calls + 1):
                self._refuse_more(calls)
                log.info("Looking up who opted out: %s calls, listing all contacts.", f"{calls:,}")
                if self._list_all(count):
                    return
                log.warning("WATI's list of contacts does not match its count: each person is looked up.")
        people = self._people()
        self._refuse_more(people)
        log.info("Looking up who opted out: %s calls, one for each target.", f"{people:,}")
        self._ask_each()

    def _refuse_more(self, calls: int) -> None:
        if self._calls + calls > self._max_calls:
            raise WatiValidationError(
                f"Looking up who opted out takes {self._calls + calls:,} calls, and consent_max_calls is "
                f"{self._max_calls:,}. Nothing more is sent. Raise it, or leave out who opted out in the query and set "
                "check_consent=False."
            )

    def _count(self) -> int:
        self._refuse_more(1)
        self._calls += 1
        return self._client.count_contacts()

    def _list_all(self, count: int) -> bool:
        """List all contacts, twice if need be; return whether the listings have everybody."""
        for _ in range(2):
            self._queue.skip_opted_out(self._listed())
            before, count = count, self._count()
            if self._queue.count_contacts() >= max(before, count):
                return True
        return False

    def _listed(self) -> Iterator[tuple[str, str, bool]]:
        for n, contact in enumerate(self._client.iter_contacts()):
            if n % _CONTACTS_A_CALL == 0:
                # A count that is too low must not make the listing endless.
                self._refuse_more(1)
                self._calls += 1
            for name in _names_of(contact):
                yield name, str(contact.get("id") or name), _opted_out(contact)

    def _ask_each(self) -> None:
        known: list[tuple[str, str, bool]] = []
        unanswered: dict[str, str] = {}
        is_answered = False
        # Rows change only after the loop: the query that it reads must not change while it runs.
        for target in self._queue.people_to_ask_about():
            self._calls += 1
            try:
                contact = self._client.get_contact(Target.parse(target).on_channel(self._channel))
            except WatiNotFoundError:
                is_answered = True
            except (WatiAuthenticationError, WatiPermissionError, WatiRateLimitError):
                raise
            except WatiError as error:
                unanswered[target] = f"whether the person opted out could not be looked up: {error}"
                if len(unanswered) >= _MOST_FAILURES and not is_answered:
                    raise
            else:
                is_answered = True
                known.append((target, str(contact.get("id") or target), _opted_out(contact)))
        self._queue.skip_opted_out(known)
        self._queue.refuse(unanswered)


def _names_of(contact: Contact) -> set[str]:
    """Return the dedupe keys of a contact; WATI's contacts are typed by strangers, and may hold anything."""
    names = {str(contact.get("id") or "").lower(), str(contact.get("bsuid") or "")}
    for name in ("phone", "wa_id"):
        written = contact.get(name)
        if isinstance(written, (str, int)) and not isinstance(written, bool):
            names.add(normal_form(str(written)) or "")
    return names - {""}


def _opted_out(contact: Contact) -> bool:
    return str(contact.get("allow_broadcast")).strip().casefold() in ("false", "0", "no")
