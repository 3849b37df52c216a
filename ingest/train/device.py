"""A training step of all layers that asks the device for nothing: the host never waits for it."""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.errors import ModelError
from ingest.train import stacked
from ingest.train.objectives import Objective, Stack
from ingest.train.params import Params
from ingest.train.path import Path
from ingest.train.reports import Measured
from ingest.train.stacked import Done, Kernels
from ingest.train.state import State

AT_ONCE = 4_000_000_000
"""Bytes of pre-activations that a group of layers may have; the rest of a step follows from it."""
TOLERANCE = 0.05
"""Share of a gradient's norm by which two paths may differ: bfloat16 rounds by less than a tenth
of that, a kernel that is wrong differs by the whole norm."""


class Way(NamedTuple):
    """How steps are computed."""

    path: Path
    dtype: torch.dtype
    """Precision of the products: weights are kept, and gradients summed up, in float32."""
    kernels: Kernels | None = None
    """For the sparse path."""


def layers_at_once(batch: int, d_sae: int, width: int) -> int:
    """Layers whose pre-activations, of `width` bytes, are in memory together."""
    return max(1, AT_ONCE // (batch * d_sae * width))


@torch.no_grad()
def stacked_step(
    state: State, z: Tensor, objective: Objective, way: Way, newest: float
) -> Measured:
    """Write the gradients of a batch and count its firings.

    Args:
        state: gradients and counters are written to.
        z: `[layer, batch, d_in]`, raw.
        objective: what is trained.
        way: how.
        newest: weight of this step's cut in the running mean.
    """
    x = state.scale.apply(z)
    batch = x.shape[1]
    dead = state.since_fired > objective.part.dead_tokens
    done, missed = gradients_of(state, x, dead, objective, way)
    state.since_fired.add_(batch).mul_(done.fired == 0)
    state.firings.add_(done.fired)
    state.cut.lerp_(done.lowest, newest)
    variance = (x - x.mean(1, keepdim=True)).square().sum((1, 2)) / batch
    fvu = done.squared_error / variance.clamp(min=1e-12)
    loss = done.squared_error / x.shape[2]
    return Measured(fvu, done.l0, dead.float().mean(1), loss, missed)


class Counted(NamedTuple):
    """What `gradients_of` gives beside the gradients."""

    squared_error: Tensor  # [layer]
    l0: Tensor  # [layer]
    lowest: Tensor  # [layer]
    fired: Tensor  # [layer, d_sae]


def gradients_of(
    state: State, x: Tensor, dead: Tensor, objective: Objective, way: Way
) -> tuple[Counted, Tensor]:
    """Write all layers' gradients, a group of layers at a time.

    Args:
        state: its gradients are written to.
        x: `[layer, batch, d_in]`, normalised.
        dead: `[layer, d_sae]`, bool.
        objective: what is trained.
        way: how.

    Returns:
        What was counted, and `[layer]` bool: whether some of the largest were missed.
    """
    found, missed = [], []
    for layers in _groups(x, state.params, way.dtype):
        params = stacked.part_of(state.params, layers)
        gradients = stacked.part_of(state.gradients, layers)
        log = params.log_threshold
        done, lost = _group(params, gradients, x[layers], log, objective, way, state.step)
        if objective.aux:
            residual, which = done.residual, dead[layers]
            stacked.revive(params, gradients, x[layers], residual, which, objective.aux, way.dtype)
        found.append(Counted(*done[:4]))
        missed.append(lost)
    return Counted(*map(torch.cat, zip(*found, strict=True))), torch.cat(missed)


def _groups(x: Tensor, params: Params, dtype: torch.dtype) -> list[slice]:
    size = layers_at_once(x.shape[1], params.b_enc.shape[1], dtype.itemsize)
    return [slice(at, at + size) for at in range(0, len(x), size)]


def _group(
    params: Params,
    gradients: Params,
    x: Tensor,
    log_threshold: Tensor,
    objective: Objective,
    way: Way,
    step: int,
) -> tuple[Done, Tensor]:
    entering = x - params.b_dec[:, None] if objective.tied else x
    pre = stacked.pre_activations(params, entering, way.dtype)
    if way.path == "sparse":
        assert way.kernels is not None
        chosen = objective.chosen(pre, step)
        del pre
        done = stacked.sparse(params, gradients, x, chosen, way.dtype, way.kernels)
        return done, chosen.missed
    acts, missed = objective.acts(pre, step, log_threshold)
    edges, l1 = objective.edges, objective.l1
    done, by_act = stacked.dense(params, gradients, x, entering, acts, edges, l1)
    if objective.tied:
        gradients.b_dec.sub_((gradients.b_enc[:, None] @ params.w_enc).squeeze(1))
    objective.add_stacked_gradients(params, gradients, Stack(pre, by_act, done.l0))
    return done, missed


@torch.no_grad()
def compare(state: State, z: Tensor, objective: Objective, way: Way) -> float:
    """How far the sparse path's gradients are from the dense path's on a batch, all layers.

    Args:
        state: its gradients are written to.
        z: `[layer, batch, d_in]`, raw.
        objective: what is trained.
        way: of the sparse path.

    Returns:
        The largest norm of a difference of gradients over the norm of the dense one.
    """
    x = state.scale.apply(z)
    worst = []
    for layers in _groups(x, state.params, way.dtype):
        params = stacked.part_of(state.params, layers)
        ours, theirs = (Params(*(torch.zeros_like(part) for part in params)) for _ in range(2))
        log = params.log_threshold
        _group(params, ours, x[layers], log, objective, way, state.step)
        dense = way._replace(path="dense")
        _group(params, theirs, x[layers], log, objective, dense, state.step)
        worst += [
            (one - other).norm() / other.norm().clamp(min=1e-12)
            for one, other in zip(ours[:4], theirs[:4], strict=True)
        ]
    return float(torch.stack(worst).max())


def check(state: State, z: Tensor, objective: Objective, way: Way) -> None:
    """Refuse kernels that disagree with plain PyTorch on a batch.

    Raises:
        ModelError: gradients differ by more than TOLERANCE.
    """
    differ = compare(state, z, objective, way)
    if not differ <= TOLERANCE:  # NaN too
        raise ModelError(
            f"the sparse step's gradients differ from the dense step's by {differ:.1%} of their "
            f"norm on the first batch (allowed: {TOLERANCE:.0%})",
            "set train.step = 'dense', and report it with your GPU and version of Triton",
        )
