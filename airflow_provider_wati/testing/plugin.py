"""
The pytest plugin: the fixture ``wati_sandbox``.

pytest imports it in every project of an environment in which the provider is installed, so it imports nothing until a
test asks for a fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wati.testing.sandbox import WatiSandbox


@pytest.fixture
def wati_conn_id() -> str:
    """Return the connection that ``wati_sandbox`` sets; a project overrides it to name another one."""
    return "wati_default"


@pytest.fixture
def wati_sandbox(wati_conn_id: str) -> Iterator[WatiSandbox]:
    """Give the test a WATI of its own, to which the Airflow connection leads."""
    from airflow_provider_wati.testing.sandbox import WatiSandbox

    with WatiSandbox(conn_id=wati_conn_id) as wati:
        yield wati
