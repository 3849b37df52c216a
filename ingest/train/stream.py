"""The activations that training sees: a pure function of the seed and the place in the stream.

Contexts are taken in a seeded order, a buffer's worth at a time; the model runs once over each
buffer for all layers, and batches are drawn from it in seeded orders. Nothing is written to disk:
a resumed run recomputes the buffer it was in.

A stream may give only some of its layers. The positions it leaves out are those of all of them,
so that a layer sees the same batches whichever others are trained beside it.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.errors import CorpusError
from atlas.model import LanguageModel
from ingest.config import PositionsPart, TrainPart
from ingest.corpus import Contexts


class Place(NamedTuple):
    """Where in the stream the next batch is."""

    buffer: int
    batch: int  # within the buffer, its repeats counted through


class Buffers(NamedTuple):
    """How the stream is cut."""

    contexts: int  # per buffer
    repeats: int  # times a buffer is gone through
    batch: int  # activations per batch
    seed: int


def activations_per_buffer(part: TrainPart) -> float:
    """About `part.buffer_tokens`, so that all buffers are needed whole.

    A last one of which a few batches are used would be read in full. The margin is for sinks, which
    are found while reading, and for the batch that a buffer does not fill.
    """
    wanted = part.tokens / part.repeats
    buffers = math.ceil(wanted / (1.05 * part.buffer_tokens))
    return min(wanted / buffers * 1.02 + part.batch, 1.1 * part.buffer_tokens + part.batch)


def valid_positions(length: Tensor, width: int, skip_first: int) -> Tensor:
    """`[context, pos]`: positions that hold text and are not among the first ones left out."""
    positions = torch.arange(width, device=length.device)
    return (positions >= skip_first) & (positions < length[:, None])


def sink_limits(z: Tensor, valid: Tensor, sink_norm: float | None) -> Tensor:
    """`[layer]`: norm of z beyond which a position counts as an attention sink.

    Args:
        z: `[context, pos, layer, d_in]`.
        valid: `[context, pos]`.
        sink_norm: the limit in medians over valid positions; None for no limit.
    """
    return _limits(norms_of(z)[valid], sink_norm)


def _limits(norms: Tensor, sink_norm: float | None) -> Tensor:
    if sink_norm is None:
        return torch.full((norms.shape[-1],), torch.inf)
    return norms.median(dim=0).values.cpu() * sink_norm


def norms_of(z: Tensor) -> Tensor:
    """Lengths of z over its last dimension, in float32."""
    # A float32 copy of z could fill a GPU's memory.
    norms: Tensor = torch.linalg.vector_norm(z, dim=-1, dtype=torch.float32)
    return norms


def without_sinks(z: Tensor, valid: Tensor, limits: Tensor) -> Tensor:
    """`valid` less the positions whose z passes its layer's limit in any layer."""
    return _without(norms_of(z), valid, limits)


def _without(norms: Tensor, valid: Tensor, limits: Tensor) -> Tensor:
    return valid & (norms <= limits.to(norms.device)).all(dim=-1)


def harvest(
    model: LanguageModel, tokens: Tensor, layers: tuple[int, ...], batch_contexts: int
) -> Tensor:
    """z of several layers from one forward pass per batch, `[context, pos, layer, d_in]`."""
    parts = []
    for group in tokens.split(batch_contexts):
        z = model.z(group, layers)
        parts.append(torch.stack([z[layer].flatten(2) for layer in layers], dim=2))
    return torch.cat(parts)


