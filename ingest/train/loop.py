"""The training loop: all layers' SAEs from one stream, resumable to the bit."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas.bundle import sync_and_rename
from atlas.lens.sae import Sae
from ingest.config import SaePart, TrainPart
from ingest.train.objective import Objective, make_objective
from ingest.train.params import Params, Scale, fold, initialise, measure_scale
from ingest.train.step import layer_step, project_and_clip, revive, select
from ingest.train.stream import Place, Stream

THRESHOLD_MEMORY = 0.99
"""Weight of the past in the running mean of the batch cut."""


class Figures(NamedTuple):
    """What the loop reports after a step; one value per layer."""

    tokens: int
    fvu: tuple[float, ...]
    l0: tuple[float, ...]
    dead: tuple[float, ...]  # share of features


class Trained(NamedTuple):
    """The SAEs of a finished training, on raw z."""

    saes: list[Sae]
    dead_share: list[float]
    dead_window: int  # tokens
    tokens: int


class State:
    """Everything that changes while training."""

    def __init__(self, params: Params, scale: Scale, betas: tuple[float, float]) -> None:
        self.params, self.scale = params, scale
        self.gradients = Params(*(torch.zeros_like(part) for part in params))
        device = params.w_enc.device
        self.threshold = torch.zeros(len(params.w_enc))
        self.since_fired = torch.zeros(params.b_enc.shape, dtype=torch.int64, device=device)
        self.step, self.place = 0, Place(0, 0)
        self.optimiser = torch.optim.Adam(list(params), lr=0.0, betas=betas, fused=True)
        for part, gradient in zip(params, self.gradients, strict=True):
            part.grad = gradient

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, for a checkpoint."""
        moments = {
            f"{name}.{moment}": self.optimiser.state[part][moment]
            for name, part in self.params._asdict().items()
            for moment in ("exp_avg", "exp_avg_sq")
        }
        rest = {"threshold": self.threshold, "since_fired": self.since_fired}
        return {**self.params._asdict(), **self.scale._asdict(), **rest, **moments}


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
    state = _resumed(checkpoint, stream, sae) or _fresh(stream, sae, part, harvested)
    saved = clock()
    if state.step < steps:
        for place, z in stream.batches(state.place, harvested):
            figures = _step(state, z, objective, part, steps, encode_dtype)
            state.place = place
            stepped(figures)
            if state.step == steps or clock() - saved > part.checkpoint_seconds:
                _save(checkpoint, state, stream)
                saved = clock()
            if state.step == steps:
                break
    return _finish(state, objective, part)


def learning_rate(part: TrainPart, d_sae: int, step: int, steps: int) -> float:
    """Rate at `step`: linear warm-up, flat, linear decay to 0 at `steps`."""
    peak = part.lr or 2e-4 / math.sqrt(d_sae / 2**14)
    rising = (step + 1) / max(1, round(steps * part.warmup))
    falling = (steps - step) / max(1, round(steps * part.decay))
    return peak * min(1.0, rising, falling)


def _fresh(
    stream: Stream, sae: SaePart, part: TrainPart, harvested: Callable[[int], None]
) -> State:
    pool = stream.buffer(0, harvested)
    scale = measure_scale(pool)
    generator = torch.Generator().manual_seed(part.seed)
    params = initialise(pool[:65_536], scale, sae.d_sae, generator)
    stream.keep(0, pool)
    return State(params, scale, _betas(sae))


def _betas(sae: SaePart) -> tuple[float, float]:
    """The paper's for its own recipe (PAPER.md section 3.2), else the common ones."""
    return (0.9, 0.99) if sae.objective == "relu" else (0.9, 0.999)


@torch.no_grad()
def _step(
    state: State,
    z: Tensor,
    objective: Objective,
    part: TrainPart,
    steps: int,
    encode_dtype: torch.dtype,
) -> Figures:
    x = state.scale.apply(z)
    batch = x.shape[1]
    fvu, l0 = [], []
    total = x.square().sum((1, 2)) / batch
    dead = state.since_fired > part.dead_tokens
    for layer in range(len(x)):
        w_enc, b_enc = state.params.w_enc[layer], state.params.b_enc[layer]
        pre = torch.addmm(
            b_enc.to(encode_dtype), x[layer].to(encode_dtype), w_enc.T.to(encode_dtype)
        )
        hits = objective.hits(pre, state.step, float(state.threshold[layer]))
        chosen = select(x[layer], w_enc, b_enc, hits)
        l1 = objective.l1 * float(state.scale.factor[layer])
        figures, residual = layer_step(state.params, state.gradients, layer, x[layer], chosen, l1)
        missing = dead[layer].nonzero().squeeze(-1)
        revive(state.params, state.gradients, layer, x[layer], residual, missing, part.aux)
        state.since_fired[layer] = (state.since_fired[layer] + batch) * ~figures.fired
        _remember_cut(state, layer, figures.lowest)
        fvu.append(figures.squared_error / float(total[layer].clamp(min=1e-12)))
        l0.append(figures.l0)
    _descend(state, learning_rate(part, state.params.w_enc.shape[1], state.step, steps))
    state.step += 1
    shares = tuple(dead.float().mean(1).tolist())
    return Figures(state.step * batch, tuple(fvu), tuple(l0), shares)


def _remember_cut(state: State, layer: int, lowest: float) -> None:
    old = float(state.threshold[layer])
    keep = THRESHOLD_MEMORY if state.step else 0.0
    state.threshold[layer] = keep * old + (1 - keep) * lowest


def _descend(state: State, rate: float) -> None:
    project_and_clip(state.params, state.gradients)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.params.w_dec.copy_(torch.nn.functional.normalize(state.params.w_dec, dim=-1))


def _finish(state: State, objective: Objective, part: TrainPart) -> Trained:
    threshold = torch.zeros_like(state.params.b_enc)
    if objective.learns_threshold:
        threshold += state.threshold.to(threshold.device)[:, None]
    tokens = state.step * part.batch
    window = min(part.dead_tokens, tokens)
    dead = (state.since_fired >= window).float().mean(1).tolist()
    return Trained(fold(state.params, state.scale, threshold), dead, window, tokens)


def _save(path: Path, state: State, stream: Stream) -> None:
    assert stream.limits is not None
    tensors = {**state.tensors(), "limits": stream.limits}
    told = json.dumps({"step": state.step, "place": list(state.place)})
    draft = path.with_suffix(".partial")
    save_file(tensors, draft, {"state": told})
    sync_and_rename(draft, path)


def _resumed(path: Path, stream: Stream, sae: SaePart) -> State | None:
    if not path.is_file():
        return None
    device = stream.model.device
    with safe_open(path, "pt", device=device) as file:
        told: dict[str, Any] = json.loads(file.metadata()["state"])
        # Copies are aligned as fresh tensors are; products over others round differently.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    params = Params(*(tensors[name] for name in Params._fields))
    state = State(params, Scale(tensors["mean"], tensors["factor"]), _betas(sae))
    state.step, state.place = told["step"], Place(*told["place"])
    state.threshold = tensors["threshold"].cpu()
    state.since_fired = tensors["since_fired"]
    for name, part in params._asdict().items():
        state.optimiser.state[part] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": tensors[f"{name}.exp_avg"],
            "exp_avg_sq": tensors[f"{name}.exp_avg_sq"],
        }
    stream.limits = tensors["limits"].cpu()
    return state
