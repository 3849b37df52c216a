"""What each head is worth: the loss with its z set to its mean, against the untouched model.

Only scored positions are replaced. One forward pass serves all heads up to their layers, and each
head's own pass starts at its layer.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ingest.studies.study import Arrays, Batch, Study

CONTEXTS = 2
"""Contexts at a time: a batch is the unit that a stopped study does not lose."""


def costs(study: Study, means: Tensor, contexts: slice) -> Iterator[Arrays]:
    """Losses summed per context, for each batch of some contexts of the study's text.

    Args:
        study: what to run.
        means: `[layer, head, d_head]`, what takes a head's place.
        contexts: which contexts.

    Returns:
        Arrays `clean` `[context]`, `ablated` `[layer, head, context]` (both sums, nats) and
        `predicted` `[context]`, the tokens that they are over.
    """
    return study.each("ablate", partial(_batch, study, means), contexts, CONTEXTS)


def _batch(study: Study, means: Tensor, batch: Batch) -> Arrays:
    layers, heads, _ = means.shape
    places = torch.arange(batch.tokens.shape[1] - 1) + 1
    predicted = batch.valid[:, :-1] & (places < batch.length[:, None])
    edits: list[dict[int, Callable[[Tensor], Tensor]]] = [{}]
    for layer in range(layers):
        for head in range(heads):
            edits.append({layer: partial(_without, head, means[layer, head], batch.valid)})
    losses = study.model.losses_each(batch.tokens, edits)
    sums = torch.stack([(loss.cpu() * predicted).sum(1).double() for loss in losses]).numpy()
    ablated = sums[1:].reshape(layers, heads, -1)
    return {"clean": sums[0], "ablated": ablated, "predicted": predicted.sum(1).numpy()}


def _without(head: int, mean: Tensor, valid: Tensor, z: Tensor) -> Tensor:
    """z `[batch, pos, head, d_head]` with one head's part replaced where `valid`."""
    edited = z.clone()
    where = valid.to(z.device)
    edited[:, :, head][where] = mean.to(z.device, z.dtype)
    return edited


def joined(batches: list[Arrays]) -> tuple[np.ndarray, np.ndarray]:
    """Extra loss and tokens predicted, `[context, layer, head]` both."""
    extra = np.concatenate([one["ablated"] - one["clean"] for one in batches], -1)
    predicted = np.concatenate([one["predicted"] for one in batches])
    over = np.moveaxis(extra, -1, 0)
    return over, np.broadcast_to(predicted[:, None, None], over.shape)
