"""What attribution works on: one prompt's internals, and the weights that connect them.

Two things make a transformer linear from the residual stream to a feature: attention patterns and
norm scales are taken as they were on this prompt (frozen). `Norm` is a norm in that sense: `apply`
maps a piece of its input to that piece's part of its output, `pull` is the transpose, which maps
what reads the output to what reads the input.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Norm(NamedTuple):
    """LayerNorm or RMSNorm over the last axis; its scale comes with each prompt."""

    weight: Tensor  # [d]
    bias: Tensor  # [d]
    centred: bool  # LayerNorm takes the mean away

    def apply(self, x: Tensor, scale: Tensor) -> Tensor:
        """The part of the output, `[..., d]`, that `x` `[..., d]` makes; the bias left out.

        Args:
            x: a piece of the input, or all of it.
            scale: `[..., 1]`, the frozen scale.
        """
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x / scale * self.weight

    def pull(self, read: Tensor, scale: Tensor) -> Tensor:
        """`[..., d]` such that piece . pull(read) = apply(piece) . read for every piece."""
        read = read * self.weight / scale
        return read - read.mean(-1, keepdim=True) if self.centred else read


def no_norm(width: int, device: str | torch.device = "cpu") -> Norm:
    """The norm that changes nothing, under scales of 1."""
    return Norm(torch.ones(width, device=device), torch.zeros(width, device=device), False)


class Layer(NamedTuple):
    """Weights of one attention layer on the value side, float32."""

    norm: Norm  # before the attention
    w_v: Tensor  # [kv_head, d_model, d_head]
    b_v: Tensor  # [kv_head, d_head]
    w_o: Tensor  # [head, d_head, d_model]
    b_o: Tensor  # [d_model]
    post: Norm  # between W_O and the residual stream (Gemma 2, OLMo 2)


class Internals(NamedTuple):
    """What one forward pass computed on one prompt, float32."""

    tokens: Tensor  # [pos]
    embed: Tensor  # [pos, d_model], what enters layer 0, the position left out
    position: Tensor  # [pos, d_model], learned positions; zeros where there are none
    attn_out: Tensor  # [layer, pos, d_model], as added to the residual stream
    mlp_out: Tensor  # [layer, pos, d_model], likewise
    z: Tensor  # [layer, pos, head, d_head]
    v: Tensor  # [layer, pos, kv_head, d_head]
    pattern: Tensor  # [layer, head, dst, src]
    norm_scale: Tensor  # [layer, pos, 1], of Layer.norm
    post_scale: Tensor  # [layer, pos, 1], of Layer.post
    final_scale: Tensor  # [pos, 1], of the norm before the unembedding
    unembedded: Tensor  # [pos, vocab], the logits before any cap

    def residual(self, layer: int) -> Tensor:
        """`[pos, d_model]`: the residual stream entering `layer`; n_layers means the end."""
        written = self.attn_out[:layer].sum(0) + self.mlp_out[:layer].sum(0)
        return self.embed + self.position + written


def objection(
    internals: Internals, layers: Sequence[Layer], kv_head: Tensor, tolerance: float
) -> str | None:
    """Why this model's attention is not the linear map that attribution takes it for, or None.

    Rebuilds z from pattern and values, the values from the residual stream, the attention's output
    from z, and the residual stream from everything written into it.

    Args:
        internals: of any prompt.
        layers: every layer's weights.
        kv_head: `[head]`, the key/value head that each query head reads.
        tolerance: relative error that is still rounding.
    """
    for n, layer in enumerate(layers):
        x = internals.residual(n)
        normed = layer.norm.apply(x, internals.norm_scale[n]) + layer.norm.bias
        v = torch.einsum("sd,gde->sge", normed, layer.w_v) + layer.b_v
        z = torch.einsum("hds,she->dhe", internals.pattern[n], internals.v[n][:, kv_head])
        out = torch.einsum("she,hed->sd", internals.z[n], layer.w_o) + layer.b_o
        out = layer.post.apply(out, internals.post_scale[n]) + layer.post.bias
        for rebuilt, real, what in (
            (v, internals.v[n], "its values are not a linear map of the residual stream"),
            (z, internals.z[n], "its attention output is not pattern times values"),
            (out, internals.attn_out[n], "what its heads write is not a linear map of their z"),
        ):
            if (rebuilt - real).norm() > tolerance * real.norm():
                return f"layer {n}: {what}"
    return None
