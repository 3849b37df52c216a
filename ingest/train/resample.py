"""Resampling: dead features begin again at inputs that are rebuilt badly (PAPER.md section 3.2).

The "anthropic" scheme of the paper: inputs are drawn without replacement with probability in
proportion to their squared loss; the decoder row becomes the input less b_dec, of unit norm, the
encoder row the same direction at a fifth of the live encoders' mean norm, its bias 0, and Adam's
moments of these weights 0.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.train.params import Params

SCALE = 0.2


class Draw(NamedTuple):
    """The inputs of one layer with the largest keys so far."""

    keys: Tensor  # [drawn], descending
    inputs: Tensor  # [drawn, d_in], x - b_dec


def losses(params: Params, layer: int, centred: Tensor) -> Tensor:
    """Squared error `[n]` of each input x - b_dec `[n, d_in]` under a ReLU SAE."""
    acts = torch.addmm(params.b_enc[layer], centred, params.w_enc[layer].T).relu()
    return (centred - acts @ params.w_dec[layer]).square().sum(-1)


def draw(so_far: Draw, centred: Tensor, loss: Tensor, count: int, seed: torch.Generator) -> Draw:
    """Fold a batch into a draw without replacement, probability in proportion to loss^2.

    The largest `count` of log(weight) + Gumbel noise are such a draw (Gumbel-top-k), so no input
    has to be kept that is not in it.
    """
    uniform = torch.rand(len(loss), generator=seed).clamp(min=1e-30).to(loss.device)
    keys = 2 * loss.clamp(min=1e-30).log() - (-uniform.log()).log()
    keys, inputs = torch.cat([so_far.keys, keys]), torch.cat([so_far.inputs, centred])
    best = keys.topk(min(count, len(keys)))
    return Draw(best.values, inputs[best.indices])


def replace(params: Params, moments: Iterable[Params], layer: int, dead: Tensor, new: Draw) -> None:
    """Put drawn inputs in the place of dead features; those beyond the draw stay as they are.

    Args:
        params: weights, written to.
        moments: Adam's of the same shapes, written to.
        layer: which.
        dead: `[d_sae]`, bool.
        new: inputs to take.
    """
    norms = params.w_enc[layer][~dead].norm(dim=-1)
    size = norms.mean() if len(norms) else norms.new_ones(())
    which = dead.nonzero().squeeze(-1)[: len(new.inputs)]
    rows = torch.nn.functional.normalize(new.inputs, dim=-1)
    params.w_dec[layer, which] = rows
    params.w_enc[layer, which] = rows * size * SCALE
    params.b_enc[layer, which] = 0.0
    for moment in moments:
        for part in (moment.w_enc, moment.b_enc, moment.w_dec):
            part[layer, which] = 0.0
