"""Operators for contacts: the people that WATI knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from airflow_provider_wati._compat import AirflowSkipException
from airflow_provider_wati.client.target import CONTACTS, Target, TargetKind
from airflow_provider_wati.client.validation import contact_attributes, text
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator, unredacted
from airflow_provider_wati.operators._contact_sync import ContactSyncOperator
from airflow_provider_wati.operators._single_send import act_once
from airflow_provider_wati.syncing.diff import params_of, phone_numbers_of, seen_in
from airflow_provider_wati.syncing.values import is_same
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, spellings_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact, SendHooks
    from airflow_provider_wati.client.validation import CustomParams
    from airflow_provider_wati.sending.conversation_index import Sighting
    from airflow_provider_wati.tables.values import Row


#: What the journal calls a create: a person has one contact, whatever is in it.
CONTACT = "contact"


class _WholeContactOperator(WatiOperator):
    """Base of the operators that may create a contact."""

    template_fields: Sequence[str] = ("phone_number", "name", "custom_params", "wati_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"custom_params": "json"}

    def __init__(
        self, *, phone_number: str, name: str, custom_params: CustomParams | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.phone_number = phone_number
        self.name = name
        self.custom_params = custom_params


class WatiCreateContactOperator(_WholeContactOperator):
    """
    Create a contact.

    What WATI does with a number that it knows already is not documented. A later attempt of the task therefore
    looks first, and takes a contact that is there, with this name and these attributes, for its own.

    .. code-block:: python

        WatiCreateContactOperator(
            task_id="create_contact",
            phone_number="85264318722",
            name="Ada Wong",
            custom_params={"tier": "gold"},
        )

    :param phone_number: 7 to 15 digits, country code first, without ``+`` or spaces (templated).
    :param name: what the contact is called (templated). WATI has no way to change it later.
    :param custom_params: attributes, as a dict of texts or as WATI's list of names and values (templated). Consent
        (``allow_broadcast`` and the like) is refused.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it, with its ``id``.
    :raises WatiValidationError: before anything is sent, for a number, name or attribute that cannot be right.
    :raises WatiConflictError: when WATI has the number with another name or other attributes.
    :raises WatiUnknownOutcomeError: when no answer says whether the contact was created; the next attempt looks.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client
        text(self.name, "name")
        contact_attributes(self.custom_params, "custom_params")
        target = Target.phone(self.phone_number)
        answered: list[Contact] = []

        def create(hooks: SendHooks) -> Contact:
            answered.append(
                client.create_contact(self.phone_number, self.name, self.custom_params, hooks=hooks)
            )
            return answered[0]

        act_once(
            self,
            context,
            target=target,
            content=CONTACT,
            act=create,
            look=lambda _: _sighting_of(_known(client, self.phone_number)),
            detail_of=lambda contact: {"id": contact["id"]},
        )
        # The journal keeps no names, so the contact of an earlier attempt is looked up.
        contact = answered[0] if answered else _known(client, self.phone_number) or client.get_contact(target)
        self.log.info("WATI has contact %s.", contact["id"])
        if not _same_contact(contact, self.name, self.custom_params):
            raise WatiConflictError(
                f"WATI has contact {contact['id']} under this number with another name or other attributes, and a "
                "create changes none: use WatiUpsertContactOperator to bring its attributes up to date."
            )
        return dict(contact)


