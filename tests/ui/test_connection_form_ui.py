"""Fills in the connection form of the installed Airflow with a browser, and reads back what it stored."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_wati.client.token import AccessToken
from airflow_provider_wati.connection_form import FIELDS
from airflow_provider_wati.hooks.settings import settings_of
from tests.ui.announced import announce

selenium = pytest.importorskip("selenium", reason="the browser test needs selenium")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if BROWSER is None or DRIVER is None:
    pytest.skip("the browser test needs chromium and chromedriver", allow_module_level=True)

from selenium.webdriver import Chrome, ChromeOptions  # noqa: E402 - only where selenium is installed
from selenium.webdriver.chrome.service import Service  # noqa: E402 - the same
from selenium.webdriver.common.by import By  # noqa: E402 - the same
from selenium.webdriver.common.keys import Keys  # noqa: E402 - the same
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402 - the same

ENDPOINT = "live-mt-server.wati.io/123456"
TOKEN = "Bearer a-token-typed-into-the-form"
PATIENCE = 40.0


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API server with an empty database, where everybody is an admin."""
    home = tmp_path_factory.mktemp("airflow") / "home"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    env = announce(home) | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
    }
    log = home / "output.txt"
    with log.open("w") as output:
        run: dict[str, Any] = {"env": env, "stdout": output, "stderr": subprocess.STDOUT, "cwd": home}
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, **run)
        server = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"], start_new_session=True, **run
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + PATIENCE
        while not _is_up(address):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"Airflow's API server did not come up:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _is_up(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api/v2/version", timeout=2):
        return True
    return False


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    assert BROWSER is not None
    options.binary_location = BROWSER
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        "--window-size=1300,2000",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    chrome = Chrome(options=options, service=Service(DRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()


def test_a_connection_is_made_in_the_form(airflow: str, browser: Chrome) -> None:
    wait = WebDriverWait(browser, PATIENCE)

    def find(xpath: str) -> Any:
        return wait.until(
            lambda _: next(
                (one for one in browser.find_elements(By.XPATH, xpath) if one.is_displayed()), None
            )
        )

    # The first page signs in, and then goes to the home page whatever was asked for.
    browser.get(airflow)
    find("//*[text()='Admin']")
    browser.get(f"{airflow}/connections")
    find("//button[contains(., 'Add Connection')]").click()
    find("//*[@role='dialog']//input[@name='connection_id']").send_keys("from_the_form")
    kind = find("//*[@role='dialog']//input[@role='combobox']")
    kind.send_keys("WATI")
    find("//*[@role='option' and text()='WATI']")
    kind.send_keys(Keys.ENTER)

    host = find("//*[@role='dialog']//input[@name='host']")
    assert host.get_attribute("placeholder") == "https://live-mt-server.wati.io/123456"
    host.send_keys(ENDPOINT)
    find("//*[@role='dialog']//input[@name='password']").send_keys(TOKEN)
    dialog = find("//*[@role='dialog']")
    assert {"API Endpoint", "Access Token"} <= set(dialog.text.splitlines())
    assert not {"Host", "Password", "Login", "Port", "Schema"} & set(dialog.text.splitlines())

    # Folded away up to Airflow 3.3, and open from 3.4 on.
    for button in browser.find_elements(
        By.XPATH, "//*[@role='dialog']//button[normalize-space()='Extra Fields']"
    ):
        button.click()
    # It unfolds slowly, from the top.
    wait.until(lambda _: FIELDS[-1].description in dialog.text)
    shown = dialog.text.splitlines()
    assert [field.label for field in FIELDS if field.label in shown] == [field.label for field in FIELDS]
    assert [field.description for field in FIELDS if field.description not in shown] == []
    find("//*[@role='dialog']//input[@name='element_default_region']").send_keys("in")

    find("//*[@role='dialog']//button[normalize-space()='Save']").click()
    find("//td[normalize-space()='from_the_form']")
    stored = _get(
        f"{airflow}/api/v2/connections/from_the_form", _get(f"{airflow}/auth/token")["access_token"]
    )
    settings = settings_of(
        Connection(
            conn_id="from_the_form",
            conn_type="wati",
            host=stored["host"],
            password=TOKEN,
            extra=stored["extra"],
        )
    )
    assert settings.client_arguments == {
        "endpoint": ENDPOINT,
        "token": AccessToken(TOKEN),
        "plan": "growth",
        "timeout": (5.0, 30.0),
    }
    assert (settings.default_region, settings.unknown) == ("IN", ())


def _get(url: str, token: str | None = None) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
