from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tenacity import wait_none

from tests.support.syncer import Syncer

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def syncer(quick_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncer:
    monkeypatch.setattr(
        "airflow_provider_wati.client.transport.wait_exponential_jitter", lambda **_: wait_none()
    )
    quick_sandbox.reset(seed=False)
    return Syncer(quick_sandbox, tmp_path)
