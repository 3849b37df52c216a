"""Training in groups of layers: each group a unit of work, done here or by a worker.

All groups read the same batches, so a layer becomes the same SAE in any group, on the CPU to the
bit. A unit leaves its last checkpoint; a finished group is one whose checkpoint has every step.
Two processes that do the same unit write the same.
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from atlas.errors import CorpusError
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from ingest import corpus as corpora
from ingest.config import Job
from ingest.corpus import Contexts, Corpus
from ingest.curve import Curve
from ingest.elsewhere import Where, load_model
from ingest.train.loop import Figures, Trained, train
from ingest.train.state import steps_done
from ingest.train.stream import Buffers, Stream, activations_per_buffer


class Fitted(NamedTuple):
    """SAEs by layer, with what training says of them."""

    saes: dict[int, Sae]
    limits: torch.Tensor  # [layer], sink norms
    tokens: int
    dead_share: list[float] | None = None  # None for SAEs that were not trained here
    dead_window: int = 0


class Group(NamedTuple):
    """Layers that are trained together."""

    layers: tuple[int, ...]
    path: Path
    """Its checkpoint."""
    model: str
    """Hash of the weights of the model it was planned for."""

    @property
    def name(self) -> str:
        """Such as `train 4, 5, 6`."""
        return f"train {', '.join(map(str, self.layers))}"


class Told(NamedTuple):
    """Who is told of a training as it goes on."""

    harvested: Callable[[int], None] = lambda _: None
    """The tokens of every forward pass of the model."""
    stepped: Callable[[Figures], None] = lambda _: None
    """The figures of every step."""


QUIET = Told()


def plan(job: Job, scratch: Path, model: str) -> list[Group]:
    """The groups of a job, done or not: neighbouring layers, as even as can be.

    Args:
        job: all settings.
        scratch: where checkpoints are kept.
        model: hash of the model's weights.
    """
    groups = []
    for layers in split(job.sae.layers, job.engine.train_groups):
        named = "-".join(map(str, layers))
        groups.append(Group(layers, scratch / f"train-{named}.safetensors", model))
    return groups


def split(layers: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Layers in at most `count` parts whose sizes differ by one at most, larger ones first."""
    size, more = divmod(len(layers), count)
    ends = [size * n + min(n, more) for n in range(count + 1)]
    parts = (tuple(layers[begin:end]) for begin, end in zip(ends, ends[1:], strict=False))
    return [part for part in parts if part]


def steps_of(job: Job) -> int:
    """Steps that every group takes."""
    return job.train.tokens // job.train.batch


def is_done(job: Job, group: Group) -> bool:
    """Whether the group's checkpoint has every step."""
    return steps_done(group.path) == steps_of(job)


def stream_of(job: Job, model: LanguageModel, contexts: Contexts, group: Group) -> Stream:
    """The batches of a group, whichever others there are.

    Raises:
        CorpusError: there are fewer than two batches of text.
    """
    buffers = buffers_of(job, contexts)
    layers, size = job.sae.layers, job.batch_contexts
    return Stream(model, contexts, layers, job.positions, buffers, size, group.layers)


def buffers_of(job: Job, contexts: Contexts) -> Buffers:
    """How the text is cut into buffers. Raises CorpusError as `stream_of`."""
    scored, count = scored_tokens(job, contexts), len(contexts.tokens)
    if scored < 2 * job.train.batch:
        raise CorpusError(
            f"corpus {job.corpus.name} leaves {scored:,} tokens to train on, fewer than two "
            f"batches of train.batch = {job.train.batch}",
            "give more text, or lower mine.tokens, evaluate.tokens or train.batch",
        )
    size = min(count, math.ceil(activations_per_buffer(job.train) * count / scored))
    return Buffers(size, job.train.repeats, job.train.batch, job.train.seed)


def scored_tokens(job: Job, contexts: Contexts) -> int:
    """Tokens that may be trained on, sinks not yet left out."""
    return int((contexts.length - job.positions.skip_first).clip(min=0).sum())


def run(
    job: Job,
    model: LanguageModel,
    contexts: Contexts,
    group: Group,
    folder: Path,
    told: Told = QUIET,
) -> tuple[Trained, torch.Tensor]:
    """Train a group, from its checkpoint on when there is one; its SAEs and the sinks' limits.

    Args:
        job: all settings.
        model: the language model.
        contexts: the text to train on.
        group: which layers.
        folder: of the run, where the curve is written.
        told: who is told of it.
    """
    stream = stream_of(job, model, contexts, group)
    curve = Curve(folder, group.layers, steps_of(job), job.train.batch)

    def stepped(figures: Figures) -> None:
        curve(figures)
        told.stepped(figures)

    trained = train(
        stream,
        job.sae,
        job.train,
        group.path,
        harvested=told.harvested,
        stepped=stepped,
        encode_dtype=model.dtype,
    )
    assert stream.limits is not None
    return trained, stream.limits


def run_elsewhere(where: Where, group: Group) -> None:
    """Train a group in a process that knows nothing yet; model and text it keeps for the next.

    Raises:
        ValueError: the model it finds is not the one the group was planned for.
    """
    job, model, corpus = _held(where)
    if model.info.weights_sha256 != group.model:
        _held.cache_clear()  # what is on disk may be right again by the next try
        raise ValueError("this worker sees another model")
    run(job, model, corpus.train, group, Path(where.folder))


@functools.lru_cache(maxsize=1)
def _held(where: Where) -> tuple[Job, LanguageModel, Corpus]:
    job = Job.model_validate_json(where.job)
    corpus = corpora.load(Path(where.folder) / "work" / "corpus.npz")
    return job, load_model(job, job.model.dtype), corpus


def collect(
    job: Job, model: LanguageModel, contexts: Contexts, groups: Sequence[Group], folder: Path
) -> Fitted:
    """The SAEs of groups that are done; arguments as in `run`."""
    found: dict[int, Sae] = {}
    dead: list[float] = []
    for group in groups:
        trained, limits = run(job, model, contexts, group, folder)
        found |= zip(group.layers, trained.saes, strict=True)
        dead += trained.dead_share
    return Fitted(found, limits, trained.tokens, dead, trained.dead_window)
