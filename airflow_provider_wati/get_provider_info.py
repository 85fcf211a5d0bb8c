"""
What Airflow asks the package at start: what is in it, and how its connection looks.

Since Airflow 3.2 every ``import airflow`` comes here, so this must cost nothing: no Airflow, no ``requests``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_wati import __version__, connection_form


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-wati",
        "name": "WATI",
        "description": (
            "`WATI <https://www.wati.io/>`__, the WhatsApp Business platform: template messages, chats, "
            "contacts, campaigns and chatbots."
        ),
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "WATI",
                "external-doc-url": "https://docs.wati.io/",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "WATI",
                "python-modules": [
                    f"airflow_provider_wati.operators.{name}"
                    for name in (
                        "campaigns",
                        "chatbots",
                        "contacts",
                        "conversations",
                        "messages",
                        "templates",
                    )
                ],
            }
        ],
        "hooks": [{"integration-name": "WATI", "python-modules": ["airflow_provider_wati.hooks.wati"]}],
        "connection-types": [
            {
                "connection-type": connection_form.CONN_TYPE,
                "hook-class-name": "airflow_provider_wati.hooks.wati.WatiHook",
                "hook-name": connection_form.HOOK_NAME,
                "conn-fields": connection_form.conn_fields(),
                "ui-field-behaviour": connection_form.ui_field_behaviour(),
            }
        ],
    }
