"""Means and ratios of means with intervals: what is resampled is the independent unit, whole."""

from typing import NamedTuple

import torch
from torch import Tensor

RESAMPLES = 1000
LEAST = 5
"""Units below which no interval is given: resampling so few says nothing."""


class Estimate(NamedTuple):
    """A figure per cell with its 95 % percentile interval; NaN where it is not known."""

    value: Tensor  # [...]
    low: Tensor  # [...]
    high: Tensor  # [...]
    n: int  # units


def mean(values: Tensor, generator: torch.Generator) -> Estimate:
    """Mean over the first axis.

    Args:
        values: `[unit, ...]`; a unit is a sequence, a window or a prompt.
        generator: draws the resamples.
    """
    return ratio(values, torch.ones_like(values), generator)


def ratio(above: Tensor, below: Tensor, generator: torch.Generator) -> Estimate:
    """Mean of `above` over mean of `below`, both over the first axis and resampled together.

    Args:
        above: `[unit, ...]`.
        below: the same shape.
        generator: draws the resamples.
    """
    n, shape = len(above), above.shape[1:]
    if not n:
        nothing = torch.full(shape, torch.nan, dtype=torch.float64)
        return Estimate(nothing, nothing, nothing, 0)
    above, below = above.double().reshape(n, -1), below.double().reshape(n, -1)
    value = (above.mean(0) / below.mean(0)).reshape(shape)
    if n < LEAST:
        unknown = torch.full_like(value, torch.nan)
        return Estimate(value, unknown, unknown, n)
    drawn = torch.randint(n, (RESAMPLES, n), generator=generator)
    weights = torch.zeros(RESAMPLES, n, dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.ones_like(weights))
    low, high = interval((weights @ above) / (weights @ below))
    return Estimate(value, low.reshape(shape), high.reshape(shape), n)


def interval(drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Where the middle 95 % of resampled figures `[resample, ...]` lie."""
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype), dim=0)
    return low, high
