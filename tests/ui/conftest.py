from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.ui.browser import Screen, chromium, missing_for_browser_tests

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.conftest import Sandbox


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for the tests of a file: a start takes longer than most of them."""
    missing = missing_for_browser_tests()
    if missing:
        pytest.skip(missing)
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def screen(chrome: Chrome, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """The page of a fresh sandbox, 1280 pixels wide; afterwards the console must be empty."""
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    shown = Screen(chrome, sandbox.url)
    shown.resize(1280)
    shown.complaints()
    yield shown
    complaints = shown.complaints()
    # Before the sandbox stops, or the page would complain that it has gone.
    chrome.get("about:blank")
    assert complaints == []
