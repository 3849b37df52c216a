"""Somebody who reads, clicks and types in a real browser."""

import re
from collections.abc import Callable
from typing import TypeVar

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
SECONDS = 30


class Reader:
    """A browser on the app; every step waits until the page has done what it asks for."""

    def __init__(self, driver: Chrome, site: str) -> None:
        self.driver, self.site = driver, site

    def open(self, url: str) -> None:
        """Type an address."""
        self.driver.get(url if url.startswith("http") else f"{self.site}/{url}")
        self.settle()

    def settle(self) -> None:
        """Wait until the page is drawn and its script has run."""
        self._until(lambda: self.driver.find_elements(By.CSS_SELECTOR, ".top, [role=alert]"))
        self._until(self._rested)

    def _rested(self) -> bool:
        if not self.driver.execute_script("return window.atlasLinks"):
            return False
        app = self.driver.find_element(By.CSS_SELECTOR, ".stApp")
        stale = self.driver.find_elements(By.CSS_SELECTOR, "[data-stale=true]")
        return app.get_attribute("data-test-script-state") == "notRunning" and not stale

    def see(self, text: str) -> None:
        """Wait until the page shows a text."""
        self._until(lambda: text in self.text, text)

    @property
    def text(self) -> str:
        """All text of the page, white space as single spaces."""
        return re.sub(r"\s+", " ", self.find(".stApp").text)

    @property
    def url(self) -> str:
        """The address."""
        return str(self.driver.current_url)

    def find(self, css: str, text: str = "") -> WebElement:
        """The first shown element of a selector that holds `text`."""
        return self._until(lambda: self._shown(css, text), f"{css} {text}")

    def _shown(self, css: str, text: str) -> WebElement | None:
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return next((one for one in found if text in one.text and one.is_displayed()), None)

    def click(self, css: str, text: str = "") -> None:
        """Click the first such element."""
        element = self.find(css, text)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self._until(lambda: element.click() or True)

    def keys(self, text: str) -> None:
        """Type keys to the page itself."""
        for letter in text:
            self.driver.find_element(By.TAG_NAME, "body").send_keys(letter)
        self.settle()

    def press(self, label: str) -> None:
        """Press a button of a form."""
        self.click("button", label)

    def fill(self, label: str, text: str) -> None:
        """Type into a field of a form that has this label."""
        css = f"input[aria-label='{label}'], textarea[aria-label='{label}']"
        field = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)
        if field.tag_name == "input":
            field.send_keys(Keys.TAB)
        self.settle()

    def choose(self, label: str, text: str) -> None:
        """Choose from a list of a form by typing and Enter."""
        field = self.find(f"input[aria-label*='{label}']")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.click()
        field.send_keys(text)
        self.find("[role=option]", text)
        field.send_keys(Keys.ENTER)
        self.settle()

    def search(self, css: str, text: str) -> None:
        """Type into a field of the page and press Enter."""
        field = self.find(css)
        field.clear()
        field.send_keys(text, Keys.ENTER)
        self.settle()

    def complaints(self) -> list[str]:
        """What the browser's console holds against the page.

        Streamlit looks for its server below the page's own path first, which is no fault of ours.
        """
        logged = [one["message"] for one in self.driver.get_log("browser") if _is_severe(one)]
        return [message for message in logged if "/_stcore/" not in message]

    def _until(self, done: Callable[[], T | None], what: str = "") -> T:
        import time

        end = time.monotonic() + SECONDS
        error: Exception | None = None
        while time.monotonic() < end:
            try:
                if found := done():
                    return found
            except (StaleElementReferenceException, WebDriverException) as missed:
                error = missed
            time.sleep(0.05)
        raise AssertionError(f"never seen: {what}. The page: {self.text[:600]}") from error


def _is_severe(entry: dict[str, str]) -> bool:
    return entry["level"] == "SEVERE"
