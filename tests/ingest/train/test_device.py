"""Steps that ask the device for nothing: the same as the steps that do, for every objective."""

import sys

import pytest
import torch

from atlas.errors import ConfigError, ModelError
from ingest.config import SaePart, TrainPart
from ingest.train import device
from ingest.train.descend import descend
from ingest.train.device import Way, stacked_step
from ingest.train.loop import _layer, _layered_step, train
from ingest.train.objectives import make_objective
from ingest.train.params import Params
from ingest.train.path import choose_path
from ingest.train.reports import Measured, Reports
from ingest.train.state import State
from ingest.train.stream import seeded
from tests.ingest.train import gathered
from tests.ingest.train.planted import PlantedModel, a_stream
from tests.ingest.train.test_loop import OBJECTIVES, Stopped, parts, stop_at
from tests.pretend_gpu import Asked, There, all_on_gpu, on_gpu, pretend_gpu

DENSE = Way("dense", torch.float32)
SPARSE = Way("sparse", torch.float32, gathered)
CASES = [(name, DENSE) for name in OBJECTIVES] + [("batchtopk", SPARSE), ("topk", SPARSE)]


def a_start(name):
    """A state, its objective, and batches of the planted model."""
    sae, part = parts(name)
    objective = make_objective(sae, part.model_copy(update={"dead_tokens": 200}), 60)
    stream = a_stream()
    pool = stream.buffer(0)
    params, scale = objective.start(pool, [seeded(layer) for layer in stream.trained])
    stream.keep(0, pool)
    return State(params, scale, objective.betas), objective, stream


def copied(state):
    tensors = {name: part.clone() for name, part in state.tensors().items()}
    return State.restored(tensors, state.numbers(), (0.9, 0.999))


@pytest.mark.parametrize(("name", "way"), CASES, ids=lambda it: getattr(it, "path", it))
def test_gradients_counts_and_figures_are_those_of_the_layered_step(name, way):
    state, objective, stream = a_start(name)
    state.params.b_enc[:, 5:9] = -1e3  # AuxK has something to do, from the fifth step on
    for (_, z), _ in zip(stream.batches(state.place), range(12), strict=False):
        other = copied(state)
        expected = _layered_step(state, z, objective, torch.float32, 0.5)
        found = stacked_step(other, z, objective, way, 0.5)
        for kind, one, wanted in zip(Params._fields, other.gradients, state.gradients, strict=True):
            assert torch.allclose(one, wanted, atol=1e-6, rtol=1e-4), kind
        assert torch.equal(other.since_fired, state.since_fired)
        assert torch.equal(other.firings, state.firings)
        assert torch.allclose(other.cut, state.cut, atol=1e-6)
        for kind, one, wanted in zip(Measured._fields, found, expected, strict=True):
            assert torch.allclose(one.float(), wanted.float(), rtol=1e-4), kind
        descend(state, objective)
        state.step += 1
    assert float(expected.dead[0]) > 0


