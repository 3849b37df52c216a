"""What heads attend to: sums over each context's destinations, from attention patterns.

Every score is a ratio of two sums, so that scores over many contexts are ratios of the sums of
those, each destination counting alike (`ratio`).
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingest.mine.heads import METRICS, relations

TEXT = "corpus"
"""Condition: all scored destinations of held-out text."""
ELIGIBLE = "corpus_eligible"
"""Condition: destinations whose token occurred before, which alone can score."""
WITHOUT_FIRST = "corpus_without_first"
"""Condition: shares of the attention that does not go to position 0, where sinks sit."""
REPEATED = "repeated_random"
"""Condition: second halves of sequences of random tokens that are repeated once."""

COLUMNS = (
    *((metric, TEXT) for metric in METRICS),
    ("duplicate_token", ELIGIBLE),
    ("induction", ELIGIBLE),
    *((metric, WITHOUT_FIRST) for metric in METRICS if metric not in ("first_token", "entropy")),
)
"""Metric and condition of every score on text."""
ON_REPEATED = ("previous_token", "self", "first_token", "duplicate_token", "induction", "entropy")
EDGES = (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025, 2**15)
"""Distances at which bins of the histogram begin."""


class Sums(NamedTuple):
    """Of some contexts."""

    over: Tensor  # [context, head, column], what is counted
    under: Tensor  # [context, head, column], what it is a share of
    bins: Tensor  # [context, head, bin], attention to position 0, then by distance
    positions: Tensor  # [context], scored destinations


class Strongest(NamedTuple):
    """The strongest source of every destination, position 0 left out."""

    weight: Tensor  # [context, head, dst], 0 where there is none
    src: Tensor  # [context, head, dst]


def measure(pattern: Tensor, tokens: Tensor, valid: Tensor) -> Sums:
    """Sums of every score on text.

    Args:
        pattern: `[context, head, dst, src]`, rows sum to 1.
        tokens: `[context, pos]`.
        valid: `[context, pos]`, the positions that count as destinations.
    """
    pattern = pattern.float()
    tokens, valid = tokens.to(pattern.device), valid.to(pattern.device)
    scored = valid[:, None].float()  # [context, 1, dst]
    gap = gaps(tokens.shape[1], pattern.device)
    masks = relations(tokens)
    seen = masks["duplicate_token"].any(-1)[:, None] * scored
    rest = pattern[..., 1:]
    beside = rest.sum(-1)
    values = {name: (pattern * mask[:, None]).sum(-1) for name, mask in masks.items()}
    values["entropy"] = entropy(pattern)
    values["distance"] = (pattern * gap.clamp(min=0)).sum(-1)
    inner = {name: (rest * mask[:, None, :, 1:]).sum(-1) for name, mask in masks.items()}
    inner["distance"] = (rest * gap[:, 1:].clamp(min=0)).sum(-1)
    over, under = [], []
    for metric, condition in COLUMNS:
        weight = seen if condition == ELIGIBLE else scored
        over.append(((inner if condition == WITHOUT_FIRST else values)[metric] * weight).sum(-1))
        base = beside if condition == WITHOUT_FIRST else torch.ones_like(beside)
        under.append((base * weight).sum(-1))
    return Sums(
        torch.stack(over, -1),
        torch.stack(under, -1),
        histogram(pattern, scored),
        valid.sum(1),
    )


def histogram(pattern: Tensor, scored: Tensor) -> Tensor:
    """`[context, head, bin]`: attention to position 0, then to the others by distance."""
    gap = gaps(pattern.shape[-1], pattern.device)
    edges = torch.tensor(EDGES, device=pattern.device)
    place = torch.bucketize(gap.clamp(min=0), edges, right=True) - 1
    place[:, 0] = -1
    spread = torch.nn.functional.one_hot(place + 1, len(EDGES)).float()  # [dst, src, bin]
    counted = (pattern * scored[..., None]).flatten(2)  # [context, head, dst * src]
    return counted @ spread.flatten(0, 1)


def repeated(pattern: Tensor, start: int, length: int) -> Tensor:
    """Scores on sequences of random tokens repeated once, `[sequence, head, metric]`.

    A destination is a token of the second copy; its duplicate is the same token of the first one,
    and induction is attention to the token after that (Olsson et al. 2022, prefix matching).

    Args:
        pattern: `[sequence, head, dst, src]`.
        start: position where the first copy begins.
        length: tokens of one copy.
    """
    dst = torch.arange(start + length, start + 2 * length, device=pattern.device)
    rows = pattern[:, :, dst].float()
    sources = {
        "previous_token": dst - 1,
        "self": dst,
        "first_token": torch.zeros_like(dst),
        "duplicate_token": dst - length,
        "induction": dst - length + 1,
    }
    each = torch.arange(length, device=pattern.device)
    values = {name: rows[:, :, each, src].mean(-1) for name, src in sources.items()}
    values["entropy"] = entropy(rows).mean(-1)
    return torch.stack([values[name] for name in ON_REPEATED], -1)


def strongest(pattern: Tensor, valid: Tensor) -> Strongest:
    """For every scored destination its strongest source that is not position 0."""
    weight, src = pattern[..., 1:].float().max(-1)
    weight = weight * valid[:, None].to(weight.device)
    return Strongest(weight, src + 1)


def entropy(pattern: Tensor) -> Tensor:
    """Entropy in bits of the last axis."""
    logs = torch.log2(pattern.clamp(min=torch.finfo(torch.float32).tiny))
    return -(pattern * logs).sum(-1)


def gaps(width: int, device: torch.device) -> Tensor:
    """`[dst, src]`: distance from source to destination, negative for later sources."""
    places = torch.arange(width, device=device)
    return places[:, None] - places


class Ratios(NamedTuple):
    """Ratios of sums with 95 % intervals; NaN where nothing was counted."""

    value: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]


def ratio(over: NDArray[Any], under: NDArray[Any]) -> Ratios:
    """Sum over contexts of `over` by that of `under`, `[context, ...]` both.

    The interval takes contexts as the independent units: the linearised variance of a ratio,
    sum (over_c - value under_c)^2 c / (c - 1) / (sum under)^2, by the normal approximation.
    """
    over, under = over.astype(np.float64), under.astype(np.float64)
    total, count = under.sum(0), len(under)
    known = total > 0
    value = np.divide(over.sum(0), total, out=np.full(total.shape, np.nan), where=known)
    if count < 2:
        return Ratios(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    spread = np.square(over - value * under).sum(0) * count / (count - 1)
    half = np.divide(1.96 * np.sqrt(spread), total, out=np.full(total.shape, np.nan), where=known)
    return Ratios(value, value - half, value + half)
