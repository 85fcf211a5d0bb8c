"""
The form of a WATI connection, defined once for all Airflow versions.

Airflow 3.2 and later read it from the provider info; Airflow 3.1 asks the hook for widgets. The module does not import
Airflow, because ``import airflow`` itself loads the provider info.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

CONN_TYPE = "wati"
HOOK_NAME = "WATI"
DEFAULT_CONN_ID = "wati_default"

#: WATI's names for host and password.
API_ENDPOINT = "API Endpoint"
ACCESS_TOKEN = "Access Token"

HIDDEN_FIELDS = ("schema", "login", "port")
RELABELING = {"host": API_ENDPOINT, "password": ACCESS_TOKEN}
PLACEHOLDERS = {
    "host": "https://live-mt-server.wati.io/123456",
    "password": "with or without Bearer in front",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """
    One field of the form that is stored in the connection's extra.

    :param name: the key in the extra.
    :param label: its label in the form.
    :param description: the text under it; Airflow shows plain text.
    :param default: the value of a new connection.
    :param choices: the allowed values; empty for free text.
    :param is_object: whether it holds a JSON object; Airflow 3.2 and later check its syntax as it is typed.
    :param is_secret: whether the form hides it.
    """

    name: str
    label: str
    description: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    is_object: bool = False
    is_secret: bool = False


FIELDS = (
    FormField(
        name="channel",
        label="Channel",
        description=(
            "Name or phone number of the channel to send from, if the account has several. "
            "Empty: the account's default channel."
        ),
    ),
    FormField(
        name="plan",
        label="Plan",
        description="The plan of the account. It decides how fast template messages are sent.",
        default="growth",
        choices=("growth", "pro", "business"),
    ),
    FormField(
        name="default_region",
        label="Default Region",
        description=(
            "Two-letter code of the country whose phone numbers may be written without their country code, "
            "such as IN or BR. Empty: every phone number needs its country code."
        ),
    ),
    FormField(
        name="tenant_id",
        label="Tenant ID",
        description=(
            "The number at the end of the API Endpoint. Only needed where the endpoint above is given without it: "
            "cancelling a schedule and looking a message up by its local id need it."
        ),
    ),
    FormField(
        name="timeout",
        label="Timeout",
        description=(
            "Seconds to wait for WATI: one number, or two for connecting and for the answer. Empty: 5, 30."
        ),
        default="5, 30",
    ),
    FormField(
        name="verify",
        label="TLS Verification",
        description=(
            "Empty: WATI's TLS certificate is checked with the CA bundle of the machine (REQUESTS_CA_BUNDLE), else with "
            "the public ones. true: the public ones in any case; or the path of a CA bundle; false: not at all."
        ),
    ),
    FormField(
        name="rate_limits",
        label="Rate Limits",
        description=(
            'Limits in place of the published ones, as {"templates": [60, 10]} for 60 calls in 10 seconds, or null '
            "for no limit. Families: contacts, conversations, templates, campaigns, other, and * for all."
        ),
        is_object=True,
    ),
    FormField(
        name="rate_limit_storage",
        label="Rate Limit Storage",
        description=(
            "URL of a Redis or PostgreSQL that all workers reach, such as redis://redis.example.com:6379/0, to keep the "
            "limits together. Empty: each host keeps them by itself."
        ),
        is_secret=True,
    ),
    FormField(
        name="webhook_secret",
        label="Webhook Secret",
        description=(
            "Switches the receiver of webhooks on: the last part of the address that WATI sends events to. At least 24 "
            "characters that need no escaping in a URL, such as those of openssl rand -hex 24. Empty: no webhooks are received."
        ),
        is_secret=True,
    ),
)


def conn_fields() -> dict[str, dict[str, Any]]:
    """Render the extra fields for the provider info (Airflow 3.2 and later)."""
    return {field.name: _conn_field(field) for field in FIELDS}


def _conn_field(field: FormField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["object" if field.is_object else "string", "null"]}
    if field.is_object:
        # Airflow 3.2 shows an object without a default as [].
        schema["default"] = {}
    elif field.default is not None:
        schema["default"] = field.default
    if field.is_secret:
        schema["format"] = "password"
    if field.choices:
        schema["enum"] = list(field.choices)
    return {"label": field.label, "description": field.description, "schema": schema}


def ui_field_behaviour() -> dict[str, Any]:
    """Render the treatment of Airflow's own fields for the provider info (Airflow 3.2 and later)."""
    return {
        "hidden-fields": list(HIDDEN_FIELDS),
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }


def python_ui_field_behaviour() -> dict[str, Any]:
    """Render the treatment of Airflow's own fields for the hook (Airflow 3.1)."""
    return {name.replace("-", "_"): value for name, value in ui_field_behaviour().items()}


def python_form_widgets() -> dict[str, Any]:
    """
    Render the extra fields as widgets for the hook (Airflow 3.1).

    :raises ImportError: where neither Flask AppBuilder nor Airflow's replacement for it is installed.
    """
    # By name, because a type checker finds neither package where Airflow is newer than 3.1.
    fieldwidgets = import_module("flask_appbuilder.fieldwidgets")
    wtforms = import_module("wtforms")
    validators = import_module("wtforms.validators")
    return {
        field.name: (wtforms.PasswordField if field.is_secret else wtforms.StringField)(
            field.label,
            validators=[validators.Optional()]
            + ([validators.any_of(list(field.choices))] if field.choices else []),
            description=field.description,
            default=field.default,
            widget=fieldwidgets.BS3PasswordFieldWidget()
            if field.is_secret
            else fieldwidgets.BS3TextFieldWidget(),
        )
        for field in FIELDS
    }
