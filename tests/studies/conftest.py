"""A tiny job's atlas, made once: SAEs on layers 0 and 2 of a random model of three layers."""

import shutil

import pytest

from atlas.store.publish import publish
from ingest.job import run_job
from ingest.studies.names import STUDIES
from ingest.studies.study import run_study
from tests.ingest.jobs import a_job
from tests.studies.planted_heads import a_planted_bundle


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


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """The atlas of the hand-set model with its features' families: (store, the study's bundle)."""
    folder = tmp_path_factory.mktemp("planted")
    publish(folder / "store", [a_planted_bundle(folder).path])
    done = run_study("families", STUDIES["families"], folder / "store", changes=["tokens=700"])
    publish(folder / "store", [done.path])
    return folder / "store", done
