"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

from tests.builders import a_bundle


@pytest.fixture
def bundle(tmp_path: Path):
    """A sealed hand-made bundle."""
    return a_bundle(tmp_path / "bundle")
