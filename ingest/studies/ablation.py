"""What each head is worth: the loss with its z set to its mean, against the untouched model.

Only scored positions are replaced. Layers below a head are computed once for all heads, and each
head's own pass starts at its layer. It is by far the longest part of the study of heads, so it runs
in whatever precision the machine is quick with, and some heads are run again in float32.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.model import LanguageModel
from ingest.studies.study import Arrays, Batch, Study

CONTEXTS, LAYERS = 4, 3
"""Contexts and layers at a time; what they give is kept, so this much is lost where a study is
stopped."""
CHECKED = 8
"""Heads that are run again in float32, on the first contexts."""


def costs(study: Study, model: LanguageModel, means: Tensor, contexts: slice) -> Iterator[Arrays]:
    """Losses summed per context, for each batch of some contexts of the study's text.

    Args:
        study: what to run.
        model: the study's model, in the precision to run it in.
        means: `[layer, head, d_head]`, what takes a head's place.
        contexts: which contexts; none gives nothing.

    Returns:
        Arrays `clean` `[context]`, `ablated` `[layer, head, context]` (both sums, nats) and
        `predicted` `[context]`, the tokens that they are over.
    """
    layers, n_heads = means.shape[:2]
    for batch in study.batches("ablate", contexts, CONTEXTS):
        parts = []
        for first in range(0, layers, LAYERS):
            some = range(first, min(first + LAYERS, layers))
            heads = [(layer, head) for layer in some for head in range(n_heads)]
            name = f"ablate-{batch.first:07d}-{first:03d}"
            parts.append(study.keep(name, partial(_sums, model, means, heads, batch))["sums"])
        yield {
            "clean": parts[0][0],
            "ablated": np.concatenate([sums[1:] for sums in parts]).reshape(layers, n_heads, -1),
            "predicted": _predicted(batch).sum(1).numpy(),
        }


class Check(NamedTuple):
    """How far the costs of some heads are from those in float32, nats per token."""

    heads: int
    tokens: int
    mean: float
    largest: float


def checked(
    study: Study, means: Tensor, contexts: slice, measured: list[Arrays], layers: list[int]
) -> Check:
    """The costliest head of each of some layers again in float32, on the first contexts.

    Args:
        study: what to run.
        means: `[layer, head, d_head]`.
        contexts: those that were run.
        measured: what `costs` gave.
        layers: the layers whose costliest head is run again.
    """
    first = measured[0]
    extra, predicted = first["ablated"] - first["clean"], first["predicted"].sum()
    heads = [(layer, int(np.abs(extra[layer].sum(-1)).argmax())) for layer in layers]
    batch = next(study.batches("check", contexts, CONTEXTS))
    model = study.model_in("float32")
    sums = study.keep("ablate-check", partial(_sums, model, means, heads, batch))["sums"]
    again = (sums[1:] - sums[0]).sum(-1) / predicted
    before = np.array([extra[one].sum() for one in heads]) / predicted
    apart = np.abs(again - before)
    return Check(len(heads), int(predicted), float(apart.mean()), float(apart.max()))


def _predicted(batch: Batch) -> Tensor:
    """`[context, pos - 1]`: scored positions whose next token is text."""
    places = torch.arange(batch.tokens.shape[1] - 1) + 1
    return batch.valid[:, :-1] & (places < batch.length[:, None])


def _sums(
    model: LanguageModel, means: Tensor, heads: list[tuple[int, int]], batch: Batch
) -> Arrays:
    """Summed losses `[1 + head, context]`: untouched, then without each of `heads`."""
    edits: list[dict[int, Callable[[Tensor], Tensor]]] = [{}]
    edits += [
        {layer: partial(_without, head, means[layer, head], batch.valid)} for layer, head in heads
    ]
    predicted = _predicted(batch)
    losses = model.losses_each(batch.tokens, edits)
    sums = torch.stack([(loss.cpu() * predicted).sum(1).double() for loss in losses])
    return {"sums": sums.numpy()}


def _without(head: int, mean: Tensor, valid: Tensor, z: Tensor) -> Tensor:
    """z `[batch, pos, head, d_head]` with one head's part replaced where `valid`."""
    edited = z.clone()
    where = valid.to(z.device)
    edited[:, :, head][where] = mean.to(z.device, z.dtype)
    return edited


def joined(batches: list[Arrays]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Extra loss and tokens predicted, `[context, layer, head]` both."""
    extra = np.concatenate([one["ablated"] - one["clean"] for one in batches], -1)
    predicted = np.concatenate([one["predicted"] for one in batches])
    over = np.moveaxis(extra, -1, 0)
    return over, np.broadcast_to(predicted[:, None, None], over.shape)
