"""A tiny job's atlas, made once: SAEs on layers 0 and 2 of a random model of three layers."""

import shutil

import pytest

from atlas.store.publish import publish
from ingest.job import run_job
from tests.ingest.jobs import a_job


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The job and the folder of its published store; leave both unchanged."""
    folder = tmp_path_factory.mktemp("tiny")
    job = a_job(folder)
    publish(folder / "store", [run_job(job, folder / "store").path])
    return job, folder / "store"


@pytest.fixture
def store(tiny, tmp_path):
    """A copy of that store for one test."""
    shutil.copytree(tiny[1], tmp_path / "store")
    return tmp_path / "store"