class Stream:
    """Batches `[layer, batch, d_in]` of activations, from any place on.

    Args:
        model: the language model.
        contexts: the text.
        layers: all layers of the job; their sinks are left out.
        positions: which positions are left out.
        buffers: how the stream is cut.
        batch_contexts: contexts per forward pass.
        trained: those of `layers` whose activations are given; by default all.
    """

    def __init__(
        self,
        model: LanguageModel,
        contexts: Contexts,
        layers: tuple[int, ...],
        positions: PositionsPart,
        buffers: Buffers,
        batch_contexts: int,
        trained: tuple[int, ...] | None = None,
    ) -> None:
        self.model, self.layers, self.positions = model, layers, positions
        self.trained = layers if trained is None else trained
        self.tokens = torch.from_numpy(contexts.tokens)
        self.length = torch.from_numpy(contexts.length).long()
        self.buffers, self.batch_contexts = buffers, batch_contexts
        self.limits: Tensor | None = None
        """`[layer]`, of all layers, fixed on the first buffer; None until then."""
        self._kept: tuple[int, Tensor] | None = None
        self._drawn: tuple[int, Tensor] | None = None
        """The order of one round, which many buffers share."""

    def keep(self, number: int, pool: Tensor) -> None:
        """Hold a buffer that was just made until `buffer` is asked for it."""
        self._kept = (number, pool)

    def buffer(self, number: int, report: Callable[[int], None] = lambda _: None) -> Tensor:
        """Activations `[token, trained layer, d_in]` of one buffer, in the model's precision.

        Args:
            number: which buffer, from 0; past the last context it goes on with a new order.
            report: told the tokens of each forward pass.
        """
        if self._kept is not None and self._kept[0] == number:
            pool, self._kept = self._kept[1], None
            return pool
        rows = self._contexts_of(number)
        trained = [self.layers.index(layer) for layer in self.trained]
        parts, lengths = [], []
        for group in rows.split(self.batch_contexts):
            tokens = self.tokens[group].long()
            z = harvest(self.model, tokens, self.layers, self.batch_contexts)
            lengths.append(norms_of(z).flatten(0, 1))
            parts.append(z[:, :, trained].flatten(0, 1))
            report(z.shape[0] * z.shape[1])
        norms = torch.cat(lengths)
        width = self.tokens.shape[1]
        valid = valid_positions(self.length[rows], width, self.positions.skip_first)
        valid = valid.flatten().to(norms.device)
        if self.limits is None:
            self.limits = _limits(norms[valid], self.positions.sink_norm)
        return torch.cat(parts)[_without(norms, valid, self.limits)]

    def batches(
        self, start: Place, report: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[Place, Tensor]]:
        """Endless batches `[trained layer, batch, d_in]`, each with the place of the one after it.

        Raises:
            CorpusError: a buffer holds less than one batch.
        """
        number, first = start
        while True:
            pool = self.buffer(number, report)
            per_pass = len(pool) // self.buffers.batch
            if per_pass == 0:
                raise CorpusError(
                    f"a buffer of {self.buffers.contexts} contexts holds {len(pool)} activations, "
                    f"fewer than train.batch = {self.buffers.batch}",
                    "raise train.buffer_tokens or lower train.batch",
                )
            for batch in range(first, per_pass * self.buffers.repeats):
                rows = self._order(number, batch // per_pass, pool)
                at = batch % per_pass * self.buffers.batch
                picked = rows[at : at + self.buffers.batch]
                last = batch + 1 == per_pass * self.buffers.repeats
                after = Place(number + 1, 0) if last else Place(number, batch + 1)
                yield after, pool[picked].transpose(0, 1).contiguous()
            del pool
            number, first = number + 1, 0

    def _contexts_of(self, number: int) -> Tensor:
        """The contexts of a buffer: every round through the corpus takes each once."""
        total, count = len(self.tokens), self.buffers.contexts
        places = torch.arange(number * count, (number + 1) * count)
        rounds = range(int(places[0]) // total, int(places[-1]) // total + 1)
        return torch.cat([self._round(n)[places[places // total == n] % total] for n in rounds])

    def _round(self, number: int) -> Tensor:
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, _permutation(len(self.tokens), self.buffers.seed, number)
        return self._drawn[1]

    def _order(self, number: int, repeat: int, pool: Tensor) -> Tensor:
        """The order of a pass over a buffer, on its device: a copy per batch would wait for it."""
        key = (number, repeat, len(pool))
        if getattr(self, "_key", None) != key:
            rows = _permutation(len(pool), self.buffers.seed, number, repeat)
            self._key, self._rows = key, rows.to(pool.device)
        return self._rows


def _permutation(size: int, *seed: int) -> Tensor:
    return torch.randperm(size, generator=seeded(*seed))


def seeded(*parts: int) -> torch.Generator:
    """A source of randomness on the CPU, of its own for every sequence of numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part + 1) % (2**63)
    return torch.Generator().manual_seed(mixed)
