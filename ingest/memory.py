"""What a job needs of memory, by formula, before it starts; one that cannot fit is refused.

Parts of one phase are in memory together, phases follow each other. Sizes are bytes. The formulas
count the large tensors and what PyTorch holds of them at once; what the libraries themselves take
is BASE.
"""

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import torch

from atlas.errors import ConfigError
from atlas.model import LanguageModel
from atlas.types import HISTOGRAM_BINS
from ingest.config import Job
from ingest.mine.choose import DECILES, limits_of
from ingest.train.device import layers_at_once
from ingest.train.stream import activations_per_buffer

BASE = 900_000_000
"""Resident size of Python with PyTorch and TransformerLens loaded, on the host."""
FLOAT = 4
KEPT = 16
"""Bytes of one kept firing: feature, activation, context, position."""
CANDIDATE = 48
"""Bytes of what a step on a GPU knows of one candidate for firing."""
Room = Callable[[str], int]
"""Bytes that a device (`cpu`, `cuda:0`) has for this job."""


class Part(NamedTuple):
    """One thing in memory."""

    what: str
    size: int
    setting: str = ""
    """The setting that makes it smaller; empty where none does."""


class Phase(NamedTuple):
    """What is in memory together on one device."""

    name: str
    device: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


class Shape(NamedTuple):
    """What the formulas ask of a model."""

    parameters: int
    width: int  # of one weight, bytes
    d_in: int
    n_heads: int
    d_model: int
    vocab: int
    device: str


def shape_of(model: LanguageModel) -> Shape:
    """The shape of a loaded model."""
    weights = sum(weight.numel() for weight in model.bridge.original_model.parameters())
    info = model.info
    return Shape(
        weights,
        model.dtype.itemsize,
        model.d_in,
        info.n_heads,
        info.d_model,
        info.vocab_size,
        model.device,
    )


def phases(job: Job, shape: Shape) -> tuple[Phase, ...]:
    """The phases of a job with what each holds: on the model's device, then on the host."""
    layers, features = len(job.sae.layers), job.sae.d_sae
    model = Part("the model", shape.parameters * shape.width)
    sae = layers * FLOAT * (2 * features * shape.d_in + 3 * features + shape.d_in)
    saes = Part("SAEs", sae, "sae.layers or sae.d_sae")
    found = [
        _training(job, shape, model, sae),
        _evaluation(job, shape, model, saes),
        *_mining(job, shape, model, saes),
    ]
    on_host = [phase for phase in found if phase.device == "cpu"]
    base = Part("Python and its libraries", BASE)
    with_base = [phase._replace(parts=(*phase.parts, base)) for phase in on_host]
    return (*(phase for phase in found if phase.device != "cpu"), *with_base)


def _training(job: Job, shape: Shape, model: Part, sae: int) -> Phase:
    part, layers = job.train, _layers_together(job)
    sae = sae * layers // len(job.sae.layers)
    # Weights, gradients, two moments; and a checkpoint's copy of all but the gradients.
    # On a GPU that copy is the host's; there what projecting and clipping hold counts instead.
    copies = 7 if shape.device == "cpu" else 5
    # The pieces it is made of, their joint copy, and what is left of it without sinks.
    buffer = 3 * math.ceil(activations_per_buffer(part)) * layers * shape.d_in * shape.width
    step = _step(job, shape) + 4 * layers * part.batch * shape.d_in * FLOAT
    return Phase(
        "training",
        shape.device,
        (
            model,
            Part("SAEs with gradients and moments", copies * sae, "sae.d_sae"),
            Part("the buffer of activations", buffer, "train.buffer_tokens"),
            Part("one step", step, "train.batch"),
        ),
    )


def _layers_together(job: Job) -> int:
    """Layers of the largest group that is trained at once."""
    return math.ceil(len(job.sae.layers) / job.engine.train_groups)


def _step(job: Job, shape: Shape) -> int:
    """What a step holds of one layer, or of a group of layers, beside inputs and residuals."""
    batch, features, width = job.train.batch, job.sae.d_sae, shape.width
    if shape.device == "cpu":  # pre-activations and three float32 tensors of their size
        return batch * features * (width + 3 * FLOAT)
    group = min(_layers_together(job), layers_at_once(batch, features, width))
    # Pre-activations, activations and their two gradients; three masks; candidates while k is 4 k.
    acts = batch * (features * (4 * width + 3) + 8 * job.sae.k * CANDIDATE)
    # Weights in the model's precision, and a product that is on its way into the gradients.
    return group * (acts + features * shape.d_in * (2 * width + 2 * FLOAT))


