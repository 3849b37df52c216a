"""An SAE that fires nowhere in the mined text is mined all the same: dead features are a result."""

import shutil

import torch

from atlas.api import Atlas
from atlas.lens.exchange import saelens
from atlas.store.publish import publish
from ingest.job import run_job
from tests.ingest.jobs import a_job
from tests.ingest.test_imported import DEFAULTS, some_saes


def test_an_sae_that_never_fires_becomes_dead_features(tmp_path):
    made = some_saes(tmp_path / "saes")
    silent = made[2]._replace(threshold=torch.full((20,), 1e6))
    shutil.rmtree(tmp_path / "saes" / "layer-2")
    told = {"hook_name": "blocks.2.attn.hook_z"}
    saelens.write(silent, tmp_path / "saes" / "layer-2", told)
    job = a_job(tmp_path, sae={"source": str(tmp_path / "saes"), "set": "theirs", **DEFAULTS})
    publish(tmp_path / "store", [run_job(job, tmp_path / "store").path])
    with Atlas.open(tmp_path / "store") as atlas:
        assert atlas.sae("tiny/2-theirs").evaluation.l0 == 0
        assert atlas.feature("tiny/2-theirs/0").row.firings == 0
        assert atlas.feature("tiny/0-theirs/0").row.id.index == 0
