"""Training finds planted features, and resuming equals never having stopped."""

import itertools

import pytest
import torch

from atlas.lens.sae import decode, encode
from ingest.config import SaePart, TrainPart
from ingest.train.loop import learning_rate, train
from tests.ingest.train.planted import PlantedModel, a_stream


class Stopped(Exception):
    pass


def parts(tokens=64 * 60, **changes):
    settings = {"batch": 64, "lr": 3e-3, "dead_tokens": 2000, "checkpoint_seconds": 1e-9}
    return SaePart(layers=(0, 1), d_sae=32, k=3, **changes), TrainPart(tokens=tokens, **settings)


@pytest.mark.parametrize("objective", ["batchtopk", "relu"])
def test_planted_features_are_found(tmp_path, objective):
    model = PlantedModel()
    sae, part = parts(64 * 1500, objective=objective, l1=0.3)
    trained = train(a_stream(model, repeats=8), sae, part, tmp_path / "t")
    for layer, one in enumerate(trained.saes):
        z = model.table[layer]
        acts = encode(one, z)
        fvu = (decode(one, acts) - z).square().sum() / (z - z.mean(0)).square().sum()
        found = (one.w_dec @ model.directions[layer].T).max(0).values
        assert fvu < 0.1, f"layer {layer}: FVU {fvu}"
        assert found.mean() > 0.9, f"layer {layer}: {found}"
        if objective == "batchtopk":
            assert 2 < (acts > 0).sum(1).float().mean() < 4


def test_resuming_after_a_stop_gives_the_same_weights_to_the_bit(tmp_path):
    sae, part = parts()
    whole = train(a_stream(), sae, part, tmp_path / "whole")

    def stop_at(count):
        steps = itertools.count(1)

        def stepped(_):
            if next(steps) == count:
                raise Stopped

        return stepped

    for count in (7, 30):
        with pytest.raises(Stopped):
            train(a_stream(), sae, part, tmp_path / "parts", stepped=stop_at(count))
    resumed = train(a_stream(), sae, part, tmp_path / "parts")
    for one, other in zip(whole.saes, resumed.saes, strict=True):
        for ours, theirs in zip(one[:5], other[:5], strict=True):
            assert torch.equal(ours, theirs)
    assert resumed.dead_share == whole.dead_share


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
    assert learning_rate(part, 2**14, 5, 100) == pytest.approx(2e-4)
    assert learning_rate(part, 2**16, 5, 100) == pytest.approx(1e-4)
