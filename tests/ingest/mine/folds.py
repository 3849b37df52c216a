"""Folds of firings that tests make up, and what they should hold, by sorting everything."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.types import HISTOGRAM_BINS
from ingest.mine.fold import FIXED, Fold, Limits
from ingest.mine.keep import Kept, Rows, firing_hash, histogram_bin, place_hash
from ingest.mine.tally import Tally


class Hits(NamedTuple):
    """Firings of one SAE in some contexts, by place."""

    feature: NDArray[Any]  # int32 [hit]
    act: NDArray[Any]  # float32 [hit]
    ctx: NDArray[Any]  # int32 [hit]
    pos: NDArray[Any]  # int32 [hit]
    head_dfa: NDArray[Any]  # float32 [hit, head]


def fold(
    hits: Hits, near: Kept, tokens: int, features: int, limits: Limits, steps: int = 1
) -> Fold:
    """What the product makes of them, added in some steps of whole contexts."""
    tally = Tally(features, hits.head_dfa.shape[1], limits, torch.device("cpu"))
    upto = int(hits.ctx.max(initial=0)) + 1
    edges = np.linspace(0, upto, steps + 1).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        mine = (hits.ctx >= low) & (hits.ctx < high)
        beside = (near.ctx >= low) & (near.ctx < high)
        dfa = torch.from_numpy(hits.head_dfa[mine])
        rows, missed = (
            Rows.of(Kept(*(column[some] for column in columns)), torch.device("cpu"))
            for columns, some in ((hits[:4], mine), (near, beside))
        )
        tally.add(rows, dfa, missed, tokens if high == upto else 0)
    return tally.folded()


def by_sorting(hits: Hits, near: Kept, tokens: int, features: int, limits: Limits) -> Fold:
    """The same with NumPy, feature by feature, each of its firings sorted."""
    heads = hits.head_dfa.shape[1]
    sums = {name: np.zeros(features, np.int64) for name in ("firings", "act", "square")}
    largest = np.zeros(features, np.float32)
    histogram = np.zeros((features, HISTOGRAM_BINS), np.int64)
    dfa, absolute, won = np.zeros((3, features, heads), np.int64)
    chosen: list[list[list[NDArray[Any]]]] = [[] for _ in range(5)]
    for feature in range(features):
        mine = hits.feature == feature
        act, ctx, pos = hits.act[mine], hits.ctx[mine].astype(int), hits.pos[mine].astype(int)
        sums["firings"][feature] = mine.sum()
        sums["act"][feature] = sum(round(float(a) * FIXED) for a in act)
        sums["square"][feature] = sum(round(float(a) ** 2 * FIXED) for a in act)
        largest[feature] = act.max(initial=0)
        bins = histogram_bin(torch.from_numpy(act)).numpy()
        np.add.at(histogram[feature], bins, 1)
        fixed = np.rint(hits.head_dfa[mine] * np.float32(FIXED)).astype(np.int64)
        dfa[feature], absolute[feature] = fixed.sum(0), np.abs(fixed).sum(0)
        np.add.at(won[feature], hits.head_dfa[mine].argmax(1), 1)
        rows = [np.full(len(act), feature, np.int32), act, hits.ctx[mine], hits.pos[mine]]
        hashes = firing_hash(np.full(len(act), feature), ctx, pos)
        misses = near.feature == feature
        missed = [column[misses] for column in near]
        for kept, columns, order in (
            (chosen[0], rows, _strongest(act, ctx, pos)[: limits.top]),
            *(
                (chosen[1], rows, inside[hashes[inside].argsort()][: limits.per_bin])
                for inside in (np.flatnonzero(bins == b) for b in range(HISTOGRAM_BINS))
            ),
            (chosen[2], rows, hashes.argsort()[: limits.random]),
            (chosen[3], missed, _strongest(near.act[misses], *missed[2:])[: limits.near]),
            (chosen[4], rows, place_hash(ctx, pos).argsort()[: limits.sketch]),
        ):
            kept.append([column[order] for column in columns])
    parts = (Kept(*map(np.concatenate, zip(*kept, strict=True))) for kept in chosen)
    counts = (*sums.values(), largest, histogram, dfa, absolute, won)
    return Fold(np.array([tokens], np.int64), *counts, *parts)


def _strongest(act: NDArray[Any], ctx: NDArray[Any], pos: NDArray[Any]) -> NDArray[Any]:
    """Order by strength, the first firing of each context alone."""
    order = np.lexsort((pos, ctx, -act))
    _, first = np.unique(ctx[order], return_index=True)
    return order[np.sort(first)]
