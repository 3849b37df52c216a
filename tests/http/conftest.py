"""A served store of the hand-made bundle."""

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from app.http.settings import Settings
from atlas.api import Atlas
from atlas.store.publish import publish
from tests.builders import a_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory):
    return a_bundle(tmp_path_factory.mktemp("http") / "bundle").path


@pytest.fixture(scope="module")
def store(bundle_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "store"
    publish(folder, [bundle_path])
    return folder


@pytest.fixture(scope="module")
def atlas(store):
    with Atlas.open(store) as atlas:
        yield atlas


@pytest.fixture
def serve(atlas):
    """A client of a server with these settings."""

    def started(**settings):
        app = make_app(atlas, Settings(**settings))
        return TestClient(app, "http://localhost", raise_server_exceptions=False)

    return started


@pytest.fixture(scope="module")
def client(atlas):
    return TestClient(make_app(atlas), "http://localhost", raise_server_exceptions=False)
