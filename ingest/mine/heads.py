"""What heads attend to on the mined text: simple metrics from the patterns of the second pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

METRICS = (
    "previous_token",
    "self",
    "first_token",
    "duplicate_token",
    "induction",
    "entropy",
    "distance",
)
"""Attention to the token before, to itself, to position 0, to earlier copies of the token, and to
what followed them; entropy of the pattern in bits; mean distance in tokens."""


def context_means(pattern: Tensor, tokens: Tensor, valid: Tensor) -> NDArray[Any]:
    """Every metric of every head, averaged over the scored positions of each context.

    Args:
        pattern: `[context, head, dst, src]`, rows sum to 1.
        tokens: `[context, pos]`.
        valid: `[context, pos]`, the positions that count as destinations.

    Returns:
        `[context, head, metric]` float32; NaN for a context without scored positions.
    """
    pattern = pattern.float()
    tokens, valid = tokens.to(pattern.device), valid.to(pattern.device)
    parts = [(pattern * mask[:, None]).sum(-1) for mask in relations(tokens).values()]
    logs = torch.log2(pattern.clamp(min=torch.finfo(torch.float32).tiny))
    parts.append(-(pattern * logs).sum(-1))
    places = torch.arange(tokens.shape[1], device=pattern.device)
    parts.append((pattern * (places[:, None] - places).clamp(min=0)).sum(-1))
    weight = valid[:, None].float() / valid.sum(1).view(-1, 1, 1)
    means = torch.stack([(part * weight).sum(-1) for part in parts], dim=-1)
    return means.cpu().numpy()


def relations(tokens: Tensor) -> dict[str, Tensor]:
    """Which sources the first metrics count, by metric: `[context, dst, src]` each.

    Args:
        tokens: `[context, pos]`.
    """
    count, width = tokens.shape
    places = torch.arange(width, device=tokens.device)
    gap = places[:, None] - places  # [dst, src]
    same = (tokens[:, :, None] == tokens[:, None, :]) & (gap > 0)
    followed = torch.zeros_like(same)
    followed[:, :, 1:] = same[:, :, :-1] & (gap[:, 1:] >= 0)
    masks = (gap == 1, gap == 0, places == 0, same, followed)
    return {
        name: mask.expand(count, width, width)
        for name, mask in zip(METRICS[:5], masks, strict=True)
    }


def metric_table(model: str, means: Mapping[int, NDArray[Any]], run: str) -> dict[str, Any]:
    """Columns of `head_metric`: the mean over contexts with its 95 % interval.

    Args:
        model: the model's id.
        means: layer to `[context, head, metric]`.
        run: the run that measured.
    """
    rows: list[dict[str, Any]] = []
    for layer, values in means.items():
        values = values[~np.isnan(values).any((1, 2))].astype(np.float64)
        n = len(values)
        mean = values.mean(0)
        half = 1.96 * values.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
        for head, metric in np.ndindex(*mean.shape):
            rows.append(
                {
                    "model": model,
                    "layer": layer,
                    "head": head,
                    "metric": METRICS[metric],
                    "condition": "corpus",
                    "value": mean[head, metric],
                    "low": mean[head, metric] - half[head, metric],
                    "high": mean[head, metric] + half[head, metric],
                    "n": n,
                    "run": run,
                }
            )
    return {name: [row[name] for row in rows] for name in rows[0]}
