"""The training loop: all layers' SAEs from one stream, resumable to the bit."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae
from ingest.config import ResamplePart, SaePart, TrainPart
from ingest.train import resample
from ingest.train.objectives import Objective, Pass, make_objective
from ingest.train.params import fold
from ingest.train.state import Checkpoints, State, read_checkpoint
from ingest.train.step import LayerStep, layer_step, project_and_clip, revive, select
from ingest.train.stream import Place, Stream

CUT_STEPS = 100
"""Steps over which the running mean of the batch cut reaches back; fewer in a short training."""


class Figures(NamedTuple):
    """What the loop reports after a step; one value per layer."""

    tokens: int
    fvu: tuple[float, ...]
    l0: tuple[float, ...]
    dead: tuple[float, ...]  # share of features
    loss: tuple[float, ...]  # mean squared error per entry of z, centred and scaled
    rate: float  # of learning, in this step


class Trained(NamedTuple):
    """The SAEs of a finished training, on raw z."""

    saes: list[Sae]
    dead_share: list[float]
    dead_window: int  # tokens
    tokens: int


Batches = Iterator[tuple[Place, Tensor]]


def train(
    stream: Stream,
    sae: SaePart,
    part: TrainPart,
    checkpoint: Path,
    *,
    harvested: Callable[[int], None] = lambda _: None,
    stepped: Callable[[Figures], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    encode_dtype: torch.dtype = torch.float32,
) -> Trained:
    """Train until `part.tokens` activations were used, from the checkpoint on when there is one.

    Args:
        stream: where activations come from.
        sae: sizes and objective.
        part: length, schedule and optimiser.
        checkpoint: file that is written now and then and read at the start.
        harvested: told the tokens of every forward pass of the model.
        stepped: told the figures after every step.
        clock: seconds, for the time between checkpoints.
        encode_dtype: precision of the dense encoder product; firings are float32 in any case.
    """
    steps = part.tokens // part.batch
    objective = make_objective(sae, part, steps)
    state = _begin(stream, objective, checkpoint, harvested)
    with Checkpoints(checkpoint, part.checkpoint_seconds, clock) as checkpoints:
        batches = stream.batches(state.place, harvested)
        while state.step < steps:
            state.place, z = next(batches)
            figures = _step(state, z, objective, encode_dtype)
            if objective.resamples:
                _count(state, part.resample, part.batch, objective, batches)
            stepped(figures)
            if state.step == steps or checkpoints.is_due:
                assert stream.limits is not None
                checkpoints.save(state, stream.limits)
    return _finish(state, objective, part)


def _begin(
    stream: Stream, objective: Objective, checkpoint: Path, harvested: Callable[[int], None]
) -> State:
    found = read_checkpoint(checkpoint, stream.model.device, objective.betas)
    if found is not None:
        state, stream.limits = found
        return state
    pool = stream.buffer(0, harvested)
    generator = torch.Generator().manual_seed(objective.part.seed)
    params, scale = objective.start(pool, generator)
    stream.keep(0, pool)
    return State(params, scale, objective.betas)


@torch.no_grad()
def _step(state: State, z: Tensor, objective: Objective, encode_dtype: torch.dtype) -> Figures:
    x = state.scale.apply(z)
    batch = x.shape[1]
    errors, l0 = [], []
    variance = (x - x.mean(1, keepdim=True)).square().sum((1, 2)) / batch
    dead = state.since_fired > objective.part.dead_tokens
    for layer in range(len(x)):
        done = _layer(state, layer, x[layer], objective, encode_dtype)
        missing = dead[layer].nonzero().squeeze(-1) if objective.aux else dead.new_empty(0)
        revive(
            state.params,
            state.gradients,
            layer,
            x[layer],
            done.residual,
            missing,
            objective.aux,
        )
        fired = done.fired > 0
        state.since_fired[layer] = (state.since_fired[layer] + batch) * ~fired
        state.firings[layer] += done.fired
        state.cut[layer].lerp_(done.lowest, _newest(objective, state.step))
        errors.append(done.squared_error)
        l0.append(done.l0)
    rate = _descend(state, objective)
    state.step += 1
    error = torch.stack(errors)
    fvu = error / variance.clamp(min=1e-12)
    found = torch.stack((fvu, dead.float().mean(1), error / x.shape[2]))
    of_fvu, of_dead, of_loss = map(tuple, found.tolist())
    return Figures(state.step * batch, of_fvu, tuple(l0), of_dead, of_loss, rate)


def _newest(objective: Objective, step: int) -> float:
    """Weight of this step's cut in the running mean: all of it while k still falls."""
    if step == 0 or objective.k_at(step) > objective.k_at(objective.steps):
        return 1.0
    return max(1 / CUT_STEPS, min(1.0, 20 / objective.steps))


