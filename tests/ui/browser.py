"""A headless Chromium for tests, and what they do with a page: look, click, type, and wait."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PATIENCE = 60.0
#: What axe-core calls a fault that keeps people from using a page.
GRAVE = ("serious", "critical")
_ARGUMENTS = (
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
    "--hide-scrollbars",
)


def missing_for_browser_tests() -> str | None:
    """What a browser test lacks on this machine; None if nothing."""
    if find_spec("selenium") is None:
        return "the browser test needs selenium"
    if BROWSER is None or DRIVER is None:
        return "the browser test needs chromium and chromedriver"
    return None


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """
    Start a browser that keeps what pages write to the console.

    :param profile: an empty directory.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    assert BROWSER is not None
    options.binary_location = BROWSER
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=Service(DRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()


class Screen:
    """
    The page of a sandbox in a browser.

    :param chrome: the browser.
    :param url: of the sandbox, without a slash at the end.
    :param patience: seconds in which what is waited for has to happen.
    """

    def __init__(self, chrome: Chrome, url: str, patience: float = PATIENCE) -> None:
        self.chrome = chrome
        self.url = url
        self._patience = patience

    def resize(self, width: int, height: int = 800, *, scheme: str = "light") -> None:
        self.chrome.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            # So that nothing is measured in the middle of a transition.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, view: str = "conversations") -> None:
        """Load the page at a view; it marks the document, so that a reload would be seen."""
        self.chrome.get("about:blank")
        self.chrome.get(f"{self.url}/#/{view}")
        self.wait(lambda: self.run("return document.querySelector('main h2') !== null"), f"{view} opens")
        self.run("window.loadedOnce = true")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what a condition returns once it is true; an element that was replaced meanwhile is looked up again."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(
            self.chrome, self._patience, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            shown = self.run("return document.body.innerText")
            pytest.fail(f"It did not happen that {what}. The page shows:\n{shown[-3000:]}")

    def find(self, css: str, text: str = "") -> WebElement:
        """The first element in sight that a selector finds and that contains a text."""
        return self.wait(lambda: self.look(css, text), f"{css} with {text!r} is shown")

    def look(self, css: str, text: str = "") -> WebElement | None:
        found = self.chrome.find_elements("css selector", css)
        return next((each for each in found if (not text or text in each.text) and each.is_displayed()), None)

    def click(self, css: str, text: str = "") -> None:
        """Click like a person: an element that is replaced just then is looked for again."""
        from selenium.common.exceptions import WebDriverException

        def clicked() -> bool:
            element = self.look(css, text)
            if element is None:
                return False
            try:
                element.click()
            except WebDriverException:
                return False
            return True

        self.wait(clicked, f"{css} with {text!r} can be clicked")

    def choose(self, css: str, text: str) -> None:
        """Choose an option of a select by its text."""
        from selenium.webdriver.support.ui import Select

        self.wait(lambda: text in self.find(css).text, f"{css} offers {text!r}")
        Select(self.find(css)).select_by_visible_text(text)

    def type(self, css: str, *keys: str) -> None:
        self.find(css).send_keys(*keys)

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.chrome).send_keys(key).perform()

    def focused(self) -> str:
        """What has the focus, in words."""
        return self.run(
            "const e = document.activeElement; if (e === document.body) return 'nothing';"
            "return `${e.tagName} ${e.id} ${e.className} ${e.getAttribute('aria-label') || e.textContent}`.trim()"
        )

    def texts(self, css: str) -> list[str]:
        """The texts of elements, in which half of a character is U+FFFD, as on the screen."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.toWellFormed())",
            css,
        )

    def assert_never_reloaded(self) -> None:
        assert self.run("return window.loadedOnce") is True

    def overflow(self) -> int:
        """How many pixels the page is wider than the screen; what sticks out of it counts too."""
        return self.run(
            "const edges = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()"
            " && !e.closest('.unseen, thead, .skip')).map((e) => e.getBoundingClientRect().right);"
            "return Math.ceil(Math.max(document.documentElement.scrollWidth, ...edges) - innerWidth)"
        )

    def complaints(self) -> list[str]:
        """What the page wrote to the console since the last look."""
        browser: Any = self.chrome
        return [f"{entry['level']}: {entry['message']}" for entry in browser.get_log("browser")]

    def grave_faults(self) -> list[str]:
        """The serious and critical faults that axe-core finds in what is shown."""
        spec = find_spec("axe_playwright_python")
        assert spec is not None, "the test needs axe-playwright-python"
        assert spec.submodule_search_locations is not None
        script = Path(spec.submodule_search_locations[0]) / "axe.min.js"
        self.run(script.read_text())
        found = self.chrome.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
        )
        return [
            f"{each['impact']} {each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:5]]}"
            for each in found["violations"]
            if each["impact"] in GRAVE
        ]