class WatiGetContactOperator(WatiOperator):
    """
    Look up one contact.

    .. code-block:: python

        WatiGetContactOperator(task_id="contact", target="85264318722", if_missing="skip")

    :param target: phone number, contact id or BSUID, each with or without ``<channel>:`` before it (templated).
    :param if_missing: how the task ends when WATI does not know the contact: ``fail``, ``skip``, or ``none`` to
        succeed with the result None.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact: ``id``, ``name``, ``phone``, ``custom_params``, ``teams``, ``allow_broadcast`` and other
        fields of WATI; None if it is missing and ``if_missing`` is ``none``.
    :raises WatiNotFoundError: when the contact is missing and ``if_missing`` is ``fail``.
    """

    template_fields: Sequence[str] = ("target", "wati_conn_id")

    def __init__(
        self, *, target: str, if_missing: Literal["fail", "skip", "none"] = "fail", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.if_missing = if_missing

    def execute(self, context: Context) -> dict[str, Any] | None:
        if self.if_missing not in ("fail", "skip", "none"):
            raise WatiValidationError(f"if_missing is fail, skip or none, not {self.if_missing!r}.")
        try:
            return dict(self.hook.client.get_contact(self.target))
        except WatiNotFoundError:
            if self.if_missing == "fail":
                raise
        if self.if_missing == "skip":
            raise AirflowSkipException("WATI does not know the contact.")
        self.log.info("WATI does not know the contact.")
        return None


class WatiUpdateContactOperator(WatiOperator):
    """
    Set attributes of a contact. Doing it twice leaves the same attributes.

    .. code-block:: python

        WatiUpdateContactOperator(task_id="vip", target="85264318722", custom_params={"tier": "gold"})

    :param target: phone number, contact id or BSUID, each with or without ``<channel>:`` before it (templated).
    :param custom_params: attributes to set, as a dict of texts or as WATI's list of names and values
        (templated). Others keep their values, as far as is known. WATI has no way to change the name. Consent
        (``allow_broadcast`` and the like) is refused.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it now.
    :raises WatiValidationError: before anything is sent, for a target or attribute that cannot be right.
    :raises WatiRejectedError: when WATI's answer does not show this contact with the new values.
    """

    template_fields: Sequence[str] = ("target", "custom_params", "wati_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"custom_params": "json"}

    def __init__(self, *, target: str, custom_params: CustomParams, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.custom_params = custom_params

    def execute(self, context: Context) -> dict[str, Any]:
        if not self.custom_params:
            raise WatiValidationError("custom_params is empty: there is nothing to update.")
        contact = _update(self.hook.client, self.target, self.custom_params)
        self.log.info("Updated contact %s.", contact["id"])
        return dict(contact)


class WatiUpsertContactOperator(_WholeContactOperator):
    """
    Create a contact, or update its attributes if WATI knows it. Doing it twice leaves the same contact.

    .. code-block:: python

        WatiUpsertContactOperator(
            task_id="lead", phone_number="85264318722", name="Ada Wong", custom_params={"source": "web"}
        )

    :param phone_number: 7 to 15 digits, country code first, without ``+`` or spaces (templated).
    :param name: the name of a new contact (templated). WATI's API cannot change the name of an existing contact; a
        different one is logged.
    :param custom_params: attributes, as a dict of texts or as WATI's list of names and values (templated).
        Nothing is written if they are there already. Consent (``allow_broadcast`` and the like) is refused.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it, with ``action``: ``created``, ``updated`` or ``unchanged``.
    :raises WatiValidationError: before anything is sent, for a number, name or attribute that cannot be right.
    :raises WatiRejectedError: when WATI's answer does not show this contact with the new values.
    :raises WatiUnknownOutcomeError: when no answer says whether the contact was created; the next attempt looks.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        text(self.name, "name")
        contact_attributes(self.custom_params, "custom_params")
        client = self.hook.client
        contact = _known(client, self.phone_number)
        if contact is None:
            action, contact = "created", self._create(client)
        elif _has_attributes(contact, self.custom_params):
            action = "unchanged"
        else:
            action, contact = "updated", self._update(client, contact)
        if contact.get("name") != self.name:
            self.log.warning(
                "Contact %s keeps another name, because WATI's API cannot change it.", contact["id"]
            )
        self.log.info("Contact %s: %s.", contact["id"], action)
        return {**contact, "action": action}

    def _create(self, client: WatiClient) -> Contact:
        try:
            contact = client.create_contact(self.phone_number, self.name, self.custom_params)
        except (WatiBadRequestError, WatiConflictError):
            # Somebody else may have created it since the look.
            known = _known(client, self.phone_number)
            if known is None:
                raise
            contact = known
        if _has_attributes(contact, self.custom_params):
            return contact
        return self._update(client, contact)

    def _update(self, client: WatiClient, contact: Contact) -> Contact:
        """Update a contact under the spelling of the phone number that WATI has."""
        spelling = seen_in((), contact, self.phone_number).phone_number
        return _update(client, spelling, self.custom_params or {})


class WatiSyncContactsOperator(ContactSyncOperator):
    """
    Keep WATI's contacts in step with a table: create new ones, update what changed, leave the rest alone.

    .. code-block:: python

        WatiSyncContactsOperator(
            task_id="sync",
            rows="s3://warehouse/customers/{{ ds }}.parquet",
            phone_column="phone",
            name_column="full_name",
            attribute_columns={"tier": "loyalty_tier", "city": "city"},
        )

    :param rows: a list of dicts, one dict, either as a JSON string, the output of an upstream task, or the path or
        object-storage URI of a file ending in ``.csv``, ``.jsonl`` or ``.parquet`` (templated; Airflow stores the
        number of rows, or the path).

    The other parameters, the result and the errors are those of :class:`.ContactSyncOperator`.
    """

    template_fields: Sequence[str] = ("rows", *ContactSyncOperator.template_fields)
    redacted_fields: ClassVar[Sequence[str]] = ("rows",)

    def __init__(self, *, rows: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows

    @contextlib.contextmanager
    def _rows(self, context: Context) -> Iterator[Iterable[Row]]:
        from airflow_provider_wati.operators._template_send import rows_of

        yield rows_of(unredacted(self.rows), "rows")


class WatiAssignTeamsOperator(WatiOperator):
    """
    Assign a contact to teams. Doing it twice leaves the same teams.

    .. code-block:: python

        WatiAssignTeamsOperator(task_id="route", target="85264318722", teams=["VIP", "Billing"])

    :param target: phone number, contact id or BSUID, each with or without ``<channel>:`` before it (templated).
    :param teams: the names of teams that exist in WATI (templated). Whether they replace or join the contact's
        present teams is not documented; V1's call replaced them.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"teams": [...]}``.
    :raises WatiValidationError: before anything is sent, for a target or team with an error.
    :raises WatiRejectedError: when WATI answers that it did not do it.
    """

    template_fields: Sequence[str] = ("target", "teams", "wati_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"teams": "json"}

    def __init__(self, *, target: str, teams: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.teams = teams

    def execute(self, context: Context) -> dict[str, Any]:
        self.hook.client.assign_teams(self.target, self.teams)
        self.log.info("Assigned to %s.", ", ".join(self.teams))
        return {"teams": list(self.teams)}


def _known(client: WatiClient, phone_number: str) -> Contact | None:
    """Return the contact under any spelling of the phone number: WATI would make a second one for the line."""
    given = Target.phone(phone_number).value
    for spelling in sorted(spellings_of(given), key=given.__ne__):
        try:
            return client.get_contact(Target.phone(spelling))
        except WatiNotFoundError:
            continue
    return None


def _update(client: WatiClient, target: str, custom_params: CustomParams) -> Contact:
    updated = client.update_contacts([{"target": target, "custom_params": custom_params}])
    asked_for = CONTACTS.check(target)
    contact = next((each for each in updated if _is_target(each, asked_for)), None)
    if contact is None:
        raise WatiRejectedError(
            "WATI answered the update without the contact in it, so it did not update it.", status_code=200
        )
    if not _has_attributes(contact, custom_params):
        raise WatiRejectedError(
            f"WATI answered the update, and contact {contact.get('id')} does not have the new values.",
            status_code=200,
        )
    return contact


def _sighting_of(contact: Contact | None) -> Sighting:
    from airflow_provider_wati.sending.conversation_index import Sighting
    from airflow_provider_wati.sending.reconciler import Listed

    return Sighting(Listed.NO) if contact is None else Sighting(Listed.YES, cast("Any", contact))


def _same_contact(contact: Contact, name: str, custom_params: CustomParams | None) -> bool:
    """Say if a contact is what a create asked for: its name, and its attributes among others maybe."""
    return str(contact.get("name") or "").strip() == name.strip() and _has_attributes(contact, custom_params)


def _has_attributes(contact: Contact, custom_params: CustomParams | None) -> bool:
    """Say if a contact has all these attributes with these values; a number counts as the text that it was written as."""
    there = params_of(contact)
    wanted = {param["name"]: param["value"] for param in contact_attributes(custom_params, "custom_params")}
    # An attribute that is to be empty may as well be gone.
    return all(is_same(value, there.get(name, "")) for name, value in wanted.items())


def _is_target(contact: Contact, target: Target) -> bool:
    """Say if a contact is the one that a target names."""
    if target.kind is TargetKind.PHONE:
        return dedupe_key_of(target.value) in set(map(dedupe_key_of, phone_numbers_of(contact)))
    field = "bsuid" if target.kind is TargetKind.BSUID else "id"
    return str(contact.get(field) or "").casefold() == target.value.casefold()
