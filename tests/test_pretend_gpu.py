"""Everything that runs on a GPU, on one that is not there: no device is mixed with another.

The tensors are computed on the CPU, so what comes out is what the CPU gives.
"""

import numpy as np
import pytest
import torch

from atlas.model import load
from ingest.job import run_job
from tests.benchmarks.prompt import calls, some_explorer
from tests.ingest.jobs import a_job
from tests.models import BOS, a_folder
from tests.pretend_gpu import all_on_gpu


@pytest.fixture
def gpu():
    with all_on_gpu() as device:
        yield device


def tables(bundle, name):
    return bundle.read(name).to_pandas()


def test_a_whole_job_on_a_gpu_gives_what_the_cpu_gives(tmp_path, gpu):  # noqa: ARG001
    small = {
        "train": {"tokens": 640, "step": "dense"},  # on both, or Adam makes much of roundings
        "mine": {"tokens": 200},
        "evaluate": {"tokens": 60},
    }
    here = run_job(a_job(tmp_path, **small), tmp_path / "cpu")
    there = a_job(tmp_path, **small, model={"device": "cuda", "dtype": "float32"})
    found = run_job(there, tmp_path / "gpu", room=lambda _: 10**12)
    for name in ("sae", "feature", "example"):
        ours, theirs = tables(found, name), tables(here, name)
        assert len(ours) == len(theirs)
        for column in ours.select_dtypes(np.number):
            assert np.allclose(ours[column], theirs[column], equal_nan=True), (name, column)


def test_the_explorer_answers_as_on_the_cpu(tmp_path, gpu):
    folder = a_folder(tmp_path / "llama", "llama")
    tokens, answers = [BOS, *range(5, 14)], []
    for device in ("cpu", str(gpu)):
        model = load(str(folder), id="tiny-llama", device=device, dtype="float32")
        explorer = some_explorer(model, 32, 4)
        found = [call() for _, call in calls(explorer, tokens)]
        answers.append([repr(one) for one in found if not isinstance(one, torch.Tensor)])
    assert len(answers[0]) > 10
    assert answers[0] == answers[1]
