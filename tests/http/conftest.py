"""The query API over a small published store."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from app.http.settings import Settings
from atlas.api import Atlas
from atlas.store.publish import publish
from tests.builders import a_bundle


@pytest.fixture
def store(tmp_path):
    """A store with one snapshot."""
    publish(tmp_path / "store", [a_bundle(tmp_path / "bundle").path])
    return tmp_path / "store"


@pytest.fixture
def serve(store) -> Callable[..., TestClient]:
    """A client of a server with the settings given."""
    opened = []

    def with_settings(**settings) -> TestClient:
        opened.append(Atlas.open(store))
        app = make_app(opened[-1], Settings(**settings))
        return TestClient(app, "http://127.0.0.1:8502", raise_server_exceptions=False)

    yield with_settings
    for atlas in opened:
        atlas.close()


@pytest.fixture
def client(serve) -> TestClient:
    """A client of a server as it is by default."""
    return serve()