@pytest.mark.parametrize("clip", [1e-3, 1.0, float("inf")])
def test_descending_by_kernels_is_what_pytorchs_optimiser_does(clip):
    state, objective, stream = a_start("batchtopk")
    objective.clip = clip
    other = copied(state)
    for (_, z), _ in zip(stream.batches(state.place), range(4), strict=False):
        for one, kernels in ((state, None), (other, gathered)):
            stacked_step(one, z, objective, DENSE, 0.5)
            descend(one, objective, kernels)
            one.step += 1
    for kind, one, wanted in zip(Params._fields, other.params, state.params, strict=True):
        assert torch.allclose(one, wanted, atol=1e-5), kind
    for ours, theirs in zip(other.moments, state.moments, strict=True):
        for one, wanted in zip(ours, theirs, strict=True):
            assert torch.allclose(one, wanted, rtol=1e-3, atol=1e-7)
    assert (other.params.w_dec.norm(dim=-1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("group", [1, 2])
def test_layers_in_groups_give_what_all_at_once_give(monkeypatch, group):
    state, objective, stream = a_start("batchtopk")
    _, z = next(stream.batches(state.place))
    other = copied(state)
    stacked_step(state, z, objective, DENSE, 1.0)
    monkeypatch.setattr(device, "AT_ONCE", group * 64 * 32 * 4)
    assert device.layers_at_once(64, 32, 4) == group
    stacked_step(other, z, objective, DENSE, 1.0)
    for one, wanted in zip(other.gradients, state.gradients, strict=True):
        assert torch.allclose(one, wanted, atol=1e-7)


def test_training_by_the_dense_step_resumes_to_the_bit(tmp_path):
    sae, part = parts("batchtopk", 64 * 30)
    part = part.model_copy(update={"step": "dense"})
    whole = train(a_stream(), sae, part, tmp_path / "whole").saes

    def stop(figures):
        if figures.tokens == 64 * 17:
            raise Stopped

    with pytest.raises(Stopped):
        train(a_stream(), sae, part, tmp_path / "parts", stepped=stop)
    again = train(a_stream(), sae, part, tmp_path / "parts").saes
    for one, wanted in zip(again, whole, strict=True):
        assert torch.equal(one.w_enc, wanted.w_enc)
        assert torch.equal(one.w_dec, wanted.w_dec)


def test_the_sparse_path_is_compared_with_the_dense_one_before_it_is_used():
    state, objective, stream = a_start("batchtopk")
    _, z = next(stream.batches(state.place))
    assert device.compare(state, z, objective, SPARSE) < 1e-5
    device.check(state, z, objective, SPARSE)

    class Wrong:
        by_token = staticmethod(gathered.by_token)

        @staticmethod
        def by_feature(gradients, x, residual, hits):
            gathered.by_feature(gradients, x, residual, hits)
            gradients.w_dec[1, 3:6] = 0  # three rows that it forgot

    with pytest.raises(
        ModelError, match=r"differ from the dense step's by .*train\.step = 'dense'"
    ):
        device.check(state, z, objective, SPARSE._replace(kernels=Wrong))


def test_the_path_goes_by_device_and_objective(monkeypatch):
    def asked(step, where, objective="batchtopk", **more):
        sae = SaePart(layers=(0,), d_sae=4096, k=16, objective=objective, **more)
        return choose_path(step, where, make_objective(sae, TrainPart(), 10))

    monkeypatch.setattr("ingest.train.path.find_spec", lambda _: object())
    assert asked("auto", "cpu") == "layered"
    assert asked("auto", "cuda") == "dense"
    assert asked("sparse", "cuda:1") == "sparse"
    assert asked("layered", "cuda") == "layered"
    with pytest.raises(ConfigError, match="without prefixes and topk only"):
        asked("sparse", "cuda", prefixes=(64,))
    with pytest.raises(ConfigError, match="runs on a GPU only"):
        asked("sparse", "cpu")
    monkeypatch.setattr("ingest.train.path.SPARSE_FROM", 200.0)
    assert asked("auto", "cuda") == "sparse"
    assert asked("auto", "cuda", "relu") == "dense"
    monkeypatch.setattr("ingest.train.path.find_spec", lambda _: None)
    assert asked("auto", "cuda") == "dense"
    with pytest.raises(ConfigError, match="needs Triton"):
        asked("sparse", "cuda")


def test_a_training_by_the_sparse_step_goes_as_the_layered_one(tmp_path, monkeypatch):
    """The whole loop on a pretended GPU, with plain kernels in the place of Triton's."""
    import ingest.train

    monkeypatch.setattr("ingest.train.path.find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "ingest.train.kernels", gathered)
    monkeypatch.setattr(ingest.train, "kernels", gathered, raising=False)
    sae, part = parts("batchtopk", 64 * 10, lr=1e-4)
    here = train(a_stream(), sae, part, tmp_path / "here")
    told: list[int] = []
    with pretend_gpu():
        model = PlantedModel()
        model.device, model.table = "cuda", on_gpu(model.table)
        sparse = part.model_copy(update={"step": "sparse"})
        there = train(
            a_stream(model), sae, sparse, tmp_path / "t", stepped=lambda it: told.append(it.tokens)
        )
    assert told == [64 * step for step in range(1, 11)]
    for one, wanted in zip(there.saes, here.saes, strict=True):
        assert isinstance(one.w_enc, There)
        assert torch.allclose(one.w_enc.as_subclass(torch.Tensor), wanted.w_enc, atol=1e-4)


def test_a_training_on_a_gpu_resumes_to_the_bit(tmp_path):
    sae, part = parts("batchtopk", 64 * 12)
    with all_on_gpu():
        model = PlantedModel()
        model.device, model.table = "cuda", on_gpu(model.table)
        whole = train(a_stream(model), sae, part, tmp_path / "whole").saes
        with pytest.raises(Stopped):
            train(a_stream(model), sae, part, tmp_path / "parts", stepped=stop_at(5))
        again = train(a_stream(model), sae, part, tmp_path / "parts").saes
    for one, wanted in zip(again, whole, strict=True):
        assert torch.equal(*(it.w_dec.as_subclass(torch.Tensor) for it in (one, wanted)))


def test_figures_of_every_step_come_in_order():
    told = []
    reports = Reports(told.append)
    for step in range(1, 4):
        value = torch.tensor([float(step), 0.5])
        missed = torch.tensor([step == 2, True])
        reports.add(step * 10, step / 10, Measured(value, value, value, value, missed))
    reports.flush()
    assert [(one.tokens, one.rate, one.fvu) for one in told] == [
        (10, 0.1, (1, 0.5)),
        (20, 0.2, (2, 0.5)),
        (30, 0.3, (3, 0.5)),
    ]
    assert reports.missed == 4


@pytest.mark.parametrize(("name", "way"), CASES, ids=lambda it: getattr(it, "path", it))
def test_on_a_gpu_a_step_mixes_no_devices_and_asks_for_no_value(name, way):
    state, objective, stream = a_start(name)
    _, z = next(stream.batches(state.place))
    with pretend_gpu(may_ask=False):
        there = moved_state(state, objective)
        found = stacked_step(there, on_gpu(z), objective, way, 0.5)
        descend(there, objective, way.kernels)
    stacked_step(state, z, objective, way, 0.5)
    descend(state, objective, way.kernels)
    assert all(isinstance(part, There) for part in found)
    for one, wanted in zip(there.params, state.params, strict=True):
        assert torch.equal(one.as_subclass(torch.Tensor), wanted)


def moved_state(state, objective):
    tensors = {key: on_gpu(part) for key, part in state.tensors().items()}
    return State.restored(tensors, state.numbers(), objective.betas)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_layered_step_works_on_a_gpu_and_asks(name):
    state, objective, stream = a_start(name)
    _, z = next(stream.batches(state.place))
    with pretend_gpu():
        _layered_step(moved_state(state, objective), on_gpu(z), objective, torch.float32, 0.5)
    with pretend_gpu(may_ask=False), pytest.raises(Asked):
        _layered_step(moved_state(state, objective), on_gpu(z), objective, torch.float32, 0.5)


def test_in_bfloat16_the_cut_is_that_of_the_values_that_chose():
    state, objective, stream = a_start("batchtopk")
    _, z = next(stream.batches(state.place))
    x = state.scale.apply(z)[0]
    done = _layer(state, 0, x, objective, torch.bfloat16)
    pre = x.bfloat16() @ state.params.w_enc[0].T.bfloat16()
    count = objective.k_at(0) * len(x)
    assert float(done.lowest) == float(pre.flatten().topk(count).values.min())
