"""Direct logit attribution: what each piece of the residual stream gives to a logit.

With the final norm's scale frozen a logit is linear in the residual stream at its position. Of a
model that caps its logits (Gemma 2) the logit before the cap is meant.
"""

import torch
from torch import Tensor

from atlas.lens.frozen import Internals, Layer, Norm
from atlas.lens.rdfa import Target

FROZEN = ("the final norm's scale",)


def logit_target(
    internals: Internals, norm: Norm, column: Tensor, bias: float, token: int, pos: int
) -> Target:
    """The logit of one token at one position, before any cap.

    Args:
        internals: of the prompt.
        norm: the final norm.
        column: `[d_model]`, the token's column of the unembedding.
        bias: the token's bias.
        token: the token.
        pos: the position that predicts.
    """
    read = torch.zeros_like(internals.embed)
    read[pos] = norm.pull(column, internals.final_scale[pos])
    const = read.new_zeros(len(read))
    const[pos] = norm.bias @ column
    return Target(len(internals.z), read, const, bias, float(internals.unembedded[pos, token]))


def head_logits(z: Tensor, layer: Layer, post_scale: Tensor, read: Tensor) -> Tensor:
    """What every head gives directly to one logit, `[n, head]`, scales frozen.

    Args:
        z: `[n, head, d_head]`, z of one layer at the positions that predict.
        layer: the layer's weights.
        post_scale: `[n, 1]`, of the norm behind W_O.
        read: `[n, d_model]`, what the logit reads of the residual stream: the unembedding's column
            pulled back through the final norm, by that norm's own scale (PAPER.md trap 14).
    """
    back = layer.post.pull(read, post_scale)
    return torch.einsum("nhd,hde,ne->nh", z.float(), layer.w_o, back)