def _evaluation(job: Job, shape: Shape, model: Part, saes: Part) -> Phase:
    tokens = job.batch_contexts * job.corpus.context_length
    # Logits, a float32 copy without the last position, and its log-probabilities.
    logits = tokens * shape.vocab * (shape.width + 2 * FLOAT)
    acts = 3 * tokens * job.sae.d_sae * FLOAT
    return Phase(
        "evaluation",
        shape.device,
        (model, saes, Part("logits and activations", logits + acts, "model.batch_contexts")),
    )


def _mining(job: Job, shape: Shape, model: Part, saes: Part) -> list[Phase]:
    layers, features, mine = len(job.sae.layers), job.sae.d_sae, job.mine
    tokens = job.batch_contexts * job.corpus.context_length
    exact = Part("the model in float32", shape.parameters * FLOAT if shape.width != FLOAT else 0)
    pattern = shape.n_heads * tokens * job.corpus.context_length * FLOAT
    batch = tokens * (6 * features + layers * 4 * shape.d_in) * FLOAT + layers * 3 * pattern
    vocabulary = 1024 * shape.vocab * FLOAT * 2
    working = Part("a batch", max(batch, vocabulary), "model.batch_contexts")
    limits = limits_of(mine)
    kept = limits.top + HISTOGRAM_BINS * limits.per_bin + limits.random + limits.near
    kept += limits.sketch
    kept_size, counts = KEPT * kept, 8 * (HISTOGRAM_BINS + 4 + 3 * shape.n_heads)
    # As many firings wait as are kept; keys, groups and orders of one layer while it is sorted.
    tally = features * (layers * (2 * kept_size + counts) + 8 * kept_size)
    # One fold per layer, and for one layer the other side of a merge with what sorting takes.
    fold = (layers + 3) * features * (kept_size + counts)
    setting = "sae.d_sae or mine.per_band"
    examples = mine.top + mine.bands * mine.per_band + mine.random + mine.near_misses
    examples = features * (examples + DECILES * mine.per_decile)
    row = job.corpus.context_length * FLOAT + shape.n_heads * FLOAT + mine.sources * 8 + 64
    # A layer's examples while they become a table, and all layers' while a unit finds its share.
    units = max(1, mine.tokens // (mine.shard_contexts * job.corpus.context_length))
    at_once = max(3 * examples * row, 2 * layers * examples * row // units)
    tables = Part("examples", at_once, "mine.top or mine.bands")
    # Candidates and nearest ones, twice over, and a word of bits per feature and 64 places.
    pairs = layers * layers * features * mine.neighbours * 3
    counted = 16 * pairs + layers * features * tokens // 8
    # Firings are tallied in the first pass, pairs counted in the second.
    found = Part("counts and kept firings", max(tally, counted), setting)
    folds = Part("merged counts and kept firings", fold, setting)
    together = Part("co-firing pairs", pairs * 48)
    on_device, on_host = (model, exact, saes, working, found), (folds, tables, together)
    if shape.device == "cpu":
        larger = max((found, folds), key=lambda part: part.size)
        parts = (model, exact, saes, working, larger, tables, together)
        return [Phase("mining", "cpu", parts)]
    return [Phase("mining", shape.device, on_device), Phase("mining", "cpu", on_host)]


def check_room(job: Job, shape: Shape, room: Room) -> int:
    """Refuse a job that cannot fit; gives the largest need of any phase, bytes.

    Args:
        job: all settings.
        shape: of its model.
        room: how many bytes each device has.

    Raises:
        ConfigError: says which phase needs how much, of what, and what to change.
    """
    found = phases(job, shape)
    for phase in found:
        has = room(phase.device)
        if phase.size > has:
            largest = sorted(phase.parts, key=lambda part: -part.size)
            told = ", ".join(f"{part.what} {_told(part.size)}" for part in largest[:4])
            settings = [part.setting for part in largest if part.setting]
            raise ConfigError(
                f"{phase.name} needs {_told(phase.size)} of {phase.device} memory, and there are "
                f"{_told(has)}: {told}",
                f"lower {settings[0]} first, then {settings[1]}{_apart(job, phase)}",
            )
    return max(phase.size for phase in found)


def _apart(job: Job, phase: Phase) -> str:
    if phase.name != "training" or _layers_together(job) == 1:
        return ""
    return "; or raise engine.train_groups, so that fewer layers are trained at once"


def _told(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e7 else f"{size / 1e6:,.2f} MB"


def room_of(device: str) -> int:
    """Bytes of a device: all of the host's memory, or what is free of a CUDA device's."""
    if device == "cpu":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return int(free)
