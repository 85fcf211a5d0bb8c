"""
The provider info: what Airflow reads at start about the package and its connection type.

Since Airflow 3.2, every ``import airflow`` calls it, so it must be cheap: no import of Airflow or ``requests``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_wati import __version__, connection_form

_WATI = "WATI"
_COMMON_SQL = "Common SQL"
_PACKAGE = "airflow_provider_wati"


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-wati",
        "name": _WATI,
        "description": (
            "`WATI <https://www.wati.io/>`__, the WhatsApp Business platform: template messages, chats, "
            "contacts, campaigns and chatbots."
        ),
        "versions": [__version__],
        "integrations": _integrations(),
        "operators": _modules(
            "operators",
            "campaigns",
            "chatbots",
            "contacts",
            "conversations",
            "messages",
            "templates",
            "webhooks",
        ),
        "sensors": _modules("sensors", "campaigns", "messages", "templates"),
        "triggers": _modules("triggers", "campaigns", "messages", "templates"),
        "hooks": _modules("hooks", "wati"),
        "transfers": _transfers(),
        "notifications": [f"{_PACKAGE}.notifications.wati.WatiNotifier"],
        "config": _config(),
        # Lineage names wati://<host>/<tenant>/contacts; it needs no check and no normalization.
        "asset-uris": [{"schemes": ["wati"], "handler": None}],
        "connection-types": _connection_types(),
    }


def _integrations() -> list[dict[str, Any]]:
    return [
        {
            "integration-name": _WATI,
            "external-doc-url": "https://docs.wati.io/",
            "tags": ["service"],
        }
    ]


def _modules(part: str, *names: str) -> list[dict[str, Any]]:
    """Return the entry of the public modules of one part of the package."""
    return [
        {"integration-name": _WATI, "python-modules": [f"{_PACKAGE}.{part}.{name}" for name in names]},
    ]


def _transfers() -> list[dict[str, Any]]:
    return [
        _transfer(_COMMON_SQL, _WATI, "sql_to_wati", "sql"),
        _transfer(_WATI, _COMMON_SQL, "wati_to_sql", "warehouse"),
        _transfer(_WATI, _WATI, "wati_to_file", "warehouse"),
    ]


def _transfer(source: str, target: str, module: str, page: str) -> dict[str, Any]:
    return {
        "source-integration-name": source,
        "target-integration-name": target,
        "python-module": f"{_PACKAGE}.transfers.{module}",
        "how-to-guide": f"/docs/{page}.md",
    }


def _config() -> dict[str, Any]:
    return {
        "wati": {
            "description": "Settings of the WATI provider.",
            "options": {
                "state_path": _option(
                    "A directory or object-storage URI that all workers reach, for the state of sends, "
                    "contact syncs and extractions to files. It holds no message texts; the snapshot of a sync holds "
                    "phone numbers, names and attributes. If it is not set, sends use Airflow's store of the task "
                    "(Airflow 3.3 and later).",
                    example="s3://airflow-state/wati",
                ),
                "unknown_grace": _option(
                    "Seconds after which a batch whose outcome is unknown, and that WATI does not show, counts "
                    "as not sent. It must exceed the read timeout of the connections. Default: 120.",
                    kind="float",
                    example="300",
                ),
                "receiver_url": _option(
                    "The address under which WATI reaches the API server, up to /wati; for webhooks. "
                    "Default: [api] base_url.",
                    example="https://hooks.example.com",
                ),
                "webhook_retention_days": _option(
                    "Days for which received webhook events are kept in the metadata database, at least 2. "
                    "Default: 7.",
                    kind="integer",
                    example="30",
                ),
            },
        }
    }


def _option(
    description: str, *, example: str, kind: str = "string", version_added: str = "0.1.0"
) -> dict[str, Any]:
    """Return an option without a default. ``version_added`` is the version of its first release, and stays."""
    return {
        "description": description,
        "version_added": version_added,
        "type": kind,
        "example": example,
        "default": None,
    }


def _connection_types() -> list[dict[str, Any]]:
    return [
        {
            "connection-type": connection_form.CONN_TYPE,
            "hook-class-name": f"{_PACKAGE}.hooks.wati.WatiHook",
            "hook-name": connection_form.HOOK_NAME,
            "conn-fields": connection_form.conn_fields(),
            "ui-field-behaviour": connection_form.ui_field_behaviour(),
        }
    ]
