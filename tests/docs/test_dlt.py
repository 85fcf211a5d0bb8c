"""The example of dlt in the docs, run as it stands there."""

from __future__ import annotations

import importlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PAGE = Path(__file__).parents[2] / "docs" / "warehouse.md"
ADA = "12025550143"


def test_the_iterators_of_the_client_are_sources_for_dlt(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt loads all contacts, and the second load updates those that have changed."""
    dlt = pytest.importorskip("dlt")
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    # dlt looks a resource's module up.
    (tmp_path / "wati_with_dlt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    contacts = importlib.import_module("wati_with_dlt").contacts
    file = tmp_path / "lake.db"
    pipeline = dlt.pipeline(
        "wati",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{file}"),
        dataset_name="main",
    )
    for tier in ("gold", "platinum"):
        sandbox.client().update_contacts([{"target": ADA, "custom_params": {"tier": tier}}])
        pipeline.run(contacts(sandbox.endpoint, sandbox.token))
    with closing(sqlite3.connect(tmp_path / "lake__main.db" if not file.exists() else file)) as database:
        found = database.execute("SELECT id FROM contacts").fetchall()
        tiers = database.execute("SELECT value FROM contacts__custom_params WHERE name = 'tier'").fetchall()
    assert len(found) == len(set(found)) == len(sandbox.state.contacts)
    assert ("platinum",) in tiers
