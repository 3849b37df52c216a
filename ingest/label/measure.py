"""From judgements to a score with its interval, and to accuracy per activation decile."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ingest.wilson import wilson

LEAST = 3
"""Firings and silent places that a score needs at least."""


class Score(NamedTuple):
    """How well a label predicted."""

    score: float
    low: float
    high: float
    n: int
    deciles: tuple[float | None, ...]  # of 10, weak to strong; None where none was judged
    decile_n: tuple[int, ...]


class TooFew(Exception):
    """There is too little to judge a label by."""


def balanced(fires: Sequence[bool], said: Sequence[float], deciles: Sequence[int | None]) -> Score:
    """Balanced accuracy: the mean of the shares recognised among firings and among silent places.

    Its 95 % interval joins the Wilson intervals of the two shares (Newcombe's method for a sum of
    independent proportions), so that few judgements give a wide one.

    Raises:
        TooFew: fewer than LEAST of either.
    """
    right = [(one > 0.5) is truth for truth, one in zip(fires, said, strict=True)]
    hits = [ok for ok, truth in zip(right, fires, strict=True) if truth]
    passes = [ok for ok, truth in zip(right, fires, strict=True) if not truth]
    enough(len(hits), len(passes))
    shares, lows, highs = zip(*(_share(part) for part in (hits, passes)), strict=True)
    score = sum(shares) / 2
    low = score - math.hypot(*(s - low for s, low in zip(shares, lows, strict=True))) / 2
    high = score + math.hypot(*(high - s for s, high in zip(shares, highs, strict=True))) / 2
    return Score(score, max(0.0, low), min(1.0, high), len(right), *_deciles(right, deciles))


def enough(firings: int, silent: int) -> None:
    """Raise TooFew unless a score can be made of so many places."""
    if firings < LEAST or silent < LEAST:
        raise TooFew(f"{firings} firings and {silent} silent places are too few to judge by")


def _share(right: Sequence[bool]) -> tuple[float, float, float]:
    low, high = wilson(np.array(sum(right)), len(right))
    return sum(right) / len(right), float(low), float(high)


def _deciles(
    right: Sequence[bool], deciles: Sequence[int | None]
) -> tuple[tuple[float | None, ...], tuple[int, ...]]:
    parts = [
        [ok for ok, decile in zip(right, deciles, strict=True) if decile == d] for d in range(10)
    ]
    shares = tuple(sum(part) / len(part) if part else None for part in parts)
    return shares, tuple(len(part) for part in parts)


def correlation(acts: Sequence[float], said: Sequence[float]) -> Score:
    """Pearson correlation of activations with what was simulated, with Fisher's interval.

    A judge that always says the same has correlation 0.

    Raises:
        TooFew: fewer than LEAST places of either kind, or of all fewer than 4.
    """
    enough(sum(act > 0 for act in acts), sum(act <= 0 for act in acts))
    n = len(acts)
    x, y = np.asarray(acts, float), np.asarray(said, float)
    spread = x.std() * y.std()
    r = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 1e-12 else 0.0
    z, half = math.atanh(max(-0.999999, min(0.999999, r))), 1.96 / math.sqrt(max(n - 3, 1))
    return Score(r, math.tanh(z - half), math.tanh(z + half), n, (), ())


def decile_of(act: float, histogram: Sequence[int], edges: Sequence[float]) -> int:
    """Tenth of a feature's activations that `act` falls in, 0 the weakest.

    Args:
        act: an activation above 0.
        histogram: firings per bin.
        edges: one more than bins; within a bin firings are taken to be spread evenly.
    """
    below, total = 0.0, sum(histogram)
    for count, low, high in zip(histogram, edges, edges[1:], strict=False):
        if act >= high:
            below += count
        elif act > low:
            below += count * (act - low) / (high - low)
    return min(9, int(10 * below / total)) if total else 0
