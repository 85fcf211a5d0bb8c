"""
The receiver of WATI's webhooks, as a plugin of Airflow's API server.

Every process of Airflow loads its plugins, so nothing heavy is imported before the API server starts.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_wati._compat import conf
from airflow_provider_wati.plugins._gate import URL_PREFIX, LazyApp, WebhookGate


def _base_path() -> str:
    """Return the path of ``[api] base_url``, which links of the UI must start with."""
    return urlsplit(conf.get("api", "base_url", fallback=None) or "").path.rstrip("/")


class WatiWebhooksPlugin(AirflowPlugin):
    """Receives webhooks at ``/wati/webhooks/{conn_id}/{secret}`` and lists them at ``/wati/deliveries``."""

    name: str | None = "wati_webhooks"
    fastapi_apps: list[Any] = [{"name": "WATI webhooks", "app": LazyApp(), "url_prefix": URL_PREFIX}]
    fastapi_root_middlewares: list[Any] = [
        {"name": "WATI webhooks", "middleware": WebhookGate, "args": [], "kwargs": {}}
    ]
    external_views: list[Any] = [
        {
            "name": "WATI Deliveries",
            "href": f"{_base_path()}{URL_PREFIX}/deliveries",
            "destination": "nav",
            "category": "browse",
        }
    ]
