"""Studies on a GPU that is not there: no device is mixed with another (tests/pretend_gpu.py)."""

import pytest

from ingest.studies.names import STUDIES
from ingest.studies.study import run_study
from tests.pretend_gpu import all_on_gpu

SETTINGS = {
    "heads": ["tokens=300"],
    "families": ["tokens=500"],
    "roles": [],
    "prefix": ["sequences=3", "tokens=300"],
}
"""Of each study; indirect objects need a model with names, and their gradients a real graph."""


@pytest.mark.parametrize("name", SETTINGS)
def test_a_study_runs_on_a_gpu(store, name):
    with all_on_gpu():
        bundle = run_study(name, STUDIES[name], store, changes=["device=cuda", *SETTINGS[name]])
    assert sum(bundle.counts.values()) > 20
