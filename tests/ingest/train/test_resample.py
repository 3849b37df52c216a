"""Resampling: who is drawn, what takes a dead feature's place, and when the rate drops."""

import itertools

import pytest
import torch

from ingest.config import ResamplePart
from ingest.train import resample
from ingest.train.loop import _count
from ingest.train.objectives import make_objective
from ingest.train.params import Params, unscaled
from ingest.train.resample import Draw, draw, losses, replace
from ingest.train.state import State
from ingest.train.stream import Place
from tests.ingest.train.test_loop import parts
from tests.ingest.train.test_step import D, F, some_params


def test_a_loss_is_the_squared_error_of_each_input():
    params = Params(
        torch.tensor([[[1.0, 0]]]),
        torch.tensor([[-1.0]]),
        torch.tensor([[[1.0, 0]]]),
        torch.zeros(1, 2),
        torch.zeros(1, 1),
    )
    # The first input is rebuilt as (2, 0), the second as (0, 0).
    assert losses(params, 0, torch.tensor([[3.0, 1], [0.5, 2]])).tolist() == [2.0, 4.25]


def test_inputs_are_drawn_in_proportion_to_the_square_of_their_loss():
    seed = torch.Generator().manual_seed(0)
    inputs, loss = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    counts = torch.zeros(3)
    for _ in range(4000):
        counts += draw(Draw(torch.empty(0), torch.empty(0, 3)), inputs, loss, 1, seed).inputs[0]
    assert (counts / 4000).tolist() == pytest.approx([1 / 14, 4 / 14, 9 / 14], abs=0.03)


def test_drawing_in_parts_is_without_replacement_and_no_larger_than_asked():
    seed = torch.Generator().manual_seed(0)
    so_far = Draw(torch.empty(0), torch.empty(0, 6))
    for rows in torch.eye(6).split(2):
        so_far = draw(so_far, rows, torch.ones(2), 4, seed)
    assert len(so_far.keys) == 4
    assert so_far.inputs.sum(0).max() == 1


def test_a_dead_feature_becomes_an_input_and_forgets_its_moments():
    params = some_params()
    before = Params(*(part.clone() for part in params))
    moments = [Params(*(torch.ones_like(part) for part in params)) for _ in range(2)]
    dead = torch.zeros(F, dtype=torch.bool)
    dead[[4, 9]] = True
    inputs = torch.randn(2, D)
    replace(params, moments, 0, dead, Draw(torch.tensor([2.0, 1]), inputs))
    rows = torch.nn.functional.normalize(inputs, dim=-1)
    size = before.w_enc[0][~dead].norm(dim=-1).mean() * 0.2
    assert torch.equal(params.w_dec[0][dead], rows)
    assert torch.allclose(params.w_enc[0][dead], rows * size)
    assert params.b_enc[0][dead].tolist() == [0, 0]
    assert torch.equal(params.w_enc[0][~dead], before.w_enc[0][~dead])
    for moment in moments:
        assert moment.w_enc[0][dead].abs().sum() == 0
        assert moment.w_dec[0][~dead].min() == 1


def test_firings_are_counted_over_the_window_and_a_replacement_drops_the_rate():
    params = some_params()
    state = State(params, unscaled(torch.zeros(1, 1, D)), (0.9, 0.99))
    part = ResamplePart(every=4, window=2, times=1, cutoff=0.0, batches=3)
    objective = make_objective(*parts("relu"), 100)
    batches = ((Place(0, n), torch.randn(1, 5, D)) for n in itertools.count(1))
    for step in range(1, 9):
        state.step = step
        state.firings[:, 0] += 5  # only feature 0 ever fires
        _count(state, part, (0,), objective, batches)
        if step == 3:
            assert (state.counted, int(state.firings[0, 0])) == (64, 5)
    assert (state.resampled, state.dropped, state.place) == (1, 4, Place(0, 3))
    assert resample.SCALE == 0.2
