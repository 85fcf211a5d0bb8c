from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_wati.plugins import webhooks
from tests.ui.announced import project


def test_the_entry_point_leads_here() -> None:
    """Airflow finds the plugin by the entry point of the distribution."""
    value = project()["entry-points"]["airflow.plugins"]["wati_webhooks"]
    assert value == f"{webhooks.__name__}:{webhooks.WatiWebhooksPlugin.__name__}"


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        (None, ""),
        ("https://a.example", ""),
        ("https://a.example/", ""),
        ("https://a.example/airflow/", "/airflow"),
    ],
)
def test_the_link_has_the_path_of_the_ui(
    base_url: str | None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy with a path, the link of the UI leads through it."""
    monkeypatch.setattr(f"{webhooks.__name__}.conf.get", lambda *_, **__: base_url)
    assert webhooks._base_path() == path


def test_loading_the_plugin_loads_no_server() -> None:
    """Every process of Airflow loads the plugin, so it brings neither FastAPI nor a table with it."""
    program = (
        "import sys; from airflow.plugins_manager import AirflowPlugin; before = set(sys.modules); "
        "import airflow_provider_wati.plugins.webhooks; new = set(sys.modules) - before; "
        "print(sorted(name for name in new if name.partition('.')[0] in ('fastapi', 'requests', 'sqlalchemy')), "
        "sorted(name for name in new if 'wati' in name and name.endswith(('_app', '_store', '_receiver'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"
