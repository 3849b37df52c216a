"""The training loop: all layers' SAEs from one stream, resumable to the bit."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae
from ingest.config import ResamplePart, SaePart, TrainPart
from ingest.train import resample
from ingest.train.descend import descend
from ingest.train.device import Way, check, stacked_step
from ingest.train.objectives import Objective, Pass, make_objective
from ingest.train.params import fold
from ingest.train.path import choose_path
from ingest.train.reports import Figures, Measured, Reports
from ingest.train.state import Checkpoints, State, read_checkpoint
from ingest.train.step import LayerStep, layer_step, revive, select
from ingest.train.stream import Place, Stream, seeded

__all__ = ["Figures", "Trained", "train"]

CUT_STEPS = 100
"""Steps over which the running mean of the batch cut reaches back; fewer in a short training."""


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
        stream: where activations come from; the SAEs are those of `stream.trained`.
        sae: sizes and objective.
        part: length, schedule and optimiser.
        checkpoint: file that is written now and then and read at the start.
        harvested: told the tokens of every forward pass of the model.
        stepped: told the figures of every step, in order; on a GPU some steps late, so that no
            step waits for the device.
        clock: seconds, for the time between checkpoints.
        encode_dtype: precision of the dense encoder product, on a GPU of all large products;
            weights, gradients and Adam's moments are float32 in any case.

    Raises:
        ConfigError: `part.step` is not possible for this objective or here.
        ModelError: the sparse step disagrees with the dense one on the first batch.
    """
    steps = part.tokens // part.batch
    objective = make_objective(sae, part, steps)
    way = _way(stream.model.device, part.step, objective, encode_dtype)
    state = _begin(stream, objective, checkpoint, harvested)
    reports = Reports(stepped)
    with Checkpoints(checkpoint, part.checkpoint_seconds, clock) as checkpoints:
        batches = stream.batches(state.place, harvested)
        is_checked = way.path != "sparse"
        while state.step < steps:
            state.place, z = next(batches)
            if not is_checked:
                check(state, z, objective, way)
                is_checked = True
            measured, rate = _step(state, z, objective, way)
            if objective.resamples:
                _count(state, part.resample, stream.trained, objective, batches)
            reports.add(state.step * part.batch, rate, measured)
            if state.step == steps or checkpoints.is_due:
                reports.flush()
                assert stream.limits is not None
                checkpoints.save(state, stream.limits)
    reports.flush()
    if reports.missed:
        _tell_missed(reports.missed)
    return _finish(state, objective, part)


def _way(device: str, asked: str, objective: Objective, dtype: torch.dtype) -> Way:
    path = choose_path(asked, device, objective)
    if path != "sparse":
        return Way(path, dtype)
    from ingest.train import kernels  # noqa: PLC0415 (needs Triton)

    return Way(path, dtype, kernels)


def _tell_missed(times: int) -> None:
    warnings.warn(
        f"in {times} steps of a layer too few or too many activations passed the bound that was "
        "estimated from a part of the batch, and some that should have fired did not; "
        "train.step = 'layered' has no such bound",
        RuntimeWarning,
        stacklevel=2,
    )


def _begin(
    stream: Stream, objective: Objective, checkpoint: Path, harvested: Callable[[int], None]
) -> State:
    found = read_checkpoint(checkpoint, stream.model.device, objective.betas)
    if found is not None:
        state, stream.limits = found
        return state
    pool = stream.buffer(0, harvested)
    generators = [seeded(objective.part.seed, layer) for layer in stream.trained]
    params, scale = objective.start(pool, generators)
    stream.keep(0, pool)
    return State(params, scale, objective.betas)


@torch.no_grad()
def _step(state: State, z: Tensor, objective: Objective, way: Way) -> tuple[Measured, float]:
    """One step of all layers; gives its figures and its learning rate."""
    newest = _newest(objective, state.step)
    if way.path == "layered":
        measured = _layered_step(state, z, objective, way.dtype, newest)
    else:
        measured = stacked_step(state, z, objective, way, newest)
    rate = descend(state, objective, way.kernels)
    state.step += 1
    return measured, rate


def _layered_step(
    state: State, z: Tensor, objective: Objective, dtype: torch.dtype, newest: float
) -> Measured:
    x = state.scale.apply(z)
    batch = x.shape[1]
    errors, l0 = [], []
    variance = (x - x.mean(1, keepdim=True)).square().sum((1, 2)) / batch
    dead = state.since_fired > objective.part.dead_tokens
    for layer in range(len(x)):
        done = _layer(state, layer, x[layer], objective, dtype)
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
        state.cut[layer].lerp_(done.lowest, newest)
        errors.append(done.squared_error)
        l0.append(done.l0)
    error = torch.stack(errors)
    fvu = error / variance.clamp(min=1e-12)
    none = torch.zeros(len(x), dtype=torch.bool)
    on_host = torch.tensor(l0)
    return Measured(
        fvu,
        on_host.to(fvu.device),
        dead.float().mean(1),
        error / x.shape[2],
        none.to(fvu.device),
    )


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
    if len(hits):
        # Of the values that chose: the least exact one lies below it by the noise of rounding, and
        # an SAE exported with that as its threshold would let too much through.
        done = done._replace(lowest=pre.flatten()[hits].min().float())
    if objective.tied:
        gradients.b_dec[layer] -= gradients.b_enc[layer] @ w_enc
    objective.add_gradients(params, gradients, Pass(layer, pre, done.slope, done.l0))
    return done


def _count(
    state: State,
    part: ResamplePart,
    layers: tuple[int, ...],
    objective: Objective,
    batches: Batches,
) -> None:
    """Count firings over the window before each resampling, and resample when its step has come."""
    state.counted += objective.part.batch
    into = state.step % part.every
    if into == 0 and state.resampled < part.times and state.step < objective.steps:
        seeds = [seeded(objective.part.seed, layer, state.step) for layer in layers]
        _resample(state, part, seeds, batches)
        state.resampled += 1
    if into in (0, part.every - part.window):
        state.firings.zero_()
        state.counted = 0


@torch.no_grad()
def _resample(
    state: State, part: ResamplePart, seeds: list[torch.Generator], batches: Batches
) -> None:
    """Replace the features that fired too rarely; the batches that are drawn from are used up.

    The learning rate drops even where nothing is dead: no layer depends on what others need.
    """
    dead = state.firings <= part.cutoff * state.counted
    counts = dead.sum(1).tolist()
    params, empty = state.params, state.params.w_enc.new_empty
    draws = [resample.Draw(empty(0), empty(0, params.w_enc.shape[2])) for _ in counts]
    for place, z in itertools.islice(batches, part.batches):
        state.place = place
        for layer, x in enumerate(state.scale.apply(z)):
            centred = x - params.b_dec[layer]
            loss = resample.losses(params, layer, centred)
            draws[layer] = resample.draw(draws[layer], centred, loss, counts[layer], seeds[layer])
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
