"""
The provider info: what Airflow reads at start about the package and its connection type.

Since Airflow 3.2, every ``import airflow`` calls it, so it must be cheap: no import of Airflow or ``requests``.
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
        "sensors": [
            {
                "integration-name": "WATI",
                "python-modules": [
                    f"airflow_provider_wati.sensors.{name}" for name in ("campaigns", "messages", "templates")
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": "WATI",
                "python-modules": [
                    f"airflow_provider_wati.triggers.{name}"
                    for name in ("campaigns", "messages", "templates")
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "WATI",
                "python-module": "airflow_provider_wati.transfers.sql_to_wati",
                "how-to-guide": "/docs/sql.md",
            },
            {
                "source-integration-name": "WATI",
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_wati.transfers.wati_to_sql",
                "how-to-guide": "/docs/warehouse.md",
            },
            {
                "source-integration-name": "WATI",
                "target-integration-name": "WATI",
                "python-module": "airflow_provider_wati.transfers.wati_to_file",
                "how-to-guide": "/docs/warehouse.md",
            },
        ],
        "notifications": ["airflow_provider_wati.notifications.wati.WatiNotifier"],
        "config": {
            "wati": {
                "description": "Settings of the WATI provider.",
                "options": {
                    "state_path": {
                        "description": (
                            "A directory or object-storage URI that all workers reach, for the state of sends, "
                            "contact syncs and extractions to files. It holds no message texts; the snapshot of a sync holds phone numbers, "
                            "names and attributes. If it is not set, sends use Airflow's store of the task "
                            "(Airflow 3.3 and later)."
                        ),
                        "version_added": __version__,
                        "type": "string",
                        "example": "s3://airflow-state/wati",
                        "default": None,
                    },
                    "unknown_grace": {
                        "description": (
                            "Seconds after which a batch whose outcome is unknown, and that WATI does not show, counts "
                            "as not sent. It must exceed the read timeout of the connections. Default: 120."
                        ),
                        "version_added": __version__,
                        "type": "float",
                        "example": "300",
                        "default": None,
                    },
                    "webhook_retention_days": {
                        "description": (
                            "Days for which received webhook events are kept in the metadata database, at least 2. "
                            "Default: 7."
                        ),
                        "version_added": __version__,
                        "type": "integer",
                        "example": "30",
                        "default": None,
                    },
                },
            }
        },
        # Lineage names wati://<host>/<tenant>/contacts; it needs no check and no normalization.
        "asset-uris": [{"schemes": ["wati"], "handler": None}],
        "plugins": [
            {
                "name": "wati_webhooks",
                "plugin-class": "airflow_provider_wati.plugins.webhooks.WatiWebhooksPlugin",
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
