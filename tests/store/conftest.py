"""A store with one snapshot of the hand-made bundle, made once and copied for every test."""

import shutil
from pathlib import Path

import pytest

from atlas.store.publish import publish
from tests.builders import a_bundle


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    publish(folder / "store", [a_bundle(folder / "first").path])
    return folder


@pytest.fixture
def store(published: Path, tmp_path: Path):
    """The store of this test; the bundle in it lies beside it in `first`."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return tmp_path / "store"
