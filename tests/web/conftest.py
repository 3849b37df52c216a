"""Pages as the app draws them, on a real store."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from atlas.store.publish import publish
from tests.builders import a_bundle

SCRIPT = """
from app.web.main import Settings, show_page
show_page({name!r}, Settings({store!r}, api={api!r}))
"""
API = "http://127.0.0.1:9"

Draw = Callable[..., AppTest]


def page(store: Path, name: str, **parameters: str) -> AppTest:
    """A page of a store, drawn."""
    test = AppTest.from_string(SCRIPT.format(name=name, store=str(store), api=API))
    test.session_state["me"] = ""  # no browser, so no cookie that remembers a name
    for key, value in parameters.items():
        test.query_params[key] = value
    return test.run(timeout=20)


def seen(test: AppTest) -> str:
    """All HTML of a page."""
    assert not test.exception, test.exception[0].stack_trace
    return "\n".join(element.proto.body for element in test.get("html"))


def component(test: AppTest, name: str) -> str:
    """The JSON that one of our components got."""
    found = [one.proto for one in test.get("bidi_component") if one.proto.component_name == name]
    return found[-1].json


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Two layers of the hand-made model; nobody writes notes here."""
    folder = tmp_path_factory.mktemp("web")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    return folder / "store"


@pytest.fixture
def own(tmp_path) -> Path:
    """A store of the test's own."""
    publish(tmp_path / "store", [a_bundle(tmp_path / "bundle").path])
    return tmp_path / "store"


@pytest.fixture(scope="session")
def mined(tmp_path_factory) -> Path:
    """A store made by a whole job on a tiny real model; nobody writes notes here."""
    from ingest.job import run_job
    from tests.ingest.jobs import a_job

    folder = tmp_path_factory.mktemp("mined")
    publish(folder / "store", [run_job(a_job(folder), folder / "store").path])
    return folder / "store"
