"""An SAE as somebody else published it, turned into ours."""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.errors import ConfigError
from atlas.lens.sae import Sae


class Published(NamedTuple):
    """One SAE of another project on our footing: no centring, no scaling, unit of raw z."""

    sae: Sae
    layer: int
    architecture: str
    """As its files name it."""
    folded: bool
    """Whether it was trained on z of weights that TransformerLens had processed: without c_V."""


def folded(
    w_enc: Tensor,
    b_enc: Tensor,
    w_dec: Tensor,
    b_dec: Tensor,
    threshold: Tensor | None = None,
    k: int = 0,
    *,
    tied: bool,
    scale: float = 1.0,
) -> Sae:
    """An SAE on raw z from the usual form, acts = f((s x - b_dec) @ w_enc + b_enc).

    Args:
        w_enc: `[d_in, d_sae]`.
        b_enc: `[d_sae]`.
        w_dec: `[d_sae, d_in]`.
        b_dec: `[d_in]`.
        threshold: `[d_sae]`, or None for ReLU and TopK.
        k: features that fire per token, for TopK.
        tied: whether b_dec is subtracted from the input.
        scale: s, by which inputs are multiplied and outputs divided.
    """
    w_enc, b_enc, w_dec, b_dec = (part.float() for part in (w_enc, b_enc, w_dec, b_dec))
    if tied:
        b_enc = b_enc - b_dec @ w_enc
    limit = torch.zeros_like(b_enc) if threshold is None else threshold.float().clamp(min=0)
    return Sae((w_enc * scale).T.contiguous(), b_enc, w_dec / scale, b_dec / scale, limit, k)


def layer_of(hook: object, where: object) -> int:
    """The layer of a hook's name such as `blocks.5.attn.hook_z`.

    Raises:
        ConfigError: it is not the attention output before W_O.
    """
    parts = str(hook).split(".")
    if len(parts) != 4 or not parts[1].isdigit() or parts[2:] != ["attn", "hook_z"]:
        raise ConfigError(
            f"the SAE in {where} reads {hook}", "only SAEs on blocks.N.attn.hook_z can be used"
        )
    return int(parts[1])
