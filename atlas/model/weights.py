"""The weights of a loaded model in the form that attribution reads: plain tensors, float32."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atlas import types
from atlas.errors import ModelError
from atlas.lens.frozen import Layer, Norm, no_norm
from atlas.lens.qk import Scoring, Side


def read_layer(block: Any, info: types.Model) -> Layer:
    """Value-side weights of one block of transformer_lens."""
    attn = block.attn
    w_v, w_o = attn.W_V.detach().float(), attn.W_O.detach().float()
    return Layer(
        read_norm(getattr(block, "ln1", None), like=w_o),
        w_v,
        _bias(attn.b_V, w_v, info.n_kv_heads, info.d_head),
        w_o,
        _bias(attn.b_O, w_o, info.d_model),
        read_norm(getattr(block, "ln1_post", None), like=w_o),
    )


def read_qk(block: Any) -> tuple[Tensor, Tensor]:
    """Query weights `[head, d_model, d_head]` and key weights `[kv_head, d_model, d_head]`.

    The weight of a norm on queries or keys is multiplied in; its scale, one number per position
    and head, is left out, and so is any rotary position.
    """
    attn = block.attn
    return (
        _normed(attn.W_Q.detach().float(), getattr(attn, "q_norm", None)),
        _normed(attn.W_K.detach().float(), getattr(attn, "k_norm", None)),
    )


def _normed(w: Tensor, norm: Any) -> Tensor:
    parts = [_head_norm(norm, w[0], head) for head in range(len(w))]
    one = torch.ones(1, device=w.device)
    return torch.stack([part.apply(own, one) for part, own in zip(parts, w, strict=True)])


ROTARY = ("attn.hook_cos", "attn.hook_sin")
QK_NORMS = ("attn.q_norm.hook_scale", "attn.k_norm.hook_scale")
"""Hooks of a block that scoring needs, where its family has them."""
UNSCALED = {"gpt_neo"}
"""Families that do not divide scores by the root of d_head."""


def read_scoring(
    block: Any, info: types.Model, head: int, taken: Mapping[str, Tensor], before_scale: Tensor
) -> Scoring:
    """How one head of a block scores on one prompt.

    Args:
        block: of transformer_lens.
        info: of the model.
        head: the query head.
        taken: what passed the hooks ROTARY and QK_NORMS, as far as the family has them.
        before_scale: `[pos, 1]`, of the norm before the attention.

    Raises:
        ModelError: queries or keys are normed across heads in a way that is no frozen scale.
    """
    attn, kv_head = block.attn, head // (info.n_heads // info.n_kv_heads)
    none = before_scale.new_zeros(len(before_scale), 0)
    cos, sin = (taken[name][0].float() if name in taken else none for name in ROTARY)

    def side(letter: str, scale: str, index: int) -> Side:
        weights = getattr(attn, f"W_{letter}").detach().float()
        bias = _bias(getattr(attn, f"b_{letter}"), weights, len(weights), info.d_head)
        norm = _head_norm(getattr(attn, f"{letter.lower()}_norm", None), weights[0], index)
        own_scale = _head_scale(taken.get(scale), before_scale, index)
        return Side(weights[index], bias[index], norm, own_scale, cos, sin)

    scaling = getattr(attn.original_component, "scaling", None) or info.d_head**-0.5
    return Scoring(
        read_norm(getattr(block, "ln1", None), like=attn.W_O[0]),
        before_scale,
        side("Q", QK_NORMS[0], head),
        side("K", QK_NORMS[1], kv_head),
        1.0 if info.family in UNSCALED else float(scaling),
        getattr(attn.original_component, "attn_logit_softcapping", None),
    )


def _head_norm(norm: Any, like: Tensor, head: int) -> Norm:
    """One head's part of a norm over each head (Qwen 3) or over all heads at once (OLMo 2)."""
    width = like.shape[-1]
    if norm is None or norm.original_component is None:
        return no_norm(width, like.device)
    whole = read_norm(norm, like=norm.original_component.weight)
    if len(whole.weight) == width:
        return whole
    if whole.centred:
        raise ModelError("queries are centred across heads", "take another family")
    weight, bias = whole.weight.view(-1, width), whole.bias.view(-1, width)
    return Norm(weight[head], bias[head], whole.centred)


def _head_scale(scale: Tensor | None, like: Tensor, head: int) -> Tensor:
    """`[pos, 1]` of one head, from `[1, pos, 1]` over all heads or `[1, head, pos, 1]`."""
    if scale is None:
        return torch.ones_like(like)
    return (scale[0] if scale.ndim == 3 else scale[0, head]).float()


def read_norm(norm: Any, like: Tensor) -> Norm:
    """A norm of transformer_lens, or the one that does nothing for None.

    Args:
        norm: the norm.
        like: any tensor with the norm's width last, on its device.
    """
    none = no_norm(like.shape[-1], like.device)
    if norm is None or isinstance(norm.original_component, torch.nn.Identity):
        return none
    weight = getattr(norm.original_component, "weight", None)
    bias = getattr(norm.original_component, "bias", None)
    offset = float(norm.uses_weight_offset)  # Gemma keeps weights around 0, not 1
    return Norm(
        none.weight if weight is None else weight.detach().float() + offset,
        none.bias if bias is None else bias.detach().float(),
        not norm.uses_rms_norm,
    )


def _bias(bias: Tensor | None, like: Tensor, *shape: int) -> Tensor:
    if bias is None:
        return torch.zeros(shape, device=like.device)
    return bias.detach().float().view(shape)
