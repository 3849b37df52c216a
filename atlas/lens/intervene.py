"""Interventions on z: give a feature or a head another value and leave everything else in place.

The SAE's error stays where it is: only the feature's own part of z moves, along its decoder row.
"""

from typing import Literal

import torch
from torch import Tensor

from atlas.lens.sae import Sae, encode

How = Literal["zero", "mean", "resample", "set", "scale"]


def changed(old: Tensor, how: How, value: float, reference: Tensor) -> Tensor:
    """New activations `[n, ...]` for old ones.

    Args:
        old: `[n, ...]`, one row per position.
        how: zero; mean, of the reference; resample, row by row from the reference; set to `value`;
            scale by `value`.
        value: used by set and scale.
        reference: `[m, ...]` activations elsewhere; resample needs m >= n.
    """
    if how == "zero":
        return torch.zeros_like(old)
    if how == "mean":
        return reference.mean(0).expand_as(old)
    if how == "resample":
        return reference[: len(old)]
    if how == "set":
        return torch.full_like(old, value)
    return old * value


def move_feature(z: Tensor, sae: Sae, feature: int, pos: Tensor, new: Tensor) -> Tensor:
    """z with one feature at `new` activations and its error kept.

    Args:
        z: `[pos, d_in]`.
        sae: the SAE.
        feature: the feature's index.
        pos: `[n]`, positions to edit.
        new: `[n]` activations there.
    """
    step = new - encode(sae, z[pos])[:, feature]
    return z.index_add(0, pos, step[:, None] * sae.w_dec[feature])


def move_head(z: Tensor, head: int, pos: Tensor, new: Tensor) -> Tensor:
    """z with one head at `new` values.

    Args:
        z: `[pos, head, d_head]`.
        head: the head.
        pos: `[n]`, positions to edit.
        new: `[n, d_head]` values there.
    """
    z = z.clone()
    z[pos, head] = new
    return z
