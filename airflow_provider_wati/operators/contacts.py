"""Contacts: the people that WATI knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_wati._compat import AirflowSkipException
from airflow_provider_wati.client.target import Target
from airflow_provider_wati.client.validation import name_values, text
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator, unredacted
from airflow_provider_wati.operators._contact_sync import ContactSyncOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Contact
    from airflow_provider_wati.client.validation import CustomParams
    from airflow_provider_wati.tables.readers import Row


class _WholeContactOperator(WatiOperator):
    """Takes all that a new contact needs."""

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

    What WATI does with a number that it knows already is not documented. A second try of the task therefore
    looks first, and takes a contact that is there for the one that the first try created.

    .. code-block:: python

        WatiCreateContactOperator(
            task_id="create_contact",
            phone_number="85264318722",
            name="Ada Wong",
            custom_params={"tier": "gold"},
        )

    :param phone_number: 7 to 15 digits, country code first, without ``+`` or spaces (templated).
    :param name: what the contact is called (templated). WATI has no way to change it later.
    :param custom_params: attributes, as a dict of texts or as WATI's list of names and values (templated).
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it, with its ``id``.
    :raises WatiValidationError: before anything is sent, for a number, name or attribute that cannot be right.
    :raises WatiUnknownOutcomeError: when nobody can tell whether the contact was created; the next try looks.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        client = self.hook.client
        contact = _known(client, self.phone_number) if context["ti"].try_number > 1 else None
        if contact is not None:
            self.log.info("Contact %s is there already: nothing is created again.", contact["id"])
        else:
            contact = client.create_contact(self.phone_number, self.name, self.custom_params)
            self.log.info("Created contact %s.", contact["id"])
        return dict(contact)


class WatiGetContactOperator(WatiOperator):
    """
    Look up one contact.

    .. code-block:: python

        WatiGetContactOperator(task_id="contact", target="85264318722", if_missing="skip")

    :param target: phone number, contact id or BSUID, each with or without ``<channel>:`` before it (templated).
    :param if_missing: what becomes of the task when WATI does not know the contact: ``fail``, ``skip``, or
        ``none`` to succeed with the result None.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact: ``id``, ``name``, ``phone``, ``custom_params``, ``teams``, ``allow_broadcast`` and what
        else WATI tells; None if it is missing and may be.
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
        (templated). Others keep their values, as far as is known. WATI has no way to change the name.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it now.
    :raises WatiValidationError: before anything is sent, for a target or attribute that cannot be right.
    :raises WatiRejectedError: when WATI answers without having updated the contact.
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
    Create a contact, or bring its attributes up to date if WATI knows it. Doing it twice leaves the same contact.

    .. code-block:: python

        WatiUpsertContactOperator(
            task_id="lead", phone_number="85264318722", name="Ada Wong", custom_params={"source": "web"}
        )

    :param phone_number: 7 to 15 digits, country code first, without ``+`` or spaces (templated).
    :param name: what a new contact is called (templated). WATI has no way to change the name of a contact that
        it knows; one that differs is reported.
    :param custom_params: attributes, as a dict of texts or as WATI's list of names and values (templated).
        Nothing is written if they are there already.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: the contact as WATI stores it, with ``action``: ``created``, ``updated`` or ``unchanged``.
    :raises WatiValidationError: before anything is sent, for a number, name or attribute that cannot be right.
    :raises WatiUnknownOutcomeError: when nobody can tell whether the contact was created; the next try looks.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        text(self.name, "name")
        name_values(self.custom_params, "custom_params")
        client = self.hook.client
        contact = _known(client, self.phone_number)
        if contact is None:
            action, contact = "created", self._create(client)
        elif self._is_up_to_date(contact):
            action = "unchanged"
        else:
            action, contact = "updated", _update(client, self.phone_number, self.custom_params or {})
        if contact.get("name") != self.name:
            self.log.warning(
                "WATI keeps the name of contact %s; it cannot be changed by its API.", contact["id"]
            )
        self.log.info("Contact %s: %s.", contact["id"], action)
        return {**contact, "action": action}

    def _create(self, client: WatiClient) -> Contact:
        try:
            return client.create_contact(self.phone_number, self.name, self.custom_params)
        except (WatiBadRequestError, WatiConflictError):
            # Somebody else may have created it since the look.
            contact = _known(client, self.phone_number)
            if contact is None:
                raise
            if self._is_up_to_date(contact):
                return contact
            return _update(client, self.phone_number, self.custom_params or {})

    def _is_up_to_date(self, contact: Contact) -> bool:
        there = {param["name"]: param["value"] for param in contact.get("custom_params") or ()}
        wanted = name_values(self.custom_params, "custom_params")
        return all(there.get(param["name"]) == param["value"] for param in wanted)


class WatiSyncContactsOperator(ContactSyncOperator):
    """
    Keep WATI's contacts in step with a table: create who is new, update what changed, leave the rest alone.

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
    :raises WatiValidationError: before anything is sent, for a target or team that cannot be right.
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
    try:
        return client.get_contact(Target.phone(phone_number))
    except WatiNotFoundError:
        return None


def _update(client: WatiClient, target: str, custom_params: CustomParams) -> Contact:
    updated = client.update_contacts([{"target": target, "custom_params": custom_params}])
    if not updated:
        raise WatiRejectedError(
            "WATI answered the update without the contact in it, so it did not update it."
        )
    return updated[0]