def _layer(
    state: State, layer: int, x: Tensor, objective: Objective, dtype: torch.dtype
) -> LayerStep:
    """Gradients of one layer's batch `[batch, d_in]`."""
    params, gradients = state.params, state.gradients
    w_enc, b_enc = params.w_enc[layer], params.b_enc[layer]
    entering = x - params.b_dec[layer] if objective.tied else x
    pre = torch.addmm(b_enc.to(dtype), entering.to(dtype), w_enc.T.to(dtype))
    cut = float(state.cut[layer])
    hits = objective.hits(pre, state.step, cut, params.log_threshold[layer])
    firings = select(entering, w_enc, b_enc, hits)
    edges, l1 = objective.edges, objective.l1
    done = layer_step(params, gradients, layer, x, entering, firings, edges, l1)
    if objective.tied:
        gradients.b_dec[layer] -= gradients.b_enc[layer] @ w_enc
    objective.add_gradients(params, gradients, Pass(layer, pre, done.slope, done.l0))
    return done


def _descend(state: State, objective: Objective) -> float:
    """One step of the optimiser; gives its learning rate."""
    project_and_clip(state.params, state.gradients, objective.clip)
    rate = objective.rate(state.step, state.dropped)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.params.w_dec.copy_(torch.nn.functional.normalize(state.params.w_dec, dim=-1))
    return rate


def _count(
    state: State, part: ResamplePart, batch: int, objective: Objective, batches: Batches
) -> None:
    """Count firings over the window before each resampling, and resample when its step has come."""
    state.counted += batch
    into = state.step % part.every
    if into == 0 and state.resampled < part.times and state.step < objective.steps:
        _resample(state, part, objective.part.seed, batches)
        state.resampled += 1
    if into in (0, part.every - part.window):
        state.firings.zero_()
        state.counted = 0


@torch.no_grad()
def _resample(state: State, part: ResamplePart, seed: int, batches: Batches) -> None:
    """Replace the features that fired too rarely; the batches that are drawn from are used up."""
    dead = state.firings <= part.cutoff * state.counted
    counts = dead.sum(1).tolist()
    if not any(counts):
        return
    generator = torch.Generator().manual_seed(seed * 1_000_003 + state.step)
    params, empty = state.params, state.params.w_enc.new_empty
    draws = [resample.Draw(empty(0), empty(0, params.w_enc.shape[2])) for _ in counts]
    for place, z in itertools.islice(batches, part.batches):
        state.place = place
        for layer, x in enumerate(state.scale.apply(z)):
            centred = x - params.b_dec[layer]
            loss = resample.losses(params, layer, centred)
            draws[layer] = resample.draw(draws[layer], centred, loss, counts[layer], generator)
    for layer, drawn in enumerate(draws):
        resample.replace(params, state.moments, layer, dead[layer], drawn)
    state.dropped = state.step


def _finish(state: State, objective: Objective, part: TrainPart) -> Trained:
    tokens = state.step * part.batch
    window = min(part.dead_tokens, tokens)
    dead = (state.since_fired >= window).float().mean(1).tolist()
    threshold = objective.threshold(state.params, state.cut)
    saes = fold(state.params, state.scale, threshold, objective.kept, objective.tied)
    return Trained(saes, dead, window, tokens)
