"""What each head is worth: the loss with its z set to its mean, against the untouched model.

Only scored positions are replaced. Each head's own pass starts at its layer.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ingest.studies.study import Arrays, Batch, Study

CONTEXTS = 4
"""Contexts at a time."""


def costs(study: Study, means: Tensor, contexts: slice) -> Iterator[Arrays]:
    """Losses summed per context, for each batch of some contexts of the study's text.

    What one layer of one batch gives is kept: it is the unit that a stopped study does not lose.

    Args:
        study: what to run.
        means: `[layer, head, d_head]`, what takes a head's place.
        contexts: which contexts; none gives nothing.

    Returns:
        Arrays `clean` `[context]`, `ablated` `[layer, head, context]` (both sums, nats) and
        `predicted` `[context]`, the tokens that they are over.
    """
    for batch in study.batches("ablate", contexts, CONTEXTS):
        layers = [
            study.keep(
                f"ablate-{batch.first:07d}-{layer:03d}",
                partial(_layer, study, means[layer], layer, batch),
            )["sums"]
            for layer in range(len(means))
        ]
        yield {
            "clean": layers[0][0],
            "ablated": np.stack([sums[1:] for sums in layers]),
            "predicted": _predicted(batch).sum(1).numpy(),
        }


def _predicted(batch: Batch) -> Tensor:
    """`[context, pos - 1]`: scored positions whose next token is text."""
    places = torch.arange(batch.tokens.shape[1] - 1) + 1
    return batch.valid[:, :-1] & (places < batch.length[:, None])


def _layer(study: Study, means: Tensor, layer: int, batch: Batch) -> Arrays:
    """Summed losses `[1 + head, context]`: untouched, then without each head of a layer."""
    edits: list[dict[int, Callable[[Tensor], Tensor]]] = [{}]
    edits += [
        {layer: partial(_without, head, mean, batch.valid)} for head, mean in enumerate(means)
    ]
    losses, predicted = study.model.losses_each(batch.tokens, edits), _predicted(batch)
    sums = torch.stack([(loss.cpu() * predicted).sum(1).double() for loss in losses])
    return {"sums": sums.numpy()}


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
