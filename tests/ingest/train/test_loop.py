"""Training finds planted features, and resuming equals never having stopped."""

import itertools

import pytest
import torch

from atlas.lens.sae import decode, encode
from ingest.config import ResamplePart, SaePart, TrainPart
from ingest.train.loop import _finish, train
from ingest.train.objectives import make_objective
from ingest.train.schedule import annealed, dropping_rate, learning_rate
from ingest.train.state import State
from tests.ingest.train.planted import PlantedModel, a_stream


class Stopped(Exception):
    pass


OBJECTIVES = {
    "batchtopk": {},
    "matryoshka": {"objective": "batchtopk", "prefixes": (8, 16)},
    "topk": {"objective": "topk"},
    "jumprelu": {"objective": "jumprelu"},
    "relu": {"objective": "relu", "l1": 0.3},
}
RESAMPLE = {"every": 20, "window": 10, "times": 2, "cutoff": 0.02, "batches": 3}
"""Within sixty steps: twice, with many features below the cutoff."""


def parts(objective="batchtopk", tokens=64 * 60, resample=RESAMPLE, layers=(0, 1), lr=3e-3):
    sae = SaePart(layers=layers, d_sae=32, k=3, **OBJECTIVES[objective])
    settings = {"batch": 64, "lr": lr, "dead_tokens": 2000, "checkpoint_seconds": 1e-9}
    settings["anneal"] = None if objective == "relu" else 0.1  # no default in so few steps
    return sae, TrainPart(tokens=tokens, resample=ResamplePart(**resample), **settings)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_planted_features_are_found(tmp_path, objective):
    model = PlantedModel(layers=1)
    resample = {"every": 150, "window": 100, "times": 2, "cutoff": 1e-3, "batches": 4}
    sae, part = parts(objective, 64 * 600, resample, layers=(0,), lr=1e-2)
    stream = a_stream(model, layers=(0,), repeats=8)
    (one,) = train(stream, sae, part, tmp_path / "t").saes
    z = model.table[0]
    acts = encode(one, z)
    fvu = (decode(one, acts) - z).square().sum() / (z - z.mean(0)).square().sum()
    found = (one.w_dec @ model.directions[0].T).max(0).values
    assert fvu < 0.2, f"FVU {fvu}"
    assert found.mean() > 0.8, found
    l0 = (acts > 0).sum(1).float().mean()
    assert l0 < 8 if objective == "relu" else 2.5 < l0 < 3.5


def test_matryoshkas_first_features_alone_rebuild_better(tmp_path):
    left = {}
    for objective in ("batchtopk", "matryoshka"):
        model = PlantedModel(layers=1)
        sae, part = parts(objective, 64 * 150, layers=(0,), lr=1e-2)
        stream = a_stream(model, layers=(0,), repeats=8)
        (one,) = train(stream, sae, part, tmp_path / objective).saes
        acts = encode(one, model.table[0])
        z_hat = acts[:, :8] @ one.w_dec[:8] + one.b_dec
        left[objective] = float((z_hat - model.table[0]).square().sum())
    assert left["matryoshka"] < 0.8 * left["batchtopk"]


def stop_at(count):
    steps = itertools.count(1)

    def stepped(_):
        if next(steps) == count:
            raise Stopped

    return stepped


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_resuming_after_a_stop_gives_the_same_weights_to_the_bit(tmp_path, objective):
    sae, part = parts(objective)
    whole = train(a_stream(), sae, part, tmp_path / "whole")
    for count in (7, 30):
        with pytest.raises(Stopped):
            train(a_stream(), sae, part, tmp_path / "parts", stepped=stop_at(count))
    resumed = train(a_stream(), sae, part, tmp_path / "parts")
    for one, other in zip(whole.saes, resumed.saes, strict=True):
        for ours, theirs in zip(one[:5], other[:5], strict=True):
            assert torch.equal(ours, theirs)
    assert resumed.dead_share == whole.dead_share


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_layer_trained_alone_is_to_the_bit_what_it_is_beside_others(tmp_path, objective):
    sae, part = parts(objective)
    together = train(a_stream(), sae, part, tmp_path / "both")
    for layer in (0, 1):
        alone = train(a_stream(trained=(layer,)), sae, part, tmp_path / f"{layer}")
        for ours, theirs in zip(alone.saes[0][:5], together.saes[layer][:5], strict=True):
            assert torch.equal(ours, theirs)
        assert alone.dead_share == together.dead_share[layer : layer + 1]


@pytest.mark.parametrize(("tokens", "window", "dead"), [(1280, 1280, 0.5), (64_000, 2000, 0.25)])
def test_a_dead_feature_is_one_that_did_not_fire_in_the_window_that_is_stated(tokens, window, dead):
    sae, part = parts(tokens=tokens, layers=(0,))  # dead_tokens is 2000
    objective = make_objective(sae, part, tokens // 64)
    generators = [torch.Generator().manual_seed(0)]
    state = State(*objective.start(a_stream(layers=(0,)).buffer(0), generators), (0.9, 0.999))
    state.step = tokens // 64
    state.since_fired[0] = torch.tensor([0, 64, 1280, 2000]).repeat(8).clamp(max=tokens)
    done = _finish(state, objective, part)
    assert (done.dead_window, done.tokens) == (window, tokens)
    assert done.dead_share == [dead]


def test_a_resumed_training_does_not_start_again(tmp_path):
    sae, part = parts()
    train(a_stream(), sae, part, tmp_path / "t")
    steps = []
    train(a_stream(), sae, part, tmp_path / "t", stepped=steps.append)
    assert steps == []


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    part = TrainPart(tokens=10**6, lr=1.0, warmup=0.1, decay=0.2)
    rates = [learning_rate(part, 100, step, 100) for step in (0, 9, 50, 80, 90, 100)]
    assert rates == [0.1, 1.0, 1.0, 1.0, 0.5, 0.0]


def test_the_default_rate_falls_with_the_square_root_of_the_width():
    part = TrainPart(warmup=0.0, decay=0.0)
    assert learning_rate(part, 2**14, 500, 10_000) == pytest.approx(2e-4)
    assert learning_rate(part, 2**16, 500, 10_000) == pytest.approx(1e-4)
    assert learning_rate(part, 2**16, 5000, 100_000) == pytest.approx(1e-4)
    assert learning_rate(part, 2**16, 200, 2_500) == pytest.approx(1e-4 * 4**0.75)
    assert learning_rate(part, 2**16, 5, 10) == pytest.approx(4e-4)


def test_k_falls_in_long_trainings_or_as_asked():
    assert [annealed(TrainPart(), steps) for steps in (3_999, 4_000)] == [0, 0.1]
    assert [annealed(TrainPart(anneal=0.3), steps) for steps in (10, 10_000)] == [0.3, 0.3]


def test_the_papers_rate_rises_by_a_cosine_from_a_tenth_and_again_after_a_drop():
    part = TrainPart(lr=1.0, warmup=0.1, decay=0.0)
    rates = [dropping_rate(part, step, 0, 100) for step in (0, 5, 10, 99)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 1.0])
    again = [dropping_rate(part, step, 50, 100) for step in (50, 55, 60)]
    assert again == pytest.approx([0.1, 0.55, 1.0])
