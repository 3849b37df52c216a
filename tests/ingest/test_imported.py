"""A job with published SAEs: nothing is trained, all else is as for trained ones; and back out."""

import pytest
import torch

from app.export_sae import export_sae
from atlas.api import Atlas
from atlas.errors import ConfigError
from atlas.lens.exchange import saelens
from atlas.lens.exchange.published import Published
from atlas.lens.sae import Sae
from atlas.model import load as load_model
from atlas.store.publish import publish
from ingest.config import MOST_FEATURES, SaePart, make_job
from ingest.imported import _fitted, read_saes
from ingest.job import run_job
from tests.ingest.jobs import a_job

DEFAULTS = {"d_sae": 4608, "k": 32}
"""A job's SAEs are as wide as their files say."""


def some_saes(folder, d_in=32, processed=False):
    """Two published SAEs of 20 features; gives them back by layer."""
    made = {}
    for layer in (0, 2):
        g = torch.Generator().manual_seed(layer)
        w_dec = torch.nn.functional.normalize(torch.randn(20, d_in, generator=g), dim=-1)
        w_enc = w_dec + torch.randn(20, d_in, generator=g) / 10
        bias = torch.zeros(20), torch.randn(d_in, generator=g) / 10
        made[layer] = Sae(w_enc, bias[0], w_dec, bias[1], torch.rand(20, generator=g) / 4)
        told = {"hook_name": f"blocks.{layer}.attn.hook_z"}
        more = {"model_from_pretrained_kwargs": {"fold_value_biases": True}} if processed else {}
        saelens.write(made[layer], folder / f"layer-{layer}", told | more)
    return made


def test_published_saes_are_evaluated_mined_and_given_away_unchanged(tmp_path):
    made = some_saes(tmp_path / "saes")
    job = a_job(tmp_path, sae={"source": str(tmp_path / "saes"), "set": "theirs", **DEFAULTS})
    told = []
    bundle = run_job(job, tmp_path / "store", told.append)
    assert "train" not in {one.stage for one in told}
    publish(tmp_path / "store", [bundle.path])
    with Atlas.open(tmp_path / "store") as atlas:
        one = atlas.sae("tiny/2-theirs")
        assert (one.d_sae, one.architecture) == (20, "jumprelu")
        assert one.evaluation.l0 > 0
        assert one.evaluation.dead_window == one.evaluation.tokens > 100
        assert atlas.run(bundle.run).train_tokens == 0
        assert atlas.random_feature(seed=1)
        out = export_sae(atlas, "tiny/2-theirs", tmp_path / "out")
    again = saelens.read(out).sae
    for ours, theirs in zip(again[:5], made[2][:5], strict=True):
        assert torch.allclose(ours, theirs)


@pytest.mark.parametrize(("told", "set_to"), [(True, "auto"), (False, "folded")])
def test_saes_of_processed_weights_are_moved_by_the_value_bias(tmp_path, told, set_to):
    made = some_saes(tmp_path / "saes", processed=told)
    job = a_job(tmp_path, "gpt2")
    model = load_model(job.model.name, device="cpu", dtype="float32")
    part = SaePart(layers=(0,), source=str(tmp_path / "saes"), value_bias=set_to)
    moved = read_saes(part, model)[0].b_dec - made[0].b_dec
    assert torch.allclose(moved, model.value_bias(0), atol=1e-6)
    assert moved.abs().max() > 0.01
    kept = read_saes(part.model_copy(update={"value_bias": "kept"}), model)[0]
    assert torch.equal(kept.b_dec, made[0].b_dec)


def test_an_sae_of_more_features_than_can_be_mined_is_refused(tmp_path):
    model = load_model(a_job(tmp_path).model.name, device="cpu", dtype="float32")
    rows = torch.zeros(1, model.d_in).expand(MOST_FEATURES + 1, -1)  # one row, many times
    column = torch.zeros(1).expand(len(rows))
    sae = Sae(rows, column, rows, torch.zeros(model.d_in), column)
    with pytest.raises(ConfigError, match=r"has 1,048,577 features; at most 1,048,576"):
        _fitted(Published(sae, 0, "relu", False), SaePart(layers=(0,), source="x"), model)


def test_saes_of_another_width_are_refused(tmp_path):
    some_saes(tmp_path / "saes", d_in=48)
    job = a_job(tmp_path, sae={"source": str(tmp_path / "saes"), **DEFAULTS})
    with pytest.raises(ConfigError, match=r"reads 48 numbers, but z of model tiny has 32"):
        run_job(job, tmp_path / "store")


def test_settings_of_training_beside_published_saes_are_refused():
    with pytest.raises(ConfigError, match="k has no effect with source"):
        make_job({"sae": {"layers": [0], "source": "x/y", "k": 4}})
    with pytest.raises(ConfigError, match="value_bias has no effect without source"):
        make_job({"sae": {"layers": [0], "value_bias": "kept"}})


@pytest.mark.parametrize("objective", ["topk", "jumprelu", "relu"])
def test_a_job_of_any_objective_is_mined_and_published(tmp_path, objective):
    job = a_job(tmp_path, sae={"layers": [2], "objective": objective})
    bundle = run_job(job, tmp_path / "store")
    publish(tmp_path / "store", [bundle.path])
    with Atlas.open(tmp_path / "store") as atlas:
        (one,) = atlas.saes()
        assert one.architecture == ("topk" if objective == "topk" else "jumprelu")
        assert one.evaluation.fvu < 1
        assert atlas.run(bundle.run).joint is None
