"""From gradients to new weights: projection, clipping, Adam, decoder rows of unit norm again."""

import math

import torch
from torch import Tensor

from ingest.train.objectives import Objective
from ingest.train.params import Params
from ingest.train.stacked import Kernels
from ingest.train.state import State
from ingest.train.step import project_and_clip

BIG = ("w_enc", "w_dec")
"""The weights that kernels update row by row; the others go through PyTorch's optimiser."""


@torch.no_grad()
def descend(state: State, objective: Objective, kernels: Kernels | None = None) -> float:
    """One step down the gradients that the state holds, which are used up; gives its rate.

    Args:
        state: weights and moments are written to.
        objective: clipping and learning rate.
        kernels: to go over each weight row twice instead of a dozen times.
    """
    rate = objective.rate(state.step, state.dropped)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    if kernels is None:
        project_and_clip(state.params, state.gradients, objective.clip)
        state.optimiser.step()
        state.params.w_dec.copy_(torch.nn.functional.normalize(state.params.w_dec, dim=-1))
        return rate
    factor = _factor(
        state.gradients, kernels.project(state.params, state.gradients), objective.clip
    )
    _small(state, factor)
    for name in BIG:
        weights, gradient = getattr(state.params, name), getattr(state.gradients, name)
        moments = [getattr(moment, name) for moment in state.moments]
        correct = [1 - beta ** (state.step + 1) for beta in objective.betas]
        kernels.adam(
            weights, gradient, moments, factor, rate, objective.betas, correct, name == "w_dec"
        )
    return rate


def _factor(gradients: Params, squares: Tensor, limit: float) -> Tensor:
    """`[layer]`: what bounds each layer's gradient norm, given the square of its large parts."""
    if math.isinf(limit):
        return torch.ones_like(squares)
    for name, part in gradients._asdict().items():
        if name not in BIG:
            squares = squares + part.square().sum(1)
    return (limit / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)


def _small(state: State, factor: Tensor) -> None:
    """Let the optimiser see the small weights alone: it leaves out what has no gradient."""
    for name, part in state.gradients._asdict().items():
        if name not in BIG:
            part.mul_(factor[:, None])
    for name in BIG:
        getattr(state.params, name).grad = None
    state.optimiser.step()
    for name in BIG:
        getattr(state.params, name).grad = getattr(state.gradients, name)
