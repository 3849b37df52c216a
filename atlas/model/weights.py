"""The weights of a loaded model in the form that attribution reads: plain tensors, float32."""

from typing import Any

import torch
from torch import Tensor

from atlas import types
from atlas.lens.frozen import Layer, Norm, no_norm


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
