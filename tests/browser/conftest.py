"""One server and one browser for the suite; skipped where there is no Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.store.publish import publish
from tests.builders import a_bundle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is slow, and skipped with its reason where it cannot run."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> None:
    """Skips where there is no browser to test with."""
    pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[dev]'")
    from tests.browser import chrome

    if not (chrome.CHROMIUM and chrome.DRIVER):
        pytest.skip("no chromium and chromedriver on the PATH")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots of the hand-made model; the tests write notes on it."""
    folder = tmp_path_factory.mktemp("browser")
    publish(folder / "store", [a_bundle(folder / "first").path])
    publish(folder / "store", [a_bundle(folder / "second", run="run-2").path])
    return folder / "store"


@pytest.fixture(scope="session")
def site(chromium: None, store: Path) -> Iterator[str]:  # noqa: ARG001
    """Address of the app."""
    from tests.browser.chrome import served

    with served(store) as address:
        yield address


@pytest.fixture(scope="session")
def window(chromium: None) -> Iterator["Chrome"]:  # noqa: ARG001, F821
    """The browser that all tests share."""
    from tests.browser.chrome import browser

    with browser() as driver:
        yield driver


@pytest.fixture
def reader(window: "Chrome", site: str) -> "Reader":  # noqa: F821
    """Somebody who never opened the app before."""
    from tests.browser.reader import Reader

    window.get("about:blank")
    window.execute_cdp_cmd("Network.clearBrowserCookies", {})
    window.get_log("browser")
    return Reader(window, site)
